// SPDX-License-Identifier: Apache-2.0
//! The daemon's life: when it says that it is mounted, and how it ends.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{self, BINARY, Mounted, Place, daemons, eventually, fuse_works, mount_type};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// Runs the daemon without -f. Reads its output to the end: that would block if the daemon kept the pipes.
fn daemonise(args: &[&str], mountpoint: &Path) -> Output {
    Command::new(BINARY)
        .args(args)
        .arg(mountpoint)
        .stdin(Stdio::null())
        .output()
        .expect("vexfs_fuse starts")
}

fn only_daemon(mountpoint: &Path) -> Pid {
    let pids = daemons(mountpoint);
    assert_eq!(pids.len(), 1, "{pids:?}");
    pids[0]
}

fn gone(mountpoint: &Path) {
    eventually("no daemon", || daemons(mountpoint).is_empty().then_some(()));
    assert_eq!(mount_type(mountpoint), None);
}

#[test]
fn the_parent_returns_when_the_mount_is_live() {
    if !fuse_works() {
        return;
    }
    let place = Place::new();
    let log = place.beside("daemon.log");
    let output = daemonise(
        &["-d", "-o", "size=4m", "--log", log.to_str().expect("UTF-8")],
        &place.mountpoint,
    );
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
    // No waiting here: live means now.
    assert_eq!(mount_type(&place.mountpoint).as_deref(), Some("fuse.vexfs"));
    fs::write(place.mountpoint.join("a"), "alive").expect("writes");
    assert_eq!(
        fs::read(place.mountpoint.join("a")).expect("reads"),
        b"alive"
    );

    let daemon = only_daemon(&place.mountpoint);
    let proc = format!("/proc/{}", daemon.as_raw_nonzero());
    assert_eq!(
        fs::read_link(format!("{proc}/cwd")).expect("cwd"),
        Path::new("/")
    );
    let null = Path::new("/dev/null");
    assert_eq!(fs::read_link(format!("{proc}/fd/0")).expect("stdin"), null);
    assert_eq!(fs::read_link(format!("{proc}/fd/1")).expect("stdout"), null);

    kill_process(daemon, Signal::TERM).expect("is alive");
    gone(&place.mountpoint);
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.contains("mounted on"), "{log}");
    assert!(log.contains("LOOKUP"), "-d logs requests: {log}");
    assert!(log.contains("SIGTERM"), "{log}");
}

#[test]
fn a_mount_that_fails_is_told_by_the_parent() {
    if !fuse_works() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return common::skip("needs root to give up the right to mount");
    }
    let place = Place::new();
    let output = Command::new("setpriv")
        .args(["--bounding-set=-sys_admin", BINARY])
        .arg(&place.mountpoint)
        .env("FUSERMOUNT_PATH", "/nonexistent/fusermount3")
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return common::skip(&format!("setpriv: {error}")),
    };
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("cannot mount on"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    gone(&place.mountpoint);
}

#[test]
fn a_daemon_that_dies_without_a_word_is_told_by_the_parent() {
    if !fuse_works() {
        return;
    }
    let place = Place::new();
    // Too little memory for the buffer of requests (16 MiB), enough to start.
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -v 16000; exec \"$0\" -o size=4m \"$1\"",
            BINARY,
        ])
        .arg(&place.mountpoint)
        .output()
        .expect("sh runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("died before it could mount"), "{error}");
}

#[test]
fn a_second_mount_on_the_same_place_is_refused() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=4m");
    let output = daemonise(&[], mounted.root());
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("is a VexFS mount already"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    mounted.stop();
}

#[test]
fn a_dead_mount_is_named_as_such() {
    if !fuse_works() {
        return;
    }
    let mut mounted = Mounted::with_options("size=4m");
    mounted.signal(Signal::KILL);
    assert_eq!(mounted.wait().code(), None);
    let output = daemonise(&[], mounted.root());
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("whose daemon died"), "{error}");
}

#[test]
fn an_unmount_from_outside_ends_it_well() {
    if !fuse_works() {
        return;
    }
    let mut mounted = Mounted::with_options("size=4m");
    unmount(mounted.root(), UnmountFlags::empty()).expect("unmounts");
    assert_eq!(mounted.wait().code(), Some(0), "{}", mounted.log());
}

#[test]
fn interrupt_and_hangup_unmount_too() {
    if !fuse_works() {
        return;
    }
    for signal in [Signal::INT, Signal::HUP] {
        let mut mounted = Mounted::with_options("size=4m");
        mounted.signal(signal);
        assert_eq!(mounted.wait().code(), Some(0), "{}", mounted.log());
        assert_eq!(mount_type(mounted.root()), None);
    }
}

#[test]
fn a_busy_mount_is_detached_and_its_open_files_still_served() {
    if !fuse_works() {
        return;
    }
    let mut mounted = Mounted::with_options("size=4m");
    let mut open = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(mounted.path("held"))
        .expect("creates");
    mounted.signal(Signal::TERM);
    eventually("detached", || {
        mount_type(mounted.root()).is_none().then_some(())
    });
    open.write_all(b"still here").expect("writes");
    std::io::Seek::rewind(&mut open).expect("seeks");
    let mut text = String::new();
    open.read_to_string(&mut text).expect("reads");
    assert_eq!(text, "still here");
    drop(open);
    assert_eq!(mounted.wait().code(), Some(0), "{}", mounted.log());
}

#[test]
fn a_second_signal_abandons_open_files_and_says_so() {
    if !fuse_works() {
        return;
    }
    let mut mounted = Mounted::with_options("size=4m");
    let _open = File::create(mounted.path("held")).expect("creates");
    mounted.signal(Signal::TERM);
    eventually("detached", || {
        mount_type(mounted.root()).is_none().then_some(())
    });
    mounted.signal(Signal::TERM);
    assert_eq!(mounted.wait().code(), Some(1));
    assert!(mounted.log().contains("abandoned"), "{}", mounted.log());
}
