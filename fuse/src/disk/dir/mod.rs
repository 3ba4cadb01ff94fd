// SPDX-License-Identifier: Apache-2.0
//! Directories: a B+tree of records, by the hash of the name (section 8 of the format).

mod audit;
pub(crate) mod index;
pub(crate) mod leaf;
mod modify;

use std::sync::Arc;

use super::{Block, Expect, Inode, Kind, MetaRead, Result, corrupt, hash::dir_hash, map};

pub(crate) use modify::{append_leaf, insert, remove, retarget};

/// Behind every key.
const KEY_END: u64 = leaf::KEY_MAX + 1;
/// The cookie that continues behind `.`.
pub(crate) const COOKIE_DOT: u64 = 1;
/// The cookie that continues behind `..`.
pub(crate) const COOKIE_DOT_DOT: u64 = 2;

/// A directory, as far as its tree is concerned.
#[derive(Clone, Copy)]
pub(crate) struct Dir<'a> {
    pub(crate) ino: u32,
    pub(crate) inode: &'a Inode,
}

/// A record that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) ino: u32,
    /// Type as in the record.
    pub(crate) kind: u8,
    /// Block of its leaf.
    pblk: u64,
    lblk: u32,
    at: usize,
}

/// The leaf in which a key is, or would be.
struct LeafAt {
    block: Arc<Block>,
    pblk: u64,
    lblk: u32,
    /// Keys of the leaf are below this.
    high: u64,
}

/// Number of records.
pub(crate) fn entries(inode: &Inode) -> u32 {
    let [a, b, c, d, ..] = inode.special;
    u32::from_le_bytes([a, b, c, d])
}

fn set_entries(inode: &mut Inode, entries: u32) {
    inode.special[..4].copy_from_slice(&entries.to_le_bytes());
}

impl Dir<'_> {
    /// Number of blocks. Sizes are below 2^32 blocks: the inode was checked.
    fn blocks(&self) -> u32 {
        (self.inode.size / super::BLOCK_SIZE as u64) as u32
    }

    fn expect(&self, kind: Kind) -> Expect {
        Expect {
            kind,
            owner: self.ino,
            generation: self.inode.generation,
        }
    }

    /// A tree of one block is a leaf, every other has an index for its root.
    fn root_kind(&self) -> Kind {
        match self.blocks() {
            1 => Kind::DirLeaf,
            _ => Kind::DirIndex,
        }
    }

    fn fail<T, R: MetaRead + ?Sized>(
        &self,
        meta: &R,
        kind: Kind,
        block: u64,
        field: &'static str,
    ) -> Result<T> {
        let error = corrupt(kind, block, Some(self.ino), field);
        meta.report(&error);
        Err(error)
    }

    /// The block at `lblk`; a directory has no holes.
    fn read<R: MetaRead + ?Sized>(
        &self,
        meta: &R,
        lblk: u32,
        kind: Kind,
    ) -> Result<(u64, Arc<Block>)> {
        let extent = map::at(meta, self.ino, self.inode, lblk.into())?;
        let Some(extent) = extent.filter(|extent| !extent.unwritten) else {
            let place = meta.geometry().inode_place(self.ino);
            return self.fail(
                meta,
                Kind::Inode,
                place.map_or(0, |(block, _)| block),
                "size",
            );
        };
        let pblk = extent.slice(lblk.into(), u64::from(lblk) + 1).pblk;
        let block = meta.read_meta(pblk, self.expect(kind), &|block| {
            self.check(block, pblk, lblk, kind)
        })?;
        Ok((pblk, block))
    }

    /// What the block says by itself; bounds from above are checked on the way down.
    fn check(&self, block: &Block, pblk: u64, lblk: u32, kind: Kind) -> Result<()> {
        match kind {
            Kind::DirLeaf => leaf::check(block, lblk, 0, KEY_END),
            _ => index::check(block, lblk, (0, KEY_END), self.blocks()),
        }
        .map_err(|field| corrupt(kind, pblk, Some(self.ino), field))
    }

    /// Descends to the leaf for `key`.
    fn leaf<R: MetaRead + ?Sized>(&self, meta: &R, key: u64) -> Result<LeafAt> {
        let (mut lblk, mut kind) = (0, self.root_kind());
        let (mut low, mut high) = (0, KEY_END);
        let mut level = None;
        loop {
            let (pblk, block) = self.read(meta, lblk, kind)?;
            // Two places of the directory may have been given the same block.
            let own = block.get_u32(0x1c);
            let depth = index::level(&block);
            if own != lblk {
                return self.fail(meta, kind, pblk, "lblk");
            }
            if level.is_some_and(|want| depth != want) {
                return self.fail(meta, kind, pblk, "level");
            }
            if kind == Kind::DirLeaf {
                let outside = |record: leaf::Record<'_>| record.key < low || record.key >= high;
                if leaf::records(&block).any(outside) {
                    return self.fail(meta, kind, pblk, "key");
                }
                return Ok(LeafAt {
                    block,
                    pblk,
                    lblk,
                    high,
                });
            }
            let i = index::position(&block, key);
            let entry = index::entry(&block, i);
            if i > 0 {
                if entry.key < low {
                    return self.fail(meta, kind, pblk, "key");
                }
                low = entry.key;
            }
            if i + 1 < index::count(&block) {
                high = high.min(index::entry(&block, i + 1).key);
            }
            if entry.lblk == 0 || entry.lblk >= self.blocks() {
                return self.fail(meta, kind, pblk, "lblk");
            }
            // An index has level 1 or more: it was checked.
            level = Some(depth - 1);
            lblk = entry.lblk;
            kind = match depth {
                1 => Kind::DirLeaf,
                _ => Kind::DirIndex,
            };
        }
    }

    /// Looks a name up.
    ///
    /// # Errors
    /// Reading failed, or a check did.
    pub(crate) fn find<R: MetaRead + ?Sized>(
        &self,
        meta: &R,
        name: &[u8],
    ) -> Result<Option<Found>> {
        let h = dir_hash(&meta.geometry().hash_key, name);
        let leaf = self.leaf(meta, h)?;
        let found = leaf::records(&leaf.block)
            .find(|record| record.key & leaf::HASH_MASK == h && record.name == name);
        Ok(found.map(|record| Found {
            ino: record.ino,
            kind: record.kind,
            pblk: leaf.pblk,
            lblk: leaf.lblk,
            at: record.at,
        }))
    }

    /// Shows `visit` the records whose key is `from` or greater, in order, until it returns false.
    ///
    /// # Errors
    /// Reading failed, or a check did.
    pub(crate) fn walk<R: MetaRead + ?Sized>(
        &self,
        meta: &R,
        from: u64,
        mut visit: impl FnMut(leaf::Record<'_>) -> bool,
    ) -> Result<()> {
        let mut from = from;
        // Each turn goes to another leaf, whose keys are above: the number of leaves bounds it.
        while from < KEY_END {
            let leaf = self.leaf(meta, from)?;
            for record in leaf::records(&leaf.block).filter(|record| record.key >= from) {
                if !visit(record) {
                    return Ok(());
                }
            }
            if leaf.high <= from {
                return self.fail(meta, Kind::DirLeaf, leaf.pblk, "key");
            }
            from = leaf.high;
        }
        Ok(())
    }
}
