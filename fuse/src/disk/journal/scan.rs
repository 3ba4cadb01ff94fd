// SPDX-License-Identifier: Apache-2.0
//! Reading the log, and replaying it (section 11.5).

use super::format::{
    COMMIT, COMMIT_END, COMMIT_SUM, DESCRIPTOR, ESCAPE, JournalSuper, LAST, MAGIC, REVOKE, REVOKES,
    SAME_UUID, TAIL, be32, be64, block_sum, tag_sum,
};
use super::{Place, flush};
use crate::disk::block::{Block, Kind};
use crate::disk::device::BlockDevice;
use crate::disk::error::{Result, corrupt, device_failure};
use crate::disk::geometry::Geometry;
use std::collections::{BTreeMap, HashMap};

/// A copy of a block in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Its place on the volume.
    pub block: u64,
    /// Its position in the log.
    pub position: u32,
    /// `ESCAPE`, `SAME_UUID`, `LAST`.
    pub flags: u32,
    /// Of the copy.
    pub checksum: u32,
}

/// A transaction that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedTransaction {
    /// Its number.
    pub sequence: u32,
    /// Log position of its first block.
    pub start: u32,
    /// Log position of its commit block.
    pub commit: u32,
    /// Copies, in their order.
    pub tags: Vec<Tag>,
    /// Log positions of its revoke blocks.
    pub revokes: Vec<u32>,
}

/// What the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Transactions that count, oldest first.
    pub transactions: Vec<LoggedTransaction>,
    /// The number after the last of them.
    pub next: u32,
}

/// Step 2 of section 11.5: only reads; consumes at most as many blocks as the log has.
pub fn scan(device: &dyn BlockDevice, place: &Place, start: JournalSuper) -> Result<Log> {
    match scan_known(device, place, start)? {
        (log, None) => Ok(log),
        (_, Some(at)) => Err(corrupt(Kind::Journal, at, None, "transaction")),
    }
}

/// Like [`scan`], but a committed transaction that is broken ends the log; then its block is given too.
pub(super) fn scan_known(
    device: &dyn BlockDevice,
    place: &Place,
    start: JournalSuper,
) -> Result<(Log, Option<u64>)> {
    let mut log = Log {
        transactions: Vec::new(),
        next: start.sequence,
    };
    if start.start == 0 {
        return Ok((log, None));
    }
    let (mut position, mut left) = (start.start, place.len - 1);
    let mut open = Open::new(position);
    while left > 0 {
        let block = place.read(device, position)?;
        if be32(&block, 0) != MAGIC || be32(&block, 8) != log.next {
            break;
        }
        let mut consumed = 1;
        match be32(&block, 4) {
            DESCRIPTOR => consumed += open.descriptor(place, position, &block),
            REVOKE => open.revoke(place, position, &block),
            COMMIT => {
                if !commit_is_valid(place.seed, &block) {
                    break;
                }
                if open.is_bad {
                    let at = place.start + u64::from(position);
                    return Ok((log, Some(at)));
                }
                let (tags, revokes) = (open.tags, open.revokes);
                let (sequence, commit) = (log.next, position);
                let done = LoggedTransaction {
                    sequence,
                    start: open.start,
                    commit,
                    tags,
                    revokes,
                };
                log.transactions.push(done);
                log.next = log.next.wrapping_add(1);
                open = Open::new(place.advance(position, 1));
            }
            _ => break,
        }
        // More than the log has: what follows would be this transaction's own beginning.
        let Some(rest) = left.checked_sub(consumed) else {
            break;
        };
        left = rest;
        position = place.advance(position, consumed);
    }
    Ok((log, None))
}

/// The transaction whose commit block has not been met yet.
struct Open {
    start: u32,
    tags: Vec<Tag>,
    revokes: Vec<u32>,
    is_bad: bool,
}

impl Open {
    fn new(start: u32) -> Open {
        Open {
            start,
            tags: Vec::new(),
            revokes: Vec::new(),
            is_bad: false,
        }
    }

    /// Take the tags in; the number of blocks that follow the descriptor.
    fn descriptor(&mut self, place: &Place, position: u32, block: &Block) -> u32 {
        self.is_bad |= be32(block, TAIL) != block_sum(place.seed, block, TAIL);
        let (mut at, mut count) = (0x0c, 0);
        while at + 16 <= TAIL {
            let flags = be32(block, at + 4);
            count += 1;
            self.tags.push(Tag {
                block: u64::from(be32(block, at + 8)) << 32 | u64::from(be32(block, at)),
                position: place.advance(position, count),
                flags,
                checksum: be32(block, at + 12),
            });
            if flags & LAST != 0 {
                return count;
            }
            at += if flags & SAME_UUID != 0 { 16 } else { 32 };
        }
        self.is_bad = true;
        count
    }

    fn revoke(&mut self, place: &Place, position: u32, block: &Block) {
        let used = be32(block, 0x0c) as usize;
        let sum_is_right = be32(block, TAIL) == block_sum(place.seed, block, TAIL);
        self.is_bad |= !sum_is_right || !(16..=TAIL).contains(&used);
        self.revokes.push(position);
    }
}

/// Right, or right but for a write torn after the first sector, of which all that follows is zero.
fn commit_is_valid(seed: u32, block: &Block) -> bool {
    let want = be32(block, COMMIT_SUM);
    if block_sum(seed, block, COMMIT_SUM) == want {
        return true;
    }
    let mut whole = block.clone();
    whole[COMMIT_END..].fill(0);
    block_sum(seed, &whole, COMMIT_SUM) == want
}

impl Log {
    /// Step 3: for each block that the log holds a copy of, the highest number that revokes it.
    fn revoked(&self, device: &dyn BlockDevice, place: &Place) -> Result<HashMap<u64, u32>> {
        // Only these matter, and a hostile log can name a hundred million others.
        let tags = self.transactions.iter().flat_map(|t| &t.tags);
        let mut highest: HashMap<u64, Option<u32>> = tags.map(|tag| (tag.block, None)).collect();
        for transaction in &self.transactions {
            for &position in &transaction.revokes {
                let block = place.read(device, position)?;
                for revoked in revoke_records(&block) {
                    // Transactions come in the order of their numbers: the last is the highest.
                    highest
                        .entry(revoked)
                        .and_modify(|n| *n = Some(transaction.sequence));
                }
            }
        }
        Ok(highest
            .into_iter()
            .filter_map(|(block, n)| Some((block, n?)))
            .collect())
    }

    /// Steps 3 and 4: the copies to be written, by place; all of them verified.
    pub fn copies(
        &self,
        device: &dyn BlockDevice,
        place: &Place,
        geometry: &Geometry,
    ) -> Result<BTreeMap<u64, Tag>> {
        let revoked = self.revoked(device, place)?;
        let mut copies = BTreeMap::new();
        for transaction in &self.transactions {
            for tag in &transaction.tags {
                let is_later = |n: &u32| n.wrapping_sub(transaction.sequence) as i32 >= 0;
                if revoked.get(&tag.block).is_some_and(is_later) {
                    continue;
                }
                let at = place.start + u64::from(tag.position);
                if !geometry.is_journaled_place(tag.block) {
                    return Err(corrupt(Kind::Journal, at, None, "place"));
                }
                let logged = place.read(device, tag.position)?;
                if tag_sum(place.seed, transaction.sequence, &logged) != tag.checksum {
                    return Err(corrupt(Kind::Journal, at, None, "checksum"));
                }
                copies.insert(tag.block, *tag);
            }
        }
        Ok(copies)
    }
}

/// The block numbers in a revoke block.
pub fn revoke_records(block: &Block) -> impl Iterator<Item = u64> + '_ {
    let used = (be32(block, 0x0c) as usize).saturating_sub(16) / 8;
    (0..used.min(REVOKES)).map(|n| be64(block, 16 + n * 8))
}

/// Bring the volume to the state after the last transaction that counts, and empty the log.
/// Nothing has been written if this fails with anything but a write error. Gives the number of transactions.
pub fn recover(device: &dyn BlockDevice, place: &Place, geometry: &Geometry) -> Result<usize> {
    let start = place.read_super(device)?;
    if start.start == 0 {
        return Ok(0);
    }
    let log = scan(device, place, start)?;
    replay(device, place, &log.copies(device, place, geometry)?)?;
    flush(device, place.start)?;
    place.write_super(
        device,
        JournalSuper {
            start: 0,
            sequence: log.next,
            ..start
        },
    )?;
    flush(device, place.start)?;
    Ok(log.transactions.len())
}

/// Step 5: writes copies to their places.
pub(super) fn replay(
    device: &dyn BlockDevice,
    place: &Place,
    copies: &BTreeMap<u64, Tag>,
) -> Result<()> {
    for (&at, tag) in copies {
        let mut block = place.read(device, tag.position)?;
        if tag.flags & ESCAPE != 0 {
            block[..4].copy_from_slice(&MAGIC.to_be_bytes());
        }
        let failed = |e| device_failure("write", Kind::Journal, at, None, &e);
        device.write_blocks(at, &block[..]).map_err(failed)?;
    }
    Ok(())
}
