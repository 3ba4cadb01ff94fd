// SPDX-License-Identifier: Apache-2.0
//! Answers the kernel's FUSE requests from a [`crate::disk::DiskVolume`].
//!
//! Nothing is decided here: a request is decoded, handed to the volume under its lock, and the answer encoded.
//! What is not implemented (`copy_file_range`, file locks across mounts) is left to fuser's defaults, which answer
//! `ENOSYS`; the kernel then gives programs `EOPNOTSUPP`, or does the work itself where it can (locks, copies).
//!
//! Files have no handles: `open`, `create` and `flush` are answered with `ENOSYS`, once a mount, and then the kernel asks
//! no more (it makes files with `mknod`, and holds an open file by its lookup count). So an open and close cost nothing.
//!
//! - `vexfs.rs`: the volume behind its lock, and the answers that requests share
//! - `requests.rs`: which request is which
//! - `names.rs`, `attributes.rs`, `content.rs`, `listing.rs`, `vectors.rs`: the requests, by what they are about
//! - `convert.rs`: fuser's values and ours

mod attributes;
mod content;
mod convert;
mod listing;
mod names;
mod requests;
mod vectors;
mod vexfs;

pub use self::vexfs::{Shared, VexFs};
