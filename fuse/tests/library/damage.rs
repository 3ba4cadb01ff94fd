// SPDX-License-Identifier: Apache-2.0
//! A damaged image gives errors: it never panics, and never hangs.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::volumes::{Dice, apply, format, open, ops};
use proptest::prelude::*;
use vexfs::disk::{BLOCK_SIZE, BlockDevice, DiskVolume, MemoryDevice, fsck};
use vexfs::{DirEntry, Ino};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_damaged_image_never_panics_or_hangs(
        ops in ops(60),
        seed in 1_u64..,
    ) {
        let device = format(1024);
        {
            let shared: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(&device.image()));
            let mut disk = open(&shared).expect("opens");
            for op in &ops {
                let _ = apply(&mut disk, op);
            }
            disk.close().expect("closes");
            let mut block = vec![0; BLOCK_SIZE];
            for at in 0..shared.blocks() {
                shared.read_blocks(at, &mut block).expect("reads");
                device.write_blocks(at, &block).expect("writes");
            }
        }
        let image = device.image();
        let geometry = vexfs::disk::Superblock::read(&device).expect("is valid").geometry();
        let metadata: Vec<usize> = (1..image.len() / BLOCK_SIZE)
            .filter(|at| {
                let start = &image[at * BLOCK_SIZE..];
                start[0] == b'V' && start[1] == b'X'
            })
            .collect();
        let mut dice = Dice(seed);
        for _ in 0..60 {
            let mut image = image.clone();
            for _ in 0..=dice.roll() % 4 {
                // Where metadata is, with a checksum that fits again.
                let at = metadata[dice.roll() as usize % metadata.len()];
                let block = &mut image[at * BLOCK_SIZE..][..BLOCK_SIZE];
                let byte = match dice.roll() % 2 {
                    0 => dice.roll() as usize % 256,
                    _ => dice.roll() as usize % BLOCK_SIZE,
                };
                block[byte] = dice.roll() as u8;
                reseal(&geometry, at as u64, block);
            }
            let damaged: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(&image));
            let _ = fsck::check(Arc::clone(&damaged));
            let Ok(mut mounted) = open(&damaged) else { continue };
            walk(&mut mounted, Ino::ROOT, 0);
            for op in ops.iter().take(20) {
                let _ = apply(&mut mounted, op);
            }
            let _ = mounted.close();
            let _ = fsck::repair(damaged, &|_| ());
        }
    }
}

/// Makes the checksums of a changed block right, so that the checks behind them are reached.
fn reseal(geometry: &vexfs::disk::Geometry, at: u64, bytes: &mut [u8]) {
    use vexfs::disk::{Block, Kind, crc};
    let magic = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if Kind::of_magic(magic).is_some() {
        let mut block = Block::zeroed();
        block.copy_from_slice(bytes);
        block.seal(geometry.seed);
        bytes.copy_from_slice(&block[..]);
        return;
    }
    let table =
        geometry.groups_start + 1..geometry.groups_start + 1 + u64::from(geometry.itable_blocks);
    if table.contains(&at) {
        for (i, slot) in bytes.chunks_exact_mut(512).enumerate() {
            if slot.starts_with(b"VXIN") {
                let ino = (at - table.start) as u32 * 8 + i as u32 + 1;
                slot[4..8].fill(0);
                let sum = crc::raw(crc::raw(geometry.seed, &ino.to_le_bytes()), slot);
                slot[4..8].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
}

/// Looks at everything, and minds no error.
fn walk(volume: &mut DiskVolume, dir: Ino, depth: u32) {
    let mut entries: Vec<(OsString, Ino)> = Vec::new();
    let _ = volume.read_dir(dir, 2, &mut |entry: DirEntry<'_>| {
        entries.push((entry.name.to_owned(), entry.ino));
        ControlFlow::Continue(())
    });
    for (name, ino) in entries {
        let _ = (
            volume.lookup(dir, &name),
            volume.attr(ino),
            volume.read_link(ino),
        );
        for name in volume.list_xattr(ino).unwrap_or_default() {
            let _ = volume.get_xattr(ino, &name);
        }
        let _ = volume.read(ino, 0, 1 << 20);
        if depth < 8 {
            walk(volume, ino, depth + 1);
        }
    }
}
