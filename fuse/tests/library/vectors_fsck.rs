// SPDX-License-Identifier: Apache-2.0
//! fsck names each damage of a collection by its invariant, and puts it right.

use std::ffi::OsStr;
use std::sync::Arc;

use crate::volumes::{OWNER, assert_clean, format, open};
use vexfs::disk::layout::INODE_SIZE;
use vexfs::disk::vector::{Metric, Query, Shape, StoreRef, slots};
use vexfs::disk::volume::{Add, Keys};
use vexfs::disk::{Block, BlockDevice, FLAG_COLLECTION, Inode, MetaRead, Slot, Superblock, fsck};
use vexfs::{Ino, NewNode};

const COUNT: u64 = 600;

/// A collection of 600 vectors of dimension 40, and beside it a plain file.
struct Damaged {
    device: Arc<dyn BlockDevice>,
    dir: u32,
    store: u32,
    members: Vec<u32>,
    plain: u32,
}

fn vector(i: u64) -> Vec<f32> {
    (0..40).map(|j| (i * 41 + j) as f32 / 8.0).collect()
}

impl Damaged {
    fn new() -> Self {
        let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
        let mut volume = open(&device).expect("opens");
        let made = volume.make(Ino::ROOT, OsStr::new("c"), NewNode::Directory, 0o755, OWNER);
        let dir = made.expect("makes").ino;
        volume
            .collection_create(dir, 40, Metric::L2)
            .expect("creates");
        let vectors: Vec<Vec<f32>> = (0..COUNT).map(vector).collect();
        let entries: Vec<(u64, &[f32])> = (0..).zip(vectors.iter().map(Vec::as_slice)).collect();
        let add = Keys::Ids(Add {
            mode: 0o644,
            owner: OWNER,
            exclusive: true,
        });
        let members = volume.vector_set(dir, add, &entries).expect("adds").inodes;
        let made = volume.make(
            Ino::ROOT,
            OsStr::new("plain"),
            NewNode::Regular,
            0o644,
            OWNER,
        );
        let plain = made.expect("makes").ino.0 as u32;
        volume.close().expect("closes");
        assert_clean(&device);
        let mut new = Self {
            device,
            dir: dir.0 as u32,
            store: 0,
            members,
            plain,
        };
        new.store = new.inode(new.dir).link;
        new
    }

    fn place(&self, ino: u32) -> (u64, usize, u32) {
        let geometry = Superblock::read(&*self.device)
            .expect("is valid")
            .geometry();
        let (at, byte) = geometry.inode_place(ino).expect("exists");
        (at, byte, geometry.seed)
    }

    fn block(&self, at: u64) -> Block {
        let mut block = Block::zeroed();
        self.device.read_blocks(at, &mut block[..]).expect("reads");
        block
    }

    fn inode(&self, ino: u32) -> Inode {
        let (at, byte, _) = self.place(ino);
        let mut bytes = [0; INODE_SIZE];
        bytes.copy_from_slice(&self.block(at)[byte..byte + INODE_SIZE]);
        let geometry = Superblock::read(&*self.device)
            .expect("is valid")
            .geometry();
        match Slot::parse(&geometry, ino, at, &bytes).expect("is valid") {
            Slot::Used(inode) => *inode,
            other => panic!("{other:?}"),
        }
    }

    fn change(&self, ino: u32, change: impl FnOnce(&mut Inode)) {
        let mut inode = self.inode(ino);
        change(&mut inode);
        let (at, byte, seed) = self.place(ino);
        let mut block = self.block(at);
        block[byte..byte + INODE_SIZE].copy_from_slice(&inode.encode(seed, ino));
        self.device.write_blocks(at, &block[..]).expect("writes");
    }

    /// Where a map block is.
    fn map_block(&self, index: u32) -> u64 {
        let volume = open(&self.device).expect("opens");
        let inode = volume.store().read_inode(self.store).expect("reads");
        let store = StoreRef {
            ino: self.store,
            inode: &inode,
        };
        store.block(volume.store(), index).expect("reads").0
    }

    fn change_map(&self, index: u32, seal: bool, change: impl FnOnce(&mut Block)) {
        let at = self.map_block(index);
        let mut block = self.block(at);
        change(&mut block);
        if seal {
            block.seal(self.place(self.store).2);
        }
        self.device.write_blocks(at, &block[..]).expect("writes");
    }

    /// Finds exactly these invariants broken, repairs, and finds nothing after; returns how many vectors are left.
    fn repaired(&self, names: &[&str]) -> usize {
        let report = fsck::check(self.device.clone()).expect("checks");
        let mut found: Vec<&str> = report.findings.iter().map(|finding| finding.name).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, names, "{:#?}", report.findings);
        let (_, last) = fsck::repair(self.device.clone(), &|_| {}).expect("repairs");
        assert!(last.is_clean(), "{:#?}", last.findings);
        assert_clean(&self.device);
        let mut volume = open(&self.device).expect("opens");
        let dir = Ino(self.dir.into());
        let query = vector(3);
        let ask = Query {
            vector: &query,
            k: 1000,
            after: None,
        };
        let left = volume.search(dir, ask).map_or(0, |(found, _)| found.len());
        volume.close().expect("closes");
        left
    }
}

const ALL: usize = COUNT as usize;

#[test]
fn a_wrong_link_or_owner_of_a_slot_drops_that_vector() {
    let damaged = Damaged::new();
    damaged.change(damaged.members[5], |inode| inode.link = 9);
    assert_eq!(damaged.repaired(&["coll-slot"]), ALL - 1);
    let damaged = Damaged::new();
    damaged.change(damaged.members[7], |inode| inode.link = 0);
    assert_eq!(damaged.repaired(&["coll-slot"]), ALL - 1);
    let damaged = Damaged::new();
    let stranger = damaged.plain;
    damaged.change_map(1, true, |block| block.put_u32(0x20 + 16 * 3, stranger));
    assert_eq!(damaged.repaired(&["coll-slot"]), ALL - 1);
}

#[test]
fn a_wrong_count_is_counted_anew() {
    let damaged = Damaged::new();
    damaged.change(damaged.store, |inode| {
        let mut shape = Shape::decode(inode).expect("is valid");
        shape.live = 17;
        inode.special = shape.encode();
    });
    assert_eq!(damaged.repaired(&["coll-slot"]), ALL);
}

#[test]
fn a_broken_map_block_is_made_anew_from_the_members() {
    let damaged = Damaged::new();
    damaged.change_map(1, false, |block| block[0x100] ^= 1);
    assert_eq!(damaged.repaired(&["coll-map"]), ALL);
    let damaged = Damaged::new();
    damaged.change_map(0, true, |block| block.put_u32(0x18, 254));
    assert_eq!(damaged.repaired(&["coll-map"]), ALL);
}

#[test]
fn a_damaged_vector_goes_and_the_others_stay() {
    let damaged = Damaged::new();
    let volume = open(&damaged.device).expect("opens");
    drop(volume);
    // Slot 8 is the bytes 1280 to 1440 of the first block of vectors.
    let root = damaged.inode(damaged.store).root;
    let pblk = u64::from_le_bytes(root[24..32].try_into().expect("eight bytes"));
    let mut block = damaged.block(pblk);
    block[1300] ^= 1;
    damaged
        .device
        .write_blocks(pblk, &block[..])
        .expect("writes");
    assert_eq!(damaged.repaired(&["coll-crc"]), ALL - 1);
}

#[test]
fn membership_follows_the_names() {
    let damaged = Damaged::new();
    damaged.change(damaged.members[2], |inode| inode.parent = 0);
    assert_eq!(damaged.repaired(&["coll-member", "coll-slot"]), ALL - 1);
    let damaged = Damaged::new();
    let dir = damaged.dir;
    damaged.change(damaged.plain, |inode| inode.parent = dir);
    assert_eq!(damaged.repaired(&["coll-member"]), ALL);
}

#[test]
fn a_store_that_nobody_has_is_dropped_and_so_is_a_collection_without_one() {
    let damaged = Damaged::new();
    damaged.change(damaged.dir, |inode| {
        inode.flags &= !FLAG_COLLECTION;
        inode.link = 0;
    });
    assert_eq!(damaged.repaired(&["coll-member", "coll-store"]), 0);
    let damaged = Damaged::new();
    let plain = damaged.plain;
    damaged.change(damaged.dir, |inode| inode.link = plain);
    assert_eq!(damaged.repaired(&["coll-member", "coll-store"]), 0);
    let damaged = Damaged::new();
    damaged.change(damaged.store, |inode| inode.special[10] = 9);
    assert_eq!(damaged.repaired(&["coll-member", "coll-store"]), 0);
}

#[test]
fn vectors_that_lost_their_blocks_go_alone() {
    let damaged = Damaged::new();
    // The inode's first extent ends one block earlier: the block behind is nobody's, and no vector's.
    damaged.change(damaged.store, |inode| {
        let len = u32::from_le_bytes(inode.root[20..24].try_into().expect("four bytes"));
        assert!(len >> 31 == 0, "the first extent is written");
        inode.root[20..24].copy_from_slice(&(len - 1).to_le_bytes());
    });
    let left = damaged.repaired(&["bitmap-block", "coll-crc", "coll-map", "inode-blocks"]);
    assert!((ALL - 40..ALL).contains(&left), "{left}");
    assert_eq!(slots::blocks_of(600), 3);
}
