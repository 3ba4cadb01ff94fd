// SPDX-License-Identifier: Apache-2.0
//! Looking an extent up in the bytes of a node that was checked when it came from the device: nothing is parsed but the
//! entries on the way.

use super::node::{Child, Extent, UNWRITTEN};
use crate::disk::BLOCK_SIZE;

const COUNT: usize = 0x18;
const DEPTH: usize = 0x1a;
const FIRST: usize = 0x20;
const ENTRY: usize = 16;

/// A node's bytes.
#[derive(Clone, Copy)]
pub(crate) struct RawNode<'a> {
    block: &'a [u8; BLOCK_SIZE],
    count: usize,
}

impl<'a> RawNode<'a> {
    /// If it has this depth.
    pub(crate) fn new(block: &'a [u8; BLOCK_SIZE], depth: u16) -> Option<Self> {
        let half = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
        let count = usize::from(half(COUNT));
        let fits = half(DEPTH) == depth && count <= super::BLOCK_ENTRIES;
        fits.then_some(Self { block, count })
    }

    fn word(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.block[at..at + 4]);
        u32::from_le_bytes(bytes)
    }

    fn pblk(&self, at: usize) -> u64 {
        u64::from(self.word(at + 8)) | u64::from(self.word(at + 12)) << 32
    }

    /// How many entries of the front hold `before`.
    fn partition(&self, before: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            match before(FIRST + middle * ENTRY) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// Of a node of depth 0: the first extent that ends behind `lblk`.
    pub(crate) fn extent(&self, lblk: u64) -> Option<Extent> {
        let i = self.partition(|at| {
            let len = self.word(at + 4) & !UNWRITTEN;
            u64::from(self.word(at)) + u64::from(len) <= lblk
        });
        (i < self.count).then(|| {
            let at = FIRST + i * ENTRY;
            let len = self.word(at + 4);
            Extent {
                lblk: self.word(at),
                len: len & !UNWRITTEN,
                pblk: self.pblk(at),
                unwritten: len & UNWRITTEN != 0,
            }
        })
    }

    /// Of any other: the child in which `lblk` is, or would be, and where the next one begins.
    pub(crate) fn child(&self, lblk: u64) -> Option<(Child, Option<u32>)> {
        let i = self.partition(|at| u64::from(self.word(at)) <= lblk);
        let i = i.saturating_sub(1);
        let at = FIRST + i * ENTRY;
        let next = (i + 1 < self.count).then(|| self.word(at + ENTRY));
        (i < self.count).then(|| {
            let child = Child {
                lblk: self.word(at),
                pblk: self.pblk(at),
            };
            (child, next)
        })
    }
}
