// SPDX-License-Identifier: Apache-2.0
//! Names: lookup, make, link, unlink, rmdir.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::attributes::{PERM_BITS, attr};
use super::{DiskVolume, Inodes, MAX_LINKS, transact};
use crate::disk::dir::{self, Dir};
use crate::disk::{FileType, Inode, MetaRead, Result, Tx, orphan, symlink};
use crate::error::Error;
use crate::types::{Attr, Ino, NewNode, Owner};
use crate::volume::{MAX_NAME, check_name, check_target};

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

/// Takes one name, an entry of `parent`, from `ino`. The last one puts it on the orphan list: then returns who comes
/// after it there.
pub(super) fn drop_name(
    tx: &mut Tx<'_>,
    inodes: &mut Inodes,
    parent: u32,
    ino: u32,
    now: i64,
) -> Result<Option<u32>> {
    let inode = inodes.get(tx, ino)?;
    inode.ctime = now;
    let is_dir = inode.file_type() == FileType::Directory;
    inode.nlink = match is_dir {
        true => 0,
        false => inode.nlink.saturating_sub(1),
    };
    let next = match inode.nlink {
        0 => Some(orphan::add(tx, ino, inode)?),
        _ => None,
    };
    if is_dir {
        let parent = inodes.get(tx, parent)?;
        parent.nlink = parent.nlink.saturating_sub(1);
    }
    Ok(next)
}

impl DiskVolume {
    /// Finds an entry of a directory.
    ///
    /// # Errors
    /// As for [`crate::MemoryVolume::lookup`].
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
        let (ino, inode) = self.inode(ino)?;
        if inode.file_type() != FileType::Symlink {
            return Err(Error::InvalidArgument.into());
        }
        let target = symlink::read(&self.store, ino, &inode)?;
        self.accessed(ino, &inode);
        Ok(OsString::from_vec(target))
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
    /// As for [`crate::MemoryVolume::make`].
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
            if target.as_bytes().contains(&0) {
                return Err(Error::InvalidArgument.into());
            }
        }
        let now = self.now();
        transact(&mut self.store, |tx| {
            let mut dir = tx.read_inode(parent)?;
            let is_dir = node == NewNode::Directory;
            let (ino, generation) = tx.alloc_inode(parent, is_dir)?;
            let (format, rdev) = format_and_rdev(&node);
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
            match &node {
                NewNode::Directory => {
                    inode.nlink = 2;
                    inode.parent = parent;
                    dir::append_leaf(tx, ino, &mut inode)?;
                    dir.nlink = dir.nlink.checked_add(1).ok_or(Error::TooManyLinks)?;
                }
                NewNode::Symlink(target) => {
                    symlink::write(tx, ino, &mut inode, target.as_bytes())?;
                }
                _ => {}
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
    /// As for [`crate::MemoryVolume::link`].
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
    /// As for [`crate::MemoryVolume::unlink`].
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
    /// As for [`crate::MemoryVolume::rmdir`].
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
        let next = transact(&mut self.store, |tx| {
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
            let next = drop_name(tx, &mut inodes, parent, ino, now)?;
            inodes.write(tx)?;
            Ok(next)
        })?;
        self.name_dropped(ino, next);
        Ok(())
    }

    /// Follows a finished [`drop_name`].
    pub(super) fn name_dropped(&mut self, ino: u32, next: Option<u32>) {
        if let Some(next) = next {
            self.orphans.added(ino, next);
            self.drop_if_dead(ino);
        }
    }
}
