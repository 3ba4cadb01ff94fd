// SPDX-License-Identifier: Apache-2.0
//! The summary: what is free in each group, and what of it is initialised (section 6).

use super::block::{Block, Expect, Kind};
use super::error::{Result, corrupt};
use super::geometry::Geometry;
use super::layout::{RawSummaryEntry, RawSummaryHead, SUMMARY_ENTRIES, SUMMARY_START};

const GROUP_INITIALISED: u16 = 1 << 15;
const ITABLE_MASK: u16 = 0x7ff;

/// A group's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSummary {
    /// Clear bits of the block bitmap.
    pub free_blocks: u32,
    /// Clear bits of the inode bitmap.
    pub free_inodes: u16,
    /// Initialised blocks of the inode table.
    pub itable: u16,
    /// Whether the group block has been written.
    pub initialised: bool,
}

impl GroupSummary {
    /// From the entry on disk, whose unknown bits have been checked.
    #[must_use]
    pub fn decode(raw: &RawSummaryEntry) -> GroupSummary {
        GroupSummary {
            free_blocks: raw.free_blocks.get(),
            free_inodes: raw.free_inodes.get(),
            itable: raw.init.get() & ITABLE_MASK,
            initialised: raw.init.get() & GROUP_INITIALISED != 0,
        }
    }

    /// The entry on disk.
    #[must_use]
    pub fn encode(self) -> RawSummaryEntry {
        let flag = if self.initialised {
            GROUP_INITIALISED
        } else {
            0
        };
        RawSummaryEntry {
            free_blocks: self.free_blocks.into(),
            free_inodes: self.free_inodes.into(),
            init: (self.itable | flag).into(),
        }
    }
}

/// What the header of summary block `index` says.
#[must_use]
pub fn expect(index: u32) -> Expect {
    Expect {
        kind: Kind::Summary,
        owner: index,
        generation: 0,
    }
}

/// Entries that summary block `index` has.
#[must_use]
pub fn entries(geometry: &Geometry, index: u32) -> u32 {
    geometry
        .groups
        .saturating_sub(index.saturating_mul(SUMMARY_ENTRIES))
        .min(SUMMARY_ENTRIES)
}

/// The range checks of section 13, step 5, for one block.
pub fn check(geometry: &Geometry, index: u32, block: &Block) -> Result<()> {
    let at = SUMMARY_START + u64::from(index);
    let bad = |field: &str| Err(corrupt(Kind::Summary, at, None, field));
    let head: &RawSummaryHead = block.at(0);
    let count = entries(geometry, index);
    if head.count.get() != count {
        return bad("count");
    }
    if head.first_group.get() != index * SUMMARY_ENTRIES {
        return bad("first_group");
    }
    for slot in 0..count {
        let raw: &RawSummaryEntry = block.at(0x20 + slot as usize * 8);
        let entry = GroupSummary::decode(raw);
        let room = geometry.group_len(index * SUMMARY_ENTRIES + slot) - 1 - geometry.itable_blocks;
        if entry.free_blocks > room {
            return bad("free_blocks");
        }
        if u32::from(entry.free_inodes) > geometry.inodes_per_group {
            return bad("free_inodes");
        }
        let init_fits = u32::from(entry.itable) <= geometry.itable_blocks
            && raw.init.get() & !(ITABLE_MASK | GROUP_INITIALISED) == 0
            && (entry.initialised || entry.itable == 0);
        if !init_fits {
            return bad("init");
        }
    }
    Ok(())
}

/// Make a summary block, but for its entries and checksum.
#[must_use]
pub fn fresh(geometry: &Geometry, index: u32) -> Block {
    let mut block = Block::zeroed();
    block.set_header(SUMMARY_START + u64::from(index), expect(index));
    block.put_u32(0x18, entries(geometry, index));
    block.put_u32(0x1c, index * SUMMARY_ENTRIES);
    block
}
