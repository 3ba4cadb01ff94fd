// SPDX-License-Identifier: Apache-2.0
//! Making the running transaction durable (section 11.7), in two steps: it is sealed by whoever has the store alone, and
//! then written while others go on with the next one.

use super::block::{Block, Kind};
use super::cache::Cache;
use super::device::BlockDevice;
use super::error::{Error, Result, device_failure};
use super::flight::{Flight, Sealed};
use super::journal::Journal;
use super::layout::BLOCK_SIZE;
use super::report::Reporter;
use super::store::{MetaRead, Running, Store};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Neighbouring blocks are written to their places in runs of at most this many.
const RUN: usize = 256;

/// A sealed transaction. It needs nothing of the store to become durable; dropped before that, it ends all writing.
#[must_use = "what was sealed has to be written"]
pub struct Commit {
    device: Arc<dyn BlockDevice>,
    journal: Arc<Mutex<Journal>>,
    cache: Arc<Cache>,
    reporter: Arc<Reporter>,
    flight: Arc<Flight>,
    is_aborted: Arc<AtomicBool>,
    data_is_dirty: Arc<AtomicBool>,
    /// By place; nothing where only data has to be flushed.
    blocks: Vec<(u64, Arc<Block>)>,
    revokes: Vec<u64>,
    /// Runs that the device is told of.
    discards: Vec<(u64, u32)>,
    has_data: bool,
    time: i64,
    number: u64,
    is_over: bool,
}

impl Store {
    /// Make every finished operation, and all data written before this call, durable.
    pub fn commit(&mut self) -> Result<()> {
        match self.seal()? {
            Some(commit) => commit.finish(),
            None => Ok(()),
        }
    }

    /// Gather what [`Store::commit`] would write; [`Commit::finish`] writes it. A commit that is under way is waited
    /// for. None where the volume is mounted read-only.
    pub fn seal(&mut self) -> Result<Option<Commit>> {
        self.flight.wait();
        if self.is_aborted() {
            return Err(Error::Aborted);
        }
        let Some(journal) = self.journal.clone() else {
            return Ok(None);
        };
        if let Err(error) = self.record_errors() {
            abort(&journal, &self.is_aborted, &self.reporter, &error);
            return Err(error);
        }
        let running = match self.has_changes() {
            true => std::mem::take(&mut self.running),
            false => Running::default(),
        };
        let blocks = self.sealed_blocks(running.blocks);
        let mut revokes: Vec<u64> = running.revoked.into_iter().collect();
        revokes.sort_unstable();
        // The commit before may have put them back meanwhile.
        revokes.iter().for_each(|block| self.cache.forget(*block));
        // Whatever is pinned without a change belongs to operations that did not finish.
        let sealed = Sealed {
            blocks: blocks.iter().cloned().collect(),
            pinned: std::mem::take(&mut self.pinned),
        };
        Ok(Some(Commit {
            device: Arc::clone(&self.device),
            journal,
            cache: Arc::clone(&self.cache),
            reporter: Arc::clone(&self.reporter),
            is_aborted: Arc::clone(&self.is_aborted),
            // Nobody writes at this moment: the commit's first flush covers all.
            has_data: self.data_is_dirty.swap(false, Ordering::AcqRel),
            data_is_dirty: Arc::clone(&self.data_is_dirty),
            blocks,
            revokes,
            discards: match self.options.discard {
                true => running.freed,
                false => Vec::new(),
            },
            time: (self.options.clock)(),
            number: self.flight.begin(sealed),
            flight: Arc::clone(&self.flight),
            is_over: false,
        }))
    }

    fn sealed_blocks(&self, blocks: HashMap<u64, (Kind, Arc<Block>)>) -> Vec<(u64, Arc<Block>)> {
        let seed = self.geometry.seed;
        let seal = |(at, (kind, mut block)): (u64, (Kind, Arc<Block>))| {
            // Inodes are summed when they are changed; the others once a transaction, here.
            if kind != Kind::Inode {
                Arc::make_mut(&mut block).seal(seed);
            }
            (at, block)
        };
        let mut sealed: Vec<(u64, Arc<Block>)> = blocks.into_iter().map(seal).collect();
        sealed.sort_unstable_by_key(|(at, _)| *at);
        sealed
    }

    /// Put what was reported since the last commit into the state block.
    fn record_errors(&mut self) -> Result<()> {
        let records = self.reporter.take();
        if records.is_empty() {
            return Ok(());
        }
        let Ok(mut state) = self.read_state() else {
            // The state block itself is unreadable; that has been logged, and there is no other place for it.
            self.reporter.take();
            return Ok(());
        };
        records.into_iter().for_each(|record| state.record(record));
        let geometry = self.geometry;
        let check = move |block: &Block| super::state::State::check(&geometry, block);
        let at = super::layout::STATE_BLOCK;
        let mut block = self.read_meta(at, super::state::EXPECT, &check)?;
        state.encode(Arc::make_mut(&mut block));
        self.running.blocks.insert(at, (Kind::State, block));
        Ok(())
    }
}

impl Commit {
    /// Write it. It is durable when this returns; a failure ends all writing.
    pub fn finish(mut self) -> Result<()> {
        let done = self.write();
        self.is_over = true;
        match &done {
            Ok(()) => self.flight.land(self.number),
            Err(error) => self.fail(error),
        }
        done
    }

    fn write(&self) -> Result<()> {
        if self.blocks.is_empty() && self.revokes.is_empty() {
            return self.flush_data();
        }
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.commit(&self.blocks, &self.revokes, self.time)?;
        self.write_home()?;
        for (at, block) in &self.blocks {
            self.cache.insert(*at, Arc::clone(block));
        }
        self.discard();
        Ok(())
    }

    fn flush_data(&self) -> Result<()> {
        match self.has_data {
            true => self
                .device
                .flush()
                .map_err(|e| device_failure("write", Kind::Data, None, None, &e)),
            false => Ok(()),
        }
    }

    /// Write committed blocks to their places. The next commit's flush makes them durable, before the tail moves.
    fn write_home(&self) -> Result<()> {
        let neighbours = |a: &(u64, Arc<Block>), b: &(u64, Arc<Block>)| a.0 + 1 == b.0;
        let runs = self.blocks.chunk_by(neighbours);
        for run in runs.flat_map(|run| run.chunks(RUN)) {
            let mut bytes = Vec::with_capacity(run.len() * BLOCK_SIZE);
            run.iter()
                .for_each(|(_, block)| bytes.extend_from_slice(&block[..]));
            let at = run[0].0;
            let kind = Kind::of_magic(run[0].1.header().magic).unwrap_or(Kind::Inode);
            let written = self.device.write_blocks(at, &bytes);
            written.map_err(|e| device_failure("write", kind, at, None, &e))?;
        }
        Ok(())
    }

    /// Tell the device about committed frees, before anybody can take the blocks.
    fn discard(&self) {
        for &(at, count) in &self.discards {
            // A discard that fails changes nothing that anybody may rely on.
            if let Err(error) = self.device.discard(at, u64::from(count)) {
                self.reporter.say(&format!(
                    "discard of {count} blocks at {at} failed: {error}"
                ));
            }
        }
    }

    fn fail(&self, error: &Error) {
        // The device may have dropped what it could not write: nothing later can make up for it.
        self.data_is_dirty.store(true, Ordering::Release);
        abort(&self.journal, &self.is_aborted, &self.reporter, error);
        self.flight.fail();
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if !self.is_over {
            self.fail(&Error::Aborted);
        }
    }
}

/// A failed write ends the journal: what was not committed stays so, and no more changes are accepted.
pub(super) fn abort(
    journal: &Mutex<Journal>,
    is_aborted: &AtomicBool,
    reporter: &Reporter,
    error: &Error,
) {
    is_aborted.store(true, Ordering::Release);
    reporter.report(error);
    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(also) = journal.abort(rustix::io::Errno::IO.raw_os_error()) {
        reporter.say(&also.to_string());
    }
}
