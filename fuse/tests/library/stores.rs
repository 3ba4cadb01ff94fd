// SPDX-License-Identifier: Apache-2.0
//! Volumes in memory, opened below the level of files.

use std::sync::Arc;

use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::{MemoryDevice, OpenOptions, Store};

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
