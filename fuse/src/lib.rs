// SPDX-License-Identifier: Apache-2.0
//! VexFS in user space.
//!
//! [`disk::DiskVolume`] is a POSIX file tree in the format of `docs/format.md`, on any [`disk::BlockDevice`]: a file, a
//! block device, or memory. It knows nothing of FUSE: it can be tested by calling it. With the feature `fuse_support`,
//! `adapter::VexFs` answers the kernel's FUSE requests from one, and the binary `vexfs_fuse` mounts it.

// Only `disk/vector/scan.rs` allows it, to call code compiled for processor features that it has asked for.
#![deny(unsafe_code)]

#[cfg(feature = "fuse_support")]
pub mod adapter;
#[cfg(any(feature = "tools", feature = "fuse_support"))]
pub mod completions;
pub mod disk;
mod error;
mod types;
pub mod uapi;

pub use error::{Error, Result};
pub use types::{
    AtimePolicy, Attr, AttrChange, Caller, DirEntry, FileKind, Ino, NewNode, Owner, RenameMode,
    SeekTo, SpaceReport, TimeChange,
};
