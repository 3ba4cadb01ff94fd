// SPDX-License-Identifier: Apache-2.0
//! All of a directory's tree, for fsck: every block once, every key in its place.

use std::collections::HashSet;

use super::{Dir, KEY_END, index, leaf};
use crate::disk::hash::dir_hash;
use crate::disk::{Kind, MetaRead, Result};

/// What one directory's records are.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Name, inode and type of each.
    pub(crate) records: Vec<(Vec<u8>, u32, u8)>,
    /// Names whose key is not their hash.
    pub(crate) misplaced: Vec<Vec<u8>>,
    /// Names that are there twice.
    pub(crate) doubled: Vec<Vec<u8>>,
}

impl Dir<'_> {
    /// Reads all of the tree.
    ///
    /// # Errors
    /// Reading failed, or the first check that did.
    pub(crate) fn audit<R: MetaRead + ?Sized>(&self, meta: &R) -> Result<Audit> {
        let mut seen = HashSet::new();
        let mut audit = Audit::default();
        self.audit_below(
            meta,
            (0, self.root_kind(), None),
            (0, KEY_END),
            &mut seen,
            &mut audit,
        )?;
        if seen.len() as u64 != u64::from(self.blocks()) {
            let (pblk, _) = self.read(meta, 0, self.root_kind())?;
            return self.fail(meta, self.root_kind(), pblk, "tree");
        }
        Ok(audit)
    }

    fn audit_below<R: MetaRead + ?Sized>(
        &self,
        meta: &R,
        (lblk, kind, level): (u32, Kind, Option<u16>),
        (low, high): (u64, u64),
        seen: &mut HashSet<u32>,
        audit: &mut Audit,
    ) -> Result<()> {
        let (pblk, block) = self.read(meta, lblk, kind)?;
        if !seen.insert(lblk) {
            return self.fail(meta, kind, pblk, "tree");
        }
        if level.is_some_and(|level| level != index::level(&block)) {
            return self.fail(meta, kind, pblk, "level");
        }
        // Also what a cached read does not look at again.
        let checked = match kind {
            Kind::DirLeaf => leaf::check(&block, lblk, low, high),
            _ => index::check(&block, lblk, (low, high), self.blocks()),
        };
        if let Err(field) = checked {
            return self.fail(meta, kind, pblk, field);
        }
        if kind == Kind::DirLeaf {
            self.audit_leaf(meta, leaf::records(&block), audit);
            return Ok(());
        }
        let (depth, entries) = (index::level(&block), index::entries(&block));
        for (i, entry) in entries.iter().enumerate() {
            let below = if i == 0 { low } else { entry.key };
            let above = entries.get(i + 1).map_or(high, |next| next.key);
            let kind = match depth {
                1 => Kind::DirLeaf,
                _ => Kind::DirIndex,
            };
            let child = (entry.lblk, kind, Some(depth - 1));
            self.audit_below(meta, child, (below, above), seen, audit)?;
        }
        Ok(())
    }

    fn audit_leaf<'b, R: MetaRead + ?Sized>(
        &self,
        meta: &R,
        records: impl Iterator<Item = leaf::Record<'b>>,
        audit: &mut Audit,
    ) {
        let mut same: Vec<&[u8]> = Vec::new();
        let mut hash = 0;
        for record in records {
            if record.key & leaf::HASH_MASK != hash {
                (hash, same) = (record.key & leaf::HASH_MASK, Vec::new());
            }
            if dir_hash(&meta.geometry().hash_key, record.name) != hash {
                audit.misplaced.push(record.name.to_vec());
            }
            if same.contains(&record.name) {
                audit.doubled.push(record.name.to_vec());
            }
            same.push(record.name);
            audit
                .records
                .push((record.name.to_vec(), record.ino, record.kind));
        }
    }
}
