// SPDX-License-Identifier: Apache-2.0
//! Inodes, and the blocks that they own.

use super::{Checker, Known};
use crate::disk::Kind;
use crate::disk::group::Bitmap;
use crate::disk::layout::{INODE_SIZE, INODES_PER_BLOCK};
use crate::disk::xattr::Attributes;
use crate::disk::{
    BLOCK_SIZE, FLAG_ORPHAN, FLAG_STORE, FileType, Inode, MetaRead, Result, Slot, corrupt, map,
    symlink,
};

impl Checker {
    /// Checks every slot of every table that was written, and takes in what is in use.
    pub(super) fn inodes(&mut self) -> Result<()> {
        let geometry = *self.raw.geometry();
        for group in 0..geometry.groups {
            let entry = self.raw.read_summary(group)?;
            let block = self.group(group, entry)?;
            for index in 0..geometry.inodes_per_group {
                let ino = group * geometry.inodes_per_group + index + 1;
                let used = Bitmap::Inodes.get(&block, index);
                let table = geometry.group_start(group) + 1 + u64::from(index / INODES_PER_BLOCK);
                if index / INODES_PER_BLOCK >= u32::from(entry.itable) {
                    if used {
                        let words = "in use, but its table was never written";
                        self.find("inode-valid", table, ino, words);
                    }
                    continue;
                }
                self.slot(ino, table, used)?;
            }
        }
        let all: Vec<u32> = self.inodes.keys().copied().collect();
        all.into_iter().try_for_each(|ino| self.contents(ino))
    }

    fn slot(&mut self, ino: u32, table: u64, used: bool) -> Result<()> {
        let geometry = *self.raw.geometry();
        let block = self.raw.read_itable(table)?;
        let byte = geometry.inode_place(ino).map_or(0, |(_, byte)| byte);
        let mut bytes = [0; INODE_SIZE];
        bytes.copy_from_slice(&block[byte..byte + INODE_SIZE]);
        match (Slot::parse(&geometry, ino, table, &bytes), used) {
            (Ok(Slot::Used(inode)), true) => {
                let known = Known {
                    inode: *inode,
                    blocks: 0,
                    names: 0,
                    subdirectories: 0,
                    reached: false,
                    nlink: None,
                    entries: None,
                };
                self.inodes.insert(ino, known);
            }
            (Ok(Slot::Never | Slot::Freed(_)), false) => {}
            (Ok(Slot::Used(_)), false) => {
                self.find("inode-free", table, ino, "has content but is not in use");
            }
            (Ok(Slot::Never | Slot::Freed(_)), true) => {
                self.find("inode-valid", table, ino, "in use but empty");
            }
            (Err(error), true) => self.note("inode-valid", error)?,
            (Err(error), false) => self.note("inode-free", error)?,
        }
        Ok(())
    }

    /// Takes a block for the inode. False if it is another's.
    fn claim(&mut self, ino: u32, block: u64) -> bool {
        if !self.raw.geometry().is_usable(block) {
            self.find("extent-range", block, ino, "not a block that can be owned");
            return false;
        }
        if !self.owned.set(block) {
            self.find("block-owner", block, ino, "owned twice");
            return false;
        }
        if let Some(known) = self.inodes.get_mut(&ino) {
            known.blocks += 1;
        }
        true
    }

    fn contents(&mut self, ino: u32) -> Result<()> {
        let Some(inode) = self.inodes.get(&ino).map(|known| known.inode.clone()) else {
            return Ok(());
        };
        let found = self.findings.len();
        let mapped = match inode.file_type() {
            FileType::Regular | FileType::Directory => true,
            FileType::Symlink => inode.size > symlink::INLINE as u64,
            _ => false,
        };
        if mapped && let Err(error) = self.extents(ino, &inode) {
            self.note("extent-valid", error)?;
        }
        if inode.file_type() == FileType::Symlink
            && let Err(error) = symlink::read(&self.raw, ino, &inode)
        {
            self.note("symlink-valid", error)?;
        }
        if inode.xattr_block != 0 {
            self.claim(ino, inode.xattr_block);
        }
        if let Err(error) = Attributes::read(&self.raw, ino, &inode) {
            self.note("xattr-valid", error)?;
        }
        let owned = self.inodes.get(&ino).map_or(0, |known| known.blocks);
        if found == self.findings.len() && owned != inode.blocks {
            let words = format!("owns {owned} blocks, but says {}", inode.blocks);
            self.find("inode-blocks", None, ino, words);
        }
        Ok(())
    }

    fn extents(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        let mut nodes = Vec::new();
        map::nodes(&self.raw, ino, inode, &mut |block| {
            nodes.push(block);
            Ok(())
        })?;
        if !nodes.into_iter().all(|block| self.claim(ino, block)) {
            return Ok(());
        }
        let blocks = inode.size.div_ceil(BLOCK_SIZE as u64);
        let whole = match inode.file_type() {
            FileType::Directory => Some(blocks),
            FileType::Symlink => Some(inode.size.div_ceil(symlink::TEXT as u64)),
            _ => None,
        };
        let mut at = 0;
        while let Some(extent) = map::find(&self.raw, ino, inode, at)? {
            if extent.end() <= at {
                let table = self.raw.geometry().inode_place(ino);
                let block = table.map_or(0, |(block, _)| block);
                return Err(corrupt(Kind::Inode, block, Some(ino), "order"));
            }
            if whole.is_some() && (u64::from(extent.lblk) != at || extent.unwritten) {
                self.find("inode-size", extent.pblk, ino, "a hole where none may be");
            }
            let free = inode.flags & (FLAG_ORPHAN | FLAG_STORE) != 0;
            if whole.is_none() && !free && !extent.unwritten && extent.end() > blocks {
                let words = format!("written blocks behind its size of {}", inode.size);
                self.find("inode-size", extent.pblk, ino, words);
            }
            for block in extent.pblk..extent.pblk + u64::from(extent.len) {
                if !self.claim(ino, block) {
                    return Ok(());
                }
            }
            at = extent.end();
        }
        if whole.is_some_and(|whole| whole != at) {
            let words = format!("{at} blocks mapped, its size says otherwise");
            self.find("inode-size", None, ino, words);
        }
        Ok(())
    }
}
