// SPDX-License-Identifier: Apache-2.0
//! A volume against a naive model: random operations give the same answers and the same tree, through remounts, with
//! fsck clean.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::naive::Model;
use crate::volumes::{OWNER, Op, apply, assert_clean, find, format, open, ops, whole};
use proptest::prelude::*;
use vexfs::disk::xattr::SetMode;
use vexfs::disk::{BlockDevice, Error};
use vexfs::{Ino, NewNode};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_the_model(ops in ops(300)) {
        let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
        let mut disk = open(&device).expect("opens");
        let mut model = Model::new();
        let mut held = Vec::new();
        let mut xattrs: BTreeMap<(Ino, u32), BTreeMap<Vec<u8>, Vec<u8>>> = BTreeMap::new();
        for op in &ops {
            let got = apply(&mut disk, op);
            prop_assert_eq!(got, model.apply(op).map_err(Error::from), "{:?}", op);
            match op {
                Op::Xattr(path, number, len) => {
                    let Ok(ino) = find(&disk, path) else { continue };
                    let key = (ino, disk.attr(ino).expect("exists").generation);
                    let name = format!("user.{}", "n".repeat(usize::from(*number) + 1)).into_bytes();
                    let all = xattrs.entry(key).or_default();
                    if len % 5 == 0 {
                        let removed = disk.remove_xattr(ino, &name).is_ok();
                        prop_assert_eq!(removed, all.remove(&name).is_some());
                    } else if disk.set_xattr(ino, &name, &vec![*number; *len], SetMode::Any).is_ok() {
                        all.insert(name, vec![*number; *len]);
                    }
                }
                Op::Hold(path) => {
                    let found = find(&disk, path).and_then(|ino| disk.remember(ino).map(|()| ino));
                    held.extend(found);
                }
                Op::LetGo => held.drain(..).for_each(|ino| disk.forget(ino, 1)),
                Op::Sync => {
                    disk.sync().expect("syncs");
                    assert_clean(&device);
                }
                Op::Remount => {
                    held.clear();
                    disk.close().expect("closes");
                    assert_clean(&device);
                    disk = open(&device).expect("opens again");
                }
                _ => {}
            }
        }
        prop_assert_eq!(whole(&mut disk), model.whole());
        for ((ino, generation), all) in xattrs {
            if disk.attr(ino).is_ok_and(|attr| attr.generation == generation) {
                let mut got = BTreeMap::new();
                for name in disk.list_xattr(ino).expect("lists") {
                    let value = disk.get_xattr(ino, &name).expect("is there");
                    got.insert(name, value);
                }
                prop_assert_eq!(got, all);
            }
        }
        disk.close().expect("closes");
        assert_clean(&device);
        let mut disk = open(&device).expect("opens again");
        prop_assert_eq!(whole(&mut disk), model.whole());
    }
}

#[test]
fn thousands_of_long_names_come_and_go() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(16_384));
    let mut disk = open(&device).expect("opens");
    let free = disk.space();
    let name = |i: usize| OsString::from(format!("{i:0>240}"));
    let dir = disk
        .make(Ino::ROOT, OsStr::new("d"), NewNode::Directory, 0o755, OWNER)
        .expect("makes")
        .ino;
    let file = disk
        .make(dir, &name(0), NewNode::Regular, 0o644, OWNER)
        .expect("makes")
        .ino;
    for i in 1..5000 {
        disk.link(file, dir, &name(i)).expect("links");
    }
    let size = disk.attr(dir).expect("exists").size;
    assert!(size > 254 * 4096, "an index of level 2: {size} bytes");
    // A listing in steps, with names that come and go meanwhile: those that stay are seen once.
    let (mut seen, mut after, mut step) = (Vec::new(), 0, 0);
    loop {
        let before = seen.len();
        disk.read_dir(dir, after, |entry| {
            seen.push(entry.name.to_owned());
            after = entry.cookie;
            if seen.len() - before == 100 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .expect("lists");
        if seen.len() == before {
            break;
        }
        disk.unlink(dir, &name(step * 5)).expect("unlinks");
        disk.link(file, dir, OsStr::new(&format!("new {step}")))
            .expect("links");
        step += 1;
    }
    for i in (0..5000).filter(|i| i % 5 != 0) {
        assert!(disk.lookup(dir, &name(i)).is_ok());
    }
    seen.sort();
    let stayed = |at: &&OsString| {
        at.to_str()
            .is_some_and(|at| at.len() == 240 && at.parse::<usize>().is_ok_and(|i| i % 5 != 0))
    };
    let once: Vec<&OsString> = seen.iter().filter(stayed).collect();
    assert_eq!(once.len(), 4000);
    assert!(once.windows(2).all(|pair| pair[0] < pair[1]));
    disk.close().expect("closes");
    assert_clean(&device);
    let mut disk = open(&device).expect("opens again");
    let mut names = Vec::new();
    disk.read_dir(dir, 2, |entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })
    .expect("lists");
    names
        .iter()
        .for_each(|name| disk.unlink(dir, name).expect("unlinks"));
    disk.rmdir(Ino::ROOT, OsStr::new("d")).expect("removes");
    disk.close().expect("closes");
    assert_clean(&device);
    let disk = open(&device).expect("opens again");
    let now = disk.space();
    assert_eq!(
        (now.free_blocks, now.free_inodes),
        (free.free_blocks, free.free_inodes)
    );
}
