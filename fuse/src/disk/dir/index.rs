// SPDX-License-Identifier: Apache-2.0
//! Bytes of a directory index (section 8 of the format), as pure functions.

use crate::disk::BLOCK_SIZE;
use crate::disk::layout::{RawIndexEntry, row, row_mut};

/// Entries that an index can hold.
pub(crate) const MAX_ENTRIES: usize = 254;
/// Level of the highest index.
pub(crate) const MAX_LEVEL: u16 = 3;

const ENTRY: usize = size_of::<RawIndexEntry>();
pub(in crate::disk) const LEVEL: usize = 0x18;
pub(in crate::disk) const COUNT: usize = 0x1a;
pub(in crate::disk) const LBLK: usize = 0x1c;
pub(in crate::disk) const FIRST: usize = 0x20;

/// An entry: a part of the keys, and the block that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Least key below (of entry 0: any that is not above).
    pub(crate) key: u64,
    /// Logical block of the child.
    pub(crate) lblk: u32,
}

fn le16(block: &[u8; BLOCK_SIZE], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

fn le32(block: &[u8; BLOCK_SIZE], at: usize) -> u32 {
    u32::from(le16(block, at)) | u32::from(le16(block, at + 2)) << 16
}

/// Level of any directory block: 0 is a leaf.
#[must_use]
pub(crate) fn level(block: &[u8; BLOCK_SIZE]) -> u16 {
    le16(block, LEVEL)
}

/// Number of entries, at most [`MAX_ENTRIES`].
#[must_use]
pub(crate) fn count(block: &[u8; BLOCK_SIZE]) -> usize {
    usize::from(le16(block, COUNT)).min(MAX_ENTRIES)
}

fn raw(block: &[u8; BLOCK_SIZE], i: usize) -> &RawIndexEntry {
    row(&block[FIRST + i * ENTRY..])
}

/// Entry `i`, which is below [`count`].
#[must_use]
pub(crate) fn entry(block: &[u8; BLOCK_SIZE], i: usize) -> Entry {
    let raw = raw(block, i);
    Entry {
        key: raw.key.get(),
        lblk: raw.lblk.get(),
    }
}

/// Makes the block, behind its header, an index at `lblk` with these entries.
pub(crate) fn init(block: &mut [u8; BLOCK_SIZE], lblk: u32, level: u16, entries: &[Entry]) {
    block[LEVEL..].fill(0);
    block[LEVEL..COUNT].copy_from_slice(&level.to_le_bytes());
    block[COUNT..LBLK].copy_from_slice(&(entries.len() as u16).to_le_bytes());
    block[LBLK..FIRST].copy_from_slice(&lblk.to_le_bytes());
    for (i, entry) in entries.iter().enumerate() {
        *row_mut(&mut block[FIRST + i * ENTRY..]) = RawIndexEntry {
            key: entry.key.into(),
            lblk: entry.lblk.into(),
            zero: 0.into(),
        };
    }
}

/// All entries.
#[must_use]
pub(crate) fn entries(block: &[u8; BLOCK_SIZE]) -> Vec<Entry> {
    (0..count(block)).map(|i| entry(block, i)).collect()
}

/// Checks all of an index but its header. Its keys lie in `low..high`, its children in `1..blocks`.
///
/// # Errors
/// The name of the field that is wrong.
pub(crate) fn check(
    block: &[u8; BLOCK_SIZE],
    lblk: u32,
    (low, high): (u64, u64),
    blocks: u32,
) -> Result<(), &'static str> {
    if !(1..=MAX_LEVEL).contains(&level(block)) {
        return Err("level");
    }
    if le32(block, LBLK) != lblk {
        return Err("lblk");
    }
    let entries = usize::from(le16(block, COUNT));
    if entries == 0 || entries > MAX_ENTRIES {
        return Err("entries");
    }
    let mut before = None;
    for i in 0..entries {
        let Entry { key, lblk } = entry(block, i);
        // Entry 0 need not be exact.
        let below = before.is_some_and(|before| key <= before || key < low);
        if below || key >= high || key % 8 != 0 {
            return Err("key");
        }
        if lblk == 0 || lblk >= blocks {
            return Err("lblk");
        }
        if raw(block, i).zero.get() != 0 {
            return Err("zero");
        }
        before = Some(key);
    }
    Ok(())
}

/// Position of the child in which `key` is.
#[must_use]
pub(crate) fn position(block: &[u8; BLOCK_SIZE], key: u64) -> usize {
    let (mut low, mut high) = (1, count(block));
    while low < high {
        let middle = low.midpoint(high);
        if entry(block, middle).key <= key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low - 1
}
