// SPDX-License-Identifier: Apache-2.0
//! Summary, groups, and what the bitmaps say.

use super::Checker;
use crate::disk::group::{self, Bitmap};
use crate::disk::layout::{INODE_SIZE, INODES_PER_BLOCK, SUMMARY_ENTRIES};
use crate::disk::summary::GroupSummary;
use crate::disk::{Block, Geometry, MetaRead, Result, Slot};

/// A slot of an inode table's block.
pub(super) fn slot(geometry: &Geometry, (ino, table): (u32, u64), block: &Block) -> Result<Slot> {
    let byte = (geometry.index_of_inode(ino) % INODES_PER_BLOCK) as usize * INODE_SIZE;
    let mut bytes = [0; INODE_SIZE];
    bytes.copy_from_slice(&block[byte..byte + INODE_SIZE]);
    Slot::parse(geometry, ino, table, &bytes)
}

/// The entry of a group of which nothing is in use.
fn unused(geometry: &Geometry, group: u32) -> GroupSummary {
    let fresh = group::fresh(geometry, group);
    GroupSummary {
        free_blocks: Bitmap::Blocks.clear_bits(&fresh),
        // At most 8192 bits.
        free_inodes: Bitmap::Inodes.clear_bits(&fresh) as u16,
        itable: 0,
        initialised: false,
    }
}

impl Checker {
    /// The group's entry, or what it should have been.
    pub(super) fn entry(&self, group: u32) -> Result<GroupSummary> {
        match self.plan.entries.get(&group) {
            Some(entry) => Ok(*entry),
            None => self.raw.read_summary(group),
        }
    }

    /// The group's block, or what it would be if it were written; none if it is broken.
    pub(super) fn group(&self, group: u32) -> Result<Option<Block>> {
        if self.plan.groups.contains(&group) {
            return Ok(None);
        }
        Ok(Some(match self.entry(group)?.initialised {
            true => (*self.raw.read_group(group)?).clone(),
            false => group::fresh(self.raw.geometry(), group),
        }))
    }

    /// Checks the summary and all groups.
    pub(super) fn groups(&mut self) -> Result<()> {
        let geometry = *self.raw.geometry();
        for index in 0..geometry.summary_blocks {
            if let Err(error) = self.raw.read_summary_block(index) {
                self.note("summary-valid", error)?;
                self.plan.summaries.insert(index);
            }
        }
        for group in 0..geometry.groups {
            let (at, _) = geometry.summary_place(group);
            let index = group / SUMMARY_ENTRIES;
            let mut entry = match self.plan.summaries.contains(&index) {
                true => None,
                false => Some(self.raw.read_summary(group)?),
            };
            if let Some(known) = entry.filter(|known| !self.fits(group, *known)) {
                let words = match known.initialised {
                    true => format!("group {group} has fewer inode tables than inodes in use"),
                    false => format!("group {group} is said to be unused, but is not"),
                };
                self.find("summary-valid", at, None, words);
                entry = None;
            }
            let entry = match entry {
                Some(entry) => entry,
                None => {
                    let guess = self.guess(group)?;
                    self.plan.entries.insert(group, guess);
                    guess
                }
            };
            if !entry.initialised {
                continue;
            }
            match self.raw.read_group(group) {
                Ok(block) => self.compare(group, at, &block, entry),
                Err(error) => {
                    self.note("group-valid", error)?;
                    self.plan.groups.insert(group);
                    let guess = self.guess(group)?;
                    let itable = guess.itable.max(entry.itable);
                    let entry = GroupSummary { itable, ..entry };
                    self.plan.entries.insert(group, entry);
                }
            }
        }
        Ok(())
    }

    /// Whether an entry can be right, as far as it goes by itself and by the group's block.
    fn fits(&self, group: u32, entry: GroupSummary) -> bool {
        let geometry = self.raw.geometry();
        if !entry.initialised {
            let written = group == 0 || group::backups(geometry, group).next().is_some();
            return !written && entry == unused(geometry, group);
        }
        let Ok(block) = self.raw.read_group(group) else {
            return true;
        };
        let ready = u32::from(entry.itable) * INODES_PER_BLOCK;
        (ready..geometry.inodes_per_group).all(|bit| !Bitmap::Inodes.get(&block, bit))
    }

    /// What the entry should be, by the group's block and its inode tables. Counts are set later.
    fn guess(&self, group: u32) -> Result<GroupSummary> {
        let geometry = *self.raw.geometry();
        let block = self.sound(self.raw.read_group(group))?;
        let mut itable = 0;
        for index in (0..geometry.itable_blocks).rev() {
            let first = index * INODES_PER_BLOCK;
            let bits = first..first + INODES_PER_BLOCK;
            let named = block
                .as_ref()
                .is_some_and(|block| bits.clone().any(|bit| Bitmap::Inodes.get(block, bit)));
            if named || self.has_inodes(group, index)? {
                itable = index + 1;
                break;
            }
        }
        let written = group == 0 || group::backups(&geometry, group).next().is_some();
        Ok(GroupSummary {
            // At most 1024.
            itable: itable as u16,
            initialised: written || itable > 0 || block.is_some(),
            ..unused(&geometry, group)
        })
    }

    /// Whether a block of an inode table has an inode of this volume.
    fn has_inodes(&self, group: u32, index: u32) -> Result<bool> {
        let geometry = *self.raw.geometry();
        let at = geometry.group_start(group) + 1 + u64::from(index);
        let table = self.raw.read_itable(at)?;
        let first = group * geometry.inodes_per_group + index * INODES_PER_BLOCK + 1;
        Ok((first..first + INODES_PER_BLOCK).any(|ino| {
            matches!(
                slot(&geometry, (ino, at), &table),
                Ok(Slot::Used(_) | Slot::Freed(_))
            )
        }))
    }

    fn compare(&mut self, group: u32, at: u64, block: &Block, entry: GroupSummary) {
        if self.plan.entries.contains_key(&group) {
            return;
        }
        let free = Bitmap::Blocks.clear_bits(block);
        if free != entry.free_blocks {
            let words = format!(
                "group {group} has {free} free blocks, the summary says {}",
                entry.free_blocks
            );
            self.find("summary-count", at, None, words);
        }
        let free = Bitmap::Inodes.clear_bits(block);
        if free != u32::from(entry.free_inodes) {
            let words = format!(
                "group {group} has {free} free inodes, the summary says {}",
                entry.free_inodes
            );
            self.find("summary-count", at, None, words);
        }
    }

    /// Compares the bitmaps with what is owned. One finding a group and direction.
    pub(super) fn bitmaps(&mut self) -> Result<()> {
        let geometry = *self.raw.geometry();
        for group in 0..geometry.groups {
            let Some(block) = self.group(group)? else {
                continue;
            };
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
