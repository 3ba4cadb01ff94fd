// SPDX-License-Identifier: Apache-2.0
//! Plain values that pass between a volume and its caller.

use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

/// Inode number. Never reused within the life of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory.
    pub const ROOT: Ino = Ino(1);
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Unix socket.
    Socket,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
}

/// What to make under a new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewNode {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(OsString),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device with this device number (the kernel's 32-bit encoding, kept as it is).
    CharDevice(u32),
    /// A block device with this device number (the kernel's 32-bit encoding, kept as it is).
    BlockDevice(u32),
}

/// Who owns a new inode. The group gives way to the parent directory's if that has its setgid bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Attributes of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Tells this inode from earlier ones of the same number.
    pub generation: u32,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, with setuid, setgid and sticky: the low 12 bits of `st_mode`.
    pub perm: u16,
    /// A member of a vector collection: an ioctl on the directory may change it.
    pub is_member: bool,
    /// Number of names; for a directory 2 plus the number of its subdirectories, or 0 once removed.
    pub nlink: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Device number of a device node, else 0.
    pub rdev: u32,
    /// Bytes: of content, of a symlink's target, or of the names in a directory.
    pub size: u64,
    /// Space held by the content, in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: SystemTime,
    /// Last change of content.
    pub mtime: SystemTime,
    /// Last change of content or attributes.
    pub ctime: SystemTime,
}

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    /// The volume's current time.
    Now,
    /// This time.
    At(SystemTime),
}

/// Attributes to change; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// Permission bits (the low 12 bits of `st_mode`).
    pub perm: Option<u16>,
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// New size in bytes (regular files only).
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<TimeChange>,
    /// Modification time.
    pub mtime: Option<TimeChange>,
}

/// When reading changes the access time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AtimePolicy {
    /// As Linux's `relatime`: if it is not later than mtime and ctime, or older than a day.
    #[default]
    Relative,
    /// Never (`noatime`, and read-only mounts).
    Never,
}

/// What a rename does when the new name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace it.
    Replace,
    /// Fail with [`crate::Error::Exists`].
    NoReplace,
    /// Swap the two; fail with [`crate::Error::NotFound`] if there is nothing to swap with.
    Exchange,
}

/// What to seek for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTo {
    /// Stored bytes.
    Data,
    /// A hole; the end of the file counts as one.
    Hole,
}

/// One entry of a directory listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Inode number.
    pub ino: Ino,
    /// What it is.
    pub kind: FileKind,
    /// Name.
    pub name: &'a OsStr,
    /// Pass this to continue after the entry; it stays valid while other entries come and go.
    pub cookie: u64,
}

/// Space of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceReport {
    /// Bytes a block has.
    pub block_size: u32,
    /// Blocks that files may hold altogether.
    pub total_blocks: u64,
    /// Blocks not held.
    pub free_blocks: u64,
    /// Inodes that may exist altogether, the root included.
    pub total_inodes: u64,
    /// Inodes not in use.
    pub free_inodes: u64,
    /// Longest name in bytes.
    pub name_max: u32,
}

/// Who asks, where the volume checks permissions itself: only for ioctls, which the kernel passes on unchecked.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// User, and owner of what is made.
    pub owner: Owner,
    /// Further groups, looked up only if they decide.
    pub groups: &'a dyn Fn() -> Vec<u32>,
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}
