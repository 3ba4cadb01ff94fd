// SPDX-License-Identifier: Apache-2.0
//! The bytes of files.

use fuser::{Errno, OpenFlags, ReplyData, ReplyEmpty, ReplyLseek, ReplyWrite};

use super::convert::errno;
use super::vexfs::VexFs;
use crate::disk::Error;
use crate::{Ino, SeekTo};

const O_NOATIME: i32 = 0o1_000_000;
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;
const KEEP_SIZE: i32 = 1;
const PUNCH_HOLE: i32 = 2;

impl VexFs {
    pub(super) fn content(
        &self,
        node: Ino,
        offset: u64,
        len: usize,
        flags: OpenFlags,
        reply: ReplyData,
    ) {
        let read = self.beside_or_alone(
            |volume| match flags.0 & O_NOATIME {
                0 => volume.read_unnoted(node, offset, len),
                _ => Some(volume.read_quietly(node, offset, len)),
            },
            |volume| volume.read(node, offset, len),
        );
        match read {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(errno(&error)),
        }
    }

    pub(super) fn set_content(&self, node: Ino, offset: u64, data: &[u8], reply: ReplyWrite) {
        let written = self
            .volume()
            .and_then(|mut volume| volume.write(node, offset, data));
        match written {
            // A request carries at most 16 MiB, so that the count always fits.
            Ok(count) => reply.written(count as u32),
            Err(error) => reply.error(errno(&error)),
        }
    }

    pub(super) fn seek(&self, node: Ino, offset: i64, whence: i32, reply: ReplyLseek) {
        let to = match whence {
            SEEK_DATA => SeekTo::Data,
            SEEK_HOLE => SeekTo::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else {
            return reply.error(Errno::ENXIO);
        };
        match self
            .shared()
            .and_then(|volume| volume.seek(node, offset, to))
        {
            // An offset in a file is at most MAX_FILE_SIZE.
            Ok(found) => reply.offset(found as i64),
            Err(error) => reply.error(errno(&error)),
        }
    }

    pub(super) fn reserve(
        &self,
        node: Ino,
        (offset, len): (u64, u64),
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.reply_empty(reply, |volume| match mode {
            0 => volume.allocate(node, offset, len, false),
            KEEP_SIZE => volume.allocate(node, offset, len, true),
            _ if mode == PUNCH_HOLE | KEEP_SIZE => volume.punch_hole(node, offset, len),
            _ => Err(Error::Errno(rustix::io::Errno::OPNOTSUPP)),
        });
    }

    /// Both kinds of sync, of files and directories.
    pub(super) fn make_durable(&self, reply: ReplyEmpty) {
        match self.sync() {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }
}
