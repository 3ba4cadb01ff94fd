// SPDX-License-Identifier: GPL-2.0-only
/*
 * The scan of the log (docs/format.md, 11.5): finds the transactions that
 * count, what they hold, and what they revoke.
 */
#include "log.h"

static int vexfs_log_push(struct vexfs_log_list *list,
			  const struct vexfs_log_item *item)
{
	if (list->count == list->space) {
		size_t space = list->space ? list->space * 2 : 256;
		struct vexfs_log_item *more;

		more = kvmalloc_array(space, sizeof(*more), GFP_KERNEL);
		if (!more)
			return -ENOMEM;
		if (list->count)
			memcpy(more, list->item, list->count * sizeof(*more));
		kvfree(list->item);
		list->item = more;
		list->space = space;
	}
	list->item[list->count++] = *item;
	return 0;
}

int vexfs_log_compare(const void *a, const void *b)
{
	const struct vexfs_log_item *x = a, *y = b;

	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	/* Within a transaction a block is logged once; pos keeps it definite. */
	return x->pos < y->pos ? -1 : x->pos > y->pos;
}

struct buffer_head *vexfs_log_read(struct vexfs_log *log, u32 pos)
{
	u64 block = VEXFS_SB(log->sb)->journal_start + pos;
	struct buffer_head *bh;

	bh = sb_bread(log->sb, block);
	if (!bh)
		vexfs_io_error(log->sb, "journal", block, 0, false, -EIO);
	return bh;
}

static u32 vexfs_log_next(const struct vexfs_log *log, u32 pos, u32 count)
{
	u64 next = (u64)pos + count;

	while (next >= log->maxlen)
		next -= log->maxlen - 1;
	return next;
}

/* The checksum of a control block whose own checksum is the be32 at @at. */
static bool vexfs_log_csum(const struct vexfs_sb_info *sbi, const u8 *data,
			   unsigned int at)
{
	static const u8 zero[4];
	u32 crc;

	crc = vexfs_crc(sbi, sbi->seed, data, at);
	crc = vexfs_crc(sbi, crc, zero, 4);
	crc = vexfs_crc(sbi, crc, data + at + 4, VEXFS_BLOCK_SIZE - at - 4);
	return crc == be32_to_cpup((const __be32 *)(data + at));
}

/* Right as it is, or after all but the first sector was lost. */
static bool vexfs_log_commit_valid(const struct vexfs_sb_info *sbi, u8 *data)
{
	u8 *copy;
	bool ok;

	if (vexfs_log_csum(sbi, data, 16))
		return true;
	copy = kmemdup(data, VEXFS_BLOCK_SIZE, GFP_KERNEL);
	if (!copy)
		return false;
	memset(copy + 60, 0, VEXFS_BLOCK_SIZE - 60);
	ok = vexfs_log_csum(sbi, copy, 16);
	kfree(copy);
	return ok;
}

/* Returns how many blocks are tagged, sets *@bad where the block is. */
static int vexfs_log_descriptor(struct vexfs_log *log, const u8 *data, u32 pos,
				u32 seq, bool *bad)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(log->sb);
	unsigned int at = sizeof(journal_header_t), tags = 0;
	const unsigned int end = VEXFS_BLOCK_SIZE - 4;
	bool last = false;
	int err;

	if (!vexfs_log_csum(sbi, data, end))
		*bad = true;
	while (!last && at + sizeof(journal_block_tag3_t) <= end) {
		const journal_block_tag3_t *tag = (const void *)(data + at);
		struct vexfs_log_item item = {
			.block = (u64)be32_to_cpu(tag->t_blocknr_high) << 32 |
				 be32_to_cpu(tag->t_blocknr),
			.seq = seq - log->first_seq,
			.pos = vexfs_log_next(log, pos, 1 + tags),
			.csum = be32_to_cpu(tag->t_checksum),
			.flags = be32_to_cpu(tag->t_flags),
		};

		err = vexfs_log_push(&log->tags, &item);
		if (err)
			return err;
		tags++;
		last = item.flags & JBD2_FLAG_LAST_TAG;
		at += sizeof(*tag);
		if (!(item.flags & JBD2_FLAG_SAME_UUID))
			at += 16;
	}
	if (!last)
		*bad = true;
	return tags;
}

static int vexfs_log_revoke(struct vexfs_log *log, const u8 *data, u32 seq,
			    bool *bad)
{
	const jbd2_journal_revoke_header_t *h = (const void *)data;
	u32 used = be32_to_cpu(h->r_count), at;
	int err;

	if (!vexfs_log_csum(VEXFS_SB(log->sb), data, VEXFS_BLOCK_SIZE - 4) ||
	    used < sizeof(*h) || used > VEXFS_BLOCK_SIZE - 4) {
		*bad = true;
		return 0;
	}
	for (at = sizeof(*h); at + 8 <= used; at += 8) {
		struct vexfs_log_item item = {
			.block = be64_to_cpup((const __be64 *)(data + at)),
			.seq = seq - log->first_seq,
		};

		err = vexfs_log_push(&log->revokes, &item);
		if (err)
			return err;
	}
	return 0;
}

/* Reads the log from @start on; only reading. */
int vexfs_log_scan(struct vexfs_log *log, u32 start)
{
	size_t tags = 0, revokes = 0;	/* of transactions that count */
	u32 pos = start, seq = log->first_seq, used = 0;
	struct buffer_head *bh;
	bool bad = false;
	int err = 0, n;

	while (used < log->maxlen - 1) {
		const journal_header_t *h;
		u32 type, step = 1;

		cond_resched();
		bh = vexfs_log_read(log, pos);
		if (!bh)
			return -EIO;
		h = (const journal_header_t *)bh->b_data;
		type = be32_to_cpu(h->h_blocktype);
		if (h->h_magic != cpu_to_be32(JBD2_MAGIC_NUMBER) ||
		    be32_to_cpu(h->h_sequence) != seq)
			type = 0;
		if (type == JBD2_DESCRIPTOR_BLOCK) {
			n = vexfs_log_descriptor(log, bh->b_data, pos, seq,
						 &bad);
			err = min(n, 0);
			step += max(n, 0);
		} else if (type == JBD2_REVOKE_BLOCK) {
			err = vexfs_log_revoke(log, bh->b_data, seq, &bad);
		} else if (type == JBD2_COMMIT_BLOCK &&
			   vexfs_log_commit_valid(VEXFS_SB(log->sb),
						  bh->b_data)) {
			if (bad)
				err = vexfs_corrupt(log->sb, "journal",
						    bh->b_blocknr, 0,
						    "checksum");
			log->counted++;
			seq++;
			tags = log->tags.count;
			revokes = log->revokes.count;
		} else {
			type = 0;
		}
		brelse(bh);
		if (err)
			return err;
		if (!type)
			break;
		used += step;
		pos = vexfs_log_next(log, pos, step);
	}
	log->tags.count = tags;
	log->revokes.count = revokes;
	return 0;
}
