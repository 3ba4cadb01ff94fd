// SPDX-License-Identifier: Apache-2.0
//! One operation that changes metadata: it joins the running transaction whole, or not at all.

use super::block::{Block, Expect, Kind};
use super::error::{Error, Result};
use super::geometry::Geometry;
use super::inode::Inode;
use super::journal::Journal;
use super::layout::{INODE_SIZE, RawSummaryEntry, STATE_BLOCK};
use super::state::{self, State};
use super::store::{Check, MetaRead, Store, check_cached};
use super::summary::GroupSummary;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// Metadata blocks that one operation may change, on a short journal and on others (section 11.4).
const CREDITS_SHORT: usize = 48;
const CREDITS: usize = 200;
/// Revoke records after which the running transaction is committed.
const REVOKED: usize = 4 * super::journal::format::REVOKES;

/// An operation in progress. Dropped without [`Tx::finish`], it has not happened.
pub struct Tx<'a> {
    pub(super) store: &'a mut Store,
    staged: HashMap<u64, (Kind, Arc<Block>)>,
    forgotten: HashSet<u64>,
    pub(super) freed: Vec<(u64, u32)>,
    pub(super) free_blocks: i64,
    pub(super) free_inodes: i64,
    credits: usize,
}

impl Store {
    /// Most blocks that one operation may change.
    #[must_use]
    pub fn max_credits(&self) -> usize {
        if self.geometry.journal_blocks < 1024 {
            CREDITS_SHORT
        } else {
            CREDITS
        }
    }

    /// Begin an operation that changes at most `credits` metadata blocks. The running transaction is committed
    /// first if it would take more than a third of the log.
    pub fn begin(&mut self, credits: usize) -> Result<Tx<'_>> {
        self.check_writable()?;
        if credits > self.max_credits() {
            return Err(Error::TooLarge);
        }
        let (blocks, revoked) = (
            self.running.blocks.len() + credits,
            self.running.revoked.len(),
        );
        let third = self.geometry.journal_blocks as usize / 3;
        if Journal::blocks_needed(blocks, revoked + credits) > third || revoked > REVOKED {
            self.commit()?;
        }
        Ok(Tx {
            store: self,
            staged: HashMap::new(),
            forgotten: HashSet::new(),
            freed: Vec::new(),
            free_blocks: 0,
            free_inodes: 0,
            credits,
        })
    }
}

impl MetaRead for Tx<'_> {
    fn geometry(&self) -> &Geometry {
        &self.store.geometry
    }

    fn read_meta(&self, block: u64, expect: Expect, check: Check<'_>) -> Result<Arc<Block>> {
        match self.staged.get(&block) {
            Some((_, staged)) => {
                check_cached(staged, block, expect).or_else(|error| self.fail(error))?;
                Ok(staged.clone())
            }
            None => self.store.read_meta(block, expect, check),
        }
    }

    fn read_itable(&self, block: u64) -> Result<Arc<Block>> {
        match self.staged.get(&block) {
            Some((_, staged)) => Ok(staged.clone()),
            None => self.store.read_itable(block),
        }
    }

    fn report(&self, error: &Error) {
        self.store.report(error);
    }
}

impl Tx<'_> {
    /// A metadata block to be changed in this operation: a copy that nobody else sees before [`Tx::finish`].
    pub fn get_mut(&mut self, block: u64, expect: Expect, check: Check<'_>) -> Result<&mut Block> {
        let known = self.read_meta(block, expect, check)?;
        Ok(self.stage(block, expect.kind, known))
    }

    /// A metadata block made anew: zero but for the header.
    pub fn new_meta(&mut self, block: u64, expect: Expect) -> &mut Block {
        let mut fresh = Block::zeroed();
        fresh.set_header(block, expect);
        self.stage_fresh(block, expect.kind, fresh)
    }

    pub(super) fn stage_fresh(&mut self, block: u64, kind: Kind, fresh: Block) -> &mut Block {
        self.staged.remove(&block);
        self.stage(block, kind, Arc::new(fresh))
    }

    fn stage(&mut self, block: u64, kind: Kind, content: Arc<Block>) -> &mut Block {
        let entry = self.staged.entry(block).or_insert((kind, content));
        Arc::make_mut(&mut entry.1)
    }

    /// Blocks that may still be changed.
    #[must_use]
    pub fn credits_left(&self) -> usize {
        self.credits.saturating_sub(self.staged.len())
    }

    /// Read a run of data blocks; see [`Store::read_data`].
    pub fn read_data(&self, block: u64, buffer: &mut [u8]) -> Result<()> {
        self.store.read_data(block, buffer)
    }

    /// Write a run of data blocks at once; see [`Store::write_data`].
    pub fn write_data(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        self.store.write_data(block, bytes)
    }

    /// The store below, which does not see this operation yet.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.store
    }

    /// The time of the volume's clock.
    #[must_use]
    pub fn now(&self) -> i64 {
        (self.store.options.clock)()
    }

    /// Write an inode.
    pub fn write_inode(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        let bytes = inode.encode(self.store.geometry.seed, ino);
        self.write_slot(ino, &bytes)
    }

    pub(super) fn write_slot(&mut self, ino: u32, bytes: &[u8; INODE_SIZE]) -> Result<()> {
        let Some((block, byte)) = self.store.geometry.inode_place(ino) else {
            return Err(crate::Error::Stale.into());
        };
        let table = self.read_itable(block)?;
        let table = self.stage(block, Kind::Inode, table);
        table[byte..byte + INODE_SIZE].copy_from_slice(bytes);
        Ok(())
    }

    /// Change the state block.
    pub fn write_state(&mut self, change: &mut dyn FnMut(&mut State)) -> Result<()> {
        let mut state = self.read_state()?;
        change(&mut state);
        // read_state has checked it.
        state.encode(self.get_mut(STATE_BLOCK, state::EXPECT, &|_| Ok(()))?);
        Ok(())
    }

    pub(super) fn write_summary(&mut self, group: u32, entry: GroupSummary) -> Result<()> {
        let (at, byte) = self.store.geometry.summary_place(group);
        let index = group / super::layout::SUMMARY_ENTRIES;
        self.read_summary_block(index)?; // checks it
        let block = self.get_mut(at, super::summary::expect(index), &|_| Ok(()))?;
        *block.at_mut::<RawSummaryEntry>(byte) = entry.encode();
        Ok(())
    }

    /// Forget a metadata block that was freed: its content, and its copies in the log.
    pub(super) fn forget(&mut self, block: u64) {
        self.staged.remove(&block);
        self.forgotten.insert(block);
    }

    /// The operation has succeeded: it joins the running transaction.
    pub fn finish(self) -> Result<()> {
        if self.staged.len() > self.credits {
            return Err(Error::TooLarge);
        }
        if self.staged.is_empty() && self.forgotten.is_empty() {
            return Ok(());
        }
        let store = self.store;
        for block in self.forgotten {
            store.running.blocks.remove(&block);
            store.running.revoked.insert(block);
            store.cache.forget(block);
        }
        store.running.blocks.extend(self.staged);
        store.running.freed.extend(self.freed);
        store.running.since.get_or_insert_with(Instant::now);
        store.free_blocks = store.free_blocks.saturating_add_signed(self.free_blocks);
        store.free_inodes = store.free_inodes.saturating_add_signed(self.free_inodes);
        Ok(())
    }
}
