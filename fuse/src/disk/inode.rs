// SPDX-License-Identifier: Apache-2.0
//! Inodes (section 6): decoding with every check of their fields, encoding with the checksum.

use super::block::Kind;
use super::crc;
use super::error::{Result, corrupt, corrupt_value};
use super::geometry::Geometry;
use super::layout::{INODE_SIZE, MAX_SIZE, RawInode};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Flag: a collection's store.
pub const FLAG_STORE: u32 = 1;
/// Flag: a directory that is a collection.
pub const FLAG_COLLECTION: u32 = 2;
/// Flag: on the orphan list.
pub const FLAG_ORPHAN: u32 = 4;
const FLAGS: u32 = FLAG_STORE | FLAG_COLLECTION | FLAG_ORPHAN;

/// Type of an inode: the top bits of its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum FileType {
    Regular,
    Directory,
    Character,
    Block,
    Fifo,
    Socket,
    Symlink,
}

impl TryFrom<u16> for FileType {
    type Error = u16;

    /// From a mode; gives it back if its type is none of the seven.
    fn try_from(mode: u16) -> std::result::Result<FileType, u16> {
        Ok(match mode & 0o170_000 {
            0o100_000 => FileType::Regular,
            0o040_000 => FileType::Directory,
            0o020_000 => FileType::Character,
            0o060_000 => FileType::Block,
            0o010_000 => FileType::Fifo,
            0o140_000 => FileType::Socket,
            0o120_000 => FileType::Symlink,
            _ => return Err(mode),
        })
    }
}

impl FileType {
    /// The top bits of a mode.
    #[must_use]
    pub fn mode_bits(self) -> u16 {
        match self {
            FileType::Regular => 0o100_000,
            FileType::Directory => 0o040_000,
            FileType::Character => 0o020_000,
            FileType::Block => 0o060_000,
            FileType::Fifo => 0o010_000,
            FileType::Socket => 0o140_000,
            FileType::Symlink => 0o120_000,
        }
    }

    /// The type in a directory record (section 8).
    #[must_use]
    pub fn dir_type(self) -> u8 {
        self as u8 + 1
    }

    /// From the type in a directory record.
    #[must_use]
    pub fn from_dir_type(value: u8) -> Option<FileType> {
        Some(match value {
            1 => FileType::Regular,
            2 => FileType::Directory,
            3 => FileType::Character,
            4 => FileType::Block,
            5 => FileType::Fifo,
            6 => FileType::Socket,
            7 => FileType::Symlink,
            _ => return None,
        })
    }
}

/// An inode in use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the document's
pub struct Inode {
    pub generation: u32,
    pub mode: u16,
    pub xattr_len: u16,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub flags: u32,
    pub size: u64,
    pub blocks: u64,
    pub atime: i64,
    pub mtime: i64,
    pub ctime: i64,
    pub btime: i64,
    pub xattr_block: u64,
    pub rdev: u32,
    pub orphan_next: u32,
    pub parent: u32,
    pub link: u32,
    pub special: [u8; 24],
    pub root: [u8; 128],
    pub xattr: [u8; 256],
}

/// What a slot of the inode table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// Never used: zeros.
    Never,
    /// Freed; its generation lives on.
    Freed(u32),
    /// In use.
    Used(Box<Inode>),
}

impl Inode {
    /// All zero but for generation and mode.
    #[must_use]
    pub fn new(generation: u32, mode: u16) -> Inode {
        let mut inode = decode(&RawInode::new_zeroed());
        (inode.generation, inode.mode) = (generation, mode);
        inode
    }

    /// The type. The mode of an inode that was read has one; of one that a program made up it must.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        FileType::try_from(self.mode).expect("an inode's mode has a type")
    }

    /// Whether all these flags are set.
    #[must_use]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// The bytes on disk, with the checksum.
    #[must_use]
    pub fn encode(&self, seed: u32, ino: u32) -> [u8; INODE_SIZE] {
        seal(
            seed,
            ino,
            &RawInode {
                magic: Kind::Inode.magic(),
                checksum: 0.into(),
                generation: self.generation.into(),
                mode: self.mode.into(),
                xattr_len: self.xattr_len.into(),
                uid: self.uid.into(),
                gid: self.gid.into(),
                nlink: self.nlink.into(),
                flags: self.flags.into(),
                size: self.size.into(),
                blocks: self.blocks.into(),
                atime: self.atime.into(),
                mtime: self.mtime.into(),
                ctime: self.ctime.into(),
                btime: self.btime.into(),
                xattr_block: self.xattr_block.into(),
                rdev: self.rdev.into(),
                orphan_next: self.orphan_next.into(),
                parent: self.parent.into(),
                link: self.link.into(),
                special: self.special,
                root: self.root,
                xattr: self.xattr,
            },
        )
    }

    /// The bytes of a freed inode.
    #[must_use]
    pub fn encode_freed(seed: u32, ino: u32, generation: u32) -> [u8; INODE_SIZE] {
        let mut raw = RawInode::new_zeroed();
        (raw.magic, raw.generation) = (Kind::Inode.magic(), generation.into());
        seal(seed, ino, &raw)
    }
}

impl Slot {
    /// Decode a slot of the inode table, which is in block `block`, and check it.
    pub fn parse(
        geometry: &Geometry,
        ino: u32,
        block: u64,
        bytes: &[u8; INODE_SIZE],
    ) -> Result<Slot> {
        if bytes.iter().all(|&b| b == 0) {
            return Ok(Slot::Never);
        }
        let raw = RawInode::read_from_bytes(bytes).expect("as many bytes as an inode has");
        if raw.magic != Kind::Inode.magic() {
            return Err(corrupt(Kind::Inode, block, Some(ino), "magic"));
        }
        let sum = checksum(geometry.seed, ino, bytes);
        if raw.checksum.get() != sum {
            let (got, want) = (format!("{:08x}", raw.checksum.get()), format!("{sum:08x}"));
            return Err(corrupt_value(
                Kind::Inode,
                block,
                Some(ino),
                "checksum",
                got,
                want,
            ));
        }
        if raw.mode.get() == 0 {
            let mut freed = RawInode::new_zeroed();
            (freed.magic, freed.checksum, freed.generation) =
                (raw.magic, raw.checksum, raw.generation);
            return if freed.as_bytes() == bytes {
                Ok(Slot::Freed(raw.generation.get()))
            } else {
                Err(corrupt(Kind::Inode, block, Some(ino), "mode"))
            };
        }
        let inode = decode(&raw);
        check(geometry, ino, &inode).map_or_else(
            || Ok(Slot::Used(Box::new(inode))),
            |field| Err(corrupt(Kind::Inode, block, Some(ino), field)),
        )
    }
}

fn checksum(seed: u32, ino: u32, bytes: &[u8; INODE_SIZE]) -> u32 {
    crc::raw_without(crc::raw(seed, &ino.to_le_bytes()), bytes, 4)
}

fn seal(seed: u32, ino: u32, raw: &RawInode) -> [u8; INODE_SIZE] {
    let mut bytes = [0; INODE_SIZE];
    bytes.copy_from_slice(raw.as_bytes());
    let sum = checksum(seed, ino, &bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(raw: &RawInode) -> Inode {
    Inode {
        generation: raw.generation.get(),
        mode: raw.mode.get(),
        xattr_len: raw.xattr_len.get(),
        uid: raw.uid.get(),
        gid: raw.gid.get(),
        nlink: raw.nlink.get(),
        flags: raw.flags.get(),
        size: raw.size.get(),
        blocks: raw.blocks.get(),
        atime: raw.atime.get(),
        mtime: raw.mtime.get(),
        ctime: raw.ctime.get(),
        btime: raw.btime.get(),
        xattr_block: raw.xattr_block.get(),
        rdev: raw.rdev.get(),
        orphan_next: raw.orphan_next.get(),
        parent: raw.parent.get(),
        link: raw.link.get(),
        special: raw.special,
        root: raw.root,
        xattr: raw.xattr,
    }
}

/// The first field that breaks a rule of section 6, if any.
fn check(geometry: &Geometry, ino: u32, inode: &Inode) -> Option<&'static str> {
    use FileType::{Block, Character, Directory, Regular, Symlink};
    let Ok(kind) = FileType::try_from(inode.mode) else {
        return Some("mode");
    };
    let is_store = inode.has(FLAG_STORE);
    let zero = |bytes: &[u8]| bytes.iter().all(|&b| b == 0);
    let is_other = |other: u32| geometry.is_inode(other) && other != ino;
    let flags_fit = inode.flags & !FLAGS == 0
        && (!is_store || (kind == Regular && !inode.has(FLAG_COLLECTION)))
        && (!inode.has(FLAG_COLLECTION) || kind == Directory);
    let size_fits = match kind {
        Regular => inode.size <= MAX_SIZE,
        Directory => inode.size <= MAX_SIZE && inode.size.is_multiple_of(4096) && inode.size != 0,
        Symlink => (1..=4095).contains(&inode.size),
        _ => inode.size == 0,
    };
    let parent_fits = match kind {
        Directory => geometry.is_inode(inode.parent),
        Regular if is_store => is_other(inode.parent),
        Regular => inode.parent == 0 || is_other(inode.parent),
        _ => inode.parent == 0,
    };
    let link_fits = match kind {
        Directory if inode.has(FLAG_COLLECTION) => is_other(inode.link),
        Regular => !is_store || inode.link == 0,
        _ => inode.link == 0,
    };
    let special_fits = match kind {
        Directory => zero(&inode.special[4..]),
        Regular if is_store => zero(&inode.special[16..]),
        _ => zero(&inode.special),
    };
    let root_fits = match kind {
        Regular | Directory => true,
        Symlink if inode.size <= 128 => {
            let (text, rest) = inode.root.split_at(inode.size as usize);
            !text.contains(&0) && zero(rest)
        }
        Symlink => true,
        _ => zero(&inode.root),
    };
    let xattr_len = usize::from(inode.xattr_len);
    let xattr_len_fits = xattr_len <= 256 && xattr_len.is_multiple_of(4);
    let next_fits = match inode.orphan_next {
        0 => true,
        next => inode.has(FLAG_ORPHAN) && is_other(next),
    };
    let rules = [
        (flags_fit, "flags"),
        (inode.nlink <= i32::MAX as u32, "nlink"),
        (size_fits, "size"),
        (inode.blocks <= geometry.total_blocks, "blocks"),
        (
            inode.xattr_block == 0 || geometry.is_usable(inode.xattr_block),
            "xattr_block",
        ),
        (inode.rdev == 0 || matches!(kind, Block | Character), "rdev"),
        (next_fits, "orphan_next"),
        (parent_fits, "parent"),
        (link_fits, "link"),
        (special_fits, "special"),
        (root_fits, "root"),
        (xattr_len_fits, "xattr_len"),
    ];
    let broken = rules
        .into_iter()
        .find(|(holds, _)| !holds)
        .map(|(_, field)| field);
    broken.or_else(|| (!zero(&inode.xattr[xattr_len..])).then_some("xattr"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_test_value_comes_out() {
        let mut inode = Inode::new(0x0102_0304, 0o100_644);
        inode.nlink = 1;
        let bytes = inode.encode(0x58f0_a594, 2);
        assert_eq!(
            u32::from_le_bytes(bytes[4..8].try_into().unwrap()),
            0x0b4b_2c28
        );
    }
}
