// SPDX-License-Identifier: Apache-2.0
//! Walking an extent tree that may be broken: what is wrong is left out, the rest is kept, and no block is met twice.

use super::Checker;
use crate::disk::extents::{Extent, LBLK_END, MAX_LEN, Node, parse_block, parse_root};
use crate::disk::{Expect, Inode, Kind, MetaRead, Result, corrupt};

/// What an inode's tree has.
#[derive(Default)]
pub(super) struct Walk {
    /// All extents that can be kept, in order.
    pub(super) extents: Vec<Extent>,
    /// Blocks of the tree.
    pub(super) nodes: Vec<u64>,
    /// Whether anything had to be left out: then the tree's own blocks were given back.
    pub(super) is_bad: bool,
}

/// Logical blocks that may come next.
#[derive(Clone, Copy)]
struct Bounds {
    low: u64,
    high: u64,
}

impl Checker {
    /// Takes a run of blocks for the inode, all or none. None if one may not be owned or is another's.
    pub(super) fn claim(&mut self, ino: u32, block: u64, len: u32) -> bool {
        if !self.raw.geometry().is_usable_run(block, len) {
            self.find("extent-range", block, ino, "not a block that can be owned");
            return false;
        }
        let run = block..block + u64::from(len);
        if let Some(taken) = run.clone().find(|at| self.owned.get(*at)) {
            self.find("block-owner", taken, ino, "owned twice");
            return false;
        }
        run.for_each(|at| self.owned.set(at, true));
        if let Some(known) = self.inodes.get_mut(&ino) {
            known.blocks += u64::from(len);
        }
        true
    }

    /// Gives back what was taken.
    pub(super) fn disown(&mut self, ino: u32, block: u64, len: u32) {
        (block..block + u64::from(len)).for_each(|at| self.owned.set(at, false));
        if let Some(known) = self.inodes.get_mut(&ino) {
            known.blocks -= u64::from(len);
        }
    }

    /// Gives back all of a tree.
    pub(super) fn release(&mut self, ino: u32, walk: &Walk) {
        // A bad tree's own blocks were given back at once.
        let nodes = walk.nodes.iter().filter(|_| !walk.is_bad);
        nodes.for_each(|at| self.disown(ino, *at, 1));
        for extent in &walk.extents {
            self.disown(ino, extent.pblk, extent.len);
        }
    }

    /// Walks the inode's tree and takes its blocks.
    pub(super) fn extents(&mut self, ino: u32, inode: &Inode) -> Result<Walk> {
        let mut walk = Walk::default();
        let all = Bounds {
            low: 0,
            high: LBLK_END,
        };
        match parse_root(&inode.root) {
            Ok(root) => self.node(ino, inode, &root, all, &mut walk)?,
            Err(field) => self.bad(ino, "extent-valid", None, field, &mut walk)?,
        }
        if walk.is_bad {
            let nodes = std::mem::take(&mut walk.nodes);
            nodes.iter().for_each(|at| self.disown(ino, *at, 1));
        }
        Ok(walk)
    }

    fn bad(
        &mut self,
        ino: u32,
        name: &'static str,
        block: Option<u64>,
        field: &str,
        walk: &mut Walk,
    ) -> Result<()> {
        walk.is_bad = true;
        let place = self.raw.geometry().inode_place(ino);
        let (kind, at) = match block {
            Some(at) => (Kind::Extent, at),
            None => (Kind::Inode, place.map_or(0, |(table, _)| table)),
        };
        self.note(name, corrupt(kind, at, Some(ino), field))
    }

    fn node(
        &mut self,
        ino: u32,
        inode: &Inode,
        node: &Node,
        bounds: Bounds,
        walk: &mut Walk,
    ) -> Result<()> {
        let at = walk.nodes.last().copied();
        match node {
            Node::Leaf(extents) => {
                let mut low = bounds.low;
                for extent in extents {
                    if extent.len == 0 || extent.len > MAX_LEN {
                        self.bad(ino, "extent-valid", at, "len", walk)?;
                    } else if u64::from(extent.lblk) < low || extent.end() > bounds.high {
                        self.bad(ino, "extent-order", at, "lblk", walk)?;
                    } else if self.claim(ino, extent.pblk, extent.len) {
                        low = extent.end();
                        walk.extents.push(*extent);
                    } else {
                        walk.is_bad = true;
                    }
                }
            }
            Node::Inner(depth, children) => {
                let mut low = bounds.low;
                for (i, child) in children.iter().enumerate() {
                    let first = u64::from(child.lblk);
                    // Entry 0 need not be exact.
                    if (i > 0 && first < low) || first >= bounds.high {
                        self.bad(ino, "extent-order", at, "lblk", walk)?;
                        continue;
                    }
                    let own = if i == 0 { bounds.low } else { first };
                    let next = children.get(i + 1).map_or(bounds.high, |n| n.lblk.into());
                    let within = Bounds {
                        low: own,
                        high: next.min(bounds.high),
                    };
                    low = first + 1;
                    self.child(ino, inode, (child.pblk, depth - 1), within, walk)?;
                }
            }
        }
        Ok(())
    }

    fn child(
        &mut self,
        ino: u32,
        inode: &Inode,
        (pblk, depth): (u64, u16),
        bounds: Bounds,
        walk: &mut Walk,
    ) -> Result<()> {
        if !self.claim(ino, pblk, 1) {
            walk.is_bad = true;
            return Ok(());
        }
        let expect = Expect::of_inode(Kind::Extent, ino, inode.generation);
        let read = self.raw.read_meta(pblk, expect, &|_| Ok(()));
        let parsed = match read {
            Ok(block) => parse_block(&block, depth)
                .map_err(|field| corrupt(Kind::Extent, pblk, Some(ino), field)),
            Err(error) => Err(error),
        };
        match parsed {
            Ok(node) => {
                walk.nodes.push(pblk);
                self.node(ino, inode, &node, bounds, walk)
            }
            Err(error) => {
                self.disown(ino, pblk, 1);
                walk.is_bad = true;
                self.note("extent-valid", error)
            }
        }
    }
}
