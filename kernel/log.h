/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the scan of the log finds, and the replay writes.
 */
#ifndef VEXFS_LOG_H
#define VEXFS_LOG_H

#include "vexfs.h"

/* A logged block, or a revoke: then pos is 0. Numbers count from the first. */
struct vexfs_log_item {
	u64 block;
	u32 seq;
	u32 pos;
	u32 csum;
	u32 flags;
};

struct vexfs_log_list {
	struct vexfs_log_item *item;
	size_t count;
	size_t space;
};

struct vexfs_log {
	struct super_block *sb;
	u32 maxlen;
	u32 first_seq;
	u32 counted;		/* transactions that count */
	struct vexfs_log_list tags;
	struct vexfs_log_list revokes;
};

int vexfs_log_compare(const void *a, const void *b);
struct buffer_head *vexfs_log_read(struct vexfs_log *log, u32 pos);
int vexfs_log_scan(struct vexfs_log *log, u32 start);

#endif /* VEXFS_LOG_H */
