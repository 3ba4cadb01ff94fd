// SPDX-License-Identifier: Apache-2.0
//! Random operations, and volumes to do them on.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::{
    BlockDevice, DiskVolume, ErrorPolicy, Fate, MemoryDevice, OpenOptions, Result, fsck,
};
use vexfs::{AtimePolicy, AttrChange, DirEntry, FileKind, Ino, NewNode, Owner, RenameMode};

pub(crate) const OWNER: Owner = Owner { uid: 1, gid: 2 };

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Make(String, u8),
    Write(String, u64, usize, u8),
    Truncate(String, u64),
    Allocate(String, u64, u64, bool),
    Punch(String, u64, u64),
    Unlink(String),
    Rmdir(String),
    Link(String, String),
    Rename(String, String, RenameMode),
    Xattr(String, u8, usize),
    Hold(String),
    LetGo,
    Sync,
    Remount,
}

pub(crate) fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![9 => "[a-c]", 1 => "long-name-[a-z]{200}[0-9]"];
    let depth = prop_oneof![5 => Just(1_usize), 2 => Just(2), 1 => Just(3)];
    (depth, prop::collection::vec(part, 3))
        .prop_map(|(depth, parts)| format!("/{}", parts[..depth].join("/")))
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let mode = prop_oneof![
        Just(RenameMode::Replace),
        Just(RenameMode::NoReplace),
        Just(RenameMode::Exchange)
    ];
    prop_oneof![
        6 => (path(), 0_u8..8).prop_map(|(at, kind)| Op::Make(at, kind)),
        6 => (path(), 0_u64..90_000, 0_usize..30_000, any::<u8>()).prop_map(|(at, o, l, b)| Op::Write(at, o, l, b)),
        3 => (path(), 0_u64..120_000).prop_map(|(at, size)| Op::Truncate(at, size)),
        2 => (path(), 0_u64..90_000, 1_u64..60_000, any::<bool>()).prop_map(|(at, o, l, k)| Op::Allocate(at, o, l, k)),
        2 => (path(), 0_u64..90_000, 1_u64..60_000).prop_map(|(at, o, l)| Op::Punch(at, o, l)),
        2 => path().prop_map(Op::Unlink),
        1 => path().prop_map(Op::Rmdir),
        2 => (path(), path()).prop_map(|(a, b)| Op::Link(a, b)),
        3 => (path(), path(), mode).prop_map(|(a, b, m)| Op::Rename(a, b, m)),
        2 => (path(), 0_u8..6, 0_usize..500).prop_map(|(at, n, l)| Op::Xattr(at, n, l)),
        1 => path().prop_map(Op::Hold),
        1 => Just(Op::LetGo),
        1 => Just(Op::Sync),
        1 => Just(Op::Remount),
    ]
}

/// Random operations, after a few that give them something to work on.
pub(crate) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let made = [("/a", 0), ("/b", 0), ("/c", 3), ("/c/a", 0), ("/c/b", 3)];
    let first = made.map(|(path, kind)| Op::Make(path.to_owned(), kind));
    prop::collection::vec(op(), 1..most).prop_map(move |mut ops| {
        ops.splice(0..0, first.clone());
        ops
    })
}

pub(crate) fn find(volume: &DiskVolume, path: &str) -> Result<Ino> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .try_fold(Ino::ROOT, |dir, part| {
            Ok(volume.lookup(dir, OsStr::new(part))?.ino)
        })
}

pub(crate) fn place<'p>(volume: &DiskVolume, path: &'p str) -> Result<(Ino, &'p OsStr)> {
    let (dir, name) = path.rsplit_once('/').expect("has one");
    Ok((find(volume, dir)?, OsStr::new(name)))
}

/// What [`Op::Make`] makes a link to; at most 4095 bytes, the most that a link may hold.
pub(crate) fn target(path: &str, kind: u8) -> String {
    match kind {
        5 => "t".repeat(path.len()),
        _ => "u".repeat((20 * path.len()).min(4095)),
    }
}

/// What [`Op::Write`] writes.
pub(crate) fn data(len: usize, byte: u8) -> Vec<u8> {
    (0..len)
        .map(|i| byte.wrapping_add((i / 100) as u8))
        .collect()
}

/// Does what is the volume's; the others are the caller's.
pub(crate) fn apply(volume: &mut DiskVolume, op: &Op) -> Result<u64> {
    match op {
        Op::Make(path, kind) => {
            let (dir, name) = place(volume, path)?;
            let node = match kind {
                0..=2 => NewNode::Regular,
                3 | 4 => NewNode::Directory,
                5 | 6 => NewNode::Symlink(target(path, *kind).into()),
                _ => NewNode::CharDevice(0x1234),
            };
            Ok(volume.make(dir, name, node, 0o640, OWNER)?.nlink.into())
        }
        Op::Write(path, offset, len, byte) => {
            let ino = find(volume, path)?;
            Ok(volume.write(ino, *offset, &data(*len, *byte))? as u64)
        }
        Op::Truncate(path, size) => {
            let ino = find(volume, path)?;
            let change = AttrChange {
                size: Some(*size),
                ..AttrChange::default()
            };
            Ok(volume.set_attr(ino, &change)?.size)
        }
        Op::Allocate(path, offset, len, keep) => {
            let ino = find(volume, path)?;
            volume.allocate(ino, *offset, *len, *keep).map(|()| 0)
        }
        Op::Punch(path, offset, len) => {
            let ino = find(volume, path)?;
            volume.punch_hole(ino, *offset, *len).map(|()| 0)
        }
        Op::Unlink(path) => {
            let (dir, name) = place(volume, path)?;
            volume.unlink(dir, name).map(|()| 0)
        }
        Op::Rmdir(path) => {
            let (dir, name) = place(volume, path)?;
            volume.rmdir(dir, name).map(|()| 0)
        }
        Op::Link(from, to) => {
            let ino = find(volume, from)?;
            let (dir, name) = place(volume, to)?;
            Ok(volume.link(ino, dir, name)?.nlink.into())
        }
        Op::Rename(from, to, mode) => {
            let (dir, name) = place(volume, from)?;
            let (new_dir, new_name) = place(volume, to)?;
            volume
                .rename(dir, name, new_dir, new_name, *mode)
                .map(|()| 0)
        }
        Op::Xattr(..) | Op::Hold(_) | Op::LetGo | Op::Sync | Op::Remount => Ok(0),
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) kind: FileKind,
    pub(crate) perm: u16,
    pub(crate) nlink: u32,
    pub(crate) rdev: u32,
    pub(crate) content: Vec<u8>,
}

pub(crate) fn tree(volume: &mut DiskVolume, dir: Ino, at: &str, out: &mut BTreeMap<String, Shown>) {
    let mut entries: Vec<(OsString, Ino, FileKind)> = Vec::new();
    let listed = volume.read_dir(dir, 0, &mut |entry: DirEntry<'_>| {
        if entry.name != "." && entry.name != ".." {
            entries.push((entry.name.to_owned(), entry.ino, entry.kind));
        }
        ControlFlow::Continue(())
    });
    listed.expect("lists");
    for (name, ino, kind) in entries {
        let path = format!("{at}/{}", name.to_str().expect("was made of text"));
        let attr = volume.attr(ino).expect("exists");
        assert_eq!(attr.kind, kind, "{path}");
        assert_eq!(
            volume.lookup(dir, &name).expect("is there").ino,
            ino,
            "{path}"
        );
        let content = match kind {
            FileKind::Regular => {
                let bytes = volume.read(ino, 0, 1 << 20).expect("reads");
                assert_eq!(bytes.len() as u64, attr.size);
                bytes
            }
            FileKind::Symlink => volume.read_link(ino).expect("reads").into_encoded_bytes(),
            _ => Vec::new(),
        };
        let (perm, nlink, rdev) = (attr.perm, attr.nlink, attr.rdev);
        out.insert(
            path.clone(),
            Shown {
                kind,
                perm,
                nlink,
                rdev,
                content,
            },
        );
        if kind == FileKind::Directory {
            tree(volume, ino, &path, out);
        }
    }
}

pub(crate) fn whole(volume: &mut DiskVolume) -> BTreeMap<String, Shown> {
    let mut out = BTreeMap::new();
    tree(volume, Ino::ROOT, "", &mut out);
    out
}

pub(crate) fn format(blocks: u64) -> MemoryDevice {
    let device = MemoryDevice::new(blocks);
    let mut options = mkfs::Options::new(Identity::from_seed(&[7; 16]));
    options.bytes_per_inode = 4096;
    mkfs::format(&device, &options).expect("formats");
    device
}

pub(crate) fn options() -> OpenOptions {
    let clock = AtomicI64::new(1_000_000_000);
    OpenOptions {
        clock: Arc::new(move || clock.fetch_add(1000, Ordering::Relaxed)),
        errors: ErrorPolicy::Continue,
        log: Arc::new(|line| eprintln!("{line}")),
        ..OpenOptions::default()
    }
}

pub(crate) fn open(device: &Arc<dyn BlockDevice>) -> Result<DiskVolume> {
    DiskVolume::open(Arc::clone(device), options(), AtimePolicy::Relative)
}

pub(crate) fn assert_clean(device: &Arc<dyn BlockDevice>) {
    let report = fsck::check(Arc::clone(device)).expect("checks");
    let found: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// A cheap source of decisions that a seed repeats.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// What a power cut makes of a block that no flush covers.
    pub(crate) fn fate(&mut self) -> Fate {
        match self.roll() % 4 {
            0 => Fate::Lost,
            1 => Fate::Torn(self.roll() as u8),
            _ => Fate::Kept,
        }
    }
}
