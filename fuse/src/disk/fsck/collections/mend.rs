// SPDX-License-Identifier: Apache-2.0
//! Putting collections right, by the ordinary transactions of a mounted volume.

use crate::disk::extents::LBLK_END;
use crate::disk::vector::{Shape, SlotEntry, StoreRef, bytes, slots};
use crate::disk::{BLOCK_SIZE, FLAG_COLLECTION, Inode, MetaRead, Result, Tx, map, orphan};

/// Blocks that one step fills.
const RUN: u64 = 64;

/// What is to be done. Stores are named by their inode.
pub(in super::super) enum Fix {
    /// The directory is no collection any more.
    Dissolve(u32),
    /// The store goes.
    Discard(u32),
    /// The file belongs to this collection (0: none), and has no vector.
    Parent(u32, u32),
    /// The file has no vector.
    Unlink(u32),
    /// The slot is free.
    Clear(u32, u32),
    /// The map block says this.
    Map(u32, u32, Vec<(u32, SlotEntry)>),
    /// There are so many map blocks.
    Trim(u32, u32),
    /// These blocks of vectors are mapped, and zero: the checksums tell which vectors that breaks.
    Fill(u32, u64, u64),
    /// The number of slots in use is counted anew.
    Live(u32),
}

fn change(tx: &mut Tx<'_>, ino: u32, change: impl FnOnce(&mut Inode)) -> Result<()> {
    let mut inode = tx.read_inode(ino)?;
    change(&mut inode);
    tx.write_inode(ino, &inode)
}

/// Does the next step of a fix. Whether that was all.
pub(in super::super) fn mend(tx: &mut Tx<'_>, fix: &mut Fix) -> Result<bool> {
    match fix {
        Fix::Dissolve(dir) => change(tx, *dir, |inode| {
            inode.flags &= !FLAG_COLLECTION;
            inode.link = 0;
        })?,
        Fix::Discard(ino) => {
            let mut inode = tx.read_inode(*ino)?;
            inode.nlink = 0;
            orphan::add(tx, *ino, &mut inode)?;
            tx.write_inode(*ino, &inode)?;
        }
        Fix::Parent(ino, parent) => change(tx, *ino, |inode| {
            (inode.parent, inode.link) = (*parent, 0);
        })?,
        Fix::Unlink(ino) => change(tx, *ino, |inode| inode.link = 0)?,
        Fix::Clear(ino, slot) => {
            let inode = &tx.read_inode(*ino)?;
            slots::set_entry(tx, StoreRef { ino: *ino, inode }, *slot, None)?;
        }
        Fix::Map(ino, index, entries) => {
            let mut inode = tx.read_inode(*ino)?;
            slots::replace(tx, *ino, &mut inode, *index, entries)?;
            tx.write_inode(*ino, &inode)?;
        }
        Fix::Trim(ino, blocks) => {
            let mut inode = tx.read_inode(*ino)?;
            let over = (u64::from(slots::MAP) + u64::from(*blocks), LBLK_END);
            let all = map::free_range(tx, *ino, &mut inode, over, true)?;
            tx.write_inode(*ino, &inode)?;
            return Ok(all);
        }
        Fix::Fill(ino, at, to) => {
            let mut inode = tx.read_inode(*ino)?;
            let count = (*to - *at).min(RUN);
            let zeros = vec![0; count as usize * BLOCK_SIZE];
            bytes::write_blocks(tx, *ino, &mut inode, *at, &zeros)?;
            tx.write_inode(*ino, &inode)?;
            *at += count;
            return Ok(*at >= *to);
        }
        Fix::Live(ino) => {
            let mut inode = tx.read_inode(*ino)?;
            let mut shape = Shape::read(tx, *ino, &inode)?;
            let store = StoreRef {
                ino: *ino,
                inode: &inode,
            };
            shape.live = 0;
            for index in 0..slots::blocks_of(shape.slots) {
                let (_, block) = store.block(tx, index)?;
                let first = index * slots::ENTRIES;
                let used =
                    (first..first + slots::ENTRIES).filter(|s| slots::entry(&block, *s).is_some());
                shape.live += used.count() as u32;
            }
            inode.special = shape.encode();
            tx.write_inode(*ino, &inode)?;
        }
    }
    Ok(true)
}
