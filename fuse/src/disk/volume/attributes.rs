// SPDX-License-Identifier: Apache-2.0
//! Attributes, the size of a file, extended attributes.

use rustix::io::Errno;

use super::content::zero_tail;
use super::{DiskVolume, MAX_FILE_SIZE, nanoseconds, time, transact};
use crate::disk::extents::LBLK_END;
use crate::disk::inode::FLAG_ORPHAN;
use crate::disk::xattr::{Attribute, Attributes, MAX_VALUE, SetMode, split_name};
use crate::disk::{BLOCK_SIZE, FileType, Inode, MetaRead, Result, map, orphan};
use crate::error::Error;
use crate::types::{Attr, AttrChange, FileKind, Ino, TimeChange};

/// The permission bits of a mode.
pub(super) const PERM_BITS: u16 = 0o7777;

/// What the caller calls a type.
pub(super) fn kind(file_type: FileType) -> FileKind {
    match file_type {
        FileType::Regular => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::Character => FileKind::CharDevice,
        FileType::Block => FileKind::BlockDevice,
    }
}

pub(super) fn attr(ino: u32, inode: &Inode) -> Attr {
    Attr {
        ino: Ino(ino.into()),
        generation: inode.generation,
        kind: kind(inode.file_type()),
        perm: inode.mode & PERM_BITS,
        is_member: inode.file_type() == FileType::Regular && inode.parent != 0,
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev,
        size: inode.size,
        blocks: inode.blocks.saturating_mul(BLOCK_SIZE as u64 / 512),
        atime: time(inode.atime),
        mtime: time(inode.mtime),
        ctime: time(inode.ctime),
    }
}

impl DiskVolume {
    /// Attributes of an inode.
    ///
    /// # Errors
    /// [`Error::Stale`] if there is no such inode.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        let (ino, inode) = self.inode(ino)?;
        Ok(attr(ino, &inode))
    }

    /// Changes attributes; all of them or, on an error, none.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::IsADirectory`] or [`Error::InvalidArgument`] if a size is given for something that
    /// is not a regular file; [`Error::FileTooLarge`] beyond [`MAX_FILE_SIZE`].
    pub fn set_attr(&mut self, ino: Ino, change: &AttrChange) -> Result<Attr> {
        let (ino, inode) = self.inode(ino)?;
        if *change == AttrChange::default() {
            return Ok(attr(ino, &inode));
        }
        if let Some(size) = change.size {
            self.regular(Ino(ino.into()))?;
            if size > MAX_FILE_SIZE {
                return Err(Error::FileTooLarge.into());
            }
            self.settle(ino)?;
        }
        let now = self.now();
        let (attr, cut) = transact(&mut self.store, |tx| {
            let mut inode = tx.read_inode(ino)?;
            let mut cut = None;
            if let Some(size) = change.size {
                if size > inode.size {
                    zero_tail(tx, ino, &inode)?;
                    inode.size = size;
                } else {
                    inode.size = size;
                    let from = size.div_ceil(BLOCK_SIZE as u64);
                    let all = map::free_range(tx, ino, &mut inode, (from, LBLK_END), false)?;
                    if !all && inode.flags & FLAG_ORPHAN == 0 {
                        cut = Some(Some(orphan::add(tx, ino, &mut inode)?));
                    } else if !all {
                        cut = Some(None);
                    }
                }
                inode.mtime = now;
            }
            let at = |change| match change {
                TimeChange::Now => now,
                TimeChange::At(time) => nanoseconds(time),
            };
            if let Some(perm) = change.perm {
                inode.mode = inode.mode & !PERM_BITS | perm & PERM_BITS;
            }
            inode.uid = change.uid.unwrap_or(inode.uid);
            inode.gid = change.gid.unwrap_or(inode.gid);
            inode.atime = change.atime.map_or(inode.atime, at);
            inode.mtime = change.mtime.map_or(inode.mtime, at);
            inode.ctime = now;
            tx.write_inode(ino, &inode)?;
            Ok((attr(ino, &inode), cut))
        })?;
        let Some(listed) = cut else {
            return Ok(attr);
        };
        if let Some(next) = listed {
            self.orphans.added(ino, next);
        }
        self.finish_truncation(ino)?;
        self.attr(Ino(ino.into()))
    }

    /// Value of an extended attribute, by its full name.
    ///
    /// # Errors
    /// ENODATA; EOPNOTSUPP in another namespace than `user`, `trusted` and `security`; [`Error::Stale`].
    pub fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let (ino, inode) = self.inode(ino)?;
        let (namespace, name) = split_name(name)?;
        let all = Attributes::read(&self.store, ino, &inode)?;
        let value = all.get(namespace, name);
        value
            .map(<[u8]>::to_vec)
            .ok_or(crate::disk::Error::Errno(Errno::NODATA))
    }

    /// Full names of the extended attributes.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn list_xattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        let (ino, inode) = self.inode(ino)?;
        let all = Attributes::read(&self.store, ino, &inode)?;
        Ok(all.iter().map(Attribute::full_name).collect())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// E2BIG for a value of more than 4000 bytes; [`Error::NoSpace`]; [`Error::Exists`] or ENODATA as `mode` says;
    /// EOPNOTSUPP in another namespace; [`Error::Stale`].
    pub fn set_xattr(&mut self, ino: Ino, name: &[u8], value: &[u8], mode: SetMode) -> Result<()> {
        let (namespace, name) = split_name(name)?;
        if value.len() > MAX_VALUE {
            return Err(crate::disk::Error::Errno(Errno::TOOBIG));
        }
        self.change_xattrs(ino, |all| {
            let there = all.remove(namespace, name);
            match mode {
                SetMode::Create if there => return Err(Error::Exists.into()),
                SetMode::Replace if !there => return Err(crate::disk::Error::Errno(Errno::NODATA)),
                _ => {}
            }
            all.insert(Attribute {
                namespace,
                name: name.to_vec(),
                value: value.to_vec(),
            })
        })
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// ENODATA; EOPNOTSUPP in another namespace; [`Error::Stale`].
    pub fn remove_xattr(&mut self, ino: Ino, name: &[u8]) -> Result<()> {
        let (namespace, name) = split_name(name)?;
        self.change_xattrs(ino, |all| match all.remove(namespace, name) {
            true => Ok(()),
            false => Err(crate::disk::Error::Errno(Errno::NODATA)),
        })
    }

    fn change_xattrs(
        &mut self,
        ino: Ino,
        mut change: impl FnMut(&mut Attributes) -> Result<()>,
    ) -> Result<()> {
        let (ino, _) = self.inode(ino)?;
        let now = self.now();
        transact(&mut self.store, |tx| {
            let mut inode = tx.read_inode(ino)?;
            let mut all = Attributes::read(&*tx, ino, &inode)?;
            change(&mut all)?;
            all.write(tx, ino, &mut inode)?;
            inode.ctime = now;
            tx.write_inode(ino, &inode)
        })
    }
}
