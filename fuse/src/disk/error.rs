// SPDX-License-Identifier: Apache-2.0
//! What can go wrong with a volume on a device; the messages of section 3.

use super::block::Kind;
use rustix::io::Errno;
use std::fmt;

/// Result of an operation on a volume on a device.
pub type Result<T> = std::result::Result<T, Error>;

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// What was read.
    pub kind: Kind,
    /// Where, if it has a place.
    pub block: Option<u64>,
    /// Whose it should have been.
    pub ino: Option<u32>,
    /// `range`, `magic`, `checksum`, `place`, `owner` or the name of the field.
    pub check: String,
    /// What was there and what should have been.
    pub detail: Option<(String, String)>,
}

/// A read or write that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFailure {
    /// "read" or "write".
    pub verb: &'static str,
    /// What was read or written.
    pub kind: Kind,
    /// Where, if it has a place.
    pub block: Option<u64>,
    /// Whose.
    pub ino: Option<u32>,
    /// The device's error.
    pub errno: i32,
}

fn write_place(f: &mut fmt::Formatter<'_>, block: Option<u64>, ino: Option<u32>) -> fmt::Result {
    if let Some(block) = block {
        write!(f, " at block {block}")?;
    }
    ino.map_or(Ok(()), |ino| write!(f, " (inode {ino})"))
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corrupt {}", self.kind.name())?;
        write_place(f, self.block, self.ino)?;
        write!(f, ": {}", self.check)?;
        if let Some((got, want)) = &self.detail {
            write!(f, " got {got}, want {want}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DeviceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.verb, self.kind.name())?;
        write_place(f, self.block, self.ino)?;
        write!(f, ": errno {}", self.errno)
    }
}

/// Why an operation on a volume on a device failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What any volume refuses.
    #[error(transparent)]
    Volume(#[from] crate::Error),
    /// A check failed: EUCLEAN.
    #[error("{0}")]
    Corrupt(Box<Corruption>),
    /// The device failed: EIO.
    #[error("{0}")]
    Device(Box<DeviceFailure>),
    /// No VexFS superblock: EINVAL.
    #[error("not a VexFS volume")]
    NotVexfs,
    /// A version or feature that this code does not know: EOPNOTSUPP.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The volume cannot be written: EROFS.
    #[error("read-only: {0}")]
    ReadOnly(String),
    /// Somebody else has the device: EBUSY.
    #[error("{0} is in use")]
    Busy(String),
    /// The journal was aborted by a failed write: EIO.
    #[error("the journal was aborted by an earlier failure")]
    Aborted,
    /// An operation asked for more blocks than its transaction may have: a bug of the caller, EIO.
    #[error("the operation is larger than its transaction")]
    TooLarge,
    /// What a tool was told makes no sense, e.g. a device too small: EINVAL.
    #[error("{0}")]
    Invalid(String),
    /// Opening or locking the device failed.
    #[error("{0}: {1}")]
    Open(String, Errno),
    /// Any other errno.
    #[error("{0}")]
    Errno(Errno),
}

impl Error {
    /// The errno (a positive number) that a system call gives for this error.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Error::Volume(error) => return error.errno(),
            Error::Corrupt(_) => Errno::UCLEAN,
            Error::Device(_) | Error::Aborted | Error::TooLarge => Errno::IO,
            Error::NotVexfs | Error::Invalid(_) => Errno::INVAL,
            Error::Unsupported(_) => Errno::OPNOTSUPP,
            Error::ReadOnly(_) => Errno::ROFS,
            Error::Busy(_) => Errno::BUSY,
            Error::Open(_, errno) | Error::Errno(errno) => *errno,
        }
        .raw_os_error()
    }
}

/// A failed check.
pub fn corrupt(
    kind: Kind,
    block: impl Into<Option<u64>>,
    ino: Option<u32>,
    check: impl Into<String>,
) -> Error {
    Error::Corrupt(Box::new(Corruption {
        kind,
        block: block.into(),
        ino,
        check: check.into(),
        detail: None,
    }))
}

/// A failed check, with what was there and what should have been.
pub fn corrupt_value(
    kind: Kind,
    block: impl Into<Option<u64>>,
    ino: Option<u32>,
    check: impl Into<String>,
    got: impl ToString,
    want: impl ToString,
) -> Error {
    let detail = Some((got.to_string(), want.to_string()));
    Error::Corrupt(Box::new(Corruption {
        kind,
        block: block.into(),
        ino,
        check: check.into(),
        detail,
    }))
}

/// A failed read or write.
pub(super) fn device_failure(
    verb: &'static str,
    kind: Kind,
    block: impl Into<Option<u64>>,
    ino: Option<u32>,
    error: &std::io::Error,
) -> Error {
    let errno = error
        .raw_os_error()
        .unwrap_or_else(|| Errno::IO.raw_os_error());
    Error::Device(Box::new(DeviceFailure {
        verb,
        kind,
        block: block.into(),
        ino,
        errno,
    }))
}
