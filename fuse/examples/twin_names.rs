// SPDX-License-Identifier: Apache-2.0
//! Finds two names with one hash under the key of the golden images: how `TWINS` in `tests/images` came about.
//!
//! Distinguished points: each trail hashes the name made from the last hash until one ends in 20 zero bits; two
//! trails that end alike have met. About 2^31 steps, half a minute.

use std::collections::HashMap;
use vexfs::disk::hash::dir_hash;
use vexfs::disk::mkfs::Identity;

const MARK: u64 = (1 << 20) - 1;

fn name(of: u64) -> String {
    format!("{of:015x}")
}

fn main() {
    let key = Identity::from_seed(b"golden images v1").hash_key;
    let step = |at: u64| dir_hash(&key, name(at).as_bytes()) >> 3;
    let mut ends: HashMap<u64, (u64, u64)> = HashMap::new();
    for start in 1.. {
        let (mut at, mut length) = (start, 0_u64);
        while length == 0 || at & MARK != 0 {
            at = step(at);
            length += 1;
            if length > 40 * MARK {
                break; // a loop without a mark
            }
        }
        let Some(&(other, others)) = ends.get(&at) else {
            ends.insert(at, (start, length));
            continue;
        };
        let (mut a, mut b, mut ahead) = (start, other, length.abs_diff(others));
        if others > length {
            std::mem::swap(&mut a, &mut b);
        }
        while ahead > 0 {
            (a, ahead) = (step(a), ahead - 1);
        }
        while a != b {
            let (next_a, next_b) = (step(a), step(b));
            if next_a == next_b {
                println!("[{:?}, {:?}]", name(a), name(b));
                return;
            }
            (a, b) = (next_a, next_b);
        }
    }
}
