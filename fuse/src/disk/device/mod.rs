// SPDX-License-Identifier: Apache-2.0
//! Where a volume lives: a file, a block device, memory, or a device that remembers how it was written.

mod crash;
mod file;
mod memory;
mod overlay;

pub use crash::{CrashDevice, Fate};
pub use file::{Access, FileDevice};
pub use memory::MemoryDevice;
pub use overlay::OverlayDevice;

use super::layout::BLOCK_SIZE;
use std::io;

/// An array of blocks. Buffers are whole blocks long; a write is durable after the next [`BlockDevice::flush`].
pub trait BlockDevice: Send + Sync {
    /// Number of whole blocks.
    fn blocks(&self) -> u64;
    /// What messages call it.
    fn name(&self) -> &str;
    /// Whether writing is refused.
    fn is_read_only(&self) -> bool {
        false
    }
    /// Read a run of blocks.
    fn read_blocks(&self, block: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Write a run of blocks.
    fn write_blocks(&self, block: u64, bytes: &[u8]) -> io::Result<()>;
    /// Make all writes that have returned durable.
    fn flush(&self) -> io::Result<()>;
    /// Tell the device that a run of blocks holds nothing. False: it cannot be told.
    fn discard(&self, _block: u64, _count: u64) -> io::Result<bool> {
        Ok(false)
    }
    /// Make a run of blocks read as zeros.
    fn zero(&self, block: u64, count: u64) -> io::Result<()> {
        const CHUNK: u64 = 256;
        let zeros = vec![0; CHUNK as usize * BLOCK_SIZE];
        let mut at = block;
        let end = block + count;
        while at < end {
            let n = CHUNK.min(end - at);
            self.write_blocks(at, &zeros[..n as usize * BLOCK_SIZE])?;
            at += n;
        }
        Ok(())
    }
}

/// Byte range of a run of blocks, or an error if it is not inside a device of `blocks` blocks.
fn range(blocks: u64, block: u64, bytes: usize) -> io::Result<std::ops::Range<u64>> {
    let count = (bytes / BLOCK_SIZE) as u64;
    let inside = block.checked_add(count).is_some_and(|end| end <= blocks);
    if !bytes.is_multiple_of(BLOCK_SIZE) || !inside {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(block * BLOCK_SIZE as u64..(block + count) * BLOCK_SIZE as u64)
}
