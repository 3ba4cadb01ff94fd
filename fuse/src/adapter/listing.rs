// SPDX-License-Identifier: Apache-2.0
//! Directories that are opened and listed.

use std::ops::ControlFlow;

use fuser::{FileHandle, FopenFlags, INodeNo, ReplyDirectory, ReplyOpen};

use super::convert::{errno, file_type};
use super::vexfs::VexFs;
use crate::{DirEntry, Ino};

impl VexFs {
    /// The kernel may keep what it lists, and drops it when it changes the directory; a collection's members come by
    /// ioctls, too.
    pub(super) fn open_listing(&self, node: Ino, reply: ReplyOpen) {
        let kept = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
        match self.shared().and_then(|volume| volume.is_collection(node)) {
            Ok(true) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Ok(false) => reply.opened(FileHandle(0), kept),
            Err(error) => reply.error(errno(&error)),
        }
    }

    pub(super) fn list(&self, node: Ino, after: u64, mut reply: ReplyDirectory) {
        let mut add = |entry: DirEntry<'_>| {
            let (node, kind) = (INodeNo(entry.ino.0), file_type(entry.kind));
            match reply.add(node, entry.cookie, kind, entry.name) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let listed = match self.shared() {
            Ok(volume) => volume.read_dir_unnoted(node, after, &mut add),
            Err(error) => Some(Err(error)),
        };
        let listed = listed.unwrap_or_else(|| {
            self.volume()
                .and_then(|mut volume| volume.read_dir(node, after, &mut add))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }
}
