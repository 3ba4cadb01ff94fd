// SPDX-License-Identifier: Apache-2.0
//! What a check has decided that a repair will do. Making the plan changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::collections::mend::Fix;
use crate::disk::extents::Extent;
use crate::disk::summary::GroupSummary;
use crate::disk::xattr::Attributes;

/// A name in a directory: the directory's inode and the name.
pub(super) type Entry = (u32, Vec<u8>);

/// Decisions, in the order in which they are carried out.
#[derive(Default)]
pub(super) struct Plan {
    /// The state block is made anew.
    pub(super) state: bool,
    /// Summary blocks that are made anew.
    pub(super) summaries: BTreeSet<u32>,
    /// What these groups' summary entries should have said.
    pub(super) entries: BTreeMap<u32, GroupSummary>,
    /// Group blocks that are made anew.
    pub(super) groups: BTreeSet<u32>,
    /// Slots that become free, and the generation that lives on there (0: none is known).
    pub(super) slots: BTreeMap<u32, u32>,
    /// Inodes in use that are freed.
    pub(super) clear: BTreeSet<u32>,
    /// The extents that are left of these inodes.
    pub(super) extents: BTreeMap<u32, Vec<Extent>>,
    /// New sizes.
    pub(super) sizes: BTreeMap<u32, u64>,
    /// The attributes that are left of these inodes.
    pub(super) xattrs: BTreeMap<u32, Attributes>,
    /// Directories that are built anew, with their names and whom they name.
    pub(super) dirs: BTreeMap<u32, Vec<(Vec<u8>, u32)>>,
    /// New parents.
    pub(super) parents: BTreeMap<u32, u32>,
    /// Names to be taken out.
    pub(super) remove: BTreeSet<Entry>,
    /// Names whose type is set to the inode's.
    pub(super) retype: BTreeSet<Entry>,
    /// Inodes for lost+found.
    pub(super) lost: BTreeSet<u32>,
    /// The orphan list as it should be, first to last.
    pub(super) orphans: Option<Vec<u32>>,
    /// What is done to collections.
    pub(super) vectors: Vec<Fix>,
}
