// SPDX-License-Identifier: Apache-2.0
//! Vector collections (section 12 of the format).
//!
//! - `shape.rs`: what a store says of itself
//! - `slots.rs`: the slot map
//! - `bytes.rs`: the vectors' blocks
//! - `distance.rs`: distances, to the bit
//! - `scan.rs`, `search.rs`: the nearest vectors
//! - `collection.rs`, `collections.rs`: an open collection in memory, and all of them
//!
//! What changes a collection is in `volume/vectors/`, since it also changes names and files.

pub mod bytes;
mod collection;
mod collections;
mod distance;
mod scan;
mod search;
mod shape;
pub mod slots;

pub(crate) use collection::Change;
pub use collection::Collection;
pub(crate) use collections::Collections;
pub use collections::Loaded;
pub use distance::{distance, norm2};
pub use search::{Found, Query};
pub use shape::{Metric, Shape};
pub use slots::{SlotEntry, StoreRef, vector_crc};
