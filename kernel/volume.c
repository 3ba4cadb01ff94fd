// SPDX-License-Identifier: GPL-2.0-only
/*
 * A volume opened, in the order of docs/format.md, section 13.
 */
#include <linux/blkdev.h>

#include "mount.h"
#include "vexfs.h"

static const char *vexfs_ranges(const struct vexfs_sb_info *sbi,
				const struct vexfs_super *s)
{
	u64 total = le64_to_cpu(s->total_blocks), rest;
	u32 jb = le32_to_cpu(s->journal_blocks);
	u32 sum = le32_to_cpu(s->summary_blocks);
	u32 ipg = le32_to_cpu(s->inodes_per_group);
	u32 groups = le32_to_cpu(s->groups);
	u64 start = 2ULL + sum + jb;
	bool is_short;

	if (!memchr_inv(s->uuid, 0, sizeof(s->uuid)))
		return "uuid";
	if (total < 1024 || total > 1ULL << 32)
		return "total_blocks";
	if (le64_to_cpu(s->summary_start) != 2)
		return "summary_start";
	if (!sum || sum > VEXFS_SUMMARY_MAX)
		return "summary_blocks";
	if (le64_to_cpu(s->journal_start) != 2ULL + sum)
		return "journal_start";
	if (jb < VEXFS_JOURNAL_MIN || jb > VEXFS_JOURNAL_MAX)
		return "journal_blocks";
	if (le32_to_cpu(s->group_blocks) != VEXFS_GROUP_BLOCKS)
		return "group_blocks";
	if (le64_to_cpu(s->groups_start) != start || start >= total)
		return "groups_start";
	if (groups != DIV_ROUND_UP_ULL(total - start, VEXFS_GROUP_BLOCKS) ||
	    sum < DIV_ROUND_UP(groups, VEXFS_SUMMARY_ENTRIES))
		return "groups";
	if (ipg < 16 || ipg > 8192 || ipg & 7 ||
	    (u64)ipg * groups > U32_MAX)
		return "inodes_per_group";
	if (le32_to_cpu(s->itable_blocks) != ipg / VEXFS_INODES_PER_BLOCK)
		return "itable_blocks";
	if (le32_to_cpu(s->log_block_size) != VEXFS_BLOCK_BITS)
		return "log_block_size";
	if (le32_to_cpu(s->inode_size) != VEXFS_INODE_SIZE)
		return "inode_size";
	if (le32_to_cpu(s->root_ino) != VEXFS_ROOT_INO)
		return "root_ino";
	rest = total - start - (u64)(groups - 1) * VEXFS_GROUP_BLOCKS;
	if (rest < 1 + ipg / VEXFS_INODES_PER_BLOCK + 8)
		return "groups";
	if (le64_to_cpu(s->backup[0]) != total - 1 ||
	    le64_to_cpu(s->backup[1]) !=
	    (groups > 1 ? start + VEXFS_GROUP_BLOCKS - 1 : 0))
		return "backup";
	is_short = jb < VEXFS_SHORT_JOURNAL_MAX;
	if (!!(le32_to_cpu(s->feature_ro_compat) & VEXFS_RO_SHORT_JOURNAL) !=
	    is_short)
		return "feature_ro_compat";
	return NULL;
}

static int vexfs_super_check(struct super_block *sb, const u8 *data)
{
	const struct vexfs_super *s = (const struct vexfs_super *)data;
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	static const __le32 zero;
	const char *check;
	u32 crc;

	if (le32_to_cpu(s->magic) != VEXFS_SUPER_MAGIC)
		return -EINVAL;
	crc = vexfs_crc(sbi, ~0U, data, 4);
	crc = vexfs_crc(sbi, crc, &zero, 4);
	crc = vexfs_crc(sbi, crc, data + 8, VEXFS_BLOCK_SIZE - 8);
	if (crc != le32_to_cpu(s->checksum)) {
		vexfs_corrupt_val(sb, "superblock", 0, 0, "checksum",
				  le32_to_cpu(s->checksum), crc);
		goto corrupt;
	}
	if (le64_to_cpu(s->blocknr)) {
		vexfs_corrupt(sb, "superblock", 0, 0, "place");
		goto corrupt;
	}
	if (le32_to_cpu(s->version) != VEXFS_VERSION) {
		pr_err("vexfs (%s): format version %u is not known\n",
		       sb->s_id, le32_to_cpu(s->version));
		return -EOPNOTSUPP;
	}
	if (s->feature_incompat) {
		pr_err("vexfs (%s): unknown incompat features %#x\n", sb->s_id,
		       le32_to_cpu(s->feature_incompat));
		return -EOPNOTSUPP;
	}
	check = vexfs_ranges(sbi, s);
	if (check) {
		vexfs_corrupt(sb, "superblock", 0, 0, check);
		goto corrupt;
	}
	if (le64_to_cpu(s->total_blocks) > sb_bdev_nr_blocks(sb)) {
		vexfs_corrupt_val(sb, "superblock", 0, 0, "total_blocks",
				  le64_to_cpu(s->total_blocks),
				  sb_bdev_nr_blocks(sb));
		goto corrupt;
	}
	return 0;

corrupt:
	pr_err("vexfs (%s): run fsck.vexfs, it may find a backup\n", sb->s_id);
	return -EUCLEAN;
}

int vexfs_super_read(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	const struct vexfs_super *s;
	struct buffer_head *bh;
	int err;

	bh = sb_bread(sb, 0);
	if (!bh)
		return vexfs_io_error(sb, "superblock", 0, 0, false, -EIO);
	err = vexfs_super_check(sb, bh->b_data);
	if (err)
		goto out;
	s = (const struct vexfs_super *)bh->b_data;
	sbi->seed = vexfs_crc(sbi, ~0U, s->uuid, sizeof(s->uuid));
	sbi->hash_key.key[0] = le64_to_cpu(s->hash_key[0]);
	sbi->hash_key.key[1] = le64_to_cpu(s->hash_key[1]);
	sbi->ro_compat = le32_to_cpu(s->feature_ro_compat);
	sbi->readable_only = sbi->ro_compat & ~VEXFS_RO_KNOWN;
	sbi->total_blocks = le64_to_cpu(s->total_blocks);
	sbi->journal_start = le64_to_cpu(s->journal_start);
	sbi->journal_blocks = le32_to_cpu(s->journal_blocks);
	sbi->groups_start = le64_to_cpu(s->groups_start);
	sbi->groups = le32_to_cpu(s->groups);
	sbi->summary_blocks = le32_to_cpu(s->summary_blocks);
	sbi->ipg = le32_to_cpu(s->inodes_per_group);
	sbi->itable = le32_to_cpu(s->itable_blocks);
	sbi->backup[0] = le64_to_cpu(s->backup[0]);
	sbi->backup[1] = le64_to_cpu(s->backup[1]);
	memcpy(sbi->label, s->label, sizeof(sbi->label));
	vexfs_set_uuid(sb, s->uuid);
out:
	brelse(bh);
	return err;
}

/* Writes the superblock, or a backup of it, to @block. */
static int vexfs_super_write(struct super_block *sb, u64 block,
			     const struct vexfs_super *from)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_super *s;
	struct buffer_head *bh;
	int err;

	bh = sb_getblk(sb, block);
	if (!bh)
		return -ENOMEM;
	lock_buffer(bh);
	memset(bh->b_data, 0, VEXFS_BLOCK_SIZE);
	s = (struct vexfs_super *)bh->b_data;
	*s = *from;
	s->blocknr = cpu_to_le64(block);
	s->checksum = 0;
	s->checksum = cpu_to_le32(vexfs_crc(sbi, ~0U, s, VEXFS_BLOCK_SIZE));
	set_buffer_uptodate(bh);
	unlock_buffer(bh);
	mark_buffer_dirty(bh);
	err = sync_dirty_buffer(bh);
	if (!err)
		err = blkdev_issue_flush(sb->s_bdev);
	brelse(bh);
	return err ? vexfs_io_error(sb, "superblock", block, 0, true, err) : 0;
}

/* Sets a feature bit, before what it stands for is made (section 4). */
int vexfs_set_ro_compat(struct super_block *sb, u32 bit)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_super *s = NULL;
	struct buffer_head *bh;
	int err = 0, i;

	mutex_lock(&sbi->super_lock);
	if (sbi->ro_compat & bit)
		goto unlock;
	bh = sb_bread(sb, 0);
	if (!bh) {
		err = vexfs_io_error(sb, "superblock", 0, 0, false, -EIO);
		goto unlock;
	}
	s = kmemdup(bh->b_data, sizeof(*s), GFP_KERNEL);
	brelse(bh);
	if (!s) {
		err = -ENOMEM;
		goto unlock;
	}
	le32_add_cpu(&s->serial, 1);
	s->feature_ro_compat |= cpu_to_le32(bit);
	err = vexfs_super_write(sb, 0, s);
	for (i = 0; i < 2 && !err; i++)
		if (sbi->backup[i])
			err = vexfs_super_write(sb, sbi->backup[i], s);
	if (!err)
		sbi->ro_compat |= bit;
unlock:
	mutex_unlock(&sbi->super_lock);
	kfree(s);
	return err;
}

static int vexfs_state_read(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	const struct vexfs_state *state;
	struct buffer_head *bh;
	u32 flags;

	bh = vexfs_bread_fixed(sb, 1, VEXFS_MAGIC_STATE, 0);
	if (IS_ERR(bh))
		return PTR_ERR(bh);
	sbi->state_bh = bh;
	state = (const struct vexfs_state *)bh->b_data;
	flags = le32_to_cpu(state->flags);
	if (flags & ~(VEXFS_STATE_CLEAN | VEXFS_STATE_ERROR) ||
	    memchr_inv(state->zero, 0, sizeof(state->zero)))
		return vexfs_corrupt(sb, "state", 1, 0, "flags");
	if (le32_to_cpu(state->orphan_head) > sbi->groups * sbi->ipg)
		return vexfs_corrupt(sb, "state", 1, 0, "orphan_head");
	set_buffer_verified(bh);
	if (flags & VEXFS_STATE_ERROR)
		pr_warn("vexfs (%s): %u errors were recorded, run fsck.vexfs\n",
			sb->s_id, le32_to_cpu(state->error_count));
	return 0;
}

/* The journal, the mark of a mount, orphans: what a read-write mount adds. */
int vexfs_open_rw(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct vexfs_error_record rec = {};
	int err;

	if (sbi->readable_only) {
		pr_err("vexfs (%s): unknown ro_compat features %#x, mount read-only\n",
		       sb->s_id, sbi->ro_compat & ~VEXFS_RO_KNOWN);
		return -EROFS;
	}
	if (bdev_read_only(sb->s_bdev))
		return -EROFS;
	err = vexfs_journal_open(sb, sbi->log_errno);
	if (!err && sbi->log_errno) {
		rec.time = cpu_to_le64(ktime_get_real_ns());
		rec.error = cpu_to_le32(abs(sbi->log_errno));
		strscpy(rec.place, "journal", sizeof(rec.place));
		err = vexfs_record_error(sb, &rec);
		sbi->log_errno = 0;
	}
	if (!err)
		err = vexfs_mark_mounted(sb);
	if (!err)
		err = vexfs_orphan_cleanup(sb);
	return err;
}

int vexfs_volume_open(struct super_block *sb)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	struct inode *root;
	int err;

	err = vexfs_super_read(sb);
	if (err)
		return err;
	if (!sb_rdonly(sb) && sbi->readable_only)
		return vexfs_open_rw(sb);	/* says why not */
	err = vexfs_recover(sb, &sbi->log_errno);
	if (!err)
		err = vexfs_super_read(sb);
	if (!err)
		err = vexfs_state_read(sb);
	if (!err)
		err = vexfs_groups_load(sb);
	if (err)
		return err;
	sbi->conversions = alloc_workqueue("vexfs/%s", WQ_MEM_RECLAIM, 0,
					   sb->s_id);
	if (!sbi->conversions)
		return -ENOMEM;
	root = vexfs_iget(sb, VEXFS_ROOT_INO);
	if (IS_ERR(root))
		return PTR_ERR(root);
	if (!S_ISDIR(root->i_mode) || root->i_nlink < 2 ||
	    VEXFS_I(root)->parent != VEXFS_ROOT_INO ||
	    VEXFS_I(root)->flags & VEXFS_FL_ORPHAN) {
		iput(root);
		return vexfs_corrupt(sb, "inode", 0, VEXFS_ROOT_INO, "root");
	}
	sb->s_root = d_make_root(root);	/* drops the inode if it fails */
	if (!sb->s_root)
		return -ENOMEM;
	return sb_rdonly(sb) ? 0 : vexfs_open_rw(sb);
}
