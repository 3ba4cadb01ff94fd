// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extended attributes: in the inode, and in at most one block (format.md,
 * section 9). Each change builds both places anew in memory, and then writes
 * them in one transaction.
 */
#include <linux/xattr.h>

#include "vexfs.h"

enum {
	VEXFS_XATTR_USER = 1,
	VEXFS_XATTR_TRUSTED,
	VEXFS_XATTR_SECURITY,
};

static const char * const vexfs_prefix[] = {
	[VEXFS_XATTR_USER]	= XATTR_USER_PREFIX,
	[VEXFS_XATTR_TRUSTED]	= XATTR_TRUSTED_PREFIX,
	[VEXFS_XATTR_SECURITY]	= XATTR_SECURITY_PREFIX,
};

static unsigned int vexfs_entry_size(unsigned int name, unsigned int value)
{
	return (sizeof(struct vexfs_xattr_entry) + name + value + 3) & ~3U;
}

static unsigned int vexfs_entry_len(const struct vexfs_xattr_entry *e)
{
	return vexfs_entry_size(e->name_len, le16_to_cpu(e->value_len));
}

/* Returns -EUCLEAN where the entries do not fill @used bytes as they should. */
int vexfs_xattr_check(const u8 *data, unsigned int used)
{
	unsigned int at = 0;

	while (at < used) {
		const struct vexfs_xattr_entry *e = (const void *)(data + at);

		if (used - at < sizeof(*e) || !e->space ||
		    e->space > VEXFS_XATTR_SECURITY || !e->name_len ||
		    le16_to_cpu(e->value_len) > VEXFS_XATTR_VALUE_MAX ||
		    vexfs_entry_len(e) > used - at ||
		    memchr(e->name, 0, e->name_len))
			return -EUCLEAN;
		at += vexfs_entry_len(e);
	}
	return 0;
}

static struct buffer_head *vexfs_xattr_bread(struct inode *inode)
{
	u64 block = VEXFS_I(inode)->xattr_block;
	const struct vexfs_xattr_block *xb;
	struct buffer_head *bh;
	unsigned int used;

	bh = vexfs_bread(inode->i_sb, block, VEXFS_MAGIC_XATTR, inode->i_ino,
			 inode->i_generation, inode->i_ino);
	if (IS_ERR(bh) || buffer_verified(bh))
		return bh;
	xb = (const struct vexfs_xattr_block *)bh->b_data;
	used = le16_to_cpu(xb->used);
	if (used > VEXFS_XATTR_BYTES || used & 3 ||
	    vexfs_xattr_check(xb->data, used)) {
		brelse(bh);
		return ERR_PTR(vexfs_corrupt(inode->i_sb, "xattr", block,
					     inode->i_ino, "entries"));
	}
	set_buffer_verified(bh);
	return bh;
}

static struct vexfs_xattr_entry *vexfs_xattr_find(u8 *data, unsigned int used,
						  u8 space, const char *name)
{
	size_t len = strlen(name);
	unsigned int at = 0;

	while (at < used) {
		struct vexfs_xattr_entry *e = (void *)(data + at);

		if (e->space == space && e->name_len == len &&
		    !memcmp(e->name, name, len))
			return e;
		at += vexfs_entry_len(e);
	}
	return NULL;
}

static int vexfs_xattr_value(const struct vexfs_xattr_entry *e, void *buffer,
			     size_t size)
{
	unsigned int len = le16_to_cpu(e->value_len);

	if (!buffer)
		return len;
	if (len > size)
		return -ERANGE;
	memcpy(buffer, e->name + e->name_len, len);
	return len;
}

static int vexfs_xattr_get(const struct xattr_handler *handler,
			   struct dentry *dentry, struct inode *inode,
			   const char *name, void *buffer, size_t size)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	struct vexfs_xattr_entry *e;
	struct vexfs_xattr_block *xb;
	struct buffer_head *bh;
	int ret = -ENODATA;

	down_read(&vi->xattr_sem);
	e = vexfs_xattr_find(vi->xattr, vi->xattr_len, handler->flags, name);
	if (e) {
		ret = vexfs_xattr_value(e, buffer, size);
	} else if (vi->xattr_block) {
		bh = vexfs_xattr_bread(inode);
		ret = PTR_ERR_OR_ZERO(bh);
		if (!ret) {
			xb = (struct vexfs_xattr_block *)bh->b_data;
			e = vexfs_xattr_find(xb->data, le16_to_cpu(xb->used),
					     handler->flags, name);
			ret = e ? vexfs_xattr_value(e, buffer, size) :
				  -ENODATA;
			brelse(bh);
		}
	}
	up_read(&vi->xattr_sem);
	return ret;
}

/* Removes an entry; returns the bytes in use then. */
static unsigned int vexfs_xattr_cut(u8 *data, unsigned int used,
				    struct vexfs_xattr_entry *e)
{
	unsigned int len = vexfs_entry_len(e), at = (u8 *)e - data;

	memmove(e, (u8 *)e + len, used - at - len);
	memset(data + used - len, 0, len);
	return used - len;
}

static void vexfs_xattr_put(u8 *data, unsigned int *used, u8 space,
			    const char *name, const void *value, size_t size)
{
	struct vexfs_xattr_entry *e = (void *)(data + *used);
	size_t len = strlen(name);

	e->space = space;
	e->name_len = len;
	e->value_len = cpu_to_le16(size);
	memcpy(e->name, name, len);
	memcpy(e->name + len, value, size);
	*used += vexfs_entry_size(len, size);
}

/* Writes the block anew, makes it, or frees it. */
static int vexfs_xattr_store(handle_t *handle, struct inode *inode,
			     const u8 *data, unsigned int used)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	struct super_block *sb = inode->i_sb;
	struct vexfs_xattr_block *xb;
	struct buffer_head *bh;
	u64 block;
	int err;

	if (!used)
		return vi->xattr_block ? vexfs_xattr_free(handle, inode) : 0;
	if (vi->xattr_block) {
		bh = vexfs_xattr_bread(inode);
		if (IS_ERR(bh))
			return PTR_ERR(bh);
		err = vexfs_access(handle, sb, bh);
		if (err)
			goto out;
	} else {
		err = vexfs_alloc(handle, inode, vexfs_goal(inode), 1, false,
				  &block);
		if (err < 0)
			return err;
		bh = vexfs_new_block(handle, sb, block, VEXFS_MAGIC_XATTR,
				     inode->i_ino, inode->i_generation);
		if (IS_ERR(bh))
			return PTR_ERR(bh);
		vi->xattr_block = block;
	}
	xb = (struct vexfs_xattr_block *)bh->b_data;
	xb->used = cpu_to_le16(used);
	memcpy(xb->data, data, VEXFS_XATTR_BYTES);
	err = vexfs_dirty(handle, sb, bh);
out:
	brelse(bh);
	return err;
}

struct vexfs_xattr_work {
	u8 inl[VEXFS_XATTR_INLINE];
	u8 block[VEXFS_XATTR_BYTES];
	unsigned int inl_used;
	unsigned int block_used;
};

/* Makes the change in memory. */
static int vexfs_xattr_change(struct inode *inode, struct vexfs_xattr_work *w,
			      u8 space, const char *name, const void *value,
			      size_t size, int flags)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	struct vexfs_xattr_entry *a, *b = NULL;
	const struct vexfs_xattr_block *xb;
	struct buffer_head *bh;
	unsigned int need;

	memcpy(w->inl, vi->xattr, sizeof(w->inl));
	w->inl_used = vi->xattr_len;
	if (vi->xattr_block) {
		bh = vexfs_xattr_bread(inode);
		if (IS_ERR(bh))
			return PTR_ERR(bh);
		xb = (const struct vexfs_xattr_block *)bh->b_data;
		w->block_used = le16_to_cpu(xb->used);
		memcpy(w->block, xb->data, sizeof(w->block));
		brelse(bh);
	}
	a = vexfs_xattr_find(w->inl, w->inl_used, space, name);
	if (!a)
		b = vexfs_xattr_find(w->block, w->block_used, space, name);
	if ((a || b) && flags & XATTR_CREATE)
		return -EEXIST;
	if (!a && !b && (flags & XATTR_REPLACE || !value))
		return -ENODATA;
	if (a)
		w->inl_used = vexfs_xattr_cut(w->inl, w->inl_used, a);
	if (b)
		w->block_used = vexfs_xattr_cut(w->block, w->block_used, b);
	if (!value)
		return 0;
	need = vexfs_entry_size(strlen(name), size);
	if (w->inl_used + need <= VEXFS_XATTR_INLINE)
		vexfs_xattr_put(w->inl, &w->inl_used, space, name, value,
				size);
	else if (w->block_used + need <= VEXFS_XATTR_BYTES)
		vexfs_xattr_put(w->block, &w->block_used, space, name, value,
				size);
	else
		return -ENOSPC;
	return 0;
}

static int vexfs_xattr_set(const struct xattr_handler *handler,
			   struct mnt_idmap *idmap, struct dentry *dentry,
			   struct inode *inode, const char *name,
			   const void *value, size_t size, int flags)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	struct vexfs_xattr_work *w;
	handle_t *handle;
	int err;

	if (strlen(name) > NAME_MAX)
		return -ERANGE;
	if (size > VEXFS_XATTR_VALUE_MAX)
		return -E2BIG;
	w = kzalloc(sizeof(*w), GFP_KERNEL);
	if (!w)
		return -ENOMEM;
	handle = vexfs_start(inode->i_sb, 16, 1);
	if (IS_ERR(handle)) {
		err = PTR_ERR(handle);
		goto out;
	}
	down_write(&vi->xattr_sem);
	err = vexfs_xattr_change(inode, w, handler->flags, name, value, size,
				 flags);
	/* The block first: it may fail, the inode's part does not. */
	if (!err)
		err = vexfs_xattr_store(handle, inode, w->block, w->block_used);
	if (!err) {
		memcpy(vi->xattr, w->inl, sizeof(vi->xattr));
		vi->xattr_len = w->inl_used;
		inode_set_ctime_current(inode);
		err = vexfs_mark_inode(handle, inode);
	}
	up_write(&vi->xattr_sem);
	err = vexfs_stop(handle, err);
out:
	kfree(w);
	return err;
}

/* Frees the block; the caller writes the inode. */
int vexfs_xattr_free(handle_t *handle, struct inode *inode)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	u64 block = vi->xattr_block;
	struct buffer_head *bh;
	int err;

	if (!block)
		return 0;
	bh = vexfs_xattr_bread(inode);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	clear_buffer_verified(bh);
	handle->h_type = 1;
	err = jbd2_journal_revoke(handle, block, bh);	/* drops bh */
	if (!err)
		err = vexfs_free(handle, inode, block, 1);
	if (!err)
		vi->xattr_block = 0;
	return err;
}

static ssize_t vexfs_list_part(const u8 *data, unsigned int used, char *buffer,
			       size_t size, ssize_t have)
{
	bool trusted = capable(CAP_SYS_ADMIN);
	unsigned int at;

	for (at = 0; at < used;) {
		const struct vexfs_xattr_entry *e = (const void *)(data + at);
		const char *prefix = vexfs_prefix[e->space];
		size_t len = strlen(prefix);

		at += vexfs_entry_len(e);
		if (e->space == VEXFS_XATTR_TRUSTED && !trusted)
			continue;
		if (buffer) {
			if (have + len + e->name_len + 1 > size)
				return -ERANGE;
			memcpy(buffer + have, prefix, len);
			memcpy(buffer + have + len, e->name, e->name_len);
			buffer[have + len + e->name_len] = '\0';
		}
		have += len + e->name_len + 1;
	}
	return have;
}

ssize_t vexfs_listxattr(struct dentry *dentry, char *buffer, size_t size)
{
	struct inode *inode = d_inode(dentry);
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	const struct vexfs_xattr_block *xb;
	struct buffer_head *bh;
	ssize_t have;

	down_read(&vi->xattr_sem);
	have = vexfs_list_part(vi->xattr, vi->xattr_len, buffer, size, 0);
	if (have >= 0 && vi->xattr_block) {
		bh = vexfs_xattr_bread(inode);
		if (IS_ERR(bh)) {
			have = PTR_ERR(bh);
		} else {
			xb = (const struct vexfs_xattr_block *)bh->b_data;
			have = vexfs_list_part(xb->data, le16_to_cpu(xb->used),
					       buffer, size, have);
			brelse(bh);
		}
	}
	up_read(&vi->xattr_sem);
	return have;
}

static const struct xattr_handler vexfs_user_handler = {
	.prefix	= XATTR_USER_PREFIX,
	.flags	= VEXFS_XATTR_USER,
	.get	= vexfs_xattr_get,
	.set	= vexfs_xattr_set,
};

static const struct xattr_handler vexfs_trusted_handler = {
	.prefix	= XATTR_TRUSTED_PREFIX,
	.flags	= VEXFS_XATTR_TRUSTED,
	.get	= vexfs_xattr_get,
	.set	= vexfs_xattr_set,
};

static const struct xattr_handler vexfs_security_handler = {
	.prefix	= XATTR_SECURITY_PREFIX,
	.flags	= VEXFS_XATTR_SECURITY,
	.get	= vexfs_xattr_get,
	.set	= vexfs_xattr_set,
};

const struct xattr_handler * const vexfs_xattr_handlers[] = {
	&vexfs_user_handler,
	&vexfs_trusted_handler,
	&vexfs_security_handler,
	NULL,
};
