// SPDX-License-Identifier: Apache-2.0
//! After a power cut at any moment a collection mounts, fsck is clean, each vector is the old or the new one, and what
//! was synced is there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;

use crate::volumes::{Dice, OWNER, assert_clean, format, open};
use vexfs::disk::vector::Metric;
use vexfs::disk::volume::{Add, Keys};
use vexfs::disk::{BlockDevice, CrashDevice, DiskVolume, MemoryDevice};
use vexfs::{Ino, NewNode};

const DIMENSION: usize = 50;
const IDS: u64 = 40;
const ADD: Keys = Keys::Ids(Add {
    mode: 0o600,
    owner: OWNER,
    exclusive: false,
});

fn vector(seed: u64) -> Vec<f32> {
    (0..DIMENSION)
        .map(|i| (seed * 64 + i as u64) as f32)
        .collect()
}

/// What each id's vector may be: its seed, or none.
type State = BTreeMap<u64, u64>;

fn held(volume: &DiskVolume, dir: Ino) -> State {
    let mut state = State::new();
    for id in 0..IDS {
        let Ok(attr) = volume.lookup(dir, OsStr::new(&id.to_string())) else {
            continue;
        };
        if let Ok(read) = volume.vector(dir, attr.ino.0) {
            let seed = read[0] as u64 / 64;
            assert_eq!(read, vector(seed), "a vector is whole");
            state.insert(id, seed);
        }
    }
    state
}

/// Random changes; after each sync the moment and what was there.
fn run(crash: &Arc<CrashDevice>, dice: &mut Dice) -> (Ino, Vec<(usize, State)>, Vec<State>) {
    let device: Arc<dyn BlockDevice> = crash.clone();
    let mut volume = open(&device).expect("opens");
    let made = volume.make(Ino::ROOT, OsStr::new("c"), NewNode::Directory, 0o755, OWNER);
    let dir = made.expect("makes").ino;
    volume
        .collection_create(dir, DIMENSION as u32, Metric::L2)
        .expect("creates");
    volume.sync().expect("syncs");
    let mut state = State::new();
    let mut synced = vec![(crash.moments(), state.clone())];
    let mut history = vec![state.clone()];
    for step in 1..60_u64 {
        let id = dice.roll() % IDS;
        match dice.roll() % 8 {
            0..=3 => {
                let content = vector(step);
                let done = volume.vector_set(dir, ADD, &[(id, &content)]);
                assert_eq!(done.expect("adds").error, None);
                state.insert(id, step);
            }
            4 => {
                let contents: Vec<Vec<f32>> = (0..10).map(|_| vector(step)).collect();
                let ids = (0..10).map(|i| (id + i) % IDS);
                let entries: Vec<(u64, &[f32])> =
                    ids.zip(contents.iter().map(Vec::as_slice)).collect();
                for (id, _) in &entries {
                    state.insert(*id, step);
                }
                let done = volume.vector_set(dir, ADD, &entries);
                assert_eq!(done.expect("adds").error, None);
            }
            5 => {
                let _ = volume.unlink(dir, OsStr::new(&id.to_string()));
                state.remove(&id);
            }
            6 => {
                if let Ok(attr) = volume.lookup(dir, OsStr::new(&id.to_string())) {
                    let _ = volume.vector_remove(dir, &[attr.ino.0]);
                }
                state.remove(&id);
            }
            _ => {
                volume.sync().expect("syncs");
                synced.push((crash.moments(), state.clone()));
            }
        }
        history.push(state.clone());
    }
    volume.close().expect("closes");
    synced.push((crash.moments(), state));
    (dir, synced, history)
}

#[test]
fn a_power_cut_leaves_the_state_after_some_operation_and_nothing_synced_is_lost() {
    for seed in 1..4 {
        let mut dice = Dice(seed * 77);
        let crash = Arc::new(CrashDevice::new(&format(1024).image()));
        let (dir, synced, history) = run(&crash, &mut dice);
        let moments = crash.moments();
        for moment in (0..=moments).step_by(moments / 60 + 1) {
            let image = crash.image_after(moment, || dice.fate());
            let after: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(&image));
            assert_clean(&after);
            let mut volume = open(&after).expect("mounts after the power cut");
            let last = synced.iter().rposition(|(when, _)| *when <= moment);
            if volume.collection(dir).is_ok() {
                let now = held(&volume, dir);
                assert!(history.contains(&now), "{now:?} was never there");
                let at_least = last.map_or(0, |last| {
                    history
                        .iter()
                        .position(|then| *then == synced[last].1)
                        .unwrap_or(0)
                });
                assert!(
                    history[at_least..].contains(&now),
                    "{now:?} is older than what was synced"
                );
            } else {
                assert_eq!(last, None, "a synced collection is gone");
            }
            volume.close().expect("closes");
            assert_clean(&after);
        }
    }
}
