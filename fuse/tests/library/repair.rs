// SPDX-License-Identifier: Apache-2.0
//! What a repair keeps, and that one that is cut off can be done again.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::images;
use crate::mutate::{Base, reseal};
use vexfs::disk::{
    Block, BlockDevice, CrashDevice, DiskVolume, Fate, MemoryDevice, OpenOptions, Superblock, fsck,
};
use vexfs::{AtimePolicy, DirEntry, Ino};

fn change(device: &dyn BlockDevice, at: u64, change: impl FnOnce(&mut Block)) {
    let mut block = Block::zeroed();
    device.read_blocks(at, &mut block[..]).expect("reads");
    change(&mut block);
    device.write_blocks(at, &block[..]).expect("writes");
}

fn repaired(device: &Arc<MemoryDevice>) {
    let shared: Arc<dyn BlockDevice> = device.clone();
    let (first, last) = fsck::repair(Arc::clone(&shared), &|_| ()).expect("repairs");
    assert!(!first.is_clean() && last.is_clean(), "{:?}", last.findings);
    let again = fsck::check(shared).expect("checks");
    assert!(again.is_clean(), "{:?}", again.findings);
}

fn open(device: &Arc<MemoryDevice>) -> DiskVolume {
    let device: Arc<dyn BlockDevice> = device.clone();
    let options = OpenOptions {
        read_only: true,
        ..images::options()
    };
    DiskVolume::open(device, options, AtimePolicy::Never).expect("opens")
}

fn names(volume: &mut DiskVolume, dir: Ino) -> Vec<String> {
    let mut names = Vec::new();
    let listed = volume.read_dir(dir, 2, &mut |entry: DirEntry<'_>| {
        names.push(entry.name.to_string_lossy().into_owned());
        ControlFlow::Continue(())
    });
    listed.expect("lists");
    names.sort();
    names
}

fn read(volume: &mut DiskVolume, dir: Ino, name: &str) -> Vec<u8> {
    let ino = volume.lookup(dir, OsStr::new(name)).expect("is there").ino;
    volume.read(ino, 0, 1 << 20).expect("reads")
}

/// The volume with files, damaged; with what its root and the contents of "plain" were.
fn files(damage: impl FnOnce(&Arc<MemoryDevice>, &Superblock)) -> (Arc<MemoryDevice>, Vec<String>) {
    let device = Arc::new(images::build("files-4m"));
    let before = names(&mut open(&device), Ino::ROOT);
    let superblock = Superblock::read(&*device).expect("is valid");
    damage(&device, &superblock);
    repaired(&device);
    (device, before)
}

/// The root has these names, and the file is whole.
fn assert_kept(device: &Arc<MemoryDevice>, before: &[String], file: &str) {
    let mut volume = open(device);
    assert_eq!(names(&mut volume, Ino::ROOT), before);
    assert_eq!(
        read(&mut volume, Ino::ROOT, file),
        images::content(100_000, 1)
    );
}

#[test]
fn a_lost_superblock_comes_back_from_its_copy() {
    let (device, before) = files(|device, _| change(&**device, 0, |block| block.fill(0)));
    assert_kept(&device, &before, "plain");
}

#[test]
fn a_superblock_with_another_key_or_uuid_is_not_believed() {
    for at in [0x20, 0x50] {
        let (device, before) = files(|device, superblock| {
            let geometry = superblock.geometry();
            change(&**device, 0, |block| {
                block[at] ^= 1;
                reseal(&geometry, 0, block);
            });
        });
        assert_eq!(names(&mut open(&device), Ino::ROOT), before);
    }
}

#[test]
fn a_lost_root_is_found_by_its_leaves() {
    let (device, before) = files(|device, superblock| {
        let (at, byte) = superblock.geometry().inode_place(1).expect("is one");
        change(&**device, at, |block| block[byte..byte + 512].fill(0));
    });
    assert_kept(&device, &before, "hard");
}

#[test]
fn a_directory_without_its_index_keeps_every_name() {
    let device = Arc::new(images::build("names-8m"));
    let mut volume = open(&device);
    let dir = volume
        .lookup(Ino::ROOT, OsStr::new("many"))
        .expect("is there")
        .ino;
    let before = names(&mut volume, dir);
    assert!(before.len() > 400);
    drop(volume);
    let mut broken = 0;
    for at in 0..device.blocks() {
        change(&*device, at, |block| {
            if block.starts_with(b"VXDI") {
                block[0x40] ^= 0xff;
                broken += 1;
            }
        });
    }
    assert!(broken > 0);
    repaired(&device);
    assert_eq!(names(&mut open(&device), dir), before);
}

#[test]
fn lost_bitmaps_and_summaries_come_back_from_the_inodes() {
    let (device, before) = files(|device, superblock| {
        let geometry = superblock.geometry();
        for at in [1, 2, geometry.group_start(0), geometry.journal_start] {
            change(&**device, at, |block| block[0..64].fill(0xee));
        }
    });
    assert_kept(&device, &before, "plain");
}

#[test]
fn what_has_lost_its_directory_is_in_lost_and_found() {
    let (device, _) = files(|device, superblock| {
        let inner = open(device)
            .lookup(Ino::ROOT, OsStr::new("dir"))
            .expect("is there")
            .ino;
        let (at, byte) = superblock
            .geometry()
            .inode_place(inner.0 as u32)
            .expect("is one");
        change(&**device, at, |block| block[byte + 0x30] ^= 1);
    });
    let mut volume = open(&device);
    let lost = volume
        .lookup(Ino::ROOT, OsStr::new("lost+found"))
        .expect("was made")
        .ino;
    let found = names(&mut volume, lost);
    assert!(
        !found.is_empty() && found.iter().all(|name| name.starts_with('#')),
        "{found:?}"
    );
}

#[test]
fn a_repair_that_is_cut_off_can_be_done_again() {
    let base = images::build("files-4m");
    let mutations = Base::new(&base);
    let mut moments = 0;
    for seed in 0..12 {
        let mut image = base.image();
        for patch in mutations.patches(seed) {
            let at = patch.offset as usize;
            image[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
        }
        let device = Arc::new(CrashDevice::new(&image));
        if fsck::repair(device.clone(), &|_| ()).is_err() {
            continue;
        }
        moments += device.moments();
        for moment in (0..device.moments()).step_by(3) {
            for fate in [Fate::Kept, Fate::Lost, Fate::Torn(0x0f)] {
                let cut = device.image_after(moment, || fate);
                let cut: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(&cut));
                let (_, last) = fsck::repair(cut, &|_| ()).expect("repairs");
                assert!(
                    last.is_clean(),
                    "seed {seed} at {moment}: {:?}",
                    last.findings
                );
            }
        }
    }
    assert!(moments > 50, "only {moments} writes were seen");
}
