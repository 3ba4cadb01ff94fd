// SPDX-License-Identifier: Apache-2.0
//! Life and death of inodes: who refers to them, and the cleaning of those that nobody does.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{DiskVolume, Tx, transact};
use crate::disk::extents::LBLK_END;
use crate::disk::inode::{FLAG_ORPHAN, FLAG_STORE};
use crate::disk::orphan::{self, Predecessors};
use crate::disk::vector::slots::MAP;
use crate::disk::{BLOCK_SIZE, FileType, Inode, MetaRead, Result, map, symlink, xattr};
use crate::error::Error;
use crate::types::Ino;

/// How often whoever is outside remembers each inode: the kernel's lookup counts. Of its own lock, since a lookup changes
/// nothing else.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<HashMap<u32, u64>>);

impl Remembered {
    fn counts(&self) -> MutexGuard<'_, HashMap<u32, u64>> {
        // No holder can panic between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, ino: u32) {
        let mut counts = self.counts();
        let count = counts.entry(ino).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes `count` away; true if none is left.
    fn drop(&self, ino: u32, count: u64) -> bool {
        let mut counts = self.counts();
        let Some(left) = counts.get_mut(&ino) else {
            return true;
        };
        *left = left.saturating_sub(count);
        let is_last = *left == 0;
        if is_last {
            counts.remove(&ino);
        }
        is_last
    }

    fn has(&self, ino: u32) -> bool {
        self.counts().contains_key(&ino)
    }
}

/// Frees what the inode has, as far as the credits go. True when nothing is left.
fn free_content(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode) -> Result<bool> {
    if inode.has(FLAG_STORE) {
        // The slot map is metadata, the vectors are not.
        let map_start = u64::from(MAP);
        return Ok(
            map::free_range(tx, ino, inode, (map_start, LBLK_END), true)?
                && map::free_range(tx, ino, inode, (0, map_start), false)?,
        );
    }
    let journaled = match inode.file_type() {
        FileType::Regular => false,
        FileType::Directory => true,
        FileType::Symlink if inode.size > symlink::INLINE as u64 => true,
        _ => return Ok(true),
    };
    map::free_range(tx, ino, inode, (0, LBLK_END), journaled)
}

impl DiskVolume {
    /// Notes one more outside reference to `ino`, which keeps it alive without a name until [`DiskVolume::forget`].
    ///
    /// # Errors
    /// [`Error::Stale`] if there is no such inode.
    pub fn remember(&self, ino: Ino) -> Result<()> {
        let (ino, _) = self.inode(ino)?;
        self.remembered.add(ino);
        Ok(())
    }

    /// Drops `count` outside references, and frees an inode that has no name if they were the last. More than there
    /// are, or an inode that is gone, is not an error.
    pub fn forget(&mut self, ino: Ino, count: u64) {
        if self.forget_named(ino, count) {
            self.bury(ino);
        }
    }

    /// Drops `count` outside references. True if the inode waited for that to go: then [`DiskVolume::bury`] it, which
    /// changes the volume.
    #[must_use]
    pub fn forget_named(&self, ino: Ino, count: u64) -> bool {
        let Ok(number) = u32::try_from(ino.0) else {
            return false;
        };
        // What cannot be read was reported, and is left to the next mount.
        self.remembered.drop(number, count)
            && self.inode(ino).is_ok_and(|(_, inode)| inode.nlink == 0)
    }

    /// Frees an inode that has no name, unless somebody remembers it again.
    pub fn bury(&mut self, ino: Ino) {
        if let Ok(ino) = u32::try_from(ino.0) {
            self.drop_if_dead(ino);
        }
    }

    /// Frees the inode if it has no name and nobody remembers it any more.
    pub(super) fn drop_if_dead(&mut self, ino: u32) {
        if self.remembered.has(ino) {
            return;
        }
        // A failure was reported where it happened. The inode stays on the orphan list: the next mount frees it.
        let _ = self.reap(ino);
    }

    /// Frees an inode that is on the orphan list without a name.
    pub(super) fn reap(&mut self, ino: u32) -> Result<()> {
        if self.store.is_read_only() {
            return Ok(());
        }
        let inode = self.store.read_inode(ino)?;
        let dead = inode.nlink == 0 || inode.flags & FLAG_STORE != 0;
        if inode.flags & FLAG_ORPHAN == 0 || !dead {
            return Ok(());
        }
        let before = self.orphans.before(ino);
        loop {
            let next = transact(&mut self.store, |tx| {
                let mut inode = tx.read_inode(ino)?;
                if !free_content(tx, ino, &mut inode)? {
                    tx.write_inode(ino, &inode)?;
                    return Ok(None);
                }
                xattr::free(tx, &mut inode)?;
                let next = orphan::remove(tx, ino, &mut inode, before)?;
                tx.write_inode(ino, &inode)?;
                tx.free_inode(ino)?;
                Ok(Some(next))
            })?;
            if let Some(next) = next {
                self.orphans.removed(ino, next);
                return Ok(());
            }
        }
    }

    /// Before a file becomes longer, or is written: a truncation that failed on the way is finished, since what it has
    /// left behind the end must never be seen again.
    pub(super) fn settle(&mut self, ino: u32) -> Result<()> {
        if !self.unfinished.contains(&ino) {
            return Ok(());
        }
        if self.store.read_inode(ino)?.flags & FLAG_ORPHAN != 0 {
            return self.finish_truncation(ino);
        }
        // Another file has its number by now.
        self.unfinished.remove(&ino);
        Ok(())
    }

    /// Frees the blocks from `ceil(size / 4096)` on of a file that is on the orphan list for that.
    pub(super) fn finish_truncation(&mut self, ino: u32) -> Result<()> {
        // Until it is done.
        self.unfinished.insert(ino);
        let before = self.orphans.before(ino);
        loop {
            let next = transact(&mut self.store, |tx| {
                let mut inode = tx.read_inode(ino)?;
                let from = inode.size.div_ceil(BLOCK_SIZE as u64);
                if !map::free_range(tx, ino, &mut inode, (from, LBLK_END), false)? {
                    tx.write_inode(ino, &inode)?;
                    return Ok(None);
                }
                // Without a name it stays, to be freed.
                let next = match inode.nlink {
                    0 => 0,
                    _ => orphan::remove(tx, ino, &mut inode, before)?,
                };
                tx.write_inode(ino, &inode)?;
                Ok(Some((next, inode.nlink)))
            })?;
            if let Some((next, nlink)) = next {
                if nlink > 0 {
                    self.orphans.removed(ino, next);
                }
                self.unfinished.remove(&ino);
                return Ok(());
            }
        }
    }

    /// Cleans what the last mount left on the orphan list.
    pub(super) fn clean_orphans(&mut self) -> Result<()> {
        let list = orphan::list(&self.store)?;
        self.orphans = Predecessors::of(&list);
        for ino in list {
            let inode = self.store.read_inode(ino)?;
            if inode.nlink == 0 || inode.flags & FLAG_STORE != 0 {
                self.reap(ino)?;
            } else if inode.file_type() == FileType::Regular {
                self.finish_truncation(ino)?;
            } else {
                let place = self.store.geometry().inode_place(ino);
                let block = place.map_or(0, |(block, _)| block);
                let kind = crate::disk::Kind::Inode;
                return self
                    .store
                    .fail(crate::disk::corrupt(kind, block, Some(ino), "flags"));
            }
        }
        Ok(())
    }

    /// Whether an inode that has no name is still there for somebody.
    pub(super) fn check_linked(inode: &Inode) -> Result<()> {
        match inode.nlink {
            0 => Err(Error::NotFound.into()),
            _ => Ok(()),
        }
    }
}
