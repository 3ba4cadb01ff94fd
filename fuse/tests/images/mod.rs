// SPDX-License-Identifier: Apache-2.0
//! Volumes made by fixed scripts with a fixed clock: the golden images (docs/format.md, section 17), which are also
//! what the mutations start from. The same code makes the same bytes again.
#![allow(dead_code, unreachable_pub)] // Each test crate uses its part.

mod damaged;
mod logs;
mod trees;
pub mod vectors;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::xattr::SetMode;
use vexfs::disk::{BlockDevice, DiskVolume, MemoryDevice, OpenOptions};
use vexfs::{AtimePolicy, AttrChange, Ino, NewNode, Owner, TimeChange};

pub const OWNER: Owner = Owner { uid: 1, gid: 2 };
const MIB: u64 = 256;

/// Every golden image that this code makes.
pub const NAMES: [&str; 13] = [
    "empty-4m",
    "empty-1g",
    "files-16m",
    "bigdir-64m",
    "fragmented-64m",
    "collection-16m",
    "dirty-16m",
    "torn-16m",
    "corrupt-16m-superblock",
    "corrupt-16m-inode",
    "corrupt-16m-leaf",
    "corrupt-16m-loop",
    "corrupt-16m-journal",
];

/// What mutations start from: small volumes that hold every structure.
pub const BASES: [&str; 6] = [
    "files-4m",
    "files-16m",
    "names-8m",
    "trees-16m",
    "dirty-16m",
    "collection-16m",
];

/// Makes an image.
pub fn build(name: &str) -> MemoryDevice {
    match name {
        "empty-4m" => format(4 * MIB),
        "empty-1g" => format(1024 * MIB),
        "files-4m" => used(4 * MIB, files),
        "files-16m" => used(16 * MIB, files),
        "bigdir-64m" => used(64 * MIB, |volume| names(volume, 20_000)),
        "names-8m" => used(8 * MIB, |volume| names(volume, 600)),
        "fragmented-64m" => trees::fragmented(64 * MIB),
        "trees-16m" => trees::fragmented(16 * MIB),
        "collection-16m" => used(16 * MIB, vectors::collections),
        "dirty-16m" => logs::dirty(),
        "torn-16m" => logs::torn(),
        other => match other.strip_prefix("corrupt-16m-") {
            Some(what) => damaged::corrupt(what),
            None => panic!("no image is called {other}"),
        },
    }
}

pub fn format(blocks: u64) -> MemoryDevice {
    let device = MemoryDevice::new(blocks);
    let mut options = mkfs::Options::new(Identity::from_seed(b"golden images v1"));
    options.label = "golden".to_owned();
    mkfs::format(&device, &options).expect("formats");
    device
}

/// A clock that goes one second further each time it is asked.
pub fn options() -> OpenOptions {
    let clock = AtomicI64::new(1_700_000_000_000_000_000);
    OpenOptions {
        writer: "golden".to_owned(),
        clock: Arc::new(move || clock.fetch_add(1_000_000_001, Ordering::Relaxed)),
        log: Arc::new(|line| panic!("{line}")),
        ..OpenOptions::default()
    }
}

pub fn open(device: &Arc<MemoryDevice>) -> DiskVolume {
    let device: Arc<dyn BlockDevice> = device.clone();
    DiskVolume::open(device, options(), AtimePolicy::Never).expect("opens")
}

/// A volume filled by `script` and unmounted.
fn used(blocks: u64, script: impl FnOnce(&mut DiskVolume)) -> MemoryDevice {
    let device = Arc::new(format(blocks));
    let mut volume = open(&device);
    script(&mut volume);
    volume.close().expect("closes");
    drop(volume);
    Arc::into_inner(device).expect("nobody else has it")
}

pub fn make(volume: &mut DiskVolume, dir: Ino, name: &str, node: NewNode) -> Ino {
    let name = OsStr::new(name);
    let made = volume.make(dir, name, node, 0o644, OWNER);
    made.expect("makes").ino
}

/// Bytes that compress well, and differ from file to file.
pub fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|i| (i / 997) as u8 ^ (i % 61) as u8 ^ seed)
        .collect()
}

pub fn write(volume: &mut DiskVolume, ino: Ino, offset: u64, bytes: &[u8]) {
    assert_eq!(volume.write(ino, offset, bytes), Ok(bytes.len()));
}

fn change(volume: &mut DiskVolume, ino: Ino, change: AttrChange) {
    volume.set_attr(ino, &change).expect("changes");
}

fn at(nanoseconds: i64) -> Option<TimeChange> {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    Some(TimeChange::At(match nanoseconds {
        0.. => UNIX_EPOCH + distance,
        _ => UNIX_EPOCH - distance,
    }))
}

/// A bit of everything.
fn files(volume: &mut DiskVolume) {
    let root = Ino::ROOT;
    let plain = make(volume, root, "plain", NewNode::Regular);
    write(volume, plain, 0, &content(100_000, 1));
    volume.link(plain, root, OsStr::new("hard")).expect("links");
    let dir = make(volume, root, "dir", NewNode::Directory);
    let deep = make(volume, dir, "deep", NewNode::Directory);
    let inner = make(volume, deep, "inner", NewNode::Regular);
    write(volume, inner, 0, b"inner\n");
    volume
        .link(plain, deep, OsStr::new("third"))
        .expect("links");
    for (name, node) in [
        ("fifo", NewNode::Fifo),
        ("socket", NewNode::Socket),
        ("char", NewNode::CharDevice(0x0001_0305)),
        ("block", NewNode::BlockDevice(0xfff0_0712)),
        ("short", NewNode::Symlink("plain".into())),
        ("just-inline", NewNode::Symlink("i".repeat(128).into())),
        ("one-block", NewNode::Symlink("b".repeat(129).into())),
        ("two-blocks", NewNode::Symlink("c/".repeat(2047).into())),
    ] {
        make(volume, root, name, node);
    }
    holes(volume);
    attributes(volume, plain, inner);
    let old = make(volume, dir, "old", NewNode::Regular);
    let new = make(volume, dir, "new", NewNode::Regular);
    let (ancient, late) = (i64::MIN + 1, i64::MAX);
    for (ino, time) in [(old, ancient), (new, late)] {
        let times = AttrChange {
            atime: at(time),
            mtime: at(time),
            uid: Some(u32::MAX - 1),
            gid: Some(u32::MAX - 1),
            perm: Some(0o7777),
            ..AttrChange::default()
        };
        change(volume, ino, times);
    }
    for n in 0..8_u8 {
        let mut name = vec![b'n'; 254];
        name.push(b'0' + n);
        let name = OsString::from_vec(name);
        let made = volume.make(deep, &name, NewNode::Regular, 0o600, OWNER);
        made.expect("makes");
    }
    let odd = OsString::from_vec(b"\xff\xfe not text \n".to_vec());
    let made = volume.make(deep, &odd, NewNode::Regular, 0o600, OWNER);
    made.expect("makes");
}

/// Sparse, reserved, punched, cut within a block.
fn holes(volume: &mut DiskVolume) {
    let root = Ino::ROOT;
    let sparse = make(volume, root, "sparse", NewNode::Regular);
    write(volume, sparse, 3 << 30, &content(5000, 2));
    write(volume, sparse, 70_000, &content(9000, 3));
    let reserved = make(volume, root, "reserved", NewNode::Regular);
    let punched = make(volume, root, "punched", NewNode::Regular);
    let behind = make(volume, root, "behind", NewNode::Regular);
    write(volume, punched, 0, &content(200_000, 4));
    write(volume, behind, 0, &content(6000, 5));
    for (ino, from, len, keep) in [(reserved, 0, 50_000, false), (behind, 8192, 40_000, true)] {
        volume.allocate(ino, from, len, keep).expect("reserves");
    }
    for from in [10_000, 60_000, 130_000] {
        volume.punch_hole(punched, from, 20_000).expect("punches");
    }
    let cut = make(volume, root, "cut", NewNode::Regular);
    write(volume, cut, 0, &content(30_000, 6));
    let size = AttrChange {
        size: Some(12_345),
        ..AttrChange::default()
    };
    change(volume, cut, size);
}

fn attributes(volume: &mut DiskVolume, inside: Ino, outside: Ino) {
    let mut set = |ino, name: &str, len| {
        let value = content(len, name.len() as u8);
        let done = volume.set_xattr(ino, name.as_bytes(), &value, SetMode::Any);
        done.expect("sets");
    };
    set(inside, "user.a", 10);
    set(inside, "trusted.b", 0);
    set(inside, "security.c", 100);
    set(outside, "user.small", 20);
    set(outside, "user.large", 3000);
    set(outside, &format!("trusted.{}", "n".repeat(255)), 300);
    set(Ino::ROOT, "user.on-the-root", 50);
}

/// Two names with one 60-bit hash under the key of these images: found by `examples/twin_names.rs`.
pub const TWINS: [&str; 2] = ["45f94ddaf2d4657", "011ab8c3056ec32"];

/// Many names in one directory, of which every fifth was removed again.
fn names(volume: &mut DiskVolume, count: u32) {
    let dir = make(volume, Ino::ROOT, "many", NewNode::Directory);
    let target = make(volume, Ino::ROOT, "target", NewNode::Regular);
    let name = |n: u32| {
        format!(
            "a-name-of-some-length-{n:05}-{}",
            "x".repeat((n % 40) as usize)
        )
    };
    for n in 0..count {
        let name = name(n);
        volume.link(target, dir, OsStr::new(&name)).expect("links");
    }
    for n in (0..count).step_by(5) {
        volume.unlink(dir, OsStr::new(&name(n))).expect("unlinks");
    }
    for twin in TWINS {
        make(volume, dir, twin, NewNode::Regular);
    }
}
