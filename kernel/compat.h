/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels that vexfs builds for, 6.1 to 6.12. This is
 * the only file that asks for the kernel's version. Functions carry our prefix
 * instead of a newer kernel's name, because stable kernels backport such names:
 * late 6.1 kernels have inode_set_ctime_current(), for one.
 */
#ifndef VEXFS_COMPAT_H
#define VEXFS_COMPAT_H

#include <linux/fs.h>
#include <linux/iomap.h>
#include <linux/jbd2.h>
#include <linux/pagemap.h>
#include <linux/version.h>
#include <linux/writeback.h>
#include <linux/xattr.h>

/* 6.3: a mount's id mapping got a type of its own. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define mnt_idmap	user_namespace
#define nop_mnt_idmap	init_user_ns
#define file_mnt_idmap	file_mnt_user_ns
#endif

/* 6.5: splicing out of the page cache got its own function. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define vexfs_splice_read	generic_file_splice_read
#else
#define vexfs_splice_read	filemap_splice_read
#endif

/* 6.6: generic_fillattr() takes the mask; iomap tracks dirty blocks. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
static inline void vexfs_fillattr(struct mnt_idmap *idmap, u32 mask,
				  struct inode *inode, struct kstat *stat)
{
	generic_fillattr(idmap, inode, stat);
}

#define vexfs_dirty_folio	filemap_dirty_folio

/* iomap left the position to its caller. */
static inline ssize_t vexfs_buffered_write(struct kiocb *iocb,
					   struct iov_iter *from,
					   const struct iomap_ops *ops)
{
	ssize_t written = iomap_file_buffered_write(iocb, from, ops);

	if (written > 0)
		iocb->ki_pos += written;
	return written;
}
#else
#define vexfs_buffered_write(iocb, from, ops) \
	iomap_file_buffered_write(iocb, from, ops, NULL)
#define vexfs_fillattr		generic_fillattr
#define vexfs_dirty_folio	iomap_dirty_folio
#endif

/* 6.7: all of an inode's times are set through accessors. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#define vexfs_atime(inode)		((inode)->i_atime)
#define vexfs_mtime(inode)		((inode)->i_mtime)
#define vexfs_set_atime(inode, ts)	((inode)->i_atime = (ts))
#define vexfs_set_mtime(inode, ts)	((inode)->i_mtime = (ts))

static inline void vexfs_set_xattr(struct super_block *sb,
				   const struct xattr_handler * const *handlers)
{
	sb->s_xattr = (const struct xattr_handler **)handlers;
}
#else
#define vexfs_atime(inode)		inode_get_atime(inode)
#define vexfs_mtime(inode)		inode_get_mtime(inode)
#define vexfs_set_atime(inode, ts)	inode_set_atime_to_ts(inode, ts)
#define vexfs_set_mtime(inode, ts)	inode_set_mtime_to_ts(inode, ts)

static inline void vexfs_set_xattr(struct super_block *sb,
				   const struct xattr_handler * const *handlers)
{
	sb->s_xattr = handlers;
}
#endif

/* 6.2: the folio operations of iomap got this name. 6.9: the bio moved in. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define iomap_folio_ops		iomap_page_ops
#define vexfs_map_folio_ops(map)	((map)->page_ops)
#else
#define vexfs_map_folio_ops(map)	((map)->folio_ops)
#endif
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#define vexfs_ioend_bio(ioend)	((ioend)->io_bio)
#define vexfs_bio_ioend(bio)	((struct iomap_ioend *)(bio)->bi_private)
#define VEXFS_MAP_BLOCKS_ARGS \
	struct iomap_writepage_ctx *wpc, struct inode *inode, loff_t offset
#else
#define vexfs_ioend_bio(ioend)	(&(ioend)->io_bio)
#define vexfs_bio_ioend(bio)	container_of(bio, struct iomap_ioend, io_bio)
#define VEXFS_MAP_BLOCKS_ARGS \
	struct iomap_writepage_ctx *wpc, struct inode *inode, loff_t offset, \
	unsigned int len
#endif

/* 6.9: the filesystem's uuid is set through a function. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
static inline void vexfs_set_uuid(struct super_block *sb, const u8 *uuid)
{
	memcpy(sb->s_uuid.b, uuid, sizeof(sb->s_uuid.b));
}
#else
static inline void vexfs_set_uuid(struct super_block *sb, const u8 *uuid)
{
	super_set_uuid(sb, uuid, 16);
}
#endif

/*
 * jbd2 refuses journals below 1024 blocks. Where the log is empty, jbd2 reads
 * nothing of it but the superblock: that shows 1024 blocks in memory while it
 * is opened, and the true length before the first handle (format.md, 11.6).
 */
static inline void vexfs_jsb_set_len(journal_superblock_t *jsb, u32 len)
{
	jsb->s_maxlen = cpu_to_be32(len);
}

/* Returns -EUCLEAN where jbd2 is not in the state that this relies on. */
static inline int vexfs_journal_shorten(journal_t *journal, u32 len)
{
	if (journal->j_head != 1 || journal->j_first != 1 ||
	    !(journal->j_flags & JBD2_FLUSHED))
		return -EUCLEAN;
	vexfs_jsb_set_len(journal->j_superblock, len);
	write_lock(&journal->j_state_lock);
	journal->j_last = len;
	journal->j_total_len = len;
	journal->j_free = len - 1;
	journal->j_max_transaction_buffers = len / 4;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	journal->j_transaction_overhead_buffers = 2;
#endif
	write_unlock(&journal->j_state_lock);
	return 0;
}

#endif /* VEXFS_COMPAT_H */
