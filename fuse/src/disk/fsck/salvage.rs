// SPDX-License-Identifier: Apache-2.0
//! Records of directories whose tree cannot be followed.

use super::Checker;
use super::extents::Walk;
use crate::disk::dir::leaf;
use crate::disk::hash::dir_hash;
use crate::disk::layout::ROOT_INO;
use crate::disk::{Block, Inode, Kind, MetaRead, Result, map};

type Records = Vec<(Vec<u8>, u32)>;

impl Checker {
    /// The records that can still be read of a directory that will be built anew.
    pub(super) fn salvage(&mut self, ino: u32, inode: &Inode) -> Result<Records> {
        if self.rootless && ino == ROOT_INO {
            return self.search_root();
        }
        let walk = match self.broken.remove(&ino) {
            Some(walk) => walk,
            None => self.whole_tree(ino, inode)?,
        };
        let mut records = Vec::new();
        for extent in &walk.extents {
            for at in extent.pblk..extent.pblk + u64::from(extent.len) {
                let block = self.raw.read(at, Kind::DirLeaf, Some(ino))?;
                self.take_records(&block, at, ino, &mut records);
            }
        }
        self.broken.insert(ino, walk);
        Ok(records)
    }

    /// A directory's extents, whose tree was found right.
    fn whole_tree(&self, ino: u32, inode: &Inode) -> Result<Walk> {
        let mut walk = Walk::default();
        map::nodes(&self.raw, ino, inode, &mut |block| {
            walk.nodes.push(block);
            Ok(())
        })?;
        let mut at = 0;
        while let Some(extent) = map::find(&self.raw, ino, inode, at)? {
            at = extent.end();
            walk.extents.push(extent);
        }
        Ok(walk)
    }

    /// Records of a block that is, or was, a leaf of the directory. Of one whose checksum is wrong those count whose
    /// key is the hash of their name: that is 60 bits.
    fn take_records(&self, block: &Block, at: u64, ino: u32, records: &mut Records) {
        let geometry = self.raw.geometry();
        if block.header().magic != Kind::DirLeaf.magic() {
            return;
        }
        let mut whole = block.clone();
        whole.seal(geometry.seed);
        let header = block.header();
        let sound = whole.header().checksum == header.checksum
            && header.owner.get() == ino
            && header.blocknr.get() == at;
        for record in leaf::records(block) {
            let hash = dir_hash(&geometry.hash_key, record.name);
            if sound || record.key & leaf::HASH_MASK == hash {
                records.push((record.name.to_vec(), record.ino));
            }
        }
    }

    /// Looks for the leaves of a root whose inode is lost, in all blocks.
    fn search_root(&mut self) -> Result<Records> {
        let geometry = *self.raw.geometry();
        let mut records = Vec::new();
        for group in 0..geometry.groups {
            if !self.entry(group)?.initialised {
                continue;
            }
            let start = geometry.group_start(group);
            let first = start + 1 + u64::from(geometry.itable_blocks);
            for at in first..start + u64::from(geometry.group_len(group)) {
                let block = self.raw.read(at, Kind::DirLeaf, None)?;
                if block.header().owner.get() == ROOT_INO && !self.owned.get(at) {
                    self.take_records(&block, at, ROOT_INO, &mut records);
                }
            }
        }
        Ok(records)
    }
}
