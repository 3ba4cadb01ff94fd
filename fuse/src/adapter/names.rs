// SPDX-License-Identifier: Apache-2.0
//! Look-ups, and what makes, moves and removes names.

use std::ffi::OsStr;

use fuser::{INodeNo, RenameFlags, ReplyData, ReplyEmpty, ReplyEntry};

use super::convert::{encode, errno, ino, rename_mode};
use super::vexfs::{VexFs, generation, keep};
use crate::disk::Result;
use crate::{Ino, NewNode, Owner};

impl VexFs {
    /// That a name is not there the kernel must not keep: an ioctl may make it once the directory is a collection.
    pub(super) fn find(&self, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.shared().and_then(|volume| {
            let attr = volume.lookup(ino(parent), name)?;
            volume.remember(attr.ino)?;
            Ok(attr)
        });
        match found {
            Ok(attr) => reply.entry(keep(&attr), &encode(&attr), generation(&attr)),
            Err(error) => reply.error(errno(&error)),
        }
    }

    pub(super) fn forgotten(&self, node: INodeNo, count: u64) {
        let unused = self
            .shared()
            .map(|volume| volume.forget_named(ino(node), count));
        let done = match unused {
            Ok(true) => self.volume().map(|mut volume| volume.bury(ino(node))),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            log::error!("forget of inode {node}: {error}");
        }
    }

    pub(super) fn make(
        &self,
        (parent, name): (INodeNo, &OsStr),
        node: Result<NewNode>,
        (perm, owner): (u16, Owner),
        reply: ReplyEntry,
    ) {
        self.reply_entry(reply, |volume| {
            volume.make(ino(parent), name, node?, perm, owner)
        });
    }

    pub(super) fn name(&self, node: INodeNo, (parent, name): (INodeNo, &OsStr), reply: ReplyEntry) {
        self.reply_entry(reply, |volume| volume.link(ino(node), ino(parent), name));
    }

    pub(super) fn move_name(
        &self,
        (parent, name): (INodeNo, &OsStr),
        (new_parent, new_name): (INodeNo, &OsStr),
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.reply_empty(reply, |volume| {
            let mode = rename_mode(flags)?;
            volume.rename(ino(parent), name, ino(new_parent), new_name, mode)
        });
    }

    pub(super) fn target(&self, node: Ino, reply: ReplyData) {
        let target = self.beside_or_alone(
            |volume| volume.read_link_unnoted(node),
            |volume| volume.read_link(node),
        );
        match target {
            Ok(target) => reply.data(target.as_encoded_bytes()),
            Err(error) => reply.error(errno(&error)),
        }
    }
}
