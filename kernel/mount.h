/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VEXFS_MOUNT_H
#define VEXFS_MOUNT_H

#include <linux/fs.h>

int vexfs_inode_cache_init(void);
void vexfs_inode_cache_exit(void);
void vexfs_put_volume(struct super_block *sb);

/* volume.c */
int vexfs_super_read(struct super_block *sb);
int vexfs_open_rw(struct super_block *sb);
int vexfs_volume_open(struct super_block *sb);

#endif /* VEXFS_MOUNT_H */
