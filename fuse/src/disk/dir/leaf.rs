// SPDX-License-Identifier: Apache-2.0
//! Bytes of a directory leaf (section 8 of the format), as pure functions.

use crate::disk::BLOCK_SIZE;
use crate::disk::layout::{RawRecord, row, row_mut};

/// Least key.
pub(crate) const KEY_MIN: u64 = 8;
/// Greatest key.
pub(crate) const KEY_MAX: u64 = 0x7fff_ffff_ffff_ffe7;
/// The part of a key that is the hash.
pub(crate) const HASH_MASK: u64 = !7;

pub(in crate::disk) const LEVEL: usize = 0x18;
pub(in crate::disk) const USED: usize = 0x1a;
pub(in crate::disk) const LBLK: usize = 0x1c;
pub(in crate::disk) const FIRST: usize = 0x20;
const ROOM: usize = BLOCK_SIZE - FIRST;
pub(in crate::disk) const FIXED: usize = size_of::<RawRecord>();

/// A record of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Hash and number among the equal hashes; the readdir cookie.
    pub(crate) key: u64,
    /// Inode.
    pub(crate) ino: u32,
    /// Type, 1 to 7.
    pub(crate) kind: u8,
    /// Name.
    pub(crate) name: &'a [u8],
    /// Where the record starts in the block.
    pub(crate) at: usize,
}

/// Bytes that a record with a name of this length takes.
#[must_use]
pub(crate) fn record_size(name_len: usize) -> usize {
    (FIXED + name_len + 7) & !7
}

/// Whether it may be a name: not empty, not too long, no `/`, no NUL, not `.` or `..`.
#[must_use]
pub(crate) fn is_legal(name: &[u8]) -> bool {
    (1..=255).contains(&name.len())
        && name != b"."
        && name != b".."
        && !name.iter().any(|&b| b == b'/' || b == 0)
}

fn le16(block: &[u8; BLOCK_SIZE], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

fn le32(block: &[u8; BLOCK_SIZE], at: usize) -> u32 {
    u32::from(le16(block, at)) | u32::from(le16(block, at + 2)) << 16
}

fn used(block: &[u8; BLOCK_SIZE]) -> usize {
    le16(block, USED).into()
}

fn set_used(block: &mut [u8; BLOCK_SIZE], used: usize) {
    block[USED..LBLK].copy_from_slice(&(used as u16).to_le_bytes());
}

/// Makes the block, behind its header, an empty leaf at `lblk`.
pub(crate) fn init(block: &mut [u8; BLOCK_SIZE], lblk: u32) {
    block[LEVEL..].fill(0);
    block[LBLK..FIRST].copy_from_slice(&lblk.to_le_bytes());
}

/// Checks all of a leaf but its header; keys lie in `low..high`.
///
/// # Errors
/// The name of the field that is wrong.
pub(crate) fn check(
    block: &[u8; BLOCK_SIZE],
    lblk: u32,
    low: u64,
    high: u64,
) -> Result<(), &'static str> {
    if le16(block, LEVEL) != 0 {
        return Err("level");
    }
    if le32(block, LBLK) != lblk {
        return Err("lblk");
    }
    let used = used(block);
    if used > ROOM || !used.is_multiple_of(8) {
        return Err("used");
    }
    let end = FIRST + used;
    let (mut at, mut least) = (FIRST, low.max(KEY_MIN));
    while at < end {
        if end - at < FIXED {
            return Err("used");
        }
        let head: &RawRecord = row(&block[at..]);
        let name_len = usize::from(head.name_len);
        let size = record_size(name_len);
        if size > end - at || name_len == 0 {
            return Err("name_len");
        }
        let key = head.key.get();
        if key < least || key >= high || key > KEY_MAX {
            return Err("key");
        }
        if head.ino.get() == 0 {
            return Err("ino");
        }
        if !(1..=7).contains(&head.kind) {
            return Err("type");
        }
        let name_end = at + FIXED + name_len;
        if head.zero.get() != 0 || block[name_end..at + size].iter().any(|&b| b != 0) {
            return Err("zero");
        }
        if !is_legal(&block[at + FIXED..name_end]) {
            return Err("name");
        }
        least = key + 1;
        at += size;
    }
    if block[end..].iter().any(|&b| b != 0) {
        return Err("zero");
    }
    Ok(())
}

/// The records of a leaf that passed [`check`]. Of one that did not, those before the first that does not fit.
pub(crate) fn records(block: &[u8; BLOCK_SIZE]) -> impl Iterator<Item = Record<'_>> {
    let end = FIRST + used(block).min(ROOM);
    let mut at = FIRST;
    std::iter::from_fn(move || {
        if at + FIXED > end {
            return None;
        }
        let head: &RawRecord = row(&block[at..]);
        let name_len = usize::from(head.name_len);
        let size = record_size(name_len);
        if at + size > end {
            return None;
        }
        let record = Record {
            key: head.key.get(),
            ino: head.ino.get(),
            kind: head.kind,
            name: &block[at + FIXED..][..name_len],
            at,
        };
        at += size;
        Some(record)
    })
}

/// Whether a name of this length finds room.
#[must_use]
pub(crate) fn has_room(block: &[u8; BLOCK_SIZE], name_len: usize) -> bool {
    used(block) + record_size(name_len) <= ROOM
}

/// Puts a record in its place; there is room, and the key is not taken.
pub(crate) fn insert(block: &mut [u8; BLOCK_SIZE], key: u64, ino: u32, kind: u8, name: &[u8]) {
    let size = record_size(name.len());
    let end = FIRST + used(block);
    let at = records(block)
        .find(|record| record.key > key)
        .map_or(end, |record| record.at);
    block.copy_within(at..end, at + size);
    let record = &mut block[at..at + size];
    record.fill(0);
    *row_mut(record) = RawRecord {
        key: key.into(),
        ino: ino.into(),
        name_len: name.len() as u8,
        kind,
        zero: 0.into(),
    };
    record[FIXED..FIXED + name.len()].copy_from_slice(name);
    set_used(block, end - FIRST + size);
}

/// Takes out the record at `at`.
pub(crate) fn remove(block: &mut [u8; BLOCK_SIZE], at: usize) {
    let size = record_size(row::<RawRecord>(&block[at..]).name_len.into());
    let end = FIRST + used(block);
    block.copy_within(at + size..end, at);
    block[end - size..end].fill(0);
    set_used(block, end - FIRST - size);
}

/// Points the record at `at` at another inode.
pub(crate) fn retarget(block: &mut [u8; BLOCK_SIZE], at: usize, ino: u32, kind: u8) {
    let record: &mut RawRecord = row_mut(&mut block[at..]);
    record.ino = ino.into();
    record.kind = kind;
}

/// Moves the upper part to `right`, an empty leaf, and returns the least key that belongs there from now on.
/// `None` if all records have one hash (then there is nothing to split).
pub(crate) fn split(left: &mut [u8; BLOCK_SIZE], right: &mut [u8; BLOCK_SIZE]) -> Option<u64> {
    let middle = FIRST + used(left) / 2;
    let mut before = None;
    let mut best: Option<(usize, u64)> = None;
    for record in records(left) {
        let hash = record.key & HASH_MASK;
        if before.is_some_and(|before| before != hash)
            && best.is_none_or(|(at, _)| middle.abs_diff(record.at) < middle.abs_diff(at))
        {
            best = Some((record.at, hash));
        }
        before = Some(hash);
    }
    let (at, key) = best?;
    let end = FIRST + used(left);
    right[FIRST..FIRST + end - at].copy_from_slice(&left[at..end]);
    set_used(right, end - at);
    left[at..end].fill(0);
    set_used(left, at - FIRST);
    Some(key)
}
