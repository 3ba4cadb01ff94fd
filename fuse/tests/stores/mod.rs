// SPDX-License-Identifier: Apache-2.0
//! Volumes in memory, opened below the level of files.
#![allow(dead_code, unreachable_pub)] // Each test crate uses its part.

use std::sync::Arc;

use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::{MemoryDevice, OpenOptions, Store};

pub fn volume(blocks: u64) -> Arc<MemoryDevice> {
    let device = MemoryDevice::new(blocks);
    mkfs::format(&device, &mkfs::Options::new(Identity::from_seed(&[7; 16]))).expect("mkfs");
    Arc::new(device)
}

pub fn quiet() -> OpenOptions {
    OpenOptions {
        log: Arc::new(|_| {}),
        clock: Arc::new(|| 1_000_000_007),
        ..OpenOptions::default()
    }
}

pub fn open(device: &Arc<MemoryDevice>) -> Store {
    Store::open(device.clone(), quiet()).expect("open")
}
