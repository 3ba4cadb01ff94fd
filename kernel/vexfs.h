/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VEXFS_H
#define VEXFS_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "compat.h"

#define VEXFS_NAME	"vexfs"
#define VEXFS_MAGIC	0x56455846	/* "VEXF" */

/* Something that a mount may use up. */
struct vexfs_count {
	u64 used;
	u64 limit;
};

struct vexfs_sb_info {
	spinlock_t lock;		/* guards both counts; innermost */
	struct vexfs_count blocks;	/* of PAGE_SIZE bytes */
	struct vexfs_count inodes;
	atomic64_t last_ino;
};

static inline struct vexfs_sb_info *VEXFS_SB(const struct super_block *sb)
{
	return sb->s_fs_info;
}

/* super.c */
int vexfs_take(struct vexfs_sb_info *sbi, struct vexfs_count *count);
void vexfs_give(struct vexfs_sb_info *sbi, struct vexfs_count *count);

/* inode.c */
struct inode *vexfs_new_inode(struct super_block *sb, struct mnt_idmap *idmap,
			      const struct inode *dir, umode_t mode, dev_t dev);
void vexfs_evict_inode(struct inode *inode);

/* file.c */
extern const struct address_space_operations vexfs_aops;
extern const struct file_operations vexfs_file_ops;
extern const struct inode_operations vexfs_file_inode_ops;

#endif /* VEXFS_H */
