// SPDX-License-Identifier: Apache-2.0
//! A truncation that fails on the way never brings old bytes back.

use std::ffi::OsStr;

use crate::stores::{Fault, Faulty, quiet, volume};
use vexfs::disk::{DiskVolume, ErrorPolicy, OpenOptions, Superblock, fsck};
use vexfs::{AtimePolicy, AttrChange, Ino, NewNode, Owner};

const GIB: u64 = 1 << 30;

fn sized(size: u64) -> AttrChange {
    AttrChange {
        size: Some(size),
        ..AttrChange::default()
    }
}

#[test]
fn a_truncation_that_failed_is_finished_before_the_file_grows_again() {
    let below = volume(4 * GIB / 4096);
    let device = Faulty::over(below.clone());
    let open = || {
        let options = OpenOptions {
            errors: ErrorPolicy::Continue,
            ..quiet()
        };
        DiskVolume::open(device.clone(), options, AtimePolicy::Never).expect("opens")
    };
    let mut disk = open();
    let owner = Owner { uid: 0, gid: 0 };
    let name = OsStr::new("large");
    let made = disk.make(Ino::ROOT, name, NewNode::Regular, 0o600, owner);
    let ino = made.expect("makes").ino;
    disk.allocate(ino, 0, 3 * GIB, false).expect("reserves");
    // In the fourth group: the blocks of more groups than one transaction changes lie behind.
    let secret = 300 << 20;
    disk.write(ino, secret, b"secret").expect("writes");
    disk.close().expect("closes");
    let geometry = Superblock::read(&*below).expect("is valid").geometry();
    let mut disk = open();
    // The blocks of the third group cannot be given back.
    device.set(Fault::ReadAt(geometry.group_start(2)));
    let cut = disk.set_attr(ino, &sized(0)).map_err(|error| error.errno());
    assert_eq!(cut, Err(5));
    assert_eq!(disk.attr(ino).expect("exists").size, 0);
    let grown = disk
        .set_attr(ino, &sized(GIB))
        .map_err(|error| error.errno());
    assert_eq!(grown, Err(5), "what is behind the end is still there");
    let written = disk.write(ino, GIB, b"x").map_err(|error| error.errno());
    assert_eq!(written, Err(5));
    device.set(Fault::Nothing);
    disk.set_attr(ino, &sized(GIB)).expect("grows");
    assert_eq!(disk.read(ino, secret, 6), Ok(vec![0; 6]));
    assert_eq!(disk.attr(ino).expect("exists").blocks, 0);
    disk.close().expect("closes");
    let (first, last) = fsck::repair(below, &|_| ()).expect("checks");
    let names: Vec<_> = first.findings.iter().map(|finding| finding.name).collect();
    assert_eq!(names, ["state-error"], "the failed read was recorded");
    assert!(last.is_clean());
}
