// SPDX-License-Identifier: Apache-2.0
//! The file system as programs see it: through the kernel, on a real mount.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use crate::common::{self, Mounted, fuse_works, mount_type};
use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with, statvfs};
use rustix::io::Errno;

const PAGE: u64 = vexfs::disk::BLOCK_SIZE as u64;
const NOBODY: u32 = 65534;

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .expect("lists")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("stats").mode() & 0o7777
}

/// The kernel tells the daemon of the last close and of forgotten inodes in its own time.
fn free_blocks_become(mounted: &Mounted, blocks: u64) {
    common::eventually("space is free again", || {
        (statvfs(mounted.root()).expect("statvfs").f_bfree == blocks).then_some(())
    });
}

#[test]
fn files_and_names() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=16m");
    assert_eq!(mount_type(mounted.root()).as_deref(), Some("fuse.vexfs"));
    let (a, b, dir) = (mounted.path("a"), mounted.path("b"), mounted.path("dir"));

    let data: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    fs::write(&a, &data).expect("writes");
    assert_eq!(fs::read(&a).expect("reads"), data);
    let file = File::options().append(true).open(&a).expect("opens");
    (&file).write_all(b"end").expect("appends");
    file.sync_all().expect("syncs");
    drop(file);
    assert_eq!(fs::metadata(&a).expect("stats").len(), 300_003);
    File::options()
        .write(true)
        .truncate(true)
        .open(&a)
        .expect("truncates");
    assert_eq!(fs::metadata(&a).expect("stats").len(), 0);

    fs::write(&a, "A").expect("writes");
    fs::write(&b, "B").expect("writes");
    fs::create_dir(&dir).expect("makes a directory");
    assert_eq!(fs::metadata(mounted.root()).expect("stats").nlink(), 3);
    let refused = renameat_with(CWD, &a, CWD, &b, RenameFlags::NOREPLACE);
    assert_eq!(refused, Err(Errno::EXIST));
    renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).expect("exchanges");
    assert_eq!(fs::read(&a).expect("reads"), b"B");
    fs::rename(&a, dir.join("moved")).expect("renames");
    assert_eq!(fs::read(dir.join("moved")).expect("reads"), b"B");
    let error = fs::remove_dir(&dir).expect_err("is not empty");
    assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
    let error = fs::rename(&dir, dir.join("in itself")).expect_err("impossible");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    symlink("dir/moved", mounted.path("s")).expect("links");
    assert_eq!(
        fs::read_link(mounted.path("s")).expect("reads"),
        Path::new("dir/moved")
    );
    assert_eq!(fs::read(mounted.path("s")).expect("follows"), b"B");
    fs::hard_link(&b, mounted.path("b2")).expect("links");
    assert_eq!(fs::metadata(&b).expect("stats").nlink(), 2);
    fs::remove_file(&b).expect("unlinks");
    assert_eq!(fs::metadata(mounted.path("b2")).expect("stats").nlink(), 1);
    assert_eq!(
        names(mounted.root()),
        ["b2", "dir", "s"].map(str::to_owned).into()
    );
    let long = mounted.path(&"n".repeat(256));
    assert_eq!(
        File::create(long).expect_err("too long").raw_os_error(),
        Some(36)
    );
    mounted.stop();
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=4m");
    let path = mounted.path("f");
    let free = statvfs(mounted.root()).expect("statvfs").f_bfree;
    fs::write(&path, vec![1; 10 * PAGE as usize]).expect("writes");
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .expect("opens");
    fs::remove_file(&path).expect("unlinks");
    assert_eq!(file.metadata().expect("stats").nlink(), 0);
    file.write_all_at(b"more", 0).expect("writes");
    let mut text = Vec::new();
    file.read_to_end(&mut text).expect("reads");
    assert_eq!(&text[..5], b"more\x01");
    assert_eq!(statvfs(mounted.root()).expect("statvfs").f_bfree, free - 10);
    drop(file);
    free_blocks_become(&mounted, free);
    mounted.stop();
}

#[test]
fn space_is_counted_and_ends() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=4m");
    let space = statvfs(mounted.root()).expect("statvfs");
    let (blocks, inodes) = (space.f_bfree, space.f_ffree);
    assert_eq!((space.f_frsize, space.f_bavail), (PAGE, blocks));
    assert!((600..1024).contains(&blocks), "most of 4 MiB: {blocks}");
    assert_eq!((space.f_files, space.f_namemax), (inodes + 1, 255));

    let path = mounted.path("big");
    let error = fs::write(&path, vec![7; 4 << 20]).expect_err("does not fit");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let meta = fs::metadata(&path).expect("stats");
    assert_eq!((meta.len(), meta.blocks()), (blocks * PAGE, blocks * 8));
    assert!(
        fs::read(&path)
            .expect("reads")
            .iter()
            .all(|byte| *byte == 7)
    );
    assert_eq!(statvfs(mounted.root()).expect("statvfs").f_bfree, 0);

    File::options()
        .write(true)
        .open(&path)
        .expect("opens")
        .set_len(PAGE)
        .expect("shrinks");
    assert_eq!(
        statvfs(mounted.root()).expect("statvfs").f_bfree,
        blocks - 1
    );
    fs::remove_file(&path).expect("unlinks");
    free_blocks_become(&mounted, blocks);

    let error = (0..=inodes)
        .find_map(|i| File::create(mounted.path(&i.to_string())).err())
        .expect("inodes end");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(names(mounted.root()).len() as u64, inodes);
    mounted.stop();
}

#[test]
fn holes_hold_nothing_and_are_found() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=4m");
    let mut file = File::create_new(mounted.path("sparse")).expect("creates");
    file.seek(SeekFrom::Start(1 << 40)).expect("seeks");
    file.write_all(b"far").expect("writes");
    let meta = file.metadata().expect("stats");
    assert_eq!((meta.len(), meta.blocks()), ((1 << 40) + 3, 8));
    let seek = |from| rustix::fs::seek(&file, from);
    assert_eq!(seek(rustix::fs::SeekFrom::Data(0)), Ok(1 << 40));
    assert_eq!(seek(rustix::fs::SeekFrom::Hole(0)), Ok(0));
    assert_eq!(seek(rustix::fs::SeekFrom::Data(1 << 41)), Err(Errno::NXIO));
    drop(file);
    mounted.stop();
}

#[test]
fn a_listing_survives_changes_under_it() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=64m");
    let stay: BTreeSet<_> = (0..1000).map(|i| format!("stays-{i:04}")).collect();
    for (i, name) in stay.iter().enumerate() {
        File::create(mounted.path(name)).expect("creates");
        File::create(mounted.path(&format!("goes-{i:04}"))).expect("creates");
    }
    let mut seen = Vec::new();
    for (i, entry) in fs::read_dir(mounted.root()).expect("lists").enumerate() {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8");
        if name.starts_with("stays") {
            seen.push(name);
        }
        // Entries before and behind the cursor go, others come.
        let _ = fs::remove_file(mounted.path(&format!("goes-{:04}", (i * 7) % 1000)));
        if i < 500 {
            File::create(mounted.path(&format!("comes-{i}"))).expect("creates");
        }
    }
    assert_eq!(seen.len(), 1000, "none twice, none missing");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), stay);
    mounted.stop();
}

#[test]
fn attributes_and_times() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=4m");
    let path = mounted.path("f");
    fs::write(&path, "x").expect("writes");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("chmods");
    assert_eq!(mode(&path), 0o640);

    let file = File::options().write(true).open(&path).expect("opens");
    for time in [
        UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789),
        UNIX_EPOCH - Duration::new(5, 250_000_000),
        UNIX_EPOCH - Duration::new(5, 0),
    ] {
        file.set_modified(time).expect("sets the time");
        let shown = fs::metadata(&path).expect("stats").modified();
        assert_eq!(shown.expect("has one"), time);
    }
    let before = fs::metadata(&path).expect("stats");
    (&file).write_all(b"y").expect("writes");
    let after = fs::metadata(&path).expect("stats");
    assert!(after.modified().expect("has one") > before.modified().expect("has one"));
    assert!((after.ctime(), after.ctime_nsec()) > (before.ctime(), before.ctime_nsec()));
    drop(file);
    mounted.stop();
}

#[test]
fn the_kernel_checks_permissions_and_drops_setuid() {
    if !fuse_works() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return common::skip("needs root to become somebody else");
    }
    let mounted = Mounted::with_options("size=4m,allow_other");
    let nobody = |script: &str| {
        Command::new("sh")
            .args(["-c", script])
            .uid(NOBODY)
            .gid(NOBODY)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("sh runs")
            .success()
    };
    let secret = mounted.path("secret");
    // The temporary directory above is closed to others.
    let above = mounted.root().parent().expect("has one");
    fs::set_permissions(above, PermissionsExt::from_mode(0o755)).expect("chmods");
    fs::write(&secret, "s").expect("writes");
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("chmods");
    let shown = secret.display();
    assert!(!nobody(&format!("cat {shown}")));
    assert!(!nobody(&format!("touch {}/new", mounted.root().display())));
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o6777)).expect("chmods");
    assert!(nobody(&format!("cat {shown}")));
    assert_eq!(mode(&secret), 0o6777);
    assert!(nobody(&format!("echo x >> {shown}")));
    assert_eq!(mode(&secret), 0o777, "a write drops setuid and setgid");

    fs::set_permissions(&secret, PermissionsExt::from_mode(0o4755)).expect("chmods");
    chown(&secret, Some(NOBODY), None).expect("chowns");
    assert_eq!(mode(&secret), 0o755, "a change of owner drops setuid");
    assert_eq!(fs::metadata(&secret).expect("stats").uid(), NOBODY);

    let dir = mounted.path("team");
    fs::create_dir(&dir).expect("makes a directory");
    chown(&dir, None, Some(4242)).expect("chowns");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o2775)).expect("chmods");
    fs::create_dir(dir.join("sub")).expect("makes a directory");
    assert_eq!(fs::metadata(dir.join("sub")).expect("stats").gid(), 4242);
    assert_eq!(mode(&dir.join("sub")) & 0o2000, 0o2000);
    mounted.stop();
}

#[test]
fn what_is_not_supported_says_so() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=4m");
    let path = mounted.path("f");
    let file = File::create(&path).expect("creates");
    let collapsed = fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, PAGE);
    assert_eq!(collapsed, Err(Errno::OPNOTSUPP));
    drop(file);
    let set = rustix::fs::setxattr(&path, "system.a", b"1", rustix::fs::XattrFlags::empty());
    assert_eq!(set, Err(Errno::OPNOTSUPP));
    // The kernel copies by itself where the file system cannot.
    fs::write(&path, "copy me").expect("writes");
    assert_eq!(fs::copy(&path, mounted.path("g")).expect("copies"), 7);
    mounted.stop();
}

#[test]
fn a_volume_in_memory_is_a_whole_one() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=4m");
    let path = mounted.path("f");
    let free = statvfs(mounted.root()).expect("statvfs").f_bfree;
    let file = File::create(&path).expect("creates");
    fallocate(&file, FallocateFlags::empty(), 0, 10 * PAGE).expect("reserves");
    assert_eq!(file.metadata().expect("stats").len(), 10 * PAGE);
    assert_eq!(statvfs(mounted.root()).expect("statvfs").f_bfree, free - 10);
    file.write_all_at(&[5; 3 * PAGE as usize], 0)
        .expect("writes");
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, hole, PAGE, PAGE).expect("punches");
    let text = fs::read(&path).expect("reads");
    let expected = [[5; PAGE as usize], [0; PAGE as usize], [5; PAGE as usize]].concat();
    assert_eq!(text[..expected.len()], expected);
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&path, "user.a", b"1", flags).expect("sets");
    let mut value = [0_u8; 8];
    assert_eq!(rustix::fs::getxattr(&path, "user.a", &mut value[..]), Ok(1));
    assert_eq!(value[0], b'1');
    file.sync_all().expect("syncs");
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(fs::metadata(mounted.root()).expect("stats").uid(), uid);
    drop(file);
    mounted.stop();
}

#[test]
fn read_only_is_read_only() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("ro,size=4m");
    let error = File::create(mounted.path("f")).expect_err("read-only");
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    mounted.stop();
}

#[test]
fn special_files_and_odd_names() {
    if !fuse_works() {
        return;
    }
    let mounted = Mounted::with_options("size=4m");
    let fifo = mounted.path("fifo");
    rustix::fs::mknodat(
        CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("makes a pipe");
    let kind = fs::symlink_metadata(&fifo).expect("stats").mode() & 0o170_000;
    assert_eq!(kind, 0o010_000);
    std::os::unix::net::UnixListener::bind(mounted.path("socket")).expect("binds");

    let odd = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff \n\\");
    fs::write(mounted.root().join(odd), "odd").expect("writes");
    let found = fs::read_dir(mounted.root())
        .expect("lists")
        .any(|entry| entry.expect("an entry").file_name() == odd);
    assert!(found);
    mounted.stop();
}
