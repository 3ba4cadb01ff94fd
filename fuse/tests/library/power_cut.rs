// SPDX-License-Identifier: Apache-2.0
//! After a power cut at any moment the volume mounts, fsck is clean, and what was synced is there.

use std::ffi::OsStr;
use std::sync::Arc;

use crate::volumes::{Dice, OWNER, Op, apply, assert_clean, find, format, open, ops, whole};
use proptest::prelude::*;
use vexfs::disk::{BLOCK_SIZE, BlockDevice, CrashDevice, Fate, MemoryDevice};
use vexfs::{AttrChange, Ino, NewNode};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_power_cut_at_any_moment_loses_nothing_synced(
        ops in ops(60),
        seed in 1_u64..,
    ) {
        let formatted = format(1024);
        let crash = Arc::new(CrashDevice::new(&formatted.image()));
        let device: Arc<dyn BlockDevice> = crash.clone();
        let mut disk = open(&device).expect("opens");
        // What must be there from a moment on: made and synced, never touched again.
        let mut promises: Vec<(usize, String, Vec<u8>)> = Vec::new();
        let mut held = Vec::new();
        for (i, op) in ops.iter().enumerate() {
            let _ = apply(&mut disk, op);
            if let Op::Hold(path) = op {
                held.extend(find(&disk, path).and_then(|ino| disk.remember(ino)));
            }
            if i % 7 == 3 {
                let name = format!("kept{i}");
                let content = vec![i as u8 + 1; 100 + i * 97];
                let made = disk.make(Ino::ROOT, OsStr::new(&name), NewNode::Regular, 0o600, OWNER);
                let Ok(made) = made else { continue };
                let written = disk.write(made.ino, 0, &content);
                if disk.sync().is_ok() && written == Ok(content.len()) {
                    promises.push((crash.moments(), name, content));
                }
            }
        }
        let _ = disk.sync();
        let mut dice = Dice(seed);
        for moment in 0..=crash.moments() {
            if crash.moments() > 120 && !dice.roll().is_multiple_of(crash.moments() as u64 / 60) {
                continue;
            }
            let image = crash.image_after(moment, || dice.fate());
            let after: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(&image));
            assert_clean(&after);
            let mut mounted = open(&after).expect("mounts after the power cut");
            for (_, name, content) in promises.iter().filter(|(from, ..)| *from <= moment) {
                let ino = mounted.lookup(Ino::ROOT, OsStr::new(name)).expect("a synced file is there").ino;
                prop_assert_eq!(&mounted.read(ino, 0, 1 << 20).expect("reads"), content);
            }
            whole(&mut mounted);
            mounted.close().expect("closes");
            assert_clean(&after);
        }
    }
}

#[test]
fn a_fragmented_file_is_removed_in_steps_that_a_power_cut_may_part() {
    let formatted = format(4096);
    let shared: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(&formatted.image()));
    let mut disk = open(&shared).expect("opens");
    let free = disk.space().free_blocks;
    let made = disk.make(Ino::ROOT, OsStr::new("f"), NewNode::Regular, 0o600, OWNER);
    let ino = made.expect("makes").ino;
    // Every second block: no two extents can be joined.
    for i in 0..1200_u64 {
        disk.write(ino, i * 8192, &[i as u8; 4096]).expect("writes");
    }
    for i in 0..1200_u64 {
        assert_eq!(disk.read(ino, i * 8192, 1).expect("reads"), [i as u8]);
    }
    disk.close().expect("closes");
    assert_clean(&shared);
    let mut image = vec![0; 4096 * BLOCK_SIZE];
    shared.read_blocks(0, &mut image).expect("reads");

    for unlink in [true, false] {
        let crash = Arc::new(CrashDevice::new(&image));
        let device: Arc<dyn BlockDevice> = crash.clone();
        let mut disk = open(&device).expect("opens");
        if unlink {
            disk.unlink(Ino::ROOT, OsStr::new("f")).expect("unlinks");
        } else {
            let change = AttrChange {
                size: Some(0),
                ..AttrChange::default()
            };
            disk.set_attr(ino, &change).expect("cuts");
        }
        disk.close().expect("closes");
        assert_clean(&device);
        let mut dice = Dice(99);
        let moments = crash.moments();
        for moment in (0..=moments).step_by(moments / 50 + 1) {
            let image = crash.image_after(moment, || match dice.roll() % 3 {
                0 => Fate::Lost,
                _ => Fate::Kept,
            });
            let after: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(&image));
            assert_clean(&after);
            let mut disk = open(&after).expect("mounts");
            match disk.lookup(Ino::ROOT, OsStr::new("f")) {
                Ok(attr) if attr.size > 0 => assert_eq!(attr.blocks / 8, 1200 + 5),
                Ok(attr) => assert_eq!(attr.blocks, 0),
                Err(_) => assert_eq!(disk.space().free_blocks, free),
            }
            disk.close().expect("closes");
            assert_clean(&after);
        }
    }
}
