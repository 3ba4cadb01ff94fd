// SPDX-License-Identifier: Apache-2.0
//! The bytes of files, and when they were read.

use std::time::Duration;

use super::{DiskVolume, MAX_FILE_SIZE, transact};
use crate::disk::extents::Extent;
use crate::disk::{BLOCK_SIZE, Inode, MetaRead, Result, Tx, map};
use crate::error::Error;
use crate::types::{AtimePolicy, Ino, SeekTo};

const BLOCK: u64 = BLOCK_SIZE as u64;
/// Most blocks that one step of a write changes: bounds its buffer.
const RUN: u64 = 256;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Zeroes the bytes `from..to` of a file, which lie in one block, where they are stored.
pub(super) fn zero_part(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &Inode,
    (from, to): (u64, u64),
) -> Result<()> {
    let lblk = from / BLOCK;
    debug_assert!(from < to && to <= (lblk + 1) * BLOCK);
    let Some(extent) = map::at(&*tx, ino, inode, lblk)?.filter(|extent| !extent.unwritten) else {
        return Ok(());
    };
    let pblk = extent.slice(lblk, lblk + 1).pblk;
    let mut bytes = vec![0; BLOCK_SIZE];
    tx.store().read_data(pblk, &mut bytes)?;
    bytes[(from - lblk * BLOCK) as usize..(to - lblk * BLOCK) as usize].fill(0);
    tx.write_data(pblk, &bytes)
}

/// Zeroes what is stored behind the end in the last block: whoever makes a file longer does this first.
pub(super) fn zero_tail(tx: &mut Tx<'_>, ino: u32, inode: &Inode) -> Result<()> {
    match inode.size % BLOCK {
        0 => Ok(()),
        _ => {
            let end = inode.size.next_multiple_of(BLOCK);
            zero_part(tx, ino, inode, (inode.size, end))
        }
    }
}

/// Takes up to `want` blocks for the hole at `lblk`, near what is in front of it.
pub(super) fn take(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &Inode,
    lblk: u64,
    want: u64,
) -> Result<Extent> {
    let goal = map::goal(&*tx, ino, inode, lblk)?;
    let want = u32::try_from(want).unwrap_or(u32::MAX);
    let (pblk, len) = tx.alloc_blocks(goal, want.min(crate::disk::extents::MAX_LEN))?;
    Ok(Extent {
        lblk: lblk as u32,
        len,
        pblk,
        unwritten: false,
    })
}

/// Writes the beginning of `data` at `offset`, as far as one run of blocks goes, and returns its length.
fn write_run(tx: &mut Tx<'_>, ino: u32, offset: u64, data: &[u8], now: i64) -> Result<usize> {
    let mut inode = tx.read_inode(ino)?;
    if offset > inode.size {
        zero_tail(tx, ino, &inode)?;
    }
    let first = offset / BLOCK;
    let end = offset + data.len() as u64;
    let behind = end.div_ceil(BLOCK).min(first + RUN);
    let next = map::find(&*tx, ino, &inode, first)?;
    let old = next.filter(|next| u64::from(next.lblk) <= first);
    let run = match (old, next) {
        (Some(old), _) => old.slice(first, behind),
        (None, next) => {
            let room = next.map_or(behind, |next| behind.min(next.lblk.into()));
            take(tx, ino, &inode, first, room - first)?
        }
    };
    let stop = end.min(run.end() * BLOCK);
    let count = (stop - offset) as usize;
    if offset.is_multiple_of(BLOCK) && stop.is_multiple_of(BLOCK) {
        tx.write_data(run.pblk, &data[..count])?;
    } else {
        let old = old.filter(|old| !old.unwritten);
        write_cut(tx, &inode, run, old.is_some(), (offset, &data[..count]))?;
    }
    match old {
        None => map::insert(tx, ino, &mut inode, run)?,
        Some(old) if old.unwritten => map::set_written(tx, ino, &mut inode, run)?,
        Some(_) => {}
    }
    inode.size = inode.size.max(stop);
    (inode.mtime, inode.ctime) = (now, now);
    tx.write_inode(ino, &inode)?;
    Ok(count)
}

/// Writes a run of blocks of which the first or the last is written in part only. The rest is what was there, if anything
/// was; behind the end of the file that is nothing.
fn write_cut(
    tx: &mut Tx<'_>,
    inode: &Inode,
    run: Extent,
    is_written: bool,
    (offset, data): (u64, &[u8]),
) -> Result<()> {
    let start = u64::from(run.lblk) * BLOCK;
    let stop = offset + data.len() as u64;
    let mut bytes = vec![0; run.len as usize * BLOCK_SIZE];
    if is_written {
        let last = run.len as usize - 1;
        let cut = [!offset.is_multiple_of(BLOCK), !stop.is_multiple_of(BLOCK)];
        for (i, cut) in [0, last].into_iter().zip(cut) {
            if cut {
                let part = &mut bytes[i * BLOCK_SIZE..][..BLOCK_SIZE];
                tx.store().read_data(run.pblk + i as u64, part)?;
                let valid = inode.size.saturating_sub(start + i as u64 * BLOCK);
                part[valid.min(BLOCK) as usize..].fill(0);
            }
        }
    }
    bytes[(offset - start) as usize..][..data.len()].copy_from_slice(data);
    tx.write_data(run.pblk, &bytes)
}

impl DiskVolume {
    /// Whether a read has to note its time, by the policy.
    pub(super) fn access_is_due(&self, inode: &Inode) -> bool {
        let day = i64::try_from(DAY.as_nanos()).unwrap_or(i64::MAX);
        self.atime == AtimePolicy::Relative
            && (inode.atime <= inode.mtime
                || inode.atime <= inode.ctime
                || self.now().saturating_sub(inode.atime) >= day)
    }

    /// Notes that the content was read, where the policy wants it.
    pub(super) fn accessed(&mut self, ino: u32, inode: &Inode) {
        if self.access_is_due(inode) {
            let now = self.now();
            // What was read is right, whether or not the time can be noted; a failure was reported.
            let _ = transact(&mut self.store, |tx| {
                let mut inode = tx.read_inode(ino)?;
                inode.atime = now;
                tx.write_inode(ino, &inode)
            });
        }
    }

    /// Up to `len` bytes from `offset`: fewer only at the end of the file.
    ///
    /// # Errors
    /// [`Error::IsADirectory`] or [`Error::InvalidArgument`] if it is not a regular file.
    pub fn read(&mut self, ino: Ino, offset: u64, len: usize) -> Result<Vec<u8>> {
        let (ino, inode) = self.regular(ino)?;
        let out = self.content(ino, &inode, offset, len)?;
        if !out.is_empty() {
            self.accessed(ino, &inode);
        }
        Ok(out)
    }

    /// The same, without noting the time of access (`O_NOATIME`).
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_quietly(&self, ino: Ino, offset: u64, len: usize) -> Result<Vec<u8>> {
        let (ino, inode) = self.regular(ino)?;
        self.content(ino, &inode, offset, len)
    }

    /// The same where the time of access need not be noted, so that nothing changes; None where it must.
    pub fn read_unnoted(&self, ino: Ino, offset: u64, len: usize) -> Option<Result<Vec<u8>>> {
        match self.regular(ino) {
            Ok((_, inode)) if self.access_is_due(&inode) => None,
            Ok((ino, inode)) => Some(self.content(ino, &inode, offset, len)),
            Err(error) => Some(Err(error)),
        }
    }

    /// The bytes of a file from `offset`, up to `len` of them.
    fn content(&self, ino: u32, inode: &Inode, offset: u64, len: usize) -> Result<Vec<u8>> {
        let end = offset.saturating_add(len as u64).min(inode.size);
        if offset >= end {
            return Ok(Vec::new());
        }
        let mut out = vec![0; (end - offset) as usize];
        let mut at = offset;
        while at < end {
            let lblk = at / BLOCK;
            let Some(extent) = map::find(&self.store, ino, inode, lblk)? else {
                break;
            };
            let from = at.max(u64::from(extent.lblk) * BLOCK);
            let to = end.min(extent.end() * BLOCK);
            if from < to && !extent.unwritten {
                let part = &mut out[(from - offset) as usize..(to - offset) as usize];
                self.read_part(extent, from, part)?;
            }
            at = extent.end() * BLOCK;
        }
        Ok(out)
    }

    /// Fills `out` from `from` on, which lies within a written extent: whole blocks without a detour.
    fn read_part(&self, extent: Extent, from: u64, out: &mut [u8]) -> Result<()> {
        let to = from + out.len() as u64;
        let mut at = from;
        while at < to {
            let (lblk, skip) = (at / BLOCK, (at % BLOCK) as usize);
            let whole = (to / BLOCK).saturating_sub(lblk);
            let rest = &mut out[(at - from) as usize..];
            let count = if skip == 0 && whole > 0 {
                let part = &mut rest[..whole as usize * BLOCK_SIZE];
                self.store
                    .read_data(extent.slice(lblk, lblk + whole).pblk, part)?;
                part.len()
            } else {
                let mut block = [0; BLOCK_SIZE];
                let pblk = extent.slice(lblk, lblk + 1).pblk;
                self.store.read_data(pblk, &mut block)?;
                let count = rest.len().min(BLOCK_SIZE - skip);
                rest[..count].copy_from_slice(&block[skip..skip + count]);
                count
            };
            at += count as u64;
        }
        Ok(())
    }

    /// Writes `data` at `offset` and returns how many bytes found room, which is fewer than given only if the volume
    /// became full, or the device failed, on the way.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if not one byte found room; [`Error::FileTooLarge`] beyond [`MAX_FILE_SIZE`];
    /// [`Error::IsADirectory`] or [`Error::InvalidArgument`] if it is not a regular file.
    pub fn write(&mut self, ino: Ino, offset: u64, data: &[u8]) -> Result<usize> {
        let (ino, _) = self.regular(ino)?;
        let end = offset.checked_add(data.len() as u64);
        if !data.is_empty() && end.is_none_or(|end| end > MAX_FILE_SIZE) {
            return Err(Error::FileTooLarge.into());
        }
        self.settle(ino)?;
        let now = self.now();
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            match transact(&mut self.store, |tx| {
                write_run(tx, ino, at, &data[done..], now)
            }) {
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// First offset at or after `offset` with data, or in a hole. Blocks that are only reserved are a hole.
    ///
    /// # Errors
    /// [`Error::NoSuchData`] if there is none, or `offset` is behind the end;
    /// [`Error::IsADirectory`] or [`Error::InvalidArgument`] if it is not a regular file.
    pub fn seek(&self, ino: Ino, offset: u64, to: SeekTo) -> Result<u64> {
        let (ino, inode) = self.regular(ino)?;
        if offset >= inode.size {
            return Err(Error::NoSuchData.into());
        }
        let mut lblk = offset / BLOCK;
        loop {
            let extent = map::find(&self.store, ino, &inode, lblk)?;
            let written = extent.filter(|extent| !extent.unwritten);
            let start = written.map(|extent| u64::from(extent.lblk).max(lblk));
            match to {
                SeekTo::Data => match (extent, start) {
                    (None, _) => return Err(Error::NoSuchData.into()),
                    (_, Some(start)) if start * BLOCK >= inode.size => {
                        return Err(Error::NoSuchData.into());
                    }
                    (_, Some(start)) => return Ok(offset.max(start * BLOCK)),
                    (Some(extent), None) => lblk = extent.end(),
                },
                SeekTo::Hole => match written.filter(|_| start == Some(lblk)) {
                    Some(extent) => lblk = extent.end(),
                    None => return Ok(offset.max(lblk * BLOCK).min(inode.size)),
                },
            }
        }
    }
}
