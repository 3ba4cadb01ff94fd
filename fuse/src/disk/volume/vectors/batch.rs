// SPDX-License-Identifier: Apache-2.0
//! Many vectors at once. As many entries as fit share an operation; where one of them fails, they are done again one by
//! one, so that each is done whole or not at all, in order.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::members::{detach, entry_of};
use super::{NO_VECTOR, invalid};
use crate::disk::dir::{self, Dir};
use crate::disk::inode::Inode;
use crate::disk::vector::{
    Change, Collection, Shape, SlotEntry, StoreRef, bytes, slots, vector_crc,
};
use crate::disk::volume::namespace::new_inode;
use crate::disk::volume::{CREDITS, DiskVolume, Inodes, retrying};
use crate::disk::{BLOCK_SIZE, Error, FileType, MetaRead, Result, Tx};
use crate::types::{Ino, NewNode, Owner};

/// How missing members are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Add {
    /// Permission bits; those of 0777 count.
    pub mode: u16,
    /// Whose they are.
    pub owner: Owner,
    /// A name that is there is an error.
    pub exclusive: bool,
}

/// What keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Inode numbers of members.
    Inodes,
    /// Ids: the names of members, in decimal. What is not there is made.
    Ids(Add),
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Inode numbers of the entries that were done: the first ones.
    pub inodes: Vec<u32>,
    /// Why the next one was not.
    pub error: Option<Error>,
}

type Entry<'a> = (u64, &'a [f32]);

/// Entries on the way into a collection, within one operation.
struct Filling<'a> {
    dir: u32,
    keys: Keys,
    now: i64,
    slots: Vec<u32>,
    filled: BTreeMap<u32, &'a [f32]>,
    changes: Vec<Change<'a>>,
    members: Vec<u32>,
}

impl DiskVolume {
    /// Gives members vectors, new ones or in place of the old. Nothing is durable before a sync.
    ///
    /// # Errors
    /// EMEDIUMTYPE; [`Error::Errno`] and others as the document's table says, if not one entry could be done.
    pub fn vector_set(&mut self, dir: Ino, keys: Keys, entries: &[Entry<'_>]) -> Result<Done> {
        let (dir, inode) = self.collection_dir(dir)?;
        Self::check_linked(&inode)?;
        self.store.check_writable()?;
        let shape = self.collections.get(&self.store, dir, &inode)?.shape;
        let dimension = usize::from(shape.dimension);
        let is_right = |(_, vector): &Entry<'_>| {
            vector.len() == dimension && vector.iter().all(|element| element.is_finite())
        };
        let right = entries.iter().take_while(|entry| is_right(entry)).count();
        let mut done = Done {
            inodes: Vec::with_capacity(entries.len()),
            error: (right < entries.len()).then(invalid),
        };
        let mut most = right;
        while done.inodes.len() < right {
            let left = &entries[done.inodes.len()..right];
            // Before the attempt: a commit under way may end meanwhile.
            let commits = self.store.commits();
            match self.fill(dir, keys, &left[..most.min(left.len())]) {
                Ok(inodes) => done.inodes.extend(inodes),
                Err(_) if most > 1 => most = 1,
                // Slots that were freed can be taken after a commit.
                Err(Error::Volume(crate::Error::NoSpace)) if self.has_pinned(dir, commits)? => {
                    self.store.commit()?;
                }
                Err(error) => {
                    done.error = Some(error);
                    break;
                }
            }
        }
        match (done.inodes.is_empty(), done.error) {
            (true, Some(error)) => Err(error),
            (_, error) => Ok(Done { error, ..done }),
        }
    }

    fn has_pinned(&mut self, dir: u32, commits: u64) -> Result<bool> {
        let inode = self.store.read_inode(dir)?;
        let collection = self.collections.get(&self.store, dir, &inode)?;
        Ok(collection.has_pinned(commits))
    }

    /// Does the first of these entries, as many as fit one operation: at least one.
    fn fill(&mut self, dir: u32, keys: Keys, entries: &[Entry<'_>]) -> Result<Vec<u32>> {
        let now = self.now();
        let credits = match entries.len() {
            1 => CREDITS,
            _ => self.store.max_credits(),
        };
        let inode = self.store.read_inode(dir)?;
        let commits = self.store.commits();
        let collection = self.collections.get(&self.store, dir, &inode)?;
        let taken = collection.take(entries.len(), commits);
        if taken.is_empty() {
            return Err(crate::Error::NoSpace.into());
        }
        let collection = &*collection;
        let filled = retrying(&mut self.store, credits, |tx| {
            let mut filling = Filling {
                dir,
                keys,
                now,
                slots: taken.clone(),
                filled: BTreeMap::new(),
                changes: Vec::new(),
                members: Vec::new(),
            };
            let shape = filling.run(tx, collection, entries)?;
            Ok((filling, shape))
        });
        let begun = self.store.commits_begun();
        let collection = self.collections.get(&self.store, dir, &inode)?;
        match filled {
            Ok((filling, shape)) => {
                collection.apply(&filling.changes, shape, begun);
                collection.give_back(&taken[filling.members.len()..]);
                Ok(filling.members)
            }
            Err(error) => {
                collection.give_back(&taken);
                Err(error)
            }
        }
    }

    /// Takes the vectors of members away.
    ///
    /// # Errors
    /// EMEDIUMTYPE; [`crate::Error::NotFound`] or ENODATA, if not one entry could be done.
    pub fn vector_remove(&mut self, dir: Ino, keys: &[u64]) -> Result<Done> {
        let (dir, inode) = self.collection_dir(dir)?;
        Self::check_linked(&inode)?;
        let mut done = Done {
            inodes: Vec::with_capacity(keys.len()),
            error: None,
        };
        for key in keys {
            match self.remove_vector(dir, *key) {
                Ok(ino) => done.inodes.push(ino),
                Err(error) if done.inodes.is_empty() => return Err(error),
                Err(error) => {
                    done.error = Some(error);
                    break;
                }
            }
        }
        Ok(done)
    }

    fn remove_vector(&mut self, dir: u32, key: u64) -> Result<u32> {
        let now = self.now();
        let (ino, freed) = super::super::transact(&mut self.store, |tx| {
            let (ino, inode) = Self::member(tx, dir, key)?;
            if inode.link == 0 {
                return Err(NO_VECTOR);
            }
            let mut inodes = Inodes::default();
            let freed = detach(tx, &mut inodes, ino)?;
            inodes.get(tx, ino)?.ctime = now;
            inodes.write(tx)?;
            Ok((ino, freed))
        })?;
        self.vector_freed(freed);
        Ok(ino)
    }
}

impl<'a> Filling<'a> {
    /// Does entries as long as the operation has room, and returns what the store is then.
    fn run(
        &mut self,
        tx: &mut Tx<'_>,
        collection: &Collection,
        entries: &[Entry<'a>],
    ) -> Result<Shape> {
        let mut inodes = Inodes::default();
        let mut shape = collection.shape;
        for ((key, vector), slot) in entries.iter().zip(self.slots.clone()) {
            if !self.members.is_empty() && tx.credits_left() < CREDITS + self.members.len() / 4 {
                break;
            }
            let ino = match self.keys {
                Keys::Inodes => DiskVolume::member(tx, self.dir, *key)?.0,
                Keys::Ids(add) => self.named(tx, &mut inodes, *key, add)?,
            };
            if slot >= shape.slots {
                let store = inodes.get(tx, collection.ino)?;
                slots::grow(tx, collection.ino, store, shape.slots, slot + 1)?;
                shape.slots = slot + 1;
            }
            self.place(
                tx,
                &mut inodes,
                collection.ino,
                (ino, slot, vector),
                &mut shape,
            )?;
        }
        self.write(tx, &mut inodes, collection, shape)?;
        inodes.write(tx)?;
        Ok(shape)
    }

    /// The member with this id, made if it is not there.
    fn named(&self, tx: &mut Tx<'_>, inodes: &mut Inodes, id: u64, add: Add) -> Result<u32> {
        let name = id.to_string();
        let inode = inodes.get(tx, self.dir)?;
        let dir = Dir {
            ino: self.dir,
            inode,
        };
        if let Some(found) = dir.find(tx, name.as_bytes())? {
            return match FileType::from_dir_type(found.kind) {
                _ if add.exclusive => Err(crate::Error::Exists.into()),
                Some(FileType::Regular) => Ok(found.ino),
                Some(FileType::Directory) => Err(Error::Errno(Errno::ISDIR)),
                _ => Err(invalid()),
            };
        }
        let (ino, made) = new_inode(
            tx,
            (self.dir, inode),
            &NewNode::Regular,
            add.mode & 0o777,
            add.owner,
            self.now,
        )?;
        let kind = made.file_type().dir_type();
        dir::insert(tx, self.dir, inode, name.as_bytes(), (ino, kind))?;
        (inode.mtime, inode.ctime) = (self.now, self.now);
        inodes.put(ino, made);
        Ok(ino)
    }

    /// Puts a vector into a free slot, and frees the member's old one.
    fn place(
        &mut self,
        tx: &mut Tx<'_>,
        inodes: &mut Inodes,
        store_ino: u32,
        (ino, slot, vector): (u32, u32, &'a [f32]),
        shape: &mut Shape,
    ) -> Result<()> {
        let seed = tx.geometry().seed;
        let store = inodes.get(tx, store_ino)?.clone();
        let store = StoreRef {
            ino: store_ino,
            inode: &store,
        };
        let member: &mut Inode = inodes.get(tx, ino)?;
        match member.link {
            0 => shape.live += 1,
            old => {
                entry_of(tx, store, shape, ino, member)?;
                slots::set_entry(tx, store, old - 1, None)?;
                self.filled.remove(&(old - 1));
                self.changes.push(Change::Free(old - 1));
            }
        }
        let entry = SlotEntry {
            ino,
            generation: member.generation,
            crc: vector_crc(seed, ino, member.generation, &bytes::to_bytes(vector)),
        };
        slots::set_entry(tx, store, slot, Some(entry))?;
        member.link = slot + 1;
        member.ctime = self.now;
        self.filled.insert(slot, vector);
        self.changes.push(Change::Set(slot, ino, vector));
        self.members.push(ino);
        Ok(())
    }

    /// Writes the bytes of what was filled, and the store's fields.
    fn write(
        &mut self,
        tx: &mut Tx<'_>,
        inodes: &mut Inodes,
        collection: &Collection,
        shape: Shape,
    ) -> Result<()> {
        let store = inodes.get(tx, collection.ino)?;
        let stride = u64::from(shape.stride());
        // Slots freed again within this operation hold nothing; but their blocks have to be there.
        let new = collection.shape.slots..shape.slots;
        let touched = self.filled.keys().copied().chain(new);
        let mut ranges: Vec<(u64, u64)> = touched
            .map(|slot| {
                let at = u64::from(slot) * stride;
                let block = BLOCK_SIZE as u64;
                (at / block, (at + stride).div_ceil(block))
            })
            .collect();
        ranges.sort_unstable();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (first, behind) in ranges {
            match runs.last_mut() {
                Some(last) if first <= last.1 => last.1 = last.1.max(behind),
                _ => runs.push((first, behind)),
            }
        }
        for run in runs {
            let content = collection.blocks_with(tx.store(), run, &self.filled)?;
            bytes::write_blocks(tx, collection.ino, store, run.0, &content)?;
        }
        store.special = shape.encode();
        store.size = shape.size();
        Ok(())
    }
}
