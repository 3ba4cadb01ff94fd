// SPDX-License-Identifier: Apache-2.0
//! Open handles, the bytes of files, and the listing of directories.

use std::ffi::OsStr;
use std::ops::ControlFlow;

use super::{MAX_FILE_SIZE, MemoryVolume};
use crate::dir::{DOT, DOT_DOT};
use crate::error::{Error, Result};
use crate::types::{DirEntry, Handle, Ino, SeekTo};

impl MemoryVolume {
    /// Opens an inode, which then lives at least until [`MemoryVolume::release`]. Reading and writing are both
    /// possible: access modes are the caller's matter.
    ///
    /// # Errors
    /// [`Error::Stale`] if there is no such inode.
    pub fn open(&mut self, ino: Ino) -> Result<Handle> {
        self.inode_mut(ino)?.opened += 1;
        self.last_handle += 1;
        let handle = Handle(self.last_handle);
        self.handles.insert(handle, ino);
        Ok(handle)
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], [`Error::Stale`].
    pub fn open_dir(&mut self, ino: Ino) -> Result<Handle> {
        self.dir(ino)?;
        self.open(ino)
    }

    /// Closes a handle.
    ///
    /// # Errors
    /// [`Error::BadHandle`] if it is not open.
    pub fn release(&mut self, handle: Handle) -> Result<()> {
        let ino = self.handles.remove(&handle).ok_or(Error::BadHandle)?;
        let inode = self.inode_mut(ino)?;
        inode.opened -= 1;
        self.reap(ino);
        Ok(())
    }

    /// Inode of an open handle.
    ///
    /// # Errors
    /// [`Error::BadHandle`] if it is not open.
    pub fn handle_ino(&self, handle: Handle) -> Result<Ino> {
        self.handles.get(&handle).copied().ok_or(Error::BadHandle)
    }

    /// Up to `len` bytes from `offset`: fewer only at the end of the file.
    ///
    /// # Errors
    /// [`Error::BadHandle`]; [`Error::IsADirectory`] or [`Error::InvalidArgument`] if it is not a regular file.
    pub fn read(&mut self, handle: Handle, offset: u64, len: usize) -> Result<Vec<u8>> {
        let ino = self.handle_ino(handle)?;
        let (now, policy) = (self.now(), self.atime);
        let inode = self.inode_mut(ino)?;
        let data = inode.file()?.read(offset, len);
        if len > 0 {
            inode.accessed(now, policy);
        }
        Ok(data)
    }

    /// The same, without noting the time of access (`O_NOATIME`).
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_quietly(&self, handle: Handle, offset: u64, len: usize) -> Result<Vec<u8>> {
        let inode = self.inode(self.handle_ino(handle)?)?;
        Ok(inode.file()?.read(offset, len))
    }

    /// Writes `data` at `offset` and returns how many bytes found room, which is fewer than given only if the volume
    /// became full on the way.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if not one byte found room; [`Error::FileTooLarge`] beyond [`MAX_FILE_SIZE`];
    /// [`Error::BadHandle`]; [`Error::IsADirectory`] or [`Error::InvalidArgument`] if it is not a regular file.
    pub fn write(&mut self, handle: Handle, offset: u64, data: &[u8]) -> Result<usize> {
        let ino = self.handle_ino(handle)?;
        let now = self.now();
        let inode = self.inodes.get_mut(&ino).ok_or(Error::Stale)?;
        let content = inode.file_mut()?;
        if data.is_empty() {
            return Ok(0);
        }
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > MAX_FILE_SIZE) {
            return Err(Error::FileTooLarge);
        }
        let written = content.write(offset, data, &mut self.free_pages);
        if written == 0 {
            return Err(Error::NoSpace);
        }
        inode.modified(now);
        Ok(written)
    }

    /// First offset at or after `offset` with data, or in a hole.
    ///
    /// # Errors
    /// [`Error::NoSuchData`] if there is none, or `offset` is behind the end; [`Error::BadHandle`];
    /// [`Error::IsADirectory`] or [`Error::InvalidArgument`] if it is not a regular file.
    pub fn seek(&self, handle: Handle, offset: u64, to: SeekTo) -> Result<u64> {
        let content = self.inode(self.handle_ino(handle)?)?.file()?;
        match to {
            SeekTo::Data => content.next_data(offset),
            SeekTo::Hole => content.next_hole(offset),
        }
        .ok_or(Error::NoSuchData)
    }

    /// Shows `visit` the entries after the cookie `after` (0: from the start, with `.` and `..` first) until it breaks.
    ///
    /// An entry that exists throughout a listing in several steps is shown exactly once, whatever else changes.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], [`Error::BadHandle`].
    pub fn read_dir(
        &mut self,
        handle: Handle,
        after: u64,
        mut visit: impl FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let ino = self.handle_ino(handle)?;
        let dir = self.dir(ino)?;
        let dots = [(DOT, ".", ino), (DOT_DOT, "..", dir.parent)]
            .map(|(cookie, name, ino)| (cookie, OsStr::new(name), ino));
        let entries = dots
            .into_iter()
            .filter(|(cookie, ..)| *cookie > after)
            .chain(dir.after(after.max(DOT_DOT)));
        for (cookie, name, ino) in entries {
            // A removed directory may outlive its parent: `..` then has no inode to ask.
            let kind = self.kind(ino).or_else(|error| match cookie {
                DOT_DOT => Ok(crate::FileKind::Directory),
                _ => Err(error),
            })?;
            let entry = DirEntry {
                ino,
                kind,
                name,
                cookie,
            };
            if visit(entry).is_break() {
                break;
            }
        }
        let (now, policy) = (self.now(), self.atime);
        self.inode_mut(ino)?.accessed(now, policy);
        Ok(())
    }
}
