// SPDX-License-Identifier: Apache-2.0
//! Look-ups, and what makes, moves and removes names.

use std::ffi::OsStr;
use std::time::{Duration, SystemTime};

use fuser::{
    FileAttr, FileType, Generation, INodeNo, RenameFlags, ReplyData, ReplyEmpty, ReplyEntry,
};

use super::convert::{encode, errno, ino, rename_mode};
use super::vexfs::{VexFs, generation, keep};
use crate::disk::{Error, Result};
use crate::{Ino, NewNode, Owner};

/// How long the kernel may remember that a name is not there.
const KEEP_ABSENT: Duration = Duration::from_secs(24 * 60 * 60);

/// The answer that a name is not there, to be remembered: an entry without an inode.
const NOTHING: FileAttr = FileAttr {
    ino: INodeNo(0),
    size: 0,
    blocks: 0,
    atime: SystemTime::UNIX_EPOCH,
    mtime: SystemTime::UNIX_EPOCH,
    ctime: SystemTime::UNIX_EPOCH,
    crtime: SystemTime::UNIX_EPOCH,
    kind: FileType::RegularFile,
    perm: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: 0,
    flags: 0,
};

impl VexFs {
    pub(super) fn find(&self, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.shared().and_then(|volume| {
            let found = volume.lookup(ino(parent), name);
            if let Ok(attr) = &found {
                volume.remember(attr.ino)?;
            }
            // In a collection an ioctl may make the name at any time.
            let is_lasting = !volume.is_collection(ino(parent)).unwrap_or(true);
            Ok((found, is_lasting))
        });
        match found {
            Ok((Ok(attr), _)) => reply.entry(keep(&attr), &encode(&attr), generation(&attr)),
            Ok((Err(Error::Volume(crate::Error::NotFound)), true)) => {
                reply.entry(&KEEP_ABSENT, &NOTHING, Generation(0));
            }
            Ok((Err(error), _)) | Err(error) => reply.error(errno(&error)),
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
