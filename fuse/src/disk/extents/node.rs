// SPDX-License-Identifier: Apache-2.0
//! Bytes of an extent tree's nodes (section 7 of the format), as pure functions.

use crate::disk::BLOCK_SIZE;
use crate::disk::layout::{RawExtent, RawRootHead, row, row_mut};

/// Entries of the root in the inode.
pub const ROOT_ENTRIES: usize = 7;
/// Entries of a node in a block.
pub const BLOCK_ENTRIES: usize = 254;
/// Deepest tree.
pub const MAX_DEPTH: u16 = 5;
/// Longest extent in blocks: the size of a group.
pub const MAX_LEN: u32 = 24_064;
/// First logical block that no file has.
pub const LBLK_END: u64 = 0xffff_ffff;
/// Bytes of the root.
pub const ROOT_SIZE: usize = 128;

const ENTRY: usize = size_of::<RawExtent>();
pub(in crate::disk) const ROOT_HEADER: usize = size_of::<RawRootHead>();
pub(in crate::disk) const COUNT: usize = 0x18;
pub(in crate::disk) const DEPTH: usize = 0x1a;
pub(in crate::disk) const PAD: usize = 0x1c;
pub(in crate::disk) const FIRST: usize = 0x20;
pub(in crate::disk) const UNWRITTEN: u32 = 1 << 31;

/// A run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First logical block.
    pub lblk: u32,
    /// Blocks, 1 to [`MAX_LEN`].
    pub len: u32,
    /// First block of the volume.
    pub pblk: u64,
    /// Allocated, but reads as zeros.
    pub unwritten: bool,
}

impl Extent {
    /// The logical block behind the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        u64::from(self.lblk) + u64::from(self.len)
    }

    /// The part within `from..to`, which overlaps the extent.
    #[must_use]
    pub fn slice(&self, from: u64, to: u64) -> Self {
        let start = from.max(self.lblk.into());
        let end = to.min(self.end());
        debug_assert!(start < end);
        // Both lie within the extent, so that the differences fit.
        Self {
            lblk: start as u32,
            len: (end - start) as u32,
            pblk: self.pblk + (start - u64::from(self.lblk)),
            unwritten: self.unwritten,
        }
    }

    /// This one lengthened by `next`, if that follows it in every respect.
    #[must_use]
    pub fn joined(&self, next: &Self) -> Option<Self> {
        (self.end() == u64::from(next.lblk)
            && self.pblk + u64::from(self.len) == next.pblk
            && self.unwritten == next.unwritten
            && self.len + next.len <= MAX_LEN)
            .then(|| Self {
                len: self.len + next.len,
                ..*self
            })
    }
}

/// A child of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// Least logical block that may be below.
    pub lblk: u32,
    /// Its block.
    pub pblk: u64,
}

/// A node's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Depth 0.
    Leaf(Vec<Extent>),
    /// Depth 1 and more.
    Inner(u16, Vec<Child>),
}

impl Node {
    /// Distance from the leaves.
    #[must_use]
    pub fn depth(&self) -> u16 {
        match self {
            Node::Leaf(_) => 0,
            Node::Inner(depth, _) => *depth,
        }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Node::Leaf(extents) => extents.len(),
            Node::Inner(_, children) => children.len(),
        }
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Logical block of the first entry, 0 without one.
    #[must_use]
    pub fn first_lblk(&self) -> u32 {
        match self {
            Node::Leaf(extents) => extents.first().map_or(0, |extent| extent.lblk),
            Node::Inner(_, children) => children.first().map_or(0, |child| child.lblk),
        }
    }

    /// Moves the entries from `at` on to a new node.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        match self {
            Node::Leaf(extents) => Node::Leaf(extents.split_off(at)),
            Node::Inner(depth, children) => Node::Inner(*depth, children.split_off(at)),
        }
    }

    /// Checks the entries: order, lengths, places (by `usable`), and that all lies in `low..high`.
    ///
    /// # Errors
    /// The name of the field that is wrong.
    pub fn check(
        &self,
        low: u64,
        high: u64,
        usable: impl Fn(u64, u32) -> bool,
    ) -> Result<(), &'static str> {
        match self {
            Node::Leaf(extents) => {
                let mut free = low;
                for extent in extents {
                    if extent.len == 0 || extent.len > MAX_LEN {
                        return Err("len");
                    }
                    if u64::from(extent.lblk) < free || extent.end() > high {
                        return Err("lblk");
                    }
                    if !usable(extent.pblk, extent.len) {
                        return Err("pblk");
                    }
                    free = extent.end();
                }
            }
            Node::Inner(_, children) => {
                for (i, child) in children.iter().enumerate() {
                    // Entry 0 need not be exact: what is below is checked against the parent's bound.
                    let after = match i.checked_sub(1) {
                        None => true,
                        Some(before) => {
                            child.lblk > children[before].lblk && u64::from(child.lblk) >= low
                        }
                    };
                    if !after || u64::from(child.lblk) >= high {
                        return Err("lblk");
                    }
                    if !usable(child.pblk, 1) {
                        return Err("pblk");
                    }
                }
            }
        }
        Ok(())
    }
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from(le16(bytes, at)) | u32::from(le16(bytes, at + 2)) << 16
}

fn parse_entries(bytes: &[u8], count: usize, depth: u16) -> Result<Node, &'static str> {
    let entries = bytes.chunks_exact(ENTRY).take(count).map(row::<RawExtent>);
    if depth == 0 {
        let extents = entries.map(|entry| {
            let len = entry.len.get();
            Extent {
                lblk: entry.lblk.get(),
                len: len & !UNWRITTEN,
                pblk: entry.pblk.get(),
                unwritten: len & UNWRITTEN != 0,
            }
        });
        return Ok(Node::Leaf(extents.collect()));
    }
    let children = entries
        .map(|entry| {
            (entry.len.get() == 0)
                .then(|| Child {
                    lblk: entry.lblk.get(),
                    pblk: entry.pblk.get(),
                })
                .ok_or("zero")
        })
        .collect::<Result<_, _>>()?;
    Ok(Node::Inner(depth, children))
}

fn write_entries(bytes: &mut [u8], node: &Node) {
    let mut put = |i: usize, lblk: u32, len: u32, pblk: u64| {
        *row_mut(&mut bytes[i * ENTRY..]) = RawExtent {
            lblk: lblk.into(),
            len: len.into(),
            pblk: pblk.into(),
        };
    };
    match node {
        Node::Leaf(extents) => {
            for (i, extent) in extents.iter().enumerate() {
                let flag = if extent.unwritten { UNWRITTEN } else { 0 };
                put(i, extent.lblk, extent.len | flag, extent.pblk);
            }
        }
        Node::Inner(_, children) => {
            for (i, child) in children.iter().enumerate() {
                put(i, child.lblk, 0, child.pblk);
            }
        }
    }
}

/// Reads the root in an inode. Its entries are not checked yet: [`Node::check`].
///
/// # Errors
/// The name of the field that is wrong.
pub fn parse_root(root: &[u8; ROOT_SIZE]) -> Result<Node, &'static str> {
    let head: &RawRootHead = row(root);
    let (count, depth) = (usize::from(head.entries.get()), head.depth.get());
    if count > ROOT_ENTRIES || (depth > 0 && count == 0) {
        return Err("entries");
    }
    if depth > MAX_DEPTH {
        return Err("depth");
    }
    let unused = &root[ROOT_HEADER + count * ENTRY..];
    if head.zero.iter().chain(unused).any(|&b| b != 0) {
        return Err("zero");
    }
    parse_entries(&root[ROOT_HEADER..], count, depth)
}

/// The root's bytes; it has at most [`ROOT_ENTRIES`] entries.
#[must_use]
pub fn encode_root(node: &Node) -> [u8; ROOT_SIZE] {
    debug_assert!(node.len() <= ROOT_ENTRIES);
    let mut root = [0; ROOT_SIZE];
    let depth = if node.is_empty() { 0 } else { node.depth() };
    *row_mut(&mut root) = RawRootHead {
        entries: (node.len() as u16).into(),
        depth: depth.into(),
        zero: [0; 12],
    };
    write_entries(&mut root[ROOT_HEADER..], node);
    root
}

/// Reads a node's block behind its header, which has been checked. Its entries are not: [`Node::check`].
///
/// # Errors
/// The name of the field that is wrong.
pub fn parse_block(block: &[u8; BLOCK_SIZE], depth: u16) -> Result<Node, &'static str> {
    let count = usize::from(le16(block, COUNT));
    if count == 0 || count > BLOCK_ENTRIES {
        return Err("entries");
    }
    if le16(block, DEPTH) != depth {
        return Err("depth");
    }
    if le32(block, PAD) != 0 {
        return Err("zero");
    }
    parse_entries(&block[FIRST..], count, depth)
}

/// Writes a node's content behind the header of its block; it has at most [`BLOCK_ENTRIES`] entries.
pub fn encode_block(node: &Node, block: &mut [u8; BLOCK_SIZE]) {
    debug_assert!((1..=BLOCK_ENTRIES).contains(&node.len()));
    block[COUNT..DEPTH].copy_from_slice(&(node.len() as u16).to_le_bytes());
    block[DEPTH..PAD].copy_from_slice(&node.depth().to_le_bytes());
    block[PAD..].fill(0);
    write_entries(&mut block[FIRST..], node);
}
