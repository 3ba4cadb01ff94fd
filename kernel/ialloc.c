// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inodes taken and given back, and where an inode lies.
 */
#include <linux/random.h>

#include "vexfs.h"

/* Reads the block of the inode table that holds @ino. */
struct buffer_head *vexfs_inode_block(struct super_block *sb, u32 ino,
				      unsigned int *offset)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	u32 g = (ino - 1) / sbi->ipg, i = (ino - 1) % sbi->ipg;
	struct buffer_head *bh;
	u64 block;

	if (!ino || g >= sbi->groups)
		return ERR_PTR(vexfs_corrupt(sb, "inode", 0, ino, "range"));
	block = vexfs_group_start(sbi, g) + 1 + i / VEXFS_INODES_PER_BLOCK;
	/* Blocks from init on were never written, so they hold free inodes. */
	if (i / VEXFS_INODES_PER_BLOCK >=
	    (READ_ONCE(sbi->group[g].init) & VEXFS_INIT_ITABLE))
		return ERR_PTR(vexfs_corrupt(sb, "inode", block, ino, "free"));
	bh = sb_bread(sb, block);
	if (!bh)
		return ERR_PTR(vexfs_io_error(sb, "inode", block, ino, false,
					      -EIO));
	*offset = i % VEXFS_INODES_PER_BLOCK * VEXFS_INODE_SIZE;
	return bh;
}

/* Takes a free inode of the group's: its index, or -ENOSPC. */
static int vexfs_ialloc_bit(handle_t *handle, struct super_block *sb, u32 g,
			    struct vexfs_group_block *gb, u32 *generation)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_group *group = &sbi->group[g];
	u32 tables = group->init & VEXFS_INIT_ITABLE;
	u32 made = tables * VEXFS_INODES_PER_BLOCK, bit;
	u64 block = vexfs_group_start(sbi, g) + 1;
	const struct vexfs_inode *raw;
	struct buffer_head *bh;
	int err;

	bit = find_next_zero_bit_le(gb->ibitmap, made, 0);
	if (bit < made) {
		block += bit / VEXFS_INODES_PER_BLOCK;
		bh = sb_bread(sb, block);
		if (!bh)
			return vexfs_io_error(sb, "inode", block, 0, false,
					      -EIO);
		raw = (const struct vexfs_inode *)bh->b_data +
		      bit % VEXFS_INODES_PER_BLOCK;
		*generation = raw->magic == VEXFS_MAGIC_INODE ?
			      le32_to_cpu(raw->generation) + 1 :
			      get_random_u32();
		err = raw->mode ? -EUCLEAN : 0;
		brelse(bh);
		if (err) {
			group->bad = true;
			return vexfs_corrupt(sb, "group", block, 0, "inode");
		}
		return bit;
	}
	if (tables == sbi->itable)
		return -ENOSPC;
	if (test_bit_le(made, gb->ibitmap)) {
		group->bad = true;
		return vexfs_corrupt(sb, "group", block - 1, 0, "init");
	}
	bh = vexfs_zeroed_block(handle, sb, block + tables);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	err = jbd2_journal_dirty_metadata(handle, bh);
	brelse(bh);
	if (err)
		return err;
	*generation = get_random_u32();
	group->init++;
	return made;
}

static int vexfs_ialloc_group(handle_t *handle, struct super_block *sb, u32 g,
			      u32 *ino, u32 *generation)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_group *group = &sbi->group[g];
	struct vexfs_group_block *gb;
	struct buffer_head *bh;
	int bit;

	mutex_lock(vexfs_group_lock(sbi, g));
	bit = -ENOSPC;
	if (group->bad || !group->free_inodes)
		goto unlock;
	bh = vexfs_group_get(handle, sb, g);
	if (IS_ERR(bh)) {
		bit = PTR_ERR(bh);
		goto unlock;
	}
	gb = (struct vexfs_group_block *)bh->b_data;
	bit = vexfs_ialloc_bit(handle, sb, g, gb, generation);
	if (bit >= 0) {
		int err;

		__set_bit_le(bit, gb->ibitmap);
		group->free_inodes--;
		atomic64_dec(&sbi->free_inodes);
		*ino = g * sbi->ipg + bit + 1;
		err = vexfs_dirty(handle, sb, bh);
		if (!err)
			err = vexfs_summary_put(handle, sb, g);
		if (err)
			bit = err;
	}
	brelse(bh);
unlock:
	mutex_unlock(vexfs_group_lock(sbi, g));
	return min(bit, 0);
}

/* Files go to their directory's group, directories to one after another. */
int vexfs_ialloc(handle_t *handle, struct inode *dir, umode_t mode, u32 *ino,
		 u32 *generation)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(dir->i_sb);
	u32 g, i;
	int err;

	if (S_ISDIR(mode))
		g = (u32)atomic_inc_return(&sbi->next_group) % sbi->groups;
	else
		g = (dir->i_ino - 1) / sbi->ipg;
	for (i = 0; i < sbi->groups; i++) {
		err = vexfs_ialloc_group(handle, dir->i_sb, g, ino, generation);
		if (err != -ENOSPC)
			return err;
		if (++g == sbi->groups)
			g = 0;
	}
	return -ENOSPC;
}

/* Frees the inode: its bit, and what the table has but the generation. */
int vexfs_ifree(handle_t *handle, struct inode *inode)
{
	struct super_block *sb = inode->i_sb;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	u32 ino = inode->i_ino, g = (ino - 1) / sbi->ipg;
	u32 bit = (ino - 1) % sbi->ipg;
	struct vexfs_group_block *gb;
	struct vexfs_inode *raw;
	struct buffer_head *bh;
	unsigned int offset;
	__le32 le_ino = cpu_to_le32(ino);
	int err;

	bh = vexfs_inode_block(sb, ino, &offset);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	err = vexfs_access(handle, sb, bh);
	if (!err) {
		raw = (struct vexfs_inode *)(bh->b_data + offset);
		memset(raw, 0, sizeof(*raw));
		raw->magic = VEXFS_MAGIC_INODE;
		raw->generation = cpu_to_le32(inode->i_generation);
		raw->checksum =
			cpu_to_le32(vexfs_crc(sbi, vexfs_crc(sbi, sbi->seed,
							     &le_ino, 4),
					      raw, sizeof(*raw)));
		err = jbd2_journal_dirty_metadata(handle, bh);
	}
	brelse(bh);
	if (err)
		return err;
	mutex_lock(vexfs_group_lock(sbi, g));
	bh = vexfs_group_get(handle, sb, g);
	if (IS_ERR(bh)) {
		err = PTR_ERR(bh);
		goto unlock;
	}
	gb = (struct vexfs_group_block *)bh->b_data;
	if (!test_bit_le(bit, gb->ibitmap)) {
		err = vexfs_corrupt(sb, "group", bh->b_blocknr, ino, "bitmap");
		goto release;
	}
	__clear_bit_le(bit, gb->ibitmap);
	sbi->group[g].free_inodes++;
	atomic64_inc(&sbi->free_inodes);
	err = vexfs_dirty(handle, sb, bh);
	if (!err)
		err = vexfs_summary_put(handle, sb, g);
release:
	brelse(bh);
unlock:
	mutex_unlock(vexfs_group_lock(sbi, g));
	return err;
}
