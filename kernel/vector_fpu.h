/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Distances, as the bits of a binary64 (docs/format.md, 12.4). No type of
 * floating point crosses this border, so that only vector_fpu.c needs them.
 */
#ifndef VEXFS_VECTOR_FPU_H
#define VEXFS_VECTOR_FPU_H

#include <linux/types.h>

/*
 * Compares @query, @dimension floats, to each of the @count vectors that
 * @vector points to, and writes the bits of the distances to @bits.
 */
typedef void vexfs_distances(u32 metric, const void *query,
			     const void *const *vector, u32 count,
			     u32 dimension, u64 *bits);

/* Between kernel_fpu_begin() and kernel_fpu_end() only. */
vexfs_distances vexfs_fpu_distances;

/* With integers only: bit for bit the same, anywhere, and slower. */
vexfs_distances vexfs_soft_distances;

#endif /* VEXFS_VECTOR_FPU_H */
