// SPDX-License-Identifier: Apache-2.0
//! Making the running transaction durable (section 11.7).

use super::block::{Block, Kind};
use super::error::{Error, Result, device_failure};
use super::journal::Journal;
use super::layout::BLOCK_SIZE;
use super::store::{MetaRead, Running, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Neighbouring blocks are written to their places in runs of at most this many.
const RUN: usize = 256;

impl Store {
    /// Make every finished operation, and all data written before this call, durable.
    pub fn commit(&mut self) -> Result<()> {
        if self.is_aborted() {
            return Err(Error::Aborted);
        }
        let Some(mut journal) = self.journal.take() else {
            return Ok(());
        };
        let done = self.commit_to(&mut journal);
        self.commits += u64::from(done.is_ok());
        let done = done.or_else(|error| self.abort(&mut journal, error));
        self.journal = Some(journal);
        done
    }

    fn commit_to(&mut self, journal: &mut Journal) -> Result<()> {
        self.record_errors()?;
        if !self.has_changes() {
            // Whatever is still pinned belongs to operations that did not finish.
            self.pinned.clear();
            return self.flush_data();
        }
        let Running {
            blocks,
            revoked,
            freed,
            ..
        } = std::mem::take(&mut self.running);
        let mut sealed: Vec<(u64, Arc<Block>)> = Vec::with_capacity(blocks.len());
        for (at, (kind, mut block)) in blocks {
            // Inodes are summed when they are changed; the others once a transaction, here.
            if kind != Kind::Inode {
                Arc::make_mut(&mut block).seal(self.geometry.seed);
            }
            sealed.push((at, block));
        }
        sealed.sort_unstable_by_key(|(at, _)| *at);
        let mut revokes: Vec<u64> = revoked.into_iter().collect();
        revokes.sort_unstable();
        self.data_is_dirty.store(false, Ordering::Release); // the commit's first flush covers it
        journal.commit(&sealed, &revokes, (self.options.clock)())?;
        self.write_home(&sealed)?;
        for (at, block) in sealed {
            self.cache.insert(at, block);
        }
        self.pinned.clear();
        self.discard(&freed)
    }

    /// Write committed blocks to their places. The next commit's flush makes them durable, before the tail moves.
    fn write_home(&self, blocks: &[(u64, Arc<Block>)]) -> Result<()> {
        let neighbours = |a: &(u64, Arc<Block>), b: &(u64, Arc<Block>)| a.0 + 1 == b.0;
        for run in blocks.chunk_by(neighbours).flat_map(|run| run.chunks(RUN)) {
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

    /// Tell the device about committed frees.
    fn discard(&self, freed: &[(u64, u32)]) -> Result<()> {
        if !self.options.discard {
            return Ok(());
        }
        for &(at, count) in freed {
            // A discard that fails changes nothing that anybody may rely on.
            if let Err(error) = self.device.discard(at, u64::from(count)) {
                self.reporter.say(&format!(
                    "discard of {count} blocks at {at} failed: {error}"
                ));
            }
        }
        Ok(())
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

    /// A failed write ends the journal: what was not committed stays so, and no more changes are accepted.
    pub(super) fn abort(&mut self, journal: &mut Journal, error: Error) -> Result<()> {
        self.is_aborted.store(true, Ordering::Release);
        self.report(&error);
        if let Err(also) = journal.abort(rustix::io::Errno::IO.raw_os_error()) {
            self.reporter.say(&also.to_string());
        }
        Err(error)
    }
}
