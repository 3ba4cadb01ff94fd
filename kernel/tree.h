/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The trees: extents of an inode, and names of a directory. Part of vexfs.h.
 */
#ifndef VEXFS_TREE_H
#define VEXFS_TREE_H

/* extents.c and extmod.c */
struct vexfs_map {
	u32 lblk;
	u32 len;		/* of the extent or hole from lblk on */
	u64 pblk;		/* 0: a hole */
	bool unwritten;
};

struct vexfs_node {
	struct buffer_head *bh;	/* NULL: the root, in the inode */
	__le16 *entries;
	__le16 *depth;
	struct vexfs_extent *e;
	int max;
	int pos;		/* the last entry at or below the key, or -1 */
};

struct vexfs_path {
	struct vexfs_node node[VEXFS_MAX_DEPTH + 1];
	int depth;
};

const char *vexfs_entries_check(const struct vexfs_sb_info *sbi,
				const struct vexfs_extent *e, int n, int depth);
int vexfs_path_find(struct inode *inode, u32 lblk, struct vexfs_path *path);
void vexfs_path_put(struct vexfs_path *path);
int vexfs_root_check(struct super_block *sb, u64 block, u32 ino,
		     const struct vexfs_extent_root *root);
int vexfs_map(struct inode *inode, u32 lblk, struct vexfs_map *map);
int vexfs_map_locked(struct inode *inode, u32 lblk, struct vexfs_map *map);
int vexfs_ext_room(handle_t *handle, struct inode *inode, u32 lblk, int need);
int vexfs_ext_insert(handle_t *handle, struct inode *inode, u32 lblk, u32 len,
		     u64 pblk, bool unwritten);
int vexfs_ext_alloc(handle_t *handle, struct inode *inode, u32 lblk, u32 want,
		    bool unwritten, struct vexfs_map *map);
int vexfs_ext_convert(handle_t *handle, struct inode *inode, u32 lblk,
		      u32 len);
int vexfs_path_dirty(handle_t *handle, struct inode *inode,
		     struct vexfs_node *node);
void vexfs_node_insert(struct vexfs_node *node, int at, u32 lblk, u32 len,
		       u64 pblk);
void vexfs_node_delete(struct vexfs_node *node, int at);
int vexfs_path_access(handle_t *handle, struct inode *inode,
		      struct vexfs_node *node);

/* extfree.c: what one handle can take, and what it needs for that */
#define VEXFS_PIECES		4	/* extents freed */
#define VEXFS_PIECE_REVOKES	256	/* metadata blocks revoked */
#define VEXFS_REMOVE_CREDITS	(4 * VEXFS_PIECES + 24)
#define VEXFS_REMOVE_REVOKES	(VEXFS_PIECE_REVOKES + 24)

int vexfs_remove_some(handle_t *handle, struct inode *inode, u32 first,
		      u32 last);
int vexfs_remove_range(struct inode *inode, u32 first, u32 last);

/* dir.c and dirmod.c */
struct vexfs_dpath {
	struct buffer_head *bh[VEXFS_DIR_LEVEL_MAX + 1];
	int pos[VEXFS_DIR_LEVEL_MAX + 1];
	int levels;		/* bh[levels - 1] is the leaf */
	u64 next;		/* least key of the next leaf; 0: none */
};

const char *vexfs_leaf_check(const struct vexfs_leaf *leaf);
const char *vexfs_index_check(const struct vexfs_index *index, u32 blocks);
u64 vexfs_hash(const struct vexfs_sb_info *sbi, const char *name, int len);
struct buffer_head *vexfs_dir_bread(struct inode *dir, u32 lblk, int level);
int vexfs_dir_find(struct inode *dir, u64 key, struct vexfs_dpath *path);
void vexfs_dpath_put(struct vexfs_dpath *path);
struct vexfs_record *vexfs_dir_search(struct inode *dir,
				      struct vexfs_leaf *leaf, u64 hash,
				      const struct qstr *name);
int vexfs_dir_lookup(struct inode *dir, const struct qstr *name, u32 *ino);
int vexfs_dir_init(handle_t *handle, struct inode *dir);
int vexfs_dir_add(handle_t *handle, struct inode *dir, const struct qstr *name,
		  struct inode *inode);
int vexfs_dir_remove(handle_t *handle, struct inode *dir,
		     const struct qstr *name, u32 ino);
int vexfs_dir_set(handle_t *handle, struct inode *dir, const struct qstr *name,
		  u32 ino, struct inode *inode);
u32 vexfs_dir_entries(const struct inode *dir);
static inline unsigned int vexfs_record_size(unsigned int name_len)
{
	return (VEXFS_DIR_NAME_OFFSET + name_len + 7) & ~7U;
}

#endif /* VEXFS_TREE_H */
