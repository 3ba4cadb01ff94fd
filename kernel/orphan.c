// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list of inodes that a mount has to clean (format.md, section 10).
 */
#include "vexfs.h"

static int vexfs_set_head(handle_t *handle, struct super_block *sb, u32 ino)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_state *state = (void *)sbi->state_bh->b_data;
	int err;

	err = vexfs_access(handle, sb, sbi->state_bh);
	if (err)
		return err;
	state->orphan_head = cpu_to_le32(ino);
	return vexfs_dirty(handle, sb, sbi->state_bh);
}

int vexfs_orphan_add(handle_t *handle, struct inode *inode)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(inode->i_sb);
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	const struct vexfs_state *state = (void *)sbi->state_bh->b_data;
	struct vexfs_orphan *orphan;
	int err;

	if (vi->orphan)
		return 0;
	/* The caller may have changed something already: see vexfs_stop(). */
	orphan = kmalloc(sizeof(*orphan), GFP_NOFS | __GFP_NOFAIL);
	orphan->inode = inode;
	orphan->ino = inode->i_ino;
	mutex_lock(&sbi->orphan_lock);
	vi->orphan_next = le32_to_cpu(state->orphan_head);
	vi->flags |= VEXFS_FL_ORPHAN;
	list_add(&orphan->list, &sbi->orphan_list);
	vi->orphan = orphan;
	err = vexfs_set_head(handle, inode->i_sb, inode->i_ino);
	if (!err)
		err = vexfs_mark_inode(handle, inode);
	mutex_unlock(&sbi->orphan_lock);
	return err;
}

/* Sets orphan_next of an orphan that is not in memory any more. */
static int vexfs_raw_next(handle_t *handle, struct super_block *sb, u32 ino,
			  u32 next)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	__le32 le_ino = cpu_to_le32(ino);
	struct vexfs_inode *raw;
	struct buffer_head *bh;
	unsigned int offset;
	int err;

	bh = vexfs_inode_block(sb, ino, &offset);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	err = vexfs_access(handle, sb, bh);
	if (!err) {
		raw = (struct vexfs_inode *)(bh->b_data + offset);
		raw->orphan_next = cpu_to_le32(next);
		raw->checksum = 0;
		raw->checksum =
			cpu_to_le32(vexfs_crc(sbi, vexfs_crc(sbi, sbi->seed,
							     &le_ino, 4),
					      raw, sizeof(*raw)));
		err = jbd2_journal_dirty_metadata(handle, bh);
	}
	brelse(bh);
	return err;
}

/* The caller writes the inode, or frees it, in the same transaction. */
int vexfs_orphan_del(handle_t *handle, struct inode *inode)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(inode->i_sb);
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	struct vexfs_orphan *orphan = vi->orphan, *prev;
	int err;

	if (!orphan)
		return 0;
	mutex_lock(&sbi->orphan_lock);
	if (list_is_first(&orphan->list, &sbi->orphan_list)) {
		err = vexfs_set_head(handle, inode->i_sb, vi->orphan_next);
	} else {
		prev = list_prev_entry(orphan, list);
		if (prev->inode) {
			VEXFS_I(prev->inode)->orphan_next = vi->orphan_next;
			err = vexfs_mark_inode(handle, prev->inode);
		} else {
			err = vexfs_raw_next(handle, inode->i_sb, prev->ino,
					     vi->orphan_next);
		}
	}
	if (!err) {
		list_del(&orphan->list);
		vi->orphan = NULL;
		vi->orphan_next = 0;
		vi->flags &= ~VEXFS_FL_ORPHAN;
	}
	mutex_unlock(&sbi->orphan_lock);
	if (!err)
		kfree(orphan);
	return err;
}

/* Takes an inode from the disk's list that is its head to the one in memory. */
static int vexfs_orphan_adopt(struct vexfs_sb_info *sbi, struct inode *inode)
{
	struct vexfs_orphan *orphan;

	orphan = kmalloc(sizeof(*orphan), GFP_KERNEL);
	if (!orphan)
		return -ENOMEM;
	orphan->inode = inode;
	orphan->ino = inode->i_ino;
	VEXFS_I(inode)->orphan = orphan;
	list_add(&orphan->list, &sbi->orphan_list);
	return 0;
}

static int vexfs_orphan_clean_one(struct super_block *sb, u32 ino)
{
	struct inode *inode;
	handle_t *handle;
	u64 blocks;
	int err;

	inode = vexfs_iget(sb, ino);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	if (!(VEXFS_I(inode)->flags & VEXFS_FL_ORPHAN) ||
	    (inode->i_nlink && !S_ISREG(inode->i_mode))) {
		err = vexfs_corrupt(sb, "inode", 0, ino, "flags");
		goto out;
	}
	/* A store has its one link without a name. */
	if (vexfs_is_store(inode))
		clear_nlink(inode);
	err = vexfs_orphan_adopt(VEXFS_SB(sb), inode);
	if (err || !inode->i_nlink)
		goto out;	/* iput() frees it */
	blocks = DIV_ROUND_UP_ULL(inode->i_size, VEXFS_BLOCK_SIZE);
	if (blocks <= VEXFS_MAX_LBLK)
		err = vexfs_remove_range(inode, blocks, VEXFS_MAX_LBLK);
	if (err)
		goto out;
	handle = vexfs_start(sb, 8, 0);
	if (IS_ERR(handle)) {
		err = PTR_ERR(handle);
		goto out;
	}
	err = vexfs_orphan_del(handle, inode);
	if (!err)
		err = vexfs_mark_inode(handle, inode);
	err = vexfs_stop(handle, err);
out:
	iput(inode);
	return err;
}

/* At mount. Each inode cleaned leaves the head, so the walk ends. */
int vexfs_orphan_cleanup(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	const struct vexfs_state *state = (void *)sbi->state_bh->b_data;
	u32 head, count = 0;
	int err;

	while ((head = le32_to_cpu(state->orphan_head))) {
		err = vexfs_orphan_clean_one(sb, head);
		if (err)
			return err;
		if (le32_to_cpu(state->orphan_head) == head)
			return vexfs_corrupt(sb, "state", 1, head,
					     "orphan_head");
		count++;
		cond_resched();
	}
	if (count)
		pr_info("vexfs (%s): cleaned %u orphans\n", sb->s_id, count);
	return 0;
}
