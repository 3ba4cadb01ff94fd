// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module, mounting, and what a mount has used of its limits.
 */
#include <linux/ctype.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/string.h>

#include "vexfs.h"

/* Takes one of @count, or returns -ENOSPC. */
int vexfs_take(struct vexfs_sb_info *sbi, struct vexfs_count *count)
{
	int err = -ENOSPC;

	spin_lock(&sbi->lock);
	if (count->used < count->limit) {
		count->used++;
		err = 0;
	}
	spin_unlock(&sbi->lock);
	return err;
}

void vexfs_give(struct vexfs_sb_info *sbi, struct vexfs_count *count)
{
	spin_lock(&sbi->lock);
	count->used--;
	spin_unlock(&sbi->lock);
}

/*
 * Limits a mount to @blocks of data. Inodes take memory too: there may be one
 * for each block, and the root. Fails where more than that is in use.
 */
static int vexfs_set_limit(struct vexfs_sb_info *sbi, u64 blocks)
{
	int err = -ENOSPC;

	spin_lock(&sbi->lock);
	if (sbi->blocks.used <= blocks && sbi->inodes.used <= blocks + 1) {
		sbi->blocks.limit = blocks;
		sbi->inodes.limit = blocks + 1;
		err = 0;
	}
	spin_unlock(&sbi->lock);
	return err;
}

static int vexfs_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	struct super_block *sb = dentry->d_sb;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);

	buf->f_type = VEXFS_MAGIC;
	buf->f_bsize = sb->s_blocksize;
	buf->f_namelen = NAME_MAX;
	buf->f_fsid = u64_to_fsid(huge_encode_dev(sb->s_dev));
	spin_lock(&sbi->lock);
	buf->f_blocks = sbi->blocks.limit;
	buf->f_bfree = sbi->blocks.limit - sbi->blocks.used;
	buf->f_bavail = buf->f_bfree;
	buf->f_files = sbi->inodes.limit;
	buf->f_ffree = sbi->inodes.limit - sbi->inodes.used;
	spin_unlock(&sbi->lock);
	return 0;
}

static int vexfs_show_options(struct seq_file *m, struct dentry *root)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(root->d_sb);

	seq_printf(m, ",size=%lluk",
		   READ_ONCE(sbi->blocks.limit) << (PAGE_SHIFT - 10));
	return 0;
}

static const struct super_operations vexfs_super_ops = {
	.evict_inode	= vexfs_evict_inode,
	.statfs		= vexfs_statfs,
	.show_options	= vexfs_show_options,
};

struct vexfs_options {
	u64 blocks;	/* 0: not given */
};

enum vexfs_param {
	OPT_SIZE,
};

static const struct fs_parameter_spec vexfs_parameters[] = {
	fsparam_string("size", OPT_SIZE),
	{}
};

/*
 * Reads a number of bytes with an optional suffix k, m, g or t as whole blocks.
 * memparse() will not do: it wraps round without saying so.
 */
static int vexfs_parse_size(struct fs_context *fc, const char *text,
			    u64 *blocks)
{
	static const char suffixes[] = "kmgt";
	size_t len = strlen(text);
	unsigned int shift = 0;
	const char *suffix;
	char digits[24];
	u64 number;

	suffix = len ? strchr(suffixes, tolower(text[len - 1])) : NULL;
	if (suffix) {
		shift = 10 * (suffix - suffixes + 1);
		len--;
	}
	if (len >= sizeof(digits))
		goto invalid;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (kstrtou64(digits, 10, &number) || number > U64_MAX >> shift)
		goto invalid;
	/* Rounded down, because the size is a limit. */
	*blocks = (number << shift) >> PAGE_SHIFT;
	if (!*blocks)
		goto invalid;
	return 0;

invalid:
	return invalfc(fc, "size=%s: want bytes, %lu or more, or a number with k, m, g or t",
		       text, PAGE_SIZE);
}

static int vexfs_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct vexfs_options *opts = fc->fs_private;
	struct fs_parse_result result;
	int opt;

	opt = fs_parse(fc, vexfs_parameters, param, &result);
	if (opt < 0)
		return opt;
	switch (opt) {
	case OPT_SIZE:
		return vexfs_parse_size(fc, param->string, &opts->blocks);
	}
	return -EINVAL;
}

static int vexfs_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct vexfs_options *opts = fc->fs_private;
	struct vexfs_sb_info *sbi;
	struct inode *root;

	sbi = kzalloc(sizeof(*sbi), GFP_KERNEL);
	if (!sbi)
		return -ENOMEM;
	spin_lock_init(&sbi->lock);
	/* By default half of the memory. Nothing is used yet: cannot fail. */
	vexfs_set_limit(sbi, opts->blocks ?: totalram_pages() / 2);
	sb->s_fs_info = sbi;	/* vexfs_kill_sb() frees it, also if we fail */
	sb->s_magic = VEXFS_MAGIC;
	sb->s_op = &vexfs_super_ops;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_time_gran = 1;

	root = vexfs_new_inode(sb, &nop_mnt_idmap, NULL, S_IFDIR | 0755, 0);
	if (IS_ERR(root))
		return PTR_ERR(root);
	sb->s_root = d_make_root(root);	/* drops the inode if it fails */
	if (!sb->s_root)
		return -ENOMEM;
	return 0;
}

static int vexfs_get_tree(struct fs_context *fc)
{
	return get_tree_nodev(fc, vexfs_fill_super);
}

static int vexfs_reconfigure(struct fs_context *fc)
{
	struct vexfs_options *opts = fc->fs_private;

	if (!opts->blocks)
		return 0;
	if (vexfs_set_limit(VEXFS_SB(fc->root->d_sb), opts->blocks))
		return invalfc(fc, "more than the new size is in use");
	return 0;
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
	fc->fs_private = opts;
	fc->ops = &vexfs_context_ops;
	return 0;
}

static void vexfs_kill_sb(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);

	kill_litter_super(sb);
	/* Every inode is evicted now: what is still counted was lost. */
	if (sbi)
		WARN_ON(sbi->blocks.used || sbi->inodes.used);
	kfree(sbi);
}

static struct file_system_type vexfs_type = {
	.owner		= THIS_MODULE,
	.name		= VEXFS_NAME,
	.init_fs_context = vexfs_init_fs_context,
	.parameters	= vexfs_parameters,
	.kill_sb	= vexfs_kill_sb,
};

static int __init vexfs_init(void)
{
	return register_filesystem(&vexfs_type);
}

/* Nothing of ours is freed after a grace period, so there is none to await. */
static void __exit vexfs_exit(void)
{
	unregister_filesystem(&vexfs_type);
}

module_init(vexfs_init);
module_exit(vexfs_exit);

MODULE_ALIAS_FS(VEXFS_NAME);
MODULE_AUTHOR("The vexci developers");
MODULE_DESCRIPTION("VexFS, a filesystem in memory");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
