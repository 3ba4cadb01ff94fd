// SPDX-License-Identifier: GPL-2.0-only
/*
 * The extent tree: ranges taken out of it, a bounded piece a transaction.
 */
#include "vexfs.h"

static int vexfs_revoke(handle_t *handle, struct inode *inode, u64 block)
{
	struct super_block *sb = inode->i_sb;
	struct buffer_head *bh;
	int err;

	bh = sb_find_get_block(sb, block);
	if (bh)
		clear_buffer_verified(bh);
	handle->h_type = 1;
	/* Takes over the reference to bh. */
	err = jbd2_journal_revoke(handle, block, bh);
	return err;
}

/* Frees the path's empty nodes, from the leaf up, and logs the inode. */
static int vexfs_prune(handle_t *handle, struct inode *inode,
		       struct vexfs_path *path)
{
	struct vexfs_extent_root *root = &VEXFS_I(inode)->root;
	int i, err;

	for (i = path->depth; i > 0; i--) {
		struct vexfs_node *node = &path->node[i];
		struct vexfs_node *parent = node - 1;
		u64 block;

		if (*node->entries)
			break;	/* the inode's count of blocks has changed */
		block = node->bh->b_blocknr;
		clear_buffer_verified(node->bh);
		handle->h_type = 1;
		/* The journal drops the reference that the path had. */
		err = jbd2_journal_revoke(handle, block, node->bh);
		node->bh = NULL;
		if (!err)
			err = vexfs_free(handle, inode, block, 1);
		if (!err)
			err = vexfs_path_access(handle, inode, parent);
		if (err)
			return err;
		vexfs_node_delete(parent, parent->pos);
		err = vexfs_path_dirty(handle, inode, parent);
		if (err)
			return err;
	}
	if (root->depth && !root->entries)
		root->depth = 0;
	return vexfs_mark_inode(handle, inode);
}

static int vexfs_free_run(handle_t *handle, struct inode *inode, u64 block,
			  u32 len, bool meta)
{
	u32 i;
	int err;

	if (meta) {
		for (i = 0; i < len; i++) {
			err = vexfs_revoke(handle, inode, block + i);
			if (err)
				return err;
		}
	}
	return vexfs_free(handle, inode, block, len);
}

/* Finds the last extent that reaches into [@first, @last]: 1, or 0 for none. */
static int vexfs_last_extent(struct inode *inode, u32 first, u32 last,
			     struct vexfs_path *path)
{
	const struct vexfs_extent *x;
	struct vexfs_node *leaf;
	u32 key;
	int err;

	for (;;) {
		err = vexfs_path_find(inode, last, path);
		if (err)
			return err;
		leaf = &path->node[path->depth];
		x = &leaf->e[leaf->pos];
		if (leaf->pos >= 0 &&
		    le32_to_cpu(x->lblk) +
		    (le32_to_cpu(x->len) & VEXFS_EXT_LEN) > first)
			return 1;
		/* The first key of a leaf need not be exact: look before it. */
		key = leaf->pos < 0 && path->depth ?
		      le32_to_cpu(leaf[-1].e[leaf[-1].pos].lblk) : 0;
		vexfs_path_put(path);
		if (!key || key > last || key <= first)
			return 0;
		last = key - 1;	/* less each time, so this ends */
	}
}

/* Takes [@from, @to) out of the extent at the leaf's position. */
static void vexfs_cut(struct vexfs_node *leaf, u32 from, u32 to)
{
	struct vexfs_extent *x = &leaf->e[leaf->pos];
	u32 l = le32_to_cpu(x->lblk), len = le32_to_cpu(x->len) & VEXFS_EXT_LEN;
	u32 flag = le32_to_cpu(x->len) & VEXFS_EXT_UNWRITTEN;
	u32 rest = l + len - to;
	u64 p = le64_to_cpu(x->pblk);

	if (from > l) {
		x->len = cpu_to_le32((from - l) | flag);
		if (rest)
			vexfs_node_insert(leaf, leaf->pos + 1, to, rest | flag,
					  p + (to - l));
	} else if (rest) {
		x->lblk = cpu_to_le32(to);
		x->len = cpu_to_le32(rest | flag);
		x->pblk = cpu_to_le64(p + (to - l));
	} else {
		vexfs_node_delete(leaf, leaf->pos);
	}
}

/*
 * Unmaps the last extent, or part of one, that lies in [@first, @last].
 * Returns 1 if there may be more, 0 if nothing is left there.
 */
static int vexfs_remove_last(handle_t *handle, struct inode *inode, u32 first,
			     u32 last, u32 *revokes)
{
	struct vexfs_path path;
	struct vexfs_node *leaf;
	u32 l, end, from, to;
	bool meta;
	u64 p;
	int err;

	err = vexfs_last_extent(inode, first, last, &path);
	if (err <= 0)
		return err;
	leaf = &path.node[path.depth];
	l = le32_to_cpu(leaf->e[leaf->pos].lblk);
	end = l + (le32_to_cpu(leaf->e[leaf->pos].len) & VEXFS_EXT_LEN);
	p = le64_to_cpu(leaf->e[leaf->pos].pblk);
	from = max(l, first);
	to = min(end - 1, last) + 1;	/* exclusive */
	meta = vexfs_is_meta(inode, to - 1);
	if (meta) {
		if (!vexfs_is_meta(inode, from))
			from = VEXFS_SLOT_LBLK;
		from = max(from, to > *revokes ? to - *revokes : 0);
		*revokes -= to - from;
	}
	if (from > l && to < end) {
		/* A hole in the middle: room for the second part first. */
		vexfs_path_put(&path);
		err = vexfs_ext_room(handle, inode, from, 1);
		if (err)
			return err;
		err = vexfs_path_find(inode, from, &path);
		if (err)
			return err;
		leaf = &path.node[path.depth];
	}
	err = vexfs_path_access(handle, inode, leaf);
	if (!err)
		err = vexfs_free_run(handle, inode, p + (from - l), to - from,
				     meta);
	if (!err) {
		vexfs_cut(leaf, from, to);
		VEXFS_I(inode)->ext_version++;
		/* The root is in the inode, which vexfs_prune() writes. */
		if (leaf->bh)
			err = vexfs_dirty(handle, inode->i_sb, leaf->bh);
	}
	if (!err)
		err = vexfs_prune(handle, inode, &path);
	vexfs_path_put(&path);
	return err ? err : 1;
}

/*
 * Frees blocks of [@first, @last], from the end, as many as a handle of
 * VEXFS_REMOVE_CREDITS can. Returns 1 if there may be more, 0 if none is left.
 */
int vexfs_remove_some(handle_t *handle, struct inode *inode, u32 first,
		      u32 last)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	u32 revokes = VEXFS_PIECE_REVOKES;
	int i, more = 1;

	down_write(&vi->ext_sem);
	for (i = 0; i < VEXFS_PIECES && more > 0 && revokes; i++)
		more = vexfs_remove_last(handle, inode, first, last, &revokes);
	up_write(&vi->ext_sem);
	return more;
}

/* Frees the blocks of [@first, @last], from the end, in several handles. */
int vexfs_remove_range(struct inode *inode, u32 first, u32 last)
{
	handle_t *handle;
	int more;

	do {
		handle = vexfs_start(inode->i_sb, VEXFS_REMOVE_CREDITS,
				     VEXFS_REMOVE_REVOKES);
		if (IS_ERR(handle))
			return PTR_ERR(handle);
		more = vexfs_remove_some(handle, inode, first, last);
		more = vexfs_stop(handle, min(more, 0)) ?: more;
		cond_resched();
	} while (more > 0);
	return more;
}
