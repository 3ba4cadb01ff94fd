// SPDX-License-Identifier: Apache-2.0
//! What several threads may ask of a volume at the same time: it changes nothing, and says so where it cannot.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::collections::{add, collection, make, nearest};
use crate::volumes::{format, open, options};
use vexfs::disk::vector::{Metric, Query};
use vexfs::disk::{BlockDevice, DiskVolume};
use vexfs::{AtimePolicy, Ino, NewNode};

fn listed(volume: &DiskVolume, dir: Ino) -> Option<usize> {
    let mut count = 0;
    let done = volume.read_dir_unnoted(dir, 0, |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    done.map(|done| done.map(|()| count).expect("lists"))
}

#[test]
fn a_read_waits_for_its_turn_only_where_it_has_to_note_the_time() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
    let mut volume = open(&device).expect("opens");
    let file = make(&mut volume, Ino::ROOT, "f", NewNode::Regular);
    volume.write(file, 0, b"hello").expect("writes");
    assert!(
        volume.read_unnoted(file, 0, 9).is_none(),
        "relatime: the first read after a change"
    );
    let before = volume.attr(file).expect("is there").atime;
    assert_eq!(volume.read_quietly(file, 0, 9).expect("reads"), b"hello");
    assert_eq!(
        volume.attr(file).expect("is there").atime,
        before,
        "O_NOATIME"
    );
    assert_eq!(volume.read(file, 0, 9).expect("reads"), b"hello");
    let again = volume.read_unnoted(file, 1, 9).expect("nothing to note");
    assert_eq!(again.expect("reads"), b"ello");

    let root = Ino::ROOT;
    assert_eq!(listed(&volume, root), None);
    volume
        .read_dir(root, 0, |_| ControlFlow::Continue(()))
        .expect("lists");
    assert_eq!(listed(&volume, root), Some(3), "., .. and f");
    volume.write(file, 0, b"j").expect("writes");
    assert!(volume.read_unnoted(file, 0, 9).is_none(), "changed since");
    volume.unlink(root, OsStr::new("f")).expect("unlinks");
    let gone = volume
        .read_unnoted(file, 0, 9)
        .expect("an error is an answer");
    gone.expect_err("nobody remembers the file");
}

#[test]
fn without_access_times_no_read_waits() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
    let mut volume = DiskVolume::open(device, options(), AtimePolicy::Never).expect("opens");
    let file = make(&mut volume, Ino::ROOT, "f", NewNode::Regular);
    volume.write(file, 0, b"hello").expect("writes");
    let read = volume.read_unnoted(file, 0, 9).expect("nothing to note");
    assert_eq!(read.expect("reads"), b"hello");
}

#[test]
fn a_search_beside_others_finds_what_a_search_alone_does_once_the_collection_is_loaded() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
    let mut volume = open(&device).expect("opens");
    let dir = collection(&mut volume, "c", 2, Metric::L2);
    for id in 0..40 {
        add(&mut volume, dir, id, &[id as f32, 1.0]);
    }
    volume.close().expect("closes");
    let mut volume = open(&device).expect("opens");
    let vector = [7.2, 1.0];
    let query = Query {
        vector: &vector,
        k: 5,
        after: None,
    };
    assert!(
        volume.search_ready(dir, query).is_none(),
        "it has to be loaded first"
    );
    let alone = nearest(&mut volume, dir, &vector, 5);
    let (beside, scanned) = volume
        .search_ready(dir, query)
        .expect("is loaded")
        .expect("searches");
    let beside: Vec<(u32, f64)> = beside
        .iter()
        .map(|found| (found.ino, found.distance))
        .collect();
    assert_eq!((beside, scanned), (alone, 40));
    volume.unlink(dir, OsStr::new("7")).expect("unlinks");
    let (left, scanned) = volume
        .search_ready(dir, query)
        .expect("is loaded")
        .expect("searches");
    assert!(
        (left[0].distance - 0.64).abs() < 1e-5,
        "8 is the nearest now"
    );
    assert_eq!(scanned, 39);
    let short = Query {
        vector: &vector[..1],
        ..query
    };
    volume
        .search_ready(dir, short)
        .expect("is loaded")
        .expect_err("another dimension");
}

#[test]
fn a_collection_is_loaded_beside_others_and_kept_only_unchanged() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
    let mut volume = open(&device).expect("opens");
    let dir = collection(&mut volume, "c", 2, Metric::L2);
    for id in 0..40 {
        add(&mut volume, dir, id, &[id as f32, 1.0]);
    }
    volume.close().expect("closes");
    let mut volume = open(&device).expect("opens");
    let query = Query {
        vector: &[7.2, 1.0],
        k: 1,
        after: None,
    };
    let load = |volume: &DiskVolume| volume.load_collection(dir).expect("reads");
    for change in ["unlink", "add", "remove"] {
        let old = load(&volume).expect("is not loaded");
        match change {
            "unlink" => volume.unlink(dir, OsStr::new("7")).expect("unlinks"),
            "add" => drop(add(&mut volume, dir, 7, &[7.1, 1.0])),
            _ => {
                let nearest = volume.lookup(dir, OsStr::new("7")).expect("is there").ino;
                volume.vector_remove(dir, &[nearest.0]).expect("removes");
            }
        }
        assert!(!volume.keep_collection(old), "changed by {change}");
        assert!(volume.search_ready(dir, query).is_none());
        // Loaded anew each time: the volume is opened again.
        volume.close().expect("closes");
        volume = open(&device).expect("opens");
    }
    let loaded = load(&volume).expect("is not loaded");
    assert!(volume.keep_collection(loaded));
    assert!(load(&volume).is_none(), "it is ready");
    let ready = volume.search_ready(dir, query).expect("is ready");
    let (found, scanned) = ready.expect("searches");
    assert_eq!(scanned, 39);
    assert!((found[0].distance - 0.64).abs() < 1e-5, "8 is the nearest");
}
