// SPDX-License-Identifier: Apache-2.0
//! Vector collections: each dimension of the table with each metric, and slots that were given back.

use std::ffi::OsStr;

use vexfs::disk::DiskVolume;
use vexfs::disk::vector::{Metric, Query};
use vexfs::disk::volume::{Add, Keys};
use vexfs::{Ino, NewNode};

use super::{OWNER, make};

/// Name of each collection, its dimension and metric.
pub const COLLECTIONS: [(&str, u32, Metric); 5] = [
    ("l2-3", 3, Metric::L2),
    ("ip-3", 3, Metric::InnerProduct),
    ("cosine-3", 3, Metric::Cosine),
    ("l2-128", 128, Metric::L2),
    ("cosine-2048", 2048, Metric::Cosine),
];

/// The vector of a number: small multiples of a quarter, so that every sum is exact.
pub fn vector(dimension: u32, number: u64) -> Vec<f32> {
    let element = |i: u64| ((number * 7 + i * 13) % 31) as f32 / 4.0 - 3.0;
    (0..u64::from(dimension)).map(element).collect()
}

pub fn collections(volume: &mut DiskVolume) {
    let add = Add {
        mode: 0o640,
        owner: OWNER,
        exclusive: false,
    };
    for (name, dimension, metric) in COLLECTIONS {
        let dir = make(volume, Ino::ROOT, name, NewNode::Directory);
        let done = volume.collection_create(dir, dimension, metric);
        done.expect("becomes a collection");
        let count = if dimension > 128 { 9 } else { 30 };
        let vectors: Vec<Vec<f32>> = (0..count).map(|n| vector(dimension, n)).collect();
        let entries: Vec<(u64, &[f32])> = (0..).zip(vectors.iter().map(Vec::as_slice)).collect();
        let done = volume.vector_set(dir, Keys::Ids(add), &entries);
        assert_eq!(done.expect("adds").error, None);
        // A slot that is free, one that was filled again, and a member without a vector.
        for id in ["1", "5"] {
            volume.unlink(dir, OsStr::new(id)).expect("unlinks");
        }
        let again = vector(dimension, 100);
        let done = volume.vector_set(dir, Keys::Ids(add), &[(2, &again)]);
        assert_eq!(done.expect("sets").error, None);
        make(volume, dir, "bare", NewNode::Regular);
    }
}

/// The answers of every collection to one query each: inode and the bits of the distance, nearest first.
pub fn answers(volume: &mut DiskVolume) -> Vec<(&'static str, Vec<(u32, String)>)> {
    let mut all = Vec::new();
    for (name, dimension, _) in COLLECTIONS {
        let Ok(attr) = volume.lookup(Ino::ROOT, OsStr::new(name)) else {
            continue;
        };
        let query = vector(dimension, 3);
        let query = Query {
            vector: &query,
            k: 6,
            after: None,
        };
        let (found, _) = volume.search(attr.ino, query).expect("searches");
        let bits = |distance: f64| format!("{:016x}", distance.to_bits());
        let found = found.iter().map(|found| (found.ino, bits(found.distance)));
        all.push((name, found.collect()));
    }
    all
}
