// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the VFS asks of a directory. Each of these is one transaction.
 */
#include "vexfs.h"

void vexfs_drop_subdir(struct inode *dir)
{
	/* A corrupt count must not go below that of an empty directory. */
	if (dir->i_nlink > 2)
		drop_nlink(dir);
}

static struct dentry *vexfs_lookup(struct inode *dir, struct dentry *dentry,
				   unsigned int flags)
{
	struct inode *inode = NULL;
	u32 ino;
	int err;

	if (dentry->d_name.len > NAME_MAX)
		return ERR_PTR(-ENAMETOOLONG);
	err = vexfs_dir_lookup(dir, &dentry->d_name, &ino);
	if (!err) {
		inode = vexfs_iget(dir->i_sb, ino);
		if (IS_ERR(inode))
			return ERR_CAST(inode);
		/* No name leads to an orphan, a store, or a foreign child. */
		if (!inode->i_nlink ||
		    VEXFS_I(inode)->flags & VEXFS_FL_STORE ||
		    (S_ISDIR(inode->i_mode) &&
		     VEXFS_I(inode)->parent != dir->i_ino)) {
			iput(inode);
			return ERR_PTR(vexfs_corrupt(dir->i_sb, "inode", 0, ino,
						     "parent"));
		}
	} else if (err != -ENOENT) {
		return ERR_PTR(err);
	}
	return d_splice_alias(inode, dentry);
}

/*
 * Begins the handle for a change of @dir, and makes an inode in it that has no
 * name yet. Where that fails no handle is open.
 */
struct inode *vexfs_start_new(struct mnt_idmap *idmap, struct inode *dir,
			      umode_t mode, dev_t dev, handle_t **handle)
{
	struct super_block *sb = dir->i_sb;
	struct inode *inode;

	*handle = vexfs_start(sb, VEXFS_SB(sb)->credits, 0);
	if (IS_ERR(*handle))
		return ERR_CAST(*handle);
	inode = vexfs_new_inode(*handle, idmap, dir, mode, dev);
	if (IS_ERR(inode))
		return ERR_PTR(vexfs_stop(*handle, PTR_ERR(inode)));
	return inode;
}

/*
 * Ends a handle in which a new inode has got no name: it is freed, and what it
 * was given.
 */
int vexfs_make_failed(handle_t *handle, struct inode *inode, int err)
{
	int undo;

	clear_nlink(inode);
	undo = vexfs_orphan_add(handle, inode);
	err = vexfs_stop(handle, undo ?: err);
	unlock_new_inode(inode);
	iput(inode);
	return err;
}

/* Makes an inode of any type; @target is a symlink's, of @len bytes. */
static int vexfs_make_once(struct mnt_idmap *idmap, struct inode *dir,
			   struct dentry *dentry, umode_t mode, dev_t dev,
			   const char *target, unsigned int len)
{
	struct super_block *sb = dir->i_sb;
	struct inode *inode;
	handle_t *handle;
	int err;

	inode = vexfs_start_new(idmap, dir, mode, dev, &handle);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	err = 0;
	if (S_ISDIR(mode))
		err = vexfs_dir_init(handle, inode);
	else if (S_ISLNK(mode))
		err = vexfs_symlink_write(handle, inode, target, len);
	if (!err)
		err = vexfs_mark_inode(handle, inode);
	if (!err)
		err = vexfs_dir_add(handle, dir, &dentry->d_name, inode);
	if (!err && S_ISDIR(mode)) {
		inc_nlink(dir);
		err = vexfs_mark_inode(handle, dir);
	}
	if (err)
		return vexfs_make_failed(handle, inode, err);
	d_instantiate_new(dentry, inode);
	err = vexfs_stop(handle, 0);
	if (!err && IS_DIRSYNC(dir))
		err = vexfs_commit(sb);
	return err;
}

static int vexfs_make(struct mnt_idmap *idmap, struct inode *dir,
		      struct dentry *dentry, umode_t mode, dev_t dev,
		      const char *target, unsigned int len)
{
	int err, tries = 0;

	do {
		err = vexfs_make_once(idmap, dir, dentry, mode, dev, target,
				      len);
	} while (vexfs_retry(dir->i_sb, err, &tries));
	return err;
}

static int vexfs_mknod(struct mnt_idmap *idmap, struct inode *dir,
		       struct dentry *dentry, umode_t mode, dev_t dev)
{
	return vexfs_make(idmap, dir, dentry, mode, dev, NULL, 0);
}

static int vexfs_create(struct mnt_idmap *idmap, struct inode *dir,
			struct dentry *dentry, umode_t mode, bool excl)
{
	return vexfs_make(idmap, dir, dentry, mode | S_IFREG, 0, NULL, 0);
}

static int vexfs_mkdir(struct mnt_idmap *idmap, struct inode *dir,
		       struct dentry *dentry, umode_t mode)
{
	if (dir->i_nlink >= S32_MAX)
		return -EMLINK;
	return vexfs_make(idmap, dir, dentry, mode | S_IFDIR, 0, NULL, 0);
}

static int vexfs_symlink(struct mnt_idmap *idmap, struct inode *dir,
			 struct dentry *dentry, const char *target)
{
	size_t len = strlen(target);

	if (len > VEXFS_SYMLINK_MAX)
		return -ENAMETOOLONG;
	return vexfs_make(idmap, dir, dentry, S_IFLNK | 0777, 0, target, len);
}

static int vexfs_tmpfile(struct mnt_idmap *idmap, struct inode *dir,
			 struct file *file, umode_t mode)
{
	struct inode *inode;
	handle_t *handle;
	int err;

	inode = vexfs_start_new(idmap, dir, mode, 0, &handle);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	VEXFS_I(inode)->parent = 0;
	err = vexfs_orphan_add(handle, inode);
	d_tmpfile(file, inode);	/* nlink becomes 0, and that is written */
	err = vexfs_stop(handle, err);
	unlock_new_inode(inode);
	return finish_open_simple(file, err);
}

static int vexfs_link_once(struct inode *inode, struct inode *dir,
			   struct dentry *dentry)
{
	struct super_block *sb = dir->i_sb;
	handle_t *handle;
	int err;

	handle = vexfs_start(sb, VEXFS_SB(sb)->credits, 0);
	if (IS_ERR(handle))
		return PTR_ERR(handle);
	err = vexfs_dir_add(handle, dir, &dentry->d_name, inode);
	if (!err) {
		if (!inode->i_nlink) {	/* made by O_TMPFILE */
			if (S_ISREG(inode->i_mode))
				VEXFS_I(inode)->parent =
					vexfs_collection_of(dir);
			err = vexfs_orphan_del(handle, inode);
		}
		inc_nlink(inode);
		inode_set_ctime_current(inode);
		if (!err)
			err = vexfs_mark_inode(handle, inode);
	}
	return vexfs_stop(handle, err);
}

static int vexfs_link(struct dentry *old, struct inode *dir,
		      struct dentry *dentry)
{
	struct inode *inode = d_inode(old);
	int err, tries = 0;

	if (inode->i_nlink >= S32_MAX)
		return -EMLINK;
	/* All names of a file are in one collection, or in none. */
	if (S_ISREG(inode->i_mode) && inode->i_nlink &&
	    VEXFS_I(inode)->parent != vexfs_collection_of(dir))
		return -EXDEV;
	do {
		err = vexfs_link_once(inode, dir, dentry);
	} while (vexfs_retry(dir->i_sb, err, &tries));
	if (err)
		return err;
	ihold(inode);
	d_instantiate(dentry, inode);
	return IS_DIRSYNC(dir) ? vexfs_commit(dir->i_sb) : 0;
}

/* The inode has lost a name in @dir; a directory its only one. */
int vexfs_drop_name(handle_t *handle, struct inode *dir, struct inode *inode)
{
	int err;

	if (!inode->i_nlink)
		return vexfs_corrupt(inode->i_sb, "inode", 0, inode->i_ino,
				     "nlink");
	inode_set_ctime_current(inode);
	if (S_ISDIR(inode->i_mode))
		clear_nlink(inode);
	else
		drop_nlink(inode);
	if (inode->i_nlink)
		return vexfs_mark_inode(handle, inode);
	err = vexfs_orphan_add(handle, inode);
	if (err)
		return err;
	return S_ISDIR(inode->i_mode) ? vexfs_collection_gone(handle, inode) :
					vexfs_member_gone(handle, dir, inode);
}

static int vexfs_unlink(struct inode *dir, struct dentry *dentry)
{
	struct super_block *sb = dir->i_sb;
	struct inode *inode = d_inode(dentry);
	bool is_dir = S_ISDIR(inode->i_mode);
	handle_t *handle;
	int err;

	err = is_dir ? vexfs_collection_open(inode) :
		       vexfs_members_lock(dir, false);
	if (err)
		return err;
	handle = vexfs_start(sb, 20, 0);
	err = PTR_ERR_OR_ZERO(handle);
	if (err)
		goto unlock;
	err = vexfs_dir_remove(handle, dir, &dentry->d_name, inode->i_ino);
	if (!err)
		err = vexfs_drop_name(handle, dir, inode);
	if (!err && is_dir) {
		vexfs_drop_subdir(dir);
		err = vexfs_mark_inode(handle, dir);
	}
	err = vexfs_stop(handle, err);
unlock:
	if (!is_dir)
		vexfs_members_unlock(dir);
	if (!err && IS_DIRSYNC(dir))
		err = vexfs_commit(sb);
	return err;
}

static int vexfs_rmdir(struct inode *dir, struct dentry *dentry)
{
	if (vexfs_dir_entries(d_inode(dentry)))
		return -ENOTEMPTY;
	return vexfs_unlink(dir, dentry);
}

const struct inode_operations vexfs_dir_inode_ops = {
	.create		= vexfs_create,
	.lookup		= vexfs_lookup,
	.link		= vexfs_link,
	.unlink		= vexfs_unlink,
	.symlink	= vexfs_symlink,
	.mkdir		= vexfs_mkdir,
	.rmdir		= vexfs_rmdir,
	.mknod		= vexfs_mknod,
	.rename		= vexfs_rename,
	.tmpfile	= vexfs_tmpfile,
	.getattr	= vexfs_getattr,
	.setattr	= vexfs_setattr,
	.listxattr	= vexfs_listxattr,
};

const struct inode_operations vexfs_special_inode_ops = {
	.getattr	= vexfs_getattr,
	.setattr	= vexfs_setattr,
	.listxattr	= vexfs_listxattr,
};
