// SPDX-License-Identifier: Apache-2.0
//! An inode in memory.

use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use crate::dir::Directory;
use crate::error::{Error, Result};
use crate::pages::{PAGE_SIZE, PageMap};
use crate::types::{AtimePolicy, Attr, FileKind, Ino};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What an inode holds.
#[derive(Debug)]
pub(crate) enum Body {
    File(PageMap),
    Dir(Directory),
    Symlink(OsString),
    Special { kind: FileKind, rdev: u32 },
}

#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) perm: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u32,
    pub(crate) atime: SystemTime,
    pub(crate) mtime: SystemTime,
    pub(crate) ctime: SystemTime,
    /// References that the caller remembers (the kernel's lookup count).
    pub(crate) remembered: u64,
    /// Open handles.
    pub(crate) opened: u64,
    pub(crate) body: Body,
}

impl Inode {
    pub(crate) fn kind(&self) -> FileKind {
        match &self.body {
            Body::File(_) => FileKind::Regular,
            Body::Dir(_) => FileKind::Directory,
            Body::Symlink(_) => FileKind::Symlink,
            Body::Special { kind, .. } => *kind,
        }
    }

    pub(crate) fn attr(&self, ino: Ino) -> Attr {
        let (size, pages, rdev) = match &self.body {
            Body::File(content) => (content.size(), content.held(), 0),
            Body::Dir(dir) => (dir.name_bytes(), 0, 0),
            Body::Symlink(target) => (target.len() as u64, 0, 0),
            Body::Special { rdev, .. } => (0, 0, *rdev),
        };
        Attr {
            ino,
            // Numbers are not used again.
            generation: 0,
            kind: self.kind(),
            perm: self.perm,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev,
            size,
            blocks: pages * (PAGE_SIZE as u64 / 512),
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
        }
    }

    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir(_))
    }

    pub(crate) fn dir(&self) -> Result<&Directory> {
        match &self.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Error::NotADirectory),
        }
    }

    pub(crate) fn dir_mut(&mut self) -> Result<&mut Directory> {
        match &mut self.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Error::NotADirectory),
        }
    }

    pub(crate) fn file(&self) -> Result<&PageMap> {
        match &self.body {
            Body::File(content) => Ok(content),
            Body::Dir(_) => Err(Error::IsADirectory),
            Body::Symlink(_) | Body::Special { .. } => Err(Error::InvalidArgument),
        }
    }

    pub(crate) fn file_mut(&mut self) -> Result<&mut PageMap> {
        match &mut self.body {
            Body::File(content) => Ok(content),
            Body::Dir(_) => Err(Error::IsADirectory),
            Body::Symlink(_) | Body::Special { .. } => Err(Error::InvalidArgument),
        }
    }

    /// Nobody can reach it any more: no name, no open handle, not remembered.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.nlink == 0 && self.opened == 0 && self.remembered == 0
    }

    /// The content changed.
    pub(crate) fn modified(&mut self, now: SystemTime) {
        self.mtime = now;
        self.ctime = now;
    }

    /// The content was read.
    pub(crate) fn accessed(&mut self, now: SystemTime, policy: AtimePolicy) {
        let due = match policy {
            AtimePolicy::Never => false,
            AtimePolicy::Relative => {
                self.atime <= self.mtime
                    || self.atime <= self.ctime
                    || now.duration_since(self.atime).is_ok_and(|age| age >= DAY)
            }
        };
        if due {
            self.atime = now;
        }
    }
}
