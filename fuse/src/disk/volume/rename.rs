// SPDX-License-Identifier: Apache-2.0
//! Renaming.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::names::check_name;
use super::namespace::drop_name;
use super::vectors::{collection_of, may_move};
use super::{DiskVolume, Inodes, transact};
use crate::disk::dir::{self, Dir, Found};
use crate::disk::{FileType, Kind, MetaRead, Result, Tx, corrupt};
use crate::error::Error;
use crate::types::{Ino, RenameMode};

/// An entry: a directory and a name in it.
#[derive(Clone, Copy)]
struct Place<'a> {
    dir: u32,
    name: &'a [u8],
}

impl Place<'_> {
    fn find(self, tx: &Tx<'_>, inodes: &mut Inodes) -> Result<Option<Found>> {
        let inode = inodes.get(tx, self.dir)?;
        Dir {
            ino: self.dir,
            inode,
        }
        .find(tx, self.name)
    }
}

/// `ino`, so far in `from`, comes to lie in `to`.
fn moved(
    tx: &Tx<'_>,
    inodes: &mut Inodes,
    ino: u32,
    (from, to): (u32, u32),
    now: i64,
) -> Result<()> {
    let target = inodes.get(tx, to)?;
    let collection = collection_of(to, target);
    let inode = inodes.get(tx, ino)?;
    inode.ctime = now;
    if inode.file_type() == FileType::Regular {
        may_move(inode, collection)?;
        inode.parent = collection;
    }
    if inode.file_type() == FileType::Directory && from != to {
        inode.parent = to;
        let old = inodes.get(tx, from)?;
        old.nlink = old.nlink.saturating_sub(1);
        let new = inodes.get(tx, to)?;
        new.nlink = new.nlink.checked_add(1).ok_or(Error::TooManyLinks)?;
    }
    for dir in [from, to] {
        let dir = inodes.get(tx, dir)?;
        (dir.mtime, dir.ctime) = (now, now);
    }
    Ok(())
}

impl DiskVolume {
    /// Moves `parent`/`name` to `new_parent`/`new_name`. If both name the same inode, nothing happens.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exists`] with [`RenameMode::NoReplace`]; [`Error::InvalidArgument`] if a directory
    /// would come to lie in itself; [`Error::NotADirectory`], [`Error::IsADirectory`] or [`Error::NotEmpty`] if the
    /// target cannot be replaced; [`Error::NameTooLong`], [`Error::Stale`]; EXDEV across the border of a collection.
    pub fn rename(
        &mut self,
        parent: Ino,
        name: &OsStr,
        new_parent: Ino,
        new_name: &OsStr,
        mode: RenameMode,
    ) -> Result<()> {
        check_name(new_name)?;
        let (parent, dir) = self.directory(parent)?;
        let source = self.entry(parent, &dir, name)?;
        let (new_parent, new_dir) = self.directory(new_parent)?;
        let target = match self.entry(new_parent, &new_dir, new_name) {
            Ok(target) => Some(target),
            Err(crate::disk::Error::Volume(Error::NotFound)) => None,
            Err(error) => return Err(error),
        };
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Error::Exists.into()),
            (RenameMode::Exchange, None) => return Err(Error::NotFound.into()),
            _ => Self::check_linked(&new_dir)?,
        }
        if target == Some(source) {
            return Ok(());
        }
        let source_is_dir = self.is_dir(source)?;
        if source_is_dir && self.is_within(new_parent, source)? {
            return Err(Error::InvalidArgument.into());
        }
        let from = Place {
            dir: parent,
            name: name.as_bytes(),
        };
        let to = Place {
            dir: new_parent,
            name: new_name.as_bytes(),
        };
        if mode == RenameMode::Exchange
            && let Some(target) = target
        {
            if self.is_dir(target)? && self.is_within(parent, target)? {
                return Err(Error::InvalidArgument.into());
            }
            return self.exchange(from, to);
        }
        if let Some(target) = target {
            let inode = self.store.read_inode(target)?;
            match (source_is_dir, inode.file_type() == FileType::Directory) {
                (true, false) => return Err(Error::NotADirectory.into()),
                (false, true) => return Err(Error::IsADirectory.into()),
                (true, true) if dir::entries(&inode) > 0 => return Err(Error::NotEmpty.into()),
                _ => {}
            }
        }
        self.replace(from, to)
    }

    fn replace(&mut self, from: Place<'_>, to: Place<'_>) -> Result<()> {
        let now = self.now();
        let dropped = transact(&mut self.store, |tx| {
            let mut inodes = Inodes::default();
            let source = from.find(tx, &mut inodes)?.ok_or(Error::NotFound)?;
            let new = (source.ino, source.kind);
            let mut dropped = None;
            if let Some(target) = to.find(tx, &mut inodes)? {
                let inode = inodes.get(tx, to.dir)?;
                dir::retarget(tx, Dir { ino: to.dir, inode }, target, new)?;
                let what = drop_name(tx, &mut inodes, to.dir, target.ino, now)?;
                dropped = Some((target.ino, what));
            } else {
                let inode = inodes.get(tx, to.dir)?;
                dir::insert(tx, to.dir, inode, to.name, new)?;
            }
            // The insertion may have moved it.
            let source = from.find(tx, &mut inodes)?.ok_or(Error::NotFound)?;
            let inode = inodes.get(tx, from.dir)?;
            dir::remove(tx, from.dir, inode, source)?;
            moved(tx, &mut inodes, source.ino, (from.dir, to.dir), now)?;
            inodes.write(tx)?;
            Ok(dropped)
        })?;
        if let Some((ino, what)) = dropped {
            self.name_dropped(ino, &what);
        }
        Ok(())
    }

    fn exchange(&mut self, from: Place<'_>, to: Place<'_>) -> Result<()> {
        let now = self.now();
        transact(&mut self.store, |tx| {
            let mut inodes = Inodes::default();
            let source = from.find(tx, &mut inodes)?.ok_or(Error::NotFound)?;
            let target = to.find(tx, &mut inodes)?.ok_or(Error::NotFound)?;
            // Neither record moves.
            for (place, old, new) in [(from, source, target), (to, target, source)] {
                let inode = inodes.get(tx, place.dir)?;
                let dir = Dir {
                    ino: place.dir,
                    inode,
                };
                dir::retarget(tx, dir, old, (new.ino, new.kind))?;
            }
            moved(tx, &mut inodes, source.ino, (from.dir, to.dir), now)?;
            moved(tx, &mut inodes, target.ino, (to.dir, from.dir), now)?;
            inodes.write(tx)
        })
    }

    fn is_dir(&self, ino: u32) -> Result<bool> {
        Ok(self.store.read_inode(ino)?.file_type() == FileType::Directory)
    }

    /// Whether `ino` is `ancestor` or lies below it.
    fn is_within(&self, mut ino: u32, ancestor: u32) -> Result<bool> {
        // No path is longer than the number of inodes, unless it is a loop.
        for _ in 0..self.store.geometry().inodes() {
            if ino == ancestor {
                return Ok(true);
            }
            if u64::from(ino) == Ino::ROOT.0 {
                return Ok(false);
            }
            ino = self.store.read_inode(ino)?.parent;
        }
        let place = self.store.geometry().inode_place(ino);
        let block = place.map_or(0, |(block, _)| block);
        self.store
            .fail(corrupt(Kind::Inode, block, Some(ino), "parent"))
    }
}
