// SPDX-License-Identifier: Apache-2.0
//! The exact search: a first pass in binary32 throws away what cannot be among the hits; what is left is computed as the
//! document says, and sorted by (distance, inode).
//!
//! **The bound.** A sum of n products in binary32, in any order, fused or not, differs from the true sum by at most
//! g times the sum of the absolute terms, g = n u / (1 - n u), u = 2^-24 (Higham, Accuracy and Stability of Numerical
//! Algorithms, section 3.1), plus 2^-149 a term where a product is too small to be a normal number. For squares the
//! absolute terms are the terms. For products they are at most |q| |x| (Cauchy-Schwarz). The differences of l2 are
//! rounded to binary32 in both passes, so they are the same. The exact pass is itself off by a few 2^-53, which the
//! factor in [`slack`] covers a million times. A sum that is not finite says nothing: its row is a candidate.

use std::collections::BinaryHeap;

use super::Metric;
use super::distance::{distance, norm2};
use super::scan::passes;

/// Rows of one step of the first pass: their sums stay in the nearest cache.
const STEP: usize = 128;
const UNIT: f64 = 1.0 / (1 << 24) as f64;
const TINY: f64 = 1.0 / (1_u128 << 100) as f64 / (1_u64 << 49) as f64;

/// One result: an inode and its distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The member.
    pub ino: u32,
    /// Its distance.
    pub distance: f64,
}

/// What sorts distances: an integer in the same order. There is no NaN among them.
fn key(distance: f64) -> i64 {
    let bits = distance.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn unkey(key: i64) -> f64 {
    f64::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64)
}

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// As many finite elements as the collection's vectors have.
    pub vector: &'a [f32],
    /// Most results.
    pub k: usize,
    /// Only what sorts behind this distance (its bits) and inode.
    pub after: Option<(u64, u64)>,
}

/// Rows that lie one behind the other.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// `stride` elements a row.
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    /// Whose each is; 0: nobody's.
    pub(super) owners: &'a [u32],
    /// For each: what [`scale`] gives.
    pub(super) scales: &'a [f64],
}

/// What the first pass needs to know of a vector besides its sum: for the inner product its length, for cosine the
/// inverse of that (0 without one), for l2 nothing.
pub(super) fn scale(metric: Metric, x: &[f32]) -> f64 {
    match metric {
        Metric::L2 => 0.0,
        Metric::InnerProduct => norm2(x).sqrt(),
        Metric::Cosine => match norm2(x) {
            0.0 => 0.0,
            square => 1.0 / square.sqrt(),
        },
    }
}

/// A relative error that no sum of `n` terms exceeds.
fn slack(n: usize) -> f64 {
    1.1 * (n as f64 + 8.0) * UNIT
}

/// A search in progress.
pub(super) struct Search<'a> {
    metric: Metric,
    query: Query<'a>,
    after: Option<(i64, u64)>,
    /// The best so far, the worst of them on top.
    best: BinaryHeap<(i64, u32)>,
    /// Of the query, as [`scale`] gives it.
    scale: f64,
    slack: f64,
    tiny: f64,
    /// Live rows seen.
    pub(super) scanned: u64,
}

impl<'a> Search<'a> {
    pub(super) fn new(metric: Metric, query: Query<'a>) -> Self {
        let n = query.vector.len();
        Self {
            metric,
            query,
            after: query
                .after
                .map(|(bits, ino)| (key(f64::from_bits(bits)), ino)),
            best: BinaryHeap::with_capacity(query.k + 1),
            scale: scale(metric, query.vector),
            slack: slack(n),
            tiny: n as f64 * TINY,
            scanned: 0,
        }
    }

    /// No result will be farther than this.
    fn limit(&self) -> f64 {
        match self.best.peek() {
            Some((worst, _)) if self.best.len() == self.query.k => unkey(*worst),
            _ => f64::INFINITY,
        }
    }

    /// Between which distances a row with this sum of the first pass lies.
    #[inline]
    fn bounds(&self, sum: f32, scale: f64) -> (f64, f64) {
        let sum = f64::from(sum);
        if !sum.is_finite() {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        match self.metric {
            Metric::L2 => (
                (sum - self.tiny) * (1.0 - self.slack),
                (sum + self.tiny) * (1.0 + 2.0 * self.slack),
            ),
            Metric::InnerProduct => {
                let error = self.slack * self.scale * scale + self.tiny;
                (-sum - error, -sum + error)
            }
            Metric::Cosine => {
                let inverse = self.scale * scale;
                if inverse == 0.0 || !inverse.is_finite() {
                    return (f64::NEG_INFINITY, f64::INFINITY);
                }
                let error = self.slack + self.tiny * inverse;
                let about = 1.0 - sum * inverse;
                (about - error, about + error)
            }
        }
    }

    /// Compares the query with every row that somebody owns.
    pub(super) fn rows(&mut self, rows: Rows<'_>) {
        let passes = passes();
        let pass = match self.metric {
            Metric::L2 => passes.squares,
            Metric::InnerProduct | Metric::Cosine => passes.products,
        };
        let q = self.query.vector;
        let mut sums = [0.0_f32; STEP];
        let mut limit = self.limit();
        let mut first = 0;
        for part in rows.values.chunks(STEP * rows.stride) {
            let count = part.len() / rows.stride;
            pass(q, part, rows.stride, &mut sums[..count]);
            let owners = &rows.owners[first..first + count];
            let scales = &rows.scales[first..first + count];
            for i in 0..count {
                let (low, high) = self.bounds(sums[i], scales[i]);
                if low > limit {
                    continue;
                }
                let x = &part[i * rows.stride..][..q.len()];
                if owners[i] != 0 && self.is_after(high) {
                    self.exact(owners[i], x);
                    limit = self.limit();
                }
            }
            first += count;
        }
        self.scanned += rows.owners.iter().filter(|owner| **owner != 0).count() as u64;
    }

    /// Whether something at this distance at most may be behind `after`.
    fn is_after(&self, high: f64) -> bool {
        self.after.is_none_or(|(after, _)| key(high) >= after)
    }

    /// Takes the vector of `ino` in, if it is among the best.
    fn exact(&mut self, ino: u32, x: &[f32]) {
        let found = (key(distance(self.metric, self.query.vector, x)), ino);
        if self
            .after
            .is_some_and(|after| (found.0, u64::from(ino)) <= after)
        {
            return;
        }
        if self.best.len() < self.query.k {
            self.best.push(found);
        } else if let Some(mut worst) = self.best.peek_mut()
            && found < *worst
        {
            *worst = found;
        }
    }

    /// The results, nearest first.
    pub(super) fn finish(self) -> Vec<Found> {
        let sorted = self.best.into_sorted_vec();
        let found = |(key, ino): (i64, u32)| Found {
            ino,
            distance: unkey(key),
        };
        sorted.into_iter().map(found).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn element() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -1.0_f32..1.0,
            2 => (-4_i8..4).prop_map(f32::from),
            1 => prop::sample::select(vec![0.0, -0.0, f32::MAX, f32::MIN, 1e-30, -1e-42, 1e19, 3e38]),
        ]
    }

    fn metric() -> impl Strategy<Value = Metric> {
        prop::sample::select(vec![Metric::L2, Metric::InnerProduct, Metric::Cosine])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_search_finds_exactly_what_comparing_everything_finds(
            metric in metric(),
            (query, values) in (1_usize..70, 1_usize..150).prop_flat_map(|(dimension, count)| (
                prop::collection::vec(element(), dimension),
                prop::collection::vec(element(), dimension * count),
            )),
            k in 1_usize..40,
            doubled in any::<bool>(),
            from in prop::option::of(0_usize..200),
        ) {
            let dimension = query.len();
            let stride = (dimension + 3) & !3;
            let mut rows = Vec::new();
            for x in values.chunks(dimension) {
                for _ in 0..=usize::from(doubled) {
                    rows.extend_from_slice(x);
                    rows.resize(rows.len().next_multiple_of(stride), 7.0);
                }
            }
            let count = rows.len() / stride;
            // Every seventh slot is free; inode numbers fall where slots rise.
            let owners: Vec<u32> = (0..count).map(|i| if i % 7 == 3 { 0 } else { (count - i) as u32 }).collect();
            let x = |i: usize| &rows[i * stride..][..dimension];
            let scales: Vec<f64> = (0..count).map(|i| scale(metric, x(i))).collect();
            let mut all: Vec<(i64, u32)> = (0..count)
                .filter(|i| owners[*i] != 0)
                .map(|i| (key(distance(metric, &query, x(i))), owners[i]))
                .collect();
            all.sort_unstable();
            let live = all.len() as u64;
            let mut after = None;
            if let Some(from) = from.filter(|from| *from < all.len()) {
                after = Some((unkey(all[from].0).to_bits(), all[from].1.into()));
                all.drain(..=from);
            }
            all.truncate(k);
            let mut search = Search::new(metric, Query { vector: &query, k, after });
            search.rows(Rows { values: &rows, stride, owners: &owners, scales: &scales });
            prop_assert_eq!(search.scanned, live);
            let got: Vec<(i64, u32)> = search.finish().iter().map(|f| (key(f.distance), f.ino)).collect();
            prop_assert_eq!(got, all);
        }
    }

    #[test]
    fn keys_sort_as_distances_do_and_can_be_undone() {
        let sorted = [
            f64::NEG_INFINITY,
            -2.5,
            -1e-300,
            0.0,
            1e-300,
            1.0,
            f64::MAX,
            f64::INFINITY,
        ];
        assert!(sorted.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert!(
            sorted
                .iter()
                .all(|d| unkey(key(*d)).to_bits() == d.to_bits())
        );
    }
}
