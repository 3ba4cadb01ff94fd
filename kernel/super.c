// SPDX-License-Identifier: GPL-2.0-only
/*
 * A mounted volume: made, asked, synced, frozen and unmounted.
 */
#include <linux/blkdev.h>
#include <linux/seq_file.h>
#include <linux/statfs.h>

#include "mount.h"
#include "vexfs.h"

static struct kmem_cache *vexfs_inodes;

static struct inode *vexfs_alloc_inode(struct super_block *sb)
{
	struct vexfs_inode_info *vi;

	vi = alloc_inode_sb(sb, vexfs_inodes, GFP_KERNEL);
	if (!vi)
		return NULL;
	memset(&vi->root, 0, sizeof(vi->root));
	memset(vi->special, 0, sizeof(vi->special));
	memset(vi->xattr, 0, sizeof(vi->xattr));
	vi->ext_version = 0;
	vi->disk_size = 0;
	vi->old_tail = false;
	vi->flags = 0;
	vi->parent = 0;
	vi->link = 0;
	vi->orphan_next = 0;
	vi->orphan = NULL;
	vi->coll = NULL;
	vi->jinode = NULL;
	vi->xattr_block = 0;
	vi->xattr_len = 0;
	return &vi->vfs_inode;
}

static void vexfs_free_inode(struct inode *inode)
{
	if (S_ISLNK(inode->i_mode))
		kfree(inode->i_link);
	kmem_cache_free(vexfs_inodes, VEXFS_I(inode));
}

static void vexfs_inode_once(void *data)
{
	struct vexfs_inode_info *vi = data;

	init_rwsem(&vi->ext_sem);
	init_rwsem(&vi->xattr_sem);
	mutex_init(&vi->raw_lock);
	spin_lock_init(&vi->io_lock);
	INIT_LIST_HEAD(&vi->io_list);
	INIT_WORK(&vi->io_work, vexfs_io_work);
	inode_init_once(&vi->vfs_inode);
}

int vexfs_inode_cache_init(void)
{
	vexfs_inodes = kmem_cache_create("vexfs_inode",
					 sizeof(struct vexfs_inode_info), 0,
					 SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT,
					 vexfs_inode_once);
	return vexfs_inodes ? 0 : -ENOMEM;
}

void vexfs_inode_cache_exit(void)
{
	/* Inodes are freed after a grace period. */
	rcu_barrier();
	kmem_cache_destroy(vexfs_inodes);
}

static int vexfs_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	struct super_block *sb = dentry->d_sb;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);

	buf->f_type = VEXFS_SUPER_MAGIC;
	buf->f_bsize = VEXFS_BLOCK_SIZE;
	buf->f_blocks = sbi->usable_blocks;
	buf->f_bfree = atomic64_read(&sbi->free_blocks);
	buf->f_bavail = buf->f_bfree;
	buf->f_files = (u64)sbi->groups * sbi->ipg;
	buf->f_ffree = atomic64_read(&sbi->free_inodes);
	buf->f_namelen = NAME_MAX;
	buf->f_fsid = uuid_to_fsid(sb->s_uuid.b);
	return 0;
}

static int vexfs_show_options(struct seq_file *m, struct dentry *root)
{
	static const char * const names[] = {
		[VEXFS_ERRORS_RO]	= "remount-ro",
		[VEXFS_ERRORS_CONTINUE]	= "continue",
		[VEXFS_ERRORS_PANIC]	= "panic",
	};
	const struct vexfs_options *opts = &VEXFS_SB(root->d_sb)->opts;

	seq_printf(m, ",errors=%s", names[opts->errors]);
	if (opts->commit != JBD2_DEFAULT_MAX_COMMIT_AGE)
		seq_printf(m, ",commit=%u", opts->commit);
	if (opts->discard)
		seq_puts(m, ",discard");
	return 0;
}

static int vexfs_sync_fs(struct super_block *sb, int wait)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	tid_t tid;

	if (!sbi->journal)
		return 0;
	if (wait)
		return vexfs_commit(sb);
	jbd2_journal_start_commit(sbi->journal, &tid);
	return 0;
}

static int vexfs_freeze_fs(struct super_block *sb)
{
	return VEXFS_SB(sb)->journal ? vexfs_mark_clean(sb, false) : 0;
}

static int vexfs_unfreeze_fs(struct super_block *sb)
{
	return 0;	/* jbd2 starts its log with the next transaction */
}

static void vexfs_put_super(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);

	if (sbi->conversions)
		flush_workqueue(sbi->conversions);
	if (sbi->journal) {
		int err = vexfs_mark_clean(sb, true);

		if (err)
			pr_err("vexfs (%s): not unmounted cleanly: errno %d\n",
			       sb->s_id, -err);
	}
	vexfs_put_volume(sb);
}

/* Also what a mount that failed has got so far. */
void vexfs_put_volume(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_orphan *orphan, *next;

	vexfs_journal_close(sb);
	if (sbi->conversions)
		destroy_workqueue(sbi->conversions);
	sbi->conversions = NULL;
	brelse(sbi->state_bh);
	sbi->state_bh = NULL;
	list_for_each_entry_safe(orphan, next, &sbi->orphan_list, list)
		kfree(orphan);
	INIT_LIST_HEAD(&sbi->orphan_list);
}

const struct super_operations vexfs_super_ops = {
	.alloc_inode	= vexfs_alloc_inode,
	.free_inode	= vexfs_free_inode,
	.dirty_inode	= vexfs_dirty_inode,
	.evict_inode	= vexfs_evict_inode,
	.put_super	= vexfs_put_super,
	.sync_fs	= vexfs_sync_fs,
	.freeze_fs	= vexfs_freeze_fs,
	.unfreeze_fs	= vexfs_unfreeze_fs,
	.statfs		= vexfs_statfs,
	.show_options	= vexfs_show_options,
};
