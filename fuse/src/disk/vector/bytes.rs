// SPDX-License-Identifier: Apache-2.0
//! The bytes of vectors, in the blocks of a store.

use super::slots::{MAP, StoreRef};
use crate::disk::extents::Extent;
use crate::disk::{BLOCK_SIZE, Inode, Kind, MetaRead, Result, Tx, corrupt, map};
use crate::error::Error;

const BLOCK: u64 = BLOCK_SIZE as u64;
/// Blocks that a store grows by.
const LEAST: u64 = 16;
const MOST: u64 = 4096;

/// Little-endian bytes of elements.
pub fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Elements of little-endian bytes, added to `out`. What is over at the end is left.
pub fn extend_values(out: &mut Vec<f32>, bytes: &[u8]) {
    let (words, _) = bytes.as_chunks::<4>();
    out.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
}

/// Reads `buffer.len()` bytes of the vectors from `start` on, all below the store's size. `read_blocks` reads blocks of
/// data.
///
/// # Errors
/// Reading failed; a block is not mapped and written.
pub fn read<R: MetaRead + ?Sized>(
    meta: &R,
    read_blocks: &dyn Fn(u64, &mut [u8]) -> Result<()>,
    store: StoreRef<'_>,
    start: u64,
    buffer: &mut [u8],
) -> Result<()> {
    let mut at = start;
    let end = start + buffer.len() as u64;
    let mut blocks = Vec::new();
    while at < end {
        let extent = written(meta, store, at / BLOCK)?;
        let part = extent.slice(at / BLOCK, end.div_ceil(BLOCK));
        let to = end.min(part.end() * BLOCK);
        let place = &mut buffer[(at - start) as usize..(to - start) as usize];
        if at.is_multiple_of(BLOCK) && place.len().is_multiple_of(BLOCK_SIZE) {
            read_blocks(part.pblk, place)?;
        } else {
            blocks.resize(part.len as usize * BLOCK_SIZE, 0);
            read_blocks(part.pblk, &mut blocks)?;
            let skip = (at % BLOCK) as usize;
            place.copy_from_slice(&blocks[skip..skip + place.len()]);
        }
        at = to;
    }
    Ok(())
}

/// The written extent that has this block.
fn written<R: MetaRead + ?Sized>(meta: &R, store: StoreRef<'_>, lblk: u64) -> Result<Extent> {
    let extent = map::at(meta, store.ino, store.inode, lblk)?;
    match extent {
        Some(extent) if !extent.unwritten => Ok(extent),
        _ => {
            let place = meta.geometry().inode_place(store.ino);
            let block = place.map_or(0, |(block, _)| block);
            meta.fail(corrupt(Kind::Vector, block, Some(store.ino), "mapped"))
        }
    }
}

/// Writes whole blocks of vectors from logical block `first` on, where nothing, blocks taken ahead or vectors are. The
/// caller writes the inode, and its new size with it.
///
/// # Errors
/// No space; reading or writing failed.
pub fn write_blocks(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    first: u64,
    bytes: &[u8],
) -> Result<()> {
    let behind = first + (bytes.len() / BLOCK_SIZE) as u64;
    let mut lblk = first;
    while lblk < behind {
        let next = map::find(&*tx, ino, inode, lblk)?;
        let Some(extent) = next.filter(|extent| u64::from(extent.lblk) <= lblk) else {
            // After damage there may be something behind the hole.
            let room = next.map_or(u64::from(MAP), |next| next.lblk.into());
            take_ahead(tx, ino, inode, lblk, (behind, room))?;
            continue;
        };
        let part = extent.slice(lblk, behind);
        let from = (lblk - first) as usize * BLOCK_SIZE;
        let to = (part.end() - first) as usize * BLOCK_SIZE;
        tx.write_data(part.pblk, &bytes[from..to])?;
        if extent.unwritten {
            map::set_written(tx, ino, inode, part)?;
        }
        lblk = part.end();
    }
    Ok(())
}

/// Maps unwritten blocks from `lblk` on: at least one, and if there is room (also up to `room`, where something is
/// mapped) a quarter more than the store has.
fn take_ahead(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    lblk: u64,
    (behind, room): (u64, u64),
) -> Result<()> {
    let ahead = (lblk / 4).clamp(LEAST, MOST).max(behind - lblk);
    let want = ahead.min(room.min(u64::from(MAP)) - lblk);
    let goal = map::goal(&*tx, ino, inode, lblk)?;
    if want == 0 {
        return Err(Error::NoSpace.into());
    }
    let (pblk, len) = tx.alloc_blocks(goal, want as u32)?;
    let extent = Extent {
        lblk: lblk as u32,
        len,
        pblk,
        unwritten: true,
    };
    map::insert(tx, ino, inode, extent)
}
