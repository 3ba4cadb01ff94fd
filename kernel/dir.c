// SPDX-License-Identifier: GPL-2.0-only
/*
 * Directories: blocks checked, names looked up, entries listed (format.md,
 * section 8).
 */
#include <linux/siphash.h>

#include "vexfs.h"

static const unsigned char vexfs_dtype[] = {
	DT_UNKNOWN, DT_REG, DT_DIR, DT_CHR, DT_BLK, DT_FIFO, DT_SOCK, DT_LNK,
};

u64 vexfs_hash(const struct vexfs_sb_info *sbi, const char *name, int len)
{
	u64 h = siphash(name, len, &sbi->hash_key) & VEXFS_KEY_HASH;

	return clamp(h, VEXFS_KEY_MIN, VEXFS_KEY_HASH_MAX);
}

/* What is wrong with a leaf, or NULL. */
const char *vexfs_leaf_check(const struct vexfs_leaf *leaf)
{
	u32 used = le16_to_cpu(leaf->used), at = 0;
	u64 last = VEXFS_KEY_MIN - 1;

	if (used > VEXFS_DIR_BYTES || used & 7)
		return "used";
	while (at < used) {
		const struct vexfs_record *r = (const void *)&leaf->data[at];
		u64 key;

		if (used - at < VEXFS_DIR_NAME_OFFSET)
			return "record";
		key = le64_to_cpu(r->key);
		if (key <= last || key > VEXFS_KEY_MAX)
			return "key";
		if (!r->name_len || !r->ino || !r->type ||
		    r->type >= ARRAY_SIZE(vexfs_dtype) || r->zero ||
		    vexfs_record_size(r->name_len) > used - at)
			return "record";
		if (memchr(r->name, '/', r->name_len) ||
		    memchr(r->name, 0, r->name_len) ||
		    (r->name[0] == '.' &&
		     (r->name_len == 1 ||
		      (r->name_len == 2 && r->name[1] == '.'))))
			return "name";
		last = key;
		at += vexfs_record_size(r->name_len);
	}
	return NULL;
}

const char *vexfs_index_check(const struct vexfs_index *index, u32 blocks)
{
	int n = le16_to_cpu(index->entries), i;
	u64 last = 0;

	if (n < 1 || n > VEXFS_DIR_ENTRIES)
		return "entries";
	for (i = 0; i < n; i++) {
		u64 key = le64_to_cpu(index->e[i].key);
		u32 lblk = le32_to_cpu(index->e[i].lblk);

		if (key & 7 || (i && key <= last) || index->e[i].zero)
			return "key";
		if (!lblk || lblk >= blocks)
			return "lblk";
		last = key;
	}
	return NULL;
}

/* Reads block @lblk of a directory; @level < 0: any (the root's). */
struct buffer_head *vexfs_dir_bread(struct inode *dir, u32 lblk, int level)
{
	struct super_block *sb = dir->i_sb;
	const struct vexfs_index *index;
	const char *check = NULL;
	struct buffer_head *bh;
	struct vexfs_map map;
	bool is_leaf;
	int err, have;

	err = vexfs_map(dir, lblk, &map);
	if (err)
		return ERR_PTR(err);
	if (!map.pblk || map.unwritten)
		return ERR_PTR(vexfs_corrupt(sb, "directory", 0, dir->i_ino,
					     "hole"));
	bh = vexfs_bread(sb, map.pblk, VEXFS_MAGIC_LEAF, dir->i_ino,
			 dir->i_generation, dir->i_ino);
	if (IS_ERR(bh))
		return bh;
	index = (const struct vexfs_index *)bh->b_data;
	is_leaf = index->h.magic == VEXFS_MAGIC_LEAF;
	have = le16_to_cpu(index->level);
	if (is_leaf ? have : (!have || have > VEXFS_DIR_LEVEL_MAX))
		check = "level";
	else if (level >= 0 && level != have)
		check = "level";
	else if (le32_to_cpu(index->lblk) != lblk)
		check = "lblk";
	else if (!buffer_verified(bh))
		check = is_leaf ? vexfs_leaf_check((const void *)index) :
			vexfs_index_check(index, dir->i_size >>
						 VEXFS_BLOCK_BITS);
	if (check) {
		brelse(bh);
		return ERR_PTR(vexfs_corrupt(sb, "directory", map.pblk,
					     dir->i_ino, check));
	}
	set_buffer_verified(bh);
	return bh;
}

void vexfs_dpath_put(struct vexfs_dpath *path)
{
	int i;

	for (i = 0; i < path->levels; i++)
		brelse(path->bh[i]);
	path->levels = 0;
}

/* Descends to the leaf where @key belongs. */
int vexfs_dir_find(struct inode *dir, u64 key, struct vexfs_dpath *path)
{
	const struct vexfs_index *index;
	struct buffer_head *bh;
	u32 lblk = 0;
	int level = -1;

	path->levels = 0;
	path->next = 0;
	for (;;) {
		int low = 1, high;

		bh = vexfs_dir_bread(dir, lblk, level);
		if (IS_ERR(bh)) {
			vexfs_dpath_put(path);
			return PTR_ERR(bh);
		}
		path->bh[path->levels++] = bh;
		index = (const struct vexfs_index *)bh->b_data;
		level = le16_to_cpu(index->level);
		if (!level)
			return 0;
		/* The last entry at or below the key; entry 0 takes the rest. */
		high = le16_to_cpu(index->entries);
		while (low < high) {
			int mid = (low + high) / 2;

			if (le64_to_cpu(index->e[mid].key) <= key)
				low = mid + 1;
			else
				high = mid;
		}
		path->pos[path->levels - 1] = low - 1;
		if (low < le16_to_cpu(index->entries))
			path->next = le64_to_cpu(index->e[low].key);
		lblk = le32_to_cpu(index->e[low - 1].lblk);
		level--;
	}
}

/* The record of @name in the leaf, or NULL. */
struct vexfs_record *vexfs_dir_search(struct inode *dir,
				      struct vexfs_leaf *leaf, u64 hash,
				      const struct qstr *name)
{
	u32 used = le16_to_cpu(leaf->used), at = 0;

	while (at < used) {
		struct vexfs_record *r = (void *)&leaf->data[at];
		u64 h = le64_to_cpu(r->key) & ~7ULL;

		if (h > hash)
			break;
		if (h == hash && r->name_len == name->len &&
		    !memcmp(r->name, name->name, name->len))
			return r;
		at += vexfs_record_size(r->name_len);
	}
	return NULL;
}

/* Returns -ENOENT where there is no such name. */
int vexfs_dir_lookup(struct inode *dir, const struct qstr *name, u32 *ino)
{
	u64 hash = vexfs_hash(VEXFS_SB(dir->i_sb), name->name, name->len);
	const struct vexfs_record *r;
	struct vexfs_dpath path;
	int err;

	err = vexfs_dir_find(dir, hash, &path);
	if (err)
		return err;
	r = vexfs_dir_search(dir, (void *)path.bh[path.levels - 1]->b_data,
			     hash, name);
	if (r)
		*ino = le32_to_cpu(r->ino);
	else
		err = -ENOENT;
	vexfs_dpath_put(&path);
	return err;
}

u32 vexfs_dir_entries(const struct inode *dir)
{
	return le32_to_cpup((const __le32 *)VEXFS_I(dir)->special);
}

/* Lists one leaf: 1 if the caller's buffer is full. */
static int vexfs_emit_leaf(const struct vexfs_leaf *leaf,
			   struct dir_context *ctx)
{
	u32 used = le16_to_cpu(leaf->used), at = 0;

	while (at < used) {
		const struct vexfs_record *r = (const void *)&leaf->data[at];
		u64 key = le64_to_cpu(r->key);

		at += vexfs_record_size(r->name_len);
		if (key < ctx->pos)
			continue;
		if (!dir_emit(ctx, r->name, r->name_len, le32_to_cpu(r->ino),
			      vexfs_dtype[r->type]))
			return 1;
		ctx->pos = key + 1;
	}
	return 0;
}

static int vexfs_readdir(struct file *file, struct dir_context *ctx)
{
	struct inode *dir = file_inode(file);
	struct vexfs_dpath path;
	int err;

	if (!dir_emit_dots(file, ctx))
		return 0;
	while (ctx->pos < VEXFS_DIR_END) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		err = vexfs_dir_find(dir, ctx->pos, &path);
		if (err)
			return err;
		err = vexfs_emit_leaf((void *)path.bh[path.levels - 1]->b_data,
				      ctx);
		if (!err)	/* always forward, whatever the tree says */
			ctx->pos = path.next ? max_t(u64, path.next, ctx->pos) :
				   VEXFS_DIR_END;
		vexfs_dpath_put(&path);
		if (err)
			return 0;
	}
	return 0;
}

/* Cookies have 63 bits: more than a file's size may have. */
static loff_t vexfs_dir_llseek(struct file *file, loff_t offset, int whence)
{
	return generic_file_llseek_size(file, offset, whence, LLONG_MAX,
					VEXFS_DIR_END);
}

const struct file_operations vexfs_dir_ops = {
	.llseek		= vexfs_dir_llseek,
	.read		= generic_read_dir,
	.iterate_shared	= vexfs_readdir,
	.fsync		= vexfs_fsync,
	.unlocked_ioctl	= vexfs_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};
