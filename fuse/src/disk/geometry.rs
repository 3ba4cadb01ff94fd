// SPDX-License-Identifier: Apache-2.0
//! Where things are (section 2). Made from a checked superblock only, so its arithmetic cannot overflow.

use super::layout::{BLOCK_SIZE, GROUP_BLOCKS, INODE_SIZE, INODES_PER_BLOCK, SUMMARY_ENTRIES};

/// The fixed places of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks of the volume.
    pub total_blocks: u64,
    /// Blocks of the summary.
    pub summary_blocks: u32,
    /// First block of the journal.
    pub journal_start: u64,
    /// Blocks of the journal.
    pub journal_blocks: u32,
    /// First block of group 0.
    pub groups_start: u64,
    /// Number of groups.
    pub groups: u32,
    /// Inodes of each group.
    pub inodes_per_group: u32,
    /// Blocks of each group's inode table: T.
    pub itable_blocks: u32,
    /// Blocks of the backup superblocks; the second is 0 where there is one group.
    pub backup: [u64; 2],
    /// Seed of the metadata checksums.
    pub seed: u32,
    /// Key of the name hashes.
    pub hash_key: [u8; 16],
}

impl Geometry {
    /// First block of a group.
    #[must_use]
    pub fn group_start(&self, group: u32) -> u64 {
        self.groups_start + u64::from(group) * u64::from(GROUP_BLOCKS)
    }

    /// Blocks of a group.
    #[must_use]
    pub fn group_len(&self, group: u32) -> u32 {
        let rest = self.total_blocks.saturating_sub(self.group_start(group));
        rest.min(u64::from(GROUP_BLOCKS)) as u32
    }

    /// The group that a block is in, if any.
    #[must_use]
    pub fn group_of_block(&self, block: u64) -> Option<u32> {
        if block < self.groups_start || block >= self.total_blocks {
            return None;
        }
        Some(((block - self.groups_start) / u64::from(GROUP_BLOCKS)) as u32)
    }

    /// Offset of a block in its group.
    #[must_use]
    pub fn offset_in_group(&self, block: u64) -> u32 {
        ((block - self.groups_start) % u64::from(GROUP_BLOCKS)) as u32
    }

    /// Whether a block holds a backup superblock.
    #[must_use]
    pub fn is_backup(&self, block: u64) -> bool {
        block != 0 && self.backup.contains(&block)
    }

    /// Whether an inode, or something below it, may name this block.
    #[must_use]
    pub fn is_usable(&self, block: u64) -> bool {
        self.group_of_block(block).is_some()
            && self.offset_in_group(block) > self.itable_blocks
            && !self.is_backup(block)
    }

    /// Whether all blocks of a run are usable and in one group; an empty run is not.
    #[must_use]
    pub fn is_usable_run(&self, start: u64, len: u32) -> bool {
        if len == 0 || len > GROUP_BLOCKS || !self.is_usable(start) {
            return false;
        }
        let last = start + u64::from(len) - 1;
        // Backups are the last blocks of their groups, so a run that holds one ends in it.
        self.is_usable(last) && self.group_of_block(start) == self.group_of_block(last)
    }

    /// Blocks that files and their metadata may use altogether.
    #[must_use]
    pub fn usable_blocks(&self) -> u64 {
        let backups = self.backup.iter().filter(|&&b| b != 0).count() as u64;
        self.total_blocks
            - self.groups_start
            - u64::from(self.groups) * u64::from(1 + self.itable_blocks)
            - backups
    }

    /// Number of inodes.
    #[must_use]
    pub fn inodes(&self) -> u64 {
        u64::from(self.groups) * u64::from(self.inodes_per_group)
    }

    /// Whether there can be an inode of this number.
    #[must_use]
    pub fn is_inode(&self, ino: u32) -> bool {
        ino != 0 && u64::from(ino) <= self.inodes()
    }

    /// Group of an inode; the inode must exist.
    #[must_use]
    pub fn group_of_inode(&self, ino: u32) -> u32 {
        (ino - 1) / self.inodes_per_group
    }

    /// Index of an inode in its group.
    #[must_use]
    pub fn index_of_inode(&self, ino: u32) -> u32 {
        (ino - 1) % self.inodes_per_group
    }

    /// Block and byte where an inode is; none if there is no such inode.
    #[must_use]
    pub fn inode_place(&self, ino: u32) -> Option<(u64, usize)> {
        if !self.is_inode(ino) {
            return None;
        }
        let index = self.index_of_inode(ino);
        let start = self.group_start(self.group_of_inode(ino));
        let block = start + 1 + u64::from(index / INODES_PER_BLOCK);
        Some((block, (index % INODES_PER_BLOCK) as usize * INODE_SIZE))
    }

    /// Block and byte of a group's summary entry.
    #[must_use]
    pub fn summary_place(&self, group: u32) -> (u64, usize) {
        let block = super::layout::SUMMARY_START + u64::from(group / SUMMARY_ENTRIES);
        (block, 0x20 + (group % SUMMARY_ENTRIES) as usize * 8)
    }

    /// Whether the journal may hold a copy of this block (section 11.2).
    #[must_use]
    pub fn is_journaled_place(&self, block: u64) -> bool {
        let summary_end = super::layout::SUMMARY_START + u64::from(self.summary_blocks);
        block == super::layout::STATE_BLOCK
            || (super::layout::SUMMARY_START..summary_end).contains(&block)
            || (self.group_of_block(block).is_some() && !self.is_backup(block))
    }

    /// Bytes of the volume.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.total_blocks * BLOCK_SIZE as u64
    }
}
