// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in a volume, and the one place where that becomes an errno.

use rustix::io::Errno;

/// Result of a volume operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a volume refused an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No entry of that name.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("file exists")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// Something other than a directory was needed.
    #[error("is a directory")]
    IsADirectory,
    /// The directory has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The volume's byte or inode limit is reached.
    #[error("no space left on volume")]
    NoSpace,
    /// A name is longer than `MAX_NAME` bytes or a symlink target longer than `MAX_SYMLINK` bytes.
    #[error("name too long")]
    NameTooLong,
    /// The request makes no sense: an impossible name, or a directory moved into itself.
    #[error("invalid argument")]
    InvalidArgument,
    /// The file has `MAX_LINKS` hard links already.
    #[error("too many links")]
    TooManyLinks,
    /// The file would be larger than `MAX_FILE_SIZE` bytes.
    #[error("file too large")]
    FileTooLarge,
    /// Never allowed, whoever asks: a hard link to a directory.
    #[error("operation not permitted")]
    NotPermitted,
    /// The inode number names nothing (any more).
    #[error("stale inode")]
    Stale,
    /// A seek for data or a hole found none at or after the offset.
    #[error("no such data")]
    NoSuchData,
    /// An earlier operation panicked half-way: the volume's state cannot be trusted.
    #[error("volume state is inconsistent")]
    Poisoned,
}

impl Error {
    /// The errno (a positive number) that a system call gives for this error.
    #[must_use]
    pub fn errno(self) -> i32 {
        match self {
            Error::NotFound => Errno::NOENT,
            Error::Exists => Errno::EXIST,
            Error::NotADirectory => Errno::NOTDIR,
            Error::IsADirectory => Errno::ISDIR,
            Error::NotEmpty => Errno::NOTEMPTY,
            Error::NoSpace => Errno::NOSPC,
            Error::NameTooLong => Errno::NAMETOOLONG,
            Error::InvalidArgument => Errno::INVAL,
            Error::TooManyLinks => Errno::MLINK,
            Error::FileTooLarge => Errno::FBIG,
            Error::NotPermitted => Errno::PERM,
            Error::Stale => Errno::STALE,
            Error::NoSuchData => Errno::NXIO,
            Error::Poisoned => Errno::IO,
        }
        .raw_os_error()
    }
}
