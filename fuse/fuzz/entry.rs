// SPDX-License-Identifier: Apache-2.0
//! What a fuzzer's input means: changes of a small volume that holds every structure.
//!
//! The first byte says what it starts from; then come changes of 4 bytes and what they write: `le16` which of the blocks
//! that a reader checks, bit 15 of it: leave the checksum wrong; `le16` bits 0-11 where in the block, 12-14 how many
//! bytes follow, less one.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use vexfs::disk::{BLOCK_SIZE, BlockDevice, MemoryDevice};

use crate::images;
use crate::mutate::{Base, Patch};
use crate::ordeal::{Tally, undergo};

/// Small ones, so that many can be tried.
const NAMES: [&str; 2] = ["files-4m", "dirty-16m"];
/// Changes of one input.
const CHANGES: usize = 64;

struct Start {
    device: Arc<MemoryDevice>,
    base: Base,
}

fn start(which: usize) -> &'static Start {
    static STARTS: [OnceLock<Start>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];
    STARTS[which].get_or_init(|| {
        let device = images::build(NAMES[which]);
        let base = Base::new(&device);
        Start {
            device: Arc::new(device),
            base,
        }
    })
}

/// The changes that an input means.
fn patches(start: &Start, mut data: &[u8]) -> Vec<Patch> {
    let mut changed = BTreeMap::new();
    for _ in 0..CHANGES {
        let [a, b, c, d, rest @ ..] = data else {
            break;
        };
        let (which, place) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        let count = (usize::from(place >> 12 & 7) + 1).min(rest.len());
        let (bytes, next) = rest.split_at(count);
        let at = usize::from(place & 0xfff).min(BLOCK_SIZE - count);
        start.base.change(
            &mut changed,
            usize::from(which & 0x7fff),
            which >> 15 == 0,
            at,
            bytes,
        );
        data = next;
    }
    start.base.difference(&changed)
}

/// Panics if anything goes wrong that may not.
pub(crate) fn run(data: &[u8]) {
    let [which, rest @ ..] = data else {
        return;
    };
    let start = start(usize::from(*which) % NAMES.len());
    let below: Arc<dyn BlockDevice> = start.device.clone();
    undergo(
        "input",
        &below,
        &patches(start, rest),
        &mut Tally::default(),
    );
}
