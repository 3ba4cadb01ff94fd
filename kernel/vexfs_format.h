/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VexFS version 1 on disk: docs/format.md, structure by structure. Nothing but
 * the layout is here. vexfs_check_format() asserts every size and offset.
 */
#ifndef VEXFS_FORMAT_H
#define VEXFS_FORMAT_H

#include <linux/bits.h>
#include <linux/types.h>

#include "include/uapi/vexfs.h"

#define VEXFS_BLOCK_SIZE	4096
#define VEXFS_BLOCK_BITS	12
#define VEXFS_GROUP_BLOCKS	24064
#define VEXFS_INODE_SIZE	512
#define VEXFS_INODES_PER_BLOCK	8
#define VEXFS_ROOT_INO		1
#define VEXFS_VERSION		1
#define VEXFS_SHORT_JOURNAL_MAX	1024	/* journals below it are short */
#define VEXFS_JOURNAL_MIN	256
#define VEXFS_JOURNAL_MAX	262144
#define VEXFS_SUMMARY_ENTRIES	508
#define VEXFS_SUMMARY_MAX	353
#define VEXFS_MAX_LBLK		0xfffffffeU

#define VEXFS_RO_SHORT_JOURNAL	1
#define VEXFS_RO_VECTOR		2

/* Magic numbers, as cpu_to_le32 constants: the bytes on disk read as text. */
#define VEXFS_TAG(a, b, c, d)	cpu_to_le32((a) | (b) << 8 | (c) << 16 | (d) << 24)
#define VEXFS_MAGIC_STATE	VEXFS_TAG('V', 'X', 'S', 'T')
#define VEXFS_MAGIC_SUMMARY	VEXFS_TAG('V', 'X', 'S', 'M')
#define VEXFS_MAGIC_GROUP	VEXFS_TAG('V', 'X', 'G', 'B')
#define VEXFS_MAGIC_INODE	VEXFS_TAG('V', 'X', 'I', 'N')
#define VEXFS_MAGIC_EXTENT	VEXFS_TAG('V', 'X', 'E', 'X')
#define VEXFS_MAGIC_LEAF	VEXFS_TAG('V', 'X', 'D', 'L')
#define VEXFS_MAGIC_INDEX	VEXFS_TAG('V', 'X', 'D', 'I')
#define VEXFS_MAGIC_XATTR	VEXFS_TAG('V', 'X', 'X', 'A')
#define VEXFS_MAGIC_SYMLINK	VEXFS_TAG('V', 'X', 'S', 'Y')
#define VEXFS_MAGIC_SLOTS	VEXFS_TAG('V', 'X', 'V', 'M')

/* The header of a metadata block (section 3). */
struct vexfs_header {
	__le32 magic;
	__le32 checksum;
	__le64 blocknr;
	__le32 owner;
	__le32 generation;
} __packed;

/* Section 4. */
struct vexfs_super {
	__le32 magic;
	__le32 checksum;
	__le64 blocknr;
	__le32 version;
	__le32 feature_compat;
	__le32 feature_ro_compat;
	__le32 feature_incompat;
	__u8   uuid[16];
	__u8   label[32];
	__le64 hash_key[2];
	__le64 total_blocks;
	__le64 summary_start;
	__le32 summary_blocks;
	__le32 groups;
	__le64 journal_start;
	__le32 journal_blocks;
	__le32 group_blocks;
	__le64 groups_start;
	__le32 inodes_per_group;
	__le32 itable_blocks;
	__le32 log_block_size;
	__le32 inode_size;
	__le64 mkfs_time;
	__le64 backup[2];
	__le32 root_ino;
	__le32 serial;
} __packed;

/* Section 5. */
#define VEXFS_STATE_CLEAN	1
#define VEXFS_STATE_ERROR	2

struct vexfs_error_record {
	__le64 time;
	__le64 block;
	__le32 ino;
	__le32 error;		/* errno, positive */
	__u8   place[24];
} __packed;

struct vexfs_state {
	struct vexfs_header h;
	__u8   zero[8];
	__le32 flags;
	__le32 mount_count;
	__le64 mount_time;
	__le64 write_time;
	__le32 orphan_head;
	__le32 error_count;
	struct vexfs_error_record first_error;
	struct vexfs_error_record last_error;
	__le64 check_time;
	__u8   writer[32];
} __packed;

/* Section 6. */
#define VEXFS_INIT_ITABLE	0x07ff	/* inode table blocks initialised */
#define VEXFS_INIT_GROUP	0x8000	/* the group block is */

struct vexfs_summary_entry {
	__le32 free_blocks;
	__le16 free_inodes;
	__le16 init;
} __packed;

struct vexfs_summary {
	struct vexfs_header h;
	__le32 count;
	__le32 first_group;
	struct vexfs_summary_entry entry[VEXFS_SUMMARY_ENTRIES];
} __packed;

#define VEXFS_IBITMAP_BYTES	1024
#define VEXFS_BBITMAP_BYTES	3008

struct vexfs_group_block {
	struct vexfs_header h;
	__le32 blocks;
	__le32 inodes;
	__u8   reserved[32];
	__u8   ibitmap[VEXFS_IBITMAP_BYTES];
	__u8   bbitmap[VEXFS_BBITMAP_BYTES];
} __packed;

/* Section 7. One shape: an extent where depth is 0, else an index entry. */
#define VEXFS_EXT_UNWRITTEN	0x80000000U
#define VEXFS_EXT_LEN		0x7fffffffU
#define VEXFS_ROOT_ENTRIES	7
#define VEXFS_NODE_ENTRIES	254
#define VEXFS_MAX_DEPTH		5

struct vexfs_extent {
	__le32 lblk;
	__le32 len;
	__le64 pblk;
} __packed;

struct vexfs_extent_root {
	__le16 entries;
	__le16 depth;
	__u8   zero[12];
	struct vexfs_extent e[VEXFS_ROOT_ENTRIES];
} __packed;

struct vexfs_extent_block {
	struct vexfs_header h;
	__le16 entries;
	__le16 depth;
	__le32 zero;
	struct vexfs_extent e[VEXFS_NODE_ENTRIES];
} __packed;

#define VEXFS_FL_STORE		1
#define VEXFS_FL_COLLECTION	2
#define VEXFS_FL_ORPHAN		4
#define VEXFS_FL_ALL		7

#define VEXFS_ROOT_BYTES	128
#define VEXFS_XATTR_INLINE	256

struct vexfs_inode {
	__le32 magic;
	__le32 checksum;
	__le32 generation;
	__le16 mode;
	__le16 xattr_len;
	__le32 uid;
	__le32 gid;
	__le32 nlink;
	__le32 flags;
	__le64 size;
	__le64 blocks;
	__le64 atime;
	__le64 mtime;
	__le64 ctime;
	__le64 btime;
	__le64 xattr_block;
	__le32 rdev;
	__le32 orphan_next;
	__le32 parent;
	__le32 link;
	__u8   special[24];
	union {
		struct vexfs_extent_root extents;
		__u8 target[VEXFS_ROOT_BYTES];
	} root;
	__u8   xattr[VEXFS_XATTR_INLINE];
} __packed;

/* Section 8. */
#define VEXFS_DIR_BYTES		4064	/* of records in a leaf */
#define VEXFS_DIR_ENTRIES	254	/* of an index block */
#define VEXFS_DIR_LEVEL_MAX	3
#define VEXFS_DIR_NAME_OFFSET	16
#define VEXFS_KEY_MIN		8ULL
#define VEXFS_KEY_HASH		0x7ffffffffffffff8ULL
#define VEXFS_KEY_HASH_MAX	0x7fffffffffffffe0ULL
#define VEXFS_KEY_MAX		0x7fffffffffffffe7ULL
#define VEXFS_DIR_END		0x7ffffffffffffff0LL

struct vexfs_record {
	__le64 key;
	__le32 ino;
	__u8   name_len;
	__u8   type;
	__le16 zero;
	__u8   name[];
} __packed;

struct vexfs_leaf {
	struct vexfs_header h;
	__le16 level;
	__le16 used;
	__le32 lblk;
	__u8   data[VEXFS_DIR_BYTES];
} __packed;

struct vexfs_index_entry {
	__le64 key;
	__le32 lblk;
	__le32 zero;
} __packed;

struct vexfs_index {
	struct vexfs_header h;
	__le16 level;
	__le16 entries;
	__le32 lblk;
	struct vexfs_index_entry e[VEXFS_DIR_ENTRIES];
} __packed;

/* Section 9. */
#define VEXFS_SYMLINK_MAX	4095
#define VEXFS_SYMLINK_BYTES	4064
#define VEXFS_XATTR_BYTES	4064
#define VEXFS_XATTR_VALUE_MAX	4000

struct vexfs_symlink_block {
	struct vexfs_header h;
	__le32 lblk;
	__le32 used;
	__u8   text[VEXFS_SYMLINK_BYTES];
} __packed;

struct vexfs_xattr_block {
	struct vexfs_header h;
	__le16 used;
	__u8   zero[6];
	__u8   data[VEXFS_XATTR_BYTES];
} __packed;

struct vexfs_xattr_entry {
	__u8   space;
	__u8   name_len;
	__le16 value_len;
	__u8   name[];
} __packed;

/* Section 12. */
#define VEXFS_SLOT_LBLK		0x80000000U	/* the slot map's first block */
#define VEXFS_SLOT_ENTRIES	254
#define VEXFS_SLOTS_MAX		0x7fffffffU
#define VEXFS_STORE_BYTES	BIT_ULL(43)

struct vexfs_store {
	__le32 slots;
	__le32 live;
	__le16 dimension;
	__u8   metric;
	__u8   element;
	__le32 stride;
	__u8   zero[8];
} __packed;

struct vexfs_slot {
	__le32 ino;
	__le32 generation;
	__le32 crc;
	__le32 zero;
} __packed;

struct vexfs_slot_map {
	struct vexfs_header h;
	__le32 first_slot;
	__le32 zero;
	struct vexfs_slot e[VEXFS_SLOT_ENTRIES];
} __packed;

/* Fails to compile where the compiler lays a structure out otherwise. */
static inline void vexfs_check_format(void)
{
#define VEXFS_AT(type, field, offset) \
	BUILD_BUG_ON(offsetof(struct type, field) != (offset))
	BUILD_BUG_ON(sizeof(struct vexfs_header) != 0x18);
	VEXFS_AT(vexfs_header, blocknr, 0x08);
	VEXFS_AT(vexfs_header, owner, 0x10);
	VEXFS_AT(vexfs_super, version, 0x10);
	VEXFS_AT(vexfs_super, feature_ro_compat, 0x18);
	VEXFS_AT(vexfs_super, uuid, 0x20);
	VEXFS_AT(vexfs_super, label, 0x30);
	VEXFS_AT(vexfs_super, hash_key, 0x50);
	VEXFS_AT(vexfs_super, total_blocks, 0x60);
	VEXFS_AT(vexfs_super, summary_blocks, 0x70);
	VEXFS_AT(vexfs_super, journal_start, 0x78);
	VEXFS_AT(vexfs_super, groups_start, 0x88);
	VEXFS_AT(vexfs_super, mkfs_time, 0xa0);
	VEXFS_AT(vexfs_super, backup, 0xa8);
	VEXFS_AT(vexfs_super, serial, 0xbc);
	BUILD_BUG_ON(sizeof(struct vexfs_super) != 0xc0);
	VEXFS_AT(vexfs_state, flags, 0x20);
	VEXFS_AT(vexfs_state, orphan_head, 0x38);
	VEXFS_AT(vexfs_state, first_error, 0x40);
	VEXFS_AT(vexfs_state, last_error, 0x70);
	VEXFS_AT(vexfs_state, check_time, 0xa0);
	VEXFS_AT(vexfs_state, writer, 0xa8);
	BUILD_BUG_ON(sizeof(struct vexfs_state) != 0xc8);
	BUILD_BUG_ON(sizeof(struct vexfs_summary_entry) != 8);
	VEXFS_AT(vexfs_summary, entry, 0x20);
	BUILD_BUG_ON(sizeof(struct vexfs_summary) != VEXFS_BLOCK_SIZE);
	VEXFS_AT(vexfs_group_block, ibitmap, 0x40);
	VEXFS_AT(vexfs_group_block, bbitmap, 0x440);
	BUILD_BUG_ON(sizeof(struct vexfs_group_block) != VEXFS_BLOCK_SIZE);
	BUILD_BUG_ON(sizeof(struct vexfs_extent) != 16);
	BUILD_BUG_ON(sizeof(struct vexfs_extent_root) != VEXFS_ROOT_BYTES);
	VEXFS_AT(vexfs_extent_root, e, 0x10);
	VEXFS_AT(vexfs_extent_block, entries, 0x18);
	VEXFS_AT(vexfs_extent_block, e, 0x20);
	BUILD_BUG_ON(sizeof(struct vexfs_extent_block) != VEXFS_BLOCK_SIZE);
	VEXFS_AT(vexfs_inode, mode, 0x0c);
	VEXFS_AT(vexfs_inode, uid, 0x10);
	VEXFS_AT(vexfs_inode, size, 0x20);
	VEXFS_AT(vexfs_inode, atime, 0x30);
	VEXFS_AT(vexfs_inode, xattr_block, 0x50);
	VEXFS_AT(vexfs_inode, parent, 0x60);
	VEXFS_AT(vexfs_inode, special, 0x68);
	VEXFS_AT(vexfs_inode, root, 0x80);
	VEXFS_AT(vexfs_inode, xattr, 0x100);
	BUILD_BUG_ON(sizeof(struct vexfs_inode) != VEXFS_INODE_SIZE);
	BUILD_BUG_ON(sizeof(struct vexfs_record) != VEXFS_DIR_NAME_OFFSET);
	VEXFS_AT(vexfs_leaf, data, 0x20);
	BUILD_BUG_ON(sizeof(struct vexfs_leaf) != VEXFS_BLOCK_SIZE);
	VEXFS_AT(vexfs_index, e, 0x20);
	BUILD_BUG_ON(sizeof(struct vexfs_index) != VEXFS_BLOCK_SIZE);
	BUILD_BUG_ON(sizeof(struct vexfs_symlink_block) != VEXFS_BLOCK_SIZE);
	VEXFS_AT(vexfs_xattr_block, data, 0x20);
	BUILD_BUG_ON(sizeof(struct vexfs_xattr_block) != VEXFS_BLOCK_SIZE);
	BUILD_BUG_ON(sizeof(struct vexfs_xattr_entry) != 4);
	BUILD_BUG_ON(sizeof(struct vexfs_store) != 24);
	VEXFS_AT(vexfs_store, stride, 0x0c);
	VEXFS_AT(vexfs_slot_map, e, 0x20);
	BUILD_BUG_ON(sizeof(struct vexfs_slot_map) != VEXFS_BLOCK_SIZE);
	BUILD_BUG_ON(sizeof(struct vexfs_ioc_info) != 112);
	BUILD_BUG_ON(sizeof(struct vexfs_ioc_collection) != 64);
	BUILD_BUG_ON(sizeof(struct vexfs_ioc_batch) != 16320);
	BUILD_BUG_ON(sizeof(struct vexfs_ioc_search) != 16320);
#undef VEXFS_AT
}

#endif /* VEXFS_FORMAT_H */
