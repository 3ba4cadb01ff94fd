// SPDX-License-Identifier: Apache-2.0
//! Vector collections of a volume (section 12 of the format).
//!
//! - `mod.rs`: making a collection, asking it
//! - `batch.rs`: setting vectors
//! - `members.rs`: what names of a collection may do; the vectors of members that go
//! - `ioctl.rs`: the same by the numbers of `vexfs.h`

mod batch;
mod ioctl;
mod members;

use rustix::io::Errno;

pub use self::batch::{Add, Done, Keys};
pub(super) use self::members::{Freed, collection_of, detach, may_move, remove_store};

use super::{DiskVolume, transact};
use crate::disk::dir;
use crate::disk::layout::RO_COMPAT_VECTOR;
use crate::disk::vector::{
    Collection, Found, Loaded, Metric, Query, Shape, StoreRef, bytes, vector_crc,
};
use crate::disk::{
    Error, FLAG_COLLECTION, FLAG_STORE, FileType, Inode, Kind, MetaRead, Result, Store, corrupt,
};
use crate::types::Ino;
use crate::uapi::{DIMENSION_MAX, K_MAX};

const S_IFREG: u16 = 0o100_000;

/// The directory is no collection.
const NO_COLLECTION: Error = Error::Errno(Errno::MEDIUMTYPE);
/// The member has no vector.
const NO_VECTOR: Error = Error::Errno(Errno::NODATA);

fn invalid() -> Error {
    crate::Error::InvalidArgument.into()
}

/// Searches after a check of the question.
fn search_in(
    store: &Store,
    collection: &Collection,
    query: Query<'_>,
) -> Result<(Vec<Found>, u64)> {
    let is_right = query.vector.len() == usize::from(collection.shape.dimension)
        && (1..=K_MAX).contains(&query.k)
        && query.vector.iter().all(|element| element.is_finite());
    if !is_right {
        return Err(invalid());
    }
    collection.search(store, query)
}

impl DiskVolume {
    /// Makes an empty directory a collection.
    ///
    /// # Errors
    /// EINVAL if the dimension is not in 1..=2048; [`crate::Error::Exists`] if it is one;
    /// [`crate::Error::NotEmpty`]; [`crate::Error::NoSpace`].
    pub fn collection_create(&mut self, dir: Ino, dimension: u32, metric: Metric) -> Result<()> {
        let (dir, inode) = self.directory(dir)?;
        let fits = (1..=DIMENSION_MAX as u32).contains(&dimension);
        let dimension = u16::try_from(dimension)
            .ok()
            .filter(|_| fits)
            .ok_or_else(invalid)?;
        if inode.has(FLAG_COLLECTION) {
            return Err(crate::Error::Exists.into());
        }
        if dir::entries(&inode) > 0 {
            return Err(crate::Error::NotEmpty.into());
        }
        Self::check_linked(&inode)?;
        let now = self.now();
        self.store.set_feature(RO_COMPAT_VECTOR)?;
        transact(&mut self.store, |tx| {
            let mut inode = tx.read_inode(dir)?;
            let (ino, generation) = tx.alloc_inode(dir, false)?;
            let mut store = Inode::new(generation, S_IFREG);
            store.flags = FLAG_STORE;
            store.nlink = 1;
            store.parent = dir;
            store.special = Shape::new(dimension, metric).encode();
            (store.atime, store.mtime, store.ctime, store.btime) = (now, now, now, now);
            tx.write_inode(ino, &store)?;
            inode.flags |= FLAG_COLLECTION;
            inode.link = ino;
            inode.ctime = now;
            tx.write_inode(dir, &inode)
        })
    }

    /// What a collection is.
    ///
    /// # Errors
    /// EMEDIUMTYPE if the directory is none; [`crate::Error::Stale`].
    pub fn collection(&self, dir: Ino) -> Result<Shape> {
        let (dir, inode) = self.collection_dir(dir)?;
        let (ino, store) = Collection::store_of(&self.store, dir, &inode)?;
        Shape::read(&self.store, ino, &store)
    }

    /// Whether a directory is a collection.
    ///
    /// # Errors
    /// [`crate::Error::NotADirectory`], [`crate::Error::Stale`].
    pub fn is_collection(&self, dir: Ino) -> Result<bool> {
        let (_, inode) = self.directory(dir)?;
        Ok(inode.has(FLAG_COLLECTION))
    }

    /// Like [`DiskVolume::directory`], of a collection.
    fn collection_dir(&self, dir: Ino) -> Result<(u32, Inode)> {
        let (dir, inode) = self.directory(dir)?;
        match inode.has(FLAG_COLLECTION) {
            true => Ok((dir, inode)),
            false => Err(NO_COLLECTION),
        }
    }

    /// The nearest members of a collection, nearest first, ties by inode; and how many were compared.
    ///
    /// # Errors
    /// EINVAL for a query of another dimension, or with elements that are not finite, or a `k` that is not in
    /// 1..=1016; EMEDIUMTYPE; reading failed.
    pub fn search(&mut self, dir: Ino, query: Query<'_>) -> Result<(Vec<Found>, u64)> {
        let (dir, inode) = self.collection_dir(dir)?;
        let collection = self.collections.get_whole(&self.store, dir, &inode)?;
        search_in(&self.store, collection, query)
    }

    /// The same in a collection that was loaded before, so that nothing changes; None where it has to be loaded.
    pub fn search_ready(&self, dir: Ino, query: Query<'_>) -> Option<Result<(Vec<Found>, u64)>> {
        match self.collection_dir(dir) {
            Ok((dir, _)) => {
                let collection = self.collections.ready(dir)?;
                Some(search_in(&self.store, collection, query))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Reads a collection that is not ready for [`DiskVolume::search_ready`], so that nothing changes yet; None: it is
    /// ready, or cannot be made so here. [`DiskVolume::keep_collection`] then makes it ready.
    ///
    /// # Errors
    /// EMEDIUMTYPE; reading failed.
    pub fn load_collection(&self, dir: Ino) -> Result<Option<Loaded>> {
        let (dir, inode) = self.collection_dir(dir)?;
        self.collections.load(&self.store, dir, &inode)
    }

    /// Keeps what was loaded. False if a collection may have changed since.
    #[must_use]
    pub fn keep_collection(&mut self, loaded: Loaded) -> bool {
        self.collections.keep(loaded)
    }

    /// A member of a collection: ENOENT for everything else.
    fn member<R: MetaRead + ?Sized>(meta: &R, dir: u32, key: u64) -> Result<(u32, Inode)> {
        let none = || Error::from(crate::Error::NotFound);
        let ino = u32::try_from(key).map_err(|_| none())?;
        if ino == 0 || !meta.inode_in_use(ino)? {
            return Err(none());
        }
        let inode = meta.read_inode(ino)?;
        let is_file = inode.file_type() == FileType::Regular && !inode.has(FLAG_STORE);
        match is_file && inode.parent == dir && inode.nlink > 0 {
            true => Ok((ino, inode)),
            false => Err(none()),
        }
    }

    /// The vector of a member.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] if it is no member; ENODATA if it has no vector; EUCLEAN if its checksum is wrong.
    pub fn vector(&self, dir: Ino, key: u64) -> Result<Vec<f32>> {
        let (dir, inode) = self.collection_dir(dir)?;
        let member = Self::member(&self.store, dir, key)?;
        if member.1.link == 0 {
            return Err(NO_VECTOR);
        }
        let (ino, inode) = Collection::store_of(&self.store, dir, &inode)?;
        let shape = Shape::read(&self.store, ino, &inode)?;
        self.read_vector(StoreRef { ino, inode: &inode }, &shape, &member)
    }

    fn read_vector(
        &self,
        store: StoreRef<'_>,
        shape: &Shape,
        (ino, inode): &(u32, Inode),
    ) -> Result<Vec<f32>> {
        let (ino, slot) = (*ino, inode.link - 1);
        let (at, entry) = members::entry_of(&self.store, store, shape, ino, inode)?;
        let mut raw = vec![0; usize::from(shape.dimension) * 4];
        let start = u64::from(slot) * u64::from(shape.stride());
        let read = |at, to: &mut [u8]| self.store.read_data(at, to);
        bytes::read(&self.store, &read, store, start, &mut raw)?;
        let seed = self.store.geometry().seed;
        if vector_crc(seed, ino, inode.generation, &raw) != entry.crc {
            let error = corrupt(Kind::Vector, at, Some(ino), "checksum");
            return self.store.fail(error);
        }
        let mut vector = Vec::with_capacity(shape.dimension.into());
        bytes::extend_values(&mut vector, &raw);
        Ok(vector)
    }
}

impl DiskVolume {
    /// Follows a finished operation in which a member lost its vector.
    pub(super) fn vector_freed(&mut self, freed: Option<Freed>) {
        if let Some(Freed { dir, slot }) = freed {
            let begun = self.store.commits_begun();
            self.collections.freed(dir, slot, begun);
        }
    }
}
