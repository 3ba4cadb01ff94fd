// SPDX-License-Identifier: Apache-2.0
//! VexFS in user space.
//!
//! [`disk::DiskVolume`] is a POSIX file tree on a device, in the format of `docs/format.md`; [`MemoryVolume`] is one
//! that lives in memory, and is gone with the process. Neither knows of FUSE: they can be tested by calling them. With
//! the feature `fuse_support`, `adapter::VexFs` answers the kernel's FUSE requests from either (they are [`Volume`]s),
//! and the binary `vexfs_fuse` mounts it.

// Only `disk/vector/scan.rs` allows it, to call code compiled for processor features that it has asked for.
#![deny(unsafe_code)]

#[cfg(feature = "fuse_support")]
pub mod adapter;
mod api;
mod dir;
pub mod disk;
mod error;
mod inode;
mod pages;
mod types;
pub mod uapi;
mod volume;

pub use api::{Failure, Outcome, Visit, Volume};
pub use error::{Error, Result};
pub use pages::PAGE_SIZE;
pub use types::{
    AtimePolicy, Attr, AttrChange, Caller, DirEntry, FileKind, Handle, Ino, NewNode, Owner,
    RenameMode, SeekTo, SpaceReport, TimeChange,
};
pub use volume::{Limits, MAX_FILE_SIZE, MAX_LINKS, MAX_NAME, MAX_SYMLINK, MemoryVolume};
