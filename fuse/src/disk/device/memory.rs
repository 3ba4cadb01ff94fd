// SPDX-License-Identifier: Apache-2.0
//! A device in memory.

use super::{BlockDevice, range};
use crate::disk::layout::BLOCK_SIZE;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{PoisonError, RwLock};

type Blocks = HashMap<u64, Box<[u8; BLOCK_SIZE]>>;

/// Blocks in memory; those never written take none and read as zeros.
#[derive(Debug)]
pub struct MemoryDevice {
    blocks: u64,
    content: RwLock<Blocks>,
}

impl MemoryDevice {
    /// All zero.
    #[must_use]
    pub fn new(blocks: u64) -> MemoryDevice {
        MemoryDevice {
            blocks,
            content: RwLock::default(),
        }
    }

    /// With these bytes, whole blocks long.
    #[must_use]
    pub fn from_image(image: &[u8]) -> MemoryDevice {
        let (blocks, _) = image.as_chunks::<BLOCK_SIZE>();
        let written = |(at, bytes): (usize, &[u8; BLOCK_SIZE])| {
            (bytes != &[0; BLOCK_SIZE]).then(|| (at as u64, Box::new(*bytes)))
        };
        let content = blocks.iter().enumerate().filter_map(written).collect();
        MemoryDevice {
            blocks: blocks.len() as u64,
            content: RwLock::new(content),
        }
    }

    /// All bytes.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let mut image = vec![0; self.blocks as usize * BLOCK_SIZE];
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        for (&at, bytes) in content.iter() {
            let at = at as usize * BLOCK_SIZE;
            image[at..at + BLOCK_SIZE].copy_from_slice(&bytes[..]);
        }
        image
    }
}

impl BlockDevice for MemoryDevice {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn name(&self) -> &str {
        "memory"
    }

    fn read_blocks(&self, block: u64, buffer: &mut [u8]) -> io::Result<()> {
        range(self.blocks, block, buffer.len())?;
        // A panicking holder cannot leave a block half-written: every write is one copy.
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        let (chunks, _) = buffer.as_chunks_mut::<BLOCK_SIZE>();
        for (at, chunk) in (block..).zip(chunks) {
            match content.get(&at) {
                Some(bytes) => *chunk = **bytes,
                None => chunk.fill(0),
            }
        }
        Ok(())
    }

    fn write_blocks(&self, block: u64, bytes: &[u8]) -> io::Result<()> {
        range(self.blocks, block, bytes.len())?;
        let mut content = self.content.write().unwrap_or_else(PoisonError::into_inner);
        let (chunks, _) = bytes.as_chunks::<BLOCK_SIZE>();
        for (at, chunk) in (block..).zip(chunks) {
            match content.entry(at) {
                Entry::Occupied(mut old) => **old.get_mut() = *chunk,
                Entry::Vacant(place) => {
                    place.insert(Box::new(*chunk));
                }
            }
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, block: u64, count: u64) -> io::Result<bool> {
        self.zero(block, count).map(|()| true)
    }

    fn zero(&self, block: u64, count: u64) -> io::Result<()> {
        if block.checked_add(count).is_none_or(|end| end > self.blocks) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut content = self.content.write().unwrap_or_else(PoisonError::into_inner);
        if count > content.len() as u64 {
            content.retain(|at, _| !(block..block + count).contains(at));
        } else {
            (block..block + count).for_each(|at| drop(content.remove(&at)));
        }
        Ok(())
    }
}
