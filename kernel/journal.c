// SPDX-License-Identifier: GPL-2.0-only
/*
 * The journal: jbd2 over a run of blocks that no inode owns (format.md, 11.4),
 * and what the state block says of mounting.
 */
#include <linux/blkdev.h>
#include <linux/sched/mm.h>
#include <linux/utsname.h>

#include "vexfs.h"

static int vexfs_bmap(journal_t *journal, sector_t *block)
{
	struct super_block *sb = journal->j_private;

	*block += VEXFS_SB(sb)->journal_start;
	return 0;
}

/* Before a commit: the bytes of vectors that it makes visible. */
static int vexfs_submit_data(struct jbd2_inode *jinode)
{
	return filemap_fdatawrite_range(jinode->i_vfs_inode->i_mapping,
					jinode->i_dirty_start,
					jinode->i_dirty_end);
}

/* Makes jbd2 believe in a long journal; see vexfs_journal_shorten(). */
static int vexfs_journal_lengthen(struct super_block *sb, u32 len)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	journal_superblock_t *jsb;
	struct buffer_head *bh;

	bh = sb_bread(sb, sbi->journal_start);
	if (!bh)
		return -EIO;
	jsb = (journal_superblock_t *)bh->b_data;
	lock_buffer(bh);
	vexfs_jsb_set_len(jsb, len);
	jsb->s_checksum = 0;
	jsb->s_checksum = cpu_to_be32(vexfs_crc(sbi, ~0U, jsb, 1024));
	clear_buffer_verified(bh);
	unlock_buffer(bh);
	/* Not dirty: jbd2 finds this buffer, the disk never sees it. */
	brelse(bh);
	return 0;
}

/* Drops what was written to the buffer for jbd2 only. */
static void vexfs_journal_forget(struct super_block *sb)
{
	struct buffer_head *bh;

	bh = sb_getblk(sb, VEXFS_SB(sb)->journal_start);
	if (!bh)
		return;
	lock_buffer(bh);
	clear_buffer_uptodate(bh);
	clear_buffer_verified(bh);
	unlock_buffer(bh);
	brelse(bh);
}

/* Opens the journal, whose log is empty. */
int vexfs_journal_open(struct super_block *sb, int log_errno)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	bool tiny = sbi->journal_blocks < VEXFS_SHORT_JOURNAL_MAX;
	u32 len = max_t(u32, sbi->journal_blocks, VEXFS_SHORT_JOURNAL_MAX);
	journal_t *journal;
	int err;

	if (tiny) {
		err = vexfs_journal_lengthen(sb, len);
		if (err)
			return err;
	}
	journal = jbd2_journal_init_dev(sb->s_bdev, sb->s_bdev,
					sbi->journal_start, len,
					VEXFS_BLOCK_SIZE);
	if (IS_ERR_OR_NULL(journal)) {
		if (tiny)
			vexfs_journal_forget(sb);
		return journal ? PTR_ERR(journal) : -ENOMEM;
	}
	journal->j_private = sb;
	journal->j_bmap = vexfs_bmap;
	journal->j_flags |= JBD2_BARRIER;
	journal->j_commit_interval = sbi->opts.commit * HZ;
	journal->j_commit_callback = vexfs_committed;
	journal->j_submit_inode_data_buffers = vexfs_submit_data;
	journal->j_finish_inode_data_buffers =
		jbd2_journal_finish_inode_data_buffers;
	sbi->trigger.t_frozen = vexfs_frozen;
	err = jbd2_journal_load(journal);
	if (!err && tiny)
		err = vexfs_journal_shorten(journal, sbi->journal_blocks);
	if (err) {
		/* Not loaded, or not in the state we know: write nothing. */
		journal->j_flags |= JBD2_ABORT;
		jbd2_journal_destroy(journal);
		if (tiny)
			vexfs_journal_forget(sb);
		return err;
	}
	/* format.md, 11.4: at most 48 on a short journal. */
	sbi->credits = tiny ? 44 : 100;
	sbi->journal = journal;
	if (log_errno) {
		jbd2_journal_clear_err(journal);
		jbd2_journal_ack_err(journal);
	}
	return 0;
}

void vexfs_journal_close(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	journal_t *journal = sbi->journal;
	int err;

	if (!journal)
		return;
	cancel_work_sync(&sbi->error_work);
	err = jbd2_journal_destroy(journal);
	if (err)
		pr_err("vexfs (%s): the journal was not closed: errno %d\n",
		       sb->s_id, -err);
	sbi->journal = NULL;
}

/*
 * Starts a handle of @credits blocks and @revokes revoke records. Only
 * vexfs_stop() ends it. It never fails for want of memory: much of what asks
 * for a handle finishes what was begun under another, and cannot go back.
 */
handle_t *vexfs_start(struct super_block *sb, int credits, int revokes)
{
	journal_t *journal = VEXFS_SB(sb)->journal;
	handle_t *handle;

	if (!journal)
		return ERR_PTR(-EROFS);
	for (;;) {
		handle = jbd2__journal_start(journal, credits, 0, revokes,
					     GFP_NOFS, 0, 0);
		if (handle != ERR_PTR(-ENOMEM))
			return handle;
		memalloc_retry_wait(GFP_NOFS);
	}
}

/*
 * Ends a handle whose operation came to @err. An operation that failed in the
 * middle for a reason that its undoing does not know must not be committed by
 * halves: then the journal is aborted.
 */
int vexfs_stop(handle_t *handle, int err)
{
	journal_t *journal = handle->h_transaction ?
			     handle->h_transaction->t_journal : NULL;
	bool half = handle->h_type && handle->h_ref == 1 &&
		    (err == -EUCLEAN || err == -EIO || err == -ENOMEM);
	int stop;

	if (half && journal && !is_journal_aborted(journal)) {
		struct super_block *sb = journal->j_private;

		pr_err("vexfs (%s): journal aborted, an operation failed half way: errno %d\n",
		       sb->s_id, -err);
		jbd2_journal_abort(journal, err);
		sb->s_flags |= SB_RDONLY;
	}
	stop = jbd2_journal_stop(handle);
	return err ? err : stop;
}

int vexfs_commit(struct super_block *sb)
{
	journal_t *journal = VEXFS_SB(sb)->journal;

	return journal ? jbd2_journal_force_commit(journal) : 0;
}

/*
 * After -ENOSPC: blocks that were freed can be had again after a commit, so it
 * may help to commit and try once more. Not under a handle.
 */
bool vexfs_retry(struct super_block *sb, int err, int *tries)
{
	if (err != -ENOSPC || ++*tries > 2 ||
	    !atomic64_read(&VEXFS_SB(sb)->pending_blocks))
		return false;
	return !vexfs_commit(sb);
}

static int vexfs_state_change(struct super_block *sb,
			      void (*change)(struct super_block *sb,
					     struct vexfs_state *state))
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	handle_t *handle;
	int err;

	handle = vexfs_start(sb, 1, 0);
	if (IS_ERR(handle))
		return PTR_ERR(handle);
	mutex_lock(&sbi->orphan_lock);
	err = vexfs_access(handle, sb, sbi->state_bh);
	if (!err) {
		change(sb, (struct vexfs_state *)sbi->state_bh->b_data);
		err = vexfs_dirty(handle, sb, sbi->state_bh);
	}
	mutex_unlock(&sbi->orphan_lock);
	err = vexfs_stop(handle, err);
	return err ? err : vexfs_commit(sb);
}

static void vexfs_state_mounted(struct super_block *sb,
				struct vexfs_state *state)
{
	char release[9];

	state->flags &= ~cpu_to_le32(VEXFS_STATE_CLEAN);
	le32_add_cpu(&state->mount_count, 1);
	state->mount_time = cpu_to_le64(ktime_get_real_ns());
	memset(state->writer, 0, sizeof(state->writer));
	strscpy(release, init_utsname()->release, sizeof(release));
	snprintf(state->writer, sizeof(state->writer), "vexfs.ko %s %s",
		 VEXFS_MODULE_VERSION, release);
}

static void vexfs_state_written(struct super_block *sb,
				struct vexfs_state *state)
{
	state->write_time = cpu_to_le64(ktime_get_real_ns());
}

static void vexfs_state_clean(struct super_block *sb,
			      struct vexfs_state *state)
{
	vexfs_state_written(sb, state);
	if (!state->orphan_head)
		state->flags |= cpu_to_le32(VEXFS_STATE_CLEAN);
}

/* A read-write mount: durable before anything else is written. */
int vexfs_mark_mounted(struct super_block *sb)
{
	return vexfs_state_change(sb, vexfs_state_mounted);
}

/* Leaves the log empty; @clean for an unmount, not for a freeze. */
int vexfs_mark_clean(struct super_block *sb, bool clean)
{
	journal_t *journal = VEXFS_SB(sb)->journal;
	int err, flushed;

	flush_work(&VEXFS_SB(sb)->error_work);
	if (is_journal_aborted(journal))
		return -EIO;
	err = vexfs_state_change(sb, clean ? vexfs_state_clean :
				 vexfs_state_written);
	jbd2_journal_lock_updates(journal);
	flushed = jbd2_journal_flush(journal, 0);
	jbd2_journal_unlock_updates(journal);
	return err ? err : flushed;
}
