// SPDX-License-Identifier: Apache-2.0
//! `cargo +nightly fuzz run image`: a volume, changed as the input says. The same entry runs in `cargo test`.
#![no_main]

#[path = "../../tests/images/mod.rs"]
mod images;
#[path = "../../tests/mutations/mod.rs"]
mod mutate;
#[path = "../../tests/ordeal/mod.rs"]
mod ordeal;
#[path = "../entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::run(data));
