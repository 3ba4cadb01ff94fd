// SPDX-License-Identifier: Apache-2.0
//! A device that remembers in which order it was written and flushed, to make what a power cut may leave.

use super::{BlockDevice, MemoryDevice};
use crate::disk::layout::BLOCK_SIZE;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes that a disk writes whole.
const SECTOR: usize = 512;
const SECTORS: usize = BLOCK_SIZE / SECTOR;

/// What became of a written block that no flush has covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It reached the disk.
    Kept,
    /// It did not.
    Lost,
    /// Only these sectors did: bit *i* for sector *i*.
    Torn(u8),
}

#[derive(Debug, Clone)]
enum Event {
    Write(u64, Box<[u8; BLOCK_SIZE]>),
    Flush,
}

/// A memory device with a record of all writes since it was made.
#[derive(Debug)]
pub struct CrashDevice {
    live: MemoryDevice,
    before: Vec<u8>,
    events: Mutex<Vec<Event>>,
}

impl CrashDevice {
    /// Start from these bytes, which are durable.
    #[must_use]
    pub fn new(image: &[u8]) -> CrashDevice {
        let live = MemoryDevice::from_image(image);
        CrashDevice {
            live,
            before: image.to_vec(),
            events: Mutex::default(),
        }
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes of blocks and flushes so far: the moments at which the power may go.
    #[must_use]
    pub fn moments(&self) -> usize {
        self.events().len()
    }

    /// What the disk holds if the power goes at `moment`. All that was written before the last flush is there; of
    /// each block written since, `fate` decides (so writes may be lost in any combination, which is reordering).
    #[must_use]
    pub fn image_after(&self, moment: usize, mut fate: impl FnMut() -> Fate) -> Vec<u8> {
        let events = self.events();
        let done = &events[..moment.min(events.len())];
        let durable = done
            .iter()
            .rposition(|e| matches!(e, Event::Flush))
            .map_or(0, |at| at + 1);
        let mut image = self.before.clone();
        for (n, event) in done.iter().enumerate() {
            let Event::Write(block, bytes) = event else {
                continue;
            };
            let sectors = match if n < durable { Fate::Kept } else { fate() } {
                Fate::Kept => u8::MAX,
                Fate::Lost => 0,
                Fate::Torn(sectors) => sectors,
            };
            let at = *block as usize * BLOCK_SIZE;
            for sector in (0..SECTORS).filter(|s| sectors & (1 << s) != 0) {
                let part = sector * SECTOR..(sector + 1) * SECTOR;
                image[at + part.start..at + part.end].copy_from_slice(&bytes[part]);
            }
        }
        image
    }
}

impl BlockDevice for CrashDevice {
    fn blocks(&self) -> u64 {
        self.live.blocks()
    }

    fn name(&self) -> &str {
        "crash"
    }

    fn read_blocks(&self, block: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.live.read_blocks(block, buffer)
    }

    fn write_blocks(&self, block: u64, bytes: &[u8]) -> io::Result<()> {
        self.live.write_blocks(block, bytes)?;
        let (chunks, _) = bytes.as_chunks::<BLOCK_SIZE>();
        let writes = (block..)
            .zip(chunks)
            .map(|(at, chunk)| Event::Write(at, Box::new(*chunk)));
        self.events().extend(writes);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.events().push(Event::Flush);
        Ok(())
    }
}
