// SPDX-License-Identifier: Apache-2.0
//! VexFS on a device: the format of `docs/format.md`.

mod alloc;
mod block;
mod cache;
mod commit;
pub mod crc;
pub mod device;
mod dir;
mod error;
pub mod extents;
mod flight;
pub mod fsck;
mod geometry;
pub mod group;
pub mod hash;
pub mod inode;
pub mod journal;
pub mod layout;
pub mod layouts;
mod map;
pub mod mkfs;
mod mount;
mod orphan;
mod report;
pub mod state;
mod store;
pub mod summary;
mod superblock;
mod symlink;
mod tx;
pub mod vector;
pub mod volume;
pub mod xattr;

pub use block::{Block, Expect, Kind};
pub use commit::Commit;
pub use device::{Access, BlockDevice, CrashDevice, Fate, FileDevice, MemoryDevice, OverlayDevice};
pub use error::{Corruption, DeviceFailure, Error, Result, corrupt, corrupt_value};
pub use geometry::Geometry;
pub use inode::{FLAG_COLLECTION, FLAG_ORPHAN, FLAG_STORE, FileType, Inode, Slot};
pub use layout::BLOCK_SIZE;
pub use report::ErrorPolicy;
pub use state::{ErrorRecord, State};
pub use store::{Check, MetaRead, OpenOptions, Store};
pub use superblock::Superblock;
pub use tx::Tx;
pub use volume::{DiskVolume, SharedVolume};
