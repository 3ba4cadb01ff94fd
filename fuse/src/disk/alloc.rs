// SPDX-License-Identifier: Apache-2.0
//! Allocating and freeing blocks and inodes. Which ones are taken is policy; the bitmaps and counts are the format.

use super::block::{Block, Expect, Kind};
use super::error::{Result, corrupt};
use super::group::{self, Bitmap, Pinned};
use super::hash::siphash24;
use super::inode::{Inode, Slot};
use super::layout::INODES_PER_BLOCK;
use super::store::MetaRead;
use super::summary::GroupSummary;
use super::tx::Tx;
use std::sync::Arc;

/// Groups that are searched for a run of the full length before a shorter one is taken.
const SEARCHED: usize = 16;
/// A run of this length is as good as any longer one.
const LONG: u32 = 512;

impl Tx<'_> {
    /// Allocate a run of 1 to `want` blocks in one group, near `goal` (0: anywhere).
    pub fn alloc_blocks(&mut self, goal: u64, want: u32) -> Result<(u64, u32)> {
        let geometry = self.store.geometry;
        let want = want.max(1);
        let (first, near) = match geometry.group_of_block(goal) {
            Some(group) => (group, Some(geometry.offset_in_group(goal))),
            None => (0, None),
        };
        let mut best: Option<(u32, u32, u32)> = None; // group, offset, length
        let mut searched = 0;
        for step in 0..geometry.groups {
            let group = wrapped(first, step, geometry.groups);
            let entry = self.read_summary(group)?;
            if entry.free_blocks == 0 {
                continue;
            }
            let near = near.filter(|_| step == 0);
            if let Some((offset, len)) = self.find_run(group, entry, near, want)? {
                if best.is_none_or(|(.., longest)| len > longest) {
                    best = Some((group, offset, len));
                }
                searched += 1;
                // What continues a file where it ends is better than a longer run elsewhere.
                if near == Some(offset) || len >= want.min(LONG) || searched >= SEARCHED {
                    break;
                }
            }
        }
        let Some((group, offset, len)) = best else {
            return Err(crate::Error::NoSpace.into());
        };
        self.mark(group, offset, len, true)?;
        Ok((geometry.group_start(group) + u64::from(offset), len))
    }

    /// Allocate a block for metadata and make it: zero but for the header.
    pub fn alloc_meta(&mut self, goal: u64, expect: Expect) -> Result<u64> {
        let (block, _) = self.alloc_blocks(goal, 1)?;
        self.new_meta(block, expect);
        Ok(block)
    }

    /// Free a run of data blocks in one group. They are not used again before the commit.
    pub fn free_blocks(&mut self, start: u64, len: u32) -> Result<()> {
        let geometry = self.store.geometry;
        if !geometry.is_usable_run(start, len) {
            return self.fail(corrupt(Kind::Data, start, None, "range"));
        }
        // A usable run is in a group.
        let group = geometry
            .group_of_block(start)
            .ok_or(crate::Error::InvalidArgument)?;
        let offset = geometry.offset_in_group(start);
        self.mark(group, offset, len, false)?;
        let pinned = self.store.pinned.entry(group).or_default();
        (offset..offset + len).for_each(|bit| pinned.set(bit));
        self.freed.push((start, len));
        Ok(())
    }

    /// Free a metadata block; its copies in the log are revoked.
    pub fn free_meta(&mut self, block: u64) -> Result<()> {
        self.free_blocks(block, 1)?;
        self.forget(block);
        Ok(())
    }

    /// Allocate an inode near its parent: its number and generation. It must be written in the same operation.
    pub fn alloc_inode(&mut self, parent: u32, _dir: bool) -> Result<(u32, u32)> {
        let geometry = self.store.geometry;
        let first = if geometry.is_inode(parent) {
            geometry.group_of_inode(parent)
        } else {
            0
        };
        for step in 0..geometry.groups {
            let group = wrapped(first, step, geometry.groups);
            let entry = self.read_summary(group)?;
            if entry.free_inodes != 0 {
                return self.take_inode(group, entry);
            }
        }
        Err(crate::Error::NoSpace.into())
    }

    /// Free an inode: its generation stays in its place.
    pub fn free_inode(&mut self, ino: u32) -> Result<()> {
        let geometry = self.store.geometry;
        let generation = self.read_inode(ino)?.generation;
        let (group, bit) = (geometry.group_of_inode(ino), geometry.index_of_inode(ino));
        let mut entry = self.read_summary(group)?;
        let bitmap = self.read_bitmaps(group, entry)?;
        let is_full = u32::from(entry.free_inodes) >= geometry.inodes_per_group;
        if !Bitmap::Inodes.get(&bitmap, bit) || is_full {
            let at = geometry.group_start(group);
            return self.fail(corrupt(Kind::Group, at, None, "inode_bitmap"));
        }
        entry.free_inodes += 1;
        Bitmap::Inodes.set(self.change_bitmaps(group, entry)?, bit, false);
        self.write_summary(group, entry)?;
        self.write_slot(ino, &Inode::encode_freed(geometry.seed, ino, generation))?;
        self.free_inodes += 1;
        Ok(())
    }

    fn take_inode(&mut self, group: u32, mut entry: GroupSummary) -> Result<(u32, u32)> {
        let geometry = self.store.geometry;
        let bitmap = self.read_bitmaps(group, entry)?;
        let ready = u32::from(entry.itable) * INODES_PER_BLOCK;
        let at = geometry.group_start(group);
        let found = Bitmap::Inodes.first_clear(&bitmap, None, 0, geometry.inodes_per_group);
        // What is free beyond the first block not initialised cannot be: inodes are taken in order.
        let Some(bit) = found.filter(|&bit| bit <= ready) else {
            return self.fail(corrupt(Kind::Group, at, None, "inode_bitmap"));
        };
        let ino = group * geometry.inodes_per_group + bit + 1;
        let old = if bit == ready {
            let block = at + 1 + u64::from(bit / INODES_PER_BLOCK);
            self.stage_fresh(block, Kind::Inode, Block::zeroed());
            entry.itable += 1;
            Slot::Never
        } else {
            self.read_slot(ino)?
        };
        let generation = match old {
            Slot::Never => self.random_generation(ino),
            Slot::Freed(generation) => generation.wrapping_add(1),
            Slot::Used(_) => {
                return self.fail(corrupt(Kind::Group, at, None, "inode_bitmap"));
            }
        };
        entry.free_inodes -= 1;
        Bitmap::Inodes.set(self.change_bitmaps(group, entry)?, bit, true);
        entry.initialised = true;
        self.write_summary(group, entry)?;
        self.free_inodes -= 1;
        Ok((ino, generation))
    }

    /// Different from what the same inode number had in any other life, as far as 32 bits go; the same again with
    /// the same volume, clock and operations.
    fn random_generation(&mut self, ino: u32) -> u32 {
        self.store.generations += 1;
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.now().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.store.generations.to_le_bytes());
        bytes[16..].copy_from_slice(&ino.to_le_bytes());
        siphash24(&self.store.geometry.hash_key, &bytes) as u32
    }

    /// The group block, or what it would be if it had been written.
    fn read_bitmaps(&self, group: u32, entry: GroupSummary) -> Result<Arc<Block>> {
        if entry.initialised {
            self.read_group(group)
        } else {
            Ok(Arc::new(group::fresh(&self.store.geometry, group)))
        }
    }

    /// The group block to be changed; `entry` is as the summary has it, so that a first change writes it whole.
    fn change_bitmaps(&mut self, group: u32, entry: GroupSummary) -> Result<&mut Block> {
        let geometry = self.store.geometry;
        let at = geometry.group_start(group);
        if !entry.initialised {
            let fresh = group::fresh(&geometry, group);
            return Ok(self.stage_fresh(at, Kind::Group, fresh));
        }
        self.read_group(group)?; // checks it
        self.get_mut(at, group::expect(group), &|_| Ok(()))
    }

    /// A free run in a group: at `near` if that is free, else the first of `want` blocks, else the longest.
    fn find_run(
        &self,
        group: u32,
        entry: GroupSummary,
        near: Option<u32>,
        want: u32,
    ) -> Result<Option<(u32, u32)>> {
        let bitmap = self.read_bitmaps(group, entry)?;
        let sealed = self.store.flight.sealed();
        let before = sealed.as_ref().and_then(|sealed| sealed.pinned.get(&group));
        let both;
        let pinned = match (self.store.pinned.get(&group), before) {
            (Some(now), Some(before)) => {
                both = now.union(before);
                Some(&both)
            }
            (now, before) => now.or(before).map(|pinned| &**pinned),
        };
        let geometry = &self.store.geometry;
        let (from, to) = (geometry.itable_blocks + 1, geometry.group_len(group));
        let near = near.map(|near| near.clamp(from, to - 1));
        if let Some(near) = near.filter(|&near| is_free(&bitmap, pinned, near)) {
            return Ok(Some((near, run_length(&bitmap, pinned, near, to, want))));
        }
        // First behind the goal, then before it.
        let middle = near.unwrap_or(from);
        let mut best: Option<(u32, u32)> = None;
        for (start, end) in [(middle, to), (from, middle)] {
            let mut at = start;
            while let Some(found) = Bitmap::Blocks.first_clear(&bitmap, pinned, at, end) {
                let len = run_length(&bitmap, pinned, found, end, want);
                if best.is_none_or(|(_, longest)| len > longest) {
                    best = Some((found, len));
                }
                if len == want {
                    return Ok(best);
                }
                at = found + len;
            }
        }
        Ok(best)
    }

    /// Set or clear the bits of a run, each of which must be the other way round, and count.
    fn mark(&mut self, group: u32, offset: u32, len: u32, used: bool) -> Result<()> {
        let geometry = self.store.geometry;
        let at = geometry.group_start(group);
        let mut entry = self.read_summary(group)?;
        let bitmap = self.read_bitmaps(group, entry)?;
        if (offset..offset + len).any(|bit| Bitmap::Blocks.get(&bitmap, bit) == used) {
            return self.fail(corrupt(Kind::Group, at, None, "block_bitmap"));
        }
        let room = geometry.group_len(group) - 1 - geometry.itable_blocks;
        let free = if used {
            entry.free_blocks.checked_sub(len)
        } else {
            Some(entry.free_blocks + len)
        };
        let Some(free) = free.filter(|&free| free <= room) else {
            let (at, _) = geometry.summary_place(group);
            return self.fail(corrupt(Kind::Summary, at, None, "free_blocks"));
        };
        entry.free_blocks = free;
        let block = self.change_bitmaps(group, entry)?;
        (offset..offset + len).for_each(|bit| Bitmap::Blocks.set(block, bit, used));
        entry.initialised = true;
        self.write_summary(group, entry)?;
        self.free_blocks += if used {
            -i64::from(len)
        } else {
            i64::from(len)
        };
        Ok(())
    }
}

fn is_free(bitmap: &Block, pinned: Option<&Pinned>, bit: u32) -> bool {
    !Bitmap::Blocks.get(bitmap, bit) && !pinned.is_some_and(|pinned| pinned.get(bit))
}

fn run_length(bitmap: &Block, pinned: Option<&Pinned>, from: u32, to: u32, want: u32) -> u32 {
    let end = to.min(from.saturating_add(want));
    (from..end)
        .take_while(|&bit| is_free(bitmap, pinned, bit))
        .count() as u32
}

/// `first + step`, going round at `count`.
fn wrapped(first: u32, step: u32, count: u32) -> u32 {
    ((u64::from(first) + u64::from(step)) % u64::from(count)) as u32
}
