// SPDX-License-Identifier: Apache-2.0
//! Changing a directory. The inode passed in is changed and not written: that is the caller's, once an operation.

use crate::disk::extents::{Extent, LBLK_END};
use crate::disk::hash::dir_hash;
use crate::disk::{BLOCK_SIZE, Block, Inode, Kind, MetaRead, Result, Tx, map};
use crate::error::Error;

use super::{Dir, Found, entries, index, leaf, set_entries};

/// Names that may share a hash.
const SAME_HASH: u64 = 8;

/// Adds a block at the end.
fn append(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode, kind: Kind) -> Result<(u32, u64)> {
    let lblk = inode.size / BLOCK_SIZE as u64;
    if lblk >= LBLK_END {
        return Err(Error::NoSpace.into());
    }
    let goal = match map::last(tx, ino, inode)? {
        Some(last) => last.pblk + u64::from(last.len),
        None => tx.geometry().inode_place(ino).map_or(0, |(block, _)| block),
    };
    let pblk = tx.alloc_meta(goal, Dir { ino, inode }.expect(kind))?;
    let extent = Extent {
        lblk: lblk as u32,
        len: 1,
        pblk,
        unwritten: false,
    };
    map::insert(tx, ino, inode, extent)?;
    inode.size += BLOCK_SIZE as u64;
    Ok((lblk as u32, pblk))
}

/// Gives a new directory its first leaf.
///
/// # Errors
/// No space.
pub(crate) fn append_leaf(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode) -> Result<()> {
    let (lblk, pblk) = append(tx, ino, inode, Kind::DirLeaf)?;
    let expect = Dir { ino, inode }.expect(Kind::DirLeaf);
    leaf::init(tx.get_mut(pblk, expect, &|_| Ok(()))?, lblk);
    Ok(())
}

fn block_mut<'t>(
    tx: &'t mut Tx<'_>,
    dir: Dir<'_>,
    pblk: u64,
    lblk: u32,
    kind: Kind,
) -> Result<&'t mut Block> {
    tx.get_mut(pblk, dir.expect(kind), &|block| {
        dir.check(block, pblk, lblk, kind)
    })
}

/// Enters `name`, which is not there.
///
/// # Errors
/// No space; reading failed, or a check did.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    name: &[u8],
    (target, kind): (u32, u8),
) -> Result<()> {
    let h = dir_hash(&tx.geometry().hash_key, name);
    let mut leaf = Dir { ino, inode }.leaf(&*tx, h)?;
    let taken = |c| leaf::records(&leaf.block).any(|record| record.key == h + c);
    let Some(c) = (0..SAME_HASH).find(|c| !taken(*c)) else {
        return Err(Error::NoSpace.into());
    };
    let count = entries(inode).checked_add(1).ok_or(Error::NoSpace)?;
    if !leaf::has_room(&leaf.block, name.len()) {
        make_room(tx, ino, inode, h, name.len())?;
        leaf = Dir { ino, inode }.leaf(&*tx, h)?;
        if !leaf::has_room(&leaf.block, name.len()) {
            // A leaf's larger part after a split still has room for every record, if hashes are at most eight times there.
            return Dir { ino, inode }.fail(&*tx, Kind::DirLeaf, leaf.pblk, "key");
        }
    }
    let (pblk, lblk) = (leaf.pblk, leaf.lblk);
    let block = block_mut(tx, Dir { ino, inode }, pblk, lblk, Kind::DirLeaf)?;
    leaf::insert(block, h + c, target, kind, name);
    set_entries(inode, count);
    Ok(())
}

/// Takes a record out.
///
/// # Errors
/// Reading failed, or a check did.
pub(crate) fn remove(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode, found: Found) -> Result<()> {
    let dir = Dir { ino, inode };
    let block = block_mut(tx, dir, found.pblk, found.lblk, Kind::DirLeaf)?;
    leaf::remove(block, found.at);
    set_entries(inode, entries(inode).saturating_sub(1));
    Ok(())
}

/// Points a record at another inode. Its key, and so its cookie, stays.
///
/// # Errors
/// Reading failed, or a check did.
pub(crate) fn retarget(
    tx: &mut Tx<'_>,
    dir: Dir<'_>,
    found: Found,
    (target, kind): (u32, u8),
) -> Result<()> {
    let block = block_mut(tx, dir, found.pblk, found.lblk, Kind::DirLeaf)?;
    leaf::retarget(block, found.at, target, kind);
    Ok(())
}

/// Whether a block has to be split before a name of this length can be put below it.
fn is_full(block: &Block, kind: Kind, name_len: usize) -> bool {
    match kind {
        Kind::DirLeaf => !leaf::has_room(block, name_len),
        _ => index::count(block) == index::MAX_ENTRIES,
    }
}

/// Splits the leaf of `h`, and on the way down every full index, so that each finds room in its parent.
fn make_room(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode, h: u64, name_len: usize) -> Result<()> {
    let dir = Dir { ino, inode };
    let mut kind = dir.root_kind();
    let (mut parent, root) = dir.read(&*tx, 0, kind)?;
    if is_full(&root, kind, name_len) {
        grow(tx, ino, inode, parent, &root, kind)?;
        kind = Kind::DirIndex;
    }
    let mut parent_lblk = 0;
    while kind == Kind::DirIndex {
        let dir = Dir { ino, inode };
        let (_, block) = dir.read(&*tx, parent_lblk, Kind::DirIndex)?;
        let level = index::level(&block);
        let i = index::position(&block, h);
        let mut lblk = index::entry(&block, i).lblk;
        kind = match level {
            1 => Kind::DirLeaf,
            _ => Kind::DirIndex,
        };
        let (mut pblk, child) = dir.read(&*tx, lblk, kind)?;
        if index::level(&child) + 1 != level {
            return dir.fail(&*tx, kind, pblk, "level");
        }
        if is_full(&child, kind, name_len) {
            let right = split(tx, ino, inode, (pblk, lblk), kind)?;
            let mut all = index::entries(&block);
            all.insert(i + 1, right.entry);
            let dir = Dir { ino, inode };
            let block = block_mut(tx, dir, parent, parent_lblk, Kind::DirIndex)?;
            index::init(block, parent_lblk, level, &all);
            if h >= right.entry.key {
                (pblk, lblk) = (right.pblk, right.entry.lblk);
            }
        }
        (parent, parent_lblk) = (pblk, lblk);
    }
    Ok(())
}

/// Moves the root to a new block and makes it the index of that one.
fn grow(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    pblk: u64,
    root: &Block,
    kind: Kind,
) -> Result<()> {
    let level = index::level(root);
    if level == index::MAX_LEVEL {
        return Err(Error::NoSpace.into());
    }
    let (lblk, moved) = append(tx, ino, inode, kind)?;
    let dir = Dir { ino, inode };
    let block = tx.get_mut(moved, dir.expect(kind), &|_| Ok(()))?;
    block[0x18..].copy_from_slice(&root[0x18..]);
    block.put_u32(0x1c, lblk);
    let block = tx.new_meta(pblk, dir.expect(Kind::DirIndex));
    let entry = index::Entry { key: 0, lblk };
    index::init(block, 0, level + 1, &[entry]);
    Ok(())
}

/// A new block with the upper part of another.
struct Right {
    pblk: u64,
    entry: index::Entry,
}

fn split(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    (pblk, lblk): (u64, u32),
    kind: Kind,
) -> Result<Right> {
    let (new_lblk, new_pblk) = append(tx, ino, inode, kind)?;
    let dir = Dir { ino, inode };
    let mut left = block_mut(tx, dir, pblk, lblk, kind)?.clone();
    let right = tx.get_mut(new_pblk, dir.expect(kind), &|_| Ok(()))?;
    let key = if kind == Kind::DirLeaf {
        leaf::init(right, new_lblk);
        match leaf::split(&mut left, right) {
            Some(key) => key,
            None => return dir.fail(&*tx, kind, pblk, "key"),
        }
    } else {
        let level = index::level(&left);
        let mut lower = index::entries(&left);
        let upper = lower.split_off(lower.len() / 2);
        index::init(right, new_lblk, level, &upper);
        index::init(&mut left, lblk, level, &lower);
        upper[0].key
    };
    *block_mut(tx, dir, pblk, lblk, kind)? = left;
    Ok(Right {
        pblk: new_pblk,
        entry: index::Entry {
            key,
            lblk: new_lblk,
        },
    })
}
