// SPDX-License-Identifier: Apache-2.0
//! A mounted daemon for a test, gone at the end whatever happens.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_vexfs_fuse");
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether FUSE can be used here. If not, the test is skipped; with VEXFS_REQUIRE_FUSE set it fails instead.
pub(crate) fn fuse_works() -> bool {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let Err(error) = opened else { return true };
    assert!(
        std::env::var_os("VEXFS_REQUIRE_FUSE").is_none(),
        "/dev/fuse: {error}"
    );
    skip(&format!("/dev/fuse cannot be opened: {error}"));
    false
}

/// Says so on the real standard error, which the test harness does not swallow.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// What `poll` gives, asked again and again until it gives something; panics after a while.
pub(crate) fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The file system type that the kernel shows at `mountpoint`, if it is one.
pub(crate) fn mount_type(mountpoint: &Path) -> Option<String> {
    let info = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let mountpoint = mountpoint.to_str().expect("UTF-8");
    info.lines().rev().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let here = left.split(' ').nth(4) == Some(mountpoint);
        here.then(|| right.split(' ').next().unwrap_or_default().to_owned())
    })
}

/// Processes that run this binary on `mountpoint`.
pub(crate) fn daemons(mountpoint: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .flatten()
        .filter(|entry| {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<_> = command.split(|byte| *byte == 0).collect();
            words
                .first()
                .is_some_and(|name| name.ends_with(b"vexfs_fuse"))
                && words.contains(&mountpoint.as_os_str().as_encoded_bytes())
        })
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// An empty directory that is not a mount any more, and has no daemon, when this is dropped.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    pub(crate) mountpoint: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mountpoint = dir.path().canonicalize().expect("exists").join("mnt");
        std::fs::create_dir(&mountpoint).expect("a mountpoint");
        Self { dir, mountpoint }
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in daemons(&self.mountpoint) {
            let _ = kill_process(pid, Signal::KILL);
        }
        while mount_type(&self.mountpoint).is_some() {
            unmount(&self.mountpoint, UnmountFlags::DETACH).expect("unmounts");
        }
    }
}

/// A daemon in the foreground, mounted.
pub(crate) struct Mounted {
    daemon: Child,
    place: Place,
}

impl Mounted {
    pub(crate) fn with_options(options: &str) -> Self {
        let place = Place::new();
        let log = File::create(place.beside("log")).expect("a log");
        let daemon = Command::new(BINARY)
            .args(["-f", "-o", options])
            .arg(&place.mountpoint)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("vexfs_fuse starts");
        let mut mounted = Self { daemon, place };
        eventually("mounted", || {
            let ended = mounted.daemon.try_wait().expect("is my child");
            assert_eq!(ended, None, "{}", mounted.log());
            // Its own word: the kernel shows the mount a moment before the daemon has looked at it.
            mounted.log().contains("mounted on").then_some(())
        });
        mounted
    }

    pub(crate) fn root(&self) -> &Path {
        &self.place.mountpoint
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.place.beside("log")).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.daemon), signal).expect("is alive");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("ended", || self.daemon.try_wait().expect("is my child"))
    }

    /// Ends it as a user would, and proves that it ended well.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait().code(), Some(0), "{}", self.log());
        assert_eq!(mount_type(self.root()), None);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The mount itself goes with `place`.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
