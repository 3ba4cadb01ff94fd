/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Vector collections (docs/format.md, section 12): what their files share.
 * A collection's sem comes after i_rwsem and before a handle. The bytes of
 * vectors go to the page cache before the handle that makes them visible.
 */
#ifndef VEXFS_VECTOR_H
#define VEXFS_VECTOR_H

#include "vexfs.h"

#define VEXFS_CHUNK		32	/* entries of a batch in one handle */
#define VEXFS_CHUNK_SMALL	6	/* where the journal is short */
#define VEXFS_SLOT_PAGES	3	/* that a slot may touch */

struct vexfs_collection {
	struct kref ref;		/* the inode, and slots not committed */
	struct inode *store;
	struct rw_semaphore sem;	/* all but what lock is for */
	u32 dimension;
	u32 metric;
	u32 stride;
	u32 slots;
	u32 live;
	u32 *ino;			/* by slot; 0: free */
	u32 room;			/* slots that the arrays have room for */
	spinlock_t lock;		/* avail, low */
	unsigned long *avail;		/* free, and that is committed */
	u32 low;			/* no slot below is available */
};

/* Entries on their way: bytes written, slots taken. */
struct vexfs_chunk {
	u32 count;
	u32 slot[VEXFS_CHUNK];
	u32 folios;
	struct folio *folio[VEXFS_CHUNK * VEXFS_SLOT_PAGES];
};

static inline struct vexfs_store *vexfs_store(const struct vexfs_collection *c)
{
	return (struct vexfs_store *)VEXFS_I(c->store)->special;
}

static inline unsigned int vexfs_vector_bytes(const struct vexfs_collection *c)
{
	return 4 * c->dimension;
}

static inline u32 vexfs_vector_crc(const struct inode *inode, const void *data,
				   unsigned int bytes)
{
	const struct vexfs_sb_info *sbi = VEXFS_SB(inode->i_sb);
	__le32 id[2] = { cpu_to_le32(inode->i_ino),
			 cpu_to_le32(inode->i_generation) };

	return vexfs_crc(sbi, vexfs_crc(sbi, sbi->seed, id, 8), data, bytes);
}

/* Makes the bytes of slots from @first to @end durable before the commit. */
static inline int vexfs_order(handle_t *handle, struct vexfs_collection *coll,
			      u32 first, u32 end)
{
	return jbd2_journal_inode_ranged_write(handle,
					       VEXFS_I(coll->store)->jinode,
					       (loff_t)first * coll->stride,
					       (loff_t)(end - first) *
					       coll->stride);
}

/* Are all the floats finite? */
static inline bool vexfs_finite(const u32 *bits, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		if ((bits[i] & 0x7f800000) == 0x7f800000)
			return false;
	return true;
}

/* vector.c */
int vexfs_collection_get(struct inode *dir, struct vexfs_collection **coll);
int vexfs_collection_use(struct inode *dir, struct vexfs_collection **coll);
int vexfs_collection_create(struct inode *dir, u32 dimension, u32 metric);
int vexfs_collection_room(struct vexfs_collection *coll, u32 slots);
struct buffer_head *vexfs_slot_block(struct inode *store, u32 index);

/* vector_room.c */
int vexfs_chunk_begin(struct vexfs_collection *coll, struct vexfs_chunk *chunk,
		      u32 count, const u32 *vectors);
void vexfs_chunk_end(struct vexfs_collection *coll, struct vexfs_chunk *chunk,
		     u32 used);

/* vector_slot.c */
int vexfs_slot_put(handle_t *handle, struct vexfs_collection *coll, u32 slot,
		   struct inode *inode, const u32 *vector);
int vexfs_slot_drop(handle_t *handle, struct vexfs_collection *coll,
		    struct inode *inode);
int vexfs_slot_check(struct vexfs_collection *coll, const struct inode *inode);
bool vexfs_is_member(const struct inode *dir, const struct inode *inode);
int vexfs_slot_read(struct vexfs_collection *coll, u32 slot, void *data);

/* vector_batch.c */
int vexfs_vector_batch(struct file *file, unsigned int cmd,
		       struct vexfs_ioc_batch *req);

/* vector_search.c */
int vexfs_vector_search(struct inode *dir, struct vexfs_ioc_search *req);

#endif /* VEXFS_VECTOR_H */
