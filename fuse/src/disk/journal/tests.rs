// SPDX-License-Identifier: Apache-2.0
//! Cases of section 11 that the whole-volume tests meet too rarely, or never.

use super::format::{COMMIT_SUM, JournalSuper, MAGIC, be32};
use super::{Journal, Place, recover, scan};
use crate::disk::mkfs::{self, Identity};
use crate::disk::{Block, BlockDevice, CrashDevice, Fate, MemoryDevice, Superblock};
use std::sync::Arc;

fn volume() -> (Arc<MemoryDevice>, Superblock, Place) {
    let device = Arc::new(MemoryDevice::new(1024));
    let made = mkfs::format(&*device, &mkfs::Options::new(Identity::from_seed(&[5; 16])));
    let superblock = made.expect("mkfs");
    (device, superblock, Place::of(&superblock))
}

fn block_of(byte: u8) -> Arc<Block> {
    Arc::new(Block::from_bytes([byte; 4096]))
}

fn read(device: &dyn BlockDevice, at: u64) -> Block {
    let mut block = Block::zeroed();
    device.read_blocks(at, &mut block[..]).expect("read");
    block
}

#[test]
fn a_block_that_begins_like_a_control_block_is_escaped_and_comes_back() {
    let (device, superblock, place) = volume();
    let mut escaped = Block::from_bytes([9; 4096]);
    escaped[..4].copy_from_slice(&MAGIC.to_be_bytes());
    let mut journal = Journal::open(device.clone(), place).expect("open");
    journal
        .commit(&[(500, Arc::new(escaped.clone()))], &[], 0)
        .expect("commit");
    assert_eq!(
        be32(&read(&*device, place.start + 2), 0),
        0,
        "the log holds no false magic"
    );
    assert_eq!(recover(&*device, &place, &superblock.geometry()), Ok(1));
    assert_eq!(read(&*device, 500), escaped);
}

#[test]
fn the_number_of_an_unfinished_transaction_is_not_used_again() {
    let (device, superblock, place) = volume();
    let first = place
        .read_super(&*device)
        .expect("superblock")
        .sequence
        .wrapping_add(1);
    let mut journal = Journal::open(device.clone(), place).expect("open");
    journal
        .commit(&[(500, block_of(1))], &[], 0)
        .expect("commit");
    journal
        .commit(&[(501, block_of(2))], &[], 0)
        .expect("commit");
    // The second one's commit block never arrived: log blocks 4, 5 and 6 are its.
    device.zero(place.start + 6, 1).expect("zero");
    assert_eq!(recover(&*device, &place, &superblock.geometry()), Ok(1));
    assert_eq!(read(&*device, 501), Block::zeroed());
    let after = place.read_super(&*device).expect("superblock");
    assert_eq!((after.start, after.sequence), (0, first.wrapping_add(1)));
    let mut journal = Journal::open(device.clone(), place).expect("open");
    journal
        .commit(&[(502, block_of(3))], &[], 0)
        .expect("commit");
    let log = scan(
        &*device,
        &place,
        place.read_super(&*device).expect("superblock"),
    );
    let numbers: Vec<u32> = log
        .expect("scan")
        .transactions
        .iter()
        .map(|t| t.sequence)
        .collect();
    assert_eq!(numbers, [first.wrapping_add(2)]);
}

#[test]
fn a_commit_block_torn_after_its_first_sector_counts() {
    let (device, superblock, place) = volume();
    let mut journal = Journal::open(device.clone(), place).expect("open");
    journal
        .commit(&[(500, block_of(1))], &[], 1_500_000_000)
        .expect("commit");
    let mut commit = read(&*device, place.start + 3);
    commit[512..].fill(0xee); // what was there before
    device
        .write_blocks(place.start + 3, &commit[..])
        .expect("write");
    assert_eq!(recover(&*device, &place, &superblock.geometry()), Ok(1));
    assert_eq!(read(&*device, 500), *block_of(1));
}

#[test]
fn a_commit_block_with_a_wrong_checksum_ends_the_log() {
    let (device, superblock, place) = volume();
    let mut journal = Journal::open(device.clone(), place).expect("open");
    journal
        .commit(&[(500, block_of(1))], &[], 0)
        .expect("commit");
    let mut commit = read(&*device, place.start + 3);
    commit[COMMIT_SUM] ^= 1;
    device
        .write_blocks(place.start + 3, &commit[..])
        .expect("write");
    assert_eq!(recover(&*device, &place, &superblock.geometry()), Ok(0));
    assert_eq!(read(&*device, 500), Block::zeroed());
}

#[test]
fn a_bad_block_in_a_committed_transaction_stops_the_replay_before_it_writes() {
    let (device, superblock, place) = volume();
    let mut journal = Journal::open(device.clone(), place).expect("open");
    journal
        .commit(&[(500, block_of(1))], &[], 0)
        .expect("commit");
    journal
        .commit(&[(501, block_of(2))], &[], 0)
        .expect("commit");
    device
        .write_blocks(place.start + 5, &block_of(7)[..])
        .expect("write");
    let error = recover(&*device, &place, &superblock.geometry()).expect_err("corrupt");
    assert_eq!(error.to_string(), "corrupt journal at block 8: checksum");
    assert_eq!(read(&*device, 500), Block::zeroed());
}

#[test]
fn a_tag_outside_the_metadata_is_refused() {
    for target in [0, 3, 200, 1023, 1024, u64::MAX] {
        let (device, superblock, place) = volume();
        let mut journal = Journal::open(device.clone(), place).expect("open");
        journal
            .commit(&[(target, block_of(1))], &[], 0)
            .expect("commit");
        let error = recover(&*device, &place, &superblock.geometry()).expect_err("corrupt");
        assert_eq!(
            error.to_string(),
            "corrupt journal at block 5: place",
            "block {target}"
        );
    }
}

#[test]
fn a_revoke_hides_older_copies_and_not_later_ones() {
    let (device, superblock, place) = volume();
    let mut journal = Journal::open(device.clone(), place).expect("open");
    journal
        .commit(&[(500, block_of(1)), (501, block_of(1))], &[], 0)
        .expect("commit");
    journal
        .commit(&[(502, block_of(2))], &[500, 501], 0)
        .expect("commit");
    journal
        .commit(&[(501, block_of(3))], &[], 0)
        .expect("commit");
    assert_eq!(recover(&*device, &place, &superblock.geometry()), Ok(3));
    assert_eq!(read(&*device, 500), Block::zeroed());
    assert_eq!(read(&*device, 501), *block_of(3));
    assert_eq!(read(&*device, 502), *block_of(2));
}

#[test]
fn sequence_numbers_go_round() {
    let (device, superblock, place) = volume();
    let start = JournalSuper {
        sequence: u32::MAX - 1,
        start: 0,
        errno: 0,
        maxlen: place.len,
    };
    device
        .write_blocks(place.start, &start.to_block(&place.uuid)[..])
        .expect("write");
    let mut journal = Journal::open(device.clone(), place).expect("open");
    for byte in 1..5 {
        journal
            .commit(&[(500, block_of(byte))], &[501], 0)
            .expect("commit");
    }
    assert_eq!(recover(&*device, &place, &superblock.geometry()), Ok(4));
    assert_eq!(read(&*device, 500), *block_of(4));
    assert_eq!(place.read_super(&*device).expect("superblock").sequence, 3);
}

#[test]
fn more_than_one_descriptor_and_revoke_block_are_written_and_read() {
    let (device, superblock, place) = volume();
    let mut journal = Journal::open(device.clone(), place).expect("open");
    let blocks: Vec<_> = (300..540).map(|at| (at, block_of(at as u8))).collect();
    let revokes: Vec<u64> = (540..1020).chain(540..1020).collect();
    journal.commit(&blocks, &revokes, 0).expect("commit");
    journal.commit(&blocks, &[], 0).expect("commit");
    assert_eq!(
        recover(&*device, &place, &superblock.geometry()),
        Ok(1),
        "the first was checkpointed"
    );
    assert!(
        blocks
            .iter()
            .all(|(at, block)| read(&*device, *at) == **block)
    );
}

#[test]
fn emptying_the_log_loses_nothing_at_any_moment() {
    let (device, superblock, place) = volume();
    let device = Arc::new(CrashDevice::new(&device.image()));
    let mut journal = Journal::open(device.clone(), place).expect("open");
    journal
        .commit(&[(500, block_of(1))], &[], 0)
        .expect("commit");
    let committed = device.moments();
    device.write_blocks(500, &block_of(1)[..]).expect("write");
    journal.checkpoint().expect("checkpoint");
    for moment in committed..=device.moments() {
        // Each combination of what is lost of the last three writes.
        for lost in 0..8_u32 {
            let mut n = 0;
            let image = device.image_after(moment, || {
                n += 1;
                let is_lost = lost & (1 << (n % 3)) != 0;
                if is_lost { Fate::Lost } else { Fate::Kept }
            });
            let after = MemoryDevice::from_image(&image);
            recover(&after, &place, &superblock.geometry()).expect("recover");
            assert_eq!(read(&after, 500), *block_of(1), "moment {moment}");
        }
    }
}
