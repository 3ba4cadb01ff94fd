// SPDX-License-Identifier: Apache-2.0
//! Once a device has failed to write, nobody is told that his changes are durable.

use std::ffi::OsStr;
use std::time::Duration;

use crate::stores::{Fault, Faulty, quiet, volume};
use rustix::io::Errno;
use vexfs::disk::{DiskVolume, Error, ErrorPolicy, OpenOptions};
use vexfs::{AtimePolicy, Ino, NewNode, Owner};

fn make(disk: &mut DiskVolume, name: &str) -> Result<Ino, Error> {
    let owner = Owner { uid: 0, gid: 0 };
    let made = disk.make(Ino::ROOT, OsStr::new(name), NewNode::Regular, 0o600, owner)?;
    Ok(made.ino)
}

#[test]
fn every_sync_after_one_that_failed_fails_too() {
    for errors in [ErrorPolicy::RemountRo, ErrorPolicy::Continue] {
        let device = Faulty::over(volume(4096));
        let options = OpenOptions { errors, ..quiet() };
        let opened = DiskVolume::open(device.clone(), options, AtimePolicy::Never);
        let mut disk = opened.expect("opens");
        make(&mut disk, "kept").expect("makes");
        disk.sync().expect("syncs");
        make(&mut disk, "lost").expect("makes");
        device.set(Fault::Writes { except: None });
        for _ in 0..2 {
            let error = disk.sync().expect_err("could not write");
            assert_eq!(error.errno(), Errno::IO.raw_os_error());
        }
        // The device works again, but the change is gone.
        device.set(Fault::Nothing);
        disk.sync().expect_err("was lost");
        make(&mut disk, "refused").expect_err("takes no changes any more");
        assert!(!disk.has_older(Duration::ZERO), "nothing waits");
        disk.close().expect_err("was lost");
        drop(disk);
        let mut disk = DiskVolume::open(device, quiet(), AtimePolicy::Never).expect("opens");
        disk.lookup(Ino::ROOT, OsStr::new("kept"))
            .expect("was synced");
        disk.lookup(Ino::ROOT, OsStr::new("lost"))
            .expect_err("was not");
        disk.sync().expect("syncs");
    }
}

#[test]
fn a_volume_mounted_read_only_has_nothing_to_sync() {
    let options = OpenOptions {
        read_only: true,
        ..quiet()
    };
    let mut disk = DiskVolume::open(volume(4096), options, AtimePolicy::Never).expect("opens");
    disk.sync().expect("nothing to do");
}
