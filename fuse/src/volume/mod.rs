// SPDX-License-Identifier: Apache-2.0
//! A POSIX file tree in memory.
//!
//! - `mod.rs`: limits, the inode table, attributes, life and death of inodes
//! - `namespace.rs`: names (lookup, make, link, unlink, rmdir, rename)
//! - `content.rs`: open handles, bytes, listings

mod content;
mod namespace;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::SystemTime;

use crate::dir::Directory;
use crate::error::{Error, Result};
use crate::inode::{Body, Inode};
use crate::pages::PAGE_SIZE;
use crate::types::{
    AtimePolicy, Attr, AttrChange, FileKind, Handle, Ino, Owner, SpaceReport, TimeChange,
};

pub(crate) use namespace::{check_name, check_target};

/// Longest name in bytes.
pub const MAX_NAME: usize = 255;
/// Longest symlink target in bytes.
pub const MAX_SYMLINK: usize = 4095;
/// Most hard links that something other than a directory may have.
pub const MAX_LINKS: u32 = 65_000;
/// Largest file in bytes (the largest offset that a system call can express).
pub const MAX_FILE_SIZE: u64 = i64::MAX as u64;

const PERM_BITS: u16 = 0o7777;
const FEWEST_INODES: u64 = 1024;

/// How much a volume may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of file content, counted in whole pages of [`PAGE_SIZE`]; a partial page does not count.
    pub bytes: u64,
    /// Inodes, the root included.
    pub inodes: u64,
}

impl Limits {
    /// `bytes` of content and one inode a page, but at least 1024 inodes.
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Self {
        Self {
            bytes,
            inodes: (bytes / PAGE_SIZE as u64).max(FEWEST_INODES),
        }
    }
}

type Clock = Box<dyn Fn() -> SystemTime + Send + Sync>;

/// A file tree whose content lives in memory.
///
/// It checks no permissions: whoever calls it has decided that the operation is allowed (a mount with
/// `default_permissions` leaves that to the kernel).
///
/// An inode goes when it has no name, no open handle, and nobody remembers it: see [`MemoryVolume::remember`].
///
/// Names, inodes and symlink targets are bounded by the number of inodes, not counted as bytes. A process whose
/// memory runs out although the limits allow more is ended by the allocator or the kernel.
pub struct MemoryVolume {
    inodes: HashMap<Ino, Inode>,
    handles: HashMap<Handle, Ino>,
    last_ino: u64,
    last_handle: u64,
    total_pages: u64,
    free_pages: u64,
    total_inodes: u64,
    atime: AtimePolicy,
    clock: Clock,
}

impl std::fmt::Debug for MemoryVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryVolume")
            .field("space", &self.space())
            .field("handles", &self.handles.len())
            .finish_non_exhaustive()
    }
}

impl MemoryVolume {
    /// An empty volume whose root has mode 0755 and belongs to `owner`.
    #[must_use]
    pub fn new(limits: Limits, owner: Owner, atime: AtimePolicy) -> Self {
        Self::with_clock(limits, owner, atime, Box::new(SystemTime::now))
    }

    /// Like [`MemoryVolume::new`], with another source of time.
    #[must_use]
    pub fn with_clock(limits: Limits, owner: Owner, atime: AtimePolicy, clock: Clock) -> Self {
        let pages = limits.bytes / PAGE_SIZE as u64;
        let mut volume = Self {
            inodes: HashMap::new(),
            handles: HashMap::new(),
            last_ino: Ino::ROOT.0,
            last_handle: 0,
            total_pages: pages,
            free_pages: pages,
            // A directory's link count is its number of subdirectories plus 2, and has 32 bits.
            total_inodes: limits.inodes.clamp(1, u64::from(u32::MAX - 2)),
            atime,
            clock,
        };
        let now = volume.now();
        let root = Inode {
            perm: 0o755,
            uid: owner.uid,
            gid: owner.gid,
            nlink: 2,
            atime: now,
            mtime: now,
            ctime: now,
            remembered: 0,
            opened: 0,
            body: Body::Dir(Directory::new(Ino::ROOT)),
        };
        volume.inodes.insert(Ino::ROOT, root);
        volume
    }

    /// Space held and free.
    #[must_use]
    pub fn space(&self) -> SpaceReport {
        SpaceReport {
            block_size: PAGE_SIZE as u32,
            total_blocks: self.total_pages,
            free_blocks: self.free_pages,
            total_inodes: self.total_inodes,
            free_inodes: self.total_inodes - self.inodes.len() as u64,
            name_max: MAX_NAME as u32,
        }
    }

    /// Attributes of an inode.
    ///
    /// # Errors
    /// [`Error::Stale`] if there is no such inode.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        Ok(self.inode(ino)?.attr(ino))
    }

    /// Changes attributes; all of them or, on an error, none.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::IsADirectory`] or [`Error::InvalidArgument`] if a size is given for something that
    /// is not a regular file; [`Error::FileTooLarge`] beyond [`MAX_FILE_SIZE`].
    pub fn set_attr(&mut self, ino: Ino, change: &AttrChange) -> Result<Attr> {
        let now = self.now();
        let inode = self.inodes.get_mut(&ino).ok_or(Error::Stale)?;
        if *change == AttrChange::default() {
            return Ok(inode.attr(ino));
        }
        if let Some(size) = change.size {
            let content = inode.file_mut()?;
            if size > MAX_FILE_SIZE {
                return Err(Error::FileTooLarge);
            }
            self.free_pages += content.resize(size);
            inode.mtime = now;
        }
        let time = |change| match change {
            TimeChange::Now => now,
            TimeChange::At(time) => time,
        };
        inode.perm = change.perm.map_or(inode.perm, |perm| perm & PERM_BITS);
        inode.uid = change.uid.unwrap_or(inode.uid);
        inode.gid = change.gid.unwrap_or(inode.gid);
        inode.atime = change.atime.map_or(inode.atime, time);
        inode.mtime = change.mtime.map_or(inode.mtime, time);
        inode.ctime = now;
        Ok(inode.attr(ino))
    }

    /// Notes one more outside reference to `ino`, which keeps it alive without a name until [`MemoryVolume::forget`].
    ///
    /// # Errors
    /// [`Error::Stale`] if there is no such inode.
    pub fn remember(&mut self, ino: Ino) -> Result<()> {
        let inode = self.inode_mut(ino)?;
        inode.remembered = inode.remembered.saturating_add(1);
        Ok(())
    }

    /// Drops `count` outside references. More than there are, or an inode that is gone, is not an error.
    pub fn forget(&mut self, ino: Ino, count: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.remembered = inode.remembered.saturating_sub(count);
        }
        self.reap(ino);
    }

    fn now(&self) -> SystemTime {
        (self.clock)()
    }

    fn inode(&self, ino: Ino) -> Result<&Inode> {
        self.inodes.get(&ino).ok_or(Error::Stale)
    }

    fn inode_mut(&mut self, ino: Ino) -> Result<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(Error::Stale)
    }

    fn dir(&self, ino: Ino) -> Result<&Directory> {
        self.inode(ino)?.dir()
    }

    fn dir_mut(&mut self, ino: Ino) -> Result<&mut Directory> {
        self.inode_mut(ino)?.dir_mut()
    }

    fn kind(&self, ino: Ino) -> Result<FileKind> {
        Ok(self.inode(ino)?.kind())
    }

    /// Removes the inode if nobody can reach it.
    fn reap(&mut self, ino: Ino) {
        if self.inodes.get(&ino).is_some_and(Inode::is_unreachable)
            && let Some(gone) = self.inodes.remove(&ino)
            && let Body::File(content) = gone.body
        {
            self.free_pages += content.held();
        }
    }
}
