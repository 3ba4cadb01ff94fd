// SPDX-License-Identifier: Apache-2.0
//! The structures of `docs/format.md`, byte for byte. Offsets are asserted at compile time.
//!
//! These types only say where the bytes are. What they may hold is checked where they are decoded
//! (`superblock`, `state`, `inode`, ...), into types that cannot hold what the format forbids.

use zerocopy::byteorder::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a block.
pub const BLOCK_SIZE: usize = 4096;
/// Bytes of an inode on disk.
pub const INODE_SIZE: usize = 512;
/// Inodes in a block of the inode table.
pub const INODES_PER_BLOCK: u32 = 8;
/// Blocks of a full group.
pub const GROUP_BLOCKS: u32 = 24064;
/// Summary entries in a block.
pub const SUMMARY_ENTRIES: u32 = 508;
/// Block of the state block.
pub const STATE_BLOCK: u64 = 1;
/// First block of the summary.
pub const SUMMARY_START: u64 = 2;
/// The superblock's magic.
pub const SUPER_MAGIC: u32 = 0x5645_5846;
/// The only version.
pub const VERSION: u32 = 1;
/// The root directory's inode number.
pub const ROOT_INO: u32 = 1;
/// ro_compat: the journal has fewer than 1024 blocks.
pub const RO_COMPAT_SHORT_JOURNAL: u32 = 1;
/// ro_compat: there is, or was, a vector collection.
pub const RO_COMPAT_VECTOR: u32 = 2;
/// ro_compat bits that this library knows.
pub const RO_COMPAT_KNOWN: u32 = RO_COMPAT_SHORT_JOURNAL | RO_COMPAT_VECTOR;
/// Offset of a group block's inode bitmap.
pub const INODE_BITMAP: usize = 0x40;
/// Offset of a group block's block bitmap.
pub const BLOCK_BITMAP: usize = 0x440;
/// Largest size of a file in bytes.
pub const MAX_SIZE: u64 = (u32::MAX as u64) * BLOCK_SIZE as u64;

/// The header of a metadata block (section 3).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// Says the type.
    pub magic: [u8; 4],
    /// crc32c with the volume's seed, this field 0.
    pub checksum: U32,
    /// The block's own number.
    pub blocknr: U64,
    /// Inode, group or index of the summary block; else 0.
    pub owner: U32,
    /// Of the owner inode; else 0.
    pub generation: U32,
}

/// The superblock (section 4); the rest of the block is reserved.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawSuper {
    pub magic: U32,
    pub checksum: U32,
    pub blocknr: U64,
    pub version: U32,
    pub feature_compat: U32,
    pub feature_ro_compat: U32,
    pub feature_incompat: U32,
    pub uuid: [u8; 16],
    pub label: [u8; 32],
    pub hash_key: [u8; 16],
    pub total_blocks: U64,
    pub summary_start: U64,
    pub summary_blocks: U32,
    pub groups: U32,
    pub journal_start: U64,
    pub journal_blocks: U32,
    pub group_blocks: U32,
    pub groups_start: U64,
    pub inodes_per_group: U32,
    pub itable_blocks: U32,
    pub log_block_size: U32,
    pub inode_size: U32,
    pub mkfs_time: I64,
    pub backup: [U64; 2],
    pub root_ino: U32,
    pub serial: U32,
}

/// One error in the state block (section 5).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawErrorRecord {
    pub time: I64,
    pub block: U64,
    pub ino: U32,
    pub errno: U32,
    pub place: [u8; 24],
}

/// The state block (section 5); the rest of the block is reserved.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawState {
    pub header: Header,
    pub zero: [u8; 8],
    pub flags: U32,
    pub mount_count: U32,
    pub mount_time: I64,
    pub write_time: I64,
    pub orphan_head: U32,
    pub error_count: U32,
    pub first_error: RawErrorRecord,
    pub last_error: RawErrorRecord,
    pub check_time: I64,
    pub writer: [u8; 32],
}

/// An entry of the summary (section 6).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawSummaryEntry {
    pub free_blocks: U32,
    pub free_inodes: U16,
    pub init: U16,
}

/// What follows the header in a summary block, before its entries.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawSummaryHead {
    pub header: Header,
    pub count: U32,
    pub first_group: U32,
}

/// What precedes the bitmaps in a group block.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawGroupHead {
    pub header: Header,
    pub blocks: U32,
    pub inodes: U32,
    pub reserved: [u8; 32],
}

/// An inode (section 6).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawInode {
    pub magic: [u8; 4],
    pub checksum: U32,
    pub generation: U32,
    pub mode: U16,
    pub xattr_len: U16,
    pub uid: U32,
    pub gid: U32,
    pub nlink: U32,
    pub flags: U32,
    pub size: U64,
    pub blocks: U64,
    pub atime: I64,
    pub mtime: I64,
    pub ctime: I64,
    pub btime: I64,
    pub xattr_block: U64,
    pub rdev: U32,
    pub orphan_next: U32,
    pub parent: U32,
    pub link: U32,
    pub special: [u8; 24],
    pub root: [u8; 128],
    pub xattr: [u8; 256],
}

/// An entry of an extent tree's node (section 7); `len` is 0 where it is a child.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawExtent {
    pub lblk: U32,
    pub len: U32,
    pub pblk: U64,
}

/// What precedes the entries of an extent tree's root in an inode (section 7).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawRootHead {
    pub entries: U16,
    pub depth: U16,
    pub zero: [u8; 12],
}

/// A record of a directory leaf, before its name (section 8).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawRecord {
    pub key: U64,
    pub ino: U32,
    pub name_len: u8,
    pub kind: u8,
    pub zero: U16,
}

/// An entry of a directory index (section 8).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawIndexEntry {
    pub key: U64,
    pub lblk: U32,
    pub zero: U32,
}

/// An extended attribute, before its name (section 9).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawAttribute {
    pub space: u8,
    pub name_len: u8,
    pub value_len: U16,
}

/// What `special` of a store's inode holds (section 12.2).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawStore {
    pub slots: U32,
    pub live: U32,
    pub dimension: U16,
    pub metric: u8,
    pub element: u8,
    pub stride: U32,
    pub zero: [u8; 8],
}

/// An entry of the slot map (section 12.2).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)] // the names are the document's
pub struct RawSlot {
    pub ino: U32,
    pub generation: U32,
    pub crc: U32,
    pub zero: U32,
}

/// The row at the start of these bytes. Panics if it does not fit: lengths are checked before.
#[must_use]
pub fn row<T: FromBytes + Immutable + KnownLayout + Unaligned>(bytes: &[u8]) -> &T {
    T::ref_from_prefix(bytes).expect("the row fits").0
}

/// The same, to be changed.
pub fn row_mut<T>(bytes: &mut [u8]) -> &mut T
where
    T: FromBytes + IntoBytes + KnownLayout + Unaligned,
{
    T::mut_from_prefix(bytes).expect("the row fits").0
}

macro_rules! at {
    ($type:ty: $size:literal; $($field:ident $offset:literal),* $(,)?) => {
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size);
            $(assert!(core::mem::offset_of!($type, $field) == $offset);)*
        };
    };
}

at!(Header: 0x18; magic 0x00, checksum 0x04, blocknr 0x08, owner 0x10, generation 0x14);
at!(RawSuper: 0xc0; magic 0x00, checksum 0x04, blocknr 0x08, version 0x10, feature_compat 0x14,
    feature_ro_compat 0x18, feature_incompat 0x1c, uuid 0x20, label 0x30, hash_key 0x50, total_blocks 0x60,
    summary_start 0x68, summary_blocks 0x70, groups 0x74, journal_start 0x78, journal_blocks 0x80,
    group_blocks 0x84, groups_start 0x88, inodes_per_group 0x90, itable_blocks 0x94, log_block_size 0x98,
    inode_size 0x9c, mkfs_time 0xa0, backup 0xa8, root_ino 0xb8, serial 0xbc);
at!(RawErrorRecord: 48; time 0, block 8, ino 16, errno 20, place 24);
at!(RawState: 0xc8; header 0, zero 0x18, flags 0x20, mount_count 0x24, mount_time 0x28, write_time 0x30,
    orphan_head 0x38, error_count 0x3c, first_error 0x40, last_error 0x70, check_time 0xa0, writer 0xa8);
at!(RawSummaryEntry: 8; free_blocks 0, free_inodes 4, init 6);
at!(RawSummaryHead: 0x20; header 0, count 0x18, first_group 0x1c);
at!(RawGroupHead: 0x40; header 0, blocks 0x18, inodes 0x1c, reserved 0x20);
at!(RawInode: 512; magic 0x00, checksum 0x04, generation 0x08, mode 0x0c, xattr_len 0x0e, uid 0x10, gid 0x14,
    nlink 0x18, flags 0x1c, size 0x20, blocks 0x28, atime 0x30, mtime 0x38, ctime 0x40, btime 0x48,
    xattr_block 0x50, rdev 0x58, orphan_next 0x5c, parent 0x60, link 0x64, special 0x68, root 0x80, xattr 0x100);
at!(RawExtent: 16; lblk 0, len 4, pblk 8);
at!(RawRootHead: 16; entries 0, depth 2, zero 4);
at!(RawRecord: 16; key 0, ino 8, name_len 12, kind 13, zero 14);
at!(RawIndexEntry: 16; key 0, lblk 8, zero 12);
at!(RawAttribute: 4; space 0, name_len 1, value_len 2);
at!(RawStore: 24; slots 0, live 4, dimension 8, metric 10, element 11, stride 12, zero 16);
at!(RawSlot: 16; ino 0, generation 4, crc 8, zero 12);
