// SPDX-License-Identifier: Apache-2.0
//! A collection that is in use, in memory: whose the slots are, which can be taken, and the vectors themselves as long as
//! the bound on memory allows. It mirrors what finished operations have left; whoever changes a store says so here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::AtomicU64;

use super::bytes::{self, extend_values};
use super::search::{Found, Query, Rows, Search, scale};
use super::shape::Shape;
use super::slots::StoreRef;
use crate::disk::{BLOCK_SIZE, FLAG_COLLECTION, FLAG_STORE, Inode, Kind, MetaRead, Result, Store};
use crate::disk::{corrupt, inode::FileType};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// Vectors in memory, as they are on disk.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// `stride / 4` elements a slot.
    elements: Vec<f32>,
    scales: Vec<f64>,
}

/// What happens to a slot.
#[derive(Debug)]
pub(crate) enum Change<'a> {
    /// It gets the vector of a member.
    Set(u32, u32, &'a [f32]),
    /// It becomes free.
    Free(u32),
}

/// A collection in use.
#[derive(Debug)]
pub struct Collection {
    /// Its directory.
    pub dir: u32,
    /// Its store.
    pub ino: u32,
    /// What the store says of itself.
    pub shape: Shape,
    owners: Vec<u32>,
    free: BinaryHeap<Reverse<u32>>,
    /// Freed slots, each with the number of commits that had begun by then: more must be done before it may be taken.
    pinned: Vec<(u64, u32)>,
    pub(super) values: Option<Values>,
    pub(super) last_used: AtomicU64,
}

impl Collection {
    /// The store of a collection's directory.
    ///
    /// # Errors
    /// Reading failed; the two do not point at each other.
    pub fn store_of<R: MetaRead + ?Sized>(
        meta: &R,
        dir: u32,
        inode: &Inode,
    ) -> Result<(u32, Inode)> {
        let ino = inode.link;
        let store = meta.read_inode(ino)?;
        let is_store = store.file_type() == FileType::Regular && store.has(FLAG_STORE);
        if !inode.has(FLAG_COLLECTION) || !is_store || store.parent != dir {
            let place = meta.geometry().inode_place(dir);
            let block = place.map_or(0, |(block, _)| block);
            return meta.fail(corrupt(Kind::Inode, block, Some(dir), "link"));
        }
        Ok((ino, store))
    }

    pub(super) fn load(store: &Store, dir: u32, inode: &Inode) -> Result<Collection> {
        let (ino, inode) = Self::store_of(store, dir, inode)?;
        let shape = Shape::read(store, ino, &inode)?;
        let owners = StoreRef { ino, inode: &inode }.owners(store, &shape)?;
        let slots = owners.iter().zip(0_u32..);
        let empty = slots
            .filter(|(owner, _)| **owner == 0)
            .map(|(_, slot)| slot);
        // Which of these were freed since the last commit is not known any more.
        let pinned = empty.map(|slot| (store.commits_begun(), slot)).collect();
        let mut collection = Collection {
            dir,
            ino,
            shape,
            owners,
            free: BinaryHeap::new(),
            pinned,
            values: None,
            last_used: AtomicU64::new(0),
        };
        if !store.has_changes() && store.commits() == store.commits_begun() {
            collection.unpin(store.commits() + 1);
        }
        Ok(collection)
    }

    /// Slots freed before this commit can be taken.
    fn unpin(&mut self, commits: u64) {
        let free = &mut self.free;
        self.pinned.retain(|(at, slot)| {
            if *at < commits {
                free.push(Reverse(*slot));
            }
            *at >= commits
        });
    }

    /// Up to `count` slots to be filled, the lowest first; fewer only if there are no more.
    pub(crate) fn take(&mut self, count: usize, commits: u64) -> Vec<u32> {
        self.unpin(commits);
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count
            && let Some(Reverse(slot)) = self.free.pop()
        {
            taken.push(slot);
        }
        let room = self.shape.slots..self.shape.max_slots();
        taken.extend(room.take(count - taken.len()));
        taken
    }

    /// Whether a commit would make slots free.
    pub(crate) fn has_pinned(&self, commits: u64) -> bool {
        self.pinned.iter().any(|(at, _)| *at >= commits)
    }

    /// Slots that were taken, and not filled.
    pub(crate) fn give_back(&mut self, slots: &[u32]) {
        let known = slots.iter().filter(|slot| **slot < self.shape.slots);
        self.free.extend(known.map(|slot| Reverse(*slot)));
    }

    /// What a finished operation has done; the store is `shape` now.
    pub(crate) fn apply(&mut self, changes: &[Change<'_>], shape: Shape, commits: u64) {
        self.shape = shape;
        self.owners.resize(shape.slots as usize, 0);
        let stride = shape.stride() as usize / 4;
        if let Some(values) = &mut self.values {
            values.elements.resize(shape.slots as usize * stride, 0.0);
            values.scales.resize(shape.slots as usize, 0.0);
        }
        for change in changes {
            match change {
                Change::Free(slot) => {
                    self.owners[*slot as usize] = 0;
                    self.pinned.push((commits, *slot));
                }
                Change::Set(slot, ino, vector) => {
                    let at = *slot as usize;
                    self.owners[at] = *ino;
                    if let Some(values) = &mut self.values {
                        let place = &mut values.elements[at * stride..(at + 1) * stride];
                        place[..vector.len()].copy_from_slice(vector);
                        place[vector.len()..].fill(0.0);
                        values.scales[at] = scale(shape.metric, vector);
                    }
                }
            }
        }
    }

    /// The blocks `first..behind` of the store with these slots filled, and the rest as it is.
    pub(crate) fn blocks_with(
        &self,
        device: &Store,
        (first, behind): (u64, u64),
        filled: &BTreeMap<u32, &[f32]>,
    ) -> Result<Vec<u8>> {
        let start = first * BLOCK_SIZE as u64;
        let mut out = vec![0; (behind - first) as usize * BLOCK_SIZE];
        let old = self
            .shape
            .size()
            .saturating_sub(start)
            .min(out.len() as u64) as usize;
        match &self.values {
            Some(values) => {
                let old = &values.elements[start as usize / 4..][..old / 4];
                for (place, element) in out.as_chunks_mut::<4>().0.iter_mut().zip(old) {
                    *place = element.to_le_bytes();
                }
            }
            None => {
                let inode = device.read_inode(self.ino)?;
                let store = StoreRef {
                    ino: self.ino,
                    inode: &inode,
                };
                bytes::read(
                    device,
                    &|at, to| device.read_data(at, to),
                    store,
                    start,
                    &mut out[..old],
                )?;
            }
        }
        let stride = u64::from(self.shape.stride());
        let from = (start / stride) as u32;
        let to = ((behind * BLOCK_SIZE as u64).div_ceil(stride)) as u32;
        for (slot, vector) in filled.range(from..to) {
            let mut slot_bytes = bytes::to_bytes(vector);
            slot_bytes.resize(stride as usize, 0);
            let at = u64::from(*slot) * stride;
            let skip = start.saturating_sub(at).min(stride) as usize;
            let place = &mut out[(at + skip as u64 - start) as usize..];
            let part = &slot_bytes[skip..];
            let count = part.len().min(place.len());
            place[..count].copy_from_slice(&part[..count]);
        }
        Ok(out)
    }

    pub(super) fn read_values(&self, store: &Store, inode: &Inode) -> Result<Values> {
        let mut values = Values::default();
        values
            .elements
            .reserve_exact(self.shape.size() as usize / 4);
        self.in_chunks(store, inode, |_, part| {
            values.elements.extend_from_slice(part);
        })?;
        let (stride, dimension) = (self.stride(), usize::from(self.shape.dimension));
        let vectors = values.elements.chunks(stride).map(|x| &x[..dimension]);
        values.scales = vectors.map(|x| scale(self.shape.metric, x)).collect();
        Ok(values)
    }

    /// Elements of a slot.
    fn stride(&self) -> usize {
        self.shape.stride() as usize / 4
    }

    /// Shows the vectors in parts of whole slots, with the number of the first.
    fn in_chunks(
        &self,
        store: &Store,
        inode: &Inode,
        mut show: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        let stride = self.shape.stride() as usize;
        let whole = CHUNK / stride;
        let mut buffer = vec![0; whole * stride];
        let mut elements = Vec::new();
        let slots = self.shape.slots as usize;
        for first in (0..slots).step_by(whole) {
            let count = whole.min(slots - first);
            let part = &mut buffer[..count * stride];
            let store_ref = StoreRef {
                ino: self.ino,
                inode,
            };
            bytes::read(
                store,
                &|at, to| store.read_data(at, to),
                store_ref,
                (first * stride) as u64,
                part,
            )?;
            elements.clear();
            extend_values(&mut elements, part);
            show(first, &elements);
        }
        Ok(())
    }

    /// The nearest vectors, and how many were compared. Elements of the query are finite, and as many as a vector has.
    ///
    /// # Errors
    /// Reading failed.
    pub fn search(&self, store: &Store, query: Query<'_>) -> Result<(Vec<Found>, u64)> {
        let mut search = Search::new(self.shape.metric, query);
        if let Some(values) = &self.values {
            search.rows(Rows {
                values: &values.elements,
                stride: self.stride(),
                owners: &self.owners,
                scales: &values.scales,
            });
        } else {
            let inode = store.read_inode(self.ino)?;
            let (stride, dimension) = (self.stride(), usize::from(self.shape.dimension));
            self.in_chunks(store, &inode, |first, part| {
                let vectors = part.chunks(stride).map(|x| &x[..dimension]);
                let scales: Vec<f64> = vectors.map(|x| scale(self.shape.metric, x)).collect();
                search.rows(Rows {
                    values: part,
                    stride,
                    owners: &self.owners[first..first + scales.len()],
                    scales: &scales,
                });
            })?;
        }
        let scanned = search.scanned;
        Ok((search.finish(), scanned))
    }

    /// Bytes that its vectors take in memory.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.shape.slots) * (u64::from(self.shape.stride()) + 8)
    }
}
