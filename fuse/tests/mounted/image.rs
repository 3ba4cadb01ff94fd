// SPDX-License-Identifier: Apache-2.0
//! A volume on an image, mounted through /dev/fuse: it outlives its daemon, however that ends.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{BINARY, Place, eventually, fuse_works, mount_type};
use rustix::fs::{FallocateFlags, SeekFrom, XattrFlags, fallocate, getxattr, listxattr, setxattr};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::{Access, FileDevice};

const FSCK: &str = env!("CARGO_BIN_EXE_fsck_vexfs");

/// An image and where it is mounted.
struct Image {
    place: Place,
    daemon: Option<Child>,
}

impl Image {
    fn new(bytes: u64) -> Self {
        let place = Place::new();
        let path = place.beside("image");
        File::create(&path)
            .and_then(|file| file.set_len(bytes))
            .expect("makes a file");
        let device = FileDevice::open(&path, Access::ReadWrite).expect("opens");
        let identity = Identity::from_seed(&[3; 16]);
        mkfs::format(&device, &mkfs::Options::new(identity)).expect("formats");
        Self {
            place,
            daemon: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.mountpoint.join(name)
    }

    fn image(&self) -> PathBuf {
        self.place.beside("image")
    }

    fn mount(&mut self, options: &str) {
        let log = File::create(self.place.beside("log")).expect("a log");
        let mut daemon = Command::new(BINARY)
            .args(["-f", "-o", options, "--image"])
            .arg(self.image())
            .arg(&self.place.mountpoint)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("vexfs_fuse starts");
        eventually("mounted", || {
            let ended = daemon.try_wait().expect("is my child");
            assert_eq!(ended, None, "{}", self.log());
            mount_type(&self.place.mountpoint)
        });
        self.daemon = Some(daemon);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.beside("log")).unwrap_or_default()
    }

    fn end(&mut self, signal: Signal) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("is mounted");
        kill_process(Pid::from_child(&daemon), signal).expect("is alive");
        let status = eventually("ended", || daemon.try_wait().expect("is my child"));
        if mount_type(&self.place.mountpoint).is_some() {
            unmount(&self.place.mountpoint, UnmountFlags::DETACH).expect("unmounts");
        }
        status.code()
    }

    fn stop(&mut self) {
        assert_eq!(self.end(Signal::TERM), Some(0), "{}", self.log());
        self.fsck("-n", 0);
    }

    fn fsck(&self, option: &str, code: i32) -> String {
        let done = Command::new(FSCK).arg(option).arg(self.image()).output();
        let done = done.expect("fsck runs");
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert_eq!(done.status.code(), Some(code), "{said}");
        said
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn content(number: usize) -> Vec<u8> {
    (0..number * 1000 + 7)
        .map(|i| (i * 31 + number) as u8)
        .collect()
}

fn write_synced(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).expect("creates");
    file.write_all(bytes).expect("writes");
    file.sync_all().expect("syncs");
}

#[test]
fn a_regular_unmount_keeps_everything() {
    if !fuse_works() {
        return;
    }
    let mut image = Image::new(64 << 20);
    image.mount("noatime");
    fs::create_dir_all(image.path("a/b")).expect("makes directories");
    for i in 0..300 {
        fs::write(image.path(&format!("a/b/file {i}")), content(i % 40)).expect("writes");
    }
    for i in (0..300).step_by(3) {
        fs::remove_file(image.path(&format!("a/b/file {i}"))).expect("removes");
    }
    std::os::unix::fs::symlink("x".repeat(3000), image.path("long")).expect("links");
    fs::hard_link(image.path("a/b/file 1"), image.path("again")).expect("links");
    fs::rename(image.path("a/b"), image.path("c")).expect("renames");
    image.stop();
    image.mount("ro");
    for i in 0..300 {
        let read = fs::read(image.path(&format!("c/file {i}")));
        match i % 3 {
            0 => assert!(read.is_err()),
            _ => assert_eq!(read.expect("reads"), content(i % 40)),
        }
    }
    let target = fs::read_link(image.path("long")).expect("reads");
    assert_eq!(target.as_os_str().len(), 3000);
    assert_eq!(fs::metadata(image.path("again")).expect("stats").nlink(), 2);
    assert!(File::create(image.path("new")).is_err());
    image.stop();
}

#[test]
fn a_killed_daemon_loses_nothing_that_was_synced() {
    if !fuse_works() {
        return;
    }
    let mut image = Image::new(16 << 20);
    for round in 0..3 {
        image.mount("noatime");
        for i in 0..20 {
            write_synced(&image.path(&format!("{round}-{i}")), &content(i));
        }
        // An open file without a name, and changes that nobody synced.
        let doomed = File::create(image.path("doomed")).expect("creates");
        doomed.set_len(100_000).expect("grows");
        doomed.write_all_at(&content(90), 0).expect("writes");
        fs::remove_file(image.path("doomed")).expect("removes");
        File::open(image.path(""))
            .and_then(|root| root.sync_all())
            .expect("syncs");
        for i in 0..50 {
            fs::write(image.path(&format!("lost-{i}")), b"?").expect("writes");
        }
        assert_eq!(image.end(Signal::KILL), None);
        drop(doomed);
        let said = image.fsck("-n", 0);
        assert!(said.contains("orphan-pending: 1"), "{said}");
    }
    image.mount("noatime");
    for round in 0..3 {
        for i in 0..20 {
            let name = format!("{round}-{i}");
            assert_eq!(fs::read(image.path(&name)).expect("is there"), content(i));
        }
    }
    image.stop();
    let said = image.fsck("-y", 0);
    assert_eq!(said, "clean\n");
}

#[test]
fn attributes_holes_and_space() {
    if !fuse_works() {
        return;
    }
    let mut image = Image::new(16 << 20);
    image.mount("noatime");
    let path = image.path("f");
    let file = OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)
        .expect("creates");
    setxattr(&path, "user.note", b"hello", XattrFlags::CREATE).expect("sets");
    let again = setxattr(&path, "user.note", b"hello", XattrFlags::CREATE);
    assert_eq!(again, Err(Errno::EXIST));
    setxattr(&path, "user.big", &[7; 3900], XattrFlags::empty()).expect("sets");
    let acl = setxattr(&path, "system.posix_acl_access", b"x", XattrFlags::empty());
    assert!(acl.is_err());
    let mut value = [0; 4096];
    assert_eq!(getxattr(&path, "user.big", &mut value[..]), Ok(3900));
    assert_eq!(
        getxattr(&path, "user.none", &mut value[..]),
        Err(Errno::NODATA)
    );
    assert_eq!(
        listxattr(&path, &mut value[..]),
        Ok("user.note\0user.big\0".len())
    );

    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 100_000).expect("reserves");
    let stat = file.metadata().expect("stats");
    assert_eq!((stat.size(), stat.blocks()), (0, 25 * 8 + 8));
    file.write_all_at(&[1; 50_000], 0).expect("writes");
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 4000, 10_000).expect("punches");
    let hole = rustix::fs::seek(&file, SeekFrom::Hole(0)).expect("seeks");
    let data = rustix::fs::seek(&file, SeekFrom::Data(hole)).expect("seeks");
    assert_eq!((hole, data), (4096, 12_288));
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .expect("reads");
    let ones = bytes.iter().filter(|byte| **byte == 1).count();
    assert_eq!((bytes.len(), ones), (50_000, 40_000));
    let other = fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096);
    assert_eq!(other, Err(Errno::OPNOTSUPP));

    // Until the volume is full, and then as before.
    let before = rustix::fs::statvfs(&path).expect("asks").f_bfree;
    let full = fs::write(image.path("big"), vec![1; 20 << 20]).expect_err("is too much");
    assert_eq!(full.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    fs::remove_file(image.path("big")).expect("removes");
    eventually("given back", || {
        (rustix::fs::statvfs(&path).expect("asks").f_bfree == before).then_some(())
    });
    drop(file);
    image.stop();
}

#[test]
fn an_image_has_one_daemon() {
    if !fuse_works() {
        return;
    }
    let mut image = Image::new(16 << 20);
    image.mount("noatime");
    let other = Place::new();
    let done = Command::new(BINARY)
        .arg("--image")
        .arg(image.image())
        .arg(&other.mountpoint)
        .output()
        .expect("runs");
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("in use"), "{said}");
    image.fsck("-y", 8);
    image.stop();
}

#[test]
fn fsck_finds_what_is_wrong() {
    if !fuse_works() {
        return;
    }
    let mut image = Image::new(16 << 20);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(image.image())
        .expect("opens");
    let last = 4095 * 4096;
    file.write_all_at(&[0; 4096], last).expect("writes");
    assert!(image.fsck("-n", 4).contains("sb-backup:"));
    image.fsck("-y", 1);
    image.fsck("-n", 0);
    // The group block, one bit.
    let group = 1027 * 4096;
    let mut byte = [0];
    file.read_exact_at(&mut byte, group + 0x500).expect("reads");
    file.write_all_at(&[byte[0] ^ 8], group + 0x500)
        .expect("writes");
    assert!(image.fsck("-n", 4).contains("group-valid:"));
    image.fsck("-y", 1);
    image.fsck("-n", 0);
    image.mount("noatime");
    image.stop();
    assert_eq!(
        Command::new(FSCK).output().expect("runs").status.code(),
        Some(16)
    );
}

#[test]
fn many_threads_at_once_leave_what_each_of_them_wrote() {
    const THREADS: usize = 6;
    const FILES: usize = 60;
    if !fuse_works() {
        return;
    }
    let mut image = Image::new(64 << 20);
    image.mount("noatime");
    fs::write(image.path("shared"), content(9)).expect("writes");
    let work = |thread: usize| {
        for i in 0..FILES {
            let (old, new) = (format!("{thread} {i} new"), format!("{thread} {i}"));
            write_synced(&image.path(&old), &content((thread + i) % 30));
            fs::rename(image.path(&old), image.path(&new)).expect("renames");
            assert_eq!(fs::read(image.path("shared")).expect("reads"), content(9));
            let listed = fs::read_dir(image.path("")).expect("lists").flatten();
            assert!(listed.count() > i, "its own files at least");
            if i % 4 == 3 {
                fs::remove_file(image.path(&new)).expect("removes");
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
    image.stop();
    image.mount("noatime");
    for (thread, i) in (0..THREADS).flat_map(|thread| (0..FILES).map(move |i| (thread, i))) {
        let found = fs::read(image.path(&format!("{thread} {i}")));
        match i % 4 {
            3 => assert_eq!(
                found.expect_err("was removed").kind(),
                std::io::ErrorKind::NotFound
            ),
            _ => assert_eq!(found.expect("is there"), content((thread + i) % 30)),
        }
    }
    image.stop();
}

#[test]
fn a_daemon_told_to_end_under_load_leaves_a_clean_volume() {
    if !fuse_works() {
        return;
    }
    let mut image = Image::new(64 << 20);
    image.mount("noatime");
    let root = image.place.mountpoint.clone();
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let root = root.clone();
            std::thread::spawn(move || {
                let mut kept = Vec::new();
                for i in 0.. {
                    let name = format!("{worker}-{i}");
                    let synced = File::create(root.join(&name)).and_then(|mut file| {
                        file.write_all(&content(i % 20))?;
                        file.sync_all()
                    });
                    // The mount is gone, and with it the names below it.
                    if synced.is_err() || mount_type(&root).is_none() {
                        return kept;
                    }
                    kept.push((name, i % 20));
                }
                kept
            })
        })
        .collect();
    eventually("all work", || {
        let made = |worker| root.join(format!("{worker}-5")).exists();
        (0..3).all(made).then_some(())
    });
    assert_eq!(image.end(Signal::TERM), Some(0), "{}", image.log());
    let kept: Vec<_> = workers
        .into_iter()
        .flat_map(|worker| worker.join().expect("no panic"))
        .collect();
    // What was made after the unmount lies in the bare directory, which a mount needs empty.
    for entry in fs::read_dir(&root).expect("lists").flatten() {
        fs::remove_file(entry.path()).expect("removes");
    }
    image.fsck("-n", 0);
    image.mount("ro");
    for (name, number) in kept {
        assert_eq!(
            fs::read(image.path(&name)).expect("reads"),
            content(number),
            "{name}"
        );
    }
    image.stop();
}
