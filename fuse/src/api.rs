// SPDX-License-Identifier: Apache-2.0
//! What a mount needs of a volume, wherever it keeps its content.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::time::Duration;

use rustix::io::Errno;

use crate::disk::DiskVolume;
use crate::disk::xattr::SetMode;
use crate::types::{
    Attr, AttrChange, Caller, DirEntry, Handle, Ino, NewNode, Owner, RenameMode, SeekTo,
    SpaceReport,
};
use crate::volume::MemoryVolume;

/// An errno, as the caller of a system call gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure(pub i32);

impl Failure {
    /// The volume cannot do that: EOPNOTSUPP.
    pub const UNSUPPORTED: Failure = Failure(Errno::OPNOTSUPP.raw_os_error());
    /// There is no such ioctl: ENOTTY.
    pub const NO_IOCTL: Failure = Failure(Errno::NOTTY.raw_os_error());
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Failure(error.errno())
    }
}

impl From<crate::disk::Error> for Failure {
    fn from(error: crate::disk::Error) -> Self {
        Failure(error.errno())
    }
}

/// Result of an operation of any volume.
pub type Outcome<T> = std::result::Result<T, Failure>;

/// Shown one entry of a directory at a time; breaks when it has enough.
pub type Visit<'a> = dyn FnMut(DirEntry<'_>) -> ControlFlow<()> + 'a;

macro_rules! operations {
    ($($name:ident[$($mutable:ident)?]($($argument:ident: $kind:ty),*) -> $done:ty;)*) => {
        /// A file tree that can be mounted. The operations are those of [`MemoryVolume`] and [`DiskVolume`], which say
        /// what they do; what a volume in memory lacks is refused with EOPNOTSUPP.
        #[allow(missing_docs, clippy::missing_errors_doc)]
        pub trait Volume: Send + Sync {
            $(fn $name(&$($mutable)? self $(, $argument: $kind)*) -> Outcome<$done>;)*
            fn forget(&mut self, ino: Ino, count: u64);
            fn space(&self) -> SpaceReport;
            fn open(&mut self, ino: Ino) -> Outcome<Handle>;
            fn read_dir(&mut self, handle: Handle, after: u64, visit: &mut Visit<'_>) -> Outcome<()>;
            /// `read` where it changes nothing, so that several may read at once; None: take `read`.
            fn read_unnoted(&self, _: Handle, _offset: u64, _len: usize) -> Option<Outcome<Vec<u8>>> {
                None
            }
            /// `read_dir` likewise.
            fn read_dir_unnoted(&self, _: Handle, _after: u64, _: &mut Visit<'_>) -> Option<Outcome<()>> {
                None
            }
            /// `ioctl` likewise.
            fn ioctl_unchanging(&self, _: Ino, _command: u32, _input: &[u8], _: &Caller<'_>) -> Option<Outcome<Vec<u8>>> {
                None
            }
            fn get_xattr(&self, _: Ino, _name: &[u8]) -> Outcome<Vec<u8>> {
                Err(Failure::UNSUPPORTED)
            }
            fn list_xattr(&self, _: Ino) -> Outcome<Vec<Vec<u8>>> {
                Err(Failure::UNSUPPORTED)
            }
            fn set_xattr(&mut self, _: Ino, _name: &[u8], _value: &[u8], _: SetMode) -> Outcome<()> {
                Err(Failure::UNSUPPORTED)
            }
            fn remove_xattr(&mut self, _: Ino, _name: &[u8]) -> Outcome<()> {
                Err(Failure::UNSUPPORTED)
            }
            fn allocate(&mut self, _: Handle, _offset: u64, _len: u64, _keep: bool) -> Outcome<()> {
                Err(Failure::UNSUPPORTED)
            }
            fn punch_hole(&mut self, _: Handle, _offset: u64, _len: u64) -> Outcome<()> {
                Err(Failure::UNSUPPORTED)
            }
            fn ioctl(&mut self, _: Ino, _command: u32, _input: &[u8], _: &Caller<'_>) -> Outcome<Vec<u8>> {
                Err(Failure::NO_IOCTL)
            }
            /// Makes all that was done so far as durable as the volume can.
            fn sync(&mut self) -> Outcome<()>;
            /// Whether changes wait for longer than `age`.
            fn has_older(&self, _age: Duration) -> bool {
                false
            }
            /// Makes them durable if changes wait for longer than `age`.
            fn sync_older(&mut self, age: Duration) -> Outcome<()>;
            /// The end of the mount.
            fn close(&mut self) -> Outcome<()>;
        }

        impl Volume for MemoryVolume {
            $(fn $name(&$($mutable)? self $(, $argument: $kind)*) -> Outcome<$done> {
                Ok(MemoryVolume::$name(self $(, $argument)*)?)
            })*
            fn forget(&mut self, ino: Ino, count: u64) {
                MemoryVolume::forget(self, ino, count);
            }
            fn space(&self) -> SpaceReport {
                MemoryVolume::space(self)
            }
            fn open(&mut self, ino: Ino) -> Outcome<Handle> {
                Ok(MemoryVolume::open(self, ino)?)
            }
            fn read_dir(&mut self, handle: Handle, after: u64, visit: &mut Visit<'_>) -> Outcome<()> {
                Ok(MemoryVolume::read_dir(self, handle, after, |entry| visit(entry))?)
            }
            // A volume in memory has no place that is more durable.
            fn sync(&mut self) -> Outcome<()> {
                Ok(())
            }
            fn sync_older(&mut self, _: Duration) -> Outcome<()> {
                Ok(())
            }
            fn close(&mut self) -> Outcome<()> {
                Ok(())
            }
        }

        impl Volume for DiskVolume {
            $(fn $name(&$($mutable)? self $(, $argument: $kind)*) -> Outcome<$done> {
                Ok(DiskVolume::$name(self $(, $argument)*)?)
            })*
            fn forget(&mut self, ino: Ino, count: u64) {
                DiskVolume::forget(self, ino, count);
            }
            fn space(&self) -> SpaceReport {
                DiskVolume::space(self)
            }
            fn open(&mut self, ino: Ino) -> Outcome<Handle> {
                Ok(DiskVolume::open_file(self, ino)?)
            }
            fn read_dir(&mut self, handle: Handle, after: u64, visit: &mut Visit<'_>) -> Outcome<()> {
                Ok(DiskVolume::read_dir(self, handle, after, |entry| visit(entry))?)
            }
            fn read_unnoted(&self, handle: Handle, offset: u64, len: usize) -> Option<Outcome<Vec<u8>>> {
                Some(DiskVolume::read_unnoted(self, handle, offset, len)?.map_err(Failure::from))
            }
            fn read_dir_unnoted(&self, handle: Handle, after: u64, visit: &mut Visit<'_>) -> Option<Outcome<()>> {
                Some(DiskVolume::read_dir_unnoted(self, handle, after, |entry| visit(entry))?.map_err(Failure::from))
            }
            fn ioctl_unchanging(&self, ino: Ino, command: u32, input: &[u8], caller: &Caller<'_>) -> Option<Outcome<Vec<u8>>> {
                Some(DiskVolume::ioctl_unchanging(self, ino, command, input, caller)?.map_err(Failure::from))
            }
            fn get_xattr(&self, ino: Ino, name: &[u8]) -> Outcome<Vec<u8>> {
                Ok(DiskVolume::get_xattr(self, ino, name)?)
            }
            fn list_xattr(&self, ino: Ino) -> Outcome<Vec<Vec<u8>>> {
                Ok(DiskVolume::list_xattr(self, ino)?)
            }
            fn set_xattr(&mut self, ino: Ino, name: &[u8], value: &[u8], mode: SetMode) -> Outcome<()> {
                Ok(DiskVolume::set_xattr(self, ino, name, value, mode)?)
            }
            fn remove_xattr(&mut self, ino: Ino, name: &[u8]) -> Outcome<()> {
                Ok(DiskVolume::remove_xattr(self, ino, name)?)
            }
            fn allocate(&mut self, handle: Handle, offset: u64, len: u64, keep: bool) -> Outcome<()> {
                Ok(DiskVolume::allocate(self, handle, offset, len, keep)?)
            }
            fn punch_hole(&mut self, handle: Handle, offset: u64, len: u64) -> Outcome<()> {
                Ok(DiskVolume::punch_hole(self, handle, offset, len)?)
            }
            fn ioctl(&mut self, ino: Ino, command: u32, input: &[u8], caller: &Caller<'_>) -> Outcome<Vec<u8>> {
                Ok(DiskVolume::ioctl(self, ino, command, input, caller)?)
            }
            fn sync(&mut self) -> Outcome<()> {
                Ok(DiskVolume::sync(self)?)
            }
            fn has_older(&self, age: Duration) -> bool {
                DiskVolume::has_older(self, age)
            }
            fn sync_older(&mut self, age: Duration) -> Outcome<()> {
                Ok(DiskVolume::sync_older(self, age)?)
            }
            fn close(&mut self) -> Outcome<()> {
                Ok(DiskVolume::close(self)?)
            }
        }
    };
}

operations! {
    lookup[](parent: Ino, name: &OsStr) -> Attr;
    attr[](ino: Ino) -> Attr;
    set_attr[mut](ino: Ino, change: &AttrChange) -> Attr;
    remember[mut](ino: Ino) -> ();
    read_link[mut](ino: Ino) -> OsString;
    make[mut](parent: Ino, name: &OsStr, node: NewNode, perm: u16, owner: Owner) -> Attr;
    link[mut](ino: Ino, parent: Ino, name: &OsStr) -> Attr;
    unlink[mut](parent: Ino, name: &OsStr) -> ();
    rmdir[mut](parent: Ino, name: &OsStr) -> ();
    rename[mut](parent: Ino, name: &OsStr, new_parent: Ino, new_name: &OsStr, mode: RenameMode) -> ();
    open_dir[mut](ino: Ino) -> Handle;
    release[mut](handle: Handle) -> ();
    handle_ino[](handle: Handle) -> Ino;
    read[mut](handle: Handle, offset: u64, len: usize) -> Vec<u8>;
    read_quietly[](handle: Handle, offset: u64, len: usize) -> Vec<u8>;
    write[mut](handle: Handle, offset: u64, data: &[u8]) -> usize;
    seek[](handle: Handle, offset: u64, to: SeekTo) -> u64;
}
