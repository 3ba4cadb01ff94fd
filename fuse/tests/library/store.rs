// SPDX-License-Identifier: Apache-2.0
//! The store below the level of files: mkfs, transactions, allocation, rollback, remounting.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use crate::stores::{open, quiet, volume};
use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::state::{CLEAN, ERROR};
use vexfs::disk::{
    Error, ErrorPolicy, Expect, Inode, Kind, MemoryDevice, MetaRead, OpenOptions, Store,
};

fn no_space(error: &Error) -> bool {
    matches!(error, Error::Volume(vexfs::Error::NoSpace))
}

/// Recount the bitmaps and compare them with the summary.
fn assert_counts_agree(store: &Store) {
    let (mut blocks, mut inodes) = (0, 0);
    for group in 0..store.geometry().groups {
        let entry = store.read_summary(group).expect("summary");
        if entry.initialised {
            let block = store.read_group(group).expect("group");
            let free = vexfs::disk::group::Bitmap::Blocks.clear_bits(&block);
            assert_eq!(entry.free_blocks, free, "blocks of group {group}");
            let free = vexfs::disk::group::Bitmap::Inodes.clear_bits(&block);
            assert_eq!(
                u32::from(entry.free_inodes),
                free,
                "inodes of group {group}"
            );
        }
        blocks += u64::from(entry.free_blocks);
        inodes += u64::from(entry.free_inodes);
    }
    assert_eq!((store.free_blocks(), store.free_inodes()), (blocks, inodes));
}

#[test]
fn the_sizes_of_the_document_come_out() {
    let plan = |blocks: u64| {
        let superblock = mkfs::plan(&mkfs::Options::new(Identity::from_seed(&[0; 16])), blocks);
        superblock.expect("plan").geometry()
    };
    for (blocks, journal, summary, start, groups, itable, free) in [
        (1024, 256, 1, 259, 1, 24, 738),
        (4096, 1024, 1, 1027, 1, 96, 2970),
        (16384, 1024, 1, 1027, 1, 480, 14874),
        (1 << 18, 8192, 1, 8195, 11, 752, 245_663),
        (100 << 18, 16384, 3, 16389, 1089, 752, 25_377_991),
        (1 << 28, 32768, 22, 32792, 11154, 752, 260_003_699),
        (1 << 32, 32768, 352, 33122, 178_480, 752, 4_160_538_731_u64),
    ] {
        let geometry = plan(blocks);
        let got = (
            geometry.journal_blocks,
            geometry.summary_blocks,
            geometry.groups_start,
        );
        assert_eq!(got, (journal, summary, start), "{blocks} blocks");
        assert_eq!(
            (geometry.groups, geometry.itable_blocks),
            (groups, itable),
            "{blocks} blocks"
        );
        assert_eq!(geometry.usable_blocks() - 1, free, "{blocks} blocks");
    }
}

#[test]
fn the_4_mib_volume_is_laid_out_as_the_document_says() {
    let store = open(&volume(1024));
    assert_eq!((store.free_blocks(), store.free_inodes()), (738, 191));
    let root = store.read_inode(1).expect("root");
    assert_eq!(root.root[0x18..0x20], 284_u64.to_le_bytes());
    let expect = Expect::of_inode(Kind::DirLeaf, 1, root.generation);
    store
        .read_meta(284, expect, &|_| Ok(()))
        .expect("the root's leaf");
    assert_counts_agree(&store);
}

#[test]
fn a_seed_makes_the_same_volume_again() {
    assert!(volume(1024).image() == volume(1024).image());
}

#[test]
fn clean_is_cleared_by_mounting_and_set_by_closing() {
    let device = volume(1024);
    let mut store = open(&device);
    let state = store.read_state().expect("state");
    assert_eq!((state.flags & CLEAN, state.mount_count), (0, 1));
    drop(store); // like a power cut: nothing is written
    store = open(&device);
    store.close().expect("close");
    assert!(matches!(store.begin(1), Err(Error::ReadOnly(_))));
    let options = OpenOptions {
        read_only: true,
        ..quiet()
    };
    let state = Store::open(device, options)
        .expect("open")
        .read_state()
        .expect("state");
    assert_eq!((state.flags & CLEAN, state.mount_count), (CLEAN, 2));
}

#[test]
fn an_operation_that_does_not_finish_has_not_happened() {
    let device = volume(1024);
    let mut store = open(&device);
    let before = (
        store.free_blocks(),
        store.free_inodes(),
        store.read_state().expect("state"),
    );
    let mut tx = store.begin(20).expect("begin");
    let (ino, generation) = tx.alloc_inode(1, false).expect("inode");
    tx.write_inode(ino, &Inode::new(generation, 0o100_644))
        .expect("write");
    tx.alloc_meta(0, Expect::of_inode(Kind::Extent, ino, generation))
        .expect("block");
    tx.free_blocks(284, 1).expect("free");
    tx.write_state(&mut |state| state.orphan_head = ino)
        .expect("state");
    assert!(tx.inode_in_use(ino).expect("read"));
    drop(tx);
    let after = (
        store.free_blocks(),
        store.free_inodes(),
        store.read_state().expect("state"),
    );
    assert_eq!(before, after);
    assert!(!store.inode_in_use(ino).expect("read"));
    assert_counts_agree(&store);
}

#[test]
fn an_operation_larger_than_its_credits_is_refused_whole() {
    let device = volume(1024);
    let mut store = open(&device);
    let mut tx = store.begin(2).expect("begin");
    tx.alloc_meta(0, Expect::of_inode(Kind::Extent, 1, 0))
        .expect("three blocks");
    assert_eq!(tx.credits_left(), 0);
    assert_eq!(tx.finish(), Err(Error::TooLarge));
    assert_counts_agree(&store);
    assert!(matches!(store.begin(49), Err(Error::TooLarge)));
}

#[test]
fn every_block_and_inode_can_be_had_once_and_given_back() {
    let device = volume(24064 + 1024 + 3 + 3000);
    let mut store = open(&device);
    let (blocks, inodes) = (store.free_blocks(), store.free_inodes());
    let mut runs = Vec::new();
    loop {
        let mut tx = store.begin(8).expect("begin");
        match tx.alloc_blocks(
            runs.last().map_or(0, |&(at, len)| at + u64::from(len)),
            1000,
        ) {
            Ok(run) => runs.push(run),
            Err(error) => break assert!(no_space(&error), "{error}"),
        }
        tx.finish().expect("finish");
    }
    let geometry = *store.geometry();
    assert!(
        runs.iter()
            .all(|&(at, len)| geometry.is_usable_run(at, len))
    );
    let distinct: HashSet<u64> = runs
        .iter()
        .flat_map(|&(at, len)| at..at + u64::from(len))
        .collect();
    assert_eq!((store.free_blocks(), distinct.len() as u64), (0, blocks));
    let mut inos = HashSet::new();
    loop {
        let mut tx = store.begin(8).expect("begin");
        match tx.alloc_inode(1, true) {
            Ok((ino, generation)) => {
                tx.write_inode(ino, &Inode::new(generation, 0o100_644))
                    .expect("write");
                assert!(inos.insert(ino));
            }
            Err(error) => break assert!(no_space(&error), "{error}"),
        }
        tx.finish().expect("finish");
    }
    assert_eq!((store.free_inodes(), inos.len() as u64), (0, inodes));
    assert_counts_agree(&store);
    for (at, len) in runs {
        let mut tx = store.begin(8).expect("begin");
        tx.free_blocks(at, len).expect("free");
        tx.finish().expect("finish");
    }
    for ino in inos {
        let mut tx = store.begin(8).expect("begin");
        tx.free_inode(ino).expect("free");
        tx.finish().expect("finish");
    }
    assert_eq!((store.free_blocks(), store.free_inodes()), (blocks, inodes));
    assert_counts_agree(&store);
    store.close().expect("close");
    assert_counts_agree(&open(&device));
}

#[test]
fn freed_blocks_are_not_used_before_the_commit() {
    let mut store = open(&volume(1024));
    let mut tx = store.begin(8).expect("begin");
    let (at, len) = tx.alloc_blocks(0, 2000).expect("all there is");
    assert_eq!(u64::from(len), 738);
    tx.free_blocks(at + 5, 10).expect("free");
    tx.finish().expect("finish");
    let mut tx = store.begin(8).expect("begin");
    assert!(tx.alloc_blocks(0, 1).is_err_and(|error| no_space(&error)));
    drop(tx);
    assert!(store.has_pinned());
    store.commit().expect("commit");
    let mut tx = store.begin(8).expect("begin");
    assert_eq!(tx.alloc_blocks(0, 100), Ok((at + 5, 10)));
}

#[test]
fn a_freed_inode_comes_back_with_the_next_generation() {
    let mut store = open(&volume(1024));
    let mut make = |free: bool| {
        let mut tx = store.begin(8).expect("begin");
        let (ino, generation) = tx.alloc_inode(1, false).expect("inode");
        tx.write_inode(ino, &Inode::new(generation, 0o100_600))
            .expect("write");
        tx.finish().expect("finish");
        if free {
            let mut tx = store.begin(8).expect("begin");
            tx.free_inode(ino).expect("free");
            tx.finish().expect("finish");
        }
        (ino, generation)
    };
    let (first, second) = (make(true), make(false));
    assert_eq!(second, (first.0, first.1.wrapping_add(1)));
}

#[test]
fn freeing_what_is_free_is_corruption_that_is_recorded() {
    let device = volume(1024);
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = lines.clone();
    let log = move |line: &str| {
        sink.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line.to_owned());
    };
    let options = OpenOptions {
        log: Arc::new(log),
        ..quiet()
    };
    let mut store = Store::open(device.clone(), options).expect("open");
    let mut tx = store.begin(8).expect("begin");
    let error = tx.free_blocks(285, 1).expect_err("it is free");
    drop(tx);
    assert_eq!(error.errno(), 117);
    assert_eq!(
        lines.lock().unwrap_or_else(PoisonError::into_inner)[0],
        "vexfs (memory): corrupt group at block 259: block_bitmap"
    );
    assert!(
        matches!(store.begin(1), Err(Error::ReadOnly(_))),
        "errors=remount-ro"
    );
    store.close().expect("close");
    let state = open(&device).read_state().expect("state");
    assert_eq!((state.flags & ERROR, state.error_count), (ERROR, 1));
    assert_eq!(
        (state.first_error.block, state.first_error.place.as_str()),
        (259, "group")
    );
}

#[test]
fn with_errors_continue_only_the_operation_fails() {
    let options = OpenOptions {
        errors: ErrorPolicy::Continue,
        ..quiet()
    };
    let mut store = Store::open(volume(1024), options).expect("open");
    assert!(
        store.read_inode(100).is_err(),
        "a name cannot lead to a free inode"
    );
    store.begin(1).expect("begin").finish().expect("finish");
}

#[test]
fn a_log_that_wraps_many_times_stays_replayable() {
    let device = volume(1024);
    let mut store = open(&device);
    for round in 0..300_u32 {
        let mut tx = store.begin(40).expect("begin");
        for _ in 0..round % 7 {
            let expect = Expect::of_inode(Kind::Extent, 1, round);
            let at = tx.alloc_meta(0, expect).expect("alloc");
            tx.free_meta(at).expect("free");
        }
        tx.write_state(&mut |state| state.check_time = i64::from(round))
            .expect("state");
        tx.finish().expect("finish");
        store.commit().expect("commit");
        if round % 10 == 0 {
            let copy = Arc::new(MemoryDevice::from_image(&device.image()));
            let state = open(&copy).read_state().expect("state");
            assert_eq!(state.check_time, i64::from(round));
        }
    }
    assert_counts_agree(&store);
}

#[test]
fn a_volume_with_an_unknown_ro_compat_feature_is_mounted_read_only() {
    let device = volume(1024);
    let mut superblock = vexfs::disk::Superblock::read(&*device).expect("superblock");
    superblock.rewrite(&*device, 4).expect("rewrite");
    for at in [0, 1023] {
        let copy = vexfs::disk::Superblock::read_at(&*device, at).expect("a copy");
        assert_eq!((copy.raw().serial.get(), copy.ro_compat()), (1, 5));
    }
    let refused = Store::open(device.clone(), quiet());
    assert!(matches!(refused, Err(Error::ReadOnly(_))));
    let options = OpenOptions {
        read_only: true,
        ..quiet()
    };
    let mut store = Store::open(device, options).expect("open");
    assert!(store.set_read_write().is_err());
    assert_eq!(store.free_blocks(), 738);
}
