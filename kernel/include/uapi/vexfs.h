/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The interface of VexFS to programs: ioctls on a directory of a mounted
 * volume, the same through the kernel module and through the FUSE daemon.
 * docs/format.md, section 12, says what each one does.
 *
 * FUSE hands over exactly _IOC_SIZE(cmd) bytes, which has 14 bits. So every
 * structure has a fixed size below 16384, holds no pointer, and is the same
 * for 32-bit and 64-bit programs. Numbers have the host's byte order; floats
 * travel as their IEEE 754 bits.
 */
#ifndef _UAPI_LINUX_VEXFS_H
#define _UAPI_LINUX_VEXFS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VEXFS_SUPER_MAGIC	0x56455846	/* statfs: f_type */
#define VEXFS_UAPI_VERSION	1

#define VEXFS_DIMENSION_MAX	2048
#define VEXFS_K_MAX		1016
#define VEXFS_BATCH_BYTES	16256

/* enum vexfs_metric: in vexfs_ioc_collection.metric and on disk */
#define VEXFS_METRIC_L2		1	/* sum of (q[i] - x[i])^2, no root */
#define VEXFS_METRIC_IP		2	/* -(sum of q[i] * x[i]) */
#define VEXFS_METRIC_COSINE	3	/* 1 - q.x / (|q| * |x|) */

#define VEXFS_ELEMENT_F32	1

/* vexfs_ioc_info.features */
#define VEXFS_FEAT_VECTOR	(1ULL << 0)
#define VEXFS_FEAT_DEBUG	(1ULL << 1)

struct vexfs_ioc_info {
	__u32 uapi_version;	/* VEXFS_UAPI_VERSION */
	__u32 format_version;	/* of the volume */
	__u64 features;		/* VEXFS_FEAT_* of the running code */
	__u8  uuid[16];
	__u8  label[32];	/* NUL padded, not always NUL terminated */
	__u32 block_size;
	__u32 dimension_max;
	__u32 k_max;
	__u32 batch_bytes;
	__u64 reserved[4];	/* 0 */
};

struct vexfs_ioc_collection {
	__u32 dimension;	/* in CREATE, out GET: 1..VEXFS_DIMENSION_MAX */
	__u32 metric;		/* in CREATE, out GET: VEXFS_METRIC_* */
	__u32 element;		/* in CREATE, out GET: VEXFS_ELEMENT_F32 */
	__u32 flags;		/* 0 */
	__u64 count;		/* out: vectors; 0 in CREATE */
	__u64 slots;		/* out: slots in use or free; 0 in CREATE */
	__u64 stride;		/* out: bytes of a slot; 0 in CREATE */
	__u64 dir_ino;		/* out: the directory; 0 in CREATE */
	__u64 reserved[2];	/* 0 */
};

/* vexfs_ioc_batch.flags */
#define VEXFS_BATCH_EXCL	1	/* ADD: EEXIST where the name exists */

/*
 * data holds count keys of 8 bytes, then, except in REMOVE, count vectors of
 * dimension floats without padding: count * (8 + 4 * dimension) <= 16256.
 */
struct vexfs_ioc_batch {
	__u32 dimension;	/* in: the collection's; 0 in REMOVE */
	__u32 count;		/* in: 1.. */
	__u32 done;		/* out: entries done, always the first ones */
	__s32 error;		/* out: errno > 0 of entry [done], or 0 */
	__u32 flags;		/* in: VEXFS_BATCH_*, else 0 */
	__u32 mode;		/* in ADD: permission bits of new files; else 0 */
	__u64 reserved[5];	/* 0 */
	__u64 data[VEXFS_BATCH_BYTES / 8];
};

/* vexfs_ioc_search.flags */
#define VEXFS_SEARCH_AFTER	1	/* only what sorts after after_* */

struct vexfs_hit {
	__u64 ino;
	__u64 distance;		/* the bits of an IEEE 754 double */
};

struct vexfs_ioc_search {
	__u32 dimension;	/* in: the collection's */
	__u32 k;		/* in: 1..VEXFS_K_MAX */
	__u32 flags;		/* in: VEXFS_SEARCH_*, else 0 */
	__u32 found;		/* out: hits, at most k */
	__u64 after_ino;	/* in, with VEXFS_SEARCH_AFTER; else 0 */
	__u64 after_distance;	/* in, with VEXFS_SEARCH_AFTER; else 0 */
	__u64 scanned;		/* out: vectors compared */
	__u64 reserved[3];	/* 0 */
	union {
		__u32 query[VEXFS_DIMENSION_MAX];	/* in: float bits */
		struct vexfs_hit hit[VEXFS_K_MAX];	/* out */
	} u;
};

#define VEXFS_IOC_MAGIC			'V'
#define VEXFS_IOC_INFO			_IOR('V', 0xE0, struct vexfs_ioc_info)
#define VEXFS_IOC_COLLECTION_CREATE	_IOW('V', 0xE1, struct vexfs_ioc_collection)
#define VEXFS_IOC_COLLECTION_GET	_IOR('V', 0xE2, struct vexfs_ioc_collection)
#define VEXFS_IOC_VECTOR_SET		_IOWR('V', 0xE3, struct vexfs_ioc_batch)
#define VEXFS_IOC_VECTOR_ADD		_IOWR('V', 0xE4, struct vexfs_ioc_batch)
#define VEXFS_IOC_VECTOR_GET		_IOWR('V', 0xE5, struct vexfs_ioc_batch)
#define VEXFS_IOC_VECTOR_REMOVE		_IOWR('V', 0xE6, struct vexfs_ioc_batch)
#define VEXFS_IOC_SEARCH		_IOWR('V', 0xE7, struct vexfs_ioc_search)

#endif /* _UAPI_LINUX_VEXFS_H */
