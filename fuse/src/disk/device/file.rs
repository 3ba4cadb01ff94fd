// SPDX-License-Identifier: Apache-2.0
//! A device that is a file or a block device, held by one writer at a time.

use super::{BlockDevice, range};
use crate::disk::error::{Error, Result};
use crate::disk::layout::BLOCK_SIZE;
use rustix::fs::{FallocateFlags, FileType, FlockOperation, Mode, OFlags, fallocate, flock, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a device is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading; others may read as well.
    ReadOnly,
    /// Reading and writing; nobody else may have it.
    ReadWrite,
}

/// A file or block device, locked until dropped.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    name: String,
    blocks: u64,
    access: Access,
    is_block_device: bool,
}

impl FileDevice {
    /// Open and lock: `O_EXCL` on a block device, which also refuses a mounted one; `flock` on both.
    pub fn open(path: &Path, access: Access) -> Result<FileDevice> {
        let name = path.display().to_string();
        let failed = |errno: Errno| match errno {
            Errno::BUSY | Errno::AGAIN => Error::Busy(name.clone()),
            errno => Error::Open(name.clone(), errno),
        };
        let is_block_device = {
            let stat = rustix::fs::stat(path).map_err(failed)?;
            FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice
        };
        let (mut flags, lock) = match access {
            Access::ReadOnly => (OFlags::RDONLY, FlockOperation::NonBlockingLockShared),
            Access::ReadWrite => (OFlags::RDWR, FlockOperation::NonBlockingLockExclusive),
        };
        if is_block_device && access == Access::ReadWrite {
            flags |= OFlags::EXCL;
        }
        let file = open(path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
            return Err(Error::Invalid(format!(
                "{name} is neither a file nor a block device"
            )));
        }
        flock(&file, lock).map_err(failed)?;
        let mut file = File::from(file);
        // Works for block devices too, whose st_size is 0.
        let bytes = file
            .seek(SeekFrom::End(0))
            .map_err(|e| failed(errno_of(&e)))?;
        Ok(FileDevice {
            file,
            name,
            blocks: bytes / BLOCK_SIZE as u64,
            access,
            is_block_device,
        })
    }

    /// Make a regular file (which must exist) this many blocks long, and the device with it.
    pub fn resize(&mut self, blocks: u64) -> Result<()> {
        let failed = |e: io::Error| Error::Open(self.name.clone(), errno_of(&e));
        self.file
            .set_len(blocks * BLOCK_SIZE as u64)
            .map_err(failed)?;
        self.blocks = blocks;
        Ok(())
    }

    /// Whether it is a block device.
    #[must_use]
    pub fn is_block_device(&self) -> bool {
        self.is_block_device
    }

    fn punch(&self, mode: FallocateFlags, block: u64, count: u64) -> io::Result<bool> {
        let (at, len) = (block * BLOCK_SIZE as u64, count * BLOCK_SIZE as u64);
        match fallocate(&self.file, mode | FallocateFlags::KEEP_SIZE, at, len) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NODEV | Errno::NOSYS) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

impl BlockDevice for FileDevice {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_read_only(&self) -> bool {
        self.access == Access::ReadOnly
    }

    fn read_blocks(&self, block: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = range(self.blocks, block, buffer.len())?.start;
        self.file.read_exact_at(buffer, at)
    }

    fn write_blocks(&self, block: u64, bytes: &[u8]) -> io::Result<()> {
        let at = range(self.blocks, block, bytes.len())?.start;
        self.file.write_all_at(bytes, at)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn discard(&self, block: u64, count: u64) -> io::Result<bool> {
        // On a block device this is BLKZEROOUT-like and keeps what is read afterwards defined: zeros.
        Ok(count == 0 || self.punch(FallocateFlags::PUNCH_HOLE, block, count)?)
    }

    fn zero(&self, block: u64, count: u64) -> io::Result<()> {
        if count == 0 || self.punch(FallocateFlags::PUNCH_HOLE, block, count)? {
            return Ok(());
        }
        let zeros = vec![0; 1 << 20];
        let (mut at, end) = (block, block + count);
        while at < end {
            let n = (end - at).min((zeros.len() / BLOCK_SIZE) as u64);
            self.write_blocks(at, &zeros[..n as usize * BLOCK_SIZE])?;
            at += n;
        }
        Ok(())
    }
}
