// SPDX-License-Identifier: GPL-2.0-only
/*
 * Metadata blocks: read and checked, taken into a transaction, made anew.
 */
#include <crypto/hash.h>

#include "vexfs.h"

/* crc32c without any inversion, as in docs/format.md, section 3. */
u32 vexfs_crc(const struct vexfs_sb_info *sbi, u32 crc, const void *data,
	      unsigned int len)
{
	SHASH_DESC_ON_STACK(desc, sbi->crc);
	u32 *state = (u32 *)shash_desc_ctx(desc);
	int err;

	desc->tfm = sbi->crc;
	*state = crc;
	err = crypto_shash_update(desc, data, len);
	WARN_ON_ONCE(err);
	return *state;
}

static u32 vexfs_block_crc(const struct vexfs_sb_info *sbi, const void *data)
{
	static const __le32 zero;
	u32 crc;

	crc = vexfs_crc(sbi, sbi->seed, data, 4);
	crc = vexfs_crc(sbi, crc, &zero, 4);
	return vexfs_crc(sbi, crc, data + 8, VEXFS_BLOCK_SIZE - 8);
}

/* Are all @len blocks in one group's data area, and none a backup? */
bool vexfs_usable(const struct vexfs_sb_info *sbi, u64 block, u64 len)
{
	u64 offset, g;
	u32 rest;
	int i;

	if (block < sbi->groups_start || block >= sbi->total_blocks || !len)
		return false;
	offset = block - sbi->groups_start;
	g = div_u64_rem(offset, VEXFS_GROUP_BLOCKS, &rest);
	if (rest <= sbi->itable || len > vexfs_group_len(sbi, g) - rest)
		return false;
	for (i = 0; i < 2; i++)
		if (sbi->backup[i] >= block && sbi->backup[i] < block + len)
			return false;
	return true;
}

/* TYPE in messages. */
const char *vexfs_type_name(__le32 magic)
{
	switch (le32_to_cpu(magic) >> 16) {
	case 'S' | 'T' << 8:
		return "state";
	case 'S' | 'M' << 8:
		return "summary";
	case 'G' | 'B' << 8:
		return "group";
	case 'E' | 'X' << 8:
		return "extent";
	case 'D' | 'L' << 8:
	case 'D' | 'I' << 8:
		return "directory";
	case 'X' | 'A' << 8:
		return "xattr";
	case 'S' | 'Y' << 8:
		return "symlink";
	case 'V' | 'M' << 8:
		return "slot-map";
	}
	return "inode";
}

static struct buffer_head *vexfs_read_checked(struct super_block *sb,
					      u64 block, __le32 magic,
					      u32 owner, u32 gen, u64 ino)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(sb);
	const char *type = vexfs_type_name(magic);
	const struct vexfs_header *h;
	struct buffer_head *bh;
	u32 crc;
	int err;

	bh = sb_bread(sb, block);
	if (!bh)
		return ERR_PTR(vexfs_io_error(sb, type, block, ino, false,
					      -EIO));
	h = (const struct vexfs_header *)bh->b_data;
	err = -EUCLEAN;
	if (h->magic != magic &&
	    !(magic == VEXFS_MAGIC_LEAF && h->magic == VEXFS_MAGIC_INDEX)) {
		vexfs_corrupt_val(sb, type, block, ino, "magic",
				  le32_to_cpu(h->magic), le32_to_cpu(magic));
		goto fail;
	}
	/* Once the block is ours, its checksum is made at commit time. */
	if (!buffer_verified(bh)) {
		crc = vexfs_block_crc(sbi, bh->b_data);
		if (crc != le32_to_cpu(h->checksum)) {
			vexfs_corrupt_val(sb, type, block, ino, "checksum",
					  le32_to_cpu(h->checksum), crc);
			goto fail;
		}
	}
	if (le64_to_cpu(h->blocknr) != block) {
		vexfs_corrupt_val(sb, type, block, ino, "place",
				  le64_to_cpu(h->blocknr), block);
		goto fail;
	}
	if (le32_to_cpu(h->owner) != owner ||
	    le32_to_cpu(h->generation) != gen) {
		vexfs_corrupt_val(sb, type, block, ino, "owner",
				  le32_to_cpu(h->owner), owner);
		goto fail;
	}
	return bh;

fail:
	brelse(bh);
	return ERR_PTR(err);
}

/*
 * Reads a block that a pointer names. The caller checks the ranges where the
 * buffer is not verified, and sets the mark.
 */
struct buffer_head *vexfs_bread(struct super_block *sb, u64 block,
				__le32 magic, u32 owner, u32 gen, u64 ino)
{
	if (!vexfs_usable(VEXFS_SB(sb), block, 1))
		return ERR_PTR(vexfs_corrupt(sb, vexfs_type_name(magic), block,
					     ino, "range"));
	return vexfs_read_checked(sb, block, magic, owner, gen, ino);
}

/* Reads a block of a fixed place. */
struct buffer_head *vexfs_bread_fixed(struct super_block *sb, u64 block,
				      __le32 magic, u32 owner)
{
	return vexfs_read_checked(sb, block, magic, owner, 0, 0);
}

/* Before a block is changed. */
int vexfs_access(handle_t *handle, struct super_block *sb,
		 struct buffer_head *bh)
{
	int err;

	err = jbd2_journal_get_write_access(handle, bh);
	if (err)
		return err;
	/* jbd2 only traces h_type; here it says that there is a change. */
	handle->h_type = 1;
	return 0;
}

/* After a block with a header was changed. */
int vexfs_dirty(handle_t *handle, struct super_block *sb,
		struct buffer_head *bh)
{
	vexfs_assert_block(sb, bh);
	jbd2_journal_set_triggers(bh, &VEXFS_SB(sb)->trigger);
	return jbd2_journal_dirty_metadata(handle, bh);
}

/* A block in the transaction, all zero; what it held does not matter. */
struct buffer_head *vexfs_zeroed_block(handle_t *handle,
				       struct super_block *sb, u64 block)
{
	struct buffer_head *bh;
	int err;

	bh = sb_getblk(sb, block);
	if (!bh)
		return ERR_PTR(-ENOMEM);
	lock_buffer(bh);
	if (!buffer_uptodate(bh)) {
		memset(bh->b_data, 0, VEXFS_BLOCK_SIZE);
		set_buffer_uptodate(bh);
	}
	unlock_buffer(bh);
	/*
	 * Not get_create_access: where a hostile bitmap calls a block free
	 * that is in use, that one asserts, and this one copes.
	 */
	err = vexfs_access(handle, sb, bh);
	if (err) {
		brelse(bh);
		return ERR_PTR(err);
	}
	memset(bh->b_data, 0, VEXFS_BLOCK_SIZE);
	return bh;
}

/* A new metadata block, zero but for its header; the caller dirties it. */
struct buffer_head *vexfs_new_block(handle_t *handle, struct super_block *sb,
				    u64 block, __le32 magic, u32 owner,
				    u32 gen)
{
	struct buffer_head *bh = vexfs_zeroed_block(handle, sb, block);
	struct vexfs_header *h;

	if (IS_ERR(bh))
		return bh;
	h = (struct vexfs_header *)bh->b_data;
	h->magic = magic;
	h->blocknr = cpu_to_le64(block);
	h->owner = cpu_to_le32(owner);
	h->generation = cpu_to_le32(gen);
	set_buffer_verified(bh);
	return bh;
}

/* jbd2 calls this once a transaction, on what it is going to log. */
void vexfs_frozen(struct jbd2_buffer_trigger_type *type,
		  struct buffer_head *bh, void *data, size_t size)
{
	struct vexfs_sb_info *sbi =
		container_of(type, struct vexfs_sb_info, trigger);
	struct vexfs_header *h = data;

	h->checksum = cpu_to_le32(vexfs_block_crc(sbi, data));
}
