// SPDX-License-Identifier: Apache-2.0
//! Attributes, extended ones too, and those of the volume.

use fuser::{Errno, ReplyEmpty, ReplyStatfs, ReplyXattr};

use super::convert::errno;
use super::vexfs::VexFs;
use crate::Ino;
use crate::disk::Result;
use crate::disk::xattr::SetMode;

const XATTR_CREATE: i32 = 1;
const XATTR_REPLACE: i32 = 2;

impl VexFs {
    pub(super) fn set_xattr(
        &self,
        node: Ino,
        name: &[u8],
        value: &[u8],
        flags: i32,
        reply: ReplyEmpty,
    ) {
        let mode = match flags {
            0 => SetMode::Any,
            XATTR_CREATE => SetMode::Create,
            XATTR_REPLACE => SetMode::Replace,
            _ => return reply.error(Errno::EINVAL),
        };
        self.reply_empty(reply, |volume| volume.set_xattr(node, name, value, mode));
    }

    pub(super) fn xattr(&self, node: Ino, name: &[u8], size: u32, reply: ReplyXattr) {
        let found = self
            .shared()
            .and_then(|volume| volume.get_xattr(node, name));
        reply_xattr(reply, size, found);
    }

    /// Only the superuser (`all`) sees that there are trusted ones (xattr(7)); the kernel keeps their values from
    /// others, not this list.
    pub(super) fn xattr_names(&self, node: Ino, all: bool, size: u32, reply: ReplyXattr) {
        let found = self.shared().and_then(|volume| {
            let names = volume.list_xattr(node)?.into_iter();
            Ok(names
                .filter(|name| all || !name.starts_with(b"trusted."))
                .flat_map(|name| name.into_iter().chain([0]))
                .collect())
        });
        reply_xattr(reply, size, found);
    }

    pub(super) fn space(&self, reply: ReplyStatfs) {
        match self.shared().map(|volume| volume.space()) {
            Ok(space) => reply.statfs(
                space.total_blocks,
                space.free_blocks,
                space.free_blocks,
                space.total_inodes,
                space.free_inodes,
                space.block_size,
                space.name_max,
                space.block_size,
            ),
            Err(error) => reply.error(errno(&error)),
        }
    }
}

/// Answers with `data` as getxattr and listxattr do: by its size only, if no room is offered.
fn reply_xattr(reply: ReplyXattr, size: u32, found: Result<Vec<u8>>) {
    match found {
        // Bounded by what an inode and a block hold.
        Ok(data) if size == 0 => reply.size(data.len() as u32),
        Ok(data) if data.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(data) => reply.data(&data),
        Err(error) => reply.error(errno(&error)),
    }
}
