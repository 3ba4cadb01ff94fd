// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scan and replay of the log before jbd2 sees it: docs/format.md, 11.5, says
 * how and why. Everything is read and verified before anything is written.
 */
#include <linux/blkdev.h>
#include <linux/sort.h>

#include "log.h"

#define VEXFS_INCOMPAT	(JBD2_FEATURE_INCOMPAT_REVOKE | \
			 JBD2_FEATURE_INCOMPAT_64BIT | \
			 JBD2_FEATURE_INCOMPAT_CSUM_V3)

/* Was @tag revoked by its own or a later transaction? */
static bool vexfs_log_revoked(const struct vexfs_log *log,
			      const struct vexfs_log_item *tag)
{
	size_t low = 0, high = log->revokes.count;
	const struct vexfs_log_item *r = log->revokes.item;

	/* The first item beyond all of this block; the one before is highest. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r[mid].block <= tag->block)
			low = mid + 1;
		else
			high = mid;
	}
	return low && r[low - 1].block == tag->block &&
	       r[low - 1].seq >= tag->seq;
}

/* May the log hold this block (11.2)? */
static bool vexfs_log_place(const struct vexfs_sb_info *sbi, u64 block)
{
	if (block == 1 || (block >= 2 && block < 2ULL + sbi->summary_blocks))
		return true;
	return block >= sbi->groups_start && block < sbi->total_blocks &&
	       block != sbi->backup[0] && block != sbi->backup[1];
}

static int vexfs_log_verify(struct vexfs_log *log)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(log->sb);
	struct buffer_head *bh;
	size_t i;
	u32 crc;

	for (i = 0; i < log->tags.count; i++) {
		const struct vexfs_log_item *tag = &log->tags.item[i];
		__be32 seq = cpu_to_be32(log->first_seq + tag->seq);

		cond_resched();
		if (vexfs_log_revoked(log, tag))
			continue;
		if (!vexfs_log_place(sbi, tag->block))
			return vexfs_corrupt(log->sb, "journal", tag->block, 0,
					     "range");
		bh = vexfs_log_read(log, tag->pos);
		if (!bh)
			return -EIO;
		crc = vexfs_crc(sbi, sbi->seed, &seq, 4);
		crc = vexfs_crc(sbi, crc, bh->b_data, VEXFS_BLOCK_SIZE);
		brelse(bh);
		if (crc != tag->csum)
			return vexfs_corrupt_val(log->sb, "journal", tag->block,
						 0, "checksum", crc, tag->csum);
	}
	return 0;
}

static int vexfs_log_write(struct vexfs_log *log)
{
	struct super_block *sb = log->sb;
	struct buffer_head *from, *to;
	size_t i;
	int err;

	for (i = 0; i < log->tags.count; i++) {
		const struct vexfs_log_item *tag = &log->tags.item[i];

		cond_resched();
		if (i + 1 < log->tags.count && tag[1].block == tag->block)
			continue;	/* a later copy follows */
		if (vexfs_log_revoked(log, tag))
			continue;
		from = vexfs_log_read(log, tag->pos);
		if (!from)
			return -EIO;
		to = sb_getblk(sb, tag->block);
		if (!to) {
			brelse(from);
			return -ENOMEM;
		}
		lock_buffer(to);
		memcpy(to->b_data, from->b_data, VEXFS_BLOCK_SIZE);
		if (tag->flags & JBD2_FLAG_ESCAPE)
			*(__be32 *)to->b_data = cpu_to_be32(JBD2_MAGIC_NUMBER);
		set_buffer_uptodate(to);
		clear_buffer_verified(to);
		unlock_buffer(to);
		mark_buffer_dirty(to);
		brelse(to);
		brelse(from);
	}
	err = sync_blockdev(sb->s_bdev);
	if (!err)
		err = blkdev_issue_flush(sb->s_bdev);
	return err;
}

static int vexfs_jsb_check(struct super_block *sb,
			   const journal_superblock_t *jsb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	u64 block = sbi->journal_start;
	static const u8 zero[4];
	u32 crc, start = be32_to_cpu(jsb->s_start);

	if (jsb->s_header.h_magic != cpu_to_be32(JBD2_MAGIC_NUMBER) ||
	    jsb->s_header.h_blocktype != cpu_to_be32(JBD2_SUPERBLOCK_V2))
		return vexfs_corrupt(sb, "journal superblock", block, 0,
				     "magic");
	crc = vexfs_crc(sbi, ~0U, jsb, 0xfc);
	crc = vexfs_crc(sbi, crc, zero, 4);
	crc = vexfs_crc(sbi, crc, (const u8 *)jsb + 0x100, 1024 - 0x100);
	if (crc != be32_to_cpu(jsb->s_checksum))
		return vexfs_corrupt_val(sb, "journal superblock", block, 0,
					 "checksum",
					 be32_to_cpu(jsb->s_checksum), crc);
	if (be32_to_cpu(jsb->s_blocksize) != VEXFS_BLOCK_SIZE ||
	    be32_to_cpu(jsb->s_maxlen) != sbi->journal_blocks ||
	    be32_to_cpu(jsb->s_first) != 1 || start >= sbi->journal_blocks ||
	    jsb->s_feature_compat || jsb->s_feature_ro_compat ||
	    jsb->s_feature_incompat != cpu_to_be32(VEXFS_INCOMPAT) ||
	    memcmp(jsb->s_uuid, sb->s_uuid.b, 16) ||
	    jsb->s_nr_users != cpu_to_be32(1) || jsb->s_dynsuper ||
	    jsb->s_max_transaction || jsb->s_max_trans_data ||
	    jsb->s_checksum_type != JBD2_CRC32C_CHKSUM || jsb->s_num_fc_blks)
		return vexfs_corrupt(sb, "journal superblock", block, 0,
				     "settings");
	return 0;
}

static int vexfs_jsb_empty(struct super_block *sb, struct buffer_head *bh,
			   u32 seq)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	journal_superblock_t *jsb = (journal_superblock_t *)bh->b_data;
	int err;

	lock_buffer(bh);
	jsb->s_start = 0;
	jsb->s_sequence = cpu_to_be32(seq);
	jsb->s_checksum = 0;
	jsb->s_checksum = cpu_to_be32(vexfs_crc(sbi, ~0U, jsb, 1024));
	unlock_buffer(bh);
	mark_buffer_dirty(bh);
	err = sync_dirty_buffer(bh);
	if (!err)
		err = blkdev_issue_flush(sb->s_bdev);
	return err;
}

/* Leaves an empty log; *@log_errno is what aborted the journal, or 0. */
int vexfs_recover(struct super_block *sb, int *log_errno)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_log log = { .sb = sb, .maxlen = sbi->journal_blocks };
	const journal_superblock_t *jsb;
	struct buffer_head *bh;
	u32 start;
	int err;

	bh = sb_bread(sb, sbi->journal_start);
	if (!bh)
		return vexfs_io_error(sb, "journal", sbi->journal_start, 0,
				      false, -EIO);
	jsb = (const journal_superblock_t *)bh->b_data;
	err = vexfs_jsb_check(sb, jsb);
	if (err)
		goto out;
	*log_errno = (int)be32_to_cpu(jsb->s_errno);
	start = be32_to_cpu(jsb->s_start);
	log.first_seq = be32_to_cpu(jsb->s_sequence);
	if (!start)
		goto out;
	if (bdev_read_only(sb->s_bdev)) {
		pr_err("vexfs (%s): the log must be replayed, but the device is read-only\n",
		       sb->s_id);
		err = -EROFS;
		goto out;
	}
	err = vexfs_log_scan(&log, start);
	if (err)
		goto out;
	sort(log.revokes.item, log.revokes.count, sizeof(*log.revokes.item),
	     vexfs_log_compare, NULL);
	sort(log.tags.item, log.tags.count, sizeof(*log.tags.item),
	     vexfs_log_compare, NULL);
	err = vexfs_log_verify(&log);
	if (!err)
		err = vexfs_log_write(&log);
	if (!err)
		err = vexfs_jsb_empty(sb, bh, log.first_seq + log.counted);
	if (!err)
		pr_info("vexfs (%s): replayed %u transactions, %zu blocks\n",
			sb->s_id, log.counted, log.tags.count);
out:
	/* jbd2 has a mark of this name too, and trusts it. */
	clear_buffer_verified(bh);
	brelse(bh);
	kvfree(log.tags.item);
	kvfree(log.revokes.item);
	if (!err)
		invalidate_bdev(sb->s_bdev);
	return err;
}
