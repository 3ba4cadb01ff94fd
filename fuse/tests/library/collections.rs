// SPDX-License-Identifier: Apache-2.0
//! Collections to work on, and the shortest ways to ask them.

use std::ffi::OsStr;

use vexfs::disk::DiskVolume;
use vexfs::disk::vector::{Metric, Query};
use vexfs::disk::volume::{Add, Keys};
use vexfs::{Ino, NewNode};

use crate::volumes::OWNER;

pub(crate) const ADD: Add = Add {
    mode: 0o640,
    owner: OWNER,
    exclusive: false,
};

pub(crate) fn make(volume: &mut DiskVolume, dir: Ino, name: &str, node: NewNode) -> Ino {
    let made = volume.make(dir, OsStr::new(name), node, 0o755, OWNER);
    made.expect("makes").ino
}

pub(crate) fn collection(
    volume: &mut DiskVolume,
    name: &str,
    dimension: u32,
    metric: Metric,
) -> Ino {
    let dir = make(volume, Ino::ROOT, name, NewNode::Directory);
    volume
        .collection_create(dir, dimension, metric)
        .expect("becomes a collection");
    dir
}

pub(crate) fn add(volume: &mut DiskVolume, dir: Ino, id: u64, vector: &[f32]) -> u32 {
    let done = volume.vector_set(dir, Keys::Ids(ADD), &[(id, vector)]);
    let done = done.expect("adds");
    assert_eq!(done.error, None);
    done.inodes[0]
}

pub(crate) fn nearest(
    volume: &mut DiskVolume,
    dir: Ino,
    query: &[f32],
    k: usize,
) -> Vec<(u32, f64)> {
    let query = Query {
        vector: query,
        k,
        after: None,
    };
    let (found, _) = volume.search(dir, query).expect("searches");
    found
        .iter()
        .map(|found| (found.ino, found.distance))
        .collect()
}
