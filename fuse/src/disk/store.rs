// SPDX-License-Identifier: Apache-2.0
//! A mounted volume below the level of files: checked metadata blocks, transactions, ordered data.

use super::block::{Block, Expect, Kind};
use super::cache::Cache;
use super::device::BlockDevice;
use super::error::{Error, Result, corrupt, device_failure};
use super::flight::Flight;
use super::geometry::Geometry;
use super::group::{self, Pinned};
use super::inode::{Inode, Slot};
use super::journal::Journal;
use super::layout::{
    INODE_SIZE, INODES_PER_BLOCK, RawSummaryEntry, STATE_BLOCK, SUMMARY_ENTRIES, SUMMARY_START,
};
use super::report::{ErrorPolicy, Reporter};
use super::state::{self, State};
use super::summary::{self, GroupSummary};
use super::superblock::Superblock;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How a volume is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// No changes; the log is replayed all the same (into memory if the device cannot be written).
    pub read_only: bool,
    /// Who mounts: goes into the state block, 32 bytes at most.
    pub writer: String,
    /// What follows a failed check.
    pub errors: ErrorPolicy,
    /// Tell the device which blocks were freed.
    pub discard: bool,
    /// The time, in nanoseconds since 1970.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Takes messages, a line each.
    pub log: Arc<dyn Fn(&str) + Send + Sync>,
    /// Called once at a failure with [`ErrorPolicy::Panic`].
    pub fatal: Arc<dyn Fn() + Send + Sync>,
    /// Bytes of vectors kept in memory at most; larger collections are read at each search.
    pub vector_memory: u64,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            read_only: false,
            writer: concat!("vexfs-fuse ", env!("CARGO_PKG_VERSION")).to_owned(),
            errors: ErrorPolicy::default(),
            discard: false,
            clock: Arc::new(system_time),
            log: Arc::new(|line| eprintln!("{line}")),
            fatal: Arc::new(|| {}),
            vector_memory: 512 << 20,
        }
    }
}

fn system_time() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// A check of a block's ranges.
pub type Check<'a> = &'a dyn Fn(&Block) -> Result<()>;

/// Reading metadata: a [`Store`], or a [`super::Tx`], which sees its own changes.
pub trait MetaRead {
    /// Where things are.
    fn geometry(&self) -> &Geometry;

    /// A metadata block that passed every check. `check` and the checksum run when it comes from the device; place,
    /// magic, owner and generation are compared every time. What depends on the way to the block the caller checks.
    fn read_meta(&self, block: u64, expect: Expect, check: Check<'_>) -> Result<Arc<Block>>;

    /// A block of an inode table, as it is: inodes have their own checksums.
    fn read_itable(&self, block: u64) -> Result<Arc<Block>>;

    /// Log a failure, note it for the state block, and follow `errors=`. The reading functions do so themselves.
    fn report(&self, error: &Error);

    /// [`MetaRead::report`], and the error.
    fn fail<T>(&self, error: Error) -> Result<T> {
        self.report(&error);
        Err(error)
    }

    /// An inode that something names: in use, or the volume is corrupt.
    fn read_inode(&self, ino: u32) -> Result<Inode> {
        match self.read_slot(ino)? {
            Slot::Used(inode) => Ok(*inode),
            Slot::Never | Slot::Freed(_) => {
                let block = self
                    .geometry()
                    .inode_place(ino)
                    .map_or(0, |(block, _)| block);
                self.fail(corrupt(Kind::Inode, block, Some(ino), "in use"))
            }
        }
    }

    /// What the inode's place holds; corruption if there is no such inode.
    fn read_slot(&self, ino: u32) -> Result<Slot> {
        let geometry = self.geometry();
        let Some((block, byte)) = geometry.inode_place(ino) else {
            return self.fail(corrupt(Kind::Inode, None, Some(ino), "range"));
        };
        let entry = self.read_summary(geometry.group_of_inode(ino))?;
        if geometry.index_of_inode(ino) / INODES_PER_BLOCK >= u32::from(entry.itable) {
            return Ok(Slot::Never);
        }
        let table = self.read_itable(block)?;
        let mut bytes = [0; INODE_SIZE];
        bytes.copy_from_slice(&table[byte..byte + INODE_SIZE]);
        Slot::parse(geometry, ino, block, &bytes).or_else(|error| self.fail(error))
    }

    /// Whether an inode of this number is in use; no error if it is not, or cannot be.
    fn inode_in_use(&self, ino: u32) -> Result<bool> {
        Ok(self.geometry().is_inode(ino) && matches!(self.read_slot(ino)?, Slot::Used(_)))
    }

    /// The state block.
    fn read_state(&self) -> Result<State> {
        let geometry = *self.geometry();
        let check = move |block: &Block| State::check(&geometry, block);
        Ok(State::decode(&*self.read_meta(
            STATE_BLOCK,
            state::EXPECT,
            &check,
        )?))
    }

    /// The summary block with this index.
    fn read_summary_block(&self, index: u32) -> Result<Arc<Block>> {
        let geometry = *self.geometry();
        let check = move |block: &Block| summary::check(&geometry, index, block);
        self.read_meta(
            SUMMARY_START + u64::from(index),
            summary::expect(index),
            &check,
        )
    }

    /// A group's entry.
    fn read_summary(&self, group: u32) -> Result<GroupSummary> {
        let (_, byte) = self.geometry().summary_place(group);
        let block = self.read_summary_block(group / SUMMARY_ENTRIES)?;
        Ok(GroupSummary::decode(block.at::<RawSummaryEntry>(byte)))
    }

    /// The group block of an initialised group.
    fn read_group(&self, group: u32) -> Result<Arc<Block>> {
        let geometry = *self.geometry();
        let check = move |block: &Block| group::check(&geometry, group, block);
        self.read_meta(geometry.group_start(group), group::expect(group), &check)
    }
}

/// Whether a block of this kind and owner may be here: check 1 of section 3.
fn is_place(geometry: &Geometry, block: u64, expect: Expect) -> bool {
    match expect.kind {
        Kind::State => block == STATE_BLOCK,
        Kind::Summary => {
            expect.owner < geometry.summary_blocks
                && block == SUMMARY_START + u64::from(expect.owner)
        }
        Kind::Group => {
            expect.owner < geometry.groups && block == geometry.group_start(expect.owner)
        }
        _ => geometry.is_usable(block),
    }
}

/// The running transaction: what finished operations have changed since the last commit.
#[derive(Default)]
pub(super) struct Running {
    pub(super) blocks: HashMap<u64, (Kind, Arc<Block>)>,
    pub(super) revoked: HashSet<u64>,
    pub(super) freed: Vec<(u64, u32)>,
    pub(super) since: Option<Instant>,
}

/// A mounted volume below the level of files. Readers share it; whoever changes it needs it alone.
pub struct Store {
    pub(super) device: Arc<dyn BlockDevice>,
    pub(super) superblock: Superblock,
    pub(super) geometry: Geometry,
    pub(super) options: OpenOptions,
    pub(super) cache: Arc<Cache>,
    pub(super) running: Running,
    pub(super) flight: Arc<Flight>,
    /// Per group: blocks freed since the last commit began.
    pub(super) pinned: HashMap<u32, Box<Pinned>>,
    pub(super) free_blocks: u64,
    pub(super) free_inodes: u64,
    /// None where the volume is mounted read-only.
    pub(super) journal: Option<Arc<Mutex<Journal>>>,
    pub(super) is_aborted: Arc<AtomicBool>,
    pub(super) data_is_dirty: Arc<AtomicBool>,
    pub(super) reporter: Arc<Reporter>,
    /// Counts new generations, so that no two are made from the same bytes.
    pub(super) generations: u64,
}

impl MetaRead for Store {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read_meta(&self, block: u64, expect: Expect, check: Check<'_>) -> Result<Arc<Block>> {
        if !is_place(&self.geometry, block, expect) {
            return self.fail(corrupt(expect.kind, block, expect.ino(), "range"));
        }
        if let Some(known) = self.known(block) {
            check_cached(&known, block, expect).or_else(|error| self.fail(error))?;
            return Ok(known);
        }
        let read = self.read_block(block, expect.kind, expect.ino())?;
        let verdict = read
            .check_header(self.geometry.seed, block, expect)
            .and_then(|()| check(&read));
        verdict.or_else(|error| self.fail(error))?;
        let read = Arc::new(read);
        self.cache.insert(block, read.clone());
        Ok(read)
    }

    fn read_itable(&self, block: u64) -> Result<Arc<Block>> {
        if let Some(known) = self.known(block) {
            return Ok(known);
        }
        let read = Arc::new(self.read_block(block, Kind::Inode, None)?);
        self.cache.insert(block, read.clone());
        Ok(read)
    }

    fn report(&self, error: &Error) {
        self.reporter.report(error);
    }
}

/// The cheap part of the header's checks: a block that two owners name passes for one of them only.
pub(super) fn check_cached(block: &Block, at: u64, expect: Expect) -> Result<()> {
    block.check_magic(at, expect)?;
    block.check_owner(at, expect)
}

impl Store {
    /// A block in memory: of the running transaction, of the one under way, or as it is on the device.
    fn known(&self, block: u64) -> Option<Arc<Block>> {
        let running = self.running.blocks.get(&block);
        running
            .map(|(_, known)| known.clone())
            .or_else(|| self.flight.block(block))
            .or_else(|| self.cache.get(block))
    }

    fn read_block(&self, at: u64, kind: Kind, ino: Option<u32>) -> Result<Block> {
        let mut block = Block::zeroed();
        let read = self.device.read_blocks(at, &mut block[..]);
        read.or_else(|e| self.fail(device_failure("read", kind, at, ino, &e)))?;
        Ok(block)
    }

    /// Read a run of data blocks; `buffer` is whole blocks long.
    pub fn read_data(&self, block: u64, buffer: &mut [u8]) -> Result<()> {
        let read = self.device.read_blocks(block, buffer);
        read.or_else(|e| self.fail(device_failure("read", Kind::Data, block, None, &e)))
    }

    /// Write a run of data blocks, whole blocks long, at once. Every commit makes what was written before durable
    /// before its own commit block (section 11.3, rule 1).
    pub fn write_data(&self, block: u64, bytes: &[u8]) -> Result<()> {
        self.check_writable()?;
        self.data_is_dirty.store(true, Ordering::Release);
        let written = self.device.write_blocks(block, bytes);
        written.or_else(|e| self.fail(device_failure("write", Kind::Data, block, None, &e)))
    }

    /// Refuse changes where there can be none.
    pub fn check_writable(&self) -> Result<()> {
        if self.is_aborted() {
            return Err(Error::Aborted);
        }
        if self.is_read_only() {
            return Err(Error::ReadOnly(self.device.name().to_owned()));
        }
        Ok(())
    }

    /// Whether changes are refused: mounted so, or because of a failure.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.journal.is_none() || self.reporter.is_stopped() || self.is_aborted()
    }

    /// Whether a failed write has ended the journal.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.is_aborted.load(Ordering::Acquire)
    }

    /// Whether there is anything that a commit would make durable.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        let has_data = self.data_is_dirty.load(Ordering::Acquire);
        self.journal.is_some()
            && !self.is_aborted()
            && (self.has_changes() || has_data || self.reporter.has_records())
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.running.blocks.is_empty() || !self.running.revoked.is_empty()
    }

    /// When the first operation of the running transaction finished.
    #[must_use]
    pub fn dirty_since(&self) -> Option<Instant> {
        self.running.since
    }

    /// Whether blocks were freed that can be used only after the next commit: after [`crate::Error::NoSpace`],
    /// commit and try again.
    #[must_use]
    pub fn has_pinned(&self) -> bool {
        let sealed = self.flight.sealed();
        !self.pinned.is_empty() || sealed.is_some_and(|sealed| !sealed.pinned.is_empty())
    }

    /// How many commits are done: what was done after [`Store::commits_begun`] commits had begun is durable when there
    /// are more than that.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.flight.done()
    }

    /// How many commits have begun.
    #[must_use]
    pub fn commits_begun(&self) -> u64 {
        self.flight.begun()
    }

    /// Set an ro_compat feature bit durably: to be done before the first structure that needs it.
    pub fn set_feature(&mut self, ro_compat: u32) -> Result<()> {
        self.check_writable()?;
        if self.superblock.ro_compat() & ro_compat == ro_compat {
            return Ok(());
        }
        let device = Arc::clone(&self.device);
        let done = self.superblock.rewrite(&*device, ro_compat);
        done.or_else(|error| self.fail(error))
    }

    /// Free blocks.
    #[must_use]
    pub fn free_blocks(&self) -> u64 {
        self.free_blocks
    }

    /// Free inodes.
    #[must_use]
    pub fn free_inodes(&self) -> u64 {
        self.free_inodes
    }

    /// The superblock.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// What the volume was opened with.
    #[must_use]
    pub fn options(&self) -> &OpenOptions {
        &self.options
    }
}
