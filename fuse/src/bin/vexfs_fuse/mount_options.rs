// SPDX-License-Identifier: Apache-2.0
//! The options behind `-o`.

use fuser::{Config, MountOption as Fuse, SessionACL};
use vexfs::AtimePolicy;
use vexfs::disk::ErrorPolicy;

/// File system subtype: the kernel shows the mount as `fuse.vexfs`.
pub(crate) const SUBTYPE: &str = "vexfs";

/// As section 14 of the format says.
const LEAST_SIZE: u64 = 4 << 20;
const MOST_SIZE: u64 = 16 << 40;

const LEAST_THREADS: usize = 2;
const MOST_THREADS: usize = 8;

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountOption {
    /// Bytes of a volume in memory.
    Size(u64),
    /// What a corruption does to the mount of an image.
    Errors(ErrorPolicy),
    /// Source shown in mountinfo.
    FsName(String),
    /// Who besides the owner may use the mount.
    Access(SessionACL),
    /// The kernel checks permissions. Always so; may be said.
    DefaultPermissions,
    /// A flag that the kernel knows.
    Flag(Fuse),
}

/// The argument of one `-o`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OptionList {
    /// As it was given.
    pub(crate) text: String,
    /// What it says.
    pub(crate) options: Vec<MountOption>,
}

impl OptionList {
    /// Parses a list such as `ro,size=64m`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self {
            text: text.to_owned(),
            options: text.split(',').map(parse).collect::<Result<_, _>>()?,
        })
    }
}

fn parse(option: &str) -> Result<MountOption, String> {
    if let Some((key, value)) = option.split_once('=') {
        return match key {
            "size" => parse_size(value).map(MountOption::Size),
            "errors" => match value {
                "remount-ro" => Ok(MountOption::Errors(ErrorPolicy::RemountRo)),
                "continue" => Ok(MountOption::Errors(ErrorPolicy::Continue)),
                "panic" => Ok(MountOption::Errors(ErrorPolicy::Panic)),
                _ => Err(format!(
                    "`errors={value}`: known are remount-ro, continue, panic"
                )),
            },
            "fsname" if !value.is_empty() => Ok(MountOption::FsName(value.to_owned())),
            "fsname" => Err("fsname= needs a name".to_owned()),
            _ => Err(format!("unknown mount option `{key}=`")),
        };
    }
    let flag = match option {
        "default_permissions" => return Ok(MountOption::DefaultPermissions),
        "allow_other" => return Ok(MountOption::Access(SessionACL::All)),
        "allow_root" => return Ok(MountOption::Access(SessionACL::RootAndOwner)),
        "ro" => Fuse::RO,
        "rw" => Fuse::RW,
        "dev" => Fuse::Dev,
        "nodev" => Fuse::NoDev,
        "suid" => Fuse::Suid,
        "nosuid" => Fuse::NoSuid,
        "exec" => Fuse::Exec,
        "noexec" => Fuse::NoExec,
        "atime" => Fuse::Atime,
        "noatime" => Fuse::NoAtime,
        "sync" => Fuse::Sync,
        "async" => Fuse::Async,
        "dirsync" => Fuse::DirSync,
        "size" | "errors" | "fsname" => {
            return Err(format!("mount option `{option}` needs a value"));
        }
        _ => return Err(format!("unknown mount option `{option}`")),
    };
    Ok(MountOption::Flag(flag))
}

/// Bytes, with an optional binary unit k, m, g or t.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        Some((at, 't' | 'T')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(1 << shift))
        .ok_or_else(|| format!("`size={text}` is not a number of bytes, such as 4194304 or 64m"))?;
    if !(LEAST_SIZE..=MOST_SIZE).contains(&bytes) {
        return Err(format!("`size={text}`: a volume has 4m to 16t"));
    }
    Ok(bytes)
}

/// All options together; of two that contradict each other the later one holds, as with mount(8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountOptions {
    size: Option<u64>,
    errors: ErrorPolicy,
    fs_name: String,
    access: SessionACL,
    flags: Vec<Fuse>,
}

/// How many requests are served at once: as many as processors, but more than one, so that a long search or a slow
/// device never keeps everybody waiting.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(LEAST_THREADS, |count| {
        count.get().clamp(LEAST_THREADS, MOST_THREADS)
    })
}

impl MountOptions {
    pub(crate) fn last_wins(lists: &[OptionList]) -> Self {
        let mut all = Self {
            size: None,
            errors: ErrorPolicy::RemountRo,
            fs_name: SUBTYPE.to_owned(),
            access: SessionACL::Owner,
            flags: Vec::new(),
        };
        for option in lists.iter().flat_map(|list| &list.options) {
            match option {
                MountOption::Size(bytes) => all.size = Some(*bytes),
                MountOption::Errors(policy) => all.errors = *policy,
                MountOption::FsName(name) => all.fs_name.clone_from(name),
                MountOption::Access(access) => all.access = *access,
                MountOption::DefaultPermissions => {}
                MountOption::Flag(flag) => {
                    let opposite = opposite(flag);
                    all.flags
                        .retain(|old| old != flag && Some(old) != opposite.as_ref());
                    all.flags.push(flag.clone());
                }
            }
        }
        all
    }

    /// For fuser. Permission checks are always the kernel's.
    pub(crate) fn fuse_config(&self) -> Config {
        let mut config = Config::default();
        config.acl = self.access;
        config.n_threads = Some(threads());
        config.mount_options.clone_from(&self.flags);
        config.mount_options.extend([
            Fuse::FSName(self.fs_name.clone()),
            // fuser's own Subtype option does not reach the kernel when it mounts without fusermount3.
            Fuse::CUSTOM(format!("subtype={SUBTYPE}")),
            Fuse::DefaultPermissions,
        ]);
        config
    }

    /// Bytes of the volume in memory; without `size=`, half of the machine's memory, as for tmpfs.
    ///
    /// # Errors
    /// A sentence, if the size of the memory cannot be found out.
    pub(crate) fn memory_bytes(&self) -> Result<u64, String> {
        match self.size {
            Some(bytes) => Ok(bytes),
            None => Ok((memory_bytes()? / 2).clamp(LEAST_SIZE, MOST_SIZE)),
        }
    }

    /// Whether a size was given.
    pub(crate) fn has_size(&self) -> bool {
        self.size.is_some()
    }

    pub(crate) fn errors(&self) -> ErrorPolicy {
        self.errors
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.flags.contains(&Fuse::RO)
    }

    pub(crate) fn atime(&self) -> AtimePolicy {
        if self.flags.contains(&Fuse::NoAtime) || self.flags.contains(&Fuse::RO) {
            AtimePolicy::Never
        } else {
            AtimePolicy::Relative
        }
    }
}

fn opposite(flag: &Fuse) -> Option<Fuse> {
    Some(match flag {
        Fuse::RO => Fuse::RW,
        Fuse::RW => Fuse::RO,
        Fuse::Dev => Fuse::NoDev,
        Fuse::NoDev => Fuse::Dev,
        Fuse::Suid => Fuse::NoSuid,
        Fuse::NoSuid => Fuse::Suid,
        Fuse::Exec => Fuse::NoExec,
        Fuse::NoExec => Fuse::Exec,
        Fuse::Atime => Fuse::NoAtime,
        Fuse::NoAtime => Fuse::Atime,
        Fuse::Sync => Fuse::Async,
        Fuse::Async => Fuse::Sync,
        _ => return None,
    })
}

fn memory_bytes() -> Result<u64, String> {
    let path = "/proc/meminfo";
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .and_then(|kib| kib.checked_mul(1024))
        .ok_or_else(|| format!("{path} has no MemTotal; give -o size="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_size("8388608"), Ok(8 << 20));
        assert_eq!(parse_size("64m"), Ok(64 << 20));
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        for wrong in ["", "m", "-1", "1x", "1 m", "99999999999t", "17t", "3m", "µ"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn unknown_options_are_named() {
        let error = OptionList::parse("ro,bogus").expect_err("bogus is unknown");
        assert!(error.contains("`bogus`"), "{error}");
        assert!(OptionList::parse("").is_err());
        assert!(OptionList::parse("size").is_err());
    }

    #[test]
    fn the_later_of_two_opposites_holds() {
        let list = OptionList::parse("ro,noexec,rw,size=8m,size=4m").expect("all are known");
        let options = MountOptions::last_wins(&[list]);
        assert_eq!(options.flags, [Fuse::NoExec, Fuse::RW]);
        assert_eq!(options.size, Some(4 << 20));
        assert_eq!(options.atime(), AtimePolicy::Relative);
    }
}
