// SPDX-License-Identifier: Apache-2.0
//! The fuzz target's entry without a fuzzer: the committed corpus, and inputs that a seed repeats.

use std::path::Path;

use crate::{entry, mutate};

#[test]
fn the_corpus_and_random_inputs_pass() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/image");
    let mut files: Vec<_> = std::fs::read_dir(&corpus)
        .expect("is there")
        .map(|entry| entry.expect("reads").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        println!("{}", file.display());
        entry::run(&std::fs::read(&file).expect("reads"));
    }
    for seed in 0..20 {
        println!("seed {seed}");
        let mut dice = mutate::Dice::new(seed);
        let length = 1 + dice.below(60);
        let data: Vec<u8> = (0..length).map(|_| dice.roll() as u8).collect();
        entry::run(&data);
    }
}
