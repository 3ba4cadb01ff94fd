// SPDX-License-Identifier: Apache-2.0
//! The golden images of format version 1 (docs/format.md, section 17) are read as on the day they were made.
//!
//! Each is `tests/golden/NAME.zst`; beside it `NAME.dump.json.zst`, what `dump.vexfs --json all` shows of it, and
//! `NAME.json`: what a mount shows, and what fsck says. `VEXFS_GOLDEN=write cargo test --test library golden` makes
//! all of them anew, `VEXFS_GOLDEN=NAME` one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::images;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vexfs::disk::{
    Access, BLOCK_SIZE, BlockDevice, DiskVolume, Error, FileDevice, MemoryDevice, OpenOptions,
    OverlayDevice, fsck,
};
use vexfs::{AtimePolicy, DirEntry, FileKind, Ino, SeekTo};

/// Pieces of a file that are summed with their place, if there is anything in them: sparse files are quickly read.
const PIECE: u64 = 1 << 20;
/// Names up to which a listing is kept as it is.
const LISTED: usize = 200;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Whether this image is to be made anew.
fn is_writing(name: &str) -> bool {
    std::env::var("VEXFS_GOLDEN").is_ok_and(|value| value == "write" || value == name)
}

fn zstd(arguments: &[&OsStr]) {
    let done = Command::new("zstd")
        .args(["-q", "-f"])
        .args(arguments)
        .status();
    assert!(done.expect("zstd is installed").success(), "{arguments:?}");
}

/// What the collections answer, each to one query.
fn answers(device: &Arc<dyn BlockDevice>) -> Value {
    let options = OpenOptions {
        log: Arc::new(|_| ()),
        ..OpenOptions::default()
    };
    match DiskVolume::open(writable(device), options, AtimePolicy::Never) {
        Ok(mut volume) => json!(images::vectors::answers(&mut volume)),
        Err(_) => json!([]),
    }
}

/// What a mount shows, or why it refuses.
fn shown(device: &Arc<dyn BlockDevice>) -> Value {
    let over: Arc<dyn BlockDevice> = Arc::new(OverlayDevice::new(Arc::clone(device)));
    let options = OpenOptions {
        log: Arc::new(|_| ()),
        ..OpenOptions::default()
    };
    let mut volume = match DiskVolume::open(over, options, AtimePolicy::Never) {
        Ok(volume) => volume,
        Err(error) => return json!({ "refused": name_of(&error) }),
    };
    let mut tree = BTreeMap::new();
    match list(&mut volume, Ino::ROOT, "", &mut tree) {
        Ok(()) if tree.len() <= LISTED => json!({ "tree": tree }),
        Ok(()) => json!({ "names": tree.len(), "sha256": digest(&tree) }),
        Err(error) => json!({ "failed": name_of(&error) }),
    }
}

fn name_of(error: &Error) -> &'static str {
    match error.errno() {
        117 => "EUCLEAN",
        5 => "EIO",
        22 => "EINVAL",
        other => panic!("errno {other}: {error}"),
    }
}

/// Of a listing that is too long to be kept: its lines of JSON, `[path, [values]]`, in the order of the paths.
fn digest(tree: &BTreeMap<String, Value>) -> String {
    let mut sum = Sha256::new();
    for line in tree {
        sum.update(serde_json::to_vec(&json!(line)).expect("is JSON"));
        sum.update(b"\n");
    }
    hex(&sum.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes as text, one character each: as Python's latin-1.
fn latin(bytes: &OsStr) -> String {
    bytes
        .as_bytes()
        .iter()
        .map(|&byte| char::from(byte))
        .collect()
}

fn list(
    volume: &mut DiskVolume,
    dir: Ino,
    above: &str,
    tree: &mut BTreeMap<String, Value>,
) -> Result<(), Error> {
    let mut entries: Vec<(OsString, Ino)> = Vec::new();
    volume.read_dir(dir, 2, &mut |entry: DirEntry<'_>| {
        entries.push((entry.name.to_owned(), entry.ino));
        ControlFlow::Continue(())
    })?;
    for (name, ino) in entries {
        let path = format!("{above}{}", latin(&name));
        let attr = volume.lookup(dir, &name)?;
        let mut sum = Sha256::new();
        match attr.kind {
            FileKind::Symlink => sum.update(volume.read_link(ino)?.as_bytes()),
            FileKind::Regular => contents(volume, ino, attr.size, &mut sum)?,
            FileKind::Directory => list(volume, ino, &format!("{path}/"), tree)?,
            _ => {}
        }
        let kind = match attr.kind {
            FileKind::Regular => 0o100_000,
            FileKind::Directory => 0o040_000,
            FileKind::Symlink => 0o120_000,
            FileKind::Fifo => 0o010_000,
            FileKind::Socket => 0o140_000,
            FileKind::CharDevice => 0o020_000,
            FileKind::BlockDevice => 0o060_000_u32,
        };
        let mtime = match attr.mtime.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).expect("fits"),
            Err(before) => -i128::try_from(before.duration().as_nanos()).expect("fits"),
        };
        let mtime = i64::try_from(mtime).expect("is in the format's range");
        let sum = hex(&sum.finalize());
        let mode = kind | u32::from(attr.perm);
        let size = match attr.kind {
            FileKind::Regular | FileKind::Symlink => attr.size,
            _ => 0,
        };
        tree.insert(
            path,
            json!([
                mode, attr.nlink, attr.uid, attr.gid, attr.rdev, size, mtime, sum
            ]),
        );
    }
    Ok(())
}

fn contents(volume: &mut DiskVolume, ino: Ino, size: u64, sum: &mut Sha256) -> Result<(), Error> {
    let mut at = 0;
    while at < size {
        let piece = volume.read(ino, at, PIECE as usize)?;
        let next = at + piece.len() as u64;
        if piece.iter().any(|&byte| byte != 0) {
            sum.update(at.to_le_bytes());
            sum.update(&piece);
            at = next;
            continue;
        }
        at = match volume.seek(ino, next, SeekTo::Data) {
            Ok(data) => next.max(data / PIECE * PIECE),
            Err(_) => size,
        };
    }
    Ok(())
}

/// What fsck -n says.
fn said(device: &Arc<dyn BlockDevice>) -> Vec<String> {
    let report = fsck::check(Arc::clone(device)).expect("checks");
    report.findings.iter().map(ToString::to_string).collect()
}

fn dump(image: &Path) -> Option<Vec<u8>> {
    let done = Command::new(env!("CARGO_BIN_EXE_dump_vexfs"))
        .args([OsStr::new("--json"), image.as_os_str(), OsStr::new("all")])
        .output()
        .expect("starts");
    done.status.success().then_some(done.stdout)
}

fn write_image(device: &MemoryDevice, path: &Path) {
    let file = std::fs::File::create(path).expect("makes");
    file.set_len(device.blocks() * BLOCK_SIZE as u64)
        .expect("sizes");
    let mut block = vec![0; BLOCK_SIZE];
    for at in 0..device.blocks() {
        device.read_blocks(at, &mut block).expect("reads");
        if block.iter().any(|&byte| byte != 0) {
            let at = at * BLOCK_SIZE as u64;
            std::os::unix::fs::FileExt::write_all_at(&file, &block, at).expect("writes");
        }
    }
}

/// Makes the files of one image anew.
fn make(name: &str, work: &Path) {
    let image = work.join("image");
    write_image(&images::build(name), &image);
    let packed = folder().join(format!("{name}.zst"));
    zstd(&[
        "-19".as_ref(),
        "--long=27".as_ref(),
        image.as_os_str(),
        "-o".as_ref(),
        packed.as_os_str(),
    ]);
    if let Some(dump) = dump(&image) {
        let text = work.join("dump");
        std::fs::write(&text, dump).expect("writes");
        let packed = folder().join(format!("{name}.dump.json.zst"));
        zstd(&[
            "-19".as_ref(),
            text.as_os_str(),
            "-o".as_ref(),
            packed.as_os_str(),
        ]);
    }
    let device: Arc<dyn BlockDevice> =
        Arc::new(FileDevice::open(&image, Access::ReadOnly).expect("opens"));
    let all = json!({ "mount": shown(&writable(&device)), "fsck": said(&device), "search": answers(&device) });
    let text = serde_json::to_string_pretty(&all).expect("is JSON");
    std::fs::write(folder().join(format!("{name}.json")), text + "\n").expect("writes");
}

fn writable(device: &Arc<dyn BlockDevice>) -> Arc<dyn BlockDevice> {
    Arc::new(OverlayDevice::new(Arc::clone(device)))
}

fn compare(name: &str, work: &Path) {
    let image = work.join("image");
    let packed = folder().join(format!("{name}.zst"));
    zstd(&[
        "-d".as_ref(),
        "--long=27".as_ref(),
        packed.as_os_str(),
        "-o".as_ref(),
        image.as_os_str(),
    ]);
    let device: Arc<dyn BlockDevice> =
        Arc::new(FileDevice::open(&image, Access::ReadOnly).expect("opens"));
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect("reads");
    let want: Value = serde_json::from_str(&text).expect("is JSON");
    assert_eq!(json!(said(&device)), want["fsck"], "{name}: fsck");
    assert_eq!(
        name.starts_with("corrupt"),
        want["fsck"] != json!([]),
        "{name}: fsck"
    );
    if name.starts_with("collection") {
        assert_eq!(answers(&device), want["search"], "{name}: search");
        assert_ne!(want["search"], json!([]));
    }
    let got = shown(&writable(&device));
    assert!(got == want["mount"], "{name}: a mount shows {got:#}");
    let packed = folder().join(format!("{name}.dump.json.zst"));
    if packed.exists() {
        let text = work.join("dump");
        zstd(&[
            "-d".as_ref(),
            packed.as_os_str(),
            "-o".as_ref(),
            text.as_os_str(),
        ]);
        let want = std::fs::read(&text).expect("reads");
        assert!(
            dump(&image) == Some(want),
            "{name}: dump.vexfs shows something else"
        );
    }
    // As high as the table of section 17 says.
    let heights = [
        ("bigdir-64m", b"VXDI", 0x18, 2),
        ("fragmented-64m", b"VXEX", 0x1a, 2),
    ];
    for (_, magic, at, height) in heights.into_iter().filter(|(of, ..)| *of == name) {
        let mut block = [0; BLOCK_SIZE];
        let mut has = |number| {
            device.read_blocks(number, &mut block).expect("reads");
            block.starts_with(magic) && block[at] == height
        };
        assert!((0..device.blocks()).any(&mut has), "{name} is not deep");
    }
    if name.starts_with("empty") {
        let again = images::build(name);
        assert_eq!(again.blocks(), device.blocks());
        let (mut old, mut new) = ([0; BLOCK_SIZE], [0; BLOCK_SIZE]);
        for at in 0..device.blocks() {
            device.read_blocks(at, &mut old).expect("reads");
            again.read_blocks(at, &mut new).expect("reads");
            assert!(old == new, "{name}: block {at} is made otherwise now");
        }
    }
}

#[test]
fn the_golden_images_are_read_as_ever() {
    let work = tempfile::tempdir().expect("a folder");
    for name in images::NAMES {
        if is_writing(name) {
            std::fs::create_dir_all(folder()).expect("makes");
            make(name, work.path());
        }
        compare(name, work.path());
    }
}

#[test]
fn the_twins_have_one_hash() {
    let key = vexfs::disk::mkfs::Identity::from_seed(b"golden images v1").hash_key;
    let [a, b] = images::TWINS.map(|name| vexfs::disk::hash::dir_hash(&key, name.as_bytes()));
    assert_eq!(a, b);
}

#[test]
fn what_is_corrupt_can_be_repaired() {
    for name in images::NAMES
        .iter()
        .filter(|name| name.starts_with("corrupt"))
    {
        let device: Arc<dyn BlockDevice> = Arc::new(images::build(name));
        let (first, last) = fsck::repair(Arc::clone(&device), &|_| ()).expect("repairs");
        assert!(
            !first.is_clean() && last.is_clean(),
            "{name}: {:?}",
            last.findings
        );
    }
}
