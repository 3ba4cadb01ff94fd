// SPDX-License-Identifier: GPL-2.0-only
/*
 * Symlinks: up to 128 bytes in the inode, longer ones in one or two blocks.
 */
#include <linux/namei.h>

#include "vexfs.h"

/* Writes the target of a new symlink of @len bytes. */
int vexfs_symlink_write(handle_t *handle, struct inode *inode,
			const char *target, unsigned int len)
{
	struct vexfs_inode_info *vi = VEXFS_I(inode);
	struct vexfs_symlink_block *block;
	struct buffer_head *bh;
	struct vexfs_map map;
	unsigned int at, part;
	u32 lblk = 0;
	int err;

	i_size_write(inode, len);
	if (len <= VEXFS_ROOT_BYTES) {
		/* The inode is taken already: see vexfs_stop(). */
		inode->i_link = kmemdup_nul(target, len,
					    GFP_NOFS | __GFP_NOFAIL);
		return 0;
	}
	for (at = 0; at < len; at += part, lblk++) {
		part = min_t(unsigned int, len - at, VEXFS_SYMLINK_BYTES);
		down_write(&vi->ext_sem);
		err = vexfs_ext_alloc(handle, inode, lblk, 1, false, &map);
		up_write(&vi->ext_sem);
		if (err)
			return err;
		bh = vexfs_new_block(handle, inode->i_sb, map.pblk,
				     VEXFS_MAGIC_SYMLINK, inode->i_ino,
				     inode->i_generation);
		if (IS_ERR(bh))
			return PTR_ERR(bh);
		block = (struct vexfs_symlink_block *)bh->b_data;
		block->lblk = cpu_to_le32(lblk);
		block->used = cpu_to_le32(part);
		memcpy(block->text, target + at, part);
		err = vexfs_dirty(handle, inode->i_sb, bh);
		brelse(bh);
		if (err)
			return err;
	}
	return 0;
}

static int vexfs_symlink_read(struct inode *inode, char *text)
{
	unsigned int len = inode->i_size, at, part;
	const struct vexfs_symlink_block *block;
	struct buffer_head *bh;
	struct vexfs_map map;
	u32 lblk = 0;
	int err;

	for (at = 0; at < len; at += part, lblk++) {
		part = min_t(unsigned int, len - at, VEXFS_SYMLINK_BYTES);
		err = vexfs_map(inode, lblk, &map);
		if (err)
			return err;
		if (!map.pblk || map.unwritten)
			return vexfs_corrupt(inode->i_sb, "symlink", 0,
					     inode->i_ino, "hole");
		bh = vexfs_bread(inode->i_sb, map.pblk, VEXFS_MAGIC_SYMLINK,
				 inode->i_ino, inode->i_generation,
				 inode->i_ino);
		if (IS_ERR(bh))
			return PTR_ERR(bh);
		set_buffer_verified(bh);
		block = (const struct vexfs_symlink_block *)bh->b_data;
		if (le32_to_cpu(block->lblk) != lblk ||
		    le32_to_cpu(block->used) != part ||
		    memchr(block->text, 0, part))
			err = vexfs_corrupt(inode->i_sb, "symlink", map.pblk,
					    inode->i_ino, "used");
		else
			memcpy(text + at, block->text, part);
		brelse(bh);
		if (err)
			return err;
	}
	text[len] = '\0';
	return 0;
}

static const char *vexfs_get_link(struct dentry *dentry, struct inode *inode,
				  struct delayed_call *done)
{
	char *text;
	int err;

	if (inode->i_link)
		return inode->i_link;
	if (!dentry)
		return ERR_PTR(-ECHILD);
	text = kmalloc(inode->i_size + 1, GFP_KERNEL);
	if (!text)
		return ERR_PTR(-ENOMEM);
	err = vexfs_symlink_read(inode, text);
	if (err) {
		kfree(text);
		return ERR_PTR(err);
	}
	set_delayed_call(done, kfree_link, text);
	return text;
}

const struct inode_operations vexfs_symlink_inode_ops = {
	.get_link	= vexfs_get_link,
	.getattr	= vexfs_getattr,
	.setattr	= vexfs_setattr,
	.listxattr	= vexfs_listxattr,
};
