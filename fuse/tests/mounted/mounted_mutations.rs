// SPDX-License-Identifier: Apache-2.0
//! Mutated images through a mount: the daemon refuses them or serves what it can, neither crashes nor hangs, and ends when
//! it is told to; fsck ends on what it leaves.
//!
//! `MOUNTED_MUTATIONS=2000 cargo test --release --all-features --test mounted mounted_mutations` is the long run;
//! `MUTATION=seed` looks at one.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{BINARY, Place, eventually, fuse_works, mount_type};
use crate::images;
use crate::mutate::{Base, Patch};
use rustix::fs::{FallocateFlags, XattrFlags, fallocate, lgetxattr, llistxattr, lsetxattr};
use rustix::process::{Pid, Signal, kill_process};
use vexfs::disk::{BLOCK_SIZE, BlockDevice, MemoryDevice};

/// Images of the normal run.
const QUICK: u64 = 36;
/// What one daemon or one fsck may take, in a debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Entries that are looked at, and files that are changed.
const LOOKS: usize = 80;
const CHANGES: usize = 12;
const FSCK: &str = env!("CARGO_BIN_EXE_fsck_vexfs");

struct Start {
    base: Base,
    blocks: u64,
    /// Those that are not zero.
    content: Vec<(u64, Vec<u8>)>,
}

impl Start {
    fn new(name: &str) -> Self {
        let device: MemoryDevice = images::build(name);
        let mut content = Vec::new();
        for at in 0..device.blocks() {
            let mut block = vec![0; BLOCK_SIZE];
            device.read_blocks(at, &mut block).expect("reads");
            if block.iter().any(|byte| *byte != 0) {
                content.push((at, block));
            }
        }
        Self {
            base: Base::new(&device),
            blocks: device.blocks(),
            content,
        }
    }

    fn write(&self, path: &Path, patches: &[Patch]) {
        let file = File::create(path).expect("makes a file");
        file.set_len(self.blocks * BLOCK_SIZE as u64)
            .expect("sizes");
        for (at, block) in &self.content {
            let place = at * BLOCK_SIZE as u64;
            file.write_all_at(block, place).expect("writes");
        }
        for patch in patches {
            file.write_all_at(&patch.bytes, patch.offset)
                .expect("writes");
        }
    }
}

/// Ends the daemon if it does not end by itself in time: what waits for it then goes on, and the test fails.
struct Watch {
    over: std::sync::mpsc::Sender<()>,
    guard: thread::JoinHandle<bool>,
}

impl Watch {
    fn over(daemon: &Child) -> Self {
        let (over, told) = channel();
        let pid = Pid::from_child(daemon);
        let guard = thread::spawn(move || match told.recv_timeout(DEADLINE) {
            Err(RecvTimeoutError::Timeout) => {
                // The child has not been waited for, so the number is still its own.
                kill_process(pid, Signal::KILL).expect("is alive");
                true
            }
            _ => false,
        });
        Self { over, guard }
    }

    /// Whether the daemon had to be ended.
    fn end(self) -> bool {
        drop(self.over);
        self.guard.join().expect("no panic")
    }
}

fn read_some(path: &Path, size: u64) -> std::io::Result<()> {
    let file = File::open(path)?;
    let mut buffer = vec![0; 1 << 15];
    for at in [0, size / 2, size.saturating_sub(5000)] {
        let _ = file.read_at(&mut buffer, at);
    }
    let _ = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0));
    let _ = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0));
    Ok(())
}

/// Looks at everything within bounds, minds no error, and returns the regular files.
fn walk(root: &Path) -> Vec<PathBuf> {
    let (mut waiting, mut files, mut left) = (vec![root.to_owned()], Vec::new(), LOOKS);
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            if left == 0 {
                return files;
            }
            left -= 1;
            let path = entry.path();
            let mut names = [0_u8; 4096];
            let count = llistxattr(&path, &mut names[..]).unwrap_or(0);
            for name in names[..count].split(|byte| *byte == 0) {
                let _ = lgetxattr(&path, name, &mut [0_u8; 4096][..]);
            }
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            let kind = meta.file_type();
            if kind.is_dir() && path.components().count() < 16 {
                waiting.push(path);
            } else if kind.is_symlink() {
                let _ = fs::read_link(&path);
            } else if kind.is_file() {
                let _ = read_some(&path, meta.size());
                files.push(path);
            }
            // The others are never opened: a fifo would wait.
        }
    }
    files
}

fn write_some(path: &Path) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let size = file.metadata()?.size();
    let _ = file.write_all_at(&[7; 9000], size / 2);
    let _ = file.set_len(size / 3);
    let _ = fallocate(&file, FallocateFlags::empty(), 20_000, 30_000);
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let _ = fallocate(&file, hole, 4096, 30_000);
    file.sync_all()
}

/// A bit of every change; what is damaged may refuse it.
fn change(root: &Path, files: &[PathBuf]) {
    let _ = fs::create_dir(root.join("new-dir"));
    if let Ok(mut file) = File::create(root.join("new-dir/new")) {
        let _ = file.write_all(&[1; 20_000]);
    }
    let _ = symlink("u".repeat(300), root.join("new-link"));
    for (i, path) in files.iter().take(CHANGES).enumerate() {
        let _ = write_some(path);
        let _ = lsetxattr(path, "user.new", &[1; 300], XattrFlags::empty());
        let _ = match i % 3 {
            0 => fs::remove_file(path),
            1 => fs::rename(path, root.join(format!("moved-{i}"))),
            _ => fs::hard_link(path, root.join(format!("linked-{i}"))),
        };
    }
    for entry in fs::read_dir(root).into_iter().flatten().flatten().take(20) {
        let _ = fs::remove_dir(entry.path()).or_else(|_| fs::remove_file(entry.path()));
    }
}

fn fsck(what: &str, mode: &str, image: &Path) -> i32 {
    let mut check = Command::new(FSCK)
        .arg(mode)
        .arg(image)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("fsck starts");
    let began = Instant::now();
    loop {
        if let Some(status) = check.try_wait().expect("is my child") {
            let code = status.code();
            assert!(
                matches!(code, Some(0 | 1 | 4 | 8)),
                "{what}: fsck {mode} ended with {status}"
            );
            return code.unwrap_or_default();
        }
        if began.elapsed() > DEADLINE {
            check.kill().expect("is my child");
            check.wait().expect("is my child");
            panic!("{what}: fsck {mode} does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Mounts the image, uses it, and ends the daemon. Returns whether it could be mounted.
fn serve(what: &str, place: &Place, image: &Path, options: &str) -> bool {
    let path = place.beside("log");
    let mut daemon = Command::new(BINARY)
        .args(["-f", "-o", options, "--image"])
        .arg(image)
        .arg(&place.mountpoint)
        .stdin(Stdio::null())
        .stderr(File::create(&path).expect("a log"))
        .spawn()
        .expect("vexfs_fuse starts");
    let watch = Watch::over(&daemon);
    let refused: Option<ExitStatus> = eventually("mounted or refused", || {
        let ended = daemon.try_wait().expect("is my child");
        let is_mounted = mount_type(&place.mountpoint).is_some();
        (ended.is_some() || is_mounted).then_some(ended)
    });
    let is_mounted = refused.is_none();
    let status = refused.unwrap_or_else(|| {
        let files = walk(&place.mountpoint);
        change(&place.mountpoint, &files);
        kill_process(Pid::from_child(&daemon), Signal::TERM).expect("is alive");
        daemon.wait().expect("is my child")
    });
    let hung = watch.end();
    let log = fs::read_to_string(path).expect("a log");
    assert!(!hung, "{what}: the daemon hung\n{log}");
    assert_eq!(status.signal(), None, "{what}: {status}\n{log}");
    assert!(
        matches!(status.code(), Some(0 | 1)),
        "{what}: {status}\n{log}"
    );
    assert!(!log.contains("panicked"), "{what}:\n{log}");
    assert_eq!(mount_type(&place.mountpoint), None, "{what}");
    is_mounted
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn a_mount_of_a_mutated_image_neither_crashes_nor_hangs() {
    if !fuse_works() {
        return;
    }
    let starts = images::BASES.map(Start::new);
    let seeds = match number("MUTATION") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MOUNTED_MUTATIONS").unwrap_or(QUICK),
    };
    let (mut mounted, mut clean, mut repaired, mut all) = (0, 0, 0, 0);
    for seed in seeds {
        let which = seed as usize % starts.len();
        let what = format!("{} seed {seed}", images::BASES[which]);
        let place = Place::new();
        let image = place.beside("image");
        starts[which].write(&image, &starts[which].base.patches(seed));
        // Going on after each failure is the harder case.
        let options = match seed / starts.len() as u64 % 3 {
            0 => "errors=remount-ro",
            _ => "errors=continue",
        };
        mounted += u64::from(serve(&what, &place, &image, options));
        clean += u64::from(fsck(&what, "-n", &image) == 0);
        fsck(&what, "-y", &image);
        repaired += u64::from(fsck(&what, "-n", &image) == 0);
        all += 1;
    }
    println!("{all} images: {mounted} mounted, then {clean} clean, {repaired} after fsck -y");
    assert!(all == 1 || mounted > all / 4, "most could not be mounted");
}
