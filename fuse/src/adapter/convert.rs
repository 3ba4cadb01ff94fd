// SPDX-License-Identifier: Apache-2.0
//! Between the values of fuser and those of the volume.

use std::time::{Duration, SystemTime};

use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags, Request, TimeOrNow};

use crate::disk::{BLOCK_SIZE, Error as DiskError, Result};
use crate::{Attr, Error, FileKind, Ino, NewNode, Owner, RenameMode, TimeChange};

const S_IFMT: u32 = 0o170_000;
const S_IFIFO: u32 = 0o010_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;
const S_IFREG: u32 = 0o100_000;
const S_IFSOCK: u32 = 0o140_000;

pub(super) fn errno(error: &DiskError) -> Errno {
    Errno::from_i32(error.errno())
}

pub(super) fn ino(ino: INodeNo) -> Ino {
    Ino(ino.0)
}

pub(super) fn owner(request: &Request) -> Owner {
    Owner {
        uid: request.uid(),
        gid: request.gid(),
    }
}

/// Further groups of a process, which a request does not carry. None if it is gone, or lives where it cannot be seen.
pub(super) fn groups(pid: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    let words = line.unwrap_or_default().split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

pub(super) fn perm(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

pub(super) fn encode(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime,
        mtime: attr.mtime,
        ctime: attr.ctime,
        crtime: SystemTime::UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: attr.perm,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_SIZE as u32,
        flags: 0,
    }
}

/// The time to set. The kernel sends a time before 1970 as negative seconds plus nanoseconds that count forwards;
/// fuser 0.18.0 counts them backwards, which is undone here (and tested through a mount, should fuser change).
pub(super) fn time_change(time: TimeOrNow) -> TimeChange {
    match time {
        TimeOrNow::Now => TimeChange::Now,
        TimeOrNow::SpecificTime(time) => {
            let before = SystemTime::UNIX_EPOCH
                .duration_since(time)
                .unwrap_or_default();
            TimeChange::At(time + 2 * Duration::from_nanos(before.subsec_nanos().into()))
        }
    }
}

pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode> {
    if flags.is_empty() {
        Ok(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Ok(RenameMode::Exchange)
    } else {
        Err(Error::InvalidArgument.into())
    }
}

/// What `mknod` asks for: `mode` carries the type.
pub(super) fn new_node(mode: u32, rdev: u32) -> Result<NewNode> {
    match mode & S_IFMT {
        0 | S_IFREG => Ok(NewNode::Regular),
        S_IFIFO => Ok(NewNode::Fifo),
        S_IFSOCK => Ok(NewNode::Socket),
        S_IFCHR => Ok(NewNode::CharDevice(rdev)),
        S_IFBLK => Ok(NewNode::BlockDevice(rdev)),
        _ => Err(Error::InvalidArgument.into()),
    }
}
