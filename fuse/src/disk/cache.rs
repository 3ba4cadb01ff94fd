// SPDX-License-Identifier: Apache-2.0
//! Metadata blocks as they are on the device, kept in memory within a bound.

use super::block::Block;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Blocks kept at most: 64 MiB.
const CAPACITY: usize = 16384;

#[derive(Default)]
struct Halves {
    young: HashMap<u64, Arc<Block>>,
    old: HashMap<u64, Arc<Block>>,
}

impl Halves {
    fn insert(&mut self, at: u64, block: Arc<Block>) {
        if self.young.len() >= CAPACITY / 2 {
            // What has not been asked for since the halves changed places last goes.
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(at, block);
    }
}

/// Checked blocks; what has not been used for longest goes first, roughly.
#[derive(Default)]
pub(super) struct Cache {
    halves: Mutex<Halves>,
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, Halves> {
        // Whatever a panicking holder left is at worst a block less: the cache holds no truth of its own.
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, at: u64) -> Option<Arc<Block>> {
        let mut halves = self.lock();
        if let Some(block) = halves.young.get(&at) {
            return Some(block.clone());
        }
        let block = halves.old.remove(&at)?;
        halves.insert(at, block.clone());
        Some(block)
    }

    pub(super) fn insert(&self, at: u64, block: Arc<Block>) {
        let mut halves = self.lock();
        halves.old.remove(&at);
        halves.insert(at, block);
    }

    pub(super) fn forget(&self, at: u64) {
        let mut halves = self.lock();
        halves.young.remove(&at);
        halves.old.remove(&at);
    }
}
