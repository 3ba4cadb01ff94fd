// SPDX-License-Identifier: Apache-2.0
//! The requests, one by one: decoded, handed to the volume, the answer encoded.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, IoctlFlags, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use super::convert::{
    encode, errno, file_type, groups, ino, new_node, owner, perm, rename_mode, time_change,
};
use super::vexfs::{KEEP, VexFs, generation, reply_xattr};
use crate::disk::xattr::SetMode;
use crate::uapi::IOC_VECTOR_ADD;
use crate::{AttrChange, Caller, DirEntry, Failure, Handle, NewNode, SeekTo};

const O_NOATIME: i32 = 0o1_000_000;
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;
const KEEP_SIZE: i32 = 1;
const PUNCH_HOLE: i32 = 2;
const XATTR_CREATE: i32 = 1;
const XATTR_REPLACE: i32 = 2;

impl Filesystem for VexFs {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.reply_entry(reply, |volume| volume.lookup(ino(parent), name));
    }

    fn forget(&self, _: &Request, node: INodeNo, nlookup: u64) {
        match self.volume() {
            Ok(mut volume) => volume.forget(ino(node), nlookup),
            Err(Failure(errno)) => log::error!("forget of inode {node}: errno {errno}"),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.shared().and_then(|volume| volume.attr(ino(node))) {
            Ok(attr) => reply.attr(&KEEP, &encode(&attr)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = AttrChange {
            perm: mode.map(perm),
            uid,
            gid,
            size,
            atime: atime.map(time_change),
            mtime: mtime.map(time_change),
        };
        self.reply_attr(reply, |volume| volume.set_attr(ino(node), &change));
    }

    fn readlink(&self, _: &Request, node: INodeNo, reply: ReplyData) {
        match self
            .volume()
            .and_then(|mut volume| volume.read_link(ino(node)))
        {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        self.reply_entry(reply, |volume| {
            let node = new_node(mode, rdev)?;
            volume.make(ino(parent), name, node, perm(mode), owner(request))
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.reply_entry(reply, |volume| {
            volume.make(
                ino(parent),
                name,
                NewNode::Directory,
                perm(mode),
                owner(request),
            )
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.reply_empty(reply, |volume| volume.unlink(ino(parent), name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.reply_empty(reply, |volume| volume.rmdir(ino(parent), name));
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let node = NewNode::Symlink(target.as_os_str().to_owned());
        self.reply_entry(reply, |volume| {
            volume.make(ino(parent), name, node, 0, owner(request))
        });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.reply_empty(reply, |volume| {
            let mode = rename_mode(flags)?;
            volume.rename(ino(parent), name, ino(new_parent), new_name, mode)
        });
    }

    fn link(&self, _: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.reply_entry(reply, |volume| volume.link(ino(node), ino(parent), name));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.volume().and_then(|mut volume| {
            let (parent, owner) = (ino(parent), owner(request));
            let attr = volume.make(parent, name, NewNode::Regular, perm(mode), owner)?;
            volume.remember(attr.ino)?;
            Ok((attr, volume.open(attr.ino)?))
        });
        match made {
            Ok((attr, handle)) => {
                let fh = FileHandle(handle.0);
                let found = encode(&attr);
                reply.created(&KEEP, &found, generation(&attr), fh, FopenFlags::empty());
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.reply_open(reply, |volume| volume.open(ino(node)));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (handle, len) = (Handle(fh.0), size as usize);
        let read = self.beside_or_alone(
            |volume| match flags.0 & O_NOATIME {
                0 => volume.read_unnoted(handle, offset, len),
                _ => Some(volume.read_quietly(handle, offset, len)),
            },
            |volume| volume.read(handle, offset, len),
        );
        match read {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self
            .volume()
            .and_then(|mut volume| volume.write(Handle(fh.0), offset, data));
        match written {
            // A request carries at most 16 MiB, so that the count always fits.
            Ok(count) => reply.written(count as u32),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn lseek(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
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
            .and_then(|volume| volume.seek(Handle(fh.0), offset, to))
        {
            // An offset in a file is at most MAX_FILE_SIZE, which is i64::MAX.
            Ok(found) => reply.offset(found as i64),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, fh: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing is no sync; nothing is held back here.
        match self
            .shared()
            .and_then(|volume| volume.handle_ino(Handle(fh.0)))
        {
            Ok(_) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.reply_synced(reply, fh);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        self.reply_synced(reply, fh);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.reply_empty(reply, |volume| volume.release(Handle(fh.0)));
    }

    fn opendir(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.reply_open(reply, |volume| volume.open_dir(ino(node)));
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let mut add = |entry: DirEntry<'_>| {
            let (node, kind) = (INodeNo(entry.ino.0), file_type(entry.kind));
            match reply.add(node, entry.cookie, kind, entry.name) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let handle = Handle(fh.0);
        let listed = match self.shared() {
            Ok(volume) => volume.read_dir_unnoted(handle, offset, &mut add),
            Err(error) => Some(Err(error)),
        };
        let listed = listed.unwrap_or_else(|| {
            self.volume()
                .and_then(|mut volume| volume.read_dir(handle, offset, &mut add))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.reply_empty(reply, |volume| volume.release(Handle(fh.0)));
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let handle = Handle(fh.0);
        self.reply_empty(reply, |volume| match mode {
            0 => volume.allocate(handle, offset, length, false),
            KEEP_SIZE => volume.allocate(handle, offset, length, true),
            _ if mode == PUNCH_HOLE | KEEP_SIZE => volume.punch_hole(handle, offset, length),
            _ => Err(Failure::UNSUPPORTED),
        });
    }

    fn setxattr(
        &self,
        _: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let mode = match flags {
            0 => SetMode::Any,
            XATTR_CREATE => SetMode::Create,
            XATTR_REPLACE => SetMode::Replace,
            _ => return reply.error(Errno::EINVAL),
        };
        self.reply_empty(reply, |volume| {
            volume.set_xattr(ino(node), name.as_bytes(), value, mode)
        });
    }

    fn getxattr(&self, _: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let found = self
            .shared()
            .and_then(|volume| volume.get_xattr(ino(node), name.as_bytes()));
        reply_xattr(reply, size, found);
    }

    fn listxattr(&self, request: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        // Only the superuser sees that there are trusted ones (xattr(7)); the kernel keeps their values from others, not this list.
        let all = request.uid() == 0;
        let found = self.shared().and_then(|volume| {
            let names = volume.list_xattr(ino(node))?;
            Ok(names
                .into_iter()
                .filter(|name| all || !name.starts_with(b"trusted."))
                .flat_map(|name| name.into_iter().chain([0]))
                .collect())
        });
        reply_xattr(reply, size, found);
    }

    fn removexattr(&self, _: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.reply_empty(reply, |volume| {
            volume.remove_xattr(ino(node), name.as_bytes())
        });
    }

    fn ioctl(
        &self,
        request: &Request,
        node: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        command: u32,
        input: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        let pid = request.pid();
        let caller = Caller {
            owner: owner(request),
            groups: &|| groups(pid),
        };
        let done = self.beside_or_alone(
            |volume| volume.ioctl_unchanging(ino(node), command, input, &caller),
            |volume| volume.ioctl(ino(node), command, input, &caller),
        );
        match done {
            Ok(answer) => {
                if command == IOC_VECTOR_ADD {
                    self.has_changed(node);
                }
                reply.ioctl(0, &answer);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
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
            Err(error) => reply.error(errno(error)),
        }
    }
}
