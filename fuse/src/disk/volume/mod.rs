// SPDX-License-Identifier: Apache-2.0
//! A POSIX file tree on a device.
//!
//! - `mod.rs`: opening, closing, syncing; the inode of a request
//! - `life.rs`: who still refers to an inode, and its end
//! - `attributes.rs`: attributes, sizes, extended attributes
//! - `names.rs`, `namespace.rs`, `rename.rs`: names
//! - `content.rs`, `listing.rs`, `allocate.rs`: bytes, listings; space given and taken
//! - `vectors/`: vector collections
//! - `shared.rs`: the lock for several threads
//!
//! Every operation is one transaction, or several of which each leaves the volume right; the orphan list finishes what
//! a crash cuts off. Contents go to the device at once, and the commit makes them durable before what refers to them.

mod allocate;
mod attributes;
mod content;
mod life;
mod listing;
mod names;
mod namespace;
mod rename;
mod shared;
mod vectors;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::life::Remembered;
use super::device::BlockDevice;
use super::inode::FLAG_STORE;
use super::orphan::{self, Predecessors};
use super::vector::Collections;
use super::{BLOCK_SIZE, Inode, MetaRead, OpenOptions, Result, Store, Tx};
use crate::error::Error;
use crate::types::{AtimePolicy, Ino, SpaceReport};

pub use self::names::{MAX_NAME, MAX_SYMLINK};
pub use self::shared::SharedVolume;
pub use self::vectors::{Add, Done, Keys};

/// Largest file in bytes.
pub const MAX_FILE_SIZE: u64 = super::extents::LBLK_END * BLOCK_SIZE as u64;
/// Most hard links of a file.
pub const MAX_LINKS: u32 = i32::MAX as u32;

/// Blocks that an operation on names may change: a path of a directory tree and its splits, the extents of its new
/// blocks, the groups of those, the inodes.
const CREDITS: usize = 48;

/// A file tree on a device.
///
/// It checks no permissions, but of ioctls: whoever calls it has decided that the operation is allowed (a mount with
/// `default_permissions` leaves that to the kernel).
///
/// An inode goes when it has no name and nobody remembers it: see [`DiskVolume::remember`].
pub struct DiskVolume {
    store: Store,
    remembered: Remembered,
    atime: AtimePolicy,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    orphans: Predecessors,
    collections: Collections,
    /// Files whose truncation has failed on the way.
    unfinished: HashSet<u32>,
}

impl std::fmt::Debug for DiskVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskVolume")
            .field("space", &self.space())
            .finish_non_exhaustive()
    }
}

/// Nanoseconds since 1970 as a time.
fn time(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    match nanoseconds {
        0.. => UNIX_EPOCH + distance,
        _ => UNIX_EPOCH - distance,
    }
}

/// A time as nanoseconds since 1970, brought into the range of the format.
fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
    }
}

/// Does `work` as one operation. What lack of space is due to frees that have not been committed is tried again after
/// a commit.
fn transact<T>(store: &mut Store, work: impl FnMut(&mut Tx<'_>) -> Result<T>) -> Result<T> {
    retrying(store, CREDITS, work)
}

/// [`transact`] with as many credits as that.
fn retrying<T>(
    store: &mut Store,
    credits: usize,
    mut work: impl FnMut(&mut Tx<'_>) -> Result<T>,
) -> Result<T> {
    let mut again = true;
    loop {
        // Asked now: a commit under way may end meanwhile, and give what this operation has missed.
        let had_pinned = store.has_pinned();
        let mut tx = store.begin(credits)?;
        match work(&mut tx) {
            Ok(done) => {
                tx.finish()?;
                return Ok(done);
            }
            Err(super::Error::Volume(Error::NoSpace)) if again => {
                drop(tx);
                if !had_pinned && !store.has_pinned() {
                    return Err(Error::NoSpace.into());
                }
                store.commit()?;
                again = false;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The inodes of one operation: each is read once and written once, however many roles it plays.
#[derive(Default)]
struct Inodes(BTreeMap<u32, Inode>);

impl Inodes {
    fn get(&mut self, tx: &Tx<'_>, ino: u32) -> Result<&mut Inode> {
        use std::collections::btree_map::Entry;
        Ok(match self.0.entry(ino) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(tx.read_inode(ino)?),
        })
    }

    /// Adds one that was made.
    fn put(&mut self, ino: u32, inode: Inode) {
        self.0.insert(ino, inode);
    }

    fn write(self, tx: &mut Tx<'_>) -> Result<()> {
        self.0
            .iter()
            .try_for_each(|(ino, inode)| tx.write_inode(*ino, inode))
    }
}

impl DiskVolume {
    /// Opens the volume on `device`: replays its log, and cleans up after a crash unless it is opened read-only.
    ///
    /// # Errors
    /// As section 13 of the format says.
    pub fn open(
        device: Arc<dyn BlockDevice>,
        options: OpenOptions,
        atime: AtimePolicy,
    ) -> Result<Self> {
        let clock = Arc::clone(&options.clock);
        let collections = Collections::new(options.vector_memory);
        let store = Store::open(device, options)?;
        let mut volume = Self {
            store,
            remembered: Remembered::default(),
            atime,
            clock,
            orphans: Predecessors::default(),
            collections,
            unfinished: HashSet::new(),
        };
        if volume.store.is_read_only() {
            volume.atime = AtimePolicy::Never;
        } else {
            volume.clean_orphans()?;
        }
        Ok(volume)
    }

    /// What is below: for tools and tests.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Space held and free.
    #[must_use]
    pub fn space(&self) -> SpaceReport {
        let geometry = self.store.geometry();
        SpaceReport {
            block_size: BLOCK_SIZE as u32,
            total_blocks: geometry.usable_blocks(),
            free_blocks: self.store.free_blocks(),
            total_inodes: geometry.inodes(),
            free_inodes: self.store.free_inodes(),
            name_max: MAX_NAME as u32,
        }
    }

    /// Makes all that was done so far durable.
    ///
    /// # Errors
    /// Writing failed.
    pub fn sync(&mut self) -> Result<()> {
        // Also of a volume that takes no changes any more: what an earlier caller's failed sync has lost is lost for all.
        self.store.commit()
    }

    /// Whether changes wait for longer than `age`.
    #[must_use]
    pub fn has_older(&self, age: Duration) -> bool {
        let since = self.store.dirty_since();
        since.is_some_and(|since| since.elapsed() >= age)
    }

    /// Makes the volume read-only: all is committed, and it is marked clean.
    ///
    /// # Errors
    /// Writing failed.
    pub fn set_read_only(&mut self) -> Result<()> {
        self.store.set_read_only()?;
        self.atime = AtimePolicy::Never;
        Ok(())
    }

    /// The end: what nobody can reach any more is freed, all is committed, and the volume is marked clean.
    ///
    /// # Errors
    /// Writing failed.
    pub fn close(&mut self) -> Result<()> {
        if !self.store.is_read_only() && !self.store.is_aborted() {
            self.remembered = Remembered::default();
            // What cannot be cleaned now, the next mount cleans: closing goes on.
            for ino in orphan::list(&self.store).unwrap_or_default() {
                let _ = self.reap(ino);
            }
        }
        self.store.close()
    }

    fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Number and inode that a request names.
    fn inode(&self, ino: Ino) -> Result<(u32, Inode)> {
        let ino = u32::try_from(ino.0).map_err(|_| Error::Stale)?;
        if ino == 0 || !self.store.inode_in_use(ino)? {
            return Err(Error::Stale.into());
        }
        let inode = self.store.read_inode(ino)?;
        if inode.flags & FLAG_STORE != 0 {
            return Err(Error::Stale.into());
        }
        Ok((ino, inode))
    }

    /// Like [`DiskVolume::inode`], of a directory.
    fn directory(&self, ino: Ino) -> Result<(u32, Inode)> {
        let (ino, inode) = self.inode(ino)?;
        match inode.file_type() {
            super::FileType::Directory => Ok((ino, inode)),
            _ => Err(Error::NotADirectory.into()),
        }
    }

    /// Like [`DiskVolume::inode`], of a regular file.
    fn regular(&self, ino: Ino) -> Result<(u32, Inode)> {
        let (ino, inode) = self.inode(ino)?;
        match inode.file_type() {
            super::FileType::Regular => Ok((ino, inode)),
            super::FileType::Directory => Err(Error::IsADirectory.into()),
            _ => Err(Error::InvalidArgument.into()),
        }
    }
}
