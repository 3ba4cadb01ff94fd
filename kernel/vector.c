// SPDX-License-Identifier: GPL-2.0-only
/*
 * A collection: made, opened, closed, and removed with its directory.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "vector.h"

static void vexfs_collection_free(struct kref *ref)
{
	struct vexfs_collection *coll =
		container_of(ref, struct vexfs_collection, ref);

	kvfree(coll->ino);
	kvfree(coll->avail);
	kfree(coll);
}

/* Makes the arrays long enough for @slots. Under sem. */
int vexfs_collection_room(struct vexfs_collection *coll, u32 slots)
{
	unsigned long *avail, *old;
	u32 room, *ino;

	if (slots <= coll->room)
		return 0;
	room = round_up(max(slots, min_t(u32, coll->room + coll->room / 2,
					 VEXFS_SLOTS_MAX)), 1024);
	ino = kvcalloc(room, sizeof(*ino), GFP_KERNEL_ACCOUNT);
	avail = kvcalloc(BITS_TO_LONGS(room), sizeof(*avail),
			 GFP_KERNEL_ACCOUNT);
	if (!ino || !avail) {
		kvfree(ino);
		kvfree(avail);
		return -ENOMEM;
	}
	if (coll->room)
		memcpy(ino, coll->ino, coll->room * sizeof(*ino));
	kvfree(coll->ino);
	coll->ino = ino;
	spin_lock(&coll->lock);
	old = coll->avail;
	if (coll->room)
		memcpy(avail, old, BITS_TO_LONGS(coll->room) * sizeof(*avail));
	coll->avail = avail;
	coll->room = room;
	spin_unlock(&coll->lock);
	kvfree(old);
	return 0;
}

/* Reads and checks block @index of the slot map. */
struct buffer_head *vexfs_slot_block(struct inode *store, u32 index)
{
	struct super_block *sb = store->i_sb;
	const struct vexfs_slot_map *sm;
	const char *check = NULL;
	struct buffer_head *bh;
	struct vexfs_map map;
	int i, err;

	err = vexfs_map(store, VEXFS_SLOT_LBLK + index, &map);
	if (err)
		return ERR_PTR(err);
	if (!map.pblk || map.unwritten)
		return ERR_PTR(vexfs_corrupt(sb, "slot-map", map.pblk,
					     store->i_ino, "hole"));
	bh = vexfs_bread(sb, map.pblk, VEXFS_MAGIC_SLOTS, store->i_ino,
			 store->i_generation, store->i_ino);
	if (IS_ERR(bh) || buffer_verified(bh))
		return bh;
	sm = (const struct vexfs_slot_map *)bh->b_data;
	if (le32_to_cpu(sm->first_slot) != index * VEXFS_SLOT_ENTRIES)
		check = "first_slot";
	for (i = 0; i < VEXFS_SLOT_ENTRIES; i++) {
		const struct vexfs_slot *e = &sm->e[i];

		if (e->zero || (!e->ino && (e->generation || e->crc)))
			check = "zero";
	}
	if (check) {
		brelse(bh);
		return ERR_PTR(vexfs_corrupt(sb, "slot-map", map.pblk,
					     store->i_ino, check));
	}
	set_buffer_verified(bh);
	return bh;
}

static const char *vexfs_store_check(const struct inode *dir,
				     const struct inode *store)
{
	const struct vexfs_inode_info *vi = VEXFS_I(store);
	const struct vexfs_store *s = (const struct vexfs_store *)vi->special;
	u32 dimension = le16_to_cpu(s->dimension);
	u32 stride = le32_to_cpu(s->stride);
	u64 slots = le32_to_cpu(s->slots);

	if (!S_ISREG(store->i_mode) || !vexfs_is_store(store) ||
	    vi->parent != dir->i_ino || store->i_nlink != 1)
		return "store";
	if (!dimension || dimension > VEXFS_DIMENSION_MAX)
		return "dimension";
	if (s->metric < VEXFS_METRIC_L2 || s->metric > VEXFS_METRIC_COSINE)
		return "metric";
	if (s->element != VEXFS_ELEMENT_F32)
		return "element";
	if (stride != round_up(4 * dimension, 16))
		return "stride";
	/* What the volume has no room for is not allocated memory for. */
	if (slots > VEXFS_SLOTS_MAX || slots * stride > VEXFS_STORE_BYTES ||
	    slots * stride >> VEXFS_BLOCK_BITS >
	    VEXFS_SB(store->i_sb)->total_blocks)
		return "slots";
	if (le32_to_cpu(s->live) > slots)
		return "live";
	if (vi->disk_size != slots * stride)
		return "size";
	return memchr_inv(s->zero, 0, sizeof(s->zero)) ? "zero" : NULL;
}

static int vexfs_slots_load(struct vexfs_collection *coll)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(coll->store->i_sb);
	u32 at, i, n, live = 0;
	int err;

	err = vexfs_collection_room(coll, coll->slots);
	if (err)
		return err;
	for (at = 0; at < coll->slots; at += VEXFS_SLOT_ENTRIES) {
		const struct vexfs_slot_map *sm;
		struct buffer_head *bh;

		bh = vexfs_slot_block(coll->store, at / VEXFS_SLOT_ENTRIES);
		if (IS_ERR(bh))
			return PTR_ERR(bh);
		sm = (const struct vexfs_slot_map *)bh->b_data;
		n = min_t(u32, coll->slots - at, VEXFS_SLOT_ENTRIES);
		for (i = 0; i < VEXFS_SLOT_ENTRIES && !err; i++) {
			u32 ino = le32_to_cpu(sm->e[i].ino);

			if (ino && (i >= n ||
				    (ino - 1) / sbi->ipg >= sbi->groups))
				err = vexfs_corrupt(coll->store->i_sb,
						    "slot-map", bh->b_blocknr,
						    coll->store->i_ino, "ino");
			if (i >= n)
				continue;
			coll->ino[at + i] = ino;
			if (ino)
				live++;
			else
				__set_bit(at + i, coll->avail);
		}
		brelse(bh);
		if (err)
			return err;
		cond_resched();
	}
	if (live != coll->live)
		return vexfs_corrupt_val(coll->store->i_sb, "slot-map", 0,
					 coll->store->i_ino, "live",
					 coll->live, live);
	return 0;
}

static struct vexfs_collection *vexfs_collection_new(struct inode *store)
{
	const struct vexfs_store *s = (void *)VEXFS_I(store)->special;
	struct vexfs_collection *coll;

	coll = kzalloc(sizeof(*coll), GFP_KERNEL);
	if (!coll)
		return NULL;
	kref_init(&coll->ref);
	init_rwsem(&coll->sem);
	spin_lock_init(&coll->lock);
	coll->store = store;
	coll->dimension = le16_to_cpu(s->dimension);
	coll->metric = s->metric;
	coll->stride = le32_to_cpu(s->stride);
	coll->slots = le32_to_cpu(s->slots);
	coll->live = le32_to_cpu(s->live);
	/* Search wants the addresses of all pages at once. */
	mapping_set_gfp_mask(store->i_mapping, GFP_USER);
	/* In memory, whole blocks: disk_size is where the vectors end. */
	i_size_write(store, round_up(VEXFS_I(store)->disk_size,
				     VEXFS_BLOCK_SIZE));
	return coll;
}

static int vexfs_collection_load(struct inode *dir,
				 struct vexfs_collection **out)
{
	struct super_block *sb = dir->i_sb;
	struct vexfs_collection *coll;
	struct inode *store;
	const char *check;
	int err;

	/* What the map calls free may have been freed only just now. */
	if (atomic_read(&VEXFS_SB(sb)->pending_slots)) {
		err = vexfs_commit(sb);
		if (err)
			return err;
	}
	store = vexfs_iget(sb, VEXFS_I(dir)->link);
	if (IS_ERR(store))
		return PTR_ERR(store);
	check = vexfs_store_check(dir, store);
	if (check) {
		err = vexfs_corrupt(sb, "inode", 0, store->i_ino, check);
		goto fail;
	}
	err = -ENOMEM;
	coll = vexfs_collection_new(store);
	if (!coll)
		goto fail;
	err = vexfs_slots_load(coll);
	if (err) {
		kref_put(&coll->ref, vexfs_collection_free);
		goto fail;
	}
	*out = coll;
	return 0;

fail:
	iput(store);
	return err;
}

/* Opens it where it is not yet; it stays open as long as the inode is there. */
int vexfs_collection_get(struct inode *dir, struct vexfs_collection **out)
{
	struct vexfs_inode_info *vi = VEXFS_I(dir);
	struct vexfs_sb_info *sbi = VEXFS_SB(dir->i_sb);
	struct vexfs_collection *coll;
	int err = 0;

	if (!(vi->flags & VEXFS_FL_COLLECTION))
		return -EMEDIUMTYPE;
	/* Pairs with the release below: what it points to is complete. */
	coll = smp_load_acquire(&vi->coll);
	if (!coll) {
		mutex_lock(&sbi->open_lock);
		coll = vi->coll;
		if (!coll)
			err = vexfs_collection_load(dir, &coll);
		if (!err)	/* pairs with the acquire above */
			smp_store_release(&vi->coll, coll);
		mutex_unlock(&sbi->open_lock);
	}
	*out = coll;
	return err;
}

/* For an ioctl: on rmdir the directory stops being a collection at once. */
int vexfs_collection_use(struct inode *dir, struct vexfs_collection **out)
{
	return IS_DEADDIR(dir) ? -EMEDIUMTYPE : vexfs_collection_get(dir, out);
}

static int vexfs_store_make(handle_t *handle, struct inode *dir, u32 dimension,
			    u32 metric, struct inode **out)
{
	struct vexfs_inode_info *vi;
	struct vexfs_store *s;
	struct inode *store;

	store = vexfs_new_inode(handle, &nop_mnt_idmap, dir, S_IFREG, 0);
	if (IS_ERR(store))
		return PTR_ERR(store);
	vi = VEXFS_I(store);
	vi->flags = VEXFS_FL_STORE;
	vi->parent = dir->i_ino;
	s = (struct vexfs_store *)vi->special;
	s->dimension = cpu_to_le16(dimension);
	s->metric = metric;
	s->element = VEXFS_ELEMENT_F32;
	s->stride = cpu_to_le32(round_up(4 * dimension, 16));
	*out = store;
	return vexfs_mark_inode(handle, store);
}

/* Makes an empty directory a collection. Under its i_rwsem. */
int vexfs_collection_create(struct inode *dir, u32 dimension, u32 metric)
{
	struct super_block *sb = dir->i_sb;
	struct vexfs_inode_info *vi = VEXFS_I(dir);
	struct inode *store = NULL;
	handle_t *handle;
	int err;

	err = vexfs_set_ro_compat(sb, VEXFS_RO_VECTOR);
	if (err)
		return err;
	handle = vexfs_start(sb, VEXFS_SB(sb)->credits, 0);
	if (IS_ERR(handle))
		return PTR_ERR(handle);
	err = vexfs_store_make(handle, dir, dimension, metric, &store);
	if (!err) {
		vi->link = store->i_ino;
		vi->flags |= VEXFS_FL_COLLECTION;
		inode_set_ctime_current(dir);
		err = vexfs_mark_inode(handle, dir);
	}
	err = vexfs_stop(handle, err);
	if (store) {
		unlock_new_inode(store);
		iput(store);
	}
	return err;
}

int vexfs_collection_open(struct inode *dir)
{
	struct vexfs_collection *coll;
	int err = vexfs_collection_get(dir, &coll);

	return err == -EMEDIUMTYPE ? 0 : err;
}

/* Its directory has lost its name: the store goes with it. */
int vexfs_collection_gone(handle_t *handle, struct inode *dir)
{
	struct vexfs_collection *coll = VEXFS_I(dir)->coll;

	if (!coll)
		return 0;
	clear_nlink(coll->store);
	return vexfs_orphan_add(handle, coll->store);
}

/* The directory's inode leaves memory. */
void vexfs_collection_close(struct inode *inode)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	struct vexfs_collection *coll = vi->coll;

	if (!coll)
		return;
	vi->coll = NULL;
	iput(coll->store);
	kref_put(&coll->ref, vexfs_collection_free);
}

/* The store's does, with its pages. */
void vexfs_store_evict(struct inode *store)
{
	struct vexfs_inode_info *vi = VEXFS_I(store);
	journal_t *journal = VEXFS_SB(store->i_sb)->journal;

	if (!vi->jinode)
		return;
	if (!journal) {
		jbd2_free_inode(vi->jinode);
		vi->jinode = NULL;
		return;
	}
	/* A commit under way still needs what is to be dropped. */
	if (!store->i_nlink)
		jbd2_journal_begin_ordered_truncate(journal, vi->jinode, 0);
	truncate_inode_pages_final(&store->i_data);
	jbd2_journal_release_jbd_inode(journal, vi->jinode);
	jbd2_free_inode(vi->jinode);
	vi->jinode = NULL;
}

/* A commit has made them free on the disk: now they may be taken. */
void vexfs_slots_committed(struct vexfs_freed *freed, bool aborted)
{
	struct vexfs_collection *coll = freed->coll;
	u32 first = freed->first;

	if (!aborted) {
		spin_lock(&coll->lock);
		bitmap_set(coll->avail, first, freed->count);
		coll->low = min(coll->low, first);
		spin_unlock(&coll->lock);
	}
	kref_put(&coll->ref, vexfs_collection_free);
	kfree(freed);
}
