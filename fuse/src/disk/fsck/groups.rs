// SPDX-License-Identifier: Apache-2.0
//! Summary, groups, and what the bitmaps say.

use super::Checker;
use crate::disk::group::{self, Bitmap};
use crate::disk::summary::GroupSummary;
use crate::disk::{Block, MetaRead, Result};

impl Checker {
    /// The group's block, or what it would be if it were written.
    pub(super) fn group(&self, group: u32, entry: GroupSummary) -> Result<Block> {
        match entry.initialised {
            true => Ok((*self.raw.read_group(group)?).clone()),
            false => Ok(group::fresh(self.raw.geometry(), group)),
        }
    }

    /// Checks the summary and all groups. Whether the rest can be checked by them.
    pub(super) fn groups(&mut self) -> Result<bool> {
        let geometry = *self.raw.geometry();
        let mut usable = true;
        for group in 0..geometry.groups {
            let entry = match self.raw.read_summary(group) {
                Ok(entry) => entry,
                Err(error) => {
                    self.note("summary-valid", error)?;
                    return Ok(false);
                }
            };
            let block = match self.group(group, entry) {
                Ok(block) => block,
                Err(error) => {
                    self.note("group-valid", error)?;
                    usable = false;
                    continue;
                }
            };
            let (at, _) = geometry.summary_place(group);
            if !entry.initialised && entry.itable != 0 {
                let words = format!("group {group} is not initialised but has inode tables");
                self.find("summary-valid", at, None, words);
                usable = false;
            }
            let free = Bitmap::Blocks.clear_bits(&block);
            if free != entry.free_blocks {
                let words = format!(
                    "group {group} has {free} free blocks, the summary says {}",
                    entry.free_blocks
                );
                self.find("summary-count", at, None, words);
            }
            let free = Bitmap::Inodes.clear_bits(&block);
            if free != u32::from(entry.free_inodes) {
                let words = format!(
                    "group {group} has {free} free inodes, the summary says {}",
                    entry.free_inodes
                );
                self.find("summary-count", at, None, words);
            }
        }
        Ok(usable)
    }

    /// Compares the bitmaps with what is owned and reached. One finding a group and direction.
    pub(super) fn bitmaps(&mut self) -> Result<()> {
        let geometry = *self.raw.geometry();
        for group in 0..geometry.groups {
            let entry = self.raw.read_summary(group)?;
            let block = self.group(group, entry)?;
            let start = geometry.group_start(group);
            let (mut lost, mut missing) = (Vec::new(), Vec::new());
            for bit in 0..geometry.group_len(group) {
                let at = start + u64::from(bit);
                match (Bitmap::Blocks.get(&block, bit), self.owned.get(at)) {
                    (true, false) if geometry.is_usable(at) => lost.push(at),
                    (false, true) => missing.push(at),
                    _ => {}
                }
            }
            if let Some(first) = lost.first() {
                let words = format!("{} blocks in use that nothing owns", lost.len());
                self.find("bitmap-block", *first, None, words);
            }
            if let Some(first) = missing.first() {
                let words = format!("{} blocks free that something owns", missing.len());
                self.find("bitmap-block", *first, None, words);
            }
        }
        Ok(())
    }
}
