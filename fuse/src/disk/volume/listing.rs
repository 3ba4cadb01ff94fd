// SPDX-License-Identifier: Apache-2.0
//! The listing of directories.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use super::DiskVolume;
use super::attributes::kind;
use crate::disk::dir::{COOKIE_DOT, COOKIE_DOT_DOT, Dir};
use crate::disk::{FileType, Inode, Result};
use crate::types::{DirEntry, FileKind, Ino};

impl DiskVolume {
    /// Shows `visit` the entries after the cookie `after` (0: from the start, with `.` and `..` first) until it breaks.
    ///
    /// An entry that exists throughout a listing in several steps is shown exactly once, whatever else changes.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], [`Error::Stale`].
    pub fn read_dir(
        &mut self,
        ino: Ino,
        after: u64,
        mut visit: impl FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let (ino, inode) = self.directory(ino)?;
        self.list(ino, &inode, after, &mut visit)?;
        self.accessed(ino, &inode);
        Ok(())
    }

    /// The same where the time of access need not be noted, so that nothing changes; None where it must.
    pub fn read_dir_unnoted(
        &self,
        ino: Ino,
        after: u64,
        mut visit: impl FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Option<Result<()>> {
        match self.directory(ino) {
            Ok((_, inode)) if self.access_is_due(&inode) => None,
            Ok((ino, inode)) => Some(self.list(ino, &inode, after, &mut visit)),
            Err(error) => Some(Err(error)),
        }
    }

    fn list(
        &self,
        ino: u32,
        inode: &Inode,
        after: u64,
        visit: &mut impl FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let dots = [(COOKIE_DOT, ".", ino), (COOKIE_DOT_DOT, "..", inode.parent)];
        let mut going = true;
        for (cookie, name, ino) in dots {
            if going && cookie > after {
                let entry = DirEntry {
                    ino: Ino(ino.into()),
                    kind: FileKind::Directory,
                    name: OsStr::new(name),
                    cookie,
                };
                going = visit(entry).is_continue();
            }
        }
        if going {
            let dir = Dir { ino, inode };
            dir.walk(&self.store, after.max(COOKIE_DOT_DOT), |record| {
                let Some(file_type) = FileType::from_dir_type(record.kind) else {
                    // The leaf's check leaves no other.
                    return true;
                };
                let entry = DirEntry {
                    ino: Ino(record.ino.into()),
                    kind: kind(file_type),
                    name: OsStr::from_bytes(record.name),
                    cookie: record.key + 1,
                };
                visit(entry).is_continue()
            })?;
        }
        Ok(())
    }
}
