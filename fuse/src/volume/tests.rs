// SPDX-License-Identifier: Apache-2.0
//! Single facts about a volume. The model test in `tests/model.rs` covers sequences.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::types::{NewNode, RenameMode};

const OWNER: Owner = Owner { uid: 10, gid: 20 };
const ROOT: Ino = Ino::ROOT;

fn volume(pages: u64) -> MemoryVolume {
    let limits = Limits {
        bytes: pages * PAGE_SIZE as u64,
        inodes: 8,
    };
    MemoryVolume::new(limits, OWNER, AtimePolicy::Relative)
}

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn file(volume: &mut MemoryVolume, at: &str) -> Ino {
    let made = volume.make(ROOT, name(at), NewNode::Regular, 0o644, OWNER);
    made.expect("makes a file").ino
}

fn dir(volume: &mut MemoryVolume, parent: Ino, at: &str) -> Ino {
    let made = volume.make(parent, name(at), NewNode::Directory, 0o755, OWNER);
    made.expect("makes a directory").ino
}

fn listing(
    volume: &mut MemoryVolume,
    handle: Handle,
    after: u64,
    most: usize,
) -> Vec<(u64, String)> {
    let mut seen = Vec::new();
    let listed = volume.read_dir(handle, after, |entry| {
        if seen.len() == most {
            return ControlFlow::Break(());
        }
        seen.push((entry.cookie, entry.name.to_string_lossy().into_owned()));
        ControlFlow::Continue(())
    });
    listed.expect("lists");
    seen
}

#[test]
fn an_inode_lives_until_its_last_name_handle_and_memory_are_gone() {
    let mut volume = volume(4);
    let ino = file(&mut volume, "f");
    volume.remember(ino).expect("exists");
    let handle = volume.open(ino).expect("opens");
    assert_eq!(volume.write(handle, 0, &[1; 5000]), Ok(5000));
    volume.unlink(ROOT, name("f")).expect("unlinks");
    assert_eq!(volume.attr(ino).map(|attr| attr.nlink), Ok(0));
    assert_eq!(volume.read(handle, 4999, 10), Ok(vec![1]));
    volume.release(handle).expect("closes");
    assert_eq!(volume.space().free_blocks, 2);
    assert_eq!(volume.link(ino, ROOT, name("back")), Err(Error::NotFound));
    volume.forget(ino, 1);
    assert_eq!(volume.attr(ino), Err(Error::Stale));
    assert_eq!(
        (volume.space().free_blocks, volume.space().free_inodes),
        (4, 7)
    );
    assert_eq!(volume.release(handle), Err(Error::BadHandle));
}

#[test]
fn a_full_volume_writes_what_fits_and_then_nothing() {
    let mut volume = volume(2);
    let ino = file(&mut volume, "f");
    let handle = volume.open(ino).expect("opens");
    assert_eq!(volume.write(handle, 0, &[1; 10_000]), Ok(8192));
    let before = volume.attr(ino);
    assert_eq!(volume.write(handle, 8192, b"x"), Err(Error::NoSpace));
    assert_eq!(volume.attr(ino), before, "a failed write changes nothing");
    assert_eq!(volume.write(handle, 0, b"over"), Ok(4));
    let beyond = volume.write(handle, MAX_FILE_SIZE, b"x");
    assert_eq!(beyond, Err(Error::FileTooLarge));
    assert_eq!(
        volume.write(handle, u64::MAX, b"x"),
        Err(Error::FileTooLarge)
    );
}

#[test]
fn inodes_run_out() {
    let mut volume = volume(1);
    for i in 0..7 {
        file(&mut volume, &i.to_string());
    }
    let made = volume.make(ROOT, name("x"), NewNode::Fifo, 0, OWNER);
    assert_eq!(made, Err(Error::NoSpace));
    assert_eq!(volume.lookup(ROOT, name("x")), Err(Error::NotFound));
}

#[test]
fn a_listing_continues_where_it_was_in_spite_of_changes() {
    let mut volume = volume(1);
    for at in ["c", "a", "b", "d"] {
        file(&mut volume, at);
    }
    let handle = volume.open_dir(ROOT).expect("opens");
    let first = listing(&mut volume, handle, 0, 4);
    assert_eq!(
        first.iter().map(|(_, at)| at.as_str()).collect::<Vec<_>>(),
        [".", "..", "c", "a"]
    );
    volume.unlink(ROOT, name("a")).expect("unlinks");
    volume.unlink(ROOT, name("b")).expect("unlinks");
    file(&mut volume, "aa");
    let rest = listing(&mut volume, handle, first[3].0, 9);
    assert_eq!(
        rest.iter().map(|(_, at)| at.as_str()).collect::<Vec<_>>(),
        ["d", "aa"]
    );
    assert_eq!(listing(&mut volume, handle, u64::MAX, 9), []);
}

#[test]
fn a_removed_directory_takes_nothing_in() {
    let mut volume = volume(1);
    let outer = dir(&mut volume, ROOT, "outer");
    let inner = dir(&mut volume, outer, "inner");
    let handle = volume.open_dir(inner).expect("opens");
    volume.rmdir(outer, name("inner")).expect("removes");
    volume.rmdir(ROOT, name("outer")).expect("removes");
    let made = volume.make(inner, name("x"), NewNode::Regular, 0, OWNER);
    assert_eq!(made, Err(Error::NotFound));
    file(&mut volume, "f");
    let moved = volume.rename(ROOT, name("f"), inner, name("f"), RenameMode::Replace);
    assert_eq!(moved, Err(Error::NotFound));
    // Its parent is gone for good.
    assert_eq!(listing(&mut volume, handle, 0, 9).len(), 2);
}

#[test]
fn a_directory_does_not_move_into_itself() {
    let mut volume = volume(1);
    let a = dir(&mut volume, ROOT, "a");
    let b = dir(&mut volume, a, "b");
    for (parent, at) in [(a, "x"), (b, "x")] {
        let moved = volume.rename(ROOT, name("a"), parent, name(at), RenameMode::Replace);
        assert_eq!(moved, Err(Error::InvalidArgument));
    }
    let swapped = volume.rename(a, name("b"), ROOT, name("a"), RenameMode::Exchange);
    assert_eq!(swapped, Err(Error::InvalidArgument));
}

#[test]
fn exchange_keeps_link_counts_right() {
    let mut volume = volume(1);
    let a = dir(&mut volume, ROOT, "a");
    let b = dir(&mut volume, a, "b");
    let f = file(&mut volume, "f");
    let swap = volume.rename(a, name("b"), ROOT, name("f"), RenameMode::Exchange);
    assert_eq!(swap, Ok(()));
    assert_eq!(volume.attr(a).map(|attr| attr.nlink), Ok(2));
    assert_eq!(volume.attr(ROOT).map(|attr| attr.nlink), Ok(4));
    assert_eq!(volume.lookup(ROOT, name("f")).map(|attr| attr.ino), Ok(b));
    assert_eq!(volume.lookup(a, name("b")).map(|attr| attr.ino), Ok(f));
    let handle = volume.open_dir(b).expect("opens");
    let mut parent = None;
    let listed = volume.read_dir(handle, 1, |entry| {
        parent = Some(entry.ino);
        ControlFlow::Break(())
    });
    assert_eq!((listed, parent), (Ok(()), Some(ROOT)), "`..` follows");
}

#[test]
fn names_are_checked() {
    let mut volume = volume(1);
    for (at, error) in [
        ("", Error::InvalidArgument),
        (".", Error::InvalidArgument),
        ("..", Error::InvalidArgument),
        ("a/b", Error::InvalidArgument),
        ("a\0b", Error::InvalidArgument),
        (&"n".repeat(256), Error::NameTooLong),
    ] {
        let made = volume.make(ROOT, name(at), NewNode::Regular, 0, OWNER);
        assert_eq!(made, Err(error), "{at:?}");
    }
    file(&mut volume, &"n".repeat(255));
    for (target, error) in [
        (String::new(), Error::NotFound),
        ("t".repeat(MAX_SYMLINK + 1), Error::NameTooLong),
    ] {
        let made = volume.make(ROOT, name("s"), NewNode::Symlink(target.into()), 0, OWNER);
        assert_eq!(made, Err(error));
    }
}

#[test]
fn links_are_limited() {
    let mut volume = volume(1);
    let ino = file(&mut volume, "0");
    for i in 1..MAX_LINKS {
        let linked = volume.link(ino, ROOT, name(&i.to_string()));
        assert_eq!(linked.map(|attr| attr.nlink), Ok(i + 1));
    }
    assert_eq!(volume.link(ino, ROOT, name("x")), Err(Error::TooManyLinks));
    assert_eq!(volume.lookup(ROOT, name("x")), Err(Error::NotFound));
}

#[test]
fn a_setgid_directory_passes_its_group_on() {
    let mut volume = volume(1);
    let team = dir(&mut volume, ROOT, "team");
    let change = AttrChange {
        perm: Some(0o2775),
        gid: Some(99),
        ..AttrChange::default()
    };
    volume.set_attr(team, &change).expect("changes");
    let sub = volume.make(team, name("d"), NewNode::Directory, 0o755, OWNER);
    assert_eq!(sub.map(|attr| (attr.gid, attr.perm)), Ok((99, 0o2755)));
    let file = volume.make(team, name("f"), NewNode::Regular, 0o644, OWNER);
    assert_eq!(file.map(|attr| (attr.gid, attr.perm)), Ok((99, 0o644)));
}

#[test]
fn times_follow_the_operations() {
    let seconds = Arc::new(AtomicU64::new(100));
    let clock = {
        let seconds = Arc::clone(&seconds);
        move || UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::Relaxed))
    };
    let limits = Limits::of_bytes(1 << 20);
    let mut volume =
        MemoryVolume::with_clock(limits, OWNER, AtimePolicy::Relative, Box::new(clock));
    let ino = file(&mut volume, "f");
    let handle = volume.open(ino).expect("opens");
    let at = |time| seconds.store(time, Ordering::Relaxed);
    let times = |volume: &MemoryVolume, ino| {
        let attr: Attr = volume.attr(ino).expect("exists");
        [attr.atime, attr.mtime, attr.ctime]
            .map(|time| time.duration_since(UNIX_EPOCH).expect("later").as_secs())
    };
    at(200);
    assert_eq!(volume.write(handle, 0, b"x"), Ok(1));
    assert_eq!(times(&volume, ino), [100, 200, 200]);
    at(300);
    assert_eq!(volume.read(handle, 0, 1), Ok(vec![b'x']));
    assert_eq!(times(&volume, ino), [300, 200, 200]);
    at(400);
    assert_eq!(volume.read(handle, 0, 1), Ok(vec![b'x']));
    assert_eq!(
        times(&volume, ino),
        [300, 200, 200],
        "relative: once is enough"
    );
    at(500);
    volume.link(ino, ROOT, name("g")).expect("links");
    assert_eq!(times(&volume, ino), [300, 200, 500]);
    assert_eq!(times(&volume, ROOT), [100, 500, 500]);
    at(100_000);
    volume.read(handle, 0, 1).expect("reads");
    assert_eq!(times(&volume, ino), [100_000, 200, 500], "a day later");
    at(100_001);
    let past = AttrChange {
        size: Some(0),
        mtime: Some(TimeChange::At(UNIX_EPOCH)),
        ..AttrChange::default()
    };
    volume.set_attr(ino, &past).expect("changes");
    assert_eq!(times(&volume, ino), [100_000, 0, 100_001]);
    volume
        .rename(ROOT, name("g"), ROOT, name("h"), RenameMode::Replace)
        .expect("renames");
    assert_eq!(times(&volume, ROOT)[1..], [100_001, 100_001]);
}

#[test]
fn what_fits_no_directory_is_refused() {
    let mut volume = volume(1);
    let f = file(&mut volume, "f");
    let d = dir(&mut volume, ROOT, "d");
    assert_eq!(volume.lookup(f, name("x")), Err(Error::NotADirectory));
    assert_eq!(volume.rmdir(ROOT, name("f")), Err(Error::NotADirectory));
    assert_eq!(volume.unlink(ROOT, name("d")), Err(Error::IsADirectory));
    assert_eq!(volume.link(d, ROOT, name("e")), Err(Error::NotPermitted));
    assert_eq!(volume.open_dir(f), Err(Error::NotADirectory));
    assert_eq!(volume.read_link(f), Err(Error::InvalidArgument));
    let handle = volume.open_dir(d).expect("opens");
    assert_eq!(volume.write(handle, 0, b"x"), Err(Error::IsADirectory));
    assert_eq!(volume.read(handle, 0, 1), Err(Error::IsADirectory));
    let size = AttrChange {
        size: Some(0),
        ..AttrChange::default()
    };
    assert_eq!(volume.set_attr(d, &size), Err(Error::IsADirectory));
    assert_eq!(volume.attr(Ino(999)), Err(Error::Stale));
}
