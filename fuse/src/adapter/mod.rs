// SPDX-License-Identifier: Apache-2.0
//! Answers the kernel's FUSE requests from a [`crate::Volume`].
//!
//! Nothing is decided here: a request is decoded, handed to the volume under its lock, and the answer encoded.
//! What is not implemented (`copy_file_range`, file locks across mounts) is left to fuser's defaults, which answer
//! `ENOSYS`; the kernel then gives programs `EOPNOTSUPP`, or does the work itself where it can (locks, copies).
//!
//! - `vexfs.rs`: the volume behind its lock, and the answers that requests share
//! - `requests.rs`: the requests
//! - `convert.rs`: fuser's values and ours

mod convert;
mod requests;
mod vexfs;

pub use self::vexfs::{Shared, VexFs};
