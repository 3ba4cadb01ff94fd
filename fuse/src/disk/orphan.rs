// SPDX-License-Identifier: Apache-2.0
//! The list of inodes that wait to be cleaned (section 10 of the format).

use std::collections::{HashMap, HashSet};

use super::inode::FLAG_ORPHAN;
use super::{Inode, Kind, MetaRead, Result, Tx, corrupt};

/// What precedes each orphan but the first, so that one can be taken out without a walk.
///
/// It mirrors what finished operations left on the list: the volume tells it after each.
#[derive(Debug, Default)]
pub(crate) struct Predecessors(HashMap<u32, u32>);

impl Predecessors {
    /// Of the whole list, first to last.
    pub(crate) fn of(list: &[u32]) -> Self {
        Self(list.windows(2).map(|pair| (pair[1], pair[0])).collect())
    }

    /// `ino` was put at the head, before `next`.
    pub(crate) fn added(&mut self, ino: u32, next: u32) {
        if next != 0 {
            self.0.insert(next, ino);
        }
    }

    /// `ino` was taken out; it stood before `next`.
    pub(crate) fn removed(&mut self, ino: u32, next: u32) {
        let before = self.0.remove(&ino);
        if next != 0 {
            match before {
                Some(before) => self.0.insert(next, before),
                None => self.0.remove(&next),
            };
        }
    }

    /// Who stands before `ino`; `None`: it is the first.
    pub(crate) fn before(&self, ino: u32) -> Option<u32> {
        self.0.get(&ino).copied()
    }
}

/// Puts the inode at the head of the list and returns who was there. The caller writes the inode.
///
/// # Errors
/// Reading failed, or a check did.
pub(crate) fn add(tx: &mut Tx<'_>, ino: u32, inode: &mut Inode) -> Result<u32> {
    let next = tx.read_state()?.orphan_head;
    inode.orphan_next = next;
    inode.flags |= FLAG_ORPHAN;
    tx.write_state(&mut |state| state.orphan_head = ino)?;
    Ok(next)
}

/// Takes the inode out of the list and returns who came after it. The caller writes the inode.
///
/// # Errors
/// The list is not what it was: corrupt.
pub(crate) fn remove(
    tx: &mut Tx<'_>,
    ino: u32,
    inode: &mut Inode,
    before: Option<u32>,
) -> Result<u32> {
    let next = inode.orphan_next;
    match before {
        None => {
            let head = tx.read_state()?.orphan_head;
            if head != ino {
                return tx.fail(corrupt(Kind::State, 1, Some(ino), "orphan_head"));
            }
            tx.write_state(&mut |state| state.orphan_head = next)?;
        }
        Some(before) => {
            let mut other = tx.read_inode(before)?;
            if other.orphan_next != ino {
                let place = tx.geometry().inode_place(before);
                let block = place.map_or(0, |(block, _)| block);
                return tx.fail(corrupt(Kind::Inode, block, Some(before), "orphan_next"));
            }
            other.orphan_next = next;
            tx.write_inode(before, &other)?;
        }
    }
    inode.orphan_next = 0;
    inode.flags &= !FLAG_ORPHAN;
    Ok(next)
}

/// The whole list, first to last.
///
/// # Errors
/// An inode is met twice, is not in use or has not the flag: corrupt.
pub(crate) fn list<R: MetaRead + ?Sized>(meta: &R) -> Result<Vec<u32>> {
    let mut next = meta.read_state()?.orphan_head;
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    while next != 0 {
        let inode = meta.read_inode(next)?;
        if inode.flags & FLAG_ORPHAN == 0 || !seen.insert(next) {
            let place = meta.geometry().inode_place(next);
            let block = place.map_or(0, |(block, _)| block);
            return meta.fail(corrupt(Kind::Inode, block, Some(next), "orphan_next"));
        }
        all.push(next);
        next = inode.orphan_next;
    }
    Ok(all)
}
