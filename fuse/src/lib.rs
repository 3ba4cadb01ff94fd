// SPDX-License-Identifier: Apache-2.0
//! VexFS in user space.
//!
//! [`MemoryVolume`] is a complete POSIX file tree that lives in memory and knows nothing of FUSE: it can be tested
//! by calling it. With the feature `fuse_support`, `adapter::VexFs` answers the kernel's FUSE requests from a
//! volume, and the binary `vexfs_fuse` mounts it.
//!
//! The volume is backed by RAM. Everything in it is gone when the daemon ends; `fsync` has nothing further to do,
//! because there is no more durable place than the one the data already is in.

#![forbid(unsafe_code)]

#[cfg(feature = "fuse_support")]
pub mod adapter;
mod dir;
mod error;
mod inode;
mod pages;
mod types;
mod volume;

pub use error::{Error, Result};
pub use pages::PAGE_SIZE;
pub use types::{
    AtimePolicy, Attr, AttrChange, DirEntry, FileKind, Handle, Ino, NewNode, Owner, RenameMode,
    SeekTo, SpaceReport, TimeChange,
};
pub use volume::{Limits, MAX_FILE_SIZE, MAX_LINKS, MAX_NAME, MAX_SYMLINK, MemoryVolume};
