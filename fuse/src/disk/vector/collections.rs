// SPDX-License-Identifier: Apache-2.0
//! All collections in use, and which of them have their vectors in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::collection::{Change, Collection, Values};
use crate::disk::{Inode, MetaRead, Result, Store};

/// All collections in use.
#[derive(Debug)]
pub(crate) struct Collections {
    open: HashMap<u32, Collection>,
    /// Bytes of vectors in memory at most.
    bound: u64,
    /// Counts uses.
    clock: AtomicU64,
    /// Counts what may have changed a collection.
    changes: u64,
}

/// A collection that was read beside others, for [`Collections::keep`].
#[derive(Debug)]
pub struct Loaded {
    /// A whole one, or only the vectors of one that is open.
    read: std::result::Result<Box<Collection>, Values>,
    dir: u32,
    changes: u64,
}

impl Collections {
    pub(crate) fn new(bound: u64) -> Self {
        Self {
            open: HashMap::new(),
            bound,
            clock: AtomicU64::new(0),
            changes: 0,
        }
    }

    /// The collection of a directory, for changing it.
    ///
    /// # Errors
    /// Reading failed, or a check did.
    pub(crate) fn get(
        &mut self,
        store: &Store,
        dir: u32,
        inode: &Inode,
    ) -> Result<&mut Collection> {
        use std::collections::hash_map::Entry;
        self.changes += 1;
        let now = self.tick();
        let collection = match self.open.entry(dir) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(Collection::load(store, dir, inode)?),
        };
        *collection.last_used.get_mut() = now;
        Ok(collection)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The collection of a directory if it can be searched as it is: [`Collections::get_whole`] would change nothing.
    pub(crate) fn ready(&self, dir: u32) -> Option<&Collection> {
        let collection = self.open.get(&dir)?;
        if collection.values.is_some() != (collection.bytes() <= self.bound) {
            return None;
        }
        collection.last_used.store(self.tick(), Ordering::Relaxed);
        Some(collection)
    }

    /// Reads a collection that is not [`Collections::ready`], without keeping it. None: [`Collections::get_whole`] has
    /// little to do.
    ///
    /// # Errors
    /// As for [`Collections::get`].
    pub(crate) fn load(&self, store: &Store, dir: u32, inode: &Inode) -> Result<Option<Loaded>> {
        let read_values = |collection: &Collection| match collection.bytes() <= self.bound {
            true => {
                let inode = store.read_inode(collection.ino)?;
                collection.read_values(store, &inode).map(Some)
            }
            false => Ok(None),
        };
        let read = match self.open.get(&dir) {
            Some(open) if open.values.is_some() => return Ok(None),
            Some(open) => match read_values(open)? {
                Some(values) => Err(values),
                None => return Ok(None),
            },
            None => {
                let mut collection = Collection::load(store, dir, inode)?;
                collection.values = read_values(&collection)?;
                Ok(Box::new(collection))
            }
        };
        Ok(Some(Loaded {
            read,
            dir,
            changes: self.changes,
        }))
    }

    /// Keeps what was loaded, unless something may have changed since: then false.
    pub(crate) fn keep(&mut self, loaded: Loaded) -> bool {
        if loaded.changes != self.changes {
            return false;
        }
        let collection = match loaded.read {
            Ok(collection) => *collection,
            Err(values) => match self.open.remove(&loaded.dir) {
                Some(mut open) => {
                    open.values = Some(values);
                    open
                }
                None => return false,
            },
        };
        if collection.values.is_some() {
            self.make_room(loaded.dir, collection.bytes());
        }
        self.open.insert(loaded.dir, collection);
        true
    }

    /// [`Collections::get`] with the vectors in memory, if there is room for them; others give way.
    ///
    /// # Errors
    /// As for [`Collections::get`].
    pub(crate) fn get_whole(
        &mut self,
        store: &Store,
        dir: u32,
        inode: &Inode,
    ) -> Result<&Collection> {
        let bound = self.bound;
        let collection = self.get(store, dir, inode)?;
        let bytes = collection.bytes();
        if collection.values.is_none() && bytes <= bound {
            self.make_room(dir, bytes);
            let collection = self.get(store, dir, inode)?;
            let inode = store.read_inode(collection.ino)?;
            collection.values = Some(collection.read_values(store, &inode)?);
        } else if bytes > bound {
            // It has grown.
            collection.values = None;
        }
        self.get(store, dir, inode).map(|collection| &*collection)
    }

    /// Drops vectors of others, longest unused first, until `bytes` more fit.
    fn make_room(&mut self, dir: u32, bytes: u64) {
        loop {
            let others = self.open.values_mut();
            let held = others.filter(|other| other.dir != dir && other.values.is_some());
            let mut held: Vec<&mut Collection> = held.collect();
            if held.iter().map(|other| other.bytes()).sum::<u64>() + bytes <= self.bound {
                return;
            }
            match held
                .iter_mut()
                .min_by_key(|other| other.last_used.load(Ordering::Relaxed))
            {
                Some(oldest) => oldest.values = None,
                None => return,
            }
        }
    }

    /// A member lost its vector otherwise than through the collection.
    pub(crate) fn freed(&mut self, dir: u32, slot: u32, commits: u64) {
        self.changes += 1;
        if let Some(collection) = self.open.get_mut(&dir) {
            let mut shape = collection.shape;
            shape.live = shape.live.saturating_sub(1);
            collection.apply(&[Change::Free(slot)], shape, commits);
        }
    }

    /// The collection is gone, or its copy in memory not to be trusted.
    pub(crate) fn forget(&mut self, dir: u32) {
        self.changes += 1;
        self.open.remove(&dir);
    }
}
