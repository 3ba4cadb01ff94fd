// SPDX-License-Identifier: Apache-2.0
//! Where we mount: the checks before, and what the kernel says is there.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::mount_options::SUBTYPE;

/// One line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Mount id, unique while the mount exists.
    pub(crate) id: String,
    mountpoint: PathBuf,
    fs_type: String,
}

impl Mount {
    pub(crate) fn is_ours(&self) -> bool {
        self.fs_type.strip_prefix("fuse.") == Some(SUBTYPE)
    }
}

/// The mount that is visible at `mountpoint` (an absolute path without links): the last one made there.
///
/// # Errors
/// If mountinfo cannot be read.
pub(crate) fn mounted_at(mountpoint: &Path) -> io::Result<Option<Mount>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .rfind(|mount| mount.mountpoint == mountpoint))
}

/// See `proc_pid_mountinfo(5)`: `id parent dev root mountpoint options [optional fields] - type source options`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = String::from_utf8(fields.next()?.to_vec()).ok()?;
    let mountpoint = unescape(fields.nth(3)?);
    fields.find(|field| *field == b"-")?;
    let fs_type = String::from_utf8(fields.next()?.to_vec()).ok()?;
    Some(Mount {
        id,
        mountpoint,
        fs_type,
    })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The absolute path of a directory that can be mounted on.
///
/// # Errors
/// A sentence: missing, not a directory, already a VexFS mount, or not accessible.
pub(crate) fn check(path: &Path) -> Result<PathBuf, Failure> {
    let shown = path.display();
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("mountpoint {shown} does not exist"),
        io::ErrorKind::NotConnected => format!(
            "mountpoint {shown} holds a FUSE mount whose daemon died; remove it with: umount -l {shown}"
        ),
        _ => format!("mountpoint {shown} cannot be used: {error}"),
    };
    let real = path.canonicalize().map_err(cannot)?;
    // Before the directory itself is asked anything: the daemon of a mount there might be dead or stuck.
    let mounted = mounted_at(&real).map_err(|error| format!("cannot read mountinfo: {error}"))?;
    let ours = mounted.is_some_and(|mount| mount.is_ours());
    match real.metadata() {
        Err(error) => Err(cannot(error)),
        Ok(_) if ours => Err(format!("mountpoint {shown} is a VexFS mount already")),
        Ok(meta) if !meta.is_dir() => Err(format!("mountpoint {shown} is not a directory")),
        Ok(_) => Ok(real),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_read() {
        let line = br"71 28 0:44 / /mnt/a\040b rw,nosuid shared:3 master:1 - fuse.vexfs vexfs rw,user_id=0";
        let mount = parse_line(line).expect("a valid line");
        assert_eq!(mount.id, "71");
        assert_eq!(mount.mountpoint, Path::new("/mnt/a b"));
        assert!(mount.is_ours());
        assert_eq!(parse_line(b""), None);
        assert_eq!(parse_line(b"71 28 0:44 / /mnt rw"), None);
    }

    #[test]
    fn odd_escapes_stay() {
        assert_eq!(unescape(br"a\134b\9\04"), Path::new(r"a\b\9\04"));
    }
}
