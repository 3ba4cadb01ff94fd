// SPDX-License-Identifier: Apache-2.0
//! Images with flipped bits and false fields: the store may refuse them, but never panics, overflows or loops.

use proptest::prelude::*;
use std::sync::{Arc, OnceLock};
use vexfs::disk::journal::format::{COMMIT_SUM, TAIL, be32, block_sum, put_be32};
use vexfs::disk::layout::BLOCK_SIZE;
use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::{
    Block, BlockDevice, ErrorPolicy, Expect, Inode, Kind, MemoryDevice, MetaRead, OpenOptions,
    Store, crc,
};

fn options() -> OpenOptions {
    OpenOptions {
        log: Arc::new(|_| {}),
        clock: Arc::new(|| 1),
        errors: ErrorPolicy::Continue,
        ..OpenOptions::default()
    }
}

/// A volume with inodes, metadata blocks and a log to replay.
fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let device = Arc::new(MemoryDevice::new(1024));
        mkfs::format(&*device, &mkfs::Options::new(Identity::from_seed(&[3; 16]))).expect("mkfs");
        let mut store = Store::open(device.clone(), options()).expect("open");
        for round in 0..6_u32 {
            let mut tx = store.begin(48).expect("begin");
            let (ino, generation) = tx.alloc_inode(1, false).expect("inode");
            tx.write_inode(ino, &Inode::new(generation, 0o100_644))
                .expect("write");
            let expect = Expect::of_inode(Kind::Extent, ino, generation);
            let kept = tx.alloc_meta(0, expect).expect("block");
            tx.finish().expect("finish");
            store.commit().expect("commit");
            if round % 2 == 0 {
                let mut tx = store.begin(48).expect("begin");
                tx.free_meta(kept).expect("free");
                tx.free_inode(ino).expect("free");
                tx.finish().expect("finish");
                store.commit().expect("commit");
            }
        }
        device.image()
    })
}

/// Make the checksum of a mutated block right again, so that the later checks are reached.
fn mend(at: usize, block: &mut Block) {
    let seed = crc::raw(u32::MAX, &image()[0x20..0x30]);
    match at {
        0 => {
            let sum = crc::raw_without(u32::MAX, &block[..], 4);
            block.put_u32(4, sum);
        }
        3 => {
            let sum = crc::raw_without(u32::MAX, &block[..1024], 0xfc);
            put_be32(block, 0xfc, sum);
        }
        4..=258 => {
            let at = if be32(block, 4) == 2 {
                COMMIT_SUM
            } else {
                TAIL
            };
            let sum = block_sum(seed, block, at);
            put_be32(block, at, sum);
        }
        260..=283 => {
            let first = (at as u32 - 260) * 8 + 1;
            for (n, ino) in (first..first + 8).enumerate() {
                let bytes = &mut block[n * 512..(n + 1) * 512];
                if bytes[..4] == *b"VXIN" {
                    let sum = crc::raw_without(crc::raw(seed, &ino.to_le_bytes()), bytes, 4);
                    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
                }
            }
        }
        _ => block.seal(seed),
    }
}

/// Use everything that a mounted volume offers, whatever it answers.
fn use_it(image: &[u8]) {
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(image));
    let Ok(mut store) = Store::open(device, options()) else {
        return;
    };
    for ino in (0..=200).chain([u32::MAX]) {
        let _ = store.read_inode(ino);
        let _ = store.inode_in_use(ino);
    }
    for block in [
        0,
        1,
        2,
        3,
        259,
        260,
        284,
        285,
        286,
        287,
        1023,
        1024,
        u64::MAX,
    ] {
        let _ = store.read_meta(block, Expect::of_inode(Kind::Extent, 2, 0), &|_| Ok(()));
    }
    for step in 0..20_u32 {
        let Ok(mut tx) = store.begin(40) else { break };
        let run = tx.alloc_blocks(u64::from(step) * 40, 50);
        if let Ok((ino, generation)) = tx.alloc_inode(step, step % 2 == 0) {
            let _ = tx.write_inode(ino, &Inode::new(generation, 0o100_644));
        }
        let _ = tx.free_inode(step);
        let _ = tx.free_blocks(284 + u64::from(step), step);
        if let Ok((at, len)) = run {
            let _ = tx.free_blocks(at, len);
        }
        let _ = tx.finish();
        let _ = store.commit();
    }
    let _ = store.close();
}

/// A mutation: block (of those that matter), byte in it, value, and whether the checksum is made right.
fn mutation() -> impl Strategy<Value = (usize, usize, u8, bool)> {
    let block = prop_oneof![0_usize..4, 4_usize..40, 259_usize..262, Just(1023_usize)];
    let byte = prop_oneof![3 => 0_usize..0xd0, 1 => 0_usize..BLOCK_SIZE];
    let value = prop_oneof![
        Just(0_u8),
        Just(1),
        Just(0x7f),
        Just(0x80),
        Just(0xff),
        any::<u8>()
    ];
    (block, byte, value, prop::bool::weighted(0.8))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_image_never_panics(mutations in prop::collection::vec(mutation(), 1..6)) {
        let mut image = image().to_vec();
        for (block, byte, value, mended) in mutations {
            let place = block * BLOCK_SIZE;
            image[place + byte] = value;
            if mended {
                let mut bytes = [0; BLOCK_SIZE];
                bytes.copy_from_slice(&image[place..place + BLOCK_SIZE]);
                let mut content = Block::from_bytes(bytes);
                mend(block, &mut content);
                image[place..place + BLOCK_SIZE].copy_from_slice(&content[..]);
            }
        }
        use_it(&image);
    }
}

#[test]
fn every_single_bit_of_the_superblock_is_guarded() {
    for bit in 0..0xc0 * 8 {
        let mut image = image().to_vec();
        image[bit / 8] ^= 1 << (bit % 8);
        let device = Arc::new(MemoryDevice::from_image(&image));
        assert!(
            Store::open(device, options()).is_err(),
            "bit {bit} of the superblock"
        );
    }
}

#[test]
fn a_log_full_of_revoke_blocks_of_one_number_ends() {
    let mut image = image().to_vec();
    let device = MemoryDevice::from_image(&image);
    let place = vexfs::disk::journal::Place::of(
        &vexfs::disk::Superblock::read(&device).expect("superblock"),
    );
    let mut block = Block::zeroed();
    for (at, word) in [(0, 0xc03b_3998), (4, 5), (8, 77), (12, 4092)] {
        put_be32(&mut block, at, word);
    }
    let sum = block_sum(place.seed, &block, TAIL);
    put_be32(&mut block, TAIL, sum);
    for at in 4..259 {
        image[at * BLOCK_SIZE..(at + 1) * BLOCK_SIZE].copy_from_slice(&block[..]);
    }
    let start = vexfs::disk::journal::format::JournalSuper {
        sequence: 77,
        start: 9,
        errno: 0,
        maxlen: 256,
    };
    image[3 * BLOCK_SIZE..4 * BLOCK_SIZE].copy_from_slice(&start.to_block(&place.uuid)[..]);
    Store::open(Arc::new(MemoryDevice::from_image(&image)), options())
        .expect("nothing in it counts");
}
