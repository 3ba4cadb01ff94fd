// SPDX-License-Identifier: GPL-2.0-only
/*
 * The extent tree: changed. All of it under a handle and ext_sem, held for
 * writing. Room for new entries is made before anything else is changed, so a
 * full volume leaves a mapping as it was.
 */
#include "vexfs.h"

int vexfs_path_access(handle_t *handle, struct inode *inode,
		      struct vexfs_node *node)
{
	return node->bh ? vexfs_access(handle, inode->i_sb, node->bh) : 0;
}

int vexfs_path_dirty(handle_t *handle, struct inode *inode,
		     struct vexfs_node *node)
{
	VEXFS_I(inode)->ext_version++;
	if (node->bh)
		return vexfs_dirty(handle, inode->i_sb, node->bh);
	return vexfs_mark_inode(handle, inode);
}

static int vexfs_node_full(const struct vexfs_node *node, int need)
{
	return le16_to_cpu(*node->entries) + need > node->max;
}

void vexfs_node_insert(struct vexfs_node *node, int at, u32 lblk, u32 len,
		       u64 pblk)
{
	int n = le16_to_cpu(*node->entries);

	memmove(&node->e[at + 1], &node->e[at],
		(n - at) * sizeof(struct vexfs_extent));
	node->e[at].lblk = cpu_to_le32(lblk);
	node->e[at].len = cpu_to_le32(len);
	node->e[at].pblk = cpu_to_le64(pblk);
	*node->entries = cpu_to_le16(n + 1);
}

void vexfs_node_delete(struct vexfs_node *node, int at)
{
	int n = le16_to_cpu(*node->entries) - 1;

	memmove(&node->e[at], &node->e[at + 1],
		(n - at) * sizeof(struct vexfs_extent));
	memset(&node->e[n], 0, sizeof(struct vexfs_extent));
	*node->entries = cpu_to_le16(n);
}

static struct buffer_head *vexfs_node_new(handle_t *handle,
					  struct inode *inode)
{
	struct buffer_head *bh;
	u64 block;
	int n;

	n = vexfs_alloc(handle, inode, vexfs_goal(inode), 1, true, &block);
	if (n < 0)
		return ERR_PTR(n);
	bh = vexfs_new_block(handle, inode->i_sb, block, VEXFS_MAGIC_EXTENT,
			     inode->i_ino, inode->i_generation);
	return bh;
}

/* Moves the root's entries to a new block: one level more. */
static int vexfs_root_grow(handle_t *handle, struct inode *inode)
{
	struct vexfs_extent_root *root = &VEXFS_I(inode)->root;
	struct vexfs_extent_block *eb;
	struct buffer_head *bh;
	u32 lblk = le32_to_cpu(root->e[0].lblk);
	int err;

	if (le16_to_cpu(root->depth) >= VEXFS_MAX_DEPTH)
		return -EFBIG;
	bh = vexfs_node_new(handle, inode);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	eb = (struct vexfs_extent_block *)bh->b_data;
	eb->entries = root->entries;
	eb->depth = root->depth;
	memcpy(eb->e, root->e, sizeof(root->e));
	memset(root->e, 0, sizeof(root->e));
	root->e[0].lblk = cpu_to_le32(lblk);
	root->e[0].pblk = cpu_to_le64(bh->b_blocknr);
	root->entries = cpu_to_le16(1);
	le16_add_cpu(&root->depth, 1);
	VEXFS_I(inode)->ext_version++;
	err = vexfs_dirty(handle, inode->i_sb, bh);
	brelse(bh);
	return err ? err : vexfs_mark_inode(handle, inode);
}

/* Splits the full child of @parent that the path goes through. */
static int vexfs_node_split(handle_t *handle, struct inode *inode,
			    struct vexfs_node *parent, bool append)
{
	struct vexfs_node *child = parent + 1;
	int n = le16_to_cpu(*child->entries), keep;
	struct vexfs_extent_block *eb;
	struct buffer_head *bh;
	int err;

	/* At the end of a file that grows, the new node gets one entry. */
	keep = append ? n - 1 : n / 2;
	bh = vexfs_node_new(handle, inode);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	err = vexfs_path_access(handle, inode, child);
	if (!err)
		err = vexfs_path_access(handle, inode, parent);
	if (err)
		goto out;
	eb = (struct vexfs_extent_block *)bh->b_data;
	eb->depth = *child->depth;
	eb->entries = cpu_to_le16(n - keep);
	memcpy(eb->e, &child->e[keep], (n - keep) * sizeof(*eb->e));
	memset(&child->e[keep], 0, (n - keep) * sizeof(*eb->e));
	*child->entries = cpu_to_le16(keep);
	vexfs_node_insert(parent, parent->pos + 1, le32_to_cpu(eb->e[0].lblk),
			  0, bh->b_blocknr);
	err = vexfs_dirty(handle, inode->i_sb, bh);
	if (!err)
		err = vexfs_path_dirty(handle, inode, child);
	if (!err)
		err = vexfs_path_dirty(handle, inode, parent);
	if (!err)	/* it counts one block more */
		err = vexfs_mark_inode(handle, inode);
out:
	brelse(bh);
	return err;
}

/* Makes room for @need more entries in the leaf of @lblk. */
int vexfs_ext_room(handle_t *handle, struct inode *inode, u32 lblk, int need)
{
	struct vexfs_path path;
	bool append = true;
	int level, i, tries, err;

	for (tries = 0; tries < 3 * VEXFS_MAX_DEPTH; tries++) {
		err = vexfs_path_find(inode, lblk, &path);
		if (err)
			return err;
		if (!vexfs_node_full(&path.node[path.depth], need)) {
			vexfs_path_put(&path);
			return 0;
		}
		for (i = 0; i <= path.depth; i++)
			append &= path.node[i].pos ==
				  le16_to_cpu(*path.node[i].entries) - 1;
		/* The lowest ancestor that can take one entry more. */
		for (level = path.depth - 1; level >= 0; level--)
			if (!vexfs_node_full(&path.node[level], 1))
				break;
		if (level < 0)
			err = vexfs_root_grow(handle, inode);
		else
			err = vexfs_node_split(handle, inode,
					       &path.node[level], append);
		vexfs_path_put(&path);
		if (err)
			return err;
	}
	return vexfs_corrupt(inode->i_sb, "extent", 0, inode->i_ino, "depth");
}

/* Lowers the keys above an entry that was put in front of all others. */
static int vexfs_lower_keys(handle_t *handle, struct inode *inode,
			    struct vexfs_path *path, u32 lblk)
{
	int i, err;

	for (i = path->depth - 1; i >= 0; i--) {
		struct vexfs_node *node = &path->node[i];

		if (le32_to_cpu(node->e[node->pos].lblk) <= lblk)
			break;
		err = vexfs_path_access(handle, inode, node);
		if (err)
			return err;
		node->e[node->pos].lblk = cpu_to_le32(lblk);
		err = vexfs_path_dirty(handle, inode, node);
		if (err)
			return err;
	}
	return 0;
}

/* Inserts an extent where a hole is, or makes its left neighbour longer. */
int vexfs_ext_insert(handle_t *handle, struct inode *inode, u32 lblk, u32 len,
		     u64 pblk, bool unwritten)
{
	u32 flag = unwritten ? VEXFS_EXT_UNWRITTEN : 0;
	struct vexfs_path path;
	struct vexfs_node *leaf;
	int err;

	err = vexfs_ext_room(handle, inode, lblk, 1);
	if (err)
		return err;
	err = vexfs_path_find(inode, lblk, &path);
	if (err)
		return err;
	leaf = &path.node[path.depth];
	err = vexfs_path_access(handle, inode, leaf);
	if (err)
		goto out;
	if (leaf->pos >= 0) {
		struct vexfs_extent *e = &leaf->e[leaf->pos];
		u32 elen = le32_to_cpu(e->len) & VEXFS_EXT_LEN;

		if ((le32_to_cpu(e->len) & VEXFS_EXT_UNWRITTEN) == flag &&
		    le32_to_cpu(e->lblk) + elen == lblk &&
		    le64_to_cpu(e->pblk) + elen == pblk &&
		    vexfs_usable(VEXFS_SB(inode->i_sb), le64_to_cpu(e->pblk),
				 elen + len)) {
			e->len = cpu_to_le32((elen + len) | flag);
			err = vexfs_path_dirty(handle, inode, leaf);
			goto out;
		}
	}
	vexfs_node_insert(leaf, leaf->pos + 1, lblk, len | flag, pblk);
	err = vexfs_path_dirty(handle, inode, leaf);
	if (!err && leaf->pos < 0)
		err = vexfs_lower_keys(handle, inode, &path, lblk);
out:
	vexfs_path_put(&path);
	return err;
}

/* Gives the hole at @lblk up to @want blocks; says in @map what it got. */
int vexfs_ext_alloc(handle_t *handle, struct inode *inode, u32 lblk, u32 want,
		    bool unwritten, struct vexfs_map *map)
{
	u64 goal = vexfs_goal(inode), block = 0;
	struct vexfs_path path;
	struct vexfs_node *leaf;
	int n, err;

	/* The room first: its failure leaves nothing to undo. */
	err = vexfs_ext_room(handle, inode, lblk, 1);
	if (err)
		return err;
	err = vexfs_path_find(inode, lblk, &path);
	if (err)
		return err;
	leaf = &path.node[path.depth];
	if (leaf->pos >= 0) {
		const struct vexfs_extent *e = &leaf->e[leaf->pos];

		goal = le64_to_cpu(e->pblk) +
		       (le32_to_cpu(e->len) & VEXFS_EXT_LEN);
	}
	vexfs_path_put(&path);
	n = vexfs_alloc(handle, inode, goal, want, false, &block);
	if (n < 0)
		return n;
	if (!vexfs_is_meta(inode, lblk))
		clean_bdev_aliases(inode->i_sb->s_bdev, block, n);
	map->lblk = lblk;
	map->len = n;
	map->pblk = block;
	map->unwritten = unwritten;
	err = vexfs_ext_insert(handle, inode, lblk, n, block, unwritten);
	return err ? err : vexfs_mark_inode(handle, inode);
}

/* Turns the part [@s, @e) of the unwritten extent at the path to written. */
static int vexfs_convert_one(handle_t *handle, struct inode *inode,
			     struct vexfs_node *leaf, u32 s, u32 e)
{
	struct vexfs_extent *x = &leaf->e[leaf->pos];
	u32 l = le32_to_cpu(x->lblk), len = le32_to_cpu(x->len) & VEXFS_EXT_LEN;
	u64 p = le64_to_cpu(x->pblk);
	u32 end = l + len;
	int at = leaf->pos, err;

	err = vexfs_path_access(handle, inode, leaf);
	if (err)
		return err;
	if (s == l && at > 0) {
		struct vexfs_extent *y = x - 1;
		u32 ylen = le32_to_cpu(y->len);

		if (!(ylen & VEXFS_EXT_UNWRITTEN) &&
		    le32_to_cpu(y->lblk) + ylen == l &&
		    le64_to_cpu(y->pblk) + ylen == p &&
		    vexfs_usable(VEXFS_SB(inode->i_sb), le64_to_cpu(y->pblk),
				 ylen + (e - s))) {
			y->len = cpu_to_le32(ylen + (e - s));
			if (e == end) {
				vexfs_node_delete(leaf, at);
			} else {
				x->lblk = cpu_to_le32(e);
				x->pblk = cpu_to_le64(p + (e - l));
				x->len = cpu_to_le32((end - e) |
						     VEXFS_EXT_UNWRITTEN);
			}
			return vexfs_path_dirty(handle, inode, leaf);
		}
	}
	if (e < end)
		vexfs_node_insert(leaf, at + 1, e,
				  (end - e) | VEXFS_EXT_UNWRITTEN,
				  p + (e - l));
	if (s > l) {
		x->len = cpu_to_le32((s - l) | VEXFS_EXT_UNWRITTEN);
		vexfs_node_insert(leaf, at + 1, s, e - s, p + (s - l));
	} else {
		x->len = cpu_to_le32(e - s);
	}
	return vexfs_path_dirty(handle, inode, leaf);
}

/*
 * Makes what is unwritten in the range written: its contents are on the disk.
 * At most one extent a call; returns how many blocks were dealt with.
 */
int vexfs_ext_convert(handle_t *handle, struct inode *inode, u32 lblk, u32 len)
{
	struct vexfs_path path;
	struct vexfs_node *leaf;
	struct vexfs_map map;
	int err;

	err = vexfs_map_locked(inode, lblk, &map);
	if (err)
		return err;
	len = min3(len, map.len, (u32)VEXFS_GROUP_BLOCKS);
	if (!map.pblk || !map.unwritten)
		return len;
	err = vexfs_ext_room(handle, inode, lblk, 2);
	if (err)
		return err;
	err = vexfs_path_find(inode, lblk, &path);
	if (err)
		return err;
	leaf = &path.node[path.depth];
	err = vexfs_convert_one(handle, inode, leaf, lblk, lblk + len);
	vexfs_path_put(&path);
	return err ? err : len;
}
