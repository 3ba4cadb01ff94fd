// SPDX-License-Identifier: Apache-2.0
//! What a damaged volume goes through: mounted, walked, read, written, checked, repaired, checked again.
#![allow(dead_code, unreachable_pub)] // Each test crate uses its part.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::sync::Arc;

use vexfs::disk::{BlockDevice, DiskVolume, Error, ErrorPolicy, OpenOptions, OverlayDevice, fsck};
use vexfs::{AtimePolicy, AttrChange, DirEntry, FileKind, Ino, NewNode, Owner};

use super::mutate::Patch;

const BLOCK: u64 = 4096;
/// Files that are looked at in one walk.
const MOST: usize = 1500;

/// How many ended how.
#[derive(Debug, Default)]
pub struct Tally {
    pub refused: u32,
    pub harmless: u32,
    pub repaired: u32,
    pub unchecked: u32,
    pub left: u32,
}

pub fn patched(below: &Arc<dyn BlockDevice>, patches: &[Patch]) -> Arc<dyn BlockDevice> {
    let over = OverlayDevice::new(Arc::clone(below));
    for patch in patches {
        let first = patch.offset / BLOCK;
        let (at, len) = ((patch.offset % BLOCK) as usize, patch.bytes.len());
        let mut bytes = vec![0; (at + len).div_ceil(BLOCK as usize) * BLOCK as usize];
        over.read_blocks(first, &mut bytes).expect("reads");
        bytes[at..at + len].copy_from_slice(&patch.bytes);
        over.write_blocks(first, &bytes).expect("writes");
    }
    Arc::new(over)
}

fn open(device: &Arc<dyn BlockDevice>, read_only: bool) -> vexfs::disk::Result<DiskVolume> {
    let options = OpenOptions {
        read_only,
        errors: ErrorPolicy::Continue,
        clock: Arc::new(|| 1_800_000_000_000_000_000),
        log: Arc::new(|_| ()),
        ..OpenOptions::default()
    };
    DiskVolume::open(Arc::clone(device), options, AtimePolicy::Relative)
}

/// Each part begins with the damage as it is.
pub fn undergo(what: &str, below: &Arc<dyn BlockDevice>, patches: &[Patch], tally: &mut Tally) {
    for read_only in [true, false] {
        let device = patched(below, patches);
        let Ok(mut volume) = open(&device, read_only) else {
            tally.refused += 1;
            continue;
        };
        Walk::of(&mut volume);
        change(&mut volume);
        // A volume that was found corrupt may not be closed cleanly.
        let _ = volume.close();
    }
    let device = patched(below, patches);
    let Some(before) = check(what, &device) else {
        tally.unchecked += 1;
        return;
    };
    if before.is_empty() {
        tally.harmless += 1;
    }
    let (_, last) = match fsck::repair(Arc::clone(&device), &|_| ()) {
        Ok(done) => done,
        Err(Error::Unsupported(_)) => {
            tally.unchecked += 1;
            return;
        }
        Err(error) => panic!("{what}: repair of {before:#?} ended with {error}"),
    };
    if !last.is_clean() {
        let left: Vec<String> = last.findings.iter().map(ToString::to_string).collect();
        panic!("{what}: {before:#?} was repaired, but {left:#?} is left");
    }
    let after =
        check(what, &device).unwrap_or_else(|| panic!("{what}: cannot be checked any more"));
    assert!(
        after.is_empty(),
        "{what}: after repair of {before:#?} there is {after:#?}"
    );
    tally.repaired += u32::from(!before.is_empty());
    // What is clean can be used.
    let mut volume =
        open(&device, false).unwrap_or_else(|error| panic!("{what}: repaired, but {error}"));
    let bad = Walk::of(&mut volume).bad;
    assert!(
        bad.is_none(),
        "{what}: {before:#?} was repaired, but then {bad:?}"
    );
    let done = volume.make(
        Ino::ROOT,
        OsStr::new("after"),
        NewNode::Regular,
        0o600,
        Owner { uid: 0, gid: 0 },
    );
    let room = done.is_ok() || matches!(&done, Err(Error::Volume(vexfs::Error::NoSpace)));
    assert!(room, "{what}: {before:#?} was repaired, but then {done:?}");
    volume
        .close()
        .unwrap_or_else(|error| panic!("{what}: repaired, but {error}"));
    let used = check(what, &device).unwrap_or_default();
    assert!(
        used.is_empty(),
        "{what}: {before:#?} was repaired and used, then {used:#?}"
    );
}

/// The findings, or none if the check refuses with a reason.
fn check(what: &str, device: &Arc<dyn BlockDevice>) -> Option<Vec<String>> {
    match fsck::check(Arc::clone(device)) {
        Ok(report) => Some(report.findings.iter().map(ToString::to_string).collect()),
        Err(Error::NotVexfs | Error::Unsupported(_) | Error::Invalid(_)) => None,
        Err(error) => panic!("{what}: the check ended with {error}"),
    }
}

/// A look at everything, which minds no error.
pub struct Walk {
    left: usize,
    /// The last failure that was EUCLEAN or EIO.
    pub bad: Option<String>,
}

impl Walk {
    pub fn of(volume: &mut DiskVolume) -> Self {
        let mut walk = Self {
            left: MOST,
            bad: None,
        };
        walk.directory(volume, Ino::ROOT, 0);
        walk
    }

    fn note<T>(&mut self, what: &str, done: Result<T, Error>) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            Err(Error::Corrupt(_) | Error::Device(_) | Error::Aborted) if self.bad.is_some() => {
                None
            }
            Err(error @ (Error::Corrupt(_) | Error::Device(_) | Error::Aborted)) => {
                self.bad = Some(format!("{what}: {error}"));
                None
            }
            Err(_) => None,
        }
    }

    fn directory(&mut self, volume: &mut DiskVolume, dir: Ino, depth: u32) {
        let mut entries: Vec<(OsString, Ino)> = Vec::new();
        let listed = volume.read_dir(dir, 2, &mut |entry: DirEntry<'_>| {
            entries.push((entry.name.to_owned(), entry.ino));
            match entries.len() < MOST {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        self.note("list", listed);
        for (name, ino) in entries {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            self.note("lookup", volume.lookup(dir, &name));
            let attr = self.note("attributes", volume.attr(ino));
            self.note("target", volume.read_link(ino));
            let names = self.note("attribute list", volume.list_xattr(ino));
            for name in names.unwrap_or_default() {
                self.note("attribute", volume.get_xattr(ino, &name));
            }
            if let Some(attr) = &attr {
                for at in [0, attr.size.saturating_sub(5000), attr.size / 2] {
                    self.note("read", volume.read(ino, at, 1 << 18));
                }
            }
            let is_dir = attr.is_some_and(|attr| attr.kind == FileKind::Directory);
            if depth < 8 && is_dir {
                self.directory(volume, ino, depth + 1);
            }
        }
    }
}

/// A bit of every change; what is damaged may refuse it.
fn change(volume: &mut DiskVolume) {
    let owner = Owner { uid: 3, gid: 4 };
    let mut entries: Vec<OsString> = Vec::new();
    let _ = volume.read_dir(Ino::ROOT, 2, &mut |entry: DirEntry<'_>| {
        entries.push(entry.name.to_owned());
        match entries.len() < 40 {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    for name in ["new", "new-dir"] {
        let node = match name {
            "new" => NewNode::Regular,
            _ => NewNode::Directory,
        };
        let _ = volume.make(Ino::ROOT, OsStr::new(name), node, 0o700, owner);
    }
    for (i, name) in entries.iter().enumerate() {
        let Ok(attr) = volume.lookup(Ino::ROOT, name) else {
            continue;
        };
        let _ = volume.write(attr.ino, attr.size / 2, &[7; 9000]);
        let _ = volume.punch_hole(attr.ino, 4096, 30_000);
        let _ = volume.allocate(attr.ino, 20_000, 30_000, i % 2 == 0);
        let shorter = AttrChange {
            size: Some(attr.size / 3),
            ..AttrChange::default()
        };
        let _ = volume.set_attr(attr.ino, &shorter);
        let mode = vexfs::disk::xattr::SetMode::Any;
        let _ = volume.set_xattr(attr.ino, b"user.new", &[1; 300], mode);
        let to = OsString::from(format!("moved-{i}"));
        let _ = match i % 3 {
            0 => volume.unlink(Ino::ROOT, name),
            1 => volume.rename(Ino::ROOT, name, Ino::ROOT, &to, vexfs::RenameMode::Replace),
            _ => volume.link(attr.ino, Ino::ROOT, &to).map(drop),
        };
        let _ = volume.rmdir(Ino::ROOT, name);
    }
    let _ = volume.sync();
}
