// SPDX-License-Identifier: Apache-2.0
//! Writing transactions, and moving the tail (sections 11.3 and 11.7).

use super::format::{
    COMMIT, COMMIT_SUM, DESCRIPTOR, ESCAPE, JournalSuper, LAST, MAGIC, REVOKE, REVOKES, SAME_UUID,
    TAGS, TAIL, block_sum, control, put_be32, put_be64, tag_sum,
};
use super::{Place, flush};
use crate::disk::block::{Block, Kind};
use crate::disk::device::BlockDevice;
use crate::disk::error::{Result, device_failure};
use crate::disk::layout::BLOCK_SIZE;
use std::collections::VecDeque;
use std::sync::Arc;

/// A committed transaction whose copies in the log may still be needed.
#[derive(Debug, Clone, Copy)]
struct Live {
    sequence: u32,
    start: u32,
    blocks: u32,
}

/// The journal of a volume that is mounted for writing.
///
/// The caller writes the blocks of each transaction to their places right after its commit. So the first flush of
/// the next commit makes them durable, and from then on the log may begin with that next transaction.
pub struct Journal {
    device: Arc<dyn BlockDevice>,
    place: Place,
    /// As it was written last.
    on_disk: JournalSuper,
    /// Position of the next transaction.
    head: u32,
    /// Its number.
    next: u32,
    /// Oldest first; their blocks may not be overwritten.
    live: VecDeque<Live>,
}

impl Journal {
    /// The log must be empty: replayed.
    pub fn open(device: Arc<dyn BlockDevice>, place: Place) -> Result<Journal> {
        let on_disk = place.read_super(&*device)?;
        let next = on_disk.sequence.wrapping_add(1);
        Ok(Journal {
            device,
            place,
            on_disk,
            head: 1,
            next,
            live: VecDeque::new(),
        })
    }

    /// The error that aborted the journal in an earlier mount, or 0.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.on_disk.errno
    }

    /// Forget that error, once it is recorded elsewhere.
    pub fn clear_errno(&mut self) -> Result<()> {
        self.write_super(JournalSuper {
            errno: 0,
            ..self.on_disk
        })?;
        self.flush()
    }

    /// Note the error that ends this journal. It may fail as what went before did: nothing more can be done then.
    pub fn abort(&mut self, errno: i32) -> Result<()> {
        self.write_super(JournalSuper {
            errno: -errno,
            ..self.on_disk
        })?;
        self.flush()
    }

    /// Log blocks that a transaction takes.
    #[must_use]
    pub fn blocks_needed(blocks: usize, revokes: usize) -> usize {
        blocks + blocks.div_ceil(TAGS) + revokes.div_ceil(REVOKES) + 1
    }

    /// Write a transaction; it is durable when this returns. `blocks` have their checksums; `time` is in nanoseconds.
    pub fn commit(
        &mut self,
        blocks: &[(u64, Arc<Block>)],
        revokes: &[u64],
        time: i64,
    ) -> Result<()> {
        let mut body = Vec::with_capacity(Journal::blocks_needed(blocks.len(), revokes.len()));
        self.revoke_blocks(revokes, &mut body);
        self.descriptor_blocks(blocks, &mut body);
        let need = body.len() as u32 + 1;
        let used: u32 = self.live.iter().map(|t| t.blocks).sum();
        let mut covered = 0; // transactions that the tail has moved past once the next flush is done
        if used + need > self.place.len - 1 {
            self.checkpoint()?;
        } else if used > (self.place.len - 1) / 2 && self.live.len() > 1 {
            let tail = self.live[self.live.len() - 1];
            self.write_super(JournalSuper {
                start: tail.start,
                sequence: tail.sequence,
                ..self.on_disk
            })?;
            covered = self.live.len() - 1;
        }
        if self.live.is_empty() {
            let (start, sequence) = (self.head, self.next);
            self.write_super(JournalSuper {
                start,
                sequence,
                ..self.on_disk
            })?;
        }
        self.write_log(self.head, &body)?;
        self.flush()?;
        self.live.drain(..covered);
        let commit = self.commit_block(time);
        self.write_log(self.place.advance(self.head, need - 1), &[commit])?;
        self.flush()?;
        self.live.push_back(Live {
            sequence: self.next,
            start: self.head,
            blocks: need,
        });
        self.head = self.place.advance(self.head, need);
        self.next = self.next.wrapping_add(1);
        Ok(())
    }

    /// Make everything that was written to its place durable, and the log empty.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.flush()?;
        let sequence = self.next.wrapping_sub(1);
        if self.on_disk.start != 0 {
            self.write_super(JournalSuper {
                start: 0,
                sequence,
                ..self.on_disk
            })?;
            self.flush()?;
        }
        self.live.clear();
        self.head = 1;
        Ok(())
    }

    fn revoke_blocks(&self, revokes: &[u64], body: &mut Vec<Block>) {
        for records in revokes.chunks(REVOKES) {
            let mut block = control(REVOKE, self.next);
            put_be32(&mut block, 0x0c, 16 + 8 * records.len() as u32);
            for (n, &record) in records.iter().enumerate() {
                put_be64(&mut block, 16 + 8 * n, record);
            }
            self.seal(&mut block, TAIL);
            body.push(block);
        }
    }

    fn descriptor_blocks(&self, blocks: &[(u64, Arc<Block>)], body: &mut Vec<Block>) {
        for chunk in blocks.chunks(TAGS) {
            let mut descriptor = control(DESCRIPTOR, self.next);
            let at_descriptor = body.len();
            body.push(Block::zeroed());
            let mut at = 0x0c;
            for (n, (number, block)) in chunk.iter().enumerate() {
                let mut logged = Block::clone(block);
                let mut flags = if n == 0 { 0 } else { SAME_UUID };
                if logged[..4] == MAGIC.to_be_bytes() {
                    logged[..4].fill(0);
                    flags |= ESCAPE;
                }
                if n + 1 == chunk.len() {
                    flags |= LAST;
                }
                put_be32(&mut descriptor, at, *number as u32);
                put_be32(&mut descriptor, at + 4, flags);
                put_be32(&mut descriptor, at + 8, (*number >> 32) as u32);
                let sum = tag_sum(self.place.seed, self.next, &logged);
                put_be32(&mut descriptor, at + 12, sum);
                at += if n == 0 { 32 } else { 16 };
                body.push(logged);
            }
            self.seal(&mut descriptor, TAIL);
            body[at_descriptor] = descriptor;
        }
    }

    fn commit_block(&self, time: i64) -> Block {
        let mut block = control(COMMIT, self.next);
        put_be64(&mut block, 0x30, time.div_euclid(1_000_000_000) as u64);
        put_be32(&mut block, 0x38, time.rem_euclid(1_000_000_000) as u32);
        self.seal(&mut block, COMMIT_SUM);
        block
    }

    fn seal(&self, block: &mut Block, at: usize) {
        let sum = block_sum(self.place.seed, block, at);
        put_be32(block, at, sum);
    }

    /// Write blocks to the log from a position on, in as few runs as its end allows.
    fn write_log(&self, position: u32, blocks: &[Block]) -> Result<()> {
        let until_end = (self.place.len - position) as usize;
        let (first, second) = blocks.split_at(until_end.min(blocks.len()));
        for (position, run) in [(position, first), (1, second)] {
            if run.is_empty() {
                continue;
            }
            let mut bytes = Vec::with_capacity(run.len() * BLOCK_SIZE);
            run.iter()
                .for_each(|block| bytes.extend_from_slice(&block[..]));
            let at = self.place.start + u64::from(position);
            let failed = |e| device_failure("write", Kind::Journal, at, None, &e);
            self.device.write_blocks(at, &bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn write_super(&mut self, value: JournalSuper) -> Result<()> {
        self.place.write_super(&*self.device, value)?;
        self.on_disk = value;
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        flush(&*self.device, self.place.start)
    }
}
