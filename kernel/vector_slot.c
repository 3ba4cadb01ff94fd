// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots of a collection: given to a file, read, and given back (format.md,
 * 12.3). All under the collection's sem.
 */
#include <linux/pagemap.h>

#include "vector.h"

static int vexfs_slot_set(handle_t *handle, struct vexfs_collection *coll,
			  u32 slot, const struct vexfs_slot *entry)
{
	struct super_block *sb = coll->store->i_sb;
	struct vexfs_slot_map *sm;
	struct buffer_head *bh;
	int err;

	bh = vexfs_slot_block(coll->store, slot / VEXFS_SLOT_ENTRIES);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	err = vexfs_access(handle, sb, bh);
	if (!err) {
		sm = (struct vexfs_slot_map *)bh->b_data;
		sm->e[slot % VEXFS_SLOT_ENTRIES] = *entry;
		err = vexfs_dirty(handle, sb, bh);
	}
	brelse(bh);
	return err;
}

/* Frees a slot: it may be taken again once the transaction has committed. */
static int vexfs_slot_free(handle_t *handle, struct vexfs_collection *coll,
			   u32 slot)
{
	static const struct vexfs_slot none;
	struct vexfs_sb_info *sbi = VEXFS_SB(coll->store->i_sb);
	struct list_head *list = &handle->h_transaction->t_private_list;
	struct vexfs_freed *freed, *last;
	int err;

	/* The inode has changed already: see vexfs_stop(). */
	freed = kmalloc(sizeof(*freed), GFP_NOFS | __GFP_NOFAIL);
	err = vexfs_slot_set(handle, coll, slot, &none);
	if (err) {
		kfree(freed);
		return err;
	}
	coll->ino[slot] = 0;
	freed->coll = coll;
	freed->first = slot;
	freed->count = 1;
	spin_lock(&sbi->freed_lock);
	last = list_empty(list) ? NULL :
	       list_last_entry(list, struct vexfs_freed, list);
	if (last && last->coll == coll && last->first + last->count == slot) {
		last->count++;
	} else {
		kref_get(&coll->ref);
		atomic_inc(&sbi->pending_slots);
		list_add_tail(&freed->list, list);
		freed = NULL;
	}
	spin_unlock(&sbi->freed_lock);
	kfree(freed);
	return 0;
}

/* Do the inode and the map agree about the inode's slot, if it has one? */
int vexfs_slot_check(struct vexfs_collection *coll, const struct inode *inode)
{
	u32 link = VEXFS_I(inode)->link;

	if (!link || (link <= coll->slots &&
		      coll->ino[link - 1] == inode->i_ino))
		return 0;
	return vexfs_corrupt(inode->i_sb, "inode", 0, inode->i_ino, "link");
}

static int vexfs_live(handle_t *handle, struct vexfs_collection *coll)
{
	vexfs_store(coll)->live = cpu_to_le32(coll->live);
	return vexfs_mark_inode(handle, coll->store);
}

/* Gives @inode the slot, and its old one back. vexfs_slot_check() was asked. */
int vexfs_slot_put(handle_t *handle, struct vexfs_collection *coll, u32 slot,
		   struct inode *inode, const u32 *vector)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	u32 bytes = vexfs_vector_bytes(coll), old = vi->link;
	struct vexfs_slot entry = {
		.ino = cpu_to_le32(inode->i_ino),
		.generation = cpu_to_le32(inode->i_generation),
		.crc = cpu_to_le32(vexfs_vector_crc(inode, vector, bytes)),
	};
	int err;

	err = vexfs_slot_set(handle, coll, slot, &entry);
	if (!err && old)
		err = vexfs_slot_free(handle, coll, old - 1);
	if (!err)
		err = vexfs_order(handle, coll, slot, slot + 1);
	if (err)
		return err;
	coll->ino[slot] = inode->i_ino;
	coll->live += !old;
	vi->link = slot + 1;
	inode_set_ctime_current(inode);
	err = vexfs_mark_inode(handle, inode);
	return err ? err : vexfs_live(handle, coll);
}

/* Takes the vector of @inode away, which has one. */
int vexfs_slot_drop(handle_t *handle, struct vexfs_collection *coll,
		    struct inode *inode)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	int err;

	err = vexfs_slot_free(handle, coll, vi->link - 1);
	if (err)
		return err;
	coll->live--;
	vi->link = 0;
	inode_set_ctime_current(inode);
	err = vexfs_mark_inode(handle, inode);
	return err ? err : vexfs_live(handle, coll);
}

/* Reads the vector in the slot. */
int vexfs_slot_read(struct vexfs_collection *coll, u32 slot, void *data)
{
	u64 pos = (u64)slot * coll->stride;
	u32 left = vexfs_vector_bytes(coll);

	while (left) {
		u32 part = min_t(u32, left, PAGE_SIZE - offset_in_page(pos));
		struct folio *folio;

		folio = read_mapping_folio(coll->store->i_mapping,
					   pos >> PAGE_SHIFT, NULL);
		if (IS_ERR(folio))
			return PTR_ERR(folio);
		memcpy(data, folio_address(folio) + offset_in_page(pos), part);
		folio_put(folio);
		data += part;
		pos += part;
		left -= part;
	}
	return 0;
}

/* Is @inode a file that may have a vector in @dir? */
bool vexfs_is_member(const struct inode *dir, const struct inode *inode)
{
	return S_ISREG(inode->i_mode) && inode->i_nlink &&
	       !vexfs_is_store(inode) && VEXFS_I(inode)->parent == dir->i_ino;
}

/*
 * Before a handle that changes who is in @dir: keeps others from giving
 * vectors meanwhile. Nothing where it is no collection.
 */
int vexfs_members_lock(struct inode *dir, bool nested)
{
	struct vexfs_collection *coll;
	int err = vexfs_collection_get(dir, &coll);

	if (err)
		return err == -EMEDIUMTYPE ? 0 : err;
	down_write_nested(&coll->sem, nested);
	return 0;
}

void vexfs_members_unlock(struct inode *dir)
{
	if (VEXFS_I(dir)->coll)
		up_write(&VEXFS_I(dir)->coll->sem);
}

/* The last name of @inode, in @dir, has gone, and with it its vector. */
int vexfs_member_gone(handle_t *handle, struct inode *dir, struct inode *inode)
{
	struct vexfs_collection *coll = VEXFS_I(dir)->coll;
	int err;

	if (!S_ISREG(inode->i_mode))
		return 0;
	VEXFS_I(inode)->parent = 0;
	if (!VEXFS_I(inode)->link)
		return 0;
	if (!coll)
		return vexfs_corrupt(inode->i_sb, "inode", 0, inode->i_ino,
				     "link");
	err = vexfs_slot_check(coll, inode);
	return err ? err : vexfs_slot_drop(handle, coll, inode);
}
