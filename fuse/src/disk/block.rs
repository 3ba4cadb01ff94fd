// SPDX-License-Identifier: Apache-2.0
//! A block in memory, what kinds of block there are, and the header that all metadata blocks share.

use super::crc;
use super::error::{Result, corrupt, corrupt_value};
use super::layout::{BLOCK_SIZE, Header};
use std::ops::{Deref, DerefMut};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// 4096 bytes.
#[derive(Clone, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct Block([u8; BLOCK_SIZE]);

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({:02x?}..)", &self.0[..24])
    }
}

impl Deref for Block {
    type Target = [u8; BLOCK_SIZE];
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

macro_rules! accessors {
    ($($get:ident $put:ident $type:ty;)*) => {$(
        /// The little-endian integer at this offset.
        #[must_use]
        pub fn $get(&self, at: usize) -> $type {
            let mut bytes = [0; size_of::<$type>()];
            bytes.copy_from_slice(&self.0[at..at + size_of::<$type>()]);
            <$type>::from_le_bytes(bytes)
        }
        /// Write a little-endian integer at this offset.
        pub fn $put(&mut self, at: usize, value: $type) {
            self.0[at..at + size_of::<$type>()].copy_from_slice(&value.to_le_bytes());
        }
    )*};
}

impl Block {
    /// All zero.
    #[must_use]
    pub fn zeroed() -> Block {
        Block([0; BLOCK_SIZE])
    }

    /// These bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; BLOCK_SIZE]) -> Block {
        Block(bytes)
    }

    accessors! {
        get_u16 put_u16 u16;
        get_u32 put_u32 u32;
        get_u64 put_u64 u64;
    }

    /// The structure at this offset. Panics if it does not fit the block: offsets are the program's, never the disk's.
    #[must_use]
    pub fn at<T: FromBytes + Immutable + KnownLayout + Unaligned>(&self, offset: usize) -> &T {
        T::ref_from_prefix(&self.0[offset..])
            .expect("the structure fits the block")
            .0
    }

    /// The structure at this offset, to be changed.
    pub fn at_mut<T>(&mut self, offset: usize) -> &mut T
    where
        T: FromBytes + IntoBytes + KnownLayout + Unaligned,
    {
        T::mut_from_prefix(&mut self.0[offset..])
            .expect("the structure fits the block")
            .0
    }

    /// The header of a metadata block.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.at(0)
    }

    /// Make the header (but for the checksum).
    pub fn set_header(&mut self, block: u64, expect: Expect) {
        *self.at_mut(0) = Header {
            magic: expect.kind.magic(),
            checksum: 0.into(),
            blocknr: block.into(),
            owner: expect.owner.into(),
            generation: expect.generation.into(),
        };
    }

    /// Compute the header's checksum.
    pub fn seal(&mut self, seed: u32) {
        let sum = crc::raw_without(seed, &self.0[..], 4);
        self.put_u32(4, sum);
    }

    /// Magic and checksum, then place and owner: checks 3 to 5 of section 3.
    pub fn check_header(&self, seed: u32, block: u64, expect: Expect) -> Result<()> {
        self.check_magic(block, expect)?;
        let sum = crc::raw_without(seed, &self.0[..], 4);
        let have = self.header().checksum.get();
        if have != sum {
            let (have, sum) = (format!("{have:08x}"), format!("{sum:08x}"));
            return Err(corrupt_value(
                expect.kind,
                block,
                expect.ino(),
                "checksum",
                have,
                sum,
            ));
        }
        self.check_owner(block, expect)
    }

    /// The magic only.
    pub(super) fn check_magic(&self, block: u64, expect: Expect) -> Result<()> {
        if self.header().magic != expect.kind.magic() {
            return Err(corrupt(expect.kind, block, expect.ino(), "magic"));
        }
        Ok(())
    }

    /// Place and owner only.
    pub(super) fn check_owner(&self, block: u64, expect: Expect) -> Result<()> {
        let header = self.header();
        if header.blocknr.get() != block {
            let got = header.blocknr.get();
            return Err(corrupt_value(
                expect.kind,
                block,
                expect.ino(),
                "place",
                got,
                block,
            ));
        }
        if header.owner.get() != expect.owner {
            let got = header.owner.get();
            return Err(corrupt_value(
                expect.kind,
                block,
                expect.ino(),
                "owner",
                got,
                expect.owner,
            ));
        }
        if header.generation.get() != expect.generation {
            let (got, want) = (header.generation.get(), expect.generation);
            return Err(corrupt_value(
                expect.kind,
                block,
                expect.ino(),
                "generation",
                got,
                want,
            ));
        }
        Ok(())
    }
}

/// What a block is: TYPE in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the document's
pub enum Kind {
    Superblock,
    State,
    Summary,
    Group,
    Inode,
    Extent,
    DirLeaf,
    DirIndex,
    Xattr,
    Symlink,
    SlotMap,
    Vector,
    Journal,
    Data,
}

impl Kind {
    /// Every kind whose blocks have the header.
    pub const WITH_HEADER: [Kind; 9] = [
        Kind::State,
        Kind::Summary,
        Kind::Group,
        Kind::Extent,
        Kind::DirLeaf,
        Kind::DirIndex,
        Kind::Xattr,
        Kind::Symlink,
        Kind::SlotMap,
    ];

    /// The magic of its header; of an inode its own; zeros where there is none.
    #[must_use]
    pub fn magic(self) -> [u8; 4] {
        match self {
            Kind::State => *b"VXST",
            Kind::Summary => *b"VXSM",
            Kind::Group => *b"VXGB",
            Kind::Inode => *b"VXIN",
            Kind::Extent => *b"VXEX",
            Kind::DirLeaf => *b"VXDL",
            Kind::DirIndex => *b"VXDI",
            Kind::Xattr => *b"VXXA",
            Kind::Symlink => *b"VXSY",
            Kind::SlotMap => *b"VXVM",
            Kind::Superblock | Kind::Vector | Kind::Journal | Kind::Data => [0; 4],
        }
    }

    /// The kind with this magic in its header.
    #[must_use]
    pub fn of_magic(magic: [u8; 4]) -> Option<Kind> {
        Kind::WITH_HEADER
            .into_iter()
            .find(|kind| kind.magic() == magic)
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Superblock => "superblock",
            Kind::State => "state",
            Kind::Summary => "summary",
            Kind::Group => "group",
            Kind::Inode => "inode",
            Kind::Extent => "extent",
            Kind::DirLeaf | Kind::DirIndex => "directory",
            Kind::Xattr => "xattr",
            Kind::Symlink => "symlink",
            Kind::SlotMap => "slot-map",
            Kind::Vector => "vector",
            Kind::Journal => "journal",
            Kind::Data => "data",
        }
    }
}

/// What the header of a block must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// Its type.
    pub kind: Kind,
    /// Inode number, group, or index of the summary block.
    pub owner: u32,
    /// Generation of the owner inode, else 0.
    pub generation: u32,
}

impl Expect {
    /// A block that an inode owns.
    #[must_use]
    pub fn of_inode(kind: Kind, ino: u32, generation: u32) -> Expect {
        Expect {
            kind,
            owner: ino,
            generation,
        }
    }

    /// The inode for messages: none for blocks that no inode owns.
    #[must_use]
    pub fn ino(self) -> Option<u32> {
        match self.kind {
            Kind::Superblock | Kind::State | Kind::Summary | Kind::Group | Kind::Journal => None,
            _ => Some(self.owner),
        }
    }
}
