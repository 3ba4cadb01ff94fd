// SPDX-License-Identifier: Apache-2.0
//! Link counts, the orphan list, and what nothing reaches.

use std::collections::{BTreeMap, HashSet};

use super::Checker;
use crate::disk::layout::ROOT_INO;
use crate::disk::{FLAG_ORPHAN, FLAG_STORE, FileType, Result, orphan};

impl Checker {
    /// Checks the orphan list, and decides what it should be if it is wrong. Returns who is on it.
    pub(super) fn orphans(&mut self) -> Result<HashSet<u32>> {
        if self.plan.state {
            // The state block, which has its head, is made anew.
            self.plan.orphans = Some(self.should_be_orphans());
        }
        let read = match self.plan.state {
            true => Ok(Vec::new()),
            false => orphan::list(&self.raw),
        };
        let list = match read {
            Ok(list) => list,
            Err(error) => {
                self.note("orphan-list", error)?;
                self.plan.orphans = Some(self.should_be_orphans());
                Vec::new()
            }
        };
        let set: HashSet<u32> = list.iter().copied().collect();
        let mut wrong = Vec::new();
        for (ino, known) in &self.inodes {
            let inode = &known.inode;
            let has_flag = inode.flags & FLAG_ORPHAN != 0;
            let (listed, regular) = (set.contains(ino), inode.file_type() == FileType::Regular);
            if has_flag && !listed {
                wrong.push((*ino, "has the flag but is not on the list"));
            } else if listed && (*ino == ROOT_INO || (known.names > 0 && !regular)) {
                wrong.push((*ino, "is on the list, but has a name"));
            } else if listed && known.names == 0 && inode.nlink > 0 && !inode.has(FLAG_STORE) {
                wrong.push((*ino, "is on the list, has links, but no name"));
            }
        }
        let unknown = list.iter().find(|ino| !self.inodes.contains_key(ino));
        if let Some(ino) = unknown {
            wrong.push((*ino, "is on the list, but not in use"));
        }
        if !wrong.is_empty() {
            self.plan.orphans = Some(self.should_be_orphans());
        }
        for (ino, words) in wrong {
            self.find("orphan-list", None, ino, words);
        }
        Ok(set)
    }

    /// Who belongs on the list: what has neither name nor links, and files whose truncation may not be finished.
    fn should_be_orphans(&self) -> Vec<u32> {
        let belongs = |ino: &u32| {
            let known = &self.inodes[ino];
            let inode = &known.inode;
            let has_flag = inode.flags & FLAG_ORPHAN != 0;
            let truncated = has_flag && inode.file_type() == FileType::Regular;
            match (known.names, inode.has(FLAG_STORE)) {
                _ if *ino == ROOT_INO => false,
                (_, true) => has_flag,
                (0, _) => inode.nlink == 0,
                _ => truncated,
            }
        };
        self.inodes.keys().copied().filter(belongs).collect()
    }

    /// Checks link counts, and that all that is in use has a name.
    pub(super) fn links(&mut self, orphans: &HashSet<u32>) {
        let mut found = Vec::new();
        let mut nameless = false;
        for (ino, known) in &mut self.inodes {
            let inode = &known.inode;
            let listed = orphans.contains(ino);
            let is_dir = inode.file_type() == FileType::Directory;
            if inode.flags & FLAG_STORE != 0 || self.plan.clear.contains(ino) {
                continue;
            }
            if is_dir && *ino != ROOT_INO && known.names == 0 && !listed {
                found.push(("dir-parent", *ino, "has no name".to_owned()));
            } else if is_dir && !known.reached && !listed {
                let words = "cannot be reached from the root".to_owned();
                found.push(("dir-parent", *ino, words));
            } else if !is_dir && known.names == 0 && !listed {
                let words = "in use, but has no name".to_owned();
                found.push(("bitmap-inode", *ino, words));
            }
            let named = known.names > 0 || *ino == ROOT_INO;
            nameless |= !named && !listed && inode.nlink == 0;
            let nlink = match (is_dir, named) {
                (true, true) => known.subdirectories.saturating_add(2),
                (true, false) => 0,
                (false, _) => known.names,
            };
            if inode.nlink != nlink && (named || (listed && inode.nlink == 0)) {
                let words = format!("{nlink} links, but says {}", inode.nlink);
                found.push(("inode-nlink", *ino, words));
                known.nlink = Some(nlink);
            }
        }
        for (name, ino, words) in found {
            self.find(name, None, ino, words);
        }
        if nameless && self.plan.orphans.is_none() {
            self.plan.orphans = Some(self.should_be_orphans());
        }
    }

    /// Plans where what nothing reaches goes.
    pub(super) fn unreached(&mut self, orphans: &HashSet<u32>, children: &BTreeMap<u32, Vec<u32>>) {
        let listed: HashSet<u32> = match &self.plan.orphans {
            Some(list) => list.iter().copied().collect(),
            None => orphans.clone(),
        };
        let mut lost = Vec::new();
        let mut loops = Vec::new();
        for (ino, known) in &self.inodes {
            let store = known.inode.has(FLAG_STORE);
            if store || listed.contains(ino) || self.plan.clear.contains(ino) {
                continue;
            }
            let is_dir = known.inode.file_type() == FileType::Directory;
            match (is_dir, known.names) {
                _ if *ino == ROOT_INO => {}
                (_, 0) => lost.push(*ino),
                (true, _) => loops.push(*ino),
                _ => {}
            }
        }
        for ino in &lost {
            self.reach(children, *ino);
        }
        self.plan.lost.extend(lost);
        for ino in loops {
            if self.inodes.get(&ino).is_some_and(|known| !known.reached) {
                // Only a loop is left: it is cut here.
                self.plan.lost.insert(ino);
                let place = self.places.get(&ino).cloned();
                self.plan.remove.extend(place);
                self.reach(children, ino);
            }
        }
    }
}
