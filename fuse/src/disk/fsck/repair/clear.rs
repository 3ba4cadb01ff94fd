// SPDX-License-Identifier: Apache-2.0
//! The first step of a round: what is broken is taken out, in place. What remains agrees with itself.

use std::collections::HashMap;

use super::super::Checker;
use crate::disk::error::device_failure;
use crate::disk::extents::{Extent, Node, ROOT_ENTRIES, encode_root};
use crate::disk::group::{self, Bitmap};
use crate::disk::layout::{
    INODE_SIZE, INODES_PER_BLOCK, RawSummaryEntry, STATE_BLOCK, SUMMARY_ENTRIES,
};
use crate::disk::state::{self, State};
use crate::disk::summary::{self, GroupSummary};
use crate::disk::{BLOCK_SIZE, Block, Expect, FLAG_ORPHAN, Inode, Kind, MetaRead, Result};

impl Checker {
    fn write(&self, at: u64, kind: Kind, block: &Block) -> Result<()> {
        let done = self.raw.device.write_blocks(at, &block[..]);
        done.map_err(|error| device_failure("write", kind, at, None, &error))
    }

    fn write_sealed(&self, at: u64, kind: Kind, mut block: Block) -> Result<()> {
        block.seal(self.raw.geometry().seed);
        self.write(at, kind, &block)
    }

    /// Puts the plan into effect, but for what needs a mounted volume.
    pub(super) fn clear(&mut self) -> Result<()> {
        let orphans = self.orphan_links();
        let all: Vec<u32> = self.inodes.keys().copied().collect();
        for ino in all {
            self.clear_inode(ino, orphans.as_ref())?;
        }
        let slots = std::mem::take(&mut self.plan.slots);
        for (ino, generation) in &slots {
            let bytes = match generation {
                0 => [0; INODE_SIZE],
                _ => Inode::encode_freed(self.raw.geometry().seed, *ino, *generation),
            };
            self.write_slot(*ino, &bytes)?;
        }
        let groups = self.raw.geometry().groups;
        for index in 0..self.raw.geometry().summary_blocks {
            let mut block = match self.plan.summaries.contains(&index) {
                true => summary::fresh(self.raw.geometry(), index),
                false => (*self.raw.read_summary_block(index)?).clone(),
            };
            let first = index * SUMMARY_ENTRIES;
            for group in first..groups.min(first.saturating_add(SUMMARY_ENTRIES)) {
                let (_, byte) = self.raw.geometry().summary_place(group);
                *block.at_mut::<RawSummaryEntry>(byte) = self.set_group(group)?.encode();
            }
            let (at, _) = self.raw.geometry().summary_place(first);
            self.write_sealed(at, Kind::Summary, block)?;
        }
        self.set_state(orphans.is_some())
    }

    /// Who comes after each inode of the new orphan list, if there is a new one.
    fn orphan_links(&self) -> Option<HashMap<u32, u32>> {
        let list = self.plan.orphans.as_ref()?;
        let next = list.iter().skip(1).copied().chain([0]);
        Some(list.iter().copied().zip(next).collect())
    }

    fn write_slot(&self, ino: u32, bytes: &[u8; INODE_SIZE]) -> Result<()> {
        let Some((at, byte)) = self.raw.geometry().inode_place(ino) else {
            return Ok(());
        };
        let mut table = (*self.raw.read_itable(at)?).clone();
        if table[byte..byte + INODE_SIZE] == bytes[..] {
            return Ok(());
        }
        table[byte..byte + INODE_SIZE].copy_from_slice(bytes);
        self.write(at, Kind::Inode, &table)
    }

    fn clear_inode(&mut self, ino: u32, orphans: Option<&HashMap<u32, u32>>) -> Result<()> {
        let Some(mut inode) = self.inodes.get(&ino).map(|known| known.inode.clone()) else {
            return Ok(());
        };
        let seed = self.raw.geometry().seed;
        if self.plan.clear.contains(&ino) {
            self.inodes.remove(&ino);
            let bytes = Inode::encode_freed(seed, ino, inode.generation);
            return self.write_slot(ino, &bytes);
        }
        if self.plan.dirs.contains_key(&ino) && !self.empty_directory(ino, &mut inode)? {
            // There is no block for it.
            self.inodes.remove(&ino);
            let bytes = Inode::encode_freed(seed, ino, inode.generation);
            return self.write_slot(ino, &bytes);
        }
        self.keep_attributes(ino, &mut inode)?;
        let Some(known) = self.inodes.get(&ino) else {
            return Ok(());
        };
        inode.nlink = known.nlink.unwrap_or(inode.nlink);
        inode.blocks = known.blocks;
        if let Some(entries) = known.entries {
            inode.special[..4].copy_from_slice(&entries.to_le_bytes());
        }
        if let Some(extents) = self.plan.extents.get(&ino) {
            keep_extents(&mut inode, extents);
        }
        inode.size = self.plan.sizes.get(&ino).copied().unwrap_or(inode.size);
        inode.parent = self.plan.parents.get(&ino).copied().unwrap_or(inode.parent);
        if let Some(links) = orphans {
            let next = links.get(&ino).copied();
            inode.orphan_next = next.unwrap_or(0);
            inode.flags &= !FLAG_ORPHAN;
            if next.is_some() {
                inode.flags |= FLAG_ORPHAN;
            }
        }
        self.write_slot(ino, &inode.encode(seed, ino))
    }

    /// Makes a directory one empty leaf, in its first block or in a free one. False if there is none.
    fn empty_directory(&mut self, ino: u32, inode: &mut Inode) -> Result<bool> {
        let walk = self.broken.remove(&ino).unwrap_or_default();
        self.release(ino, &walk);
        let own = walk.extents.first().map(|extent| extent.pblk);
        let Some(at) = own.or_else(|| self.free_block()) else {
            return Ok(false);
        };
        // Released, or never owned.
        self.claim(ino, at, 1);
        let mut leaf = Block::zeroed();
        leaf.set_header(at, Expect::of_inode(Kind::DirLeaf, ino, inode.generation));
        self.write_sealed(at, Kind::DirLeaf, leaf)?;
        let extent = Extent {
            lblk: 0,
            len: 1,
            pblk: at,
            unwritten: false,
        };
        inode.root = encode_root(&Node::Leaf(vec![extent]));
        inode.size = BLOCK_SIZE as u64;
        inode.special[..4].fill(0);
        if let Some(known) = self.inodes.get_mut(&ino) {
            known.entries = None;
        }
        Ok(true)
    }

    /// A block that nothing owns.
    fn free_block(&self) -> Option<u64> {
        let geometry = self.raw.geometry();
        (geometry.groups_start..geometry.total_blocks)
            .find(|at| geometry.is_usable(*at) && !self.owned.get(*at))
    }

    /// Writes the attributes that are left.
    fn keep_attributes(&mut self, ino: u32, inode: &mut Inode) -> Result<()> {
        let Some(left) = self.plan.xattrs.remove(&ino) else {
            return Ok(());
        };
        let mut block = Block::zeroed();
        let expect = Expect::of_inode(Kind::Xattr, ino, inode.generation);
        block.set_header(inode.xattr_block, expect);
        left.encode(inode, &mut block);
        match left.has_outside() {
            true => self.write_sealed(inode.xattr_block, Kind::Xattr, block),
            false => {
                inode.xattr_block = 0;
                Ok(())
            }
        }
    }

    /// Sets the bitmaps of a group by what was seen; returns what its entry has to say.
    fn set_group(&self, group: u32) -> Result<GroupSummary> {
        let geometry = *self.raw.geometry();
        let entry = self.entry(group)?;
        let old = self.group(group)?;
        let mut block = group::fresh(&geometry, group);
        let start = geometry.group_start(group);
        for bit in 0..geometry.group_len(group) {
            if self.owned.get(start + u64::from(bit)) {
                Bitmap::Blocks.set(&mut block, bit, true);
            }
        }
        let first = group * geometry.inodes_per_group + 1;
        let mut itable = entry.itable;
        for (ino, _) in self.inodes.range(first..first + geometry.inodes_per_group) {
            Bitmap::Inodes.set(&mut block, ino - first, true);
            itable = itable.max(((ino - first) / INODES_PER_BLOCK + 1) as u16);
        }
        block.seal(geometry.seed);
        let mut initialised = entry.initialised;
        let same = old.is_some_and(|old| old[0x40..] == block[0x40..]);
        if !same {
            self.write(start, Kind::Group, &block)?;
            initialised = true;
        }
        Ok(GroupSummary {
            free_blocks: Bitmap::Blocks.clear_bits(&block),
            // At most 8192 bits.
            free_inodes: Bitmap::Inodes.clear_bits(&block) as u16,
            itable,
            initialised,
        })
    }

    fn set_state(&self, orphans: bool) -> Result<()> {
        if !self.plan.state && !orphans {
            return Ok(());
        }
        let list = self.plan.orphans.as_ref();
        let head = list.map(|list| list.first().copied().unwrap_or(0));
        self.set_state_block(&mut |state| {
            state.orphan_head = head.unwrap_or(state.orphan_head);
        })
    }

    /// Changes the state block, or makes it anew if the plan says so.
    pub(super) fn set_state_block(&self, change: &mut dyn FnMut(&mut State)) -> Result<()> {
        let (mut block, mut state) = (Block::zeroed(), State::default());
        block.set_header(STATE_BLOCK, state::EXPECT);
        if !self.plan.state {
            let old = self
                .raw
                .read_meta(STATE_BLOCK, state::EXPECT, &|_| Ok(()))?;
            block = (*old).clone();
            state = self.raw.read_state()?;
        }
        change(&mut state);
        state.encode(&mut block);
        self.write_sealed(STATE_BLOCK, Kind::State, block)
    }
}

/// Few extents find room in the inode; more are entered later, one by one.
fn keep_extents(inode: &mut Inode, extents: &[Extent]) {
    let few = extents.len() <= ROOT_ENTRIES;
    let root = match few {
        true => extents.to_vec(),
        false => Vec::new(),
    };
    inode.root = encode_root(&Node::Leaf(root));
    if !few {
        let data: u64 = extents.iter().map(|extent| u64::from(extent.len)).sum();
        inode.blocks = inode.blocks.saturating_sub(data);
    }
}
