// SPDX-License-Identifier: Apache-2.0
//! The transaction that is on its way to the device, while the store goes on: its blocks are newer than those on the
//! device, and what it freed is not free yet.

use super::block::Block;
use super::group::Pinned;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a transaction has that readers and allocators need until it is durable.
#[derive(Default)]
pub(super) struct Sealed {
    pub(super) blocks: HashMap<u64, Arc<Block>>,
    pub(super) pinned: HashMap<u32, Box<Pinned>>,
}

/// At most one transaction is under way.
#[derive(Default)]
pub(super) struct Flight {
    now: Mutex<Option<Arc<Sealed>>>,
    landed: Condvar,
    /// Commits that have begun.
    begun: AtomicU64,
    /// The last one that was done.
    done: AtomicU64,
    has_failed: AtomicBool,
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Sealed>>> {
        // Nothing is computed under the lock.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is under way.
    pub(super) fn sealed(&self) -> Option<Arc<Sealed>> {
        match self.begun() == self.done() {
            true => None,
            false => self.lock().clone(),
        }
    }

    /// A block of what is under way.
    pub(super) fn block(&self, at: u64) -> Option<Arc<Block>> {
        self.sealed()?.blocks.get(&at).cloned()
    }

    /// Waits until nothing is under way. Whoever has begun it needs no lock to end it.
    pub(super) fn wait(&self) {
        let now = self.lock();
        // A holder cannot panic.
        drop(self.landed.wait_while(now, |now| {
            now.is_some() && !self.has_failed.load(Ordering::Acquire)
        }));
    }

    /// Begins, and gives the commit its number. Nothing is under way, and the caller has the store alone.
    pub(super) fn begin(&self, sealed: Sealed) -> u64 {
        *self.lock() = Some(Arc::new(sealed));
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// It is durable, and its blocks can be read from where they belong.
    pub(super) fn land(&self, number: u64) {
        self.done.store(number, Ordering::Release);
        self.end();
    }

    /// It failed: its blocks stay, since the device does not have them.
    pub(super) fn fail(&self) {
        // Nobody waits for it any more: the store takes no changes from now on.
        let _now = self.lock();
        self.has_failed.store(true, Ordering::Release);
        self.landed.notify_all();
    }

    /// Commits that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Commits that are done.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    fn end(&self) {
        *self.lock() = None;
        self.landed.notify_all();
    }
}
