// SPDX-License-Identifier: Apache-2.0
//! The ioctls of `vexfs.h` (section 12.5): decoded, permitted, done, encoded. Checked in this order: the number and that it
//! is a directory, permission, fields, then what the operation itself checks.

use rustix::io::Errno;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::{Add, Done, Keys, NO_COLLECTION, invalid};
use crate::disk::layout::{BLOCK_SIZE, VERSION};
use crate::disk::vector::{Found, Metric, Query};
use crate::disk::volume::DiskVolume;
use crate::disk::{Error, FLAG_COLLECTION, FileType, Inode, Result};
use crate::types::{Caller, Ino};
use crate::uapi::{self, BATCH_BYTES, Batch, Collection, Hit, Info, Search};

const READ: u16 = 4;
const WRITE: u16 = 2;
const SEARCH: u16 = 1;

/// Unknown number, or not a directory.
const NOT_OURS: Error = Error::Errno(Errno::NOTTY);

/// Whether the caller has these permissions. The superuser has all.
fn permit(caller: &Caller<'_>, inode: &Inode, wanted: u16) -> Result<()> {
    let (uid, gid) = (caller.owner.uid, caller.owner.gid);
    let shift = if uid == inode.uid {
        6
    } else if gid == inode.gid || uid != 0 && (caller.groups)().contains(&inode.gid) {
        3
    } else {
        0
    };
    match uid == 0 || inode.mode >> shift & wanted == wanted {
        true => Ok(()),
        false => Err(Error::Errno(Errno::ACCESS)),
    }
}

fn parse<T: FromBytes>(input: &[u8]) -> Result<T> {
    T::read_from_bytes(input).map_err(|_| invalid())
}

/// Keys of a batch, after a check of the fields that all batches share.
fn keys(batch: &Batch, dimension: usize) -> Result<Vec<u64>> {
    let count = batch.count as usize;
    let fits = (1..=BATCH_BYTES / (8 + 4 * dimension)).contains(&count);
    if !fits || batch.dimension as usize != dimension || batch.reserved != [0; 5] {
        return Err(invalid());
    }
    let (words, _) = batch.data.as_chunks::<8>();
    let keys = words[..count].iter().map(|word| u64::from_ne_bytes(*word));
    Ok(keys.collect())
}

/// Vectors of a batch, one behind the other.
fn vectors(batch: &Batch, dimension: usize) -> Vec<f32> {
    let count = batch.count as usize;
    let (words, _) = batch.data[8 * count..][..4 * dimension * count].as_chunks::<4>();
    words.iter().map(|word| f32::from_ne_bytes(*word)).collect()
}

/// Notes what became of a batch.
fn answer(mut batch: Batch, done: &Done) -> Vec<u8> {
    // At most 2032.
    batch.done = done.inodes.len() as u32;
    batch.error = done.error.as_ref().map_or(0, Error::errno);
    batch.as_bytes().to_vec()
}

impl DiskVolume {
    /// Answers an ioctl on a directory.
    ///
    /// # Errors
    /// As the document's table says.
    pub fn ioctl(
        &mut self,
        ino: Ino,
        command: u32,
        input: &[u8],
        caller: &Caller<'_>,
    ) -> Result<Vec<u8>> {
        let dir = self.permitted(ino, command, caller)?;
        match command {
            uapi::IOC_COLLECTION_CREATE => {
                if caller.owner.uid != 0 && caller.owner.uid != dir.uid {
                    return Err(crate::Error::NotPermitted.into());
                }
                self.store.check_writable()?;
                self.create(ino, &parse(input)?)
            }
            uapi::IOC_INFO => Ok(self.info()),
            uapi::IOC_COLLECTION_GET => self.describe(ino),
            _ if !dir.has(FLAG_COLLECTION) => Err(NO_COLLECTION),
            uapi::IOC_SEARCH => {
                let asked = parse(input)?;
                let vector = self.query_vector(ino, &asked)?;
                let found = self.search(ino, query(&asked, &vector))?;
                Ok(hits(asked, found))
            }
            uapi::IOC_VECTOR_GET => self.get(ino, parse(input)?),
            _ => {
                self.store.check_writable()?;
                self.change(ino, command, parse(input)?, caller)
            }
        }
    }

    /// The same for what changes nothing, so that several callers may ask at once. None: take [`DiskVolume::ioctl`],
    /// since the ioctl changes something, or the collection has to be loaded first.
    pub fn ioctl_unchanging(
        &self,
        ino: Ino,
        command: u32,
        input: &[u8],
        caller: &Caller<'_>,
    ) -> Option<Result<Vec<u8>>> {
        if !matches!(command, uapi::IOC_SEARCH | uapi::IOC_VECTOR_GET) {
            return None;
        }
        self.ask(ino, command, input, caller).transpose()
    }

    fn ask(
        &self,
        ino: Ino,
        command: u32,
        input: &[u8],
        caller: &Caller<'_>,
    ) -> Result<Option<Vec<u8>>> {
        let dir = self.permitted(ino, command, caller)?;
        if !dir.has(FLAG_COLLECTION) {
            return Err(NO_COLLECTION);
        }
        if command == uapi::IOC_VECTOR_GET {
            return self.get(ino, parse(input)?).map(Some);
        }
        let asked = parse(input)?;
        let vector = self.query_vector(ino, &asked)?;
        let found = self.search_ready(ino, query(&asked, &vector)).transpose()?;
        Ok(found.map(|found| hits(asked, found)))
    }

    /// The directory, where the caller may use the ioctl on it.
    fn permitted(&self, ino: Ino, command: u32, caller: &Caller<'_>) -> Result<Inode> {
        let (_, dir) = self.inode(ino)?;
        if dir.file_type() != FileType::Directory {
            return Err(NOT_OURS);
        }
        let wanted = match command {
            uapi::IOC_INFO | uapi::IOC_COLLECTION_CREATE => 0,
            uapi::IOC_COLLECTION_GET | uapi::IOC_VECTOR_GET | uapi::IOC_SEARCH => READ,
            uapi::IOC_VECTOR_SET | uapi::IOC_VECTOR_ADD | uapi::IOC_VECTOR_REMOVE => WRITE | SEARCH,
            _ => return Err(NOT_OURS),
        };
        permit(caller, &dir, wanted)?;
        Ok(dir)
    }

    fn info(&self) -> Vec<u8> {
        let superblock = self.store.superblock().raw();
        let info = Info {
            uapi_version: uapi::UAPI_VERSION,
            format_version: VERSION,
            features: uapi::FEAT_VECTOR,
            uuid: superblock.uuid,
            label: superblock.label,
            block_size: BLOCK_SIZE as u32,
            dimension_max: uapi::DIMENSION_MAX as u32,
            k_max: uapi::K_MAX as u32,
            batch_bytes: BATCH_BYTES as u32,
            reserved: [0; 4],
        };
        info.as_bytes().to_vec()
    }

    fn create(&mut self, dir: Ino, asked: &Collection) -> Result<Vec<u8>> {
        let metric = Metric::from_number(asked.metric).ok_or_else(invalid)?;
        let zero = [asked.count, asked.slots, asked.stride, asked.dir_ino];
        let is_right = asked.element == uapi::ELEMENT_F32
            && asked.flags == 0
            && zero == [0; 4]
            && asked.reserved == [0; 2];
        if !is_right {
            return Err(invalid());
        }
        self.collection_create(dir, asked.dimension, metric)?;
        Ok(Vec::new())
    }

    fn describe(&self, dir: Ino) -> Result<Vec<u8>> {
        let shape = self.collection(dir)?;
        let answer = Collection {
            dimension: shape.dimension.into(),
            metric: shape.metric as u32,
            element: uapi::ELEMENT_F32,
            flags: 0,
            count: shape.live.into(),
            slots: shape.slots.into(),
            stride: shape.stride().into(),
            dir_ino: dir.0,
            reserved: [0; 2],
        };
        Ok(answer.as_bytes().to_vec())
    }

    fn change(
        &mut self,
        dir: Ino,
        command: u32,
        mut batch: Batch,
        caller: &Caller<'_>,
    ) -> Result<Vec<u8>> {
        let is_add = command == uapi::IOC_VECTOR_ADD;
        let flags = if is_add { uapi::BATCH_EXCL } else { 0 };
        if batch.flags & !flags != 0 || !is_add && batch.mode != 0 {
            return Err(invalid());
        }
        if command == uapi::IOC_VECTOR_REMOVE {
            let keys = keys(&batch, 0)?;
            let done = self.vector_remove(dir, &keys)?;
            return Ok(answer(batch, &done));
        }
        let dimension = usize::from(self.collection(dir)?.dimension);
        let keys = keys(&batch, dimension)?;
        let values = vectors(&batch, dimension);
        let entries: Vec<(u64, &[f32])> = keys.into_iter().zip(values.chunks(dimension)).collect();
        let kind = match is_add {
            true => Keys::Ids(Add {
                mode: (batch.mode & 0o777) as u16,
                owner: caller.owner,
                exclusive: batch.flags & uapi::BATCH_EXCL != 0,
            }),
            false => Keys::Inodes,
        };
        let done = self.vector_set(dir, kind, &entries)?;
        for (place, ino) in batch
            .data
            .as_chunks_mut::<8>()
            .0
            .iter_mut()
            .zip(&done.inodes)
        {
            *place = u64::from(*ino).to_ne_bytes();
        }
        Ok(answer(batch, &done))
    }

    fn get(&self, dir: Ino, mut batch: Batch) -> Result<Vec<u8>> {
        if batch.flags != 0 || batch.mode != 0 {
            return Err(invalid());
        }
        let dimension = usize::from(self.collection(dir)?.dimension);
        let keys = keys(&batch, dimension)?;
        let mut done = Done {
            inodes: Vec::new(),
            error: None,
        };
        let places = batch.data[8 * keys.len()..].chunks_exact_mut(4 * dimension);
        for (key, place) in keys.iter().zip(places) {
            match self.vector(dir, *key) {
                Ok(vector) => {
                    let words = place.as_chunks_mut::<4>().0.iter_mut();
                    words
                        .zip(vector)
                        .for_each(|(word, v)| *word = v.to_ne_bytes());
                    // A member's number has 32 bits.
                    done.inodes.push(*key as u32);
                }
                Err(error) if done.inodes.is_empty() => return Err(error),
                Err(error) => {
                    done.error = Some(error);
                    break;
                }
            }
        }
        Ok(answer(batch, &done))
    }

    /// The vector that a search asks about, after a check of its fields.
    fn query_vector(&self, dir: Ino, asked: &Search) -> Result<Vec<f32>> {
        let dimension = usize::from(self.collection(dir)?.dimension);
        let continues = asked.flags == uapi::SEARCH_AFTER;
        let is_right = asked.dimension as usize == dimension
            && (continues || asked.flags == 0 && asked.after_ino == 0 && asked.after_distance == 0)
            && asked.reserved == [0; 3];
        if !is_right {
            return Err(invalid());
        }
        let words = asked.u[..4 * dimension].as_chunks::<4>().0.iter();
        Ok(words.map(|word| f32::from_ne_bytes(*word)).collect())
    }
}

fn query<'a>(asked: &Search, vector: &'a [f32]) -> Query<'a> {
    let continues = asked.flags == uapi::SEARCH_AFTER;
    Query {
        vector,
        k: asked.k as usize,
        after: continues.then_some((asked.after_distance, asked.after_ino)),
    }
}

/// Answers a search with what was found, and how many were compared.
fn hits(asked: Search, (found, scanned): (Vec<Found>, u64)) -> Vec<u8> {
    let mut answer = Search {
        // At most K_MAX.
        found: found.len() as u32,
        scanned,
        u: FromZeros::new_zeroed(),
        ..asked
    };
    let places = answer.u.as_chunks_mut::<{ size_of::<Hit>() }>().0;
    for (place, found) in places.iter_mut().zip(found) {
        let hit = Hit {
            ino: found.ino.into(),
            distance: found.distance.to_bits(),
        };
        place.copy_from_slice(hit.as_bytes());
    }
    answer.as_bytes().to_vec()
}
