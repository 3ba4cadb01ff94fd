// SPDX-License-Identifier: Apache-2.0
//! A device over another one that is never written: what is written stays in memory.

use super::{BlockDevice, range};
use crate::disk::layout::BLOCK_SIZE;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

/// For the replay of a journal on a device that cannot, or must not, be written.
pub struct OverlayDevice {
    below: Arc<dyn BlockDevice>,
    written: RwLock<HashMap<u64, Box<[u8; BLOCK_SIZE]>>>,
}

impl OverlayDevice {
    /// Nothing written yet.
    #[must_use]
    pub fn new(below: Arc<dyn BlockDevice>) -> OverlayDevice {
        OverlayDevice {
            below,
            written: RwLock::default(),
        }
    }

    /// The blocks that were written.
    #[must_use]
    pub fn written(&self) -> Vec<u64> {
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner);
        written.keys().copied().collect()
    }
}

impl BlockDevice for OverlayDevice {
    fn blocks(&self) -> u64 {
        self.below.blocks()
    }

    fn name(&self) -> &str {
        self.below.name()
    }

    fn read_blocks(&self, block: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.below.read_blocks(block, buffer)?;
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner);
        let (chunks, _) = buffer.as_chunks_mut::<BLOCK_SIZE>();
        for (at, chunk) in (block..).zip(chunks) {
            if let Some(bytes) = written.get(&at) {
                *chunk = **bytes;
            }
        }
        Ok(())
    }

    fn write_blocks(&self, block: u64, bytes: &[u8]) -> io::Result<()> {
        range(self.below.blocks(), block, bytes.len())?;
        let mut written = self.written.write().unwrap_or_else(PoisonError::into_inner);
        let (chunks, _) = bytes.as_chunks::<BLOCK_SIZE>();
        written.extend(
            (block..)
                .zip(chunks)
                .map(|(at, chunk)| (at, Box::new(*chunk))),
        );
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
