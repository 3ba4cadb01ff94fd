// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is said and done when a check or an I/O fails (format.md, section 3).
 */
#include <linux/panic.h>

#include "vexfs.h"

static bool vexfs_may_say(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);

	/* The first is never lost. */
	return !atomic_xchg(&sbi->said, 1) || __ratelimit(&sbi->messages);
}

/*
 * Follows errors= and leaves a note for vexfs_error_work(): the caller may be
 * under a handle, or in a place where none can be started.
 */
static void vexfs_react(struct super_block *sb, const char *type, u64 block,
			u64 ino, int err)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_error_record rec = {};

	if (!sbi->journal)
		return;	/* mounting fails by itself; read-only has no record */
	if (sbi->opts.errors == VEXFS_ERRORS_PANIC)
		panic("vexfs (%s): panic because of errors=panic\n", sb->s_id);
	if (sbi->opts.errors == VEXFS_ERRORS_RO && !sb_rdonly(sb)) {
		pr_err("vexfs (%s): remounted read-only after an error\n",
		       sb->s_id);
		sb->s_flags |= SB_RDONLY;
	}
	rec.time = cpu_to_le64(ktime_get_real_ns());
	rec.block = cpu_to_le64(block);
	rec.ino = cpu_to_le32(ino);
	rec.error = cpu_to_le32(-err);
	strscpy(rec.place, type, sizeof(rec.place));
	mutex_lock(&sbi->error_lock);
	sbi->last_error = rec;
	sbi->error_pending = true;
	mutex_unlock(&sbi->error_lock);
	queue_work(system_unbound_wq, &sbi->error_work);
}

/* Where no block is at fault by itself, the place is that of the inode. */
static u64 vexfs_place(struct super_block *sb, u64 block, u64 ino)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);

	if (block || !ino || ino > (u64)sbi->groups * sbi->ipg)
		return block;
	return vexfs_group_start(sbi, (u32)(ino - 1) / sbi->ipg) + 1 +
	       (u32)(ino - 1) % sbi->ipg / VEXFS_INODES_PER_BLOCK;
}

int vexfs_corrupt(struct super_block *sb, const char *type, u64 block, u64 ino,
		  const char *check)
{
	block = vexfs_place(sb, block, ino);
	if (vexfs_may_say(sb)) {
		if (ino)
			pr_err("vexfs (%s): corrupt %s at block %llu (inode %llu): %s\n",
			       sb->s_id, type, block, ino, check);
		else
			pr_err("vexfs (%s): corrupt %s at block %llu: %s\n",
			       sb->s_id, type, block, check);
	}
	vexfs_react(sb, type, block, ino, -EUCLEAN);
	return -EUCLEAN;
}

int vexfs_corrupt_val(struct super_block *sb, const char *type, u64 block,
		      u64 ino, const char *check, u64 got, u64 want)
{
	char text[96];

	snprintf(text, sizeof(text), "%s got %llx, want %llx", check, got,
		 want);
	return vexfs_corrupt(sb, type, block, ino, text);
}

int vexfs_io_error(struct super_block *sb, const char *type, u64 block,
		   u64 ino, bool write, int err)
{
	block = vexfs_place(sb, block, ino);
	if (vexfs_may_say(sb)) {
		if (ino)
			pr_err("vexfs (%s): cannot %s %s at block %llu (inode %llu): errno %d\n",
			       sb->s_id, write ? "write" : "read", type, block,
			       ino, -err);
		else
			pr_err("vexfs (%s): cannot %s %s at block %llu: errno %d\n",
			       sb->s_id, write ? "write" : "read", type, block,
			       -err);
	}
	vexfs_react(sb, type, block, ino, err);
	return err;
}

int vexfs_record_error(struct super_block *sb,
		       const struct vexfs_error_record *rec)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_state *state = (void *)sbi->state_bh->b_data;
	handle_t *handle;
	u32 count;
	int err;

	handle = vexfs_start(sb, 2, 0);
	if (IS_ERR(handle))
		return PTR_ERR(handle);
	mutex_lock(&sbi->orphan_lock);	/* it guards the state block */
	err = vexfs_access(handle, sb, sbi->state_bh);
	if (!err) {
		count = le32_to_cpu(state->error_count);
		state->flags |= cpu_to_le32(VEXFS_STATE_ERROR);
		if (!count)
			state->first_error = *rec;
		state->last_error = *rec;
		if (count != U32_MAX)
			state->error_count = cpu_to_le32(count + 1);
		err = vexfs_dirty(handle, sb, sbi->state_bh);
	}
	mutex_unlock(&sbi->orphan_lock);
	return vexfs_stop(handle, err);
}

void vexfs_error_work(struct work_struct *work)
{
	struct vexfs_sb_info *sbi =
		container_of(work, struct vexfs_sb_info, error_work);
	struct vexfs_error_record rec;
	bool pending;

	mutex_lock(&sbi->error_lock);
	rec = sbi->last_error;
	pending = sbi->error_pending;
	sbi->error_pending = false;
	mutex_unlock(&sbi->error_lock);
	/* An aborted journal keeps the error in its own superblock. */
	if (pending && sbi->journal && !is_journal_aborted(sbi->journal))
		vexfs_record_error(sbi->sb, &rec);
}
