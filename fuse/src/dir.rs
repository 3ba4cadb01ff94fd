// SPDX-License-Identifier: Apache-2.0
//! Content of a directory: names to inodes, and an order of listing that survives change.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::types::Ino;

/// Cookie of the entry `.`.
pub(crate) const DOT: u64 = 1;
/// Cookie of the entry `..`.
pub(crate) const DOT_DOT: u64 = 2;

#[derive(Debug, Clone, Copy)]
struct Slot {
    ino: Ino,
    cookie: u64,
}

/// Entries of one directory, without `.` and `..`.
///
/// Every entry gets a cookie larger than all before it, and keeps it. A listing that continues "after cookie N"
/// therefore never repeats or misses an entry that was there all the time, whatever came or went meanwhile.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The directory that holds this one (the root holds itself).
    pub(crate) parent: Ino,
    names: BTreeMap<OsString, Slot>,
    order: BTreeMap<u64, OsString>,
    next_cookie: u64,
    name_bytes: u64,
}

impl Directory {
    pub(crate) fn new(parent: Ino) -> Self {
        Self {
            parent,
            names: BTreeMap::new(),
            order: BTreeMap::new(),
            next_cookie: DOT_DOT + 1,
            name_bytes: 0,
        }
    }

    pub(crate) fn get(&self, name: &OsStr) -> Option<Ino> {
        self.names.get(name).map(|slot| slot.ino)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Sum of the lengths of all names in bytes.
    pub(crate) fn name_bytes(&self) -> u64 {
        self.name_bytes
    }

    /// Points `name` at `ino`. An existing entry keeps its place in the listing.
    pub(crate) fn set(&mut self, name: &OsStr, ino: Ino) {
        if let Some(slot) = self.names.get_mut(name) {
            slot.ino = ino;
            return;
        }
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.name_bytes += name.len() as u64;
        self.names.insert(name.to_owned(), Slot { ino, cookie });
        self.order.insert(cookie, name.to_owned());
    }

    pub(crate) fn remove(&mut self, name: &OsStr) {
        if let Some(slot) = self.names.remove(name) {
            self.order.remove(&slot.cookie);
            self.name_bytes -= name.len() as u64;
        }
    }

    /// Entries whose cookie is larger than `cookie`, in the order they were made.
    pub(crate) fn after(&self, cookie: u64) -> impl Iterator<Item = (u64, &OsStr, Ino)> {
        self.order
            .range(cookie.saturating_add(1)..)
            .filter_map(|(cookie, name)| {
                let slot = self.names.get(name)?;
                Some((*cookie, name.as_os_str(), slot.ino))
            })
    }
}
