// SPDX-License-Identifier: Apache-2.0
//! Space reserved ahead, and holes punched.

use super::content::{take, zero_part, zero_tail};
use super::{DiskVolume, MAX_FILE_SIZE, transact};
use crate::disk::extents::Extent;
use crate::disk::{BLOCK_SIZE, MetaRead, Result, map};
use crate::error::Error;
use crate::types::Ino;

const BLOCK: u64 = BLOCK_SIZE as u64;

fn range(offset: u64, len: u64) -> Result<u64> {
    match offset.checked_add(len) {
        _ if len == 0 => Err(Error::InvalidArgument.into()),
        Some(end) if end <= MAX_FILE_SIZE => Ok(end),
        _ => Err(Error::FileTooLarge.into()),
    }
}

impl DiskVolume {
    /// Reserves blocks for a range; what is not there reads as zeros. Unless `keep_size`, the file becomes as long as
    /// that. If the volume becomes full on the way, what was reserved stays.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::FileTooLarge`]; [`Error::InvalidArgument`] for an empty range;
    /// [`Error::IsADirectory`] if it is not a regular file.
    pub fn allocate(&mut self, ino: Ino, offset: u64, len: u64, keep_size: bool) -> Result<()> {
        let (ino, _) = self.regular(ino)?;
        let end = range(offset, len)?;
        self.settle(ino)?;
        let now = self.now();
        let (mut lblk, behind) = (offset / BLOCK, end.div_ceil(BLOCK));
        while lblk < behind {
            lblk = transact(&mut self.store, |tx| {
                let mut inode = tx.read_inode(ino)?;
                let next = map::find(&*tx, ino, &inode, lblk)?;
                if let Some(old) = next.filter(|next| u64::from(next.lblk) <= lblk) {
                    return Ok(old.end());
                }
                let room = next.map_or(behind, |next| behind.min(next.lblk.into()));
                let taken = take(tx, ino, &inode, lblk, room - lblk)?;
                let unwritten = Extent {
                    unwritten: true,
                    ..taken
                };
                map::insert(tx, ino, &mut inode, unwritten)?;
                inode.ctime = now;
                tx.write_inode(ino, &inode)?;
                Ok(taken.end())
            })?;
        }
        transact(&mut self.store, |tx| {
            let mut inode = tx.read_inode(ino)?;
            if !keep_size && end > inode.size {
                zero_tail(tx, ino, &inode)?;
                inode.size = end;
            }
            (inode.mtime, inode.ctime) = (now, now);
            tx.write_inode(ino, &inode)
        })
    }

    /// Makes a range read as zeros, and gives its whole blocks back. The size stays.
    ///
    /// # Errors
    /// As for [`DiskVolume::allocate`].
    pub fn punch_hole(&mut self, ino: Ino, offset: u64, len: u64) -> Result<()> {
        let (ino, _) = self.regular(ino)?;
        let end = range(offset, len)?;
        let now = self.now();
        let whole = (offset.div_ceil(BLOCK), end / BLOCK);
        loop {
            let all = transact(&mut self.store, |tx| {
                let mut inode = tx.read_inode(ino)?;
                if whole.0 > whole.1 {
                    // Within one block.
                    zero_part(tx, ino, &inode, (offset, end))?;
                } else {
                    if !offset.is_multiple_of(BLOCK) {
                        zero_part(tx, ino, &inode, (offset, whole.0 * BLOCK))?;
                    }
                    if !end.is_multiple_of(BLOCK) {
                        zero_part(tx, ino, &inode, (whole.1 * BLOCK, end))?;
                    }
                }
                let all = map::free_range(tx, ino, &mut inode, whole, false)?;
                (inode.mtime, inode.ctime) = (now, now);
                tx.write_inode(ino, &inode)?;
                Ok(all)
            })?;
            if all {
                return Ok(());
            }
        }
    }
}
