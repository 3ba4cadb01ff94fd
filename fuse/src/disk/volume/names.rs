// SPDX-License-Identifier: Apache-2.0
//! What can be the name of an entry, and the target of a symbolic link.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result};

/// Longest name in bytes.
pub const MAX_NAME: usize = 255;
/// Longest symlink target in bytes.
pub const MAX_SYMLINK: usize = 4095;

/// Refuses what cannot be the name of an entry.
pub(super) fn check_name(name: &OsStr) -> Result<()> {
    let bytes = name.as_bytes();
    if bytes.len() > MAX_NAME {
        return Err(Error::NameTooLong);
    }
    let reserved = matches!(bytes, b"" | b"." | b"..");
    if reserved || bytes.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(Error::InvalidArgument);
    }
    Ok(())
}

/// Refuses what cannot be the target of a symbolic link.
pub(super) fn check_target(target: &OsStr) -> Result<()> {
    match target.len() {
        0 => Err(Error::NotFound),
        1..=MAX_SYMLINK if target.as_bytes().contains(&0) => Err(Error::InvalidArgument),
        1..=MAX_SYMLINK => Ok(()),
        _ => Err(Error::NameTooLong),
    }
}
