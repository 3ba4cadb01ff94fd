// SPDX-License-Identifier: Apache-2.0
//! A sync, or a search, that waits for its device holds nobody up.

use std::ffi::OsStr;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::collections::{add, collection};
use crate::volumes::{OWNER, assert_clean, format, open, options};
use vexfs::disk::vector::{Metric, Query};
use vexfs::disk::{BLOCK_SIZE, BlockDevice, DiskVolume, MemoryDevice, OpenOptions, SharedVolume};
use vexfs::{AtimePolicy, Ino, NewNode};

/// Flushes, or reads of several blocks at once, wait while the gate is closed.
struct Gated {
    below: MemoryDevice,
    closed: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicBool,
    gates_reads: bool,
}

impl Gated {
    fn new(gates_reads: bool) -> Arc<Self> {
        Arc::new(Self {
            below: format(4096),
            closed: Mutex::default(),
            opened: Condvar::new(),
            waiting: AtomicBool::default(),
            gates_reads,
        })
    }

    fn pass(&self) {
        let closed = self.closed.lock().expect("no panic");
        self.waiting.store(*closed, Ordering::Release);
        drop(self.opened.wait_while(closed, |closed| *closed));
    }

    fn set(&self, closed: bool) {
        *self.closed.lock().expect("no panic") = closed;
        self.opened.notify_all();
    }
}

impl BlockDevice for Gated {
    fn blocks(&self) -> u64 {
        self.below.blocks()
    }
    fn name(&self) -> &str {
        "gated"
    }
    fn read_blocks(&self, block: u64, buffer: &mut [u8]) -> io::Result<()> {
        // Metadata is read block by block.
        if self.gates_reads && buffer.len() > BLOCK_SIZE {
            self.pass();
        }
        self.below.read_blocks(block, buffer)
    }
    fn write_blocks(&self, block: u64, bytes: &[u8]) -> io::Result<()> {
        self.below.write_blocks(block, bytes)
    }
    fn flush(&self) -> io::Result<()> {
        if !self.gates_reads {
            self.pass();
        }
        Ok(())
    }
}

fn make(volume: &SharedVolume, name: &str) -> Ino {
    let mut volume = volume.alone().expect("no panic");
    let made = volume.make(Ino::ROOT, OsStr::new(name), NewNode::Regular, 0o600, OWNER);
    made.expect("makes").ino
}

fn write(volume: &SharedVolume, ino: Ino, text: &[u8]) {
    let mut volume = volume.alone().expect("no panic");
    assert_eq!(volume.write(ino, 0, text), Ok(text.len()));
}

#[test]
fn others_read_and_change_while_a_sync_waits_for_the_device() {
    let gated = Gated::new(false);
    let device: Arc<dyn BlockDevice> = gated.clone();
    let volume = Arc::new(SharedVolume::new(open(&device).expect("opens")));
    let before = make(&volume, "before");
    write(&volume, before, b"before");
    gated.set(true);
    let syncs: Vec<_> = (0..3)
        .map(|_| {
            let volume = Arc::clone(&volume);
            thread::spawn(move || volume.sync())
        })
        .collect();
    while !gated.waiting.load(Ordering::Acquire) {
        thread::yield_now();
    }
    // One sync is under way, two wait for their turn: nothing of this needs one of them to end.
    let during = make(&volume, "during");
    write(&volume, during, b"during");
    write(&volume, before, b"BEFORE");
    {
        let mut volume = volume.alone().expect("no panic");
        assert_eq!(volume.read(before, 0, 9).expect("reads"), b"BEFORE");
        assert_eq!(volume.read(during, 0, 9).expect("reads"), b"during");
        let gone = volume.unlink(Ino::ROOT, OsStr::new("before"));
        gone.expect("unlinks");
    }
    {
        let volume = volume.beside().expect("no panic");
        assert!(volume.lookup(Ino::ROOT, OsStr::new("before")).is_err());
        assert_eq!(
            volume.store().commits() + 1,
            volume.store().commits_begun(),
            "the sync is still under way"
        );
    }
    gated.set(false);
    for sync in syncs {
        sync.join().expect("no panic").expect("syncs");
    }
    volume.sync().expect("syncs");
    assert_clean(&device);
    volume.close().expect("closes");
    assert_clean(&device);
    let mut volume = open(&device).expect("opens again");
    assert_eq!(volume.read(during, 0, 9).expect("reads"), b"during");
}

#[test]
fn many_sync_at_once_and_lose_nothing() {
    let device: Arc<dyn BlockDevice> = Arc::new(format(16_384));
    let volume = Arc::new(SharedVolume::new(open(&device).expect("opens")));
    let work = |worker: usize| {
        let volume = Arc::clone(&volume);
        thread::spawn(move || {
            for i in 0..40 {
                let name = format!("{worker}-{i}");
                let ino = make(&volume, &name);
                write(&volume, ino, name.as_bytes());
                let begun = volume.beside().expect("no panic").store().commits_begun();
                volume.sync().expect("syncs");
                let volume = volume.beside().expect("no panic");
                assert!(volume.store().commits() > begun, "{name} is not durable");
            }
        })
    };
    let workers: Vec<_> = (0..4).map(work).collect();
    for worker in workers {
        worker.join().expect("no panic");
    }
    // As a crash would leave it: not closed.
    let mut volume = open(&device).expect("opens again");
    for (worker, i) in (0..4).flat_map(|worker| (0..40).map(move |i| (worker, i))) {
        let name = format!("{worker}-{i}");
        let ino = volume
            .lookup(Ino::ROOT, OsStr::new(&name))
            .expect("is there")
            .ino;
        assert_eq!(volume.read(ino, 0, 20).expect("reads"), name.as_bytes());
    }
}

#[test]
fn attributes_and_names_are_answered_during_a_long_search() {
    let gated = Gated::new(true);
    let device: Arc<dyn BlockDevice> = gated.clone();
    // Without room in memory every search reads the device.
    let how = OpenOptions {
        vector_memory: 0,
        ..options()
    };
    let mut volume = DiskVolume::open(Arc::clone(&device), how, AtimePolicy::Never).expect("opens");
    let dir = collection(&mut volume, "c", 128, Metric::L2);
    for id in 0..64 {
        add(&mut volume, dir, id, &[id as f32; 128]);
    }
    let volume = Arc::new(SharedVolume::new(volume));
    let query = move |volume: &SharedVolume| {
        let vector = [7.2; 128];
        let query = Query {
            vector: &vector,
            k: 1,
            after: None,
        };
        let volume = volume.beside().expect("no panic");
        let ready = volume.search_ready(dir, query).expect("is open");
        ready.expect("searches")
    };
    gated.set(true);
    let search = {
        let volume = Arc::clone(&volume);
        thread::spawn(move || query(&volume))
    };
    while !gated.waiting.load(Ordering::Acquire) {
        thread::yield_now();
    }
    {
        let volume = volume.beside().expect("no panic");
        assert!(volume.attr(dir).is_ok());
        assert!(volume.lookup(dir, OsStr::new("7")).is_ok());
        assert_eq!(volume.is_collection(dir), Ok(true));
    }
    assert!(!search.is_finished(), "the search still waits");
    gated.set(false);
    let (found, scanned) = search.join().expect("no panic");
    assert_eq!((found.len(), scanned), (1, 64));
}
