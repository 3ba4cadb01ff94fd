// SPDX-License-Identifier: GPL-2.0-only
/*
 * Batches: vectors set, added with their files, read, and removed. An entry is
 * done whole or not at all, one after the other.
 */
#include <linux/dcache.h>
#include <linux/slab.h>

#include "vector.h"

struct vexfs_batch {
	struct file *file;
	struct inode *dir;
	struct vexfs_collection *coll;
	struct vexfs_ioc_batch *req;
	u64 *key;
	u32 *vector;
	struct vexfs_chunk chunk;
	struct inode *inode[VEXFS_CHUNK];
};

static u32 *vexfs_batch_vector(const struct vexfs_batch *b, u32 i)
{
	return b->vector + (size_t)i * b->coll->dimension;
}

/* The member with this inode number, for iput(). */
static struct inode *vexfs_member(const struct vexfs_batch *b, u64 ino)
{
	struct inode *inode;
	int err;

	inode = vexfs_iget_maybe(b->dir->i_sb, ino);
	if (IS_ERR(inode))
		return inode;
	if (!vexfs_is_member(b->dir, inode)) {
		iput(inode);
		return ERR_PTR(-ENOENT);
	}
	err = vexfs_slot_check(b->coll, inode);
	if (err) {
		iput(inode);
		return ERR_PTR(err);
	}
	return inode;
}

/* How many entries go into one handle. */
static u32 vexfs_chunk_max(const struct super_block *sb)
{
	return VEXFS_SB(sb)->journal_blocks < VEXFS_SHORT_JOURNAL_MAX ?
	       VEXFS_CHUNK_SMALL : VEXFS_CHUNK;
}

/* An entry touches at most three blocks: two of the map, and its inode. */
static handle_t *vexfs_chunk_start(const struct vexfs_batch *b, u32 count)
{
	return vexfs_start(b->dir->i_sb, 3 * count + 8, 0);
}

/* Returns how many of @count entries from @at on were set; *@err is of the next. */
static u32 vexfs_set_chunk(struct vexfs_batch *b, u32 at, u32 count, int *err)
{
	u32 found, i, done = 0;
	handle_t *handle;

	*err = 0;
	for (found = 0; found < count; found++) {
		b->inode[found] = vexfs_member(b, b->key[at + found]);
		*err = PTR_ERR_OR_ZERO(b->inode[found]);
		if (!*err && !vexfs_finite(vexfs_batch_vector(b, at + found),
					   b->coll->dimension)) {
			iput(b->inode[found]);
			*err = -EINVAL;
		}
		if (*err)
			break;
	}
	if (found) {
		int e = vexfs_chunk_begin(b->coll, &b->chunk, found,
					  vexfs_batch_vector(b, at));

		if (e) {
			*err = e;
			goto put;
		}
		handle = vexfs_chunk_start(b, found);
		e = PTR_ERR_OR_ZERO(handle);
		for (i = 0; i < found && !e; i++)
			e = vexfs_slot_put(handle, b->coll, b->chunk.slot[i],
					   b->inode[i],
					   vexfs_batch_vector(b, at + i));
		if (!IS_ERR(handle))
			e = vexfs_stop(handle, e);
		if (e)
			*err = e;
		else
			done = found;
		vexfs_chunk_end(b->coll, &b->chunk, IS_ERR(handle) ? 0 : found);
	}
put:
	for (i = 0; i < found; i++)
		iput(b->inode[i]);
	return done;
}

/* A name that was not there may be known as such. */
static void vexfs_forget_negative(struct file *file, struct qstr *name)
{
	struct dentry *dentry = d_hash_and_lookup(file->f_path.dentry, name);

	if (IS_ERR_OR_NULL(dentry))
		return;
	if (d_is_negative(dentry))
		d_drop(dentry);
	dput(dentry);
}

static int vexfs_add_new(struct vexfs_batch *b, struct qstr *name, u32 slot,
			 const u32 *vector, u64 *ino)
{
	struct inode *inode;
	handle_t *handle;
	int err;

	inode = vexfs_start_new(file_mnt_idmap(b->file), b->dir,
				S_IFREG | b->req->mode, 0, &handle);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	err = vexfs_mark_inode(handle, inode);
	if (!err)
		err = vexfs_dir_add(handle, b->dir, name, inode);
	if (err)
		return vexfs_make_failed(handle, inode, err);
	err = vexfs_slot_put(handle, b->coll, slot, inode, vector);
	err = vexfs_stop(handle, err);
	*ino = inode->i_ino;
	unlock_new_inode(inode);
	iput(inode);
	if (!err)
		vexfs_forget_negative(b->file, name);
	return err;
}

static int vexfs_add_old(struct vexfs_batch *b, u32 ino, u32 slot,
			 const u32 *vector)
{
	struct inode *inode;
	handle_t *handle;
	int err;

	if (b->req->flags & VEXFS_BATCH_EXCL)
		return -EEXIST;
	inode = vexfs_iget(b->dir->i_sb, ino);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	err = S_ISDIR(inode->i_mode) ? -EISDIR :
	      S_ISREG(inode->i_mode) ? 0 : -EINVAL;
	if (!err && !vexfs_is_member(b->dir, inode))
		err = vexfs_corrupt(inode->i_sb, "inode", 0, ino, "parent");
	if (!err)
		err = vexfs_slot_check(b->coll, inode);
	if (err)
		goto out;
	handle = vexfs_chunk_start(b, 1);
	if (IS_ERR(handle)) {
		err = PTR_ERR(handle);
		goto out;
	}
	err = vexfs_slot_put(handle, b->coll, slot, inode, vector);
	err = vexfs_stop(handle, err);
out:
	iput(inode);
	return err;
}

static int vexfs_add_one(struct vexfs_batch *b, u32 at, u32 slot)
{
	const u32 *vector = vexfs_batch_vector(b, at);
	struct qstr name = {};
	int err, tries = 0;
	char text[24];
	u64 new_ino;
	u32 ino;

	name.name = text;
	name.len = snprintf(text, sizeof(text), "%llu", b->key[at]);
	do {
		err = vexfs_dir_lookup(b->dir, &name, &ino);
		new_ino = ino;
		if (!err)
			err = vexfs_add_old(b, ino, slot, vector);
		else if (err == -ENOENT)
			err = vexfs_add_new(b, &name, slot, vector, &new_ino);
	} while (vexfs_retry(b->dir->i_sb, err, &tries));
	if (!err)
		b->key[at] = new_ino;
	return err;
}

static u32 vexfs_add_chunk(struct vexfs_batch *b, u32 at, u32 count, int *err)
{
	u32 n, done = 0;

	*err = 0;
	for (n = 0; n < count; n++)
		if (!vexfs_finite(vexfs_batch_vector(b, at + n),
				  b->coll->dimension))
			break;
	if (n) {
		*err = vexfs_chunk_begin(b->coll, &b->chunk, n,
					 vexfs_batch_vector(b, at));
		if (*err)
			return 0;
		while (done < n && !*err) {
			*err = vexfs_add_one(b, at + done,
					     b->chunk.slot[done]);
			done += !*err;
		}
		vexfs_chunk_end(b->coll, &b->chunk, done);
	}
	if (!*err && n < count)
		*err = -EINVAL;
	return done;
}

static u32 vexfs_remove_chunk(struct vexfs_batch *b, u32 at, u32 count,
			      int *err)
{
	u32 done = 0;

	*err = 0;
	while (done < count && !*err) {
		struct inode *inode = vexfs_member(b, b->key[at + done]);
		handle_t *handle;

		if (IS_ERR(inode)) {
			*err = PTR_ERR(inode);
			break;
		}
		if (!VEXFS_I(inode)->link) {
			*err = -ENODATA;
		} else {
			handle = vexfs_chunk_start(b, 1);
			*err = PTR_ERR_OR_ZERO(handle);
			if (!*err)
				*err = vexfs_stop(handle,
						  vexfs_slot_drop(handle,
								  b->coll,
								  inode));
		}
		iput(inode);
		done += !*err;
	}
	return done;
}

static int vexfs_get_one(struct vexfs_batch *b, u32 at)
{
	struct inode *inode = vexfs_member(b, b->key[at]);
	u32 *vector = vexfs_batch_vector(b, at);
	u32 bytes = vexfs_vector_bytes(b->coll), slot;
	const struct vexfs_slot_map *sm;
	struct buffer_head *bh;
	u32 crc;
	int err;

	if (IS_ERR(inode))
		return PTR_ERR(inode);
	err = -ENODATA;
	if (!VEXFS_I(inode)->link)
		goto out;
	slot = VEXFS_I(inode)->link - 1;
	err = vexfs_slot_read(b->coll, slot, vector);
	if (err)
		goto out;
	bh = vexfs_slot_block(b->coll->store, slot / VEXFS_SLOT_ENTRIES);
	if (IS_ERR(bh)) {
		err = PTR_ERR(bh);
		goto out;
	}
	sm = (const struct vexfs_slot_map *)bh->b_data;
	crc = vexfs_vector_crc(inode, vector, bytes);
	if (crc != le32_to_cpu(sm->e[slot % VEXFS_SLOT_ENTRIES].crc)) {
		memset(vector, 0, bytes);
		err = vexfs_corrupt(inode->i_sb, "vector", 0, inode->i_ino,
				    "checksum");
	}
	brelse(bh);
out:
	iput(inode);
	return err;
}

static u32 vexfs_get_chunk(struct vexfs_batch *b, u32 at, u32 count, int *err)
{
	u32 done = 0;

	*err = 0;
	while (done < count && !*err) {
		*err = vexfs_get_one(b, at + done);
		done += !*err;
	}
	return done;
}

static int vexfs_batch_check(const struct vexfs_batch *b, unsigned int cmd)
{
	const struct vexfs_ioc_batch *req = b->req;
	u32 each = 8, flags = 0, mode = 0;

	if (cmd == VEXFS_IOC_VECTOR_ADD) {
		flags = VEXFS_BATCH_EXCL;
		mode = 0777;
	}
	if (cmd != VEXFS_IOC_VECTOR_REMOVE)
		each += vexfs_vector_bytes(b->coll);
	if (req->dimension !=
	    (cmd == VEXFS_IOC_VECTOR_REMOVE ? 0 : b->coll->dimension) ||
	    !req->count || req->count > VEXFS_BATCH_BYTES / each ||
	    req->flags & ~flags || req->mode & ~mode ||
	    memchr_inv(req->reserved, 0, sizeof(req->reserved)))
		return -EINVAL;
	return 0;
}

static int vexfs_batch_run(struct vexfs_batch *b, unsigned int cmd)
{
	u32 max = vexfs_chunk_max(b->dir->i_sb), want, done = 0;
	struct vexfs_ioc_batch *req = b->req;
	int err = 0;

	if (cmd == VEXFS_IOC_VECTOR_ADD && IS_DEADDIR(b->dir))
		return -EMEDIUMTYPE;
	while (done < req->count && !err) {
		want = min(max, req->count - done);
		if (fatal_signal_pending(current))
			err = -EINTR;
		else if (cmd == VEXFS_IOC_VECTOR_ADD)
			done += vexfs_add_chunk(b, done, want, &err);
		else if (cmd == VEXFS_IOC_VECTOR_SET)
			done += vexfs_set_chunk(b, done, want, &err);
		else if (cmd == VEXFS_IOC_VECTOR_GET)
			done += vexfs_get_chunk(b, done, want, &err);
		else
			done += vexfs_remove_chunk(b, done, want, &err);
		cond_resched();
	}
	req->done = done;
	req->error = -err;
	return done ? 0 : err;
}

/* One of the four, after permission was checked. */
int vexfs_vector_batch(struct file *file, unsigned int cmd,
		       struct vexfs_ioc_batch *req)
{
	struct inode *dir = file_inode(file);
	bool add = cmd == VEXFS_IOC_VECTOR_ADD;
	struct vexfs_batch *b;
	int err;

	b = kvmalloc(sizeof(*b), GFP_KERNEL);
	if (!b)
		return -ENOMEM;
	b->file = file;
	b->dir = dir;
	b->req = req;
	err = vexfs_collection_use(dir, &b->coll);
	if (!err)
		err = vexfs_batch_check(b, cmd);
	if (err)
		goto out;
	b->key = (u64 *)req->data;
	b->vector = (u32 *)(b->key + req->count);
	if (cmd == VEXFS_IOC_VECTOR_GET) {
		down_read(&b->coll->sem);
		err = vexfs_batch_run(b, cmd);
		up_read(&b->coll->sem);
	} else {
		if (add)
			inode_lock(dir);
		down_write(&b->coll->sem);
		err = vexfs_batch_run(b, cmd);
		up_write(&b->coll->sem);
		if (add)
			inode_unlock(dir);
	}
	if (!err && IS_DIRSYNC(dir) && cmd != VEXFS_IOC_VECTOR_GET)
		err = vexfs_commit(dir->i_sb);
out:
	kvfree(b);
	return err;
}
