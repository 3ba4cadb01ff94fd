// SPDX-License-Identifier: Apache-2.0
//! Vector collections (section 12 of the format).
//!
//! - `shape.rs`: what a store says of itself
//! - `slots.rs`: the slot map
//! - `bytes.rs`: the vectors' blocks
//! - `distance.rs`: distances, to the bit
//! - `scan.rs`, `search.rs`: the nearest vectors
//! - `collection.rs`: an open collection in memory
//!
//! What changes a collection is in `volume/vectors/`, since it also changes names and files.

pub mod bytes;
mod collection;
mod distance;
mod scan;
mod search;
mod shape;
pub mod slots;

pub use collection::Collection;
pub(crate) use collection::{Change, Collections};
pub use distance::{distance, norm2};
pub use search::{Found, Query};
pub use shape::{Metric, Shape};
pub use slots::{SlotEntry, StoreRef, vector_crc};
