// SPDX-License-Identifier: GPL-2.0-only
/*
 * rename: to a new name, over another one, or in exchange. One transaction.
 */
#include "vexfs.h"

/* May @inode go to @dir? A vector, or other names, keep it where it is. */
static int vexfs_may_move(const struct inode *inode, const struct inode *dir)
{
	const struct vexfs_inode_info *vi = VEXFS_I(inode);

	if (!S_ISREG(inode->i_mode) || vi->parent == vexfs_collection_of(dir))
		return 0;
	return vi->link || inode->i_nlink > 1 ? -EXDEV : 0;
}

/* @inode has moved from @from to @to; the caller writes it. */
static int vexfs_moved(handle_t *handle, struct inode *inode,
		       struct inode *from, struct inode *to)
{
	int err;

	if (from == to)
		return 0;
	if (S_ISREG(inode->i_mode))
		VEXFS_I(inode)->parent = vexfs_collection_of(to);
	if (!S_ISDIR(inode->i_mode))
		return 0;
	VEXFS_I(inode)->parent = to->i_ino;
	vexfs_drop_subdir(from);
	inc_nlink(to);
	err = vexfs_mark_inode(handle, from);
	return err ? err : vexfs_mark_inode(handle, to);
}

static int vexfs_exchange(handle_t *handle, struct inode *old_dir,
			  struct dentry *old, struct inode *new_dir,
			  struct dentry *new)
{
	struct inode *a = d_inode(old), *b = d_inode(new);
	int err;

	err = vexfs_dir_set(handle, old_dir, &old->d_name, a->i_ino, b);
	if (!err)
		err = vexfs_dir_set(handle, new_dir, &new->d_name, b->i_ino, a);
	if (!err)
		err = vexfs_moved(handle, a, old_dir, new_dir);
	if (!err)
		err = vexfs_moved(handle, b, new_dir, old_dir);
	inode_set_ctime_current(a);
	inode_set_ctime_current(b);
	if (!err)
		err = vexfs_mark_inode(handle, a);
	if (!err)
		err = vexfs_mark_inode(handle, b);
	return err;
}

static int vexfs_move(handle_t *handle, struct inode *old_dir,
		      struct dentry *old, struct inode *new_dir,
		      struct dentry *new)
{
	struct inode *inode = d_inode(old), *victim = d_inode(new);
	int err;

	if (victim)
		err = vexfs_dir_set(handle, new_dir, &new->d_name,
				    victim->i_ino, inode);
	else
		err = vexfs_dir_add(handle, new_dir, &new->d_name, inode);
	if (!err)
		err = vexfs_dir_remove(handle, old_dir, &old->d_name,
				       inode->i_ino);
	if (!err)
		err = vexfs_moved(handle, inode, old_dir, new_dir);
	inode_set_ctime_current(inode);
	if (!err)
		err = vexfs_mark_inode(handle, inode);
	if (!err && victim) {
		err = vexfs_drop_name(handle, new_dir, victim);
		if (!err && S_ISDIR(victim->i_mode)) {
			vexfs_drop_subdir(new_dir);
			err = vexfs_mark_inode(handle, new_dir);
		}
	}
	return err;
}

/* The transaction of a rename, under the locks of both collections. */
static int vexfs_rename_locked(struct inode *old_dir, struct dentry *old,
			       struct inode *new_dir, struct dentry *new,
			       bool exchange)
{
	struct super_block *sb = old_dir->i_sb;
	int err, tries = 0;
	handle_t *handle;

	err = vexfs_may_move(d_inode(old), new_dir);
	if (!err && exchange)
		err = vexfs_may_move(d_inode(new), old_dir);
	if (err)
		return err;
	do {
		handle = vexfs_start(sb, VEXFS_SB(sb)->credits, 0);
		if (IS_ERR(handle))
			return PTR_ERR(handle);
		if (exchange)
			err = vexfs_exchange(handle, old_dir, old, new_dir,
					     new);
		else
			err = vexfs_move(handle, old_dir, old, new_dir, new);
		err = vexfs_stop(handle, err);
	} while (vexfs_retry(sb, err, &tries));
	return err;
}

int vexfs_rename(struct mnt_idmap *idmap, struct inode *old_dir,
		 struct dentry *old, struct inode *new_dir, struct dentry *new,
		 unsigned int flags)
{
	struct inode *inode = d_inode(old), *victim = d_inode(new);
	struct super_block *sb = old_dir->i_sb;
	bool cross = old_dir != new_dir;
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (S_ISDIR(inode->i_mode) && old_dir != new_dir &&
	    new_dir->i_nlink >= S32_MAX)
		return -EMLINK;
	if (victim && !(flags & RENAME_EXCHANGE)) {
		if (S_ISDIR(victim->i_mode) && vexfs_dir_entries(victim))
			return -ENOTEMPTY;
		/* format.md, 11.3: a replacing rename shows whole contents. */
		if (S_ISREG(inode->i_mode)) {
			err = filemap_write_and_wait(inode->i_mapping);
			if (err)
				return err;
		}
	}
	err = victim && S_ISDIR(victim->i_mode) ?
	      vexfs_collection_open(victim) : 0;
	if (err)
		return err;
	/* The VFS lets only one rename between directories run at a time. */
	err = vexfs_members_lock(old_dir, false);
	if (err)
		return err;
	if (cross)
		err = vexfs_members_lock(new_dir, true);
	if (!err) {
		err = vexfs_rename_locked(old_dir, old, new_dir, new,
					  flags & RENAME_EXCHANGE);
		if (cross)
			vexfs_members_unlock(new_dir);
	}
	vexfs_members_unlock(old_dir);
	if (!err && (IS_DIRSYNC(old_dir) || IS_DIRSYNC(new_dir)))
		err = vexfs_commit(sb);
	return err;
}
