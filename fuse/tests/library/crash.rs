// SPDX-License-Identifier: Apache-2.0
//! Power cuts: whatever subset of the unflushed writes reached the disk, whole or torn, the replay gives the state
//! after some committed transaction, not older than the last commit that had returned.

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vexfs::disk::layout::BLOCK_SIZE;
use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::{
    BlockDevice, CrashDevice, Expect, Fate, Inode, Kind, MemoryDevice, MetaRead, OpenOptions, Store,
};

/// splitmix64: the choices inside one case.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % sides
    }
}

fn options() -> OpenOptions {
    OpenOptions {
        log: Arc::new(|_| {}),
        clock: Arc::new(|| 1),
        ..OpenOptions::default()
    }
}

fn fresh_image() -> Vec<u8> {
    let device = MemoryDevice::new(1024);
    mkfs::format(&device, &mkfs::Options::new(Identity::from_seed(&[1; 16]))).expect("mkfs");
    device.image()
}

/// What the volume holds after an operation.
#[derive(Clone, Default)]
struct Model {
    /// Extent blocks, by the text in them.
    meta: BTreeMap<u64, u64>,
    /// Data runs, by the byte that fills them.
    data: BTreeMap<u64, (u32, u8)>,
    /// Inodes by their size.
    inodes: BTreeMap<u32, u64>,
}

const OWNER: u32 = 1;

fn expect(operation: u64) -> Expect {
    Expect::of_inode(Kind::Extent, OWNER, operation as u32)
}

/// One random operation, in the store and in the model. Its number goes into the state block.
fn operate(store: &mut Store, model: &mut Model, number: u64, dice: &mut Dice) {
    let mut next = model.clone();
    let mut tx = store.begin(48).expect("begin");
    for _ in 0..dice.roll(4) {
        match dice.roll(7) {
            0 | 1 => {
                let Ok(at) = tx.alloc_meta(dice.roll(1024) as u64, expect(number)) else {
                    continue;
                };
                tx.get_mut(at, expect(number), &|_| Ok(()))
                    .expect("new")
                    .put_u64(0x100, number);
                next.meta.insert(at, number);
            }
            2 => {
                let Some((&at, _)) = next.meta.iter().nth(dice.roll(next.meta.len().max(1))) else {
                    continue;
                };
                tx.free_meta(at).expect("free");
                next.meta.remove(&at);
            }
            3 => {
                let want = 1 + dice.roll(60) as u32;
                let Ok((at, len)) = tx.alloc_blocks(dice.roll(1024) as u64, want) else {
                    continue;
                };
                let fill = number as u8 | 1;
                tx.write_data(at, &vec![fill; len as usize * BLOCK_SIZE])
                    .expect("write");
                next.data.insert(at, (len, fill));
            }
            4 => {
                let Some((&at, &(len, _))) =
                    next.data.iter().nth(dice.roll(next.data.len().max(1)))
                else {
                    continue;
                };
                tx.free_blocks(at, len).expect("free");
                next.data.remove(&at);
            }
            5 => {
                let Ok((ino, generation)) = tx.alloc_inode(1, false) else {
                    continue;
                };
                let inode = Inode {
                    size: number,
                    nlink: 1,
                    ..Inode::new(generation, 0o100_600)
                };
                tx.write_inode(ino, &inode).expect("write");
                next.inodes.insert(ino, number);
            }
            _ => {
                let Some((&ino, _)) = next.inodes.iter().nth(dice.roll(next.inodes.len().max(1)))
                else {
                    continue;
                };
                tx.free_inode(ino).expect("free");
                next.inodes.remove(&ino);
            }
        }
    }
    if dice.roll(10) == 0 {
        return; // dropped: it must leave no trace
    }
    tx.write_state(&mut |state| state.check_time = number as i64)
        .expect("state");
    tx.finish().expect("finish");
    *model = next;
}

/// The history of a run: what the volume held after each operation, and what was durable when.
struct History {
    device: Arc<CrashDevice>,
    after: BTreeMap<u64, Model>,
    /// Moments at which a commit had returned, with the operation it covers.
    synced: Vec<(usize, u64)>,
}

fn run(operations: usize, dice: &mut Dice) -> History {
    let device = Arc::new(CrashDevice::new(&fresh_image()));
    let mut store = Store::open(device.clone(), options()).expect("open");
    let mut history = History {
        device,
        after: BTreeMap::new(),
        synced: Vec::new(),
    };
    let mut model = Model::default();
    history.after.insert(0, model.clone());
    for number in 1..=operations as u64 {
        operate(&mut store, &mut model, number, dice);
        let covered = store.read_state().expect("state").check_time as u64;
        history.after.insert(covered, model.clone());
        if dice.roll(3) == 0 {
            store.commit().expect("commit");
            history.synced.push((history.device.moments(), covered));
        }
        if dice.roll(15) == 0 {
            // Unmounting empties the log; mounting again starts a new one.
            store.set_read_only().expect("unmount");
            store.set_read_write().expect("mount");
            history.synced.push((history.device.moments(), covered));
        }
    }
    history
}

/// Everything that the model has must be there, and nothing else.
fn assert_holds(store: &Store, model: &Model) {
    for (&at, &number) in &model.meta {
        let block = store
            .read_meta(at, expect(number), &|_| Ok(()))
            .expect("a metadata block");
        assert_eq!(block.get_u64(0x100), number);
    }
    for (&at, &(len, fill)) in &model.data {
        let mut bytes = vec![0; len as usize * BLOCK_SIZE];
        store.read_data(at, &mut bytes).expect("read");
        assert!(
            bytes.iter().all(|&b| b == fill),
            "data at {at} is foreign or missing"
        );
    }
    for (&ino, &size) in &model.inodes {
        assert_eq!(store.read_inode(ino).expect("an inode").size, size);
    }
    let held = model.meta.len() as u64
        + model
            .data
            .values()
            .map(|&(len, _)| u64::from(len))
            .sum::<u64>();
    assert_eq!(store.free_blocks(), 738 - held);
    assert_eq!(store.free_inodes(), 191 - model.inodes.len() as u64);
    let group = store.read_group(0).expect("group");
    let free = vexfs::disk::group::Bitmap::Blocks.clear_bits(&group);
    assert_eq!(u64::from(free), store.free_blocks());
}

fn fate(dice: &mut Dice, loss: usize) -> Fate {
    match dice.roll(10) {
        n if n < loss => Fate::Lost,
        9 => Fate::Torn(dice.roll(256) as u8),
        _ => Fate::Kept,
    }
}

/// Cut the power at a moment, mount what is left, and find the operation that it ends with.
fn cut_and_check(history: &History, moment: usize, dice: &mut Dice) {
    let loss = dice.roll(10);
    let image = history.device.image_after(moment, || fate(dice, loss));
    let at_least = history
        .synced
        .iter()
        .rev()
        .find(|(when, _)| *when <= moment)
        .map_or(0, |s| s.1);
    // The power goes a second time, during the replay or soon after.
    let replaying = Arc::new(CrashDevice::new(&image));
    let store = Store::open(replaying.clone(), options()).expect("mounting after a power cut");
    let number = store.read_state().expect("state").check_time as u64;
    assert!(
        number >= at_least,
        "operation {number} is older than {at_least}, which was synced"
    );
    assert_holds(&store, &history.after[&number]);
    drop(store);
    let image = replaying.image_after(dice.roll(replaying.moments() + 1), || fate(dice, loss));
    let store = Store::open(Arc::new(MemoryDevice::from_image(&image)), options());
    let store = store.expect("mounting after the second power cut");
    assert_eq!(store.read_state().expect("state").check_time as u64, number);
    assert_holds(&store, &history.after[&number]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_leaves_a_committed_state(seed: u64, operations in 1_usize..120) {
        let mut dice = Dice(seed);
        let history = run(operations, &mut dice);
        let committed: BTreeSet<usize> = history.synced.iter().map(|s| s.0).collect();
        for _ in 0..25 {
            // Most of what can go wrong goes wrong around commits.
            let moment = match committed.iter().nth(dice.roll(committed.len().max(1))) {
                Some(&commit) if dice.roll(2) == 0 => (commit + dice.roll(30)).saturating_sub(20),
                _ => dice.roll(history.device.moments() + 1),
            };
            // Before the first mount has committed there is only what mkfs left; that is a state as well.
            cut_and_check(&history, moment.min(history.device.moments()), &mut dice);
        }
    }
}

#[test]
fn every_moment_of_a_short_history_survives_a_cut() {
    let mut dice = Dice(42);
    let history = run(12, &mut dice);
    for moment in 0..=history.device.moments() {
        for _ in 0..2 {
            cut_and_check(&history, moment, &mut dice);
        }
    }
    assert!(history.device.blocks() == 1024);
}
