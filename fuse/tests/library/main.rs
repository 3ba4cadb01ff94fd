// SPDX-License-Identifier: Apache-2.0
//! The tests of the library and of its tools, without a mount. One crate, for each one is compiled, checked and linked for
//! itself; `cargo test --test library NAME` runs the module of that name.

mod collections;
#[path = "../../fuzz/entry.rs"]
mod entry;
#[path = "../images/mod.rs"]
mod images;
#[path = "../mutations/mod.rs"]
mod mutate;
mod naive;
#[path = "../ordeal/mod.rs"]
mod ordeal;
mod stores;
mod volumes;

mod beside;
mod crash;
mod damage;
mod devices;
mod disk;
mod failed_sync;
mod fsck;
mod fuzz;
#[cfg(feature = "tools")]
mod golden;
mod hostile_store;
mod mutations;
mod power_cut;
mod repair;
mod store;
mod sync_beside;
#[cfg(feature = "tools")]
mod tools;
mod truncation;
mod uapi;
mod vectors;
mod vectors_fsck;
mod vectors_model;
mod vectors_power_cut;
