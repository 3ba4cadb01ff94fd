// SPDX-License-Identifier: Apache-2.0
//! The slot map (section 12.2): whose the slots of a store are.

use std::sync::Arc;

use zerocopy::FromZeros;

use super::shape::Shape;
use crate::disk::extents::Extent;
use crate::disk::layout::RawSlot;
use crate::disk::{Block, Expect, Inode, Kind, MetaRead, Result, Tx, corrupt, crc, map};

/// First logical block of the map: below are vectors.
pub const MAP: u32 = 0x8000_0000;
/// Entries of a map block.
pub const ENTRIES: u32 = 254;
pub(in crate::disk) const FIRST_SLOT: usize = 0x18;
pub(in crate::disk) const PAD: usize = 0x1c;
pub(in crate::disk) const ENTRY: usize = 0x20;

/// A slot in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotEntry {
    /// The member.
    pub ino: u32,
    /// Its generation.
    pub generation: u32,
    /// Checksum of its vector.
    pub crc: u32,
}

/// A store: the inode that holds a collection's vectors.
#[derive(Clone, Copy)]
pub struct StoreRef<'a> {
    /// Its number.
    pub ino: u32,
    /// The inode.
    pub inode: &'a Inode,
}

/// The checksum of a vector (section 3).
#[must_use]
pub fn vector_crc(seed: u32, ino: u32, generation: u32, bytes: &[u8]) -> u32 {
    let crc = crc::raw(seed, &ino.to_le_bytes());
    crc::raw(crc::raw(crc, &generation.to_le_bytes()), bytes)
}

/// Map blocks of so many slots.
#[must_use]
pub fn blocks_of(slots: u32) -> u32 {
    slots.div_ceil(ENTRIES)
}

fn offset(slot: u32) -> usize {
    ENTRY + (slot % ENTRIES) as usize * size_of::<RawSlot>()
}

/// The entry of a slot in its map block; none if it is free.
#[must_use]
pub fn entry(block: &Block, slot: u32) -> Option<SlotEntry> {
    let raw: &RawSlot = block.at(offset(slot));
    let ino = raw.ino.get();
    (ino != 0).then(|| SlotEntry {
        ino,
        generation: raw.generation.get(),
        crc: raw.crc.get(),
    })
}

fn put(block: &mut Block, slot: u32, entry: Option<SlotEntry>) {
    *block.at_mut(offset(slot)) = entry.map_or_else(RawSlot::new_zeroed, |used| RawSlot {
        ino: used.ino.into(),
        generation: used.generation.into(),
        crc: used.crc.into(),
        zero: 0.into(),
    });
}

impl StoreRef<'_> {
    fn expect(&self) -> Expect {
        Expect::of_inode(Kind::SlotMap, self.ino, self.inode.generation)
    }

    fn fail<T, R: MetaRead + ?Sized>(&self, meta: &R, block: u64, field: &str) -> Result<T> {
        meta.fail(corrupt(Kind::SlotMap, block, Some(self.ino), field))
    }

    /// Where a map block is.
    fn place<R: MetaRead + ?Sized>(&self, meta: &R, index: u32) -> Result<u64> {
        let lblk = u64::from(MAP) + u64::from(index);
        match map::at(meta, self.ino, self.inode, lblk)? {
            Some(extent) if !extent.unwritten => Ok(extent.slice(lblk, lblk + 1).pblk),
            _ => {
                let table = meta.geometry().inode_place(self.ino);
                self.fail(meta, table.map_or(0, |(block, _)| block), "mapped")
            }
        }
    }

    /// A map block: its place, and its content, checked.
    ///
    /// # Errors
    /// Reading failed, or a check did.
    pub fn block<R: MetaRead + ?Sized>(&self, meta: &R, index: u32) -> Result<(u64, Arc<Block>)> {
        let at = self.place(meta, index)?;
        let geometry = *meta.geometry();
        let block = meta.read_meta(at, self.expect(), &|block| {
            check(block, index, |ino| geometry.is_inode(ino))
                .map_err(|field| corrupt(Kind::SlotMap, at, Some(self.ino), field))
        })?;
        // The block may have been given to two places.
        if block.get_u32(FIRST_SLOT) != index * ENTRIES {
            return self.fail(meta, at, "first_slot");
        }
        Ok((at, block))
    }

    /// All slots: whose each is. What lies behind the last must be free.
    ///
    /// # Errors
    /// Reading failed, or a check did; the count of live slots does not agree.
    pub fn owners<R: MetaRead + ?Sized>(&self, meta: &R, shape: &Shape) -> Result<Vec<u32>> {
        let mut owners = Vec::with_capacity(shape.slots as usize);
        for index in 0..blocks_of(shape.slots) {
            let (at, block) = self.block(meta, index)?;
            let first = index * ENTRIES;
            for slot in first..first + ENTRIES {
                let ino = entry(&block, slot).map_or(0, |entry| entry.ino);
                if slot < shape.slots {
                    owners.push(ino);
                } else if ino != 0 {
                    return self.fail(meta, at, "slots");
                }
            }
        }
        let live = owners.iter().filter(|ino| **ino != 0).count();
        if live != shape.live as usize {
            let place = meta.geometry().inode_place(self.ino);
            let block = place.map_or(0, |(block, _)| block);
            return meta.fail(corrupt(Kind::Inode, block, Some(self.ino), "live"));
        }
        Ok(owners)
    }
}

/// What a map block must look like.
///
/// # Errors
/// The name of the field that is wrong.
pub fn check(
    block: &Block,
    index: u32,
    is_inode: impl Fn(u32) -> bool,
) -> std::result::Result<(), &'static str> {
    if block.get_u32(FIRST_SLOT) != index * ENTRIES {
        return Err("first_slot");
    }
    if block.get_u32(PAD) != 0 {
        return Err("zero");
    }
    for slot in 0..ENTRIES {
        let raw: &RawSlot = block.at(offset(slot));
        let ino = raw.ino.get();
        if raw.zero.get() != 0 {
            return Err("zero");
        }
        if ino == 0 && (raw.generation.get() != 0 || raw.crc.get() != 0) {
            return Err("free");
        }
        if ino != 0 && !is_inode(ino) {
            return Err("ino");
        }
    }
    Ok(())
}

/// Writes a slot's entry; its map block is there.
///
/// # Errors
/// Reading failed, or a check did.
pub fn set_entry(
    tx: &mut Tx<'_>,
    store: StoreRef<'_>,
    slot: u32,
    entry: Option<SlotEntry>,
) -> Result<()> {
    let (at, _) = store.block(&*tx, slot / ENTRIES)?;
    put(tx.get_mut(at, store.expect(), &|_| Ok(()))?, slot, entry);
    Ok(())
}

/// Adds map blocks until there are enough for `slots`. The caller writes the inode.
///
/// # Errors
/// No space.
pub fn grow(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode, from: u32, slots: u32) -> Result<()> {
    (blocks_of(from)..blocks_of(slots)).try_for_each(|index| add_block(tx, ino, inode, index))
}

fn add_block(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode, index: u32) -> Result<()> {
    let expect = StoreRef { ino, inode }.expect();
    let goal = match map::last(&*tx, ino, inode)? {
        Some(last) => last.pblk + u64::from(last.len),
        None => tx.geometry().inode_place(ino).map_or(0, |(block, _)| block),
    };
    let pblk = tx.alloc_meta(goal, expect)?;
    let block = tx.get_mut(pblk, expect, &|_| Ok(()))?;
    block.put_u32(FIRST_SLOT, index * ENTRIES);
    let extent = Extent {
        lblk: MAP + index,
        len: 1,
        pblk,
        unwritten: false,
    };
    map::insert(tx, ino, inode, extent)
}

/// Makes a map block anew, where it is or, if it is not mapped, in a new place. The caller writes the inode.
///
/// # Errors
/// No space; reading failed, or a check did.
pub fn replace(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    index: u32,
    entries: &[(u32, SlotEntry)],
) -> Result<()> {
    let lblk = u64::from(MAP) + u64::from(index);
    let expect = StoreRef { ino, inode }.expect();
    let there = map::at(&*tx, ino, inode, lblk)?;
    if let Some(unwritten) = there.filter(|extent| extent.unwritten) {
        map::set_written(tx, ino, inode, unwritten.slice(lblk, lblk + 1))?;
    }
    let block = match there {
        Some(extent) => tx.new_meta(extent.slice(lblk, lblk + 1).pblk, expect),
        None => {
            add_block(tx, ino, inode, index)?;
            let (at, _) = StoreRef { ino, inode }.block(&*tx, index)?;
            tx.get_mut(at, expect, &|_| Ok(()))?
        }
    };
    block.put_u32(FIRST_SLOT, index * ENTRIES);
    entries
        .iter()
        .for_each(|(slot, entry)| put(block, *slot, Some(*entry)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_where_the_document_has_it() {
        let mut block = Block::zeroed();
        let used = SlotEntry {
            ino: 7,
            generation: 8,
            crc: 9,
        };
        put(&mut block, 255, Some(used));
        assert_eq!(block.get_u64(0x30), 7 | 8 << 32);
        assert_eq!(entry(&block, 255), Some(used));
        assert_eq!(entry(&block, 254), None);
        block.put_u32(FIRST_SLOT, 254);
        assert_eq!(check(&block, 1, |_| true), Ok(()));
        assert_eq!(check(&block, 0, |_| true), Err("first_slot"));
        assert_eq!(check(&block, 1, |_| false), Err("ino"));
        block.put_u32(0x30, 0);
        assert_eq!(check(&block, 1, |_| true), Err("free"));
        put(&mut block, 255, None);
        block.put_u32(PAD, 1);
        assert_eq!(check(&block, 1, |_| true), Err("zero"));
    }
}
