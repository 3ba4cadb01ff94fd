// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks taken and given back. What a transaction frees is not taken again
 * before that transaction has committed: until then a bit in the group's
 * `pending` stands for it.
 */
#include <linux/blkdev.h>

#include "vexfs.h"

/* The first free run from @from on that has @want blocks, or the longest. */
static u32 vexfs_find_run(const u8 *bitmap, const void *pending, u32 len,
			  u32 from, u32 want, u32 *start)
{
	u32 best = 0, bit = from, end;

	while (bit < len) {
		bit = find_next_zero_bit_le(bitmap, len, bit);
		if (pending && bit < len) {
			end = find_next_zero_bit_le(pending, len, bit);
			if (end != bit) {
				bit = end;
				continue;
			}
		}
		if (bit >= len)
			break;
		end = min(len, bit + want);
		end = find_next_bit_le(bitmap, end, bit);
		if (pending)
			end = find_next_bit_le(pending, end, bit);
		if (end - bit > best) {
			best = end - bit;
			*start = bit;
			if (best == want)
				break;
		}
		bit = end;
	}
	return best;
}

/* Returns how many blocks were taken, 0 if there are none here. */
static int vexfs_alloc_group(handle_t *handle, struct inode *inode, u32 g,
			     u32 from, u32 want, u64 *block)
{
	struct super_block *sb = inode->i_sb;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_group *group = &sbi->group[g];
	struct vexfs_group_block *gb;
	u32 len = vexfs_group_len(sbi, g), start = 0, i;
	struct buffer_head *bh;
	int err, found = 0;

	mutex_lock(vexfs_group_lock(sbi, g));
	if (group->bad || group->free_blocks <= group->pending_count)
		goto unlock;
	bh = vexfs_group_get(handle, sb, g);
	if (IS_ERR(bh)) {
		found = PTR_ERR(bh);
		goto unlock;
	}
	gb = (struct vexfs_group_block *)bh->b_data;
	found = vexfs_find_run(gb->bbitmap, group->pending, len, from, want,
			       &start);
	if (found < want && from) {
		u32 other = 0;
		int more = vexfs_find_run(gb->bbitmap, group->pending, len, 0,
					  want, &other);

		if (more > found) {
			found = more;
			start = other;
		}
	}
	for (i = start; i < start + found; i++)
		__set_bit_le(i, gb->bbitmap);
	group->free_blocks -= found;
	atomic64_sub(found, &sbi->free_blocks);
	err = vexfs_dirty(handle, sb, bh);
	if (!err)
		err = vexfs_summary_put(handle, sb, g);
	brelse(bh);
	if (err)
		found = err;
	*block = vexfs_group_start(sbi, g) + start;
unlock:
	mutex_unlock(vexfs_group_lock(sbi, g));
	return found;
}

/*
 * Takes up to @want blocks in a row, near @goal, for @inode; returns how many.
 * @reserve: may take the last ones.
 */
int vexfs_alloc(handle_t *handle, struct inode *inode, u64 goal, u32 want,
		bool reserve, u64 *block)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(inode->i_sb);
	s64 left = atomic64_read(&sbi->free_blocks) -
		   atomic64_read(&sbi->pending_blocks);
	u32 g, i, from = 0;
	int n;

	if (!reserve)
		left -= sbi->reserve;
	if (left <= 0)
		return -ENOSPC;
	want = min_t(u64, want, left);
	if (goal < sbi->groups_start || goal >= sbi->total_blocks)
		goal = sbi->groups_start;
	g = div_u64_rem(goal - sbi->groups_start, VEXFS_GROUP_BLOCKS, &from);
	for (i = 0; i < sbi->groups; i++) {
		n = vexfs_alloc_group(handle, inode, g, from, want, block);
		if (n) {
			if (n > 0)
				inode_add_bytes(inode, (loff_t)n <<
						VEXFS_BLOCK_BITS);
			return n;
		}
		from = 0;
		if (++g == sbi->groups)
			g = 0;
	}
	return -ENOSPC;
}

/* Where the blocks of @inode should begin. */
u64 vexfs_goal(const struct inode *inode)
{
	const struct vexfs_sb_info *sbi = VEXFS_SB(inode->i_sb);
	u32 g = (inode->i_ino - 1) / sbi->ipg;

	return vexfs_group_start(sbi, g) + 1 + sbi->itable;
}

/*
 * The block of the group whose run is to be freed, to be changed, once it is
 * known that all of the run is in use. Under the group's lock.
 */
static struct buffer_head *vexfs_free_get(handle_t *handle,
					  struct inode *inode, u64 block,
					  u32 g, u32 bit, u32 len)
{
	struct super_block *sb = inode->i_sb;
	struct vexfs_group *group = &VEXFS_SB(sb)->group[g];
	struct vexfs_group_block *gb;
	struct buffer_head *bh;

	if (!group->pending)
		group->pending = kzalloc(VEXFS_BBITMAP_BYTES,
					 GFP_NOFS | __GFP_NOFAIL);
	if (group->bad || !(group->init & VEXFS_INIT_GROUP))
		return ERR_PTR(vexfs_corrupt(sb, "group", block, inode->i_ino,
					     "bitmap"));
	bh = vexfs_group_get(handle, sb, g);
	if (IS_ERR(bh))
		return bh;
	gb = (struct vexfs_group_block *)bh->b_data;
	if (find_next_zero_bit_le(gb->bbitmap, bit + len, bit) < bit + len) {
		brelse(bh);
		return ERR_PTR(vexfs_corrupt(sb, "group", block, inode->i_ino,
					     "bitmap"));
	}
	return bh;
}

/*
 * Gives back a run that lies in one group; the caller has checked that it is
 * usable, and revokes it if it was metadata.
 */
int vexfs_free(handle_t *handle, struct inode *inode, u64 block, u32 len)
{
	struct super_block *sb = inode->i_sb;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_group_block *gb;
	struct vexfs_group *group;
	struct vexfs_freed *freed;
	struct buffer_head *bh;
	u32 g, bit, i;
	int err;

	if (!vexfs_usable(sbi, block, len))
		return vexfs_corrupt(sb, "extent", block, inode->i_ino,
				     "range");
	/* The tree has changed already: see vexfs_stop(). */
	freed = kmalloc(sizeof(*freed), GFP_NOFS | __GFP_NOFAIL);
	g = div_u64_rem(block - sbi->groups_start, VEXFS_GROUP_BLOCKS, &bit);
	group = &sbi->group[g];
	mutex_lock(vexfs_group_lock(sbi, g));
	bh = vexfs_free_get(handle, inode, block, g, bit, len);
	if (IS_ERR(bh)) {
		mutex_unlock(vexfs_group_lock(sbi, g));
		kfree(freed);
		return PTR_ERR(bh);
	}
	gb = (struct vexfs_group_block *)bh->b_data;
	for (i = bit; i < bit + len; i++) {
		__clear_bit_le(i, gb->bbitmap);
		__set_bit_le(i, group->pending);
	}
	group->free_blocks += len;
	group->pending_count += len;
	atomic64_add(len, &sbi->pending_blocks);
	atomic64_add(len, &sbi->free_blocks);
	freed->coll = NULL;
	freed->first = block;
	freed->count = len;
	spin_lock(&sbi->freed_lock);
	list_add_tail(&freed->list, &handle->h_transaction->t_private_list);
	spin_unlock(&sbi->freed_lock);
	err = vexfs_dirty(handle, sb, bh);
	brelse(bh);
	if (!err)
		err = vexfs_summary_put(handle, sb, g);
	mutex_unlock(vexfs_group_lock(sbi, g));
	inode_sub_bytes(inode, (loff_t)len << VEXFS_BLOCK_BITS);
	return err;
}

/* jbd2 calls this when a transaction has committed, or was aborted. */
void vexfs_committed(journal_t *journal, transaction_t *transaction)
{
	struct super_block *sb = journal->j_private;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	bool aborted = is_journal_aborted(journal);
	struct vexfs_freed *freed, *next;
	u32 g, bit, i;

	list_for_each_entry_safe(freed, next, &transaction->t_private_list,
				 list) {
		list_del(&freed->list);
		if (freed->coll) {
			atomic_dec(&sbi->pending_slots);
			vexfs_slots_committed(freed, aborted);
			continue;
		}
		/* What an aborted transaction freed is free on no disk. */
		if (aborted) {
			kfree(freed);
			continue;
		}
		if (sbi->opts.discard &&
		    bdev_max_discard_sectors(sb->s_bdev) &&
		    blkdev_issue_discard(sb->s_bdev, freed->first << 3,
					 (sector_t)freed->count << 3, GFP_NOFS))
			pr_warn_ratelimited("vexfs (%s): discard failed at block %llu\n",
					    sb->s_id, freed->first);
		g = div_u64_rem(freed->first - sbi->groups_start,
				VEXFS_GROUP_BLOCKS, &bit);
		mutex_lock(vexfs_group_lock(sbi, g));
		for (i = bit; i < bit + freed->count; i++)
			__clear_bit_le(i, sbi->group[g].pending);
		sbi->group[g].pending_count -= freed->count;
		mutex_unlock(vexfs_group_lock(sbi, g));
		atomic64_sub(freed->count, &sbi->pending_blocks);
		kfree(freed);
	}
}
