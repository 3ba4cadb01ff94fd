// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regular files: read, write, fsync, truncate, fallocate, seek.
 */
#include <linux/blkdev.h>
#include <linux/falloc.h>
#include <linux/uio.h>

#include "vexfs.h"

/*
 * Before a file grows to @to, with what is written from @from on: zeroes the
 * rest of its last block up to there, on the disk too (format.md, section 7).
 * Where the write itself covers the rest, that matters only if it goes beyond
 * the block: what is behind may be on the disk, and make the size durable,
 * before this block is. Under i_rwsem.
 */
static int vexfs_extend(struct inode *inode, loff_t from, loff_t to)
{
	loff_t size = i_size_read(inode), end, block_end, begin;
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	int err = 0;

	begin = round_down(size, VEXFS_BLOCK_SIZE);
	block_end = round_up(size, VEXFS_BLOCK_SIZE);
	if (to <= size)
		return 0;
	if (from <= size) {
		if (to <= block_end || !vi->old_tail)
			return 0;
		from = block_end;
	}
	end = min(block_end, from);
	if (end > size) {
		/* First what is dirty: then the extent is a written one. */
		err = filemap_write_and_wait_range(inode->i_mapping, begin,
						   size);
		if (!err)
			err = vexfs_zero(inode, size, end - size);
		if (!err)
			err = filemap_write_and_wait_range(inode->i_mapping,
							   begin, size);
	}
	if (!err && end == block_end)
		vi->old_tail = false;
	return err;
}

static ssize_t vexfs_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	return iocb->ki_flags & IOCB_DIRECT ? vexfs_direct_read(iocb, to) :
					      generic_file_read_iter(iocb, to);
}

static ssize_t vexfs_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	bool sync = false;
	ssize_t ret;
	int err;

	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EOPNOTSUPP;
	inode_lock(inode);
	ret = generic_write_checks(iocb, from);
	if (ret <= 0)
		goto unlock;
	err = file_modified(iocb->ki_filp);
	if (!err)
		err = vexfs_extend(inode, iocb->ki_pos,
				   iocb->ki_pos + iov_iter_count(from));
	if (err) {
		ret = err;
		goto unlock;
	}
	ret = iocb->ki_flags & IOCB_DIRECT ? vexfs_direct_write(iocb, from) :
					     -ENOTBLK;
	if (ret == -ENOTBLK) {
		sync = true;	/* a direct write has done it by itself */
		ret = vexfs_buffered_write(iocb, from, &vexfs_write_ops);
	}
unlock:
	inode_unlock(inode);
	if (ret > 0 && sync)
		ret = generic_write_sync(iocb, ret);
	return ret;
}

/* One journal, one order: commits all that was finished before the call. */
int vexfs_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct super_block *sb = file_inode(file)->i_sb;
	journal_t *journal = VEXFS_SB(sb)->journal;
	bool flush;
	tid_t tid;
	int err;

	err = file_write_and_wait_range(file, start, end);
	if (err || !journal)
		return err;
	if (is_journal_aborted(journal))
		return -EROFS;
	tid = jbd2_get_latest_transaction(journal);
	flush = !jbd2_trans_will_send_data_barrier(journal, tid);
	err = jbd2_complete_transaction(journal, tid);
	if (!err && flush)
		err = blkdev_issue_flush(sb->s_bdev);
	return err;
}

static int vexfs_set_size(struct inode *inode, loff_t size, bool orphan)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	handle_t *handle;
	int err = 0;

	handle = vexfs_start(inode->i_sb, 8, 0);
	if (IS_ERR(handle))
		return PTR_ERR(handle);
	if (orphan)
		err = vexfs_orphan_add(handle, inode);
	if (!err) {
		down_write(&vi->ext_sem);
		vi->disk_size = size;
		err = vexfs_mark_inode(handle, inode);
		up_write(&vi->ext_sem);
	}
	return vexfs_stop(handle, err);
}

static int vexfs_orphan_done(struct inode *inode)
{
	handle_t *handle;
	int err;

	handle = vexfs_start(inode->i_sb, 8, 0);
	if (IS_ERR(handle))
		return PTR_ERR(handle);
	err = vexfs_orphan_del(handle, inode);
	if (!err)
		err = vexfs_mark_inode(handle, inode);
	return vexfs_stop(handle, err);
}

/* Under i_rwsem and the invalidate lock. */
static int vexfs_truncate(struct inode *inode, loff_t size)
{
	loff_t old = i_size_read(inode);
	u64 first = DIV_ROUND_UP_ULL(size, VEXFS_BLOCK_SIZE);
	int err;

	vexfs_set_mtime(inode, inode_set_ctime_current(inode));
	if (size > old) {
		err = vexfs_extend(inode, size, size);
		if (err)
			return err;
		truncate_setsize(inode, size);
		return vexfs_set_size(inode, size, false);
	}
	VEXFS_I(inode)->old_tail = true;
	truncate_setsize(inode, size);
	err = vexfs_set_size(inode, size, true);
	if (!err && first <= VEXFS_MAX_LBLK)
		err = vexfs_remove_range(inode, first, VEXFS_MAX_LBLK);
	/* An inode without a name stays on the list. */
	if (!err && inode->i_nlink)
		err = vexfs_orphan_done(inode);
	return err;
}

int vexfs_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
		  struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err;

	err = setattr_prepare(idmap, dentry, attr);
	if (err)
		return err;
	if (attr->ia_valid & ATTR_SIZE) {
		inode_dio_wait(inode);
		filemap_invalidate_lock(inode->i_mapping);
		err = vexfs_truncate(inode, attr->ia_size);
		filemap_invalidate_unlock(inode->i_mapping);
		if (err)
			return err;
	}
	setattr_copy(idmap, inode, attr);
	mark_inode_dirty(inode);
	return 0;
}

/* Unwritten blocks for what is a hole in the range. */
static int vexfs_preallocate(struct inode *inode, loff_t offset, loff_t len)
{
	u32 lblk = offset >> VEXFS_BLOCK_BITS;
	u32 end = DIV_ROUND_UP_ULL(offset + len, VEXFS_BLOCK_SIZE);
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	struct super_block *sb = inode->i_sb;
	struct vexfs_map map;
	handle_t *handle;
	int err, tries = 0;

	while (lblk < end) {
		if (fatal_signal_pending(current))
			return -EINTR;
		handle = vexfs_start(sb, VEXFS_SB(sb)->credits, 0);
		if (IS_ERR(handle))
			return PTR_ERR(handle);
		down_write(&vi->ext_sem);
		err = vexfs_map_locked(inode, lblk, &map);
		if (!err && !map.pblk)
			err = vexfs_ext_alloc(handle, inode, lblk,
					      min3(end - lblk, map.len,
						   (u32)VEXFS_GROUP_BLOCKS),
					      true, &map);
		up_write(&vi->ext_sem);
		err = vexfs_stop(handle, err);
		if (vexfs_retry(sb, err, &tries))
			continue;
		if (err)
			return err;
		tries = 0;
		lblk += min(map.len, end - lblk);
	}
	return 0;
}

/* Whole blocks are unmapped, parts of blocks zeroed. */
static int vexfs_punch(struct inode *inode, loff_t offset, loff_t len)
{
	loff_t end = min_t(loff_t, offset + len, round_up(i_size_read(inode),
							  VEXFS_BLOCK_SIZE));
	loff_t first = round_up(offset, VEXFS_BLOCK_SIZE);
	loff_t last = round_down(end, VEXFS_BLOCK_SIZE);
	int err;

	if (offset >= end)
		return 0;
	err = filemap_write_and_wait_range(inode->i_mapping, offset, end - 1);
	if (err)
		return err;
	if (first > last)
		return vexfs_zero(inode, offset, end - offset);
	if (offset < first)
		err = vexfs_zero(inode, offset, first - offset);
	if (!err && last < end)
		err = vexfs_zero(inode, last, end - last);
	if (err || first == last)
		return err;
	truncate_pagecache_range(inode, first, last - 1);
	return vexfs_remove_range(inode, first >> VEXFS_BLOCK_BITS,
				  (last >> VEXFS_BLOCK_BITS) - 1);
}

static long vexfs_fallocate(struct file *file, int mode, loff_t offset,
			    loff_t len)
{
	struct inode *inode = file_inode(file);
	bool punch = mode & FALLOC_FL_PUNCH_HOLE;
	loff_t end = offset + len;
	int err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	inode_lock(inode);
	inode_dio_wait(inode);
	filemap_invalidate_lock(inode->i_mapping);
	err = 0;
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		err = inode_newsize_ok(inode, end);
	if (!err)
		err = file_modified(file);
	if (!err)
		err = punch ? vexfs_punch(inode, offset, len) :
			      vexfs_preallocate(inode, offset, len);
	if (!err && !(mode & FALLOC_FL_KEEP_SIZE) && end > i_size_read(inode)) {
		err = vexfs_extend(inode, end, end);
		if (!err) {
			truncate_setsize(inode, end);
			err = vexfs_set_size(inode, end, false);
		}
	}
	filemap_invalidate_unlock(inode->i_mapping);
	inode_unlock(inode);
	if (!err && (file->f_flags & O_DSYNC || IS_SYNC(inode)))
		err = vexfs_commit(inode->i_sb);
	return err;
}

static loff_t vexfs_llseek(struct file *file, loff_t offset, int whence)
{
	struct inode *inode = file_inode(file);

	switch (whence) {
	case SEEK_HOLE:
	case SEEK_DATA:
		inode_lock_shared(inode);
		if (whence == SEEK_HOLE)
			offset = iomap_seek_hole(inode, offset,
						 &vexfs_read_ops);
		else
			offset = iomap_seek_data(inode, offset,
						 &vexfs_read_ops);
		inode_unlock_shared(inode);
		if (offset < 0)
			return offset;
		return vfs_setpos(file, offset, inode->i_sb->s_maxbytes);
	}
	return generic_file_llseek(file, offset, whence);
}

static int vexfs_open(struct inode *inode, struct file *file)
{
	file->f_mode |= FMODE_CAN_ODIRECT;
	return generic_file_open(inode, file);
}

const struct file_operations vexfs_file_ops = {
	.llseek		= vexfs_llseek,
	.read_iter	= vexfs_read_iter,
	.write_iter	= vexfs_write_iter,
	.mmap		= vexfs_mmap,
	.open		= vexfs_open,
	.fsync		= vexfs_fsync,
	.fallocate	= vexfs_fallocate,
	.splice_read	= vexfs_splice_read,
	.splice_write	= iter_file_splice_write,
};

const struct inode_operations vexfs_file_inode_ops = {
	.getattr	= vexfs_getattr,
	.setattr	= vexfs_setattr,
	.listxattr	= vexfs_listxattr,
};
