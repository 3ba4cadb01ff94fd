// SPDX-License-Identifier: Apache-2.0
//! Mutated images: the library neither panics nor hangs on them, and fsck ends on each and repairs it.
//!
//! `MUTATIONS=2000 cargo test --release --test library mutations::` is the long run; `MUTATION=seed` (with `BASE=name`) looks at one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mutate::Base;
use crate::{images, ordeal};
use vexfs::disk::{BlockDevice, MemoryDevice};

/// Images of the normal run.
const QUICK: u64 = 200;
/// What one image may take, in a debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

#[test]
fn mutated_images_are_refused_read_or_repaired() {
    let count = number("MUTATIONS").unwrap_or(QUICK);
    let seeds = match number("MUTATION") {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    };
    let only = std::env::var("BASE").ok();
    let bases: Vec<(&str, Arc<MemoryDevice>, Base)> = images::BASES
        .into_iter()
        .map(|name| {
            let device = images::build(name);
            let base = Base::new(&device);
            (name, Arc::new(device), base)
        })
        .collect();
    let mut tally = ordeal::Tally::default();
    for seed in seeds {
        let (name, device, base) = &bases[seed as usize % bases.len()];
        if only.as_deref().is_some_and(|only| only != *name) {
            continue;
        }
        let below: Arc<dyn BlockDevice> = device.clone();
        let began = Instant::now();
        ordeal::undergo(
            &format!("{name} seed {seed}"),
            &below,
            &base.patches(seed),
            &mut tally,
        );
        let took = began.elapsed();
        assert!(took < DEADLINE, "{name} seed {seed} took {took:?}");
    }
    println!("{tally:?}");
}
