// SPDX-License-Identifier: Apache-2.0
//! What an inode's extent tree maps, read from a volume and changed in a transaction.

use super::extents::{
    self, Extent, LBLK_END, Node, Nodes, RawNode, ReadNodes, Tree, encode_block, parse_block,
    parse_root,
};
use super::{Block, Error, Expect, Geometry, Inode, Kind, MetaRead, Result, Tx, corrupt};

/// Blocks that mapping or unmapping one extent may change: a node a level and its split, the root's move, the group and
/// summary blocks of what is taken or given back, the inode and the state.
pub(crate) const STEP_CREDITS: usize = 24;

struct Reader<'a, R: MetaRead + ?Sized> {
    meta: &'a R,
    ino: u32,
    generation: u32,
}

fn load<R: MetaRead + ?Sized>(
    meta: &R,
    (ino, generation): (u32, u32),
    pblk: u64,
    depth: u16,
) -> Result<Node> {
    let expect = Expect {
        kind: Kind::Extent,
        owner: ino,
        generation,
    };
    let block = meta.read_meta(pblk, expect, &|block| {
        check_node(meta.geometry(), (ino, pblk), depth, block)
    })?;
    parse_block(&block, depth).map_err(|field| report(meta, ino, pblk, field))
}

/// All that a node can be checked for without its parent. Only what passes is kept in memory, where [`quick`] trusts it.
fn check_node(
    geometry: &Geometry,
    (ino, pblk): (u32, u64),
    depth: u16,
    block: &Block,
) -> Result<()> {
    let usable = |pblk, len| geometry.is_usable_run(pblk, len);
    parse_block(block, depth)
        .and_then(|node| node.check(0, LBLK_END, usable))
        .map_err(|field| corrupt(Kind::Extent, pblk, Some(ino), field))
}

/// [`find`] where everything is as it should be; none where a closer look is needed.
fn quick<R: MetaRead + ?Sized>(
    meta: &R,
    ino: u32,
    inode: &Inode,
    lblk: u64,
) -> Result<Option<Extent>> {
    let geometry = meta.geometry();
    let usable = |pblk, len| geometry.is_usable_run(pblk, len);
    let checked = parse_root(&inode.root).and_then(|root| {
        root.check(0, LBLK_END, usable)?;
        Ok(root)
    });
    let Ok(Node::Inner(mut depth, children)) = checked else {
        return Ok(None);
    };
    let i = children.partition_point(|child| u64::from(child.lblk) <= lblk);
    let i = i.saturating_sub(1);
    let Some(child) = children.get(i) else {
        return Ok(None);
    };
    let mut pblk = child.pblk;
    let mut low = if i == 0 { 0 } else { child.lblk };
    let mut high = children
        .get(i + 1)
        .map_or(LBLK_END, |next| next.lblk.into());
    loop {
        depth -= 1;
        let expect = Expect::of_inode(Kind::Extent, ino, inode.generation);
        let block = meta.read_meta(pblk, expect, &|block| {
            check_node(geometry, (ino, pblk), depth, block)
        })?;
        let Some(node) = RawNode::new(&block, depth) else {
            return Ok(None);
        };
        if depth == 0 {
            let found = node.extent(lblk);
            return Ok(found.filter(|extent| extent.lblk >= low && extent.end() <= high));
        }
        let Some((child, next)) = node.child(lblk) else {
            return Ok(None);
        };
        if child.lblk > low && u64::from(child.lblk) <= lblk {
            low = child.lblk;
        }
        high = next.map_or(high, |next| high.min(next.into()));
        pblk = child.pblk;
    }
}

fn report<R: MetaRead + ?Sized>(meta: &R, ino: u32, pblk: u64, field: &'static str) -> Error {
    // A root is in the inode table.
    let (kind, block) = match (pblk, meta.geometry().inode_place(ino)) {
        (0, Some((table, _))) => (Kind::Inode, table),
        _ => (Kind::Extent, pblk),
    };
    let error = corrupt(kind, block, Some(ino), field);
    meta.report(&error);
    error
}

impl<R: MetaRead + ?Sized> ReadNodes for Reader<'_, R> {
    fn load(&self, pblk: u64, depth: u16) -> Result<Node> {
        load(self.meta, (self.ino, self.generation), pblk, depth)
    }
    fn usable(&self, pblk: u64, len: u32) -> bool {
        self.meta.geometry().is_usable_run(pblk, len)
    }
    fn corrupt(&self, pblk: u64, field: &'static str) -> Error {
        report(self.meta, self.ino, pblk, field)
    }
}

struct Writer<'a, 's> {
    tx: &'a mut Tx<'s>,
    ino: u32,
    generation: u32,
    /// Where new nodes are wanted.
    goal: u64,
    taken: u64,
    given: u64,
}

impl Writer<'_, '_> {
    fn expect(&self) -> Expect {
        Expect {
            kind: Kind::Extent,
            owner: self.ino,
            generation: self.generation,
        }
    }
}

impl ReadNodes for Writer<'_, '_> {
    fn load(&self, pblk: u64, depth: u16) -> Result<Node> {
        load(&*self.tx, (self.ino, self.generation), pblk, depth)
    }
    fn usable(&self, pblk: u64, len: u32) -> bool {
        self.tx.geometry().is_usable_run(pblk, len)
    }
    fn corrupt(&self, pblk: u64, field: &'static str) -> Error {
        report(&*self.tx, self.ino, pblk, field)
    }
}

impl Nodes for Writer<'_, '_> {
    fn save(&mut self, pblk: u64, node: &Node) -> Result<()> {
        let expect = self.expect();
        encode_block(node, self.tx.get_mut(pblk, expect, &|_| Ok(()))?);
        Ok(())
    }
    fn alloc(&mut self) -> Result<u64> {
        let expect = self.expect();
        let pblk = self.tx.alloc_meta(self.goal, expect)?;
        self.taken += 1;
        Ok(pblk)
    }
    fn free(&mut self, pblk: u64) -> Result<()> {
        self.given += 1;
        self.tx.free_meta(pblk)
    }
}

/// The extent of `ino` that maps `lblk`, or else the first behind it.
///
/// # Errors
/// Reading failed, or a check did.
pub(crate) fn find<R: MetaRead + ?Sized>(
    meta: &R,
    ino: u32,
    inode: &Inode,
    lblk: u64,
) -> Result<Option<Extent>> {
    if let Some(found) = quick(meta, ino, inode, lblk)? {
        return Ok(Some(found));
    }
    let generation = inode.generation;
    let mut reader = Reader {
        meta,
        ino,
        generation,
    };
    Tree::new(&inode.root, &mut reader)?.find(lblk)
}

/// The extent that maps `lblk`, if one does.
///
/// # Errors
/// Reading failed, or a check did.
pub(crate) fn at<R: MetaRead + ?Sized>(
    meta: &R,
    ino: u32,
    inode: &Inode,
    lblk: u64,
) -> Result<Option<Extent>> {
    Ok(find(meta, ino, inode, lblk)?.filter(|extent| u64::from(extent.lblk) <= lblk))
}

/// Where blocks for the hole at `lblk` are wanted: behind what is in front of it, else near the inode.
///
/// # Errors
/// Reading failed, or a check did.
pub(crate) fn goal<R: MetaRead + ?Sized>(
    meta: &R,
    ino: u32,
    inode: &Inode,
    lblk: u64,
) -> Result<u64> {
    let before = match lblk.checked_sub(1) {
        Some(before) => at(meta, ino, inode, before)?,
        None => None,
    };
    Ok(match before {
        Some(before) => before.pblk + u64::from(before.len),
        None => meta
            .geometry()
            .inode_place(ino)
            .map_or(0, |(block, _)| block),
    })
}

/// The last extent.
///
/// # Errors
/// Reading failed, or a check did.
pub(crate) fn last<R: MetaRead + ?Sized>(
    meta: &R,
    ino: u32,
    inode: &Inode,
) -> Result<Option<Extent>> {
    let generation = inode.generation;
    let mut reader = Reader {
        meta,
        ino,
        generation,
    };
    Tree::new(&inode.root, &mut reader)?.last()
}

fn change<T>(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    work: impl FnOnce(&mut Tree<'_, Writer<'_, '_>>) -> Result<T>,
) -> Result<T> {
    let goal = tx.geometry().inode_place(ino).map_or(0, |(block, _)| block);
    let mut writer = Writer {
        tx,
        ino,
        generation: inode.generation,
        goal,
        taken: 0,
        given: 0,
    };
    let mut tree = Tree::new(&inode.root, &mut writer)?;
    let done = work(&mut tree)?;
    inode.root = tree.encode();
    // A wrong count on a damaged volume must not stop us: fsck sets it.
    inode.blocks = (inode.blocks + writer.taken).saturating_sub(writer.given);
    Ok(done)
}

/// Maps `extent`, whose blocks were taken, where there was a hole. The caller writes the inode.
///
/// # Errors
/// No space for a node; reading failed, or a check did.
pub(crate) fn insert(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode, extent: Extent) -> Result<()> {
    change(tx, ino, inode, |tree| tree.insert(extent))?;
    inode.blocks += u64::from(extent.len);
    Ok(())
}

/// Turns the unwritten `part` of an extent into a written one. The caller writes the inode.
///
/// # Errors
/// As for [`insert`].
pub(crate) fn set_written(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    part: Extent,
) -> Result<()> {
    let written = Extent {
        unwritten: false,
        ..part
    };
    change(tx, ino, inode, |tree| {
        tree.remove(part.lblk.into(), part.end())?;
        tree.insert(written)
    })
}

/// Unmaps and frees `from..to`, beginning at its end, as far as the transaction has credits. True when all is done.
/// `journaled` says that the blocks are metadata. The caller writes the inode.
///
/// # Errors
/// As for [`insert`].
pub(crate) fn free_range(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    (from, to): (u64, u64),
    journaled: bool,
) -> Result<bool> {
    loop {
        let Some(end) = last_before(tx, ino, inode, from, to)? else {
            return Ok(true);
        };
        if tx.credits_left() < STEP_CREDITS {
            return Ok(false);
        }
        // Metadata goes block by block, as each takes a revoke.
        let start = match journaled {
            true => end.end() - 1,
            false => end.lblk.into(),
        };
        let part = end.slice(start.max(from), to);
        change(tx, ino, inode, |tree| {
            tree.remove(part.lblk.into(), part.end())
        })?;
        if journaled {
            tx.free_meta(part.pblk)?;
        } else {
            tx.free_blocks(part.pblk, part.len)?;
        }
        inode.blocks = inode.blocks.saturating_sub(part.len.into());
    }
}

/// The last extent that has a block in `from..to`.
fn last_before(tx: &Tx<'_>, ino: u32, inode: &Inode, from: u64, to: u64) -> Result<Option<Extent>> {
    let to = to.min(LBLK_END);
    if from >= to {
        return Ok(None);
    }
    let last = last(tx, ino, inode)?.filter(|last| last.end() > from);
    let Some(last) = last else {
        return Ok(None);
    };
    if u64::from(last.lblk) < to {
        return Ok(Some(last.slice(from, to)));
    }
    // In the middle: from the front, which is as good, since only truncation needs the order.
    let first = find(tx, ino, inode, from)?.filter(|first| u64::from(first.lblk) < to);
    Ok(first.map(|first| first.slice(from, to)))
}

/// Shows `visit` the block of each node of the tree.
///
/// # Errors
/// Reading failed, or a check or `visit` did.
pub(crate) fn nodes<R: MetaRead + ?Sized>(
    meta: &R,
    ino: u32,
    inode: &Inode,
    visit: &mut impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    let generation = inode.generation;
    let mut reader = Reader {
        meta,
        ino,
        generation,
    };
    extents::Tree::new(&inode.root, &mut reader)?.blocks(visit)
}
