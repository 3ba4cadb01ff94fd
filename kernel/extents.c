// SPDX-License-Identifier: GPL-2.0-only
/*
 * The extent tree: checked and read (format.md, section 7).
 */
#include "vexfs.h"

/* What is wrong with @n entries of a node of @depth, or NULL. */
const char *vexfs_entries_check(const struct vexfs_sb_info *sbi,
				const struct vexfs_extent *e, int n, int depth)
{
	u64 end = 0;
	int i;

	for (i = 0; i < n; i++) {
		u32 lblk = le32_to_cpu(e[i].lblk), len = le32_to_cpu(e[i].len);

		if (depth && (len || (i && lblk < end)))
			return len ? "zero" : "order";
		if (depth) {
			if (!vexfs_usable(sbi, le64_to_cpu(e[i].pblk), 1))
				return "range";
			end = (u64)lblk + 1;
			continue;
		}
		len &= VEXFS_EXT_LEN;
		if (lblk < end)
			return "order";
		end = (u64)lblk + len;
		if (!len || len > VEXFS_GROUP_BLOCKS || end > U32_MAX ||
		    !vexfs_usable(sbi, le64_to_cpu(e[i].pblk), len))
			return "range";
	}
	return NULL;
}

int vexfs_root_check(struct super_block *sb, u64 block, u32 ino,
		     const struct vexfs_extent_root *root)
{
	int n = le16_to_cpu(root->entries), depth = le16_to_cpu(root->depth);
	const char *check;

	if (n > VEXFS_ROOT_ENTRIES || depth > VEXFS_MAX_DEPTH || (depth && !n))
		check = "entries";
	else
		check = vexfs_entries_check(VEXFS_SB(sb), root->e, n, depth);
	return check ? vexfs_corrupt(sb, "extent", block, ino, check) : 0;
}

static int vexfs_node_read(struct inode *inode, u64 block, int depth,
			   struct vexfs_node *node)
{
	struct super_block *sb = inode->i_sb;
	struct vexfs_extent_block *eb;
	const char *check = NULL;
	struct buffer_head *bh;
	int n;

	bh = vexfs_bread(sb, block, VEXFS_MAGIC_EXTENT, inode->i_ino,
			 inode->i_generation, inode->i_ino);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	eb = (struct vexfs_extent_block *)bh->b_data;
	n = le16_to_cpu(eb->entries);
	if (le16_to_cpu(eb->depth) != depth)
		check = "depth";
	else if (!n || n > VEXFS_NODE_ENTRIES)
		check = "entries";
	else if (!buffer_verified(bh))
		check = vexfs_entries_check(VEXFS_SB(sb), eb->e, n, depth);
	if (check) {
		brelse(bh);
		return vexfs_corrupt(sb, "extent", block, inode->i_ino, check);
	}
	set_buffer_verified(bh);
	node->bh = bh;
	node->entries = &eb->entries;
	node->depth = &eb->depth;
	node->e = eb->e;
	node->max = VEXFS_NODE_ENTRIES;
	return 0;
}

/* The last entry whose lblk is not above the key, or -1. */
static int vexfs_node_find(const struct vexfs_node *node, u32 lblk)
{
	int low = 0, high = le16_to_cpu(*node->entries);

	while (low < high) {
		int mid = (low + high) / 2;

		if (le32_to_cpu(node->e[mid].lblk) <= lblk)
			low = mid + 1;
		else
			high = mid;
	}
	return low - 1;
}

void vexfs_path_put(struct vexfs_path *path)
{
	int i;

	for (i = 0; i <= path->depth; i++) {
		brelse(path->node[i].bh);
		path->node[i].bh = NULL;
	}
}

/* Descends to the leaf for @lblk; node[0] is the root. Under ext_sem. */
int vexfs_path_find(struct inode *inode, u32 lblk, struct vexfs_path *path)
{
	struct vexfs_extent_root *root = &VEXFS_I(inode)->root;
	struct vexfs_node *node = &path->node[0];
	int i, err, depth = le16_to_cpu(root->depth);

	memset(path, 0, sizeof(*path));
	node->entries = &root->entries;
	node->depth = &root->depth;
	node->e = root->e;
	node->max = VEXFS_ROOT_ENTRIES;
	node->pos = vexfs_node_find(node, lblk);
	for (i = 1; i <= depth; i++) {
		/* Entry 0 also stands for smaller keys. */
		if (node->pos < 0)
			node->pos = 0;
		err = vexfs_node_read(inode,
				      le64_to_cpu(node->e[node->pos].pblk),
				      depth - i, node + 1);
		if (err) {
			vexfs_path_put(path);
			return err;
		}
		node++;
		path->depth = i;
		node->pos = vexfs_node_find(node, lblk);
	}
	return 0;
}

/* The first mapped block after the path's position; U32_MAX if none. */
static u32 vexfs_path_next(const struct vexfs_path *path)
{
	int i;

	for (i = path->depth; i >= 0; i--) {
		const struct vexfs_node *node = &path->node[i];

		if (node->pos + 1 < le16_to_cpu(*node->entries))
			return le32_to_cpu(node->e[node->pos + 1].lblk);
	}
	return U32_MAX;
}

/*
 * What @lblk is mapped to. A hole ends where the next entry begins; an index
 * entry may begin earlier than what is below it, so a hole may come in parts.
 */
int vexfs_map_locked(struct inode *inode, u32 lblk, struct vexfs_map *map)
{
	const struct vexfs_node *leaf;
	struct vexfs_path path;
	u32 start, len, next;
	int err;

	err = vexfs_path_find(inode, lblk, &path);
	if (err)
		return err;
	leaf = &path.node[path.depth];
	map->lblk = lblk;
	map->pblk = 0;
	map->unwritten = false;
	if (leaf->pos >= 0) {
		const struct vexfs_extent *e = &leaf->e[leaf->pos];

		start = le32_to_cpu(e->lblk);
		len = le32_to_cpu(e->len) & VEXFS_EXT_LEN;
		if (lblk - start < len) {
			map->pblk = le64_to_cpu(e->pblk) + (lblk - start);
			map->len = len - (lblk - start);
			map->unwritten = le32_to_cpu(e->len) &
					 VEXFS_EXT_UNWRITTEN;
			goto out;
		}
	}
	next = vexfs_path_next(&path);
	/* Order between blocks is not checked on reading: never go back. */
	map->len = next > lblk ? next - lblk : 1;
out:
	vexfs_path_put(&path);
	return 0;
}

int vexfs_map(struct inode *inode, u32 lblk, struct vexfs_map *map)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	int err;

	down_read(&vi->ext_sem);
	err = vexfs_map_locked(inode, lblk, map);
	up_read(&vi->ext_sem);
	return err;
}
