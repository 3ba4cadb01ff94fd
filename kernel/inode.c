// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inodes: read and checked, written, made, changed, and evicted.
 */

#include <linux/pagemap.h>

#include "vexfs.h"

#define VEXFS_DELETE_CREDITS	16

static __le64 vexfs_encode_time(struct timespec64 ts)
{
	return cpu_to_le64(timespec64_to_ns(&ts));
}

static struct timespec64 vexfs_decode_time(__le64 t)
{
	return ns_to_timespec64((s64)le64_to_cpu(t));
}

static const char *vexfs_raw_check(struct super_block *sb, u64 block, u32 ino,
				   const struct vexfs_inode *raw)
{
	umode_t mode = le16_to_cpu(raw->mode);
	u64 size = le64_to_cpu(raw->size), xattr = le64_to_cpu(raw->xattr_block);
	u32 len = le16_to_cpu(raw->xattr_len), nlink = le32_to_cpu(raw->nlink);

	if (!mode)
		return "free";
	if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode) &&
	    !S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode) &&
	    !S_ISSOCK(mode))
		return "mode";
	if (le32_to_cpu(raw->flags) & ~VEXFS_FL_ALL)
		return "flags";
	if (len > VEXFS_XATTR_INLINE || len & 3 ||
	    vexfs_xattr_check(raw->xattr, len))
		return "xattr";
	if (xattr && !vexfs_usable(VEXFS_SB(sb), xattr, 1))
		return "xattr_block";
	if (size > (u64)U32_MAX << VEXFS_BLOCK_BITS || nlink > S32_MAX)
		return size > (u64)U32_MAX << VEXFS_BLOCK_BITS ? "size" :
								 "nlink";
	if (!(le32_to_cpu(raw->flags) & VEXFS_FL_ORPHAN) && !nlink)
		return "nlink";
	if (S_ISDIR(mode) && (!size || size & (VEXFS_BLOCK_SIZE - 1)))
		return "size";
	if (S_ISDIR(mode) && nlink == 1)
		return "nlink";
	if (S_ISLNK(mode) && (!size || size > VEXFS_SYMLINK_MAX))
		return "size";
	if (!S_ISDIR(mode) && !S_ISREG(mode) && !S_ISLNK(mode) && size)
		return "size";
	return NULL;
}

void vexfs_set_ops(struct inode *inode)
{
	switch (inode->i_mode & S_IFMT) {
	case S_IFREG:
		inode->i_op = &vexfs_file_inode_ops;
		inode->i_fop = &vexfs_file_ops;
		inode->i_mapping->a_ops = &vexfs_aops;
		break;
	case S_IFDIR:
		inode->i_op = &vexfs_dir_inode_ops;
		inode->i_fop = &vexfs_dir_ops;
		break;
	case S_IFLNK:
		inode->i_op = &vexfs_symlink_inode_ops;
		break;
	default:
		inode->i_op = &vexfs_special_inode_ops;
		init_special_inode(inode, inode->i_mode, inode->i_rdev);
	}
}

/* Is what the table has an inode, whole, and possible? */
static int vexfs_raw_verify(struct inode *inode, u64 block,
			    const struct vexfs_inode *raw)
{
	struct super_block *sb = inode->i_sb;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	__le32 ino = cpu_to_le32(inode->i_ino);
	static const __le32 zero;
	const char *check;
	u32 crc;

	if (raw->magic != VEXFS_MAGIC_INODE)
		return vexfs_corrupt_val(sb, "inode", block, inode->i_ino,
					 "magic", le32_to_cpu(raw->magic),
					 le32_to_cpu(VEXFS_MAGIC_INODE));
	crc = vexfs_crc(sbi, sbi->seed, &ino, 4);
	crc = vexfs_crc(sbi, crc, raw, 4);
	crc = vexfs_crc(sbi, crc, &zero, 4);
	crc = vexfs_crc(sbi, crc, (const u8 *)raw + 8, sizeof(*raw) - 8);
	if (crc != le32_to_cpu(raw->checksum))
		return vexfs_corrupt_val(sb, "inode", block, inode->i_ino,
					 "checksum",
					 le32_to_cpu(raw->checksum), crc);
	check = vexfs_raw_check(sb, block, inode->i_ino, raw);
	return check ? vexfs_corrupt(sb, "inode", block, inode->i_ino, check) :
		       0;
}

/* @maybe: a free inode is no corruption, but -ENOENT. */
static int vexfs_fill(struct inode *inode, u64 block,
		      const struct vexfs_inode *raw, bool maybe)
{
	struct super_block *sb = inode->i_sb;
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	int err;

	if (maybe && !raw->mode)
		return -ENOENT;
	err = vexfs_raw_verify(inode, block, raw);
	if (err)
		return err;
	inode->i_mode = le16_to_cpu(raw->mode);
	i_uid_write(inode, le32_to_cpu(raw->uid));
	i_gid_write(inode, le32_to_cpu(raw->gid));
	set_nlink(inode, le32_to_cpu(raw->nlink));
	inode->i_generation = le32_to_cpu(raw->generation);
	i_size_write(inode, le64_to_cpu(raw->size));
	vi->disk_size = inode->i_size;
	vi->old_tail = true;	/* nobody knows */
	inode->i_blocks = le64_to_cpu(raw->blocks) << 3;
	vexfs_set_atime(inode, vexfs_decode_time(raw->atime));
	vexfs_set_mtime(inode, vexfs_decode_time(raw->mtime));
	inode_set_ctime_to_ts(inode, vexfs_decode_time(raw->ctime));
	vi->btime = vexfs_decode_time(raw->btime);
	vi->flags = le32_to_cpu(raw->flags);
	vi->parent = le32_to_cpu(raw->parent);
	vi->link = le32_to_cpu(raw->link);
	vi->orphan_next = le32_to_cpu(raw->orphan_next);
	vi->xattr_block = le64_to_cpu(raw->xattr_block);
	vi->xattr_len = le16_to_cpu(raw->xattr_len);
	memcpy(vi->special, raw->special, sizeof(vi->special));
	memcpy(vi->xattr, raw->xattr, sizeof(vi->xattr));
	memcpy(&vi->root, &raw->root, sizeof(vi->root));
	inode->i_rdev = new_decode_dev(le32_to_cpu(raw->rdev));
	if (S_ISREG(inode->i_mode) || S_ISDIR(inode->i_mode) ||
	    (S_ISLNK(inode->i_mode) && inode->i_size > VEXFS_ROOT_BYTES)) {
		err = vexfs_root_check(sb, block, inode->i_ino, &vi->root);
		if (err)
			return err;
	} else if (S_ISLNK(inode->i_mode)) {
		if (memchr(raw->root.target, 0, inode->i_size))
			return vexfs_corrupt(sb, "symlink", block,
					     inode->i_ino, "target");
		inode->i_link = kmemdup_nul(raw->root.target, inode->i_size,
					    GFP_NOFS);
		if (!inode->i_link)
			return -ENOMEM;
	}
	vexfs_set_ops(inode);
	return 0;
}

static struct inode *vexfs_iget_any(struct super_block *sb, u32 ino, bool maybe)
{
	struct buffer_head *bh;
	unsigned int offset;
	struct inode *inode;
	int err;

	inode = iget_locked(sb, ino);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!(inode->i_state & I_NEW))
		return inode;
	bh = vexfs_inode_block(sb, ino, &offset);
	err = PTR_ERR_OR_ZERO(bh);
	if (!err) {
		err = vexfs_fill(inode, bh->b_blocknr,
				 (const void *)(bh->b_data + offset), maybe);
		brelse(bh);
	}
	if (err) {
		iget_failed(inode);
		return ERR_PTR(err);
	}
	unlock_new_inode(inode);
	return inode;
}

struct inode *vexfs_iget(struct super_block *sb, u32 ino)
{
	return vexfs_iget_any(sb, ino, false);
}

/* For a number that a program has given: -ENOENT where it is not in use. */
struct inode *vexfs_iget_maybe(struct super_block *sb, u64 ino)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	u32 g, i;

	if (!ino || ino > (u64)sbi->groups * sbi->ipg)
		return ERR_PTR(-ENOENT);
	g = (u32)(ino - 1) / sbi->ipg;
	i = (u32)(ino - 1) % sbi->ipg;
	if (i / VEXFS_INODES_PER_BLOCK >=
	    (READ_ONCE(sbi->group[g].init) & VEXFS_INIT_ITABLE))
		return ERR_PTR(-ENOENT);
	return vexfs_iget_any(sb, ino, true);
}

/* Writes the inode into the transaction. */
int vexfs_mark_inode(handle_t *handle, struct inode *inode)
{
	struct super_block *sb = inode->i_sb;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	__le32 ino = cpu_to_le32(inode->i_ino);
	struct vexfs_inode *raw;
	struct buffer_head *bh;
	unsigned int offset;
	int err;

	bh = vexfs_inode_block(sb, inode->i_ino, &offset);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	err = vexfs_access(handle, sb, bh);
	if (err)
		goto out;
	vexfs_assert_inode(inode);
	mutex_lock(&vi->raw_lock);
	raw = (struct vexfs_inode *)(bh->b_data + offset);
	memset(raw, 0, sizeof(*raw));
	raw->magic = VEXFS_MAGIC_INODE;
	raw->generation = cpu_to_le32(inode->i_generation);
	raw->mode = cpu_to_le16(inode->i_mode);
	raw->xattr_len = cpu_to_le16(vi->xattr_len);
	raw->uid = cpu_to_le32(i_uid_read(inode));
	raw->gid = cpu_to_le32(i_gid_read(inode));
	raw->nlink = cpu_to_le32(inode->i_nlink);
	raw->flags = cpu_to_le32(vi->flags);
	raw->size = cpu_to_le64(S_ISREG(inode->i_mode) ? vi->disk_size :
							 inode->i_size);
	raw->blocks = cpu_to_le64(inode->i_blocks >> 3);
	raw->atime = vexfs_encode_time(vexfs_atime(inode));
	raw->mtime = vexfs_encode_time(vexfs_mtime(inode));
	raw->ctime = vexfs_encode_time(inode_get_ctime(inode));
	raw->btime = vexfs_encode_time(vi->btime);
	raw->xattr_block = cpu_to_le64(vi->xattr_block);
	if (S_ISCHR(inode->i_mode) || S_ISBLK(inode->i_mode))
		raw->rdev = cpu_to_le32(new_encode_dev(inode->i_rdev));
	raw->orphan_next = cpu_to_le32(vi->orphan_next);
	raw->parent = cpu_to_le32(vi->parent);
	raw->link = cpu_to_le32(vi->link);
	memcpy(raw->special, vi->special, sizeof(raw->special));
	if (S_ISLNK(inode->i_mode) && inode->i_link)
		memcpy(raw->root.target, inode->i_link, inode->i_size);
	else
		memcpy(&raw->root, &vi->root, sizeof(raw->root));
	memcpy(raw->xattr, vi->xattr, sizeof(raw->xattr));
	raw->checksum = cpu_to_le32(vexfs_crc(sbi, vexfs_crc(sbi, sbi->seed,
							     &ino, 4),
					      raw, sizeof(*raw)));
	mutex_unlock(&vi->raw_lock);
	err = jbd2_journal_dirty_metadata(handle, bh);
out:
	brelse(bh);
	return err;
}

/* The VFS has changed times, or something that it says nothing about. */
void vexfs_dirty_inode(struct inode *inode, int flags)
{
	handle_t *handle;

	if (flags == I_DIRTY_TIME)
		return;
	handle = vexfs_start(inode->i_sb, 2, 0);
	if (IS_ERR(handle))
		return;
	vexfs_stop(handle, vexfs_mark_inode(handle, inode));
}

struct inode *vexfs_new_inode(handle_t *handle, struct mnt_idmap *idmap,
			      struct inode *dir, umode_t mode, dev_t dev)
{
	struct super_block *sb = dir->i_sb;
	struct vexfs_inode_info *vi;
	u32 ino = 0, generation = 0;
	struct inode *inode;
	int err;

	inode = new_inode(sb);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	err = vexfs_ialloc(handle, dir, mode, &ino, &generation);
	if (err)
		goto fail;
	vi = VEXFS_I(inode);
	inode->i_ino = ino;
	inode->i_generation = generation;
	inode_init_owner(idmap, inode, dir, mode);
	inode->i_rdev = dev;
	vexfs_set_mtime(inode, inode_set_ctime_current(inode));
	vexfs_set_atime(inode, vexfs_mtime(inode));
	vi->btime = vexfs_mtime(inode);
	if (S_ISDIR(mode)) {
		vi->parent = dir->i_ino;
		set_nlink(inode, 2);
	} else if (S_ISREG(mode)) {
		vi->parent = vexfs_collection_of(dir);
	}
	vexfs_set_ops(inode);
	if (insert_inode_locked(inode) < 0) {
		/* In memory and in use, though the bitmap said free. */
		err = vexfs_corrupt(sb, "inode", 0, ino, "bitmap");
		goto fail;
	}
	return inode;

fail:
	make_bad_inode(inode);
	iput(inode);
	return ERR_PTR(err);
}

static void vexfs_orphan_lost(struct vexfs_sb_info *sbi,
			      struct vexfs_inode_info *vi)
{
	/* It stays on the disk's list; the next mount or fsck cleans it. */
	mutex_lock(&sbi->orphan_lock);
	if (vi->orphan)
		vi->orphan->inode = NULL;
	vi->orphan = NULL;
	mutex_unlock(&sbi->orphan_lock);
}

/* Frees an inode that maps no block any more. */
static int vexfs_delete_self(handle_t *handle, struct inode *inode)
{
	int err;

	err = vexfs_xattr_free(handle, inode);
	if (!err)
		err = vexfs_orphan_del(handle, inode);
	if (!err)
		err = vexfs_ifree(handle, inode);
	return err;
}

/*
 * Frees an inode without a name: its blocks, in pieces, and itself with the
 * last piece, or by a handle of its own where the journal is too short.
 */
static int vexfs_delete(struct inode *inode)
{
	bool mapped = S_ISREG(inode->i_mode) || S_ISDIR(inode->i_mode) ||
		      (S_ISLNK(inode->i_mode) && !inode->i_link);
	int credits = VEXFS_REMOVE_CREDITS + VEXFS_DELETE_CREDITS, err;
	handle_t *handle;

	if (mapped && credits > VEXFS_SB(inode->i_sb)->credits) {
		err = vexfs_remove_range(inode, 0, VEXFS_MAX_LBLK);
		if (err)
			return err;
		mapped = false;
	}
	do {
		handle = vexfs_start(inode->i_sb,
				     mapped ? credits : VEXFS_DELETE_CREDITS,
				     mapped ? VEXFS_REMOVE_REVOKES + 1 : 1);
		if (IS_ERR(handle))
			return PTR_ERR(handle);
		err = mapped ? vexfs_remove_some(handle, inode, 0,
						 VEXFS_MAX_LBLK) : 0;
		if (!err)
			err = vexfs_delete_self(handle, inode);
		err = vexfs_stop(handle, min(err, 0)) ?: err;
		cond_resched();
	} while (err > 0);
	return err;
}

void vexfs_evict_inode(struct inode *inode)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(inode->i_sb);
	bool gone = !inode->i_nlink && !is_bad_inode(inode) && sbi->journal;

	vexfs_collection_close(inode);
	vexfs_store_evict(inode);
	truncate_inode_pages_final(&inode->i_data);
	if (gone) {
		sb_start_intwrite(inode->i_sb);
		if (vexfs_delete(inode) && !is_journal_aborted(sbi->journal))
			pr_err_ratelimited("vexfs (%s): inode %lu could not be freed\n",
					   inode->i_sb->s_id, inode->i_ino);
		sb_end_intwrite(inode->i_sb);
	}
	vexfs_orphan_lost(sbi, VEXFS_I(inode));
	clear_inode(inode);
}

int vexfs_getattr(struct mnt_idmap *idmap, const struct path *path,
		  struct kstat *stat, u32 mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);

	vexfs_fillattr(idmap, mask, inode, stat);
	stat->btime = VEXFS_I(inode)->btime;
	stat->result_mask |= STATX_BTIME;
	return 0;
}
