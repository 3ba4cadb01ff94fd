// SPDX-License-Identifier: Apache-2.0
//! The extent tree: a file's logical blocks to blocks of the volume (section 7 of the format).
//!
//! The tree knows nothing of inodes, transactions or devices: it gets its nodes from a [`Nodes`], and its root is a
//! value. Every loop is bounded by the depth, which the root states and each child must be one below, and by the
//! ranges of logical blocks that the parents leave: a tree that refers to itself fails a check.

mod lookup;
pub(in crate::disk) mod node;
#[cfg(test)]
mod tests;

use crate::disk::{Error, Result};

pub(crate) use lookup::RawNode;
pub use node::{
    BLOCK_ENTRIES, Child, Extent, LBLK_END, MAX_DEPTH, MAX_LEN, Node, ROOT_ENTRIES, ROOT_SIZE,
    encode_block, encode_root, parse_block, parse_root,
};

/// Where the nodes below the root are.
pub trait ReadNodes {
    /// The node in block `pblk`, its header checked, its entries not.
    ///
    /// # Errors
    /// Reading failed, or a check did.
    fn load(&self, pblk: u64, depth: u16) -> Result<Node>;
    /// Whether these blocks may be pointed at.
    fn usable(&self, pblk: u64, len: u32) -> bool;
    /// Reports that `field` of the node in `pblk` (0: of the root) is wrong, and returns the error for it.
    fn corrupt(&self, pblk: u64, field: &'static str) -> Error;
}

/// Nodes that can be changed.
pub trait Nodes: ReadNodes {
    /// Writes a node that is in use.
    ///
    /// # Errors
    /// Writing failed.
    fn save(&mut self, pblk: u64, node: &Node) -> Result<()>;
    /// A block for a new node.
    ///
    /// # Errors
    /// No space.
    fn alloc(&mut self) -> Result<u64>;
    /// Gives a node's block back.
    ///
    /// # Errors
    /// The block cannot be freed.
    fn free(&mut self, pblk: u64) -> Result<()>;
}

/// Logical blocks that a node may map.
#[derive(Clone, Copy)]
struct Bounds {
    low: u64,
    high: u64,
}

const ALL: Bounds = Bounds {
    low: 0,
    high: LBLK_END,
};

/// What is in front of entry `i + 1`, and not in front of entry `i`.
fn below(children: &[Child], i: usize, bounds: Bounds) -> Bounds {
    let low = match i {
        0 => bounds.low,
        _ => children[i].lblk.into(),
    };
    let high = children
        .get(i + 1)
        .map_or(bounds.high, |next| next.lblk.into());
    Bounds { low, high }
}

/// The child in which `lblk` is, or would be.
fn position(children: &[Child], lblk: u64) -> usize {
    children
        .partition_point(|child| u64::from(child.lblk) <= lblk)
        .saturating_sub(1)
}

/// A tree that is being read or changed.
pub struct Tree<'a, N: ReadNodes> {
    nodes: &'a mut N,
    root: Node,
}

impl<'a, N: ReadNodes> Tree<'a, N> {
    /// The tree with this root.
    ///
    /// # Errors
    /// A check of the root failed.
    pub fn new(root: &[u8; ROOT_SIZE], nodes: &'a mut N) -> Result<Self> {
        let checked = parse_root(root).and_then(|root| {
            root.check(ALL.low, ALL.high, |pblk, len| nodes.usable(pblk, len))?;
            Ok(root)
        });
        match checked {
            Ok(root) => Ok(Self { nodes, root }),
            Err(field) => Err(nodes.corrupt(0, field)),
        }
    }

    /// The root's bytes, to be put back into the inode.
    #[must_use]
    pub fn encode(&self) -> [u8; ROOT_SIZE] {
        encode_root(&self.root)
    }

    fn load(&self, pblk: u64, depth: u16, bounds: Bounds) -> Result<Node> {
        let node = self.nodes.load(pblk, depth)?;
        let checked = node.check(bounds.low, bounds.high, |pblk, len| {
            self.nodes.usable(pblk, len)
        });
        match checked {
            Ok(()) => Ok(node),
            Err(field) => Err(self.nodes.corrupt(pblk, field)),
        }
    }

    /// The extent that maps `lblk`, or else the first behind it.
    ///
    /// # Errors
    /// Reading failed, or a check did.
    pub fn find(&self, lblk: u64) -> Result<Option<Extent>> {
        self.find_in(&self.root, lblk, ALL)
    }

    fn find_in(&self, node: &Node, lblk: u64, bounds: Bounds) -> Result<Option<Extent>> {
        match node {
            Node::Leaf(extents) => {
                let at = extents.partition_point(|extent| extent.end() <= lblk);
                Ok(extents.get(at).copied())
            }
            Node::Inner(depth, children) => {
                for i in position(children, lblk)..children.len() {
                    let bounds = below(children, i, bounds);
                    let child = self.load(children[i].pblk, depth - 1, bounds)?;
                    if let Some(found) = self.find_in(&child, lblk, bounds)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
        }
    }

    /// The last extent.
    ///
    /// # Errors
    /// Reading failed, or a check did.
    pub fn last(&self) -> Result<Option<Extent>> {
        let mut node = self.root.clone();
        let mut bounds = ALL;
        loop {
            match node {
                Node::Leaf(extents) => return Ok(extents.last().copied()),
                Node::Inner(depth, children) => {
                    // No node has no entry: a root without one has depth 0.
                    let last = children.len() - 1;
                    bounds = below(&children, last, bounds);
                    node = self.load(children[last].pblk, depth - 1, bounds)?;
                }
            }
        }
    }

    /// Shows `visit` each node's block below the root.
    ///
    /// # Errors
    /// Reading failed, or a check or `visit` did.
    pub fn blocks(&self, visit: &mut impl FnMut(u64) -> Result<()>) -> Result<()> {
        self.blocks_in(&self.root, ALL, visit)
    }

    fn blocks_in(
        &self,
        node: &Node,
        bounds: Bounds,
        visit: &mut impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let Node::Inner(depth, children) = node else {
            return Ok(());
        };
        for i in 0..children.len() {
            visit(children[i].pblk)?;
            let bounds = below(children, i, bounds);
            let child = self.load(children[i].pblk, depth - 1, bounds)?;
            self.blocks_in(&child, bounds, visit)?;
        }
        Ok(())
    }
}

impl<N: Nodes> Tree<'_, N> {
    /// Maps `extent`, whose logical blocks are a hole.
    ///
    /// # Errors
    /// No space for a node; reading failed, or a check did. The tree may then be half changed: give the
    /// transaction up.
    pub fn insert(&mut self, extent: Extent) -> Result<()> {
        let mut root = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
        self.insert_in(&mut root, extent, ALL)?;
        if root.len() > ROOT_ENTRIES {
            if root.depth() == MAX_DEPTH {
                return Err(crate::Error::NoSpace.into());
            }
            let pblk = self.nodes.alloc()?;
            self.nodes.save(pblk, &root)?;
            let child = Child {
                lblk: root.first_lblk(),
                pblk,
            };
            root = Node::Inner(root.depth() + 1, vec![child]);
        }
        self.root = root;
        Ok(())
    }

    /// Inserts below `node`, which gets at most one entry more than it had.
    fn insert_in(&mut self, node: &mut Node, extent: Extent, bounds: Bounds) -> Result<()> {
        match node {
            Node::Leaf(extents) => {
                place(extents, extent);
                Ok(())
            }
            Node::Inner(depth, children) => {
                let i = position(children, extent.lblk.into());
                children[i].lblk = children[i].lblk.min(extent.lblk);
                let bounds = below(children, i, bounds);
                let mut child = self.load(children[i].pblk, *depth - 1, bounds)?;
                let appended = match &child {
                    Node::Leaf(old) => old.last().is_none_or(|last| last.lblk < extent.lblk),
                    Node::Inner(_, old) => old.last().is_none_or(|last| last.lblk < extent.lblk),
                };
                self.insert_in(&mut child, extent, bounds)?;
                if child.len() > BLOCK_ENTRIES {
                    let at = match appended {
                        true => child.len() - 1,
                        false => child.len() / 2,
                    };
                    let right = child.split_off(at);
                    let pblk = self.nodes.alloc()?;
                    self.nodes.save(pblk, &right)?;
                    let lblk = right.first_lblk();
                    children.insert(i + 1, Child { lblk, pblk });
                }
                self.nodes.save(children[i].pblk, &child)
            }
        }
    }

    /// Unmaps the blocks `from..to` and returns what they were. Nothing but nodes is freed.
    ///
    /// # Errors
    /// As for [`Tree::insert`]: a hole within an extent makes two of it.
    pub fn remove(&mut self, from: u64, to: u64) -> Result<Vec<Extent>> {
        let mut removed = Vec::new();
        if from >= to {
            return Ok(removed);
        }
        let tail = self
            .find(from)?
            .filter(|extent| u64::from(extent.lblk) < from && extent.end() > to)
            .map(|extent| extent.slice(to, extent.end()));
        let end = tail.map_or(to, |tail| tail.end());
        let mut root = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
        self.remove_in(&mut root, from, end, ALL, &mut removed)?;
        if root.is_empty() {
            root = Node::Leaf(Vec::new());
        }
        self.root = root;
        if let Some(tail) = tail {
            for extent in &mut removed {
                *extent = extent.slice(from, to);
            }
            self.insert(tail)?;
        }
        Ok(removed)
    }

    fn remove_in(
        &mut self,
        node: &mut Node,
        from: u64,
        to: u64,
        bounds: Bounds,
        removed: &mut Vec<Extent>,
    ) -> Result<()> {
        match node {
            Node::Leaf(extents) => {
                let mut kept = Vec::with_capacity(extents.len());
                for extent in extents.drain(..) {
                    let start = u64::from(extent.lblk);
                    if extent.end() <= from || start >= to {
                        kept.push(extent);
                        continue;
                    }
                    removed.push(extent.slice(from, to));
                    // Never both: see `remove`.
                    if start < from {
                        kept.push(extent.slice(start, from));
                    } else if extent.end() > to {
                        kept.push(extent.slice(to, extent.end()));
                    }
                }
                *extents = kept;
                Ok(())
            }
            Node::Inner(depth, children) => {
                let mut i = position(children, from);
                while i < children.len() {
                    let within = below(children, i, bounds);
                    if within.low >= to && i > 0 {
                        break;
                    }
                    let pblk = children[i].pblk;
                    let mut child = self.load(pblk, *depth - 1, within)?;
                    let before = removed.len();
                    self.remove_in(&mut child, from, to, within, removed)?;
                    if child.is_empty() {
                        self.nodes.free(pblk)?;
                        children.remove(i);
                        continue;
                    }
                    if removed.len() != before {
                        self.nodes.save(pblk, &child)?;
                    }
                    i += 1;
                }
                Ok(())
            }
        }
    }
}

/// Puts `extent` in its place, joined with its neighbours where that is possible.
fn place(extents: &mut Vec<Extent>, extent: Extent) {
    let at = extents.partition_point(|other| other.lblk < extent.lblk);
    if let Some(before) = at.checked_sub(1)
        && let Some(mut joined) = extents[before].joined(&extent)
    {
        if let Some(all) = extents.get(at).and_then(|next| joined.joined(next)) {
            joined = all;
            extents.remove(at);
        }
        extents[before] = joined;
    } else if let Some(next) = extents.get(at)
        && let Some(joined) = extent.joined(next)
    {
        extents[at] = joined;
    } else {
        extents.insert(at, extent);
    }
}
