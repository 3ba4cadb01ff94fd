// SPDX-License-Identifier: Apache-2.0
//! Vector collections of a volume on a device: what each operation gives and refuses, through remounts, with fsck clean.

use std::ffi::OsStr;
use std::sync::Arc;

use crate::collections::{ADD, add, collection, make, nearest};
use crate::volumes::{Dice, OWNER, assert_clean, format, open, options};
use rustix::io::Errno;
use vexfs::disk::vector::{Metric, Query, distance};
use vexfs::disk::volume::{Add, Keys};
use vexfs::disk::{BlockDevice, DiskVolume, Error, OpenOptions};
use vexfs::{AtimePolicy, Ino, NewNode, Owner, RenameMode};

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> Errno {
    Errno::from_raw_os_error(result.expect_err("is refused").errno())
}

#[test]
fn vectors_survive_a_remount_and_go_with_their_files() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
    let mut volume = open(&device).expect("opens");
    let dir = collection(&mut volume, "c", 3, Metric::L2);
    let a = add(&mut volume, dir, 10, &[1.0, 2.0, 3.0]);
    let b = add(&mut volume, dir, 20, &[4.0, 5.0, 6.0]);
    let again = add(&mut volume, dir, 10, &[1.0, 2.0, 4.0]);
    assert_eq!(again, a, "an id names the same file again");
    assert_eq!(
        nearest(&mut volume, dir, &[1.0, 2.0, 3.0], 5),
        [(a, 1.0), (b, 27.0)]
    );
    volume.close().expect("closes");
    assert_clean(&device);

    let mut volume = open(&device).expect("opens a volume with a collection for writing");
    assert_eq!(
        volume.vector(dir, a.into()).expect("reads"),
        [1.0, 2.0, 4.0]
    );
    let found = volume.lookup(dir, OsStr::new("20")).expect("has a name");
    assert_eq!((found.ino.0, found.perm), (b.into(), 0o640));
    assert_eq!((found.uid, found.gid), (OWNER.uid, OWNER.gid));
    volume.remember(found.ino).expect("is there");
    volume.unlink(dir, OsStr::new("20")).expect("unlinks");
    assert_eq!(
        nearest(&mut volume, dir, &[9.0; 3], 5).len(),
        1,
        "gone though still open"
    );
    assert_eq!(errno(volume.vector(dir, b.into())), Errno::NOENT);
    volume.forget(found.ino, 1);
    let done = volume.vector_remove(dir, &[a.into()]).expect("removes");
    assert_eq!(done.inodes, [a]);
    assert_eq!(errno(volume.vector(dir, a.into())), Errno::NODATA);
    assert_eq!(errno(volume.vector_remove(dir, &[a.into()])), Errno::NODATA);
    assert_eq!(nearest(&mut volume, dir, &[9.0; 3], 5), []);
    assert_eq!(volume.collection(dir).expect("is one").live, 0);
    volume.sync().expect("syncs");
    assert_clean(&device);
    volume.unlink(dir, OsStr::new("10")).expect("unlinks");
    let free = volume.space().free_inodes;
    volume.rmdir(Ino::ROOT, OsStr::new("c")).expect("removes");
    assert_eq!(
        volume.space().free_inodes,
        free + 2,
        "the store goes with the directory"
    );
    volume.close().expect("closes");
    assert_clean(&device);
}

#[test]
fn what_makes_no_sense_is_refused_by_its_errno() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
    let mut volume = open(&device).expect("opens");
    let dir = make(&mut volume, Ino::ROOT, "c", NewNode::Directory);
    let metric = Metric::Cosine;
    for dimension in [0, 2049, 70_000] {
        assert_eq!(
            errno(volume.collection_create(dir, dimension, metric)),
            Errno::INVAL
        );
    }
    let query = |vector: &'static [f32], k| Query {
        vector,
        k,
        after: None,
    };
    assert_eq!(
        errno(volume.search(dir, query(&[1.0; 2], 1))),
        Errno::MEDIUMTYPE
    );
    assert_eq!(errno(volume.collection(dir)), Errno::MEDIUMTYPE);
    let file = make(&mut volume, dir, "x", NewNode::Regular);
    assert_eq!(
        errno(volume.collection_create(dir, 2, metric)),
        Errno::NOTEMPTY
    );
    assert_eq!(
        errno(volume.collection_create(file, 2, metric)),
        Errno::NOTDIR
    );
    volume.unlink(dir, OsStr::new("x")).expect("unlinks");
    volume
        .collection_create(dir, 2, metric)
        .expect("becomes a collection");
    assert_eq!(
        errno(volume.collection_create(dir, 2, metric)),
        Errno::EXIST
    );

    for (vector, k) in [
        (&[1.0_f32; 3][..], 1),
        (&[1.0; 1], 1),
        (&[1.0; 2], 0),
        (&[1.0; 2], 1017),
        (&[f32::NAN, 1.0], 1),
    ] {
        assert_eq!(errno(volume.search(dir, query(vector, k))), Errno::INVAL);
    }
    make(&mut volume, dir, "1", NewNode::Directory);
    make(&mut volume, dir, "2", NewNode::Fifo);
    let outside = make(&mut volume, Ino::ROOT, "out", NewNode::Regular);
    let member = make(&mut volume, dir, "3", NewNode::Regular);
    let mut set = |keys, key, vector: &[f32]| volume.vector_set(dir, keys, &[(key, vector)]);
    let ids = Keys::Ids(ADD);
    assert_eq!(errno(set(ids, 1, &[1.0, 2.0])), Errno::ISDIR);
    assert_eq!(errno(set(ids, 2, &[1.0, 2.0])), Errno::INVAL);
    assert_eq!(errno(set(ids, 4, &[1.0, f32::INFINITY])), Errno::INVAL);
    assert_eq!(errno(set(ids, 4, &[1.0])), Errno::INVAL);
    let exclusive = Keys::Ids(Add {
        exclusive: true,
        ..ADD
    });
    assert_eq!(errno(set(exclusive, 3, &[1.0, 2.0])), Errno::EXIST);
    for stranger in [0, dir.0, outside.0, 999_999, u64::MAX] {
        assert_eq!(
            errno(set(Keys::Inodes, stranger, &[1.0, 2.0])),
            Errno::NOENT
        );
    }
    set(Keys::Inodes, member.0, &[1.0, 2.0]).expect("sets a member's");
    assert_eq!(
        volume
            .lookup(dir, OsStr::new("4"))
            .expect_err("was not made")
            .errno(),
        2
    );
    // A batch stops where it cannot go on, and says why.
    let entries: [(u64, &[f32]); 3] = [(7, &[1.0, 0.0]), (2, &[1.0, 0.0]), (8, &[1.0, 0.0])];
    let done = volume
        .vector_set(dir, ids, &entries)
        .expect("does the first");
    assert_eq!(done.inodes.len(), 1);
    assert_eq!(
        done.error.map(|error| error.errno()),
        Some(Errno::INVAL.raw_os_error())
    );
    volume.close().expect("closes");
    assert_clean(&device);
}

#[test]
fn names_of_members_do_not_cross_the_collections_border() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
    let mut volume = open(&device).expect("opens");
    let dir = collection(&mut volume, "c", 2, Metric::InnerProduct);
    let other = collection(&mut volume, "d", 2, Metric::InnerProduct);
    let ino = add(&mut volume, dir, 1, &[1.0, 2.0]);
    let member = Ino(ino.into());
    let plain = make(&mut volume, Ino::ROOT, "plain", NewNode::Regular);
    let name = OsStr::new;
    for to in [Ino::ROOT, other] {
        assert_eq!(errno(volume.link(member, to, name("l"))), Errno::XDEV);
        let renamed = volume.rename(dir, name("1"), to, name("m"), RenameMode::Replace);
        assert_eq!(errno(renamed), Errno::XDEV);
    }
    assert_eq!(errno(volume.link(plain, dir, name("l"))), Errno::XDEV);
    let swapped = volume.rename(
        Ino::ROOT,
        name("plain"),
        dir,
        name("1"),
        RenameMode::Exchange,
    );
    assert_eq!(errno(swapped), Errno::XDEV);
    volume
        .link(member, dir, name("second"))
        .expect("a second name inside");
    volume
        .rename(dir, name("1"), dir, name("first"), RenameMode::NoReplace)
        .expect("renames inside");
    // Without a vector and with one name it may come and go.
    volume
        .rename(
            Ino::ROOT,
            name("plain"),
            dir,
            name("in"),
            RenameMode::Replace,
        )
        .expect("comes in");
    let entries: [(u64, &[f32]); 1] = [(plain.0, &[3.0, 4.0])];
    volume
        .vector_set(dir, Keys::Inodes, &entries)
        .expect("is a member now");
    volume.vector_remove(dir, &[plain.0]).expect("removes");
    volume
        .rename(dir, name("in"), other, name("in"), RenameMode::Replace)
        .expect("goes on");
    volume
        .vector_set(other, Keys::Inodes, &entries)
        .expect("is a member there");
    assert_eq!(
        errno(volume.vector_set(dir, Keys::Inodes, &entries)),
        Errno::NOENT
    );
    volume.sync().expect("syncs");
    assert_clean(&device);
    // A name that replaces another takes the vector of the last one away.
    make(&mut volume, dir, "new", NewNode::Regular);
    volume
        .rename(dir, name("new"), dir, name("first"), RenameMode::Replace)
        .expect("replaces");
    assert_eq!(
        nearest(&mut volume, dir, &[1.0, 0.0], 9),
        [(ino, -1.0)],
        "it has a name left"
    );
    volume
        .rename(dir, name("first"), dir, name("second"), RenameMode::Replace)
        .expect("replaces");
    assert_eq!(nearest(&mut volume, dir, &[1.0, 0.0], 9), []);
    volume.close().expect("closes");
    assert_clean(&device);
}

#[test]
fn a_collection_larger_than_the_memory_for_it_is_searched_from_the_device() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(16384));
    let small = OpenOptions {
        vector_memory: 4096,
        ..options()
    };
    let mut volume = DiskVolume::open(device.clone(), small, AtimePolicy::Never).expect("opens");
    let dir = collection(&mut volume, "c", 33, Metric::Cosine);
    let mut dice = Dice(5);
    let vectors: Vec<Vec<f32>> = (0..700)
        .map(|_| {
            (0..33)
                .map(|_| (dice.roll() % 2000) as f32 / 1000.0 - 1.0)
                .collect()
        })
        .collect();
    let entries: Vec<(u64, &[f32])> = (0..).zip(vectors.iter().map(Vec::as_slice)).collect();
    let done = volume
        .vector_set(dir, Keys::Ids(ADD), &entries)
        .expect("adds");
    assert_eq!((done.inodes.len(), done.error), (700, None));
    let mut want: Vec<(f64, u32)> = vectors
        .iter()
        .zip(&done.inodes)
        .map(|(x, ino)| (distance(Metric::Cosine, &vectors[3], x), *ino))
        .collect();
    want.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let want: Vec<(u32, f64)> = want.iter().map(|(d, ino)| (*ino, *d)).take(50).collect();
    assert_eq!(nearest(&mut volume, dir, &vectors[3], 50), want);
    volume.close().expect("closes");
    assert_clean(&device);
    let mut volume = open(&device).expect("opens");
    assert_eq!(
        nearest(&mut volume, dir, &vectors[3], 50),
        want,
        "from memory"
    );
}

#[test]
fn a_full_volume_does_entries_whole_or_not_at_all() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(1024));
    let mut volume = open(&device).expect("opens");
    let free = volume.space().free_blocks;
    let dir = collection(&mut volume, "c", 2048, Metric::L2);
    let vector = [0.5_f32; 2048];
    let entries: Vec<(u64, &[f32])> = (0..600).map(|id| (id, &vector[..])).collect();
    let done = volume
        .vector_set(dir, Keys::Ids(ADD), &entries)
        .expect("adds some");
    assert_eq!(
        done.error.map(|error| error.errno()),
        Some(Errno::NOSPC.raw_os_error())
    );
    let count = done.inodes.len();
    assert!(count > 100, "{count}");
    assert_eq!(volume.collection(dir).expect("is one").live as usize, count);
    volume.sync().expect("syncs");
    assert_clean(&device);
    // What is freed can be used again.
    for id in 0..10 {
        volume
            .unlink(dir, OsStr::new(&id.to_string()))
            .expect("unlinks");
    }
    let done = volume
        .vector_set(dir, Keys::Ids(ADD), &entries[..10])
        .expect("adds");
    assert_eq!((done.inodes.len(), done.error), (10, None));
    for id in 0..count {
        volume
            .unlink(dir, OsStr::new(&id.to_string()))
            .expect("unlinks");
    }
    volume.rmdir(Ino::ROOT, OsStr::new("c")).expect("removes");
    volume.close().expect("closes");
    assert_clean(&device);
    let volume = open(&device).expect("opens");
    assert_eq!(volume.space().free_blocks, free);
}

#[test]
fn the_owner_of_added_files_is_the_directorys_group_where_it_asks_for_that() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
    let mut volume = open(&device).expect("opens");
    let dir = collection(&mut volume, "c", 1, Metric::L2);
    let change = vexfs::AttrChange {
        perm: Some(0o2775),
        gid: Some(77),
        ..Default::default()
    };
    volume.set_attr(dir, &change).expect("sets");
    let keys = Keys::Ids(Add {
        mode: 0o7777,
        owner: Owner { uid: 5, gid: 6 },
        exclusive: true,
    });
    let done = volume.vector_set(dir, keys, &[(3, &[1.0])]).expect("adds");
    let attr = volume.attr(Ino(done.inodes[0].into())).expect("exists");
    assert_eq!((attr.uid, attr.gid, attr.perm), (5, 77, 0o777));
}

#[test]
fn a_backup_that_a_power_cut_left_behind_is_written_by_the_next_mount() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(1024));
    let old = vexfs::disk::Superblock::read_at(&*device, 1023).expect("a copy");
    let mut volume = open(&device).expect("opens");
    collection(&mut volume, "c", 1, Metric::L2);
    volume.close().expect("closes");
    device
        .write_blocks(1023, &old.to_block(1023)[..])
        .expect("writes");
    assert_clean(&device);
    open(&device).expect("opens").close().expect("closes");
    let new = vexfs::disk::Superblock::read_at(&*device, 1023).expect("a copy");
    assert_eq!(
        (new.raw().serial.get(), new.ro_compat() & 2),
        (old.raw().serial.get() + 1, 2)
    );
    assert_clean(&device);
}
