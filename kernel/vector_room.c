// SPDX-License-Identifier: GPL-2.0-only
/*
 * Room in a collection's store: slots taken, blocks given to them, and their
 * bytes written, before files get them. All under the collection's sem.
 */
#include <linux/backing-dev.h>
#include <linux/pagemap.h>

#include "vector.h"

static int vexfs_jinode(struct inode *store)
{
	struct vexfs_inode_info *vi = VEXFS_I(store);

	if (vi->jinode)
		return 0;
	vi->jinode = jbd2_alloc_inode(GFP_KERNEL);
	if (!vi->jinode)
		return -ENOMEM;
	jbd2_journal_init_jbd_inode(vi->jinode, store);
	return 0;
}

/* Takes free slots, the lowest first, then new ones; returns the new end. */
static u32 vexfs_slots_take(struct vexfs_collection *coll, u32 *slot, u32 count)
{
	u32 end = coll->slots, i, s;

	spin_lock(&coll->lock);
	for (i = 0; i < count; i++) {
		s = coll->slots;
		if (coll->low < coll->slots)
			s = find_next_bit(coll->avail, coll->slots, coll->low);
		if (s < coll->slots) {
			__clear_bit(s, coll->avail);
			coll->low = s + 1;
			slot[i] = s;
		} else {
			coll->low = coll->slots;
			slot[i] = end++;
		}
	}
	spin_unlock(&coll->lock);
	return end;
}

static void vexfs_slots_return(struct vexfs_collection *coll, const u32 *slot,
			       u32 count)
{
	u32 i;

	spin_lock(&coll->lock);
	for (i = 0; i < count; i++) {
		if (slot[i] >= coll->slots)
			continue;	/* never came to be */
		__set_bit(slot[i], coll->avail);
		coll->low = min(coll->low, slot[i]);
	}
	spin_unlock(&coll->lock);
}

/* Gives the blocks below @end to the store: unwritten, and some ahead. */
static int vexfs_store_alloc(struct vexfs_collection *coll, u64 end)
{
	struct inode *store = coll->store;
	struct super_block *sb = store->i_sb;
	struct vexfs_inode_info *vi = VEXFS_I(store);
	u32 lblk = vi->disk_size >> VEXFS_BLOCK_BITS, ahead;
	struct vexfs_map map;
	int err, tries = 0;
	handle_t *handle;

	ahead = clamp_t(u64, end / 4, 16, 4096);
	while (lblk < end) {
		err = vexfs_map(store, lblk, &map);
		if (err)
			return err;
		if (map.pblk) {
			lblk += map.len;
			continue;
		}
		handle = vexfs_start(sb, VEXFS_SB(sb)->credits, 0);
		if (IS_ERR(handle))
			return PTR_ERR(handle);
		down_write(&vi->ext_sem);
		err = vexfs_ext_alloc(handle, store, lblk,
				      min3(ahead, map.len,
					   VEXFS_SLOT_LBLK - lblk),
				      true, &map);
		up_write(&vi->ext_sem);
		err = vexfs_stop(handle, err);
		if (err && !vexfs_retry(sb, err, &tries))
			return err;
		if (!err)
			lblk += map.len;
	}
	/* Pages beyond the size would never be written. */
	if (i_size_read(store) < (loff_t)end << VEXFS_BLOCK_BITS)
		i_size_write(store, (loff_t)end << VEXFS_BLOCK_BITS);
	return 0;
}

/*
 * Writes a vector, and zeros to the end of its slot, to the page cache. The
 * folios are held until the slot's extent is a written one: read again before
 * that, they would be zeros.
 */
static int vexfs_slot_write(struct vexfs_collection *coll,
			    struct vexfs_chunk *chunk, u32 slot,
			    const u8 *data)
{
	struct address_space *mapping = coll->store->i_mapping;
	u64 pos = (u64)slot * coll->stride, end = pos + coll->stride;
	u32 bytes = vexfs_vector_bytes(coll), at = 0;

	while (pos < end) {
		u32 offset = offset_in_page(pos);
		u32 part = min_t(u64, end - pos, PAGE_SIZE - offset);
		u32 real = min(part, bytes - min(at, bytes));
		struct folio *folio;

		folio = read_mapping_folio(mapping, pos >> PAGE_SHIFT, NULL);
		if (IS_ERR(folio))
			return PTR_ERR(folio);
		folio_lock(folio);
		if (folio->mapping != mapping) {
			folio_unlock(folio);
			folio_put(folio);
			continue;
		}
		folio_wait_stable(folio);
		memcpy(folio_address(folio) + offset, data + at, real);
		memset(folio_address(folio) + offset + real, 0, part - real);
		folio_mark_dirty(folio);
		folio_unlock(folio);
		chunk->folio[chunk->folios++] = folio;
		pos += part;
		at += part;
	}
	return 0;
}

/* A new block of the slot map, for the slots from @slot on. */
static int vexfs_slot_map_add(handle_t *handle, struct inode *store, u32 slot)
{
	struct vexfs_slot_map *sm;
	struct buffer_head *bh;
	struct vexfs_map map;
	int err;

	err = vexfs_ext_alloc(handle, store,
			      VEXFS_SLOT_LBLK + slot / VEXFS_SLOT_ENTRIES, 1,
			      false, &map);
	if (err)
		return err;
	bh = vexfs_new_block(handle, store->i_sb, map.pblk, VEXFS_MAGIC_SLOTS,
			     store->i_ino, store->i_generation);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	sm = (struct vexfs_slot_map *)bh->b_data;
	sm->first_slot = cpu_to_le32(slot);
	err = vexfs_dirty(handle, store->i_sb, bh);
	brelse(bh);
	return err;
}

/* Raises the number of slots to @end, within one block of the map. */
static int vexfs_slots_raise(handle_t *handle, struct vexfs_collection *coll,
			     u32 end)
{
	struct inode *store = coll->store;
	u64 bytes = (u64)end * coll->stride;
	u32 lblk = VEXFS_I(store)->disk_size >> VEXFS_BLOCK_BITS;
	u32 blocks = DIV_ROUND_UP_ULL(bytes, VEXFS_BLOCK_SIZE);
	int n, err = 0;

	if (coll->slots % VEXFS_SLOT_ENTRIES == 0)
		err = vexfs_slot_map_add(handle, store, coll->slots);
	if (err)
		return err;
	while (lblk < blocks) {
		n = vexfs_ext_convert(handle, store, lblk, blocks - lblk);
		if (n < 0)	/* with a block of the map: not by halves */
			return n == -ENOSPC ? -EIO : n;
		lblk += n;
	}
	VEXFS_I(store)->disk_size = bytes;
	vexfs_store(coll)->slots = cpu_to_le32(end);
	err = vexfs_order(handle, coll, coll->slots, end);
	return err ? err : vexfs_mark_inode(handle, store);
}

static int vexfs_slots_grow(struct vexfs_collection *coll, u32 end)
{
	struct super_block *sb = coll->store->i_sb;
	struct vexfs_inode_info *vi = VEXFS_I(coll->store);
	int err, tries = 0;
	handle_t *handle;

	while (coll->slots < end) {
		u32 next = min(end, coll->slots - coll->slots %
			       VEXFS_SLOT_ENTRIES + VEXFS_SLOT_ENTRIES);

		handle = vexfs_start(sb, VEXFS_SB(sb)->credits, 0);
		if (IS_ERR(handle))
			return PTR_ERR(handle);
		down_write(&vi->ext_sem);
		err = vexfs_slots_raise(handle, coll, next);
		up_write(&vi->ext_sem);
		err = vexfs_stop(handle, err);
		if (!err)
			coll->slots = next;
		else if (!vexfs_retry(sb, err, &tries))
			return err;
	}
	return 0;
}

/*
 * Takes slots for @count vectors and writes their bytes. Afterwards
 * vexfs_slot_put() cannot fail for want of space.
 */
int vexfs_chunk_begin(struct vexfs_collection *coll, struct vexfs_chunk *chunk,
		      u32 count, const u32 *vectors)
{
	u32 limit = min_t(u64, VEXFS_SLOTS_MAX,
			  div_u64(VEXFS_STORE_BYTES, coll->stride));
	u32 end, i;
	int err;

	chunk->count = 0;
	chunk->folios = 0;
	err = vexfs_jinode(coll->store);
	if (!err && coll->slots > limit - count)
		err = -ENOSPC;
	if (!err)
		err = vexfs_collection_room(coll, coll->slots + count);
	if (err)
		return err;
	end = vexfs_slots_take(coll, chunk->slot, count);
	chunk->count = count;
	err = vexfs_store_alloc(coll, DIV_ROUND_UP_ULL((u64)end * coll->stride,
						       VEXFS_BLOCK_SIZE));
	for (i = 0; i < count && !err; i++)
		err = vexfs_slot_write(coll, chunk, chunk->slot[i],
				       (const u8 *)(vectors +
						    i * coll->dimension));
	if (!err)
		err = vexfs_slots_grow(coll, end);
	if (err)
		vexfs_chunk_end(coll, chunk, 0);
	return err;
}

/* The first @used slots have files now; the others are free again. */
void vexfs_chunk_end(struct vexfs_collection *coll, struct vexfs_chunk *chunk,
		     u32 used)
{
	u32 i;

	for (i = 0; i < chunk->folios; i++)
		folio_put(chunk->folio[i]);
	vexfs_slots_return(coll, chunk->slot + used, chunk->count - used);
	balance_dirty_pages_ratelimited(coll->store->i_mapping);
}
