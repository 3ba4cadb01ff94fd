// SPDX-License-Identifier: Apache-2.0
//! The journal (section 11): jbd2's format, read, replayed and written.

pub mod format;
mod salvage;
mod scan;
#[cfg(test)]
mod tests;
mod writer;

pub use salvage::salvage;
pub use scan::{Log, LoggedTransaction, Tag, recover, revoke_records, scan};
pub use writer::Journal;

use super::block::{Block, Kind};
use super::device::BlockDevice;
use super::error::{Result, device_failure};
use super::superblock::Superblock;
use format::JournalSuper;

/// Where a volume's journal is, and what its checksums need.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Block of the journal superblock.
    pub start: u64,
    /// Blocks, that one included.
    pub len: u32,
    /// Of the checksums.
    pub seed: u32,
    /// The volume's.
    pub uuid: [u8; 16],
}

impl Place {
    /// Of this volume.
    #[must_use]
    pub fn of(superblock: &Superblock) -> Place {
        let geometry = superblock.geometry();
        Place {
            start: geometry.journal_start,
            len: geometry.journal_blocks,
            seed: geometry.seed,
            uuid: superblock.raw().uuid,
        }
    }

    /// Read and check the journal superblock.
    pub fn read_super(&self, device: &dyn BlockDevice) -> Result<JournalSuper> {
        JournalSuper::parse(&self.read(device, 0)?, self.start, &self.uuid, self.len)
    }

    /// Write the journal superblock.
    fn write_super(&self, device: &dyn BlockDevice, value: JournalSuper) -> Result<()> {
        device
            .write_blocks(self.start, &value.to_block(&self.uuid)[..])
            .map_err(|e| device_failure("write", Kind::Journal, self.start, None, &e))
    }

    fn read(&self, device: &dyn BlockDevice, position: u32) -> Result<Block> {
        let (mut block, at) = (Block::zeroed(), self.start + u64::from(position));
        device
            .read_blocks(at, &mut block[..])
            .map_err(|e| device_failure("read", Kind::Journal, at, None, &e))?;
        Ok(block)
    }

    /// The log position `count` blocks after `position`; after the last comes 1.
    fn advance(&self, position: u32, count: u32) -> u32 {
        (position - 1 + count) % (self.len - 1) + 1
    }
}

fn flush(device: &dyn BlockDevice, at: u64) -> Result<()> {
    device
        .flush()
        .map_err(|e| device_failure("write", Kind::Journal, at, None, &e))
}
