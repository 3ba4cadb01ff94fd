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
#include <linux/pagemap.h>
#include <linux/version.h>

/* 6.3: a mount's id mapping got a type of its own. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define mnt_idmap	user_namespace
#define nop_mnt_idmap	init_user_ns
#endif

/* 6.5: splicing out of the page cache got its own function. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define vexfs_splice_read	generic_file_splice_read
#else
#define vexfs_splice_read	filemap_splice_read
#endif

/* 6.7: all of an inode's times are set through accessors. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static inline void vexfs_init_times(struct inode *inode)
{
	inode->i_ctime = current_time(inode);
	inode->i_mtime = inode->i_ctime;
	inode->i_atime = inode->i_ctime;
}

static inline void vexfs_touch(struct inode *inode)
{
	inode->i_ctime = current_time(inode);
	inode->i_mtime = inode->i_ctime;
}
#else
static inline void vexfs_init_times(struct inode *inode)
{
	simple_inode_init_ts(inode);
}

static inline void vexfs_touch(struct inode *inode)
{
	inode_set_mtime_to_ts(inode, inode_set_ctime_current(inode));
}
#endif

/* 6.12: write_begin and write_end speak of folios, not of pages. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define vexfs_write_arg		page
#define vexfs_arg_folio(arg)	page_folio(arg)
#else
#define vexfs_write_arg		folio
#define vexfs_arg_folio(arg)	(arg)
#endif

#endif /* VEXFS_COMPAT_H */
