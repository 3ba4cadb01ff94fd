// SPDX-License-Identifier: Apache-2.0
//! The group block: two bitmaps (section 6).

use super::block::{Block, Expect, Kind};
use super::error::{Result, corrupt};
use super::geometry::Geometry;
use super::layout::{BLOCK_BITMAP, GROUP_BLOCKS, INODE_BITMAP, RawGroupHead};

const INODE_BITS: u32 = 8192;

/// What the header of a group block says.
#[must_use]
pub fn expect(group: u32) -> Expect {
    Expect {
        kind: Kind::Group,
        owner: group,
        generation: 0,
    }
}

/// One of the bitmaps of a group block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bitmap {
    /// A bit for each inode.
    Inodes,
    /// A bit for each block.
    Blocks,
}

impl Bitmap {
    fn base(self) -> usize {
        match self {
            Bitmap::Inodes => INODE_BITMAP,
            Bitmap::Blocks => BLOCK_BITMAP,
        }
    }

    /// Number of bits, padding included.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Bitmap::Inodes => INODE_BITS,
            Bitmap::Blocks => GROUP_BLOCKS,
        }
    }

    /// Whether the thing is in use.
    #[must_use]
    pub fn get(self, block: &Block, bit: u32) -> bool {
        block[self.base() + bit as usize / 8] & (1 << (bit % 8)) != 0
    }

    /// Mark as in use, or free.
    pub fn set(self, block: &mut Block, bit: u32, used: bool) {
        let byte = &mut block[self.base() + bit as usize / 8];
        if used {
            *byte |= 1 << (bit % 8)
        } else {
            *byte &= !(1 << (bit % 8))
        }
    }

    /// Sixty-four bits at once: those of word `word`.
    #[must_use]
    pub fn word(self, block: &Block, word: u32) -> u64 {
        block.get_u64(self.base() + word as usize * 8)
    }

    /// Number of clear bits.
    #[must_use]
    pub fn clear_bits(self, block: &Block) -> u32 {
        (0..self.bits() / 64)
            .map(|word| self.word(block, word).count_zeros())
            .sum()
    }

    /// The first bit in `from..to` that is clear here and in `also`.
    #[must_use]
    pub fn first_clear(
        self,
        block: &Block,
        also: Option<&Pinned>,
        from: u32,
        to: u32,
    ) -> Option<u32> {
        let mut bit = from;
        while bit < to {
            let word = bit / 64;
            let used = self.word(block, word) | also.map_or(0, |pinned| pinned.0[word as usize]);
            let free = !used >> (bit % 64);
            if free != 0 {
                let found = bit + free.trailing_zeros();
                return (found < to).then_some(found);
            }
            bit = (word + 1) * 64;
        }
        None
    }
}

/// Blocks of a group that are free in the bitmap but must not be used before the next commit (11.3, rule 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned([u64; (GROUP_BLOCKS / 64) as usize]);

impl Default for Pinned {
    fn default() -> Pinned {
        Pinned([0; (GROUP_BLOCKS / 64) as usize])
    }
}

impl Pinned {
    /// Pin a block.
    pub fn set(&mut self, bit: u32) {
        self.0[bit as usize / 64] |= 1 << (bit % 64);
    }

    /// What is pinned in either.
    #[must_use]
    pub fn union(&self, other: &Pinned) -> Pinned {
        let mut both = self.clone();
        let words = both.0.iter_mut().zip(other.0);
        words.for_each(|(word, other)| *word |= other);
        both
    }

    /// Whether a block is pinned.
    #[must_use]
    pub fn get(&self, bit: u32) -> bool {
        self.0[bit as usize / 64] & (1 << (bit % 64)) != 0
    }
}

/// The range checks: counts, fixed bits, padding, and that backups are in use.
pub fn check(geometry: &Geometry, group: u32, block: &Block) -> Result<()> {
    let at = geometry.group_start(group);
    let bad = |field: &str| Err(corrupt(Kind::Group, at, None, field));
    let head: &RawGroupHead = block.at(0);
    let len = geometry.group_len(group);
    if head.blocks.get() != len {
        return bad("blocks");
    }
    if head.inodes.get() != geometry.inodes_per_group {
        return bad("inodes");
    }
    let inode_padding = geometry.inodes_per_group..INODE_BITS;
    if Bitmap::Inodes
        .first_clear(block, None, inode_padding.start, inode_padding.end)
        .is_some()
    {
        return bad("inode_bitmap");
    }
    let fixed = [0..geometry.itable_blocks + 1, len..GROUP_BLOCKS];
    let clear = |bits: &std::ops::Range<u32>| {
        Bitmap::Blocks
            .first_clear(block, None, bits.start, bits.end)
            .is_some()
    };
    let backup_free = backups(geometry, group).any(|bit| !Bitmap::Blocks.get(block, bit));
    if fixed.iter().any(clear) || backup_free {
        return bad("block_bitmap");
    }
    Ok(())
}

/// Offsets of the backup superblocks in a group.
pub fn backups(geometry: &Geometry, group: u32) -> impl Iterator<Item = u32> + '_ {
    let here = move |&at: &u64| at != 0 && geometry.group_of_block(at) == Some(group);
    geometry
        .backup
        .into_iter()
        .filter(here)
        .map(|at| geometry.offset_in_group(at))
}

/// Make a group block in which all is free, but for its checksum.
#[must_use]
pub fn fresh(geometry: &Geometry, group: u32) -> Block {
    let mut block = Block::zeroed();
    block.set_header(geometry.group_start(group), expect(group));
    let len = geometry.group_len(group);
    let head: &mut RawGroupHead = block.at_mut(0);
    (head.blocks, head.inodes) = (len.into(), geometry.inodes_per_group.into());
    for bit in geometry.inodes_per_group..INODE_BITS {
        Bitmap::Inodes.set(&mut block, bit, true);
    }
    let fixed = (0..geometry.itable_blocks + 1).chain(len..GROUP_BLOCKS);
    for bit in fixed.chain(backups(geometry, group)) {
        Bitmap::Blocks.set(&mut block, bit, true);
    }
    block
}
