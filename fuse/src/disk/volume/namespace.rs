// SPDX-License-Identifier: Apache-2.0
//! Names: lookup, make, link, unlink, rmdir.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::io::Errno;

use super::attributes::{PERM_BITS, attr};
use super::names::{MAX_NAME, check_name, check_target};
use super::vectors::{self, Freed, collection_of};
use super::{DiskVolume, Inodes, MAX_LINKS, transact};
use crate::disk::dir::{self, Dir};
use crate::disk::{FileType, Inode, MetaRead, Result, Tx, orphan, symlink};
use crate::error::Error;
use crate::types::{Attr, Ino, NewNode, Owner};

const SETGID: u16 = 0o2000;
const SYMLINK_PERM: u16 = 0o777;

const S_IFIFO: u16 = 0o010_000;
const S_IFCHR: u16 = 0o020_000;
const S_IFDIR: u16 = 0o040_000;
const S_IFBLK: u16 = 0o060_000;
const S_IFREG: u16 = 0o100_000;
const S_IFLNK: u16 = 0o120_000;
const S_IFSOCK: u16 = 0o140_000;

fn format_and_rdev(node: &NewNode) -> (u16, u32) {
    match node {
        NewNode::Regular => (S_IFREG, 0),
        NewNode::Directory => (S_IFDIR, 0),
        NewNode::Symlink(_) => (S_IFLNK, 0),
        NewNode::Fifo => (S_IFIFO, 0),
        NewNode::Socket => (S_IFSOCK, 0),
        NewNode::CharDevice(rdev) => (S_IFCHR, *rdev),
        NewNode::BlockDevice(rdev) => (S_IFBLK, *rdev),
    }
}

/// What the end of a name has brought with it, for when the operation has finished.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// The inode came on the orphan list, in front of this one.
    next: Option<u32>,
    /// So did the store of a collection, in front of the inode.
    store: Option<(u32, u32)>,
    /// A vector went.
    freed: Option<Freed>,
}

/// Takes one name, an entry of `parent`, from `ino`. The last one puts it on the orphan list, and takes its vector or
/// its store.
pub(super) fn drop_name(
    tx: &mut Tx<'_>,
    inodes: &mut Inodes,
    parent: u32,
    ino: u32,
    now: i64,
) -> Result<Dropped> {
    let mut dropped = Dropped::default();
    let inode = inodes.get(tx, ino)?;
    inode.ctime = now;
    let is_dir = inode.file_type() == FileType::Directory;
    inode.nlink = match is_dir {
        true => 0,
        false => inode.nlink.saturating_sub(1),
    };
    if inode.nlink == 0 {
        dropped.next = Some(orphan::add(tx, ino, inode)?);
        dropped.freed = vectors::detach(tx, inodes, ino)?;
    }
    if is_dir {
        let parent = inodes.get(tx, parent)?;
        parent.nlink = parent.nlink.saturating_sub(1);
        dropped.store = vectors::remove_store(tx, inodes, ino)?;
    }
    Ok(dropped)
}

/// A new inode for a name in `dir`, with its content: not written yet.
pub(super) fn new_inode(
    tx: &mut Tx<'_>,
    (parent, dir): (u32, &Inode),
    node: &NewNode,
    perm: u16,
    owner: Owner,
    now: i64,
) -> Result<(u32, Inode)> {
    let is_dir = *node == NewNode::Directory;
    let (ino, generation) = tx.alloc_inode(parent, is_dir)?;
    let (format, rdev) = format_and_rdev(node);
    let setgid = dir.mode & SETGID;
    let perm = match node {
        NewNode::Symlink(_) => SYMLINK_PERM,
        NewNode::Directory => perm & PERM_BITS | setgid,
        _ => perm & PERM_BITS,
    };
    let mut inode = Inode::new(generation, format | perm);
    inode.uid = owner.uid;
    inode.gid = if setgid != 0 { dir.gid } else { owner.gid };
    inode.rdev = rdev;
    inode.nlink = 1;
    (inode.atime, inode.mtime, inode.ctime, inode.btime) = (now, now, now, now);
    match node {
        NewNode::Directory => {
            inode.nlink = 2;
            inode.parent = parent;
            dir::append_leaf(tx, ino, &mut inode)?;
        }
        NewNode::Regular => inode.parent = collection_of(parent, dir),
        NewNode::Symlink(target) => symlink::write(tx, ino, &mut inode, target.as_bytes())?,
        _ => {}
    }
    Ok((ino, inode))
}

impl DiskVolume {
    /// Finds an entry of a directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::NameTooLong`], [`Error::Stale`].
    pub fn lookup(&self, parent: Ino, name: &OsStr) -> Result<Attr> {
        if name.len() > MAX_NAME {
            return Err(Error::NameTooLong.into());
        }
        let (parent, inode) = self.directory(parent)?;
        let ino = self.entry(parent, &inode, name)?;
        Ok(attr(ino, &self.store.read_inode(ino)?))
    }

    /// Inode of an entry.
    pub(super) fn entry(&self, parent: u32, inode: &Inode, name: &OsStr) -> Result<u32> {
        let dir = Dir { ino: parent, inode };
        let found = dir.find(&self.store, name.as_bytes())?;
        Ok(found.ok_or(Error::NotFound)?.ino)
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it is not a symbolic link; [`Error::Stale`].
    pub fn read_link(&mut self, ino: Ino) -> Result<OsString> {
        let (ino, inode) = self.symlink(ino)?;
        let target = symlink::read(&self.store, ino, &inode)?;
        self.accessed(ino, &inode);
        Ok(OsString::from_vec(target))
    }

    /// The same where the time of access need not be noted, so that nothing changes; None where it must.
    pub fn read_link_unnoted(&self, ino: Ino) -> Option<Result<OsString>> {
        match self.symlink(ino) {
            Ok((_, inode)) if self.access_is_due(&inode) => None,
            Ok((ino, inode)) => {
                Some(symlink::read(&self.store, ino, &inode).map(OsString::from_vec))
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn symlink(&self, ino: Ino) -> Result<(u32, Inode)> {
        let (ino, inode) = self.inode(ino)?;
        match inode.file_type() {
            FileType::Symlink => Ok((ino, inode)),
            _ => Err(Error::InvalidArgument.into()),
        }
    }

    /// Makes sure that `name` can be made in `parent`.
    fn check_free(&self, parent: Ino, name: &OsStr) -> Result<u32> {
        check_name(name)?;
        let (parent, inode) = self.directory(parent)?;
        let dir = Dir {
            ino: parent,
            inode: &inode,
        };
        match dir.find(&self.store, name.as_bytes())? {
            Some(_) => Err(Error::Exists.into()),
            None => Self::check_linked(&inode).map(|()| parent),
        }
    }

    /// Makes a new inode under `parent`/`name`. `perm` is ignored for a symbolic link, which always has 0777.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::NoSpace`]; [`Error::NotFound`] if `parent` was removed or a symlink target is empty;
    /// [`Error::NameTooLong`], [`Error::InvalidArgument`], [`Error::NotADirectory`], [`Error::Stale`].
    pub fn make(
        &mut self,
        parent: Ino,
        name: &OsStr,
        node: NewNode,
        perm: u16,
        owner: Owner,
    ) -> Result<Attr> {
        let parent = self.check_free(parent, name)?;
        if let NewNode::Symlink(target) = &node {
            check_target(target)?;
        }
        let now = self.now();
        transact(&mut self.store, |tx| {
            let mut dir = tx.read_inode(parent)?;
            let (ino, inode) = new_inode(tx, (parent, &dir), &node, perm, owner, now)?;
            if node == NewNode::Directory {
                dir.nlink = dir.nlink.checked_add(1).ok_or(Error::TooManyLinks)?;
            }
            tx.write_inode(ino, &inode)?;
            let kind = inode.file_type().dir_type();
            dir::insert(tx, parent, &mut dir, name.as_bytes(), (ino, kind))?;
            (dir.mtime, dir.ctime) = (now, now);
            tx.write_inode(parent, &dir)?;
            Ok(attr(ino, &inode))
        })
    }

    /// Gives `ino` a further name.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] for a directory; [`Error::NotFound`] if `ino` has no name left or `parent` was removed;
    /// [`Error::Exists`], [`Error::TooManyLinks`], [`Error::NameTooLong`], [`Error::InvalidArgument`],
    /// [`Error::NotADirectory`], [`Error::Stale`]; EXDEV across the border of a collection.
    pub fn link(&mut self, ino: Ino, parent: Ino, name: &OsStr) -> Result<Attr> {
        let parent = self.check_free(parent, name)?;
        let (ino, inode) = self.inode(ino)?;
        if inode.file_type() == FileType::Directory {
            return Err(Error::NotPermitted.into());
        }
        Self::check_linked(&inode)?;
        if inode.nlink >= MAX_LINKS {
            return Err(Error::TooManyLinks.into());
        }
        let target = self.store.read_inode(parent)?;
        let is_file = inode.file_type() == FileType::Regular;
        if is_file && inode.parent != collection_of(parent, &target) {
            return Err(crate::disk::Error::Errno(Errno::XDEV));
        }
        let now = self.now();
        transact(&mut self.store, |tx| {
            let mut inode = tx.read_inode(ino)?;
            let mut dir = tx.read_inode(parent)?;
            let kind = inode.file_type().dir_type();
            dir::insert(tx, parent, &mut dir, name.as_bytes(), (ino, kind))?;
            (dir.mtime, dir.ctime) = (now, now);
            tx.write_inode(parent, &dir)?;
            inode.nlink += 1;
            inode.ctime = now;
            tx.write_inode(ino, &inode)?;
            Ok(attr(ino, &inode))
        })
    }

    /// Removes a name of something other than a directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsADirectory`], [`Error::NotADirectory`], [`Error::Stale`].
    pub fn unlink(&mut self, parent: Ino, name: &OsStr) -> Result<()> {
        let (parent, dir) = self.directory(parent)?;
        let ino = self.entry(parent, &dir, name)?;
        match self.store.read_inode(ino)?.file_type() {
            FileType::Directory => Err(Error::IsADirectory.into()),
            _ => self.remove_entry(parent, name, ino),
        }
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::NotFound`], [`Error::NotADirectory`], [`Error::Stale`].
    pub fn rmdir(&mut self, parent: Ino, name: &OsStr) -> Result<()> {
        let (parent, dir) = self.directory(parent)?;
        let ino = self.entry(parent, &dir, name)?;
        let inode = self.store.read_inode(ino)?;
        if inode.file_type() != FileType::Directory {
            return Err(Error::NotADirectory.into());
        }
        if dir::entries(&inode) > 0 {
            return Err(Error::NotEmpty.into());
        }
        self.remove_entry(parent, name, ino)
    }

    fn remove_entry(&mut self, parent: u32, name: &OsStr, ino: u32) -> Result<()> {
        let now = self.now();
        let dropped = transact(&mut self.store, |tx| {
            let mut inodes = Inodes::default();
            let dir = inodes.get(tx, parent)?;
            let found = Dir {
                ino: parent,
                inode: dir,
            }
            .find(&*tx, name.as_bytes())?
            .ok_or(Error::NotFound)?;
            dir::remove(tx, parent, dir, found)?;
            (dir.mtime, dir.ctime) = (now, now);
            let dropped = drop_name(tx, &mut inodes, parent, ino, now)?;
            inodes.write(tx)?;
            Ok(dropped)
        })?;
        self.name_dropped(ino, &dropped);
        Ok(())
    }

    /// Follows a finished [`drop_name`].
    pub(super) fn name_dropped(&mut self, ino: u32, dropped: &Dropped) {
        self.vector_freed(dropped.freed);
        if let Some(next) = dropped.next {
            self.orphans.added(ino, next);
        }
        if let Some((store, next)) = dropped.store {
            self.orphans.added(store, next);
            self.collections.forget(ino);
            self.drop_if_dead(store);
        }
        if dropped.next.is_some() {
            self.drop_if_dead(ino);
        }
    }
}
