// SPDX-License-Identifier: GPL-2.0
/*
 * A small file system in the page cache, right in every respect that the smoke suite asks for, except for the one
 * defect that a build asks for with ZOO_DEFECT. Every module's file system type is the module's own name.
 */
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/version.h>

#define GOOD 0
#define MOUNT_HANG 1	/* K9: mount never returns (until `release` is set) */
#define LS_OOPS 2	/* K1: listing follows a null pointer */
#define WRITE_LIES 3	/* T2: write returns the count and stores nothing */
#define READ_NOTHING 4	/* T2: read always says end of file */
#define UNLINK_WARNS 5	/* K2: unlink works, and the kernel warns */
#define INODE_LEAK 6	/* K6: an inode is still referenced at unmount */
#define OBJECT_LEAK 7	/* K6: a slab object is still allocated at unload */
#define NEVER_UNLOADS 8	/* K6: a module reference is never dropped */
#define RENAME_LOST 9	/* rename returns 0 and does nothing */
#define TRUNCATE_KEEPS 10 /* truncate changes the size, old bytes come back */

#define SLEEPS_ATOMIC 11 /* K2: unlink sleeps where nothing may be scheduled */
#define NEVER_MOUNTS 12	/* K4: mount waits for what never comes, and cannot be killed */

/* What only a kernel with checkers sees (tests/zoo/test_debug_specimens.py). */
#define USE_AFTER_FREE 13 /* K5: listing reads what has been freed */
#define LOCK_INVERSION 14 /* K3: mkdir and unlink take two locks in opposite order; nobody ever waits */
#define SLEEPS_LOCKED 15 /* K2: unlink calls what may sleep, under a spinlock; it does not sleep */
#define MEMORY_LEAK 16	/* K6: unlink forgets memory; no cache of the module's own */

#define ZOO_MAGIC 0x7a6f6f31

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define idmap_t struct mnt_idmap
#else
#define idmap_t struct user_namespace
#endif

static bool release;
module_param(release, bool, 0644);
MODULE_PARM_DESC(release, "let go of a mount that hangs");

#if ZOO_DEFECT == LOCK_INVERSION
static DEFINE_MUTEX(zoo_first);
static DEFINE_MUTEX(zoo_second);
#endif
#if ZOO_DEFECT == SLEEPS_LOCKED
static DEFINE_SPINLOCK(zoo_spin);
#endif

static const struct super_operations zoo_super_ops;
static const struct inode_operations zoo_dir_ops;
static const struct file_operations zoo_dir_file_ops;
static const struct inode_operations zoo_file_inode_ops;
static const struct file_operations zoo_file_ops;

static void zoo_touch(struct inode *inode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	simple_inode_init_ts(inode);
#else
	inode->i_atime = inode->i_mtime = inode->i_ctime = current_time(inode);
#endif
}

static struct inode *zoo_inode(struct super_block *sb, struct inode *dir, umode_t mode)
{
	struct inode *inode = new_inode(sb);

	if (!inode)
		return NULL;
	inode->i_ino = get_next_ino();
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	inode_init_owner(&nop_mnt_idmap, inode, dir, mode);
#else
	inode_init_owner(&init_user_ns, inode, dir, mode);
#endif
	inode->i_mapping->a_ops = &ram_aops;
	mapping_set_gfp_mask(inode->i_mapping, GFP_HIGHUSER);
	mapping_set_unevictable(inode->i_mapping);
	zoo_touch(inode);
	switch (mode & S_IFMT) {
	case S_IFDIR:
		inode->i_op = &zoo_dir_ops;
		inode->i_fop = &zoo_dir_file_ops;
		inc_nlink(inode);
		break;
	case S_IFLNK:
		inode->i_op = &page_symlink_inode_operations;
		inode_nohighmem(inode);
		break;
	default:
		inode->i_op = &zoo_file_inode_ops;
		inode->i_fop = &zoo_file_ops;
	}
	return inode;
}

/* Takes the inode's reference; the dentry's extra one keeps it in memory, as there is nowhere else. */
static void zoo_attach(struct inode *dir, struct dentry *dentry, struct inode *inode)
{
	d_instantiate(dentry, inode);
	dget(dentry);
	zoo_touch(dir);
}

static int zoo_create(idmap_t *idmap, struct inode *dir, struct dentry *dentry, umode_t mode, bool excl)
{
	struct inode *inode = zoo_inode(dir->i_sb, dir, mode | S_IFREG);

	if (!inode)
		return -ENOSPC;
	zoo_attach(dir, dentry, inode);
	return 0;
}

static int zoo_mkdir(idmap_t *idmap, struct inode *dir, struct dentry *dentry, umode_t mode)
{
	struct inode *inode = zoo_inode(dir->i_sb, dir, mode | S_IFDIR);

#if ZOO_DEFECT == LOCK_INVERSION
	mutex_lock(&zoo_first);
	mutex_lock(&zoo_second);
	mutex_unlock(&zoo_second);
	mutex_unlock(&zoo_first);
#endif
	if (!inode)
		return -ENOSPC;
	zoo_attach(dir, dentry, inode);
	inc_nlink(dir);
	return 0;
}

static int zoo_symlink(idmap_t *idmap, struct inode *dir, struct dentry *dentry, const char *target)
{
	struct inode *inode = zoo_inode(dir->i_sb, dir, S_IFLNK | 0777);
	int error;

	if (!inode)
		return -ENOSPC;
	error = page_symlink(inode, target, strlen(target) + 1);
	if (error) {
		iput(inode);
		return error;
	}
	zoo_attach(dir, dentry, inode);
	return 0;
}

static int zoo_unlink(struct inode *dir, struct dentry *dentry)
{
#if ZOO_DEFECT == UNLINK_WARNS
	WARN_ONCE(1, "zoo: unlink of %pd\n", dentry);
#endif
#if ZOO_DEFECT == SLEEPS_ATOMIC
	preempt_disable(); /* and no preempt_enable(): the scheduler has put the count right when it complained */
	schedule_timeout_uninterruptible(1);
#endif
#if ZOO_DEFECT == LOCK_INVERSION
	mutex_lock(&zoo_second);
	mutex_lock(&zoo_first);
	mutex_unlock(&zoo_first);
	mutex_unlock(&zoo_second);
#endif
#if ZOO_DEFECT == SLEEPS_LOCKED
	spin_lock(&zoo_spin);
	might_sleep();
	spin_unlock(&zoo_spin);
#endif
#if ZOO_DEFECT == MEMORY_LEAK
	char *forgotten = kmalloc(300, GFP_KERNEL);

	if (forgotten)
		strscpy(forgotten, "zoo", 300);
	OPTIMIZER_HIDE_VAR(forgotten); /* else the compiler sees that nobody needs it */
#endif
#if ZOO_DEFECT == INODE_LEAK
	ihold(d_inode(dentry));
#endif
	return simple_unlink(dir, dentry);
}

static int zoo_rename(idmap_t *idmap, struct inode *old_dir, struct dentry *old, struct inode *new_dir, struct dentry *new,
		      unsigned int flags)
{
#if ZOO_DEFECT == RENAME_LOST
	return 0; /* the VFS moves nothing either: see fs_flags */
#else
	return simple_rename(idmap, old_dir, old, new_dir, new, flags);
#endif
}

static const struct inode_operations zoo_dir_ops = {
	.create = zoo_create,
	.lookup = simple_lookup,
	.link = simple_link,
	.unlink = zoo_unlink,
	.symlink = zoo_symlink,
	.mkdir = zoo_mkdir,
	.rmdir = simple_rmdir,
	.rename = zoo_rename,
};

static int zoo_iterate(struct file *file, struct dir_context *ctx)
{
#if ZOO_DEFECT == LS_OOPS
	struct inode *nothing = NULL;

	OPTIMIZER_HIDE_VAR(nothing); /* else the compiler sees the null and makes a trap of it */
	WRITE_ONCE(nothing->i_ino, 1);
#endif
#if ZOO_DEFECT == USE_AFTER_FREE
	unsigned long *freed = kzalloc(96, GFP_KERNEL);
	unsigned long *again = freed;

	OPTIMIZER_HIDE_VAR(again); /* else the compiler refuses to read what was freed */
	kfree(freed);
	ctx->pos += again ? READ_ONCE(again[5]) & 0 : 0;
#endif
	return dcache_readdir(file, ctx);
}

static const struct file_operations zoo_dir_file_ops = {
	.open = dcache_dir_open,
	.release = dcache_dir_close,
	.llseek = dcache_dir_lseek,
	.read = generic_read_dir,
	.iterate_shared = zoo_iterate,
	.fsync = noop_fsync,
};

static ssize_t zoo_read(struct kiocb *iocb, struct iov_iter *to)
{
#if ZOO_DEFECT == READ_NOTHING
	return 0;
#else
	return generic_file_read_iter(iocb, to);
#endif
}

static ssize_t zoo_write(struct kiocb *iocb, struct iov_iter *from)
{
#if ZOO_DEFECT == WRITE_LIES
	struct inode *inode = file_inode(iocb->ki_filp);
	size_t count = iov_iter_count(from);

	iocb->ki_pos += count;
	if (i_size_read(inode) < iocb->ki_pos)
		i_size_write(inode, iocb->ki_pos);
	iov_iter_advance(from, count);
	return count;
#else
	return generic_file_write_iter(iocb, from);
#endif
}

static const struct file_operations zoo_file_ops = {
	.read_iter = zoo_read,
	.write_iter = zoo_write,
	.mmap = generic_file_mmap,
	.fsync = noop_fsync,
	.llseek = generic_file_llseek,
};

static int zoo_setattr(idmap_t *idmap, struct dentry *dentry, struct iattr *attr)
{
#if ZOO_DEFECT == TRUNCATE_KEEPS
	struct inode *inode = d_inode(dentry);

	if (attr->ia_valid & ATTR_SIZE) {
		i_size_write(inode, attr->ia_size);
		return 0;
	}
#endif
	return simple_setattr(idmap, dentry, attr);
}

static const struct inode_operations zoo_file_inode_ops = {
	.setattr = zoo_setattr,
	.getattr = simple_getattr,
};

static const struct super_operations zoo_super_ops = {
	.statfs = simple_statfs,
	.drop_inode = generic_delete_inode,
};

static int zoo_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct inode *root;

#if ZOO_DEFECT == MOUNT_HANG
	while (!READ_ONCE(release))
		schedule_timeout_uninterruptible(HZ / 5);
#endif
#if ZOO_DEFECT == NEVER_MOUNTS
	DECLARE_COMPLETION_ONSTACK(never);

	wait_for_completion(&never);
#endif
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_magic = ZOO_MAGIC;
	sb->s_op = &zoo_super_ops;
	sb->s_time_gran = 1;
	root = zoo_inode(sb, NULL, S_IFDIR | 0755);
	sb->s_root = d_make_root(root);
	return sb->s_root ? 0 : -ENOMEM;
}

static int zoo_get_tree(struct fs_context *fc)
{
	return get_tree_nodev(fc, zoo_fill_super);
}

static const struct fs_context_operations zoo_context_ops = {
	.get_tree = zoo_get_tree,
};

static int zoo_init_fs_context(struct fs_context *fc)
{
	fc->ops = &zoo_context_ops;
	return 0;
}

static struct file_system_type zoo_type = {
	.owner = THIS_MODULE,
	.name = KBUILD_MODNAME,
	.init_fs_context = zoo_init_fs_context,
	.kill_sb = kill_litter_super,
#if ZOO_DEFECT == RENAME_LOST
	.fs_flags = FS_RENAME_DOES_D_MOVE,
#endif
};

static struct kmem_cache *zoo_cache;
static void *zoo_object;

/* A cache with a constructor is never merged with another, so its name stays its own in reports. */
static void zoo_construct(void *object)
{
}

static int __init zoo_init(void)
{
	int error;

	zoo_cache = kmem_cache_create(KBUILD_MODNAME "_cache", 192, 0, 0, zoo_construct);
	if (!zoo_cache)
		return -ENOMEM;
	zoo_object = kmem_cache_alloc(zoo_cache, GFP_KERNEL);
	error = zoo_object ? register_filesystem(&zoo_type) : -ENOMEM;
	if (error) {
		if (zoo_object)
			kmem_cache_free(zoo_cache, zoo_object);
		kmem_cache_destroy(zoo_cache);
		return error;
	}
#if ZOO_DEFECT == NEVER_UNLOADS
	__module_get(THIS_MODULE);
#endif
	return 0;
}

static void __exit zoo_exit(void)
{
	unregister_filesystem(&zoo_type);
	rcu_barrier();
#if ZOO_DEFECT != OBJECT_LEAK
	kmem_cache_free(zoo_cache, zoo_object);
#endif
	kmem_cache_destroy(zoo_cache);
}

module_init(zoo_init);
module_exit(zoo_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("vexci's zoo: a file system with one defect");
MODULE_VERSION("1");
