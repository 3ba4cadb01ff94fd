// SPDX-License-Identifier: Apache-2.0
//! Volumes in memory, opened below the level of files, and the device under them when it fails.

use std::sync::{Arc, Mutex};

use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::{BlockDevice, MemoryDevice, OpenOptions, Store};

pub(crate) fn volume(blocks: u64) -> Arc<MemoryDevice> {
    let device = MemoryDevice::new(blocks);
    mkfs::format(&device, &mkfs::Options::new(Identity::from_seed(&[7; 16]))).expect("mkfs");
    Arc::new(device)
}

pub(crate) fn quiet() -> OpenOptions {
    OpenOptions {
        log: Arc::new(|_| {}),
        clock: Arc::new(|| 1_000_000_007),
        ..OpenOptions::default()
    }
}

pub(crate) fn open(device: &Arc<MemoryDevice>) -> Store {
    Store::open(device.clone(), quiet()).expect("open")
}

/// What a [`Faulty`] device answers with EIO.
pub(crate) enum Fault {
    Nothing,
    /// Each write, but to this block where one is named.
    Writes {
        except: Option<u64>,
    },
    /// Each read that begins at this block.
    ReadAt(u64),
}

/// A device that fails as it is told to, until it is told otherwise.
pub(crate) struct Faulty(Arc<MemoryDevice>, Mutex<Fault>);

impl Faulty {
    /// One that works, over `below`.
    pub(crate) fn over(below: Arc<MemoryDevice>) -> Arc<Faulty> {
        Arc::new(Faulty(below, Mutex::new(Fault::Nothing)))
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.1.lock().expect("no thread has panicked") = fault;
    }

    fn fails(&self, is: impl Fn(&Fault) -> bool) -> std::io::Result<()> {
        match is(&self.1.lock().expect("no thread has panicked")) {
            true => Err(std::io::Error::from_raw_os_error(5)),
            false => Ok(()),
        }
    }
}

impl BlockDevice for Faulty {
    fn blocks(&self) -> u64 {
        self.0.blocks()
    }
    fn name(&self) -> &str {
        "faulty"
    }
    fn read_blocks(&self, block: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.fails(|fault| matches!(fault, Fault::ReadAt(bad) if *bad == block))?;
        self.0.read_blocks(block, buffer)
    }
    fn write_blocks(&self, block: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.fails(|fault| matches!(fault, Fault::Writes { except } if *except != Some(block)))?;
        self.0.write_blocks(block, bytes)
    }
    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
}
