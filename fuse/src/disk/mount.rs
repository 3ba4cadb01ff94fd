// SPDX-License-Identifier: Apache-2.0
//! Opening and closing a volume (section 13).

use super::block::Kind;
use super::cache::Cache;
use super::commit::abort;
use super::device::{BlockDevice, OverlayDevice};
use super::error::{Error, Result, corrupt};
use super::flight::Flight;
use super::inode::{FLAG_ORPHAN, FileType};
use super::journal::{self, Journal, Place};
use super::layout::{RO_COMPAT_KNOWN, ROOT_INO, RawSummaryEntry, SUMMARY_ENTRIES};
use super::report::Reporter;
use super::state::{CLEAN, ErrorRecord};
use super::store::{MetaRead, OpenOptions, Running, Store};
use super::summary::GroupSummary;
use super::superblock::Superblock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

impl Store {
    /// Open a volume: superblock, replay, state, summary, root; for writing, CLEAN is cleared durably.
    /// Orphans are the caller's.
    pub fn open(device: Arc<dyn BlockDevice>, options: OpenOptions) -> Result<Store> {
        let first = Superblock::read(&*device)?;
        if device.is_read_only() && !options.read_only {
            return Err(Error::ReadOnly(device.name().to_owned()));
        }
        if !options.read_only {
            refuse_unknown(&first)?;
        }
        let device: Arc<dyn BlockDevice> = if device.is_read_only() {
            Arc::new(OverlayDevice::new(device))
        } else {
            device
        };
        let place = Place::of(&first);
        let replayed = journal::recover(&*device, &place, &first.geometry())?;
        let superblock = Superblock::read(&*device)?;
        let reporter = Arc::new(Reporter::new(device.name(), &options));
        if replayed != 0 {
            reporter.say(&format!(
                "{replayed} transactions were replayed from the journal"
            ));
        }
        let mut store = Store {
            geometry: superblock.geometry(),
            superblock,
            reporter,
            device,
            options,
            cache: Arc::new(Cache::default()),
            running: Running::default(),
            flight: Arc::new(Flight::default()),
            pinned: HashMap::new(),
            free_blocks: 0,
            free_inodes: 0,
            journal: None,
            is_aborted: Arc::default(),
            data_is_dirty: Arc::default(),
            generations: 0,
        };
        store.read_state()?;
        store.sum_up()?;
        store.check_root()?;
        if !store.options.read_only {
            store.set_read_write()?;
        }
        Ok(store)
    }

    /// Read the whole summary and add it up.
    fn sum_up(&mut self) -> Result<()> {
        let (mut blocks, mut inodes) = (0, 0);
        for index in 0..self.geometry.summary_blocks {
            let block = self.read_summary_block(index)?;
            for slot in 0..super::summary::entries(&self.geometry, index).min(SUMMARY_ENTRIES) {
                let raw: &RawSummaryEntry = block.at(0x20 + slot as usize * 8);
                let entry = GroupSummary::decode(raw);
                blocks += u64::from(entry.free_blocks);
                inodes += u64::from(entry.free_inodes);
            }
        }
        (self.free_blocks, self.free_inodes) = (blocks, inodes);
        Ok(())
    }

    fn check_root(&self) -> Result<()> {
        let root = self.read_inode(ROOT_INO)?;
        let block = self
            .geometry
            .inode_place(ROOT_INO)
            .map_or(0, |(block, _)| block);
        let bad = |field: &str| self.fail(corrupt(Kind::Inode, block, Some(ROOT_INO), field));
        if root.file_type() != FileType::Directory {
            return bad("mode");
        }
        if root.nlink < 2 {
            return bad("nlink");
        }
        if root.parent != ROOT_INO {
            return bad("parent");
        }
        if root.has(FLAG_ORPHAN) {
            return bad("flags");
        }
        Ok(())
    }

    /// Accept changes from now on: a transaction that clears CLEAN and counts the mount is durable on return.
    pub fn set_read_write(&mut self) -> Result<()> {
        if self.journal.is_some() {
            return Ok(());
        }
        if self.device.is_read_only() || self.is_aborted() || self.reporter.is_stopped() {
            return Err(Error::ReadOnly(self.device.name().to_owned()));
        }
        refuse_unknown(&self.superblock)?;
        self.superblock.refresh_backups(&*self.device)?;
        let journal = Journal::open(self.device.clone(), Place::of(&self.superblock))?;
        let errno = journal.errno();
        let now = (self.options.clock)();
        let writer = self.options.writer.clone();
        if errno != 0 {
            self.reporter.say(&format!(
                "the journal was aborted by errno {}",
                errno.unsigned_abs()
            ));
        }
        let journal = Arc::new(Mutex::new(journal));
        self.journal = Some(Arc::clone(&journal));
        let start = self.geometry.journal_start;
        let done = self.change_state(&mut |state| {
            state.flags &= !CLEAN;
            state.mount_count = state.mount_count.wrapping_add(1);
            state.mount_time = now;
            state.writer.clone_from(&writer);
            if errno != 0 {
                let (errno, place) = (errno.unsigned_abs(), Kind::Journal.name().to_owned());
                state.record(ErrorRecord {
                    time: now,
                    block: start,
                    ino: 0,
                    errno,
                    place,
                });
            }
        });
        if let Err(error) = done {
            self.journal = None;
            return Err(error);
        }
        if errno != 0 {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.clear_errno()?;
        }
        Ok(())
    }

    /// Change the state block in a transaction of its own, durable on return.
    fn change_state(&mut self, change: &mut dyn FnMut(&mut super::state::State)) -> Result<()> {
        let mut tx = self.begin(1)?;
        tx.write_state(change)?;
        tx.finish()?;
        self.commit()
    }

    /// Commit everything, note the unmount (CLEAN, unless orphans remain), empty the log; no changes from now on.
    pub fn set_read_only(&mut self) -> Result<()> {
        if self.journal.is_none() {
            return Ok(());
        }
        if self.is_aborted() {
            return Err(Error::Aborted);
        }
        self.commit()?;
        if !self.reporter.is_stopped() {
            let now = (self.options.clock)();
            self.change_state(&mut |state| {
                if state.orphan_head == 0 {
                    state.flags |= CLEAN;
                }
                state.write_time = now;
            })?;
        }
        let Some(journal) = self.journal.take() else {
            return Ok(());
        };
        let mut locked = journal.lock().unwrap_or_else(PoisonError::into_inner);
        let done = locked.checkpoint();
        drop(locked);
        done.inspect_err(|error| abort(&journal, &self.is_aborted, &self.reporter, error))
    }

    /// Unmount: [`Store::set_read_only`]. The store can still be read.
    pub fn close(&mut self) -> Result<()> {
        self.set_read_only()
    }
}

fn refuse_unknown(superblock: &Superblock) -> Result<()> {
    match superblock.ro_compat() & !RO_COMPAT_KNOWN {
        0 => Ok(()),
        bits => Err(Error::ReadOnly(format!(
            "unknown ro_compat features {bits:#x}"
        ))),
    }
}
