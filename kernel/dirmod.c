// SPDX-License-Identifier: GPL-2.0-only
/*
 * Directories: names added, removed, and given another inode. All under a
 * handle and the directory's i_rwsem.
 */
#include "vexfs.h"

static u8 vexfs_type_of(umode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return 1;
	case S_IFDIR:
		return 2;
	case S_IFCHR:
		return 3;
	case S_IFBLK:
		return 4;
	case S_IFIFO:
		return 5;
	case S_IFSOCK:
		return 6;
	}
	return 7;
}

static void vexfs_count_entries(struct inode *dir, int change)
{
	le32_add_cpu((__le32 *)VEXFS_I(dir)->special, change);
}

/* A new block at the end of the directory, an empty leaf. */
static struct buffer_head *vexfs_dir_append(handle_t *handle,
					    struct inode *dir)
{
	u32 lblk = dir->i_size >> VEXFS_BLOCK_BITS;
	struct vexfs_inode_info *vi = VEXFS_I(dir);
	struct buffer_head *bh;
	struct vexfs_leaf *leaf;
	struct vexfs_map map;
	int err;

	if (lblk >= VEXFS_MAX_LBLK)
		return ERR_PTR(-ENOSPC);
	down_write(&vi->ext_sem);
	err = vexfs_ext_alloc(handle, dir, lblk, 1, false, &map);
	up_write(&vi->ext_sem);
	if (err)
		return ERR_PTR(err);
	bh = vexfs_new_block(handle, dir->i_sb, map.pblk, VEXFS_MAGIC_LEAF,
			     dir->i_ino, dir->i_generation);
	if (IS_ERR(bh))
		return bh;
	leaf = (struct vexfs_leaf *)bh->b_data;
	leaf->lblk = cpu_to_le32(lblk);
	i_size_write(dir, dir->i_size + VEXFS_BLOCK_SIZE);
	err = vexfs_mark_inode(handle, dir);
	if (err) {
		brelse(bh);
		return ERR_PTR(err);
	}
	return bh;
}

/* Gives a new directory its first, empty leaf. */
int vexfs_dir_init(handle_t *handle, struct inode *dir)
{
	struct buffer_head *bh;
	int err;

	bh = vexfs_dir_append(handle, dir);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	err = vexfs_dirty(handle, dir->i_sb, bh);
	brelse(bh);
	return err;
}

/* Moves the root's contents to a new block: the root becomes their index. */
static int vexfs_dir_grow(handle_t *handle, struct inode *dir,
			  struct buffer_head *root)
{
	const unsigned int at = offsetof(struct vexfs_index, level);
	struct vexfs_index *old = (void *)root->b_data, *new;
	int level = le16_to_cpu(old->level), err;
	struct buffer_head *bh;
	__le32 lblk;

	if (level >= VEXFS_DIR_LEVEL_MAX)
		return -ENOSPC;
	bh = vexfs_dir_append(handle, dir);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	new = (struct vexfs_index *)bh->b_data;
	lblk = new->lblk;
	err = vexfs_access(handle, dir->i_sb, root);
	if (err)
		goto out;
	new->h.magic = old->h.magic;
	memcpy(bh->b_data + at, root->b_data + at, VEXFS_BLOCK_SIZE - at);
	new->lblk = lblk;
	memset(root->b_data + at, 0, VEXFS_BLOCK_SIZE - at);
	old->h.magic = VEXFS_MAGIC_INDEX;
	old->level = cpu_to_le16(level + 1);
	old->entries = cpu_to_le16(1);
	old->e[0].lblk = lblk;
	err = vexfs_dirty(handle, dir->i_sb, bh);
	if (!err)
		err = vexfs_dirty(handle, dir->i_sb, root);
out:
	brelse(bh);
	return err;
}

/*
 * Where to split a leaf: the boundary nearest to the middle at which the hash
 * changes. There is one, as eight records do not fill a leaf.
 */
static u32 vexfs_split_point(const struct vexfs_leaf *leaf, u64 *key)
{
	u32 used = le16_to_cpu(leaf->used), at = 0, best = 0;
	u64 last = 0;

	while (at < used) {
		const struct vexfs_record *r = (const void *)&leaf->data[at];
		u64 hash = le64_to_cpu(r->key) & ~7ULL;

		if (at && hash != last &&
		    (!best || abs((int)(at - used / 2)) <
			      abs((int)(best - used / 2)))) {
			best = at;
			*key = hash;
		}
		last = hash;
		at += vexfs_record_size(r->name_len);
	}
	return best;
}

/* Moves what is behind @keep (bytes of a leaf, or entries) to an empty block. */
static void vexfs_dir_move(struct vexfs_index *from, struct vexfs_index *to,
			   int keep)
{
	to->h.magic = from->h.magic;
	to->level = from->level;
	if (!from->level) {
		struct vexfs_leaf *old = (void *)from, *new = (void *)to;
		int used = le16_to_cpu(old->used);

		memcpy(new->data, &old->data[keep], used - keep);
		memset(&old->data[keep], 0, used - keep);
		new->used = cpu_to_le16(used - keep);
		old->used = cpu_to_le16(keep);
	} else {
		int all = le16_to_cpu(from->entries);

		memcpy(to->e, &from->e[keep], (all - keep) * sizeof(*to->e));
		memset(&from->e[keep], 0, (all - keep) * sizeof(*to->e));
		to->entries = cpu_to_le16(all - keep);
		from->entries = cpu_to_le16(keep);
	}
}

static void vexfs_index_insert(struct vexfs_index *index, int at, u64 key,
			       __le32 lblk)
{
	int n = le16_to_cpu(index->entries);

	memmove(&index->e[at + 1], &index->e[at],
		(n - at) * sizeof(*index->e));
	index->e[at].key = cpu_to_le64(key);
	index->e[at].lblk = lblk;
	index->e[at].zero = 0;
	index->entries = cpu_to_le16(n + 1);
}

/* Splits the block at level @i of the path; its parent has room. */
static int vexfs_dir_split(handle_t *handle, struct inode *dir,
			   struct vexfs_dpath *path, int i)
{
	struct vexfs_index *parent = (void *)path->bh[i - 1]->b_data;
	struct vexfs_index *child = (void *)path->bh[i]->b_data, *new;
	struct super_block *sb = dir->i_sb;
	int at = path->pos[i - 1] + 1, n = le16_to_cpu(parent->entries);
	struct buffer_head *bh;
	u64 key = 0;
	int keep, err;

	if (!child->level) {
		keep = vexfs_split_point((const void *)child, &key);
		if (!keep)
			return vexfs_corrupt(sb, "directory",
					     path->bh[i]->b_blocknr,
					     dir->i_ino, "key");
	} else {
		keep = le16_to_cpu(child->entries) / 2;
		key = le64_to_cpu(child->e[keep].key);
	}
	/* Nothing may be changed yet: the keys above must stay in order. */
	if ((at < n && key >= le64_to_cpu(parent->e[at].key)) ||
	    key <= le64_to_cpu(parent->e[at - 1].key))
		return vexfs_corrupt(sb, "directory", path->bh[i]->b_blocknr,
				     dir->i_ino, "key");
	bh = vexfs_dir_append(handle, dir);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	new = (struct vexfs_index *)bh->b_data;
	err = vexfs_access(handle, sb, path->bh[i]);
	if (!err)
		err = vexfs_access(handle, sb, path->bh[i - 1]);
	if (err)
		goto out;
	vexfs_dir_move(child, new, keep);
	vexfs_index_insert(parent, at, key, new->lblk);
	err = vexfs_dirty(handle, sb, bh);
	if (!err)
		err = vexfs_dirty(handle, sb, path->bh[i]);
	if (!err)
		err = vexfs_dirty(handle, sb, path->bh[i - 1]);
out:
	brelse(bh);
	return err;
}

/* One step towards room in the leaf: a split, or a new root. */
static int vexfs_dir_make_room(handle_t *handle, struct inode *dir,
			       struct vexfs_dpath *path)
{
	int i;

	for (i = path->levels - 2; i >= 0; i--) {
		const struct vexfs_index *index = (void *)path->bh[i]->b_data;

		if (le16_to_cpu(index->entries) < VEXFS_DIR_ENTRIES)
			return vexfs_dir_split(handle, dir, path, i + 1);
	}
	return vexfs_dir_grow(handle, dir, path->bh[0]);
}

/* Finds the place and the key for a name with @hash; -EEXIST, -ENOSPC. */
static int vexfs_dir_place(const struct vexfs_leaf *leaf, u64 hash,
			   const struct qstr *name, u64 *key)
{
	u32 used = le16_to_cpu(leaf->used), at = 0, place = 0, c = 0;
	bool found = false;

	while (at < used) {
		const struct vexfs_record *r = (const void *)&leaf->data[at];
		u64 k = le64_to_cpu(r->key);

		if (k > hash + 7)
			break;
		if (k >= hash) {
			if (r->name_len == name->len &&
			    !memcmp(r->name, name->name, name->len))
				return -EEXIST;
			if (!found && k == hash + c) {
				c++;
			} else if (!found) {
				found = true;
				place = at;
			}
		}
		at += vexfs_record_size(r->name_len);
	}
	if (c > 7)
		return -ENOSPC;
	*key = hash + c;
	return found ? place : at;
}

int vexfs_dir_add(handle_t *handle, struct inode *dir, const struct qstr *name,
		  struct inode *inode)
{
	u64 hash = vexfs_hash(VEXFS_SB(dir->i_sb), name->name, name->len), key;
	u32 size = vexfs_record_size(name->len), used;
	struct vexfs_dpath path;
	struct vexfs_record *r;
	struct vexfs_leaf *leaf;
	struct buffer_head *bh;
	int at, tries, err;

	for (tries = 0; tries < 4 * VEXFS_DIR_LEVEL_MAX; tries++) {
		err = vexfs_dir_find(dir, hash, &path);
		if (err)
			return err;
		bh = path.bh[path.levels - 1];
		leaf = (struct vexfs_leaf *)bh->b_data;
		used = le16_to_cpu(leaf->used);
		at = vexfs_dir_place(leaf, hash, name, &key);
		if (at < 0) {
			err = at;
			goto out;
		}
		if (used + size <= VEXFS_DIR_BYTES)
			goto insert;
		err = vexfs_dir_make_room(handle, dir, &path);
		vexfs_dpath_put(&path);
		if (err)
			return err;
	}
	return vexfs_corrupt(dir->i_sb, "directory", 0, dir->i_ino, "level");

insert:
	err = vexfs_access(handle, dir->i_sb, bh);
	if (err)
		goto out;
	r = (struct vexfs_record *)&leaf->data[at];
	memmove(&leaf->data[at + size], r, used - at);
	memset(r, 0, size);
	r->key = cpu_to_le64(key);
	r->ino = cpu_to_le32(inode->i_ino);
	r->name_len = name->len;
	r->type = vexfs_type_of(inode->i_mode);
	memcpy(r->name, name->name, name->len);
	leaf->used = cpu_to_le16(used + size);
	err = vexfs_dirty(handle, dir->i_sb, bh);
	if (!err) {
		vexfs_count_entries(dir, 1);
		vexfs_set_mtime(dir, inode_set_ctime_current(dir));
		err = vexfs_mark_inode(handle, dir);
	}
out:
	vexfs_dpath_put(&path);
	return err;
}

/* Finds the record of a name that is for @ino, in the transaction. */
static int vexfs_dir_get(handle_t *handle, struct inode *dir,
			 const struct qstr *name, u32 ino,
			 struct vexfs_dpath *path, struct vexfs_record **r)
{
	u64 hash = vexfs_hash(VEXFS_SB(dir->i_sb), name->name, name->len);
	int err;

	err = vexfs_dir_find(dir, hash, path);
	if (err)
		return err;
	*r = vexfs_dir_search(dir, (void *)path->bh[path->levels - 1]->b_data,
			      hash, name);
	/* The VFS has found it, and nobody else may change the directory. */
	if (!*r || le32_to_cpu((*r)->ino) != ino)
		err = vexfs_corrupt(dir->i_sb, "directory",
				    path->bh[path->levels - 1]->b_blocknr,
				    dir->i_ino, "record");
	else
		err = vexfs_access(handle, dir->i_sb,
				   path->bh[path->levels - 1]);
	if (err)
		vexfs_dpath_put(path);
	return err;
}

int vexfs_dir_remove(handle_t *handle, struct inode *dir,
		     const struct qstr *name, u32 ino)
{
	struct vexfs_dpath path;
	struct vexfs_record *r;
	struct vexfs_leaf *leaf;
	struct buffer_head *bh;
	u32 used, size, at;
	int err;

	err = vexfs_dir_get(handle, dir, name, ino, &path, &r);
	if (err)
		return err;
	bh = path.bh[path.levels - 1];
	leaf = (struct vexfs_leaf *)bh->b_data;
	used = le16_to_cpu(leaf->used);
	size = vexfs_record_size(r->name_len);
	at = (u8 *)r - leaf->data;
	memmove(r, (u8 *)r + size, used - at - size);
	memset(&leaf->data[used - size], 0, size);
	leaf->used = cpu_to_le16(used - size);
	err = vexfs_dirty(handle, dir->i_sb, bh);
	if (!err) {
		if (vexfs_dir_entries(dir))
			vexfs_count_entries(dir, -1);
		vexfs_set_mtime(dir, inode_set_ctime_current(dir));
		err = vexfs_mark_inode(handle, dir);
	}
	vexfs_dpath_put(&path);
	return err;
}

/* Makes the name of @ino one of @inode; its key stays. */
int vexfs_dir_set(handle_t *handle, struct inode *dir, const struct qstr *name,
		  u32 ino, struct inode *inode)
{
	struct vexfs_dpath path;
	struct vexfs_record *r;
	int err;

	err = vexfs_dir_get(handle, dir, name, ino, &path, &r);
	if (err)
		return err;
	r->ino = cpu_to_le32(inode->i_ino);
	r->type = vexfs_type_of(inode->i_mode);
	err = vexfs_dirty(handle, dir->i_sb, path.bh[path.levels - 1]);
	if (!err) {
		vexfs_set_mtime(dir, inode_set_ctime_current(dir));
		err = vexfs_mark_inode(handle, dir);
	}
	vexfs_dpath_put(&path);
	return err;
}
