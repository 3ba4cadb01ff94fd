// SPDX-License-Identifier: GPL-2.0-only
/*
 * File contents through iomap. Writing into a hole takes unwritten blocks;
 * they are made written, and the size on disk is raised, after the data is on
 * the disk. So a transaction never shows what is not there (format.md, 11.4).
 */
#include "vexfs.h"

static bool vexfs_iomap_valid(struct inode *inode, const struct iomap *iomap)
{
	return iomap->validity_cookie == READ_ONCE(VEXFS_I(inode)->ext_version);
}

static const struct iomap_folio_ops vexfs_folio_ops = {
	.iomap_valid	= vexfs_iomap_valid,
};

/* @version was read before the map, so that it is never too new. */
static void vexfs_set_iomap(struct inode *inode, struct iomap *iomap,
			    const struct vexfs_map *map, u64 version)
{
	iomap->bdev = inode->i_sb->s_bdev;
	iomap->offset = (loff_t)map->lblk << VEXFS_BLOCK_BITS;
	iomap->length = (u64)map->len << VEXFS_BLOCK_BITS;
	iomap->addr = map->pblk ? map->pblk << VEXFS_BLOCK_BITS :
				  IOMAP_NULL_ADDR;
	iomap->type = !map->pblk ? IOMAP_HOLE :
		      map->unwritten ? IOMAP_UNWRITTEN : IOMAP_MAPPED;
	iomap->flags = 0;
	iomap->validity_cookie = version;
	vexfs_map_folio_ops(iomap) = &vexfs_folio_ops;
}

static int vexfs_map_at(struct inode *inode, loff_t pos, struct vexfs_map *map,
			u64 *version)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	u64 lblk = pos >> VEXFS_BLOCK_BITS;
	int err;

	if (lblk > VEXFS_MAX_LBLK) {
		*map = (struct vexfs_map){ .lblk = U32_MAX, .len = U32_MAX };
		*version = 0;
		return -EFBIG;
	}
	down_read(&vi->ext_sem);
	*version = vi->ext_version;
	err = vexfs_map_locked(inode, lblk, map);
	up_read(&vi->ext_sem);
	return err;
}

static int vexfs_read_begin(struct inode *inode, loff_t pos, loff_t length,
			    unsigned int flags, struct iomap *iomap,
			    struct iomap *srcmap)
{
	struct vexfs_map map;
	u64 version;
	int err;

	err = vexfs_map_at(inode, pos, &map, &version);
	if (!err)
		vexfs_set_iomap(inode, iomap, &map, version);
	return err;
}

const struct iomap_ops vexfs_read_ops = {
	.iomap_begin	= vexfs_read_begin,
};

/* Gives the hole at @lblk blocks, unless somebody was quicker. */
static int vexfs_fill_hole(struct inode *inode, u32 lblk, u32 want,
			   struct vexfs_map *map, u64 *version)
{
	struct super_block *sb = inode->i_sb;
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	int err, tries = 0;
	handle_t *handle;

	do {
		handle = vexfs_start(sb, VEXFS_SB(sb)->credits, 0);
		if (IS_ERR(handle))
			return PTR_ERR(handle);
		down_write(&vi->ext_sem);
		err = vexfs_map_locked(inode, lblk, map);
		if (!err && !map->pblk)
			err = vexfs_ext_alloc(handle, inode, lblk,
					      min(want, map->len), true, map);
		*version = vi->ext_version;
		up_write(&vi->ext_sem);
		err = vexfs_stop(handle, err);
	} while (vexfs_retry(sb, err, &tries));
	return err;
}

static int vexfs_write_begin(struct inode *inode, loff_t pos, loff_t length,
			     unsigned int flags, struct iomap *iomap,
			     struct iomap *srcmap)
{
	struct vexfs_map map;
	u64 version, end;
	int err;

	err = vexfs_map_at(inode, pos, &map, &version);
	if (err)
		return err;
	/* Zeroing leaves holes alone. */
	if (!map.pblk && !(flags & IOMAP_ZERO)) {
		end = DIV_ROUND_UP_ULL(pos + min_t(loff_t, length, SZ_16M),
				       VEXFS_BLOCK_SIZE);
		end = min_t(u64, end, U32_MAX);
		err = vexfs_fill_hole(inode, map.lblk, end - map.lblk, &map,
				      &version);
		if (err)
			return err;
	}
	vexfs_set_iomap(inode, iomap, &map, version);
	return 0;
}

const struct iomap_ops vexfs_write_ops = {
	.iomap_begin	= vexfs_write_begin,
};

int vexfs_zero(struct inode *inode, loff_t pos, loff_t len)
{
	loff_t size = i_size_read(inode);
	int err;

	err = iomap_zero_range(inode, pos, len, NULL, &vexfs_write_ops);
	/* iomap takes what is zeroed beyond the end for a write. */
	if (i_size_read(inode) != size)
		i_size_write(inode, size);
	return err;
}

static int vexfs_map_blocks(VEXFS_MAP_BLOCKS_ARGS)
{
	struct vexfs_map map;
	u64 version;
	int err;

	if (wpc->iomap.length && offset >= wpc->iomap.offset &&
	    offset < wpc->iomap.offset + wpc->iomap.length &&
	    vexfs_iomap_valid(inode, &wpc->iomap))
		return 0;
	err = vexfs_map_at(inode, offset, &map, &version);
	if (err)
		return err;
	/* A store's blocks become written with the slots that they hold. */
	if (vexfs_is_store(inode))
		map.unwritten = false;
	vexfs_set_iomap(inode, &wpc->iomap, &map, version);
	return 0;
}

/* The data is on the disk: now the metadata may say so. */
int vexfs_io_done(struct inode *inode, loff_t pos, size_t size)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	struct super_block *sb = inode->i_sb;
	u32 lblk = pos >> VEXFS_BLOCK_BITS;
	u32 end = (pos + size + VEXFS_BLOCK_SIZE - 1) >> VEXFS_BLOCK_BITS;
	loff_t new_size;
	handle_t *handle;
	int n;

	do {
		handle = vexfs_start(sb, VEXFS_SB(sb)->credits, 0);
		if (IS_ERR(handle))
			return PTR_ERR(handle);
		down_write(&vi->ext_sem);
		n = vexfs_ext_convert(handle, inode, lblk, end - lblk);
		if (n > 0)
			lblk += n;
		new_size = min_t(loff_t, pos + size, i_size_read(inode));
		if (n > 0 && lblk >= end && new_size > vi->disk_size) {
			vi->disk_size = new_size;
			n = vexfs_mark_inode(handle, inode) ?: n;
		}
		up_write(&vi->ext_sem);
		n = vexfs_stop(handle, min(n, 0)) ?: n;
	} while (n > 0 && lblk < end);
	return min(n, 0);
}

void vexfs_io_work(struct work_struct *work)
{
	struct vexfs_inode_info *vi =
		container_of(work, struct vexfs_inode_info, io_work);
	struct inode *inode = &vi->vfs_inode;
	struct iomap_ioend *ioend;
	unsigned long flags;
	LIST_HEAD(list);
	int err;

	spin_lock_irqsave(&vi->io_lock, flags);
	list_replace_init(&vi->io_list, &list);
	spin_unlock_irqrestore(&vi->io_lock, flags);
	iomap_sort_ioends(&list);
	while ((ioend = list_first_entry_or_null(&list, struct iomap_ioend,
						 io_list))) {
		list_del_init(&ioend->io_list);
		iomap_ioend_try_merge(ioend, &list);
		err = blk_status_to_errno(vexfs_ioend_bio(ioend)->bi_status);
		if (!err)
			err = vexfs_io_done(inode, ioend->io_offset,
					    ioend->io_size);
		iomap_finish_ioends(ioend, err);
	}
}

static void vexfs_end_bio(struct bio *bio)
{
	struct iomap_ioend *ioend = vexfs_bio_ioend(bio);
	struct vexfs_inode_info *vi = VEXFS_I(ioend->io_inode);
	unsigned long flags;

	spin_lock_irqsave(&vi->io_lock, flags);
	if (list_empty(&vi->io_list))
		queue_work(VEXFS_SB(ioend->io_inode->i_sb)->conversions,
			   &vi->io_work);
	list_add_tail(&ioend->io_list, &vi->io_list);
	spin_unlock_irqrestore(&vi->io_lock, flags);
}

static int vexfs_prepare_ioend(struct iomap_ioend *ioend, int status)
{
	struct vexfs_inode_info *vi = VEXFS_I(ioend->io_inode);

	if (!status && !vexfs_is_store(ioend->io_inode) &&
	    (ioend->io_type == IOMAP_UNWRITTEN ||
	     ioend->io_offset + (loff_t)ioend->io_size >
	     READ_ONCE(vi->disk_size)))
		vexfs_ioend_bio(ioend)->bi_end_io = vexfs_end_bio;
	return status;
}

static const struct iomap_writeback_ops vexfs_writeback_ops = {
	.map_blocks	= vexfs_map_blocks,
	.prepare_ioend	= vexfs_prepare_ioend,
};

static int vexfs_read_folio(struct file *file, struct folio *folio)
{
	return iomap_read_folio(folio, &vexfs_read_ops);
}

static void vexfs_readahead(struct readahead_control *rac)
{
	iomap_readahead(rac, &vexfs_read_ops);
}

static int vexfs_writepages(struct address_space *mapping,
			    struct writeback_control *wbc)
{
	struct iomap_writepage_ctx wpc = {};

	return iomap_writepages(mapping, wbc, &wpc, &vexfs_writeback_ops);
}

static sector_t vexfs_file_bmap(struct address_space *mapping, sector_t block)
{
	return iomap_bmap(mapping, block, &vexfs_read_ops);
}

const struct address_space_operations vexfs_aops = {
	.read_folio		= vexfs_read_folio,
	.readahead		= vexfs_readahead,
	.writepages		= vexfs_writepages,
	.dirty_folio		= vexfs_dirty_folio,
	.release_folio		= iomap_release_folio,
	.invalidate_folio	= iomap_invalidate_folio,
	.is_partially_uptodate	= iomap_is_partially_uptodate,
	.migrate_folio		= filemap_migrate_folio,
	.bmap			= vexfs_file_bmap,
};
