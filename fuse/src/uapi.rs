// SPDX-License-Identifier: Apache-2.0
//! The interface of `kernel/include/uapi/vexfs.h` to programs: ioctls on a directory. `tests/library/uapi.rs` compiles that header and
//! compares. Numbers have the host's byte order; floats travel as their bits.

use crate::disk::layouts::{Field, Layout};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of this interface.
pub const UAPI_VERSION: u32 = 1;
/// Longest vector.
pub const DIMENSION_MAX: usize = 2048;
/// Most hits of one search.
pub const K_MAX: usize = 1016;
/// Bytes for keys and vectors in a [`Batch`].
pub const BATCH_BYTES: usize = 16256;
/// Elements are binary32.
pub const ELEMENT_F32: u32 = 1;
/// [`Info::features`]: vectors.
pub const FEAT_VECTOR: u64 = 1;
/// [`Info::features`]: built for debugging.
pub const FEAT_DEBUG: u64 = 2;
/// [`Batch::flags`]: an existing name is EEXIST.
pub const BATCH_EXCL: u32 = 1;
/// [`Search::flags`]: only what sorts behind `after_distance`, `after_ino`.
pub const SEARCH_AFTER: u32 = 1;

macro_rules! structures {
    ($($(#[$meta:meta])* $name:ident $c:literal { $($field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
            #[repr(C)]
            #[allow(missing_docs)] // the names are the header's, which says what they are
            pub struct $name {
                $(pub $field: $kind,)*
            }
        )*
        /// Every structure, by the names of the header.
        #[must_use]
        pub fn layouts() -> Vec<Layout> {
            vec![$(Layout {
                name: $c,
                size: size_of::<$name>(),
                fields: vec![$(Field {
                    name: stringify!($field),
                    offset: core::mem::offset_of!($name, $field),
                    size: size_of::<$kind>(),
                    order: "native",
                },)*],
            },)*]
        }
    };
}

structures! {
    /// Answer of INFO.
    Info "vexfs_ioc_info" {
        uapi_version: u32,
        format_version: u32,
        features: u64,
        uuid: [u8; 16],
        label: [u8; 32],
        block_size: u32,
        dimension_max: u32,
        k_max: u32,
        batch_bytes: u32,
        reserved: [u64; 4],
    }
    /// Question of COLLECTION_CREATE, answer of COLLECTION_GET.
    Collection "vexfs_ioc_collection" {
        dimension: u32,
        metric: u32,
        element: u32,
        flags: u32,
        count: u64,
        slots: u64,
        stride: u64,
        dir_ino: u64,
        reserved: [u64; 2],
    }
    /// Keys, then vectors.
    Batch "vexfs_ioc_batch" {
        dimension: u32,
        count: u32,
        done: u32,
        error: i32,
        flags: u32,
        mode: u32,
        reserved: [u64; 5],
        data: [u8; BATCH_BYTES],
    }
    /// One result of a search.
    Hit "vexfs_hit" {
        ino: u64,
        distance: u64,
    }
    /// A query, then hits.
    Search "vexfs_ioc_search" {
        dimension: u32,
        k: u32,
        flags: u32,
        found: u32,
        after_ino: u64,
        after_distance: u64,
        scanned: u64,
        reserved: [u64; 3],
        u: [u8; K_MAX * size_of::<Hit>()],
    }
}

const WRITE: u32 = 1;
const READ: u32 = 2;

/// As `_IOC(way, 'V', number, size)` makes it on x86-64 and arm64.
const fn number(way: u32, number: u32, size: usize) -> u32 {
    way << 30 | (size as u32) << 16 | (b'V' as u32) << 8 | number
}

/// What the volume is.
pub const IOC_INFO: u32 = number(READ, 0xe0, size_of::<Info>());
/// Make the directory a collection.
pub const IOC_COLLECTION_CREATE: u32 = number(WRITE, 0xe1, size_of::<Collection>());
/// What the collection is.
pub const IOC_COLLECTION_GET: u32 = number(READ, 0xe2, size_of::<Collection>());
/// Give members vectors.
pub const IOC_VECTOR_SET: u32 = number(READ | WRITE, 0xe3, size_of::<Batch>());
/// Make members, and give them vectors.
pub const IOC_VECTOR_ADD: u32 = number(READ | WRITE, 0xe4, size_of::<Batch>());
/// The vectors of members.
pub const IOC_VECTOR_GET: u32 = number(READ | WRITE, 0xe5, size_of::<Batch>());
/// Take the vectors of members away.
pub const IOC_VECTOR_REMOVE: u32 = number(READ | WRITE, 0xe6, size_of::<Batch>());
/// Find the nearest.
pub const IOC_SEARCH: u32 = number(READ | WRITE, 0xe7, size_of::<Search>());

/// All constants, by the names of the header.
#[must_use]
pub fn constants() -> Vec<(&'static str, u64)> {
    use crate::disk::layout::SUPER_MAGIC;
    use crate::disk::vector::Metric;
    vec![
        ("VEXFS_SUPER_MAGIC", SUPER_MAGIC.into()),
        ("VEXFS_UAPI_VERSION", UAPI_VERSION.into()),
        ("VEXFS_DIMENSION_MAX", DIMENSION_MAX as u64),
        ("VEXFS_K_MAX", K_MAX as u64),
        ("VEXFS_BATCH_BYTES", BATCH_BYTES as u64),
        ("VEXFS_METRIC_L2", Metric::L2 as u64),
        ("VEXFS_METRIC_IP", Metric::InnerProduct as u64),
        ("VEXFS_METRIC_COSINE", Metric::Cosine as u64),
        ("VEXFS_ELEMENT_F32", ELEMENT_F32.into()),
        ("VEXFS_FEAT_VECTOR", FEAT_VECTOR),
        ("VEXFS_FEAT_DEBUG", FEAT_DEBUG),
        ("VEXFS_BATCH_EXCL", BATCH_EXCL.into()),
        ("VEXFS_SEARCH_AFTER", SEARCH_AFTER.into()),
        ("VEXFS_IOC_MAGIC", b'V'.into()),
        ("VEXFS_IOC_INFO", IOC_INFO.into()),
        ("VEXFS_IOC_COLLECTION_CREATE", IOC_COLLECTION_CREATE.into()),
        ("VEXFS_IOC_COLLECTION_GET", IOC_COLLECTION_GET.into()),
        ("VEXFS_IOC_VECTOR_SET", IOC_VECTOR_SET.into()),
        ("VEXFS_IOC_VECTOR_ADD", IOC_VECTOR_ADD.into()),
        ("VEXFS_IOC_VECTOR_GET", IOC_VECTOR_GET.into()),
        ("VEXFS_IOC_VECTOR_REMOVE", IOC_VECTOR_REMOVE.into()),
        ("VEXFS_IOC_SEARCH", IOC_SEARCH.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_numbers_come_out() {
        let numbers = [
            (IOC_INFO, 0x8070_56e0),
            (IOC_COLLECTION_CREATE, 0x4040_56e1),
            (IOC_COLLECTION_GET, 0x8040_56e2),
            (IOC_VECTOR_SET, 0xffc0_56e3),
            (IOC_VECTOR_ADD, 0xffc0_56e4),
            (IOC_VECTOR_GET, 0xffc0_56e5),
            (IOC_VECTOR_REMOVE, 0xffc0_56e6),
            (IOC_SEARCH, 0xffc0_56e7),
        ];
        for (got, want) in numbers {
            assert_eq!(got, want, "{got:#x} is not {want:#x}");
        }
    }
}
