// SPDX-License-Identifier: Apache-2.0
//! Where this library looks for what is on disk, by the names of `kernel/vexfs_format.h`: to be compared with the module's layout.
//!
//! Every number comes from the types and constants that read and write the blocks; none is written down here.

use super::dir::{index, leaf};
use super::extents::node;
use super::layout::{
    BLOCK_BITMAP, BLOCK_SIZE, GROUP_BLOCKS, Header, INODE_BITMAP, INODE_SIZE, INODES_PER_BLOCK,
    RO_COMPAT_SHORT_JOURNAL, RO_COMPAT_VECTOR, ROOT_INO, RawAttribute, RawErrorRecord, RawExtent,
    RawGroupHead, RawIndexEntry, RawInode, RawRecord, RawRootHead, RawSlot, RawState, RawStore,
    RawSummaryEntry, RawSummaryHead, RawSuper, SUMMARY_ENTRIES, VERSION,
};
use super::vector::slots;
use super::{FLAG_COLLECTION, FLAG_ORPHAN, FLAG_STORE, Kind, state, symlink, xattr};
use zerocopy::FromZeros;
use zerocopy::byteorder::little_endian::{I64, U16, U32, U64};

/// A member of a structure: offset and size in bytes; `order` is "little", "native", or empty for what is not one number.
#[derive(Debug, Clone)]
pub struct Field {
    /// The name that C has for it.
    pub name: &'static str,
    /// Bytes from the structure's start.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// The order of its bytes.
    pub order: &'static str,
}

/// A structure: its size in bytes and its members.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The name that C has for it.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Its members, in order.
    pub fields: Vec<Field>,
}

/// The byte order that a type carries.
trait Order {
    const ORDER: &'static str = "";
}

macro_rules! orders {
    ($($type:ty: $order:literal)*) => { $(impl Order for $type { const ORDER: &'static str = $order; })* };
}

orders!(U16: "little" U32: "little" U64: "little" I64: "little" [U64; 2]: "little" Header: "" RawErrorRecord: "");
impl Order for u8 {}
impl<const N: usize> Order for [u8; N] {}

fn order<T: Order>(_: &T) -> &'static str {
    T::ORDER
}

/// A structure from a type; `rust => c` where the names differ. What follows in the block is added.
macro_rules! of {
    ($c:literal $type:ty, $size:expr; $($field:ident $(=> $name:ident)?)*; $($more:expr),*) => {{
        let zero = <$type>::new_zeroed();
        Layout {
            name: $c,
            size: $size,
            fields: vec![
                $(Field {
                    name: of!(@name $field $($name)?),
                    offset: core::mem::offset_of!($type, $field),
                    size: size_of_val(&zero.$field),
                    order: order(&zero.$field),
                },)*
                $($more),*
            ],
        }
    }};
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:ident) => { stringify!($name) };
}

/// What lies between `offset` and `end`.
const fn rest(name: &'static str, offset: usize, end: usize) -> Field {
    Field {
        name,
        offset,
        size: end - offset,
        order: "",
    }
}

/// A block with a header, and then little-endian numbers and bytes, each up to the next one's offset.
fn block(
    name: &'static str,
    numbers: &[(&'static str, usize)],
    body: (&'static str, usize),
) -> Layout {
    let mut fields = vec![rest("h", 0, size_of::<Header>())];
    for (at, (field, offset)) in numbers.iter().enumerate() {
        let end = numbers.get(at + 1).map_or(body.1, |next| next.1);
        let order = if matches!(end - offset, 2 | 4 | 8) {
            "little"
        } else {
            ""
        };
        fields.push(Field {
            order,
            ..rest(field, *offset, end)
        });
    }
    fields.push(rest(body.0, body.1, BLOCK_SIZE));
    Layout {
        name,
        size: BLOCK_SIZE,
        fields,
    }
}

/// Every structure on disk.
#[must_use]
pub fn layouts() -> Vec<Layout> {
    let entries = size_of::<RawSummaryHead>();
    let entries_end = entries + SUMMARY_ENTRIES as usize * size_of::<RawSummaryEntry>();
    vec![
        of!("vexfs_header" Header, size_of::<Header>(); magic checksum blocknr owner generation;),
        of!("vexfs_super" RawSuper, size_of::<RawSuper>(); magic checksum blocknr version feature_compat
            feature_ro_compat feature_incompat uuid label hash_key total_blocks summary_start summary_blocks groups
            journal_start journal_blocks group_blocks groups_start inodes_per_group itable_blocks log_block_size
            inode_size mkfs_time backup root_ino serial;),
        of!("vexfs_error_record" RawErrorRecord, size_of::<RawErrorRecord>(); time block ino errno => error place;),
        of!("vexfs_state" RawState, size_of::<RawState>(); header => h zero flags mount_count mount_time write_time
            orphan_head error_count first_error last_error check_time writer;),
        of!("vexfs_summary_entry" RawSummaryEntry, size_of::<RawSummaryEntry>(); free_blocks free_inodes init;),
        of!("vexfs_summary" RawSummaryHead, BLOCK_SIZE; header => h count first_group; rest("entry", entries, entries_end)),
        of!("vexfs_group_block" RawGroupHead, BLOCK_SIZE; header => h blocks inodes reserved;
            rest("ibitmap", INODE_BITMAP, BLOCK_BITMAP), rest("bbitmap", BLOCK_BITMAP, BLOCK_SIZE)),
        of!("vexfs_inode" RawInode, INODE_SIZE; magic checksum generation mode xattr_len uid gid nlink flags size blocks
            atime mtime ctime btime xattr_block rdev orphan_next parent link special root xattr;),
        of!("vexfs_extent" RawExtent, size_of::<RawExtent>(); lblk len pblk;),
        of!("vexfs_extent_root" RawRootHead, node::ROOT_SIZE; entries depth zero;
            rest("e", node::ROOT_HEADER, node::ROOT_SIZE)),
        of!("vexfs_record" RawRecord, leaf::FIXED; key ino name_len kind => type zero; rest("name", leaf::FIXED, leaf::FIXED)),
        of!("vexfs_index_entry" RawIndexEntry, size_of::<RawIndexEntry>(); key lblk zero;),
        of!("vexfs_xattr_entry" RawAttribute, xattr::FIXED; space name_len value_len; rest("name", xattr::FIXED, xattr::FIXED)),
        of!("vexfs_store" RawStore, size_of::<RawStore>(); slots live dimension metric element stride zero;),
        of!("vexfs_slot" RawSlot, size_of::<RawSlot>(); ino generation crc zero;),
        block(
            "vexfs_extent_block",
            &[
                ("entries", node::COUNT),
                ("depth", node::DEPTH),
                ("zero", node::PAD),
            ],
            ("e", node::FIRST),
        ),
        block(
            "vexfs_leaf",
            &[
                ("level", leaf::LEVEL),
                ("used", leaf::USED),
                ("lblk", leaf::LBLK),
            ],
            ("data", leaf::FIRST),
        ),
        block(
            "vexfs_index",
            &[
                ("level", index::LEVEL),
                ("entries", index::COUNT),
                ("lblk", index::LBLK),
            ],
            ("e", index::FIRST),
        ),
        block(
            "vexfs_symlink_block",
            &[("lblk", symlink::LBLK), ("used", symlink::USED)],
            ("text", symlink::FIRST),
        ),
        block(
            "vexfs_xattr_block",
            &[("used", xattr::USED), ("zero", xattr::USED + 2)],
            ("data", xattr::FIRST),
        ),
        block(
            "vexfs_slot_map",
            &[("first_slot", slots::FIRST_SLOT), ("zero", slots::PAD)],
            ("e", slots::ENTRY),
        ),
    ]
}

/// The numbers of the format, by the names that C has for them.
#[must_use]
pub fn constants() -> Vec<(&'static str, u64)> {
    let magics = [
        ("VEXFS_MAGIC_STATE", Kind::State),
        ("VEXFS_MAGIC_SUMMARY", Kind::Summary),
        ("VEXFS_MAGIC_GROUP", Kind::Group),
        ("VEXFS_MAGIC_INODE", Kind::Inode),
        ("VEXFS_MAGIC_EXTENT", Kind::Extent),
        ("VEXFS_MAGIC_LEAF", Kind::DirLeaf),
        ("VEXFS_MAGIC_INDEX", Kind::DirIndex),
        ("VEXFS_MAGIC_XATTR", Kind::Xattr),
        ("VEXFS_MAGIC_SYMLINK", Kind::Symlink),
        ("VEXFS_MAGIC_SLOTS", Kind::SlotMap),
    ];
    let mut found: Vec<(&'static str, u64)> = magics
        .into_iter()
        .map(|(name, kind)| (name, u32::from_le_bytes(kind.magic()).into()))
        .collect();
    found.extend([
        ("VEXFS_BLOCK_SIZE", BLOCK_SIZE as u64),
        ("VEXFS_VERSION", VERSION.into()),
        ("VEXFS_ROOT_INO", ROOT_INO.into()),
        ("VEXFS_GROUP_BLOCKS", GROUP_BLOCKS.into()),
        ("VEXFS_INODE_SIZE", INODE_SIZE as u64),
        ("VEXFS_INODES_PER_BLOCK", INODES_PER_BLOCK.into()),
        ("VEXFS_SUMMARY_ENTRIES", SUMMARY_ENTRIES.into()),
        ("VEXFS_RO_SHORT_JOURNAL", RO_COMPAT_SHORT_JOURNAL.into()),
        ("VEXFS_RO_VECTOR", RO_COMPAT_VECTOR.into()),
        ("VEXFS_STATE_CLEAN", state::CLEAN.into()),
        ("VEXFS_STATE_ERROR", state::ERROR.into()),
        ("VEXFS_ROOT_ENTRIES", node::ROOT_ENTRIES as u64),
        ("VEXFS_NODE_ENTRIES", node::BLOCK_ENTRIES as u64),
        ("VEXFS_MAX_DEPTH", node::MAX_DEPTH.into()),
        ("VEXFS_EXT_UNWRITTEN", node::UNWRITTEN.into()),
        ("VEXFS_ROOT_BYTES", node::ROOT_SIZE as u64),
        ("VEXFS_XATTR_INLINE", xattr::INLINE as u64),
        ("VEXFS_XATTR_VALUE_MAX", xattr::MAX_VALUE as u64),
        ("VEXFS_FL_STORE", FLAG_STORE.into()),
        ("VEXFS_FL_COLLECTION", FLAG_COLLECTION.into()),
        ("VEXFS_FL_ORPHAN", FLAG_ORPHAN.into()),
        ("VEXFS_DIR_ENTRIES", index::MAX_ENTRIES as u64),
        ("VEXFS_DIR_LEVEL_MAX", index::MAX_LEVEL.into()),
        ("VEXFS_KEY_MIN", leaf::KEY_MIN),
        ("VEXFS_KEY_MAX", leaf::KEY_MAX),
        ("VEXFS_SYMLINK_MAX", symlink::MAX_TARGET as u64),
        ("VEXFS_SLOT_LBLK", slots::MAP.into()),
        ("VEXFS_SLOT_ENTRIES", slots::ENTRIES.into()),
    ]);
    found
}
