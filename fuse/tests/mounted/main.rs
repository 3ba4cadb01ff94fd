// SPDX-License-Identifier: Apache-2.0
//! The tests of the daemon: its command line, and what a mount of it does. One crate, as the library's tests are.

mod common;
#[cfg(feature = "tools")]
#[path = "../images/mod.rs"]
mod images;
#[cfg(feature = "tools")]
#[path = "../mutations/mod.rs"]
mod mutate;

mod cli;
#[cfg(feature = "tools")]
mod image;
mod lifecycle;
mod mount;
#[cfg(feature = "tools")]
mod mounted_mutations;
