// SPDX-License-Identifier: Apache-2.0
//! The volume behind its lock, and the answers that many requests share.
//!
//! Several threads of the session serve requests. What changes nothing shares the lock (look-ups, attributes, contents,
//! listings, searches), all else has it alone, a sync only for a moment. Below it are the locks of the store's cache, of
//! who is remembered, and of the device, which hold none other.

use std::sync::{Arc, OnceLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use fuser::{Generation, INodeNo, Notifier, ReplyAttr, ReplyEmpty, ReplyEntry};

use super::convert::{encode, errno};
use crate::Attr;
use crate::disk::{DiskVolume, Result, SharedVolume};

/// How long the kernel may keep names and attributes. All changes come through the kernel, and it drops what its own
/// operations change, so that this never makes an answer stale.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// Of members of collections, which ioctls change behind the kernel's back.
const KEEP_MEMBER: Duration = Duration::from_secs(1);

pub(super) fn generation(attr: &Attr) -> Generation {
    Generation(attr.generation.into())
}

/// How long the kernel may keep these attributes.
pub(super) fn keep(attr: &Attr) -> &'static Duration {
    match attr.is_member {
        true => &KEEP_MEMBER,
        false => &KEEP,
    }
}

/// A volume as a FUSE file system.
pub struct VexFs {
    volume: Shared,
    notifier: Arc<OnceLock<Notifier>>,
}

/// A volume between the session and whoever else works on it.
pub type Shared = Arc<SharedVolume>;

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

    /// What the kernel knows of a directory, its listing included, is out of date.
    pub(super) fn has_changed(&self, dir: INodeNo) {
        if let Some(notifier) = self.notifier.get()
            && let Err(error) = notifier.inval_inode(dir, 0, 0)
            && error.raw_os_error() != Some(rustix::io::Errno::NOENT.raw_os_error())
        {
            log::warn!("the kernel could not be told of a change in inode {dir}: {error}");
        }
    }

    /// The volume for what changes it.
    pub(super) fn volume(&self) -> Result<RwLockWriteGuard<'_, DiskVolume>> {
        self.volume.alone()
    }

    /// The volume for what only looks at it.
    pub(super) fn shared(&self) -> Result<RwLockReadGuard<'_, DiskVolume>> {
        self.volume.beside()
    }

    /// Does it beside others where `beside` can, which then changes nothing; else `alone`.
    pub(super) fn beside_or_alone<T>(
        &self,
        beside: impl FnOnce(&DiskVolume) -> Option<Result<T>>,
        alone: impl FnOnce(&mut DiskVolume) -> Result<T>,
    ) -> Result<T> {
        let done = beside(&*self.shared()?);
        match done {
            Some(done) => done,
            None => alone(&mut *self.volume()?),
        }
    }

    /// All that the kernel sent before is in the volume already: one commit makes it durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.volume.sync()
    }

    /// Does `work`, and remembers the inode that it made: the kernel forgets it in its own time.
    pub(super) fn reply_entry(
        &self,
        reply: ReplyEntry,
        work: impl FnOnce(&mut DiskVolume) -> Result<Attr>,
    ) {
        let made = self.volume().and_then(|mut volume| {
            let attr = work(&mut volume)?;
            volume.remember(attr.ino)?;
            Ok(attr)
        });
        match made {
            Ok(attr) => reply.entry(keep(&attr), &encode(&attr), generation(&attr)),
            Err(error) => reply.error(errno(&error)),
        }
    }

    pub(super) fn reply_empty(
        &self,
        reply: ReplyEmpty,
        work: impl FnOnce(&mut DiskVolume) -> Result<()>,
    ) {
        match self.volume().and_then(|mut volume| work(&mut volume)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }
}

/// Attributes, or why there are none.
pub(super) fn reply_attr(reply: ReplyAttr, found: Result<Attr>) {
    match found {
        Ok(attr) => reply.attr(keep(&attr), &encode(&attr)),
        Err(error) => reply.error(errno(&error)),
    }
}
