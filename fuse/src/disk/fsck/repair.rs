// SPDX-License-Identifier: Apache-2.0
//! Repair: what a killed writer leaves (a log, orphans), copies, and counts that follow from what was seen.

use std::sync::Arc;

use super::{Checker, Report, examine};
use crate::disk::device::BlockDevice;
use crate::disk::error::device_failure;
use crate::disk::group::Bitmap;
use crate::disk::layout::{INODE_SIZE, RawSummaryEntry, STATE_BLOCK, SUMMARY_ENTRIES};
use crate::disk::state::{self, CLEAN, ERROR};
use crate::disk::summary::GroupSummary;
use crate::disk::{Block, DiskVolume, Kind, MetaRead, OpenOptions, Result, Superblock};
use crate::types::AtimePolicy;

/// What follows from the rest, so that it can be set without a decision.
const COUNTS: [&str; 5] = [
    "summary-count",
    "bitmap-block",
    "inode-nlink",
    "inode-blocks",
    "dir-count",
];
const BACKUP: &str = "sb-backup";
const ERRORS: &str = "state-error";

/// Checks the volume on `device`, replays its log, cleans its orphans and repairs what can be. Returns what was found
/// at first, and what is left. `log` is told what was done.
///
/// If anything is wrong but copies and counts, everything is left as it is: a count that follows from damage is no
/// repair.
///
/// # Errors
/// Reading or writing failed, or it is not a VexFS volume that this code knows.
pub fn repair(device: Arc<dyn BlockDevice>, log: &dyn Fn(&str)) -> Result<(Report, Report)> {
    let (first, checker) = examine(Arc::clone(&device))?;
    let has = |name: &str| first.findings.iter().any(|finding| finding.name == name);
    let light = first
        .findings
        .iter()
        .all(|finding| COUNTS.contains(&finding.name) || [BACKUP, ERRORS].contains(&finding.name));
    let Some(checker) = checker.filter(|_| light) else {
        return Ok((first.clone(), first));
    };
    if has(BACKUP) {
        Superblock::read(&*device)?.write_backups(&*device)?;
        log("sb-backup: written anew");
    }
    if COUNTS.into_iter().any(has) {
        checker.set_counts()?;
        log("counts and bitmaps: set");
    }
    if first.pending > 0 {
        let options = OpenOptions {
            writer: "fsck.vexfs".to_owned(),
            ..OpenOptions::default()
        };
        DiskVolume::open(Arc::clone(&device), options, AtimePolicy::Never)?.close()?;
        log(&format!("orphan-pending: {} inodes cleaned", first.pending));
    }
    if has(ERRORS) {
        checker.clear_error()?;
        log("state-error: cleared");
    }
    checker.flush()?;
    let (last, _) = examine(device)?;
    Ok((first, last))
}

/// The log was replayed: blocks can be written in their places. Each of these writes may be done again.
impl Checker {
    fn write(&self, at: u64, kind: Kind, block: &Block) -> Result<()> {
        let done = self.raw.device.write_blocks(at, &block[..]);
        done.map_err(|error| device_failure("write", kind, at, None, &error))
    }

    fn flush(&self) -> Result<()> {
        let done = self.raw.device.flush();
        done.map_err(|error| device_failure("write", Kind::State, STATE_BLOCK, None, &error))
    }

    /// Clears ERROR and its records.
    fn clear_error(&self) -> Result<()> {
        let mut state = self.raw.read_state()?;
        state.flags = state.flags & !ERROR | CLEAN;
        state.error_count = 0;
        (state.first_error, state.last_error) = Default::default();
        state.check_time = (OpenOptions::default().clock)();
        let block = self
            .raw
            .read_meta(STATE_BLOCK, state::EXPECT, &|_| Ok(()))?;
        let mut block = (*block).clone();
        state.encode(&mut block);
        block.seal(self.raw.geometry().seed);
        self.write(STATE_BLOCK, Kind::State, &block)
    }

    fn set_counts(&self) -> Result<()> {
        for (ino, known) in &self.inodes {
            let mut inode = known.inode.clone();
            inode.nlink = known.nlink.unwrap_or(inode.nlink);
            inode.blocks = known.blocks;
            if let Some(entries) = known.entries {
                inode.special[..4].copy_from_slice(&entries.to_le_bytes());
            }
            if let Some((at, byte)) = self.raw.geometry().inode_place(*ino)
                && inode != known.inode
            {
                let mut table = (*self.raw.read_itable(at)?).clone();
                let bytes = inode.encode(self.raw.geometry().seed, *ino);
                table[byte..byte + INODE_SIZE].copy_from_slice(&bytes);
                self.write(at, Kind::Inode, &table)?;
            }
        }
        (0..self.raw.geometry().groups).try_for_each(|group| self.set_group(group))
    }

    fn set_group(&self, group: u32) -> Result<()> {
        let geometry = *self.raw.geometry();
        let entry = self.raw.read_summary(group)?;
        let old = self.group(group, entry)?;
        let (mut block, start) = (old.clone(), geometry.group_start(group));
        for bit in 0..geometry.group_len(group) {
            let at = start + u64::from(bit);
            if geometry.is_usable(at) {
                Bitmap::Blocks.set(&mut block, bit, self.owned.get(at));
            }
        }
        let mut right = GroupSummary {
            free_blocks: Bitmap::Blocks.clear_bits(&block),
            // At most 8192 bits.
            free_inodes: Bitmap::Inodes.clear_bits(&block) as u16,
            ..entry
        };
        if block[..] != old[..] {
            block.seal(geometry.seed);
            self.write(start, Kind::Group, &block)?;
            right.initialised = true;
        }
        if right != entry {
            let index = group / SUMMARY_ENTRIES;
            let (at, byte) = geometry.summary_place(group);
            let mut summary = (*self.raw.read_summary_block(index)?).clone();
            *summary.at_mut::<RawSummaryEntry>(byte) = right.encode();
            summary.seal(geometry.seed);
            self.write(at, Kind::Summary, &summary)?;
        }
        Ok(())
    }
}
