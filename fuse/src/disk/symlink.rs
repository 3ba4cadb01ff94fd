// SPDX-License-Identifier: Apache-2.0
//! Targets of symbolic links (section 9 of the format): short ones in the inode, longer ones in one or two blocks.

use super::extents::Extent;
use super::{BLOCK_SIZE, Expect, Inode, Kind, MetaRead, Result, Tx, corrupt, map};

/// Longest target.
pub(in crate::disk) const MAX_TARGET: usize = 4095;
/// Longest target in the inode.
pub(crate) const INLINE: usize = 128;
/// Text in a block.
pub(crate) const TEXT: usize = BLOCK_SIZE - FIRST;
pub(in crate::disk) const LBLK: usize = 0x18;
pub(in crate::disk) const USED: usize = 0x1c;
pub(in crate::disk) const FIRST: usize = 0x20;

fn expect(ino: u32, inode: &Inode) -> Expect {
    Expect {
        kind: Kind::Symlink,
        owner: ino,
        generation: inode.generation,
    }
}

/// Reads a target.
///
/// # Errors
/// Reading failed, or a check did.
pub(crate) fn read<R: MetaRead + ?Sized>(meta: &R, ino: u32, inode: &Inode) -> Result<Vec<u8>> {
    let fail = |kind, block, field: &'static str| {
        let error = corrupt(kind, block, Some(ino), field);
        meta.report(&error);
        error
    };
    let table = meta
        .geometry()
        .inode_place(ino)
        .map_or(0, |(block, _)| block);
    let size = usize::try_from(inode.size).unwrap_or(usize::MAX);
    if !(1..=MAX_TARGET).contains(&size) {
        return Err(fail(Kind::Inode, table, "size"));
    }
    let mut target = Vec::with_capacity(size);
    if size <= INLINE {
        target.extend_from_slice(&inode.root[..size]);
        if inode.root[size..].iter().any(|&b| b != 0) {
            return Err(fail(Kind::Inode, table, "root"));
        }
    }
    while target.len() < size {
        let lblk = target.len() / TEXT;
        let extent = map::at(meta, ino, inode, lblk as u64)?.filter(|extent| !extent.unwritten);
        let Some(extent) = extent else {
            return Err(fail(Kind::Inode, table, "size"));
        };
        let pblk = extent.slice(lblk as u64, lblk as u64 + 1).pblk;
        let block = meta.read_meta(pblk, expect(ino, inode), &|_| Ok(()))?;
        let used = (size - target.len()).min(TEXT);
        if block.get_u32(LBLK) as usize != lblk {
            return Err(fail(Kind::Symlink, pblk, "lblk"));
        }
        if block.get_u32(USED) as usize != used {
            return Err(fail(Kind::Symlink, pblk, "used"));
        }
        target.extend_from_slice(&block[FIRST..FIRST + used]);
    }
    if target.contains(&0) {
        return Err(fail(Kind::Symlink, table, "text"));
    }
    Ok(target)
}

/// Gives a new inode its target of 1 to [`MAX_TARGET`] bytes. The caller writes the inode.
///
/// # Errors
/// No space.
pub(crate) fn write(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode, target: &[u8]) -> Result<()> {
    inode.size = target.len() as u64;
    if target.len() <= INLINE {
        inode.root[..target.len()].copy_from_slice(target);
        return Ok(());
    }
    for (lblk, text) in (0_u32..).zip(target.chunks(TEXT)) {
        let goal = tx.geometry().inode_place(ino).map_or(0, |(block, _)| block);
        let expect = expect(ino, inode);
        let pblk = tx.alloc_meta(goal, expect)?;
        let block = tx.get_mut(pblk, expect, &|_| Ok(()))?;
        block.put_u32(LBLK, lblk);
        block.put_u32(USED, text.len() as u32);
        block[FIRST..FIRST + text.len()].copy_from_slice(text);
        let extent = Extent {
            lblk,
            len: 1,
            pblk,
            unwritten: false,
        };
        map::insert(tx, ino, inode, extent)?;
    }
    Ok(())
}
