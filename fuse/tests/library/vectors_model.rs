// SPDX-License-Identifier: Apache-2.0
//! A collection against a map in memory: random changes, searches and remounts, with fsck clean.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;

use crate::collections::{ADD, add, collection, nearest};
use crate::volumes::{assert_clean, format, open};
use proptest::prelude::*;
use vexfs::disk::vector::{Metric, distance};
use vexfs::disk::volume::Keys;
use vexfs::disk::{BlockDevice, DiskVolume};
use vexfs::{Ino, RenameMode};

#[derive(Debug, Clone)]
enum Step {
    Add(u64, u8),
    AddMany(u64, u8, u8),
    Set(u64, u8),
    Remove(u64),
    Unlink(u64),
    Rename(u64, u64),
    Search(u8, usize),
    Sync,
    Remount,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0_u64..40;
    prop_oneof![
        4 => (id.clone(), any::<u8>()).prop_map(|(id, x)| Step::Add(id, x)),
        2 => (id.clone(), any::<u8>(), 1_u8..60).prop_map(|(id, x, n)| Step::AddMany(id, x, n)),
        3 => (id.clone(), any::<u8>()).prop_map(|(id, x)| Step::Set(id, x)),
        2 => id.clone().prop_map(Step::Remove),
        3 => id.clone().prop_map(Step::Unlink),
        1 => (id.clone(), id).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (any::<u8>(), 1_usize..30).prop_map(|(x, k)| Step::Search(x, k)),
        1 => Just(Step::Sync),
        1 => Just(Step::Remount),
    ]
}

fn vector(seed: u8, dimension: usize) -> Vec<f32> {
    (0..dimension)
        .map(|i| f32::from(seed.wrapping_mul(31).wrapping_add((i * 7) as u8)) / 16.0 - 8.0)
        .collect()
}

/// Names, the inode and the vector of each.
type Members = BTreeMap<u64, (u32, Option<u8>)>;

struct Case {
    device: Arc<dyn BlockDevice>,
    volume: DiskVolume,
    dir: Ino,
    dimension: usize,
    metric: Metric,
    members: Members,
}

impl Case {
    fn new(dimension: usize, metric: Metric) -> Self {
        let device: Arc<dyn BlockDevice> = Arc::new(format(4096));
        let mut volume = open(&device).expect("opens");
        let dir = collection(&mut volume, "c", dimension as u32, metric);
        let members = Members::new();
        Self {
            device,
            volume,
            dir,
            dimension,
            metric,
            members,
        }
    }

    fn check(&mut self, seed: u8, k: usize) {
        let query = vector(seed, self.dimension);
        let mut want: Vec<(f64, u32)> = self
            .members
            .values()
            .filter_map(|(ino, x)| {
                Some((
                    distance(self.metric, &query, &vector((*x)?, self.dimension)),
                    *ino,
                ))
            })
            .collect();
        want.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let want: Vec<(u32, f64)> = want.iter().map(|(d, ino)| (*ino, *d)).take(k).collect();
        assert_eq!(nearest(&mut self.volume, self.dir, &query, k), want);
    }

    fn apply(&mut self, step: &Step) {
        let Self {
            volume,
            dir,
            dimension,
            members,
            ..
        } = self;
        let (dir, dimension) = (*dir, *dimension);
        let name = |id: &u64| id.to_string();
        match step {
            Step::Add(id, x) => {
                let ino = add(volume, dir, *id, &vector(*x, dimension));
                members.insert(*id, (ino, Some(*x)));
            }
            Step::AddMany(first, x, count) => {
                // Ids come twice: the later one counts.
                let ids: Vec<u64> = (0..u64::from(*count))
                    .map(|i| (first + i * 3) % 50)
                    .collect();
                let seeds: Vec<u8> = (0..*count).map(|i| x.wrapping_add(i)).collect();
                let vectors: Vec<Vec<f32>> = seeds.iter().map(|x| vector(*x, dimension)).collect();
                let entries: Vec<(u64, &[f32])> = ids
                    .iter()
                    .copied()
                    .zip(vectors.iter().map(Vec::as_slice))
                    .collect();
                let done = volume
                    .vector_set(dir, Keys::Ids(ADD), &entries)
                    .expect("adds");
                assert_eq!((done.error, done.inodes.len()), (None, ids.len()));
                for ((id, x), ino) in ids.iter().zip(seeds).zip(done.inodes) {
                    members.insert(*id, (ino, Some(x)));
                }
            }
            Step::Set(id, x) => {
                let Some((ino, held)) = members.get_mut(id) else {
                    return;
                };
                let content = vector(*x, dimension);
                let entries: [(u64, &[f32]); 1] = [(u64::from(*ino), &content)];
                volume
                    .vector_set(dir, Keys::Inodes, &entries)
                    .expect("sets");
                *held = Some(*x);
            }
            Step::Remove(id) => {
                let Some((ino, held)) = members.get_mut(id) else {
                    return;
                };
                let removed = volume.vector_remove(dir, &[u64::from(*ino)]);
                assert_eq!(removed.is_ok(), held.is_some());
                *held = None;
            }
            Step::Unlink(id) => {
                let done = volume.unlink(dir, OsStr::new(&name(id)));
                assert_eq!(done.is_ok(), members.remove(id).is_some());
            }
            Step::Rename(a, b) => {
                let done = volume.rename(
                    dir,
                    OsStr::new(&name(a)),
                    dir,
                    OsStr::new(&name(b)),
                    RenameMode::Replace,
                );
                assert_eq!(done.is_ok(), members.contains_key(a));
                if let Some(moved) = members.remove(a) {
                    members.insert(*b, moved);
                }
            }
            Step::Search(x, k) => self.check(*x, *k),
            Step::Sync => {
                volume.sync().expect("syncs");
                assert_clean(&self.device);
            }
            Step::Remount => {
                volume.close().expect("closes");
                assert_clean(&self.device);
                *volume = open(&self.device).expect("opens again");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_collection_behaves_as_a_map_of_vectors(
        steps in prop::collection::vec(step(), 1..80),
        dimension in prop::sample::select(vec![1_usize, 3, 16, 130, 700]),
        metric in prop::sample::select(vec![Metric::L2, Metric::InnerProduct, Metric::Cosine]),
    ) {
        let mut case = Case::new(dimension, metric);
        steps.iter().for_each(|step| case.apply(step));
        case.check(9, 1000);
        for (ino, held) in case.members.clone().values() {
            let read = case.volume.vector(case.dir, u64::from(*ino)).ok();
            prop_assert_eq!(read, held.map(|x| vector(x, dimension)));
        }
        case.apply(&Step::Remount);
        case.check(77, 1000);
    }
}
