// SPDX-License-Identifier: Apache-2.0
//! The volume behind its lock, and the answers that many requests share.
//!
//! Several threads of the session serve requests. What changes nothing shares the lock (attributes, contents, listings,
//! searches), all else has it alone. It is the only lock that a request holds; below it are those of the store's
//! cache and of the device, which hold none other.

use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use fuser::{
    Errno, FileHandle, FopenFlags, Generation, INodeNo, Notifier, ReplyAttr, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyXattr,
};

use super::convert::{encode, errno};
use crate::{Attr, Error, Handle, Outcome, Volume};

/// How long the kernel may keep names and attributes. All changes come through the kernel, and it drops what its own
/// operations change, so that this never makes an answer stale.
pub(super) const KEEP: Duration = Duration::from_secs(1);

pub(super) fn generation(attr: &Attr) -> Generation {
    Generation(attr.generation.into())
}

/// A volume as a FUSE file system.
pub struct VexFs {
    volume: Shared,
    notifier: Arc<OnceLock<Notifier>>,
}

/// A volume between the session and whoever else works on it.
pub type Shared = Arc<RwLock<dyn Volume>>;

/// What happens under the lock.
type Served = dyn Volume;

impl VexFs {
    /// Serves `volume`.
    #[must_use]
    pub fn new(volume: Shared) -> Self {
        Self {
            volume,
            notifier: Arc::default(),
        }
    }

    /// Where the session's notifier goes, once there is one: an ioctl that makes files has to tell the kernel so.
    #[must_use]
    pub fn notifier(&self) -> Arc<OnceLock<Notifier>> {
        Arc::clone(&self.notifier)
    }

    /// What the kernel knows of a directory is out of date. Names that are not there it never remembers: they are
    /// answered with an error, and so without a time to keep them.
    pub(super) fn has_changed(&self, dir: INodeNo) {
        if let Some(notifier) = self.notifier.get()
            && let Err(error) = notifier.inval_inode(dir, -1, 0)
            && error.raw_os_error() != Some(rustix::io::Errno::NOENT.raw_os_error())
        {
            log::warn!("the kernel could not be told of a change in inode {dir}: {error}");
        }
    }

    /// The volume for what changes it.
    pub(super) fn volume(&self) -> Outcome<RwLockWriteGuard<'_, Served>> {
        self.volume.write().map_err(|_| Error::Poisoned.into())
    }

    /// The volume for what only looks at it.
    pub(super) fn shared(&self) -> Outcome<RwLockReadGuard<'_, Served>> {
        self.volume.read().map_err(|_| Error::Poisoned.into())
    }

    /// Does it beside others where `beside` can, which then changes nothing; else `alone`.
    pub(super) fn beside_or_alone<T>(
        &self,
        beside: impl FnOnce(&Served) -> Option<Outcome<T>>,
        alone: impl FnOnce(&mut Served) -> Outcome<T>,
    ) -> Outcome<T> {
        let done = beside(&*self.shared()?);
        match done {
            Some(done) => done,
            None => alone(&mut *self.volume()?),
        }
    }

    /// Does `work`, and remembers the inode that it found or made: the kernel forgets it in its own time.
    pub(super) fn entry(&self, work: impl FnOnce(&mut Served) -> Outcome<Attr>) -> Outcome<Attr> {
        let mut volume = self.volume()?;
        let attr = work(&mut *volume)?;
        volume.remember(attr.ino)?;
        Ok(attr)
    }

    pub(super) fn reply_entry(
        &self,
        reply: ReplyEntry,
        work: impl FnOnce(&mut Served) -> Outcome<Attr>,
    ) {
        match self.entry(work) {
            Ok(attr) => reply.entry(&KEEP, &encode(&attr), generation(&attr)),
            Err(error) => reply.error(errno(error)),
        }
    }

    pub(super) fn reply_empty(
        &self,
        reply: ReplyEmpty,
        work: impl FnOnce(&mut Served) -> Outcome<()>,
    ) {
        match self.volume().and_then(|mut volume| work(&mut *volume)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    pub(super) fn reply_attr(
        &self,
        reply: ReplyAttr,
        work: impl FnOnce(&mut Served) -> Outcome<Attr>,
    ) {
        match self.volume().and_then(|mut volume| work(&mut *volume)) {
            Ok(attr) => reply.attr(&KEEP, &encode(&attr)),
            Err(error) => reply.error(errno(error)),
        }
    }

    pub(super) fn reply_open(
        &self,
        reply: ReplyOpen,
        work: impl FnOnce(&mut Served) -> Outcome<Handle>,
    ) {
        match self.volume().and_then(|mut volume| work(&mut *volume)) {
            Ok(handle) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
            Err(error) => reply.error(errno(error)),
        }
    }

    /// Both kinds of sync, of files and directories: all that the kernel sent before is in the volume already, and
    /// one commit makes all of it durable.
    pub(super) fn reply_synced(&self, reply: ReplyEmpty, fh: FileHandle) {
        self.reply_empty(reply, |volume| {
            volume.handle_ino(Handle(fh.0))?;
            volume.sync()
        });
    }
}

/// Answers with `data` as getxattr and listxattr do: by its size only, if no room is offered.
pub(super) fn reply_xattr(reply: ReplyXattr, size: u32, found: Outcome<Vec<u8>>) {
    match found {
        // Bounded by what an inode and a block hold.
        Ok(data) if size == 0 => reply.size(data.len() as u32),
        Ok(data) if data.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(data) => reply.data(&data),
        Err(error) => reply.error(errno(error)),
    }
}
