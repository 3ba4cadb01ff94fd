// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of a directory (docs/format.md, 12.5): arguments and permission.
 */
#include <linux/mount.h>
#include <linux/uaccess.h>

#include "vexfs.h"

#ifdef CONFIG_VEXFS_VECTOR
#include "vector.h"
#endif

static int vexfs_ioc_info(struct file *file, void __user *arg)
{
	const struct vexfs_sb_info *sbi = VEXFS_SB(file_inode(file)->i_sb);
	struct vexfs_ioc_info info = {
		.uapi_version = VEXFS_UAPI_VERSION,
		.format_version = VEXFS_VERSION,
		.block_size = VEXFS_BLOCK_SIZE,
		.dimension_max = VEXFS_DIMENSION_MAX,
		.k_max = VEXFS_K_MAX,
		.batch_bytes = VEXFS_BATCH_BYTES,
	};

	if (IS_ENABLED(CONFIG_VEXFS_VECTOR))
		info.features |= VEXFS_FEAT_VECTOR;
	if (IS_ENABLED(CONFIG_VEXFS_DEBUG))
		info.features |= VEXFS_FEAT_DEBUG;
	memcpy(info.uuid, sbi->sb->s_uuid.b, sizeof(info.uuid));
	memcpy(info.label, sbi->label, sizeof(info.label));
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

#ifdef CONFIG_VEXFS_VECTOR
static int vexfs_may(struct file *file, int mask)
{
	return inode_permission(file_mnt_idmap(file), file_inode(file), mask);
}

static int vexfs_ioc_create(struct file *file, void __user *arg)
{
	struct inode *dir = file_inode(file);
	struct vexfs_ioc_collection c;
	int err;

	if (copy_from_user(&c, arg, sizeof(c)))
		return -EFAULT;
	if (!inode_owner_or_capable(file_mnt_idmap(file), dir))
		return -EPERM;
	err = vexfs_may(file, MAY_WRITE | MAY_EXEC);
	if (err)
		return err;
	if (!c.dimension || c.dimension > VEXFS_DIMENSION_MAX ||
	    c.metric < VEXFS_METRIC_L2 || c.metric > VEXFS_METRIC_COSINE ||
	    c.element != VEXFS_ELEMENT_F32 || c.flags || c.count || c.slots ||
	    c.stride || c.dir_ino ||
	    memchr_inv(c.reserved, 0, sizeof(c.reserved)))
		return -EINVAL;
	err = mnt_want_write_file(file);
	if (err)
		return err;
	inode_lock(dir);
	if (IS_DEADDIR(dir))
		err = -ENOENT;
	else if (vexfs_collection_of(dir))
		err = -EEXIST;
	else if (vexfs_dir_entries(dir))
		err = -ENOTEMPTY;
	else
		err = vexfs_collection_create(dir, c.dimension, c.metric);
	inode_unlock(dir);
	mnt_drop_write_file(file);
	return err;
}

static int vexfs_ioc_get(struct file *file, void __user *arg)
{
	struct inode *dir = file_inode(file);
	struct vexfs_ioc_collection c = {};
	struct vexfs_collection *coll;
	int err;

	err = vexfs_may(file, MAY_READ);
	if (!err)
		err = vexfs_collection_use(dir, &coll);
	if (err)
		return err;
	down_read(&coll->sem);
	c.dimension = coll->dimension;
	c.metric = coll->metric;
	c.element = VEXFS_ELEMENT_F32;
	c.count = coll->live;
	c.slots = coll->slots;
	c.stride = coll->stride;
	c.dir_ino = dir->i_ino;
	up_read(&coll->sem);
	return copy_to_user(arg, &c, sizeof(c)) ? -EFAULT : 0;
}

static int vexfs_ioc_batch(struct file *file, unsigned int cmd,
			   void __user *arg)
{
	bool get = cmd == VEXFS_IOC_VECTOR_GET;
	struct vexfs_ioc_batch *req;
	int err;

	req = vmemdup_user(arg, sizeof(*req));
	if (IS_ERR(req))
		return PTR_ERR(req);
	err = vexfs_may(file, get ? MAY_READ : MAY_WRITE | MAY_EXEC);
	if (!err && !get)
		err = mnt_want_write_file(file);
	if (err)
		goto out;
	err = vexfs_vector_batch(file, cmd, req);
	if (!get)
		mnt_drop_write_file(file);
	if (!err && copy_to_user(arg, req, sizeof(*req)))
		err = -EFAULT;
out:
	kvfree(req);
	return err;
}

static int vexfs_ioc_search(struct file *file, void __user *arg)
{
	struct vexfs_ioc_search *req;
	int err;

	req = vmemdup_user(arg, sizeof(*req));
	if (IS_ERR(req))
		return PTR_ERR(req);
	err = vexfs_may(file, MAY_READ);
	if (!err)
		err = vexfs_vector_search(file_inode(file), req);
	if (!err && copy_to_user(arg, req, sizeof(*req)))
		err = -EFAULT;
	kvfree(req);
	return err;
}
#endif /* CONFIG_VEXFS_VECTOR */

long vexfs_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case VEXFS_IOC_INFO:
		return vexfs_ioc_info(file, user);
#ifdef CONFIG_VEXFS_VECTOR
	case VEXFS_IOC_COLLECTION_CREATE:
		return vexfs_ioc_create(file, user);
	case VEXFS_IOC_COLLECTION_GET:
		return vexfs_ioc_get(file, user);
	case VEXFS_IOC_VECTOR_SET:
	case VEXFS_IOC_VECTOR_ADD:
	case VEXFS_IOC_VECTOR_GET:
	case VEXFS_IOC_VECTOR_REMOVE:
		return vexfs_ioc_batch(file, cmd, user);
	case VEXFS_IOC_SEARCH:
		return vexfs_ioc_search(file, user);
#else
	case VEXFS_IOC_COLLECTION_CREATE:
	case VEXFS_IOC_COLLECTION_GET:
	case VEXFS_IOC_VECTOR_SET:
	case VEXFS_IOC_VECTOR_ADD:
	case VEXFS_IOC_VECTOR_GET:
	case VEXFS_IOC_VECTOR_REMOVE:
	case VEXFS_IOC_SEARCH:
		return -EOPNOTSUPP;
#endif
	}
	return -ENOTTY;
}
