// SPDX-License-Identifier: GPL-2.0-only
/*
 * CONFIG_VEXFS_DEBUG: every metadata block, and every inode, is checked after
 * each change, before the journal gets it. What fails is a bug of ours: it is
 * said with the place, warned about with a trace, and follows errors=.
 */
#include "vexfs.h"

static void vexfs_assert_failed(struct super_block *sb, const char *type,
				u64 block, u64 ino, const char *check)
{
	pr_err("vexfs (%s): assertion failed: %s at block %llu (inode %llu): %s\n",
	       sb->s_id, type, block, ino, check);
	WARN_ON(1);
	vexfs_corrupt(sb, type, block, ino, check);
}

static const char *vexfs_slots_check(const struct vexfs_slot_map *sm)
{
	int i;

	if (le32_to_cpu(sm->first_slot) % VEXFS_SLOT_ENTRIES || sm->zero)
		return "first_slot";
	for (i = 0; i < VEXFS_SLOT_ENTRIES; i++)
		if (sm->e[i].zero ||
		    (!sm->e[i].ino && (sm->e[i].generation || sm->e[i].crc)))
			return "zero";
	return NULL;
}

/* A block with a header, as it is going to be logged. */
void vexfs_assert_block(struct super_block *sb, struct buffer_head *bh)
{
	const struct vexfs_header *h = (const void *)bh->b_data;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	const struct vexfs_extent_block *eb = (const void *)h;
	const char *check = NULL;
	int n;

	if (le64_to_cpu(h->blocknr) != bh->b_blocknr) {
		check = "place";
	} else if (h->magic == VEXFS_MAGIC_EXTENT) {
		/* Without entries it is about to be freed. */
		n = le16_to_cpu(eb->entries);
		check = n > VEXFS_NODE_ENTRIES ||
			le16_to_cpu(eb->depth) >= VEXFS_MAX_DEPTH ? "entries" :
			vexfs_entries_check(sbi, eb->e, n,
					    le16_to_cpu(eb->depth));
	} else if (h->magic == VEXFS_MAGIC_LEAF) {
		check = vexfs_leaf_check((const void *)h);
	} else if (h->magic == VEXFS_MAGIC_INDEX) {
		check = vexfs_index_check((const void *)h, U32_MAX);
	} else if (h->magic == VEXFS_MAGIC_GROUP) {
		check = vexfs_group_check(sbi, le32_to_cpu(h->owner),
					  (const void *)h);
	} else if (h->magic == VEXFS_MAGIC_SLOTS) {
		check = vexfs_slots_check((const void *)h);
	}
	if (check)
		vexfs_assert_failed(sb, vexfs_type_name(h->magic),
				    bh->b_blocknr, le32_to_cpu(h->owner),
				    check);
}

/* An inode, as it is going to be logged; its tree's root is held still. */
void vexfs_assert_inode(struct inode *inode)
{
	const struct vexfs_inode_info *vi = VEXFS_I(inode);
	const struct vexfs_store *s = (const void *)vi->special;
	const char *check = NULL;

	if (!(vi->flags & VEXFS_FL_ORPHAN) != !vi->orphan)
		check = "orphan";
	else if (!inode->i_nlink && !vi->orphan)
		check = "nlink";
	else if (vi->xattr_len > VEXFS_XATTR_INLINE)
		check = "xattr_len";
	else if (vexfs_is_store(inode) &&
		 (le32_to_cpu(s->live) > le32_to_cpu(s->slots) ||
		  vi->disk_size != (u64)le32_to_cpu(s->slots) *
				   le32_to_cpu(s->stride)))
		check = "store";
	else if (S_ISDIR(inode->i_mode) && inode->i_nlink == 1)
		check = "nlink";
	else if (S_ISREG(inode->i_mode) && vi->link && !vi->parent)
		check = "link";
	if (check)
		vexfs_assert_failed(inode->i_sb, "inode", 0, inode->i_ino,
				    check);
}
