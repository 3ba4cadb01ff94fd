// SPDX-License-Identifier: Apache-2.0
//! Membership: which names a collection's files may have, and what becomes of their vectors.

use rustix::io::Errno;

use super::super::Inodes;
use crate::disk::vector::{Collection, Shape, SlotEntry, StoreRef, slots};
use crate::disk::{
    Error, FLAG_COLLECTION, FileType, Inode, Kind, MetaRead, Result, Tx, corrupt, orphan,
};

/// A slot that a member has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Freed {
    /// The collection.
    pub(in super::super) dir: u32,
    pub(in super::super) slot: u32,
}

/// What `parent` of regular files with names in a directory is.
pub(in super::super) fn collection_of(dir: u32, inode: &Inode) -> u32 {
    match inode.has(FLAG_COLLECTION) {
        true => dir,
        false => 0,
    }
}

/// Whether a file may come to be a member of `to` (0: of none) by a rename.
///
/// # Errors
/// EXDEV.
pub(in super::super) fn may_move(inode: &Inode, to: u32) -> Result<()> {
    let crosses = inode.file_type() == FileType::Regular && inode.parent != to;
    if crosses && (inode.link != 0 || inode.nlink > 1) {
        return Err(Error::Errno(Errno::XDEV));
    }
    Ok(())
}

/// The entry of a member that has a vector, and the map block it is in.
///
/// # Errors
/// Reading failed; the two do not agree: corrupt.
pub(super) fn entry_of<R: MetaRead + ?Sized>(
    meta: &R,
    store: StoreRef<'_>,
    shape: &Shape,
    ino: u32,
    inode: &Inode,
) -> Result<(u64, SlotEntry)> {
    let slot = inode.link - 1;
    if slot >= shape.slots {
        let place = meta.geometry().inode_place(ino);
        let block = place.map_or(0, |(block, _)| block);
        return meta.fail(corrupt(Kind::Inode, block, Some(ino), "link"));
    }
    let (at, block) = store.block(meta, slot / slots::ENTRIES)?;
    match slots::entry(&block, slot) {
        Some(entry) if entry.ino == ino && entry.generation == inode.generation => Ok((at, entry)),
        _ => meta.fail(corrupt(Kind::SlotMap, at, Some(store.ino), "ino")),
    }
}

/// Takes the vector from a member, if it has one.
///
/// # Errors
/// Reading failed, or a check did.
pub(in super::super) fn detach(
    tx: &mut Tx<'_>,
    inodes: &mut Inodes,
    ino: u32,
) -> Result<Option<Freed>> {
    let file = inodes.get(tx, ino)?;
    if file.file_type() != FileType::Regular || file.link == 0 {
        return Ok(None);
    }
    let (member, dir) = (file.clone(), file.parent);
    file.link = 0;
    let dir_inode = inodes.get(tx, dir)?.clone();
    let (store_ino, _) = Collection::store_of(tx, dir, &dir_inode)?;
    let store = inodes.get(tx, store_ino)?;
    let mut shape = Shape::read(tx, store_ino, store)?;
    let store_ref = StoreRef {
        ino: store_ino,
        inode: store,
    };
    entry_of(tx, store_ref, &shape, ino, &member)?;
    let slot = member.link - 1;
    slots::set_entry(tx, store_ref, slot, None)?;
    shape.live = shape.live.saturating_sub(1);
    store.special = shape.encode();
    Ok(Some(Freed { dir, slot }))
}

/// Makes a collection that is removed a plain directory; its store goes on the orphan list. Returns the store, and who comes after it there.
///
/// # Errors
/// Reading failed, or a check did.
pub(in super::super) fn remove_store(
    tx: &mut Tx<'_>,
    inodes: &mut Inodes,
    dir: u32,
) -> Result<Option<(u32, u32)>> {
    let inode = inodes.get(tx, dir)?;
    if !inode.has(FLAG_COLLECTION) {
        return Ok(None);
    }
    let (ino, _) = Collection::store_of(tx, dir, inode)?;
    inode.flags &= !FLAG_COLLECTION;
    inode.link = 0;
    let store = inodes.get(tx, ino)?;
    store.nlink = 0;
    let next = orphan::add(tx, ino, store)?;
    Ok(Some((ino, next)))
}
