// SPDX-License-Identifier: GPL-2.0-only
/*
 * Groups and the summary: loaded, checked, made, written (format.md, 6).
 */
#include "vexfs.h"

static int vexfs_summary_load(struct super_block *sb, u32 index)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	u32 first = index * VEXFS_SUMMARY_ENTRIES, i, count = 0;
	const struct vexfs_summary *sum;
	struct buffer_head *bh;
	u64 block = 2 + index;
	int err = 0;

	if (first < sbi->groups)
		count = min_t(u32, sbi->groups - first, VEXFS_SUMMARY_ENTRIES);
	bh = vexfs_bread_fixed(sb, block, VEXFS_MAGIC_SUMMARY, index);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	sum = (const struct vexfs_summary *)bh->b_data;
	if (le32_to_cpu(sum->count) != count ||
	    le32_to_cpu(sum->first_group) != first)
		err = vexfs_corrupt(sb, "summary", block, 0, "count");
	for (i = 0; i < count && !err; i++) {
		const struct vexfs_summary_entry *e = &sum->entry[i];
		struct vexfs_group *group = &sbi->group[first + i];
		u32 room = vexfs_group_len(sbi, first + i) - 1 - sbi->itable;

		group->free_blocks = le32_to_cpu(e->free_blocks);
		group->free_inodes = le16_to_cpu(e->free_inodes);
		group->init = le16_to_cpu(e->init);
		if (group->free_blocks > room)
			err = vexfs_corrupt(sb, "summary", block, 0,
					    "free_blocks");
		else if (group->free_inodes > sbi->ipg)
			err = vexfs_corrupt(sb, "summary", block, 0,
					    "free_inodes");
		else if ((group->init & VEXFS_INIT_ITABLE) > sbi->itable ||
			 group->init & ~(VEXFS_INIT_ITABLE | VEXFS_INIT_GROUP) ||
			 (!(group->init & VEXFS_INIT_GROUP) &&
			  (group->init || group->free_blocks != room ||
			   group->free_inodes != sbi->ipg)))
			err = vexfs_corrupt(sb, "summary", block, 0, "init");
		sbi->usable_blocks += room;
		atomic64_add(group->free_blocks, &sbi->free_blocks);
		atomic64_add(group->free_inodes, &sbi->free_inodes);
	}
	if (!err)
		set_buffer_verified(bh);
	brelse(bh);
	return err;
}

int vexfs_groups_load(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	u32 i;
	int err;

	sbi->group = kvcalloc(sbi->groups, sizeof(*sbi->group), GFP_KERNEL);
	if (!sbi->group)
		return -ENOMEM;
	for (i = 0; i < VEXFS_GROUP_LOCKS; i++)
		mutex_init(&sbi->group_lock[i]);
	for (i = 0; i < sbi->summary_blocks; i++) {
		err = vexfs_summary_load(sb, i);
		if (err)
			return err;
	}
	sbi->usable_blocks -= sbi->backup[1] ? 2 : 1;
	/* So that unwritten blocks can still be converted on a full volume. */
	sbi->reserve = sbi->total_blocks < 4096 ? 4 : 32;
	return 0;
}

void vexfs_groups_free(struct vexfs_sb_info *sbi)
{
	u32 g;

	for (g = 0; sbi->group && g < sbi->groups; g++)
		kfree(sbi->group[g].pending);
	kvfree(sbi->group);
}

static u32 vexfs_count_clear(const u8 *bitmap, u32 bytes)
{
	return bytes * 8 - memweight(bitmap, bytes);
}

/* What is wrong with a group block, or NULL. Under the group's lock. */
const char *vexfs_group_check(struct vexfs_sb_info *sbi, u32 g,
			      const struct vexfs_group_block *gb)
{
	u32 len = vexfs_group_len(sbi, g);
	u64 start = vexfs_group_start(sbi, g);
	int i;

	if (le32_to_cpu(gb->blocks) != len)
		return "blocks";
	if (le32_to_cpu(gb->inodes) != sbi->ipg)
		return "inodes";
	if (find_first_zero_bit_le(gb->bbitmap, sbi->itable + 1) <
	    sbi->itable + 1)
		return "fixed bits";
	if (find_next_zero_bit_le(gb->bbitmap, VEXFS_GROUP_BLOCKS, len) <
	    VEXFS_GROUP_BLOCKS ||
	    find_next_zero_bit_le(gb->ibitmap, VEXFS_IBITMAP_BYTES * 8,
				  sbi->ipg) < VEXFS_IBITMAP_BYTES * 8)
		return "padding bits";
	for (i = 0; i < 2; i++)
		if (sbi->backup[i] >= start && sbi->backup[i] < start + len &&
		    !test_bit_le(sbi->backup[i] - start, gb->bbitmap))
			return "backup bit";
	if (vexfs_count_clear(gb->bbitmap, VEXFS_BBITMAP_BYTES) !=
	    sbi->group[g].free_blocks)
		return "free_blocks";
	if (vexfs_count_clear(gb->ibitmap, VEXFS_IBITMAP_BYTES) !=
	    sbi->group[g].free_inodes)
		return "free_inodes";
	return NULL;
}

static struct buffer_head *vexfs_group_make(handle_t *handle,
					    struct super_block *sb, u32 g)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	u64 start = vexfs_group_start(sbi, g);
	u32 len = vexfs_group_len(sbi, g), i;
	struct vexfs_group_block *gb;
	struct buffer_head *bh;

	bh = vexfs_new_block(handle, sb, start, VEXFS_MAGIC_GROUP, g, 0);
	if (IS_ERR(bh))
		return bh;
	gb = (struct vexfs_group_block *)bh->b_data;
	gb->blocks = cpu_to_le32(len);
	gb->inodes = cpu_to_le32(sbi->ipg);
	for (i = sbi->ipg; i < VEXFS_IBITMAP_BYTES * 8; i++)
		__set_bit_le(i, gb->ibitmap);
	for (i = 0; i <= sbi->itable; i++)
		__set_bit_le(i, gb->bbitmap);
	for (i = len; i < VEXFS_GROUP_BLOCKS; i++)
		__set_bit_le(i, gb->bbitmap);
	sbi->group[g].init |= VEXFS_INIT_GROUP;
	return bh;
}

/*
 * The group block, in the transaction, to be changed. Under the group's lock.
 * A group with a backup is always initialised by mkfs.
 */
struct buffer_head *vexfs_group_get(handle_t *handle, struct super_block *sb,
				    u32 g)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	u64 start = vexfs_group_start(sbi, g);
	struct buffer_head *bh;
	const char *check;
	int err;

	if (!(sbi->group[g].init & VEXFS_INIT_GROUP))
		return vexfs_group_make(handle, sb, g);
	bh = vexfs_bread_fixed(sb, start, VEXFS_MAGIC_GROUP, g);
	if (IS_ERR(bh)) {
		sbi->group[g].bad = true;
		return bh;
	}
	if (!buffer_verified(bh)) {
		check = vexfs_group_check(sbi, g, (void *)bh->b_data);
		if (check) {
			sbi->group[g].bad = true;
			brelse(bh);
			return ERR_PTR(vexfs_corrupt(sb, "group", start, 0,
						     check));
		}
		set_buffer_verified(bh);
	}
	err = vexfs_access(handle, sb, bh);
	if (err) {
		brelse(bh);
		return ERR_PTR(err);
	}
	return bh;
}

/* Writes the group's entry of the summary. Under the group's lock. */
int vexfs_summary_put(handle_t *handle, struct super_block *sb, u32 g)
{
	const struct vexfs_group *group = &VEXFS_SB(sb)->group[g];
	u32 index = g / VEXFS_SUMMARY_ENTRIES;
	struct vexfs_summary_entry *e;
	struct vexfs_summary *sum;
	struct buffer_head *bh;
	int err;

	bh = vexfs_bread_fixed(sb, 2 + index, VEXFS_MAGIC_SUMMARY, index);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	set_buffer_verified(bh);
	err = vexfs_access(handle, sb, bh);
	if (!err) {
		sum = (struct vexfs_summary *)bh->b_data;
		e = &sum->entry[g % VEXFS_SUMMARY_ENTRIES];
		e->free_blocks = cpu_to_le32(group->free_blocks);
		e->free_inodes = cpu_to_le16(group->free_inodes);
		e->init = cpu_to_le16(group->init);
		err = vexfs_dirty(handle, sb, bh);
	}
	brelse(bh);
	return err;
}
