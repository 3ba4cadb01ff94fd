// SPDX-License-Identifier: Apache-2.0
//! Inodes, their contents' sizes, attributes and targets.

use super::groups::slot;
use super::{Checker, Known};
use crate::disk::group::Bitmap;
use crate::disk::layout::{INODES_PER_BLOCK, MAX_SIZE, ROOT_INO};
use crate::disk::xattr::Attributes;
use crate::disk::{
    BLOCK_SIZE, Block, FLAG_ORPHAN, FLAG_STORE, FileType, Inode, MetaRead, Result, Slot, symlink,
};

impl Checker {
    /// Checks every slot of every table that was written, and takes in what is in use.
    pub(super) fn inodes(&mut self) -> Result<()> {
        let geometry = *self.raw.geometry();
        for group in 0..geometry.groups {
            let entry = self.entry(group)?;
            let bits = self.group(group)?;
            for index in 0..u32::from(entry.itable) {
                let table = geometry.group_start(group) + 1 + u64::from(index);
                let block = self.raw.read_itable(table)?;
                for i in 0..INODES_PER_BLOCK {
                    let bit = index * INODES_PER_BLOCK + i;
                    let used = bits.as_ref().map(|bits| Bitmap::Inodes.get(bits, bit));
                    let ino = group * geometry.inodes_per_group + bit + 1;
                    self.slot(ino, table, &block, used)?;
                }
            }
        }
        self.root();
        let all: Vec<u32> = self.inodes.keys().copied().collect();
        all.into_iter().try_for_each(|ino| self.contents(ino))
    }

    /// `used` is what the bitmap says, if it can be read.
    fn slot(&mut self, ino: u32, table: u64, block: &Block, used: Option<bool>) -> Result<()> {
        match (slot(self.raw.geometry(), (ino, table), block), used) {
            (Ok(Slot::Used(inode)), None | Some(true)) => {
                self.inodes.insert(ino, Known::new(*inode));
            }
            (Ok(Slot::Used(inode)), Some(false)) => {
                self.unsure.insert(ino, *inode);
            }
            (Ok(Slot::Never | Slot::Freed(_)), None | Some(false)) => {}
            (Ok(Slot::Never | Slot::Freed(_)), Some(true)) => {
                self.find("inode-valid", table, ino, "in use but empty");
            }
            (Err(error), used) => {
                let name = match used {
                    Some(false) => "inode-free",
                    _ => "inode-valid",
                };
                self.note(name, error)?;
                self.plan.slots.insert(ino, 0);
            }
        }
        Ok(())
    }

    /// There has to be a root directory.
    fn root(&mut self) {
        if !self.inodes.contains_key(&ROOT_INO)
            && let Some(inode) = self.unsure.remove(&ROOT_INO)
        {
            self.find("bitmap-inode", None, ROOT_INO, "the root is not in use");
            self.inodes.insert(ROOT_INO, Known::new(inode));
        }
        let root = self.inodes.get(&ROOT_INO).map(|known| &known.inode);
        if root.is_some_and(|root| root.file_type() == FileType::Directory) {
            return;
        }
        self.find("inode-valid", None, ROOT_INO, "is no directory");
        let mut inode = Inode::new(1, 0o040_755);
        (inode.parent, inode.nlink, inode.size) = (ROOT_INO, 2, BLOCK_SIZE as u64);
        self.plan.slots.remove(&ROOT_INO);
        self.inodes.insert(ROOT_INO, Known::new(inode));
        self.rootless = true;
    }

    /// Checks what an inode has, and takes its blocks.
    pub(super) fn contents(&mut self, ino: u32) -> Result<()> {
        let Some(inode) = self.inodes.get(&ino).map(|known| known.inode.clone()) else {
            return Ok(());
        };
        let found = self.findings.len();
        match inode.file_type() {
            FileType::Regular => self.regular(ino, &inode)?,
            FileType::Directory => self.tree_of_directory(ino, &inode)?,
            FileType::Symlink => self.symlink(ino, &inode)?,
            _ => {}
        }
        self.attributes(ino, &inode)?;
        let owned = self.inodes.get(&ino).map_or(0, |known| known.blocks);
        if found == self.findings.len() && owned != inode.blocks {
            let words = format!("owns {owned} blocks, but says {}", inode.blocks);
            self.find("inode-blocks", None, ino, words);
        }
        Ok(())
    }

    fn regular(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        let walk = self.extents(ino, inode)?;
        let blocks = inode.size.div_ceil(BLOCK_SIZE as u64);
        let free = inode.flags & (FLAG_ORPHAN | FLAG_STORE) != 0;
        let written = walk.extents.iter().rfind(|extent| !extent.unwritten);
        if let Some(last) = written.filter(|last| !free && last.end() > blocks) {
            let words = format!("written blocks behind its size of {}", inode.size);
            self.find("inode-size", last.pblk, ino, words);
            let size = last.end().saturating_mul(BLOCK_SIZE as u64).min(MAX_SIZE);
            self.plan.sizes.insert(ino, size);
        }
        if walk.is_bad {
            self.plan.extents.insert(ino, walk.extents);
        }
        Ok(())
    }

    /// Whether the extents map exactly the first `blocks` blocks, written. A finding if not.
    fn is_whole(&mut self, ino: u32, walk: &super::extents::Walk, blocks: u64) -> bool {
        let mut at = 0;
        for extent in &walk.extents {
            if u64::from(extent.lblk) != at || extent.unwritten {
                self.find("inode-size", extent.pblk, ino, "a hole where none may be");
                return false;
            }
            at = extent.end();
        }
        if at != blocks {
            let words = format!("{at} blocks mapped, its size says {blocks}");
            self.find("inode-size", None, ino, words);
        }
        at == blocks
    }

    fn tree_of_directory(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        let walk = self.extents(ino, inode)?;
        let blocks = inode.size / BLOCK_SIZE as u64;
        let root = self.rootless && ino == ROOT_INO;
        if walk.is_bad || root || !self.is_whole(ino, &walk, blocks) {
            // Its blocks stay its own until it is built anew.
            self.broken.insert(ino, walk);
        }
        Ok(())
    }

    fn symlink(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        if inode.size <= symlink::INLINE as u64 {
            return Ok(());
        }
        let walk = self.extents(ino, inode)?;
        let blocks = inode.size.div_ceil(symlink::TEXT as u64);
        let mut bad = walk.is_bad || !self.is_whole(ino, &walk, blocks);
        if !bad && let Err(error) = symlink::read(&self.raw, ino, inode) {
            self.note("symlink-valid", error)?;
            bad = true;
        }
        if bad {
            self.release(ino, &walk);
            self.plan.clear.insert(ino);
        }
        Ok(())
    }

    fn attributes(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        if self.plan.clear.contains(&ino) {
            return Ok(());
        }
        let mine = inode.xattr_block == 0 || self.claim(ino, inode.xattr_block, 1);
        match Attributes::read(&self.raw, ino, inode) {
            Ok(_) if mine => return Ok(()),
            Ok(_) => {}
            Err(error) => self.note("xattr-valid", error)?,
        }
        let left = Attributes::salvage(&self.raw, ino, inode, mine)?;
        if mine && inode.xattr_block != 0 && !left.has_outside() {
            self.disown(ino, inode.xattr_block, 1);
        }
        self.plan.xattrs.insert(ino, left);
        Ok(())
    }
}
