// SPDX-License-Identifier: Apache-2.0
//! What a store says of itself: `special` of its inode (section 12.2).

use crate::disk::layout::{RawStore, row};
use crate::disk::{Inode, Kind, MetaRead, Result, corrupt};
use crate::uapi::DIMENSION_MAX;

/// How two vectors are compared (section 12.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Sum of the squared differences.
    L2 = 1,
    /// The negated inner product.
    InnerProduct = 2,
    /// One minus the cosine.
    Cosine = 3,
}

impl Metric {
    /// From its number on disk and in ioctls.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Metric> {
        match number {
            1 => Some(Metric::L2),
            2 => Some(Metric::InnerProduct),
            3 => Some(Metric::Cosine),
            _ => None,
        }
    }
}

/// A store's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Slots ever used: all live ones are below.
    pub slots: u32,
    /// Slots in use.
    pub live: u32,
    /// Elements of a vector.
    pub dimension: u16,
    /// How vectors are compared.
    pub metric: Metric,
}

const ELEMENT_F32: u8 = 1;

impl Shape {
    /// Of a new collection, whose dimension is in 1..=2048.
    #[must_use]
    pub fn new(dimension: u16, metric: Metric) -> Shape {
        Shape {
            slots: 0,
            live: 0,
            dimension,
            metric,
        }
    }

    /// Bytes of a slot.
    #[must_use]
    pub fn stride(&self) -> u32 {
        (4 * u32::from(self.dimension) + 15) & !15
    }

    /// Most slots.
    #[must_use]
    pub fn max_slots(&self) -> u32 {
        let room = (1_u64 << 43) / u64::from(self.stride());
        room.min((1 << 31) - 1) as u32
    }

    /// Bytes that hold the vectors: the store's size.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::from(self.slots) * u64::from(self.stride())
    }

    /// The bytes in the inode.
    #[must_use]
    pub fn encode(&self) -> [u8; 24] {
        zerocopy::transmute!(RawStore {
            slots: self.slots.into(),
            live: self.live.into(),
            dimension: self.dimension.into(),
            metric: self.metric as u8,
            element: ELEMENT_F32,
            stride: self.stride().into(),
            zero: [0; 8],
        })
    }

    /// From a store's inode, with every check of section 12.2.
    ///
    /// # Errors
    /// The name of the field that is wrong.
    pub fn decode(inode: &Inode) -> std::result::Result<Shape, &'static str> {
        let raw: &RawStore = row(&inode.special);
        let metric = Metric::from_number(raw.metric.into()).ok_or("metric")?;
        let shape = Shape {
            slots: raw.slots.get(),
            live: raw.live.get(),
            dimension: raw.dimension.get(),
            metric,
        };
        let rules = [
            (
                (1..=DIMENSION_MAX).contains(&shape.dimension.into()),
                "dimension",
            ),
            (raw.element == ELEMENT_F32, "element"),
            (raw.stride.get() == shape.stride(), "stride"),
            (shape.slots <= shape.max_slots(), "slots"),
            (shape.live <= shape.slots, "live"),
            (inode.size == shape.size(), "size"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, field)) => Err(field),
            None => Ok(shape),
        }
    }

    /// [`Shape::decode`] of the store `ino`; what is wrong is reported.
    ///
    /// # Errors
    /// A check failed.
    pub fn read<R: MetaRead + ?Sized>(meta: &R, ino: u32, inode: &Inode) -> Result<Shape> {
        Shape::decode(inode).or_else(|field| {
            let place = meta.geometry().inode_place(ino);
            let block = place.map_or(0, |(block, _)| block);
            meta.fail(corrupt(Kind::Inode, block, Some(ino), field))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_survives_its_encoding_and_no_wrong_field_does() {
        let shape = Shape {
            slots: 70,
            live: 3,
            ..Shape::new(130, Metric::Cosine)
        };
        let mut inode = Inode::new(1, 0o100_000);
        inode.special = shape.encode();
        inode.size = shape.size();
        assert_eq!((shape.stride(), shape.size()), (528, 36960));
        assert_eq!(Shape::decode(&inode), Ok(shape));
        let changes: [(usize, u8, &str); 6] = [
            (4, 71, "live"),
            (9, 9, "dimension"),
            (10, 4, "metric"),
            (11, 2, "element"),
            (12, 0, "stride"),
            (0, 71, "size"),
        ];
        for (at, value, field) in changes {
            let mut wrong = inode.clone();
            wrong.special[at] = value;
            assert_eq!(Shape::decode(&wrong), Err(field));
        }
    }
}
