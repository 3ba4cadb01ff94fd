// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inodes and directories. The dentry cache is the directory: each entry holds
 * one reference to its dentry, from its creation to unlink, rmdir or unmount.
 */
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "vexfs.h"

static const struct inode_operations vexfs_dir_inode_ops;

struct inode *vexfs_new_inode(struct super_block *sb, struct mnt_idmap *idmap,
			      const struct inode *dir, umode_t mode, dev_t dev)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct inode *inode;
	int err;

	err = vexfs_take(sbi, &sbi->inodes);
	if (err)
		return ERR_PTR(err);
	inode = new_inode(sb);
	if (!inode) {
		vexfs_give(sbi, &sbi->inodes);
		return ERR_PTR(-ENOMEM);
	}
	/* From here on iput() gives the inode back, by vexfs_evict_inode(). */
	inode->i_ino = atomic64_inc_return(&sbi->last_ino);
	inode_init_owner(idmap, inode, dir, mode);
	vexfs_init_times(inode);
	switch (mode & S_IFMT) {
	case S_IFREG:
		inode->i_op = &vexfs_file_inode_ops;
		inode->i_fop = &vexfs_file_ops;
		inode->i_mapping->a_ops = &vexfs_aops;
		break;
	case S_IFDIR:
		inode->i_op = &vexfs_dir_inode_ops;
		inode->i_fop = &simple_dir_operations;
		inc_nlink(inode);	/* for its own "." */
		break;
	case S_IFLNK:
		inode->i_op = &page_symlink_inode_operations;
		inode->i_mapping->a_ops = &vexfs_aops;
		/* Path walking follows the link through a kernel address. */
		inode_nohighmem(inode);
		break;
	default:
		init_special_inode(inode, mode, dev);
		break;
	}
	return inode;
}

void vexfs_evict_inode(struct inode *inode)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(inode->i_sb);

	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	vexfs_give(sbi, &sbi->inodes);
}

static void vexfs_add_entry(struct inode *dir, struct dentry *dentry,
			    struct inode *inode)
{
	d_instantiate(dentry, inode);
	dget(dentry);	/* the entry's own reference; simple_unlink() drops it */
	vexfs_touch(dir);
}

static int vexfs_mknod(struct mnt_idmap *idmap, struct inode *dir,
		       struct dentry *dentry, umode_t mode, dev_t dev)
{
	struct inode *inode;

	inode = vexfs_new_inode(dir->i_sb, idmap, dir, mode, dev);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	vexfs_add_entry(dir, dentry, inode);
	return 0;
}

static int vexfs_create(struct mnt_idmap *idmap, struct inode *dir,
			struct dentry *dentry, umode_t mode, bool excl)
{
	return vexfs_mknod(idmap, dir, dentry, mode | S_IFREG, 0);
}

static int vexfs_mkdir(struct mnt_idmap *idmap, struct inode *dir,
		       struct dentry *dentry, umode_t mode)
{
	int err;

	err = vexfs_mknod(idmap, dir, dentry, mode | S_IFDIR, 0);
	if (!err)
		inc_nlink(dir);	/* for the new directory's ".." */
	return err;
}

static int vexfs_symlink(struct mnt_idmap *idmap, struct inode *dir,
			 struct dentry *dentry, const char *target)
{
	struct inode *inode;
	int err;

	inode = vexfs_new_inode(dir->i_sb, idmap, dir, S_IFLNK | 0777, 0);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	err = page_symlink(inode, target, strlen(target) + 1);
	if (err) {
		iput(inode);
		return err;
	}
	vexfs_add_entry(dir, dentry, inode);
	return 0;
}

static const struct inode_operations vexfs_dir_inode_ops = {
	.create		= vexfs_create,
	.lookup		= simple_lookup,
	.link		= simple_link,
	.unlink		= simple_unlink,
	.symlink	= vexfs_symlink,
	.mkdir		= vexfs_mkdir,
	.rmdir		= simple_rmdir,
	.mknod		= vexfs_mknod,
	.rename		= simple_rename,
};
