// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module, and mounting with its options.
 */
#include <crypto/hash.h>
#include <linux/blkdev.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/module.h>

#include "mount.h"
#include "vexfs.h"

enum {
	OPT_COMMIT,
	OPT_DISCARD,
	OPT_ERRORS,
};

static const struct constant_table vexfs_errors_table[] = {
	{ "remount-ro",	VEXFS_ERRORS_RO },
	{ "continue",	VEXFS_ERRORS_CONTINUE },
	{ "panic",	VEXFS_ERRORS_PANIC },
	{}
};

static const struct fs_parameter_spec vexfs_parameters[] = {
	fsparam_u32("commit", OPT_COMMIT),
	fsparam_flag_no("discard", OPT_DISCARD),
	fsparam_enum("errors", OPT_ERRORS, vexfs_errors_table),
	{}
};

static int vexfs_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct vexfs_options *opts = fc->fs_private;
	struct fs_parse_result result;
	int opt;

	opt = fs_parse(fc, vexfs_parameters, param, &result);
	switch (opt) {
	case OPT_COMMIT:
		if (!result.uint_32 || result.uint_32 > 300)
			return invalfc(fc, "commit: want 1 to 300 seconds");
		opts->commit = result.uint_32;
		return 0;
	case OPT_DISCARD:
		opts->discard = !result.negated;
		return 0;
	case OPT_ERRORS:
		opts->errors = result.uint_32;
		return 0;
	}
	return opt;
}

static void vexfs_init_info(struct vexfs_sb_info *sbi, struct super_block *sb)
{
	sbi->sb = sb;
	mutex_init(&sbi->orphan_lock);
	mutex_init(&sbi->error_lock);
	mutex_init(&sbi->super_lock);
	mutex_init(&sbi->open_lock);
	spin_lock_init(&sbi->freed_lock);
	INIT_LIST_HEAD(&sbi->orphan_list);
	INIT_WORK(&sbi->error_work, vexfs_error_work);
	ratelimit_state_init(&sbi->messages, 5 * HZ, 10);
}

static int vexfs_fill_super(struct super_block *sb, struct fs_context *fc)
{
	const struct vexfs_options *opts = fc->fs_private;
	struct vexfs_sb_info *sbi;
	int err;

	sbi = kzalloc(sizeof(*sbi), GFP_KERNEL);
	if (!sbi)
		return -ENOMEM;
	vexfs_init_info(sbi, sb);
	sbi->opts = *opts;
	sb->s_fs_info = sbi;	/* vexfs_kill_sb() frees it, also if we fail */
	if (!sb_set_blocksize(sb, VEXFS_BLOCK_SIZE))
		return -EINVAL;
	sbi->crc = crypto_alloc_shash("crc32c", 0, 0);
	if (IS_ERR(sbi->crc)) {
		err = PTR_ERR(sbi->crc);
		sbi->crc = NULL;
		return err;
	}
	sb->s_magic = VEXFS_SUPER_MAGIC;
	sb->s_op = &vexfs_super_ops;
	vexfs_set_xattr(sb, vexfs_xattr_handlers);
	sb->s_maxbytes = min_t(loff_t, MAX_LFS_FILESIZE,
			       (loff_t)U32_MAX << VEXFS_BLOCK_BITS);
	sb->s_time_gran = 1;
	sb->s_time_min = -9223372036LL;
	sb->s_time_max = 9223372035LL;
	err = vexfs_volume_open(sb);
	/* With a root, put_super() comes; without one, nobody but us. */
	if (err && !sb->s_root)
		vexfs_put_volume(sb);
	return err;
}

static int vexfs_get_tree(struct fs_context *fc)
{
	return get_tree_bdev(fc, vexfs_fill_super);
}

static int vexfs_reconfigure(struct fs_context *fc)
{
	struct super_block *sb = fc->root->d_sb;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	bool ro = fc->sb_flags & SB_RDONLY;
	int err = 0;

	sync_filesystem(sb);
	if (ro && sbi->journal) {
		err = vexfs_mark_clean(sb, true);
		if (!err)
			vexfs_journal_close(sb);
	} else if (!ro && sb_rdonly(sb)) {
		if (sbi->journal)
			return invalfc(fc, "read-only after an error: unmount, and run fsck.vexfs");
		sbi->opts = *(struct vexfs_options *)fc->fs_private;
		err = vexfs_open_rw(sb);
		if (err)
			vexfs_journal_close(sb);
	}
	if (!err) {
		sbi->opts = *(struct vexfs_options *)fc->fs_private;
		if (sbi->journal)
			sbi->journal->j_commit_interval =
				sbi->opts.commit * HZ;
	}
	return err;
}

static void vexfs_free_fc(struct fs_context *fc)
{
	kfree(fc->fs_private);
}

static const struct fs_context_operations vexfs_context_ops = {
	.free		= vexfs_free_fc,
	.parse_param	= vexfs_parse_param,
	.get_tree	= vexfs_get_tree,
	.reconfigure	= vexfs_reconfigure,
};

static int vexfs_init_fs_context(struct fs_context *fc)
{
	struct vexfs_options *opts;

	opts = kzalloc(sizeof(*opts), GFP_KERNEL);
	if (!opts)
		return -ENOMEM;
	opts->commit = JBD2_DEFAULT_MAX_COMMIT_AGE;
	if (fc->purpose == FS_CONTEXT_FOR_RECONFIGURE)
		*opts = VEXFS_SB(fc->root->d_sb)->opts;
	fc->fs_private = opts;
	fc->ops = &vexfs_context_ops;
	return 0;
}

static void vexfs_kill_sb(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);

	kill_block_super(sb);
	if (!sbi)
		return;
	vexfs_groups_free(sbi);
	if (sbi->crc)
		crypto_free_shash(sbi->crc);
	kfree(sbi);
}

static struct file_system_type vexfs_type = {
	.owner		= THIS_MODULE,
	.name		= VEXFS_NAME,
	.init_fs_context = vexfs_init_fs_context,
	.parameters	= vexfs_parameters,
	.kill_sb	= vexfs_kill_sb,
	.fs_flags	= FS_REQUIRES_DEV,
};

static int __init vexfs_init(void)
{
	int err;

	vexfs_check_format();
	err = vexfs_inode_cache_init();
	if (err)
		return err;
	err = vexfs_sysfs_init();
	if (err)
		goto cache;
	err = register_filesystem(&vexfs_type);
	if (err)
		goto sysfs;
	return 0;

sysfs:
	vexfs_sysfs_exit();
cache:
	vexfs_inode_cache_exit();
	return err;
}

static void __exit vexfs_exit(void)
{
	unregister_filesystem(&vexfs_type);
	vexfs_sysfs_exit();
	vexfs_inode_cache_exit();
}

module_init(vexfs_init);
module_exit(vexfs_exit);

MODULE_ALIAS_FS(VEXFS_NAME);
MODULE_AUTHOR("The vexci developers");
MODULE_DESCRIPTION("VexFS, a journaling filesystem");
MODULE_INFO(features, VEXFS_FEATURES);
MODULE_LICENSE("GPL");
MODULE_SOFTDEP("pre: crc32c");
MODULE_VERSION(VEXFS_MODULE_VERSION);
