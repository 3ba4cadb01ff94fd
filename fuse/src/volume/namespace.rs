// SPDX-License-Identifier: Apache-2.0
//! Names: what is where, and moving it about.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{MAX_LINKS, MAX_NAME, MAX_SYMLINK, MemoryVolume, PERM_BITS};
use crate::dir::Directory;
use crate::error::{Error, Result};
use crate::inode::{Body, Inode};
use crate::pages::PageMap;
use crate::types::{Attr, FileKind, Ino, NewNode, Owner, RenameMode};

const SETGID: u16 = 0o2000;
const SYMLINK_PERM: u16 = 0o777;

/// Refuses what cannot be the name of an entry.
pub(crate) fn check_name(name: &OsStr) -> Result<()> {
    let bytes = name.as_bytes();
    if bytes.len() > MAX_NAME {
        return Err(Error::NameTooLong);
    }
    let reserved = matches!(bytes, b"" | b"." | b"..");
    if reserved || bytes.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(Error::InvalidArgument);
    }
    Ok(())
}

pub(crate) fn check_target(target: &OsStr) -> Result<()> {
    match target.len() {
        0 => Err(Error::NotFound),
        1..=MAX_SYMLINK => Ok(()),
        _ => Err(Error::NameTooLong),
    }
}

impl MemoryVolume {
    /// Attributes of the entry `name` of `parent`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::NameTooLong`], [`Error::Stale`].
    pub fn lookup(&self, parent: Ino, name: &OsStr) -> Result<Attr> {
        if name.len() > MAX_NAME {
            return Err(Error::NameTooLong);
        }
        self.attr(self.entry(parent, name)?)
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it is not a symbolic link; [`Error::Stale`].
    pub fn read_link(&mut self, ino: Ino) -> Result<OsString> {
        let (now, policy) = (self.now(), self.atime);
        let inode = self.inode_mut(ino)?;
        let Body::Symlink(target) = &inode.body else {
            return Err(Error::InvalidArgument);
        };
        let target = target.clone();
        inode.accessed(now, policy);
        Ok(target)
    }

    /// Makes a new inode under `parent`/`name`. `perm` is ignored for a symbolic link, which always has 0777.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::NoSpace`] without a free inode; [`Error::NotFound`] if `parent` was removed or a
    /// symlink target is empty; [`Error::NameTooLong`], [`Error::InvalidArgument`], [`Error::NotADirectory`],
    /// [`Error::Stale`].
    pub fn make(
        &mut self,
        parent: Ino,
        name: &OsStr,
        node: NewNode,
        perm: u16,
        owner: Owner,
    ) -> Result<Attr> {
        self.check_free(parent, name)?;
        if let NewNode::Symlink(target) = &node {
            check_target(target)?;
        }
        if self.inodes.len() as u64 >= self.total_inodes {
            return Err(Error::NoSpace);
        }
        let now = self.now();
        let ino = Ino(self.last_ino + 1);
        let dir = self.inode_mut(parent)?;
        let (gid, inherited) = if dir.perm & SETGID != 0 {
            (dir.gid, SETGID)
        } else {
            (owner.gid, 0)
        };
        let perm = perm & PERM_BITS;
        let (body, perm, nlink) = match node {
            NewNode::Regular => (Body::File(PageMap::default()), perm, 1),
            NewNode::Directory => (Body::Dir(Directory::new(parent)), perm | inherited, 2),
            NewNode::Symlink(target) => (Body::Symlink(target), SYMLINK_PERM, 1),
            NewNode::Fifo => (special(FileKind::Fifo, 0), perm, 1),
            NewNode::Socket => (special(FileKind::Socket, 0), perm, 1),
            NewNode::CharDevice(rdev) => (special(FileKind::CharDevice, rdev), perm, 1),
            NewNode::BlockDevice(rdev) => (special(FileKind::BlockDevice, rdev), perm, 1),
        };
        let inode = Inode {
            perm,
            uid: owner.uid,
            gid,
            nlink,
            atime: now,
            mtime: now,
            ctime: now,
            remembered: 0,
            opened: 0,
            body,
        };
        dir.dir_mut()?.set(name, ino);
        dir.nlink += u32::from(inode.is_dir());
        dir.modified(now);
        let attr = inode.attr(ino);
        self.last_ino = ino.0;
        self.inodes.insert(ino, inode);
        Ok(attr)
    }

    /// Gives `ino` a further name.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] for a directory; [`Error::NotFound`] if `ino` has no name left or `parent` was removed;
    /// [`Error::Exists`], [`Error::TooManyLinks`], [`Error::NameTooLong`], [`Error::InvalidArgument`],
    /// [`Error::NotADirectory`], [`Error::Stale`].
    pub fn link(&mut self, ino: Ino, parent: Ino, name: &OsStr) -> Result<Attr> {
        self.check_free(parent, name)?;
        let now = self.now();
        let inode = self.inode_mut(ino)?;
        if inode.is_dir() {
            return Err(Error::NotPermitted);
        }
        match inode.nlink {
            0 => return Err(Error::NotFound),
            MAX_LINKS.. => return Err(Error::TooManyLinks),
            _ => inode.nlink += 1,
        }
        inode.ctime = now;
        let attr = inode.attr(ino);
        let dir = self.inode_mut(parent)?;
        dir.dir_mut()?.set(name, ino);
        dir.modified(now);
        Ok(attr)
    }

    /// Removes a name of something other than a directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsADirectory`], [`Error::NotADirectory`], [`Error::Stale`].
    pub fn unlink(&mut self, parent: Ino, name: &OsStr) -> Result<()> {
        let ino = self.entry(parent, name)?;
        if self.kind(ino)? == FileKind::Directory {
            return Err(Error::IsADirectory);
        }
        self.remove_entry(parent, name, ino)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::NotFound`], [`Error::NotADirectory`], [`Error::Stale`].
    pub fn rmdir(&mut self, parent: Ino, name: &OsStr) -> Result<()> {
        let ino = self.entry(parent, name)?;
        if !self.dir(ino)?.is_empty() {
            return Err(Error::NotEmpty);
        }
        self.remove_entry(parent, name, ino)
    }

    /// Moves `parent`/`name` to `new_parent`/`new_name`. If both name the same inode, nothing happens.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exists`] with [`RenameMode::NoReplace`]; [`Error::InvalidArgument`] if a directory
    /// would come to lie in itself; [`Error::NotADirectory`], [`Error::IsADirectory`] or [`Error::NotEmpty`] if the
    /// target cannot be replaced; [`Error::NameTooLong`], [`Error::Stale`].
    pub fn rename(
        &mut self,
        parent: Ino,
        name: &OsStr,
        new_parent: Ino,
        new_name: &OsStr,
        mode: RenameMode,
    ) -> Result<()> {
        check_name(new_name)?;
        let source = self.entry(parent, name)?;
        let target = self.dir(new_parent)?.get(new_name);
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Error::Exists),
            (RenameMode::Exchange, None) => return Err(Error::NotFound),
            _ if self.inode(new_parent)?.nlink == 0 => return Err(Error::NotFound),
            _ => {}
        }
        if target == Some(source) {
            return Ok(());
        }
        let source_is_dir = self.inode(source)?.is_dir();
        if source_is_dir && self.is_within(new_parent, source)? {
            return Err(Error::InvalidArgument);
        }
        if mode == RenameMode::Exchange
            && let Some(target) = target
        {
            if self.inode(target)?.is_dir() && self.is_within(parent, target)? {
                return Err(Error::InvalidArgument);
            }
            self.place(parent, name, target, new_parent)?;
            return self.place(new_parent, new_name, source, parent);
        }
        if let Some(target) = target {
            match (source_is_dir, self.inode(target)?.is_dir()) {
                (true, false) => return Err(Error::NotADirectory),
                (false, true) => return Err(Error::IsADirectory),
                (true, true) if !self.dir(target)?.is_empty() => return Err(Error::NotEmpty),
                _ => {}
            }
            self.drop_link(target, new_parent)?;
        }
        self.place(new_parent, new_name, source, parent)?;
        self.dir_mut(parent)?.remove(name);
        if let Some(target) = target {
            self.reap(target);
        }
        Ok(())
    }

    /// Inode of an entry.
    fn entry(&self, parent: Ino, name: &OsStr) -> Result<Ino> {
        self.dir(parent)?.get(name).ok_or(Error::NotFound)
    }

    /// Makes sure that `name` can be made in `parent`.
    fn check_free(&self, parent: Ino, name: &OsStr) -> Result<()> {
        check_name(name)?;
        let inode = self.inode(parent)?;
        match (inode.dir()?.get(name), inode.nlink) {
            (Some(_), _) => Err(Error::Exists),
            (None, 0) => Err(Error::NotFound),
            (None, _) => Ok(()),
        }
    }

    /// Whether `ino` is `ancestor` or lies below it.
    fn is_within(&self, mut ino: Ino, ancestor: Ino) -> Result<bool> {
        while ino != ancestor {
            if ino == Ino::ROOT {
                return Ok(false);
            }
            ino = self.dir(ino)?.parent;
        }
        Ok(true)
    }

    /// Points `parent`/`name` at `ino`, which so far was in the directory `from`.
    fn place(&mut self, parent: Ino, name: &OsStr, ino: Ino, from: Ino) -> Result<()> {
        let now = self.now();
        let moved = self.inode_mut(ino)?;
        moved.ctime = now;
        if let Body::Dir(dir) = &mut moved.body {
            dir.parent = parent;
            self.inode_mut(from)?.nlink -= 1;
            self.inode_mut(parent)?.nlink += 1;
        }
        self.inode_mut(from)?.modified(now);
        let dir = self.inode_mut(parent)?;
        dir.modified(now);
        dir.dir_mut()?.set(name, ino);
        Ok(())
    }

    /// Counts one name of `ino`, an entry of `parent`, less.
    fn drop_link(&mut self, ino: Ino, parent: Ino) -> Result<()> {
        let now = self.now();
        let inode = self.inode_mut(ino)?;
        inode.ctime = now;
        if inode.is_dir() {
            inode.nlink = 0;
            self.inode_mut(parent)?.nlink -= 1;
        } else {
            inode.nlink -= 1;
        }
        Ok(())
    }

    fn remove_entry(&mut self, parent: Ino, name: &OsStr, ino: Ino) -> Result<()> {
        self.drop_link(ino, parent)?;
        let now = self.now();
        let dir = self.inode_mut(parent)?;
        dir.dir_mut()?.remove(name);
        dir.modified(now);
        self.reap(ino);
        Ok(())
    }
}

fn special(kind: FileKind, rdev: u32) -> Body {
    Body::Special { kind, rdev }
}
