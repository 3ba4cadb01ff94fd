// SPDX-License-Identifier: Apache-2.0
//! Directories, links, orphans.

use std::collections::{BTreeMap, HashSet};

use super::Checker;
use crate::disk::dir::{self, Dir};
use crate::disk::layout::ROOT_INO;
use crate::disk::{FLAG_ORPHAN, FLAG_STORE, FileType, Inode, Result, orphan};

impl Checker {
    /// Checks all names; returns how many orphans wait.
    pub(super) fn names(&mut self) -> Result<usize> {
        let directories: Vec<(u32, Inode)> = self
            .inodes
            .iter()
            .filter(|(_, known)| known.inode.file_type() == FileType::Directory)
            .map(|(ino, known)| (*ino, known.inode.clone()))
            .collect();
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (ino, inode) in &directories {
            children.insert(*ino, self.directory(*ino, inode)?);
        }
        self.reach(&children);
        let orphans = self.orphans()?;
        self.links(&orphans);
        Ok(orphans.len())
    }

    /// Checks one directory; returns its subdirectories.
    fn directory(&mut self, ino: u32, inode: &Inode) -> Result<Vec<u32>> {
        let mut subdirectories = Vec::new();
        let audit = match (Dir { ino, inode }).audit(&self.raw) {
            Ok(audit) => audit,
            Err(error) => {
                self.note("dir-valid", error)?;
                return Ok(subdirectories);
            }
        };
        for name in &audit.misplaced {
            let words = format!("the key of {} is not its hash", shown(name));
            self.find("dir-hash", None, ino, words);
        }
        for name in &audit.doubled {
            self.find(
                "dir-name",
                None,
                ino,
                format!("{} is there twice", shown(name)),
            );
        }
        let count = audit.records.len();
        if count as u64 != u64::from(dir::entries(inode)) {
            let words = format!("{count} entries, but says {}", dir::entries(inode));
            self.find("dir-count", None, ino, words);
            if let Some(known) = self.inodes.get_mut(&ino) {
                known.entries = u32::try_from(count).ok();
            }
        }
        for (name, target, kind) in audit.records {
            let Some(known) = self.inodes.get_mut(&target) else {
                let words = format!("{} names inode {target}, which is not in use", shown(&name));
                self.find("dir-entry", None, ino, words);
                continue;
            };
            known.names = known.names.saturating_add(1);
            let file_type = known.inode.file_type();
            let (parent, names) = (known.inode.parent, known.names);
            if file_type.dir_type() != kind {
                let words = format!("{} has another type than inode {target}", shown(&name));
                self.find("dir-entry", None, ino, words);
            }
            if file_type == FileType::Directory {
                subdirectories.push(target);
                if parent != ino || names > 1 || target == ROOT_INO {
                    let words = format!("is named in {ino}, {names} times; its parent is {parent}");
                    self.find("dir-parent", None, target, words);
                }
                if let Some(above) = self.inodes.get_mut(&ino) {
                    above.subdirectories += 1;
                }
            }
        }
        Ok(subdirectories)
    }

    /// Marks what can be reached from the root.
    fn reach(&mut self, children: &BTreeMap<u32, Vec<u32>>) {
        let mut waiting = vec![ROOT_INO];
        while let Some(ino) = waiting.pop() {
            match self.inodes.get_mut(&ino) {
                Some(known) if !known.reached => {
                    known.reached = true;
                    waiting.extend(children.get(&ino).into_iter().flatten());
                }
                _ => {}
            }
        }
    }

    fn orphans(&mut self) -> Result<HashSet<u32>> {
        let list = match orphan::list(&self.raw) {
            Ok(list) => list.into_iter().collect(),
            Err(error) => {
                self.note("orphan-list", error)?;
                HashSet::new()
            }
        };
        let stray: Vec<u32> = self
            .inodes
            .iter()
            .filter(|(ino, known)| known.inode.flags & FLAG_ORPHAN != 0 && !list.contains(*ino))
            .map(|(ino, _)| *ino)
            .collect();
        for ino in stray {
            self.find(
                "orphan-list",
                None,
                ino,
                "has the flag but is not on the list",
            );
        }
        Ok(list)
    }

    fn links(&mut self, orphans: &HashSet<u32>) {
        let mut found = Vec::new();
        for (ino, known) in &mut self.inodes {
            let inode = &known.inode;
            let listed = orphans.contains(ino);
            let is_dir = inode.file_type() == FileType::Directory;
            if inode.flags & FLAG_STORE != 0 {
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
            let nlink = match (is_dir, named) {
                (true, true) => known.subdirectories.saturating_add(2),
                (true, false) => 0,
                (false, _) => known.names,
            };
            if inode.nlink != nlink && (named || listed) {
                let words = format!("{nlink} links, but says {}", inode.nlink);
                found.push(("inode-nlink", *ino, words));
                known.nlink = Some(nlink);
            }
        }
        for (name, ino, words) in found {
            self.find(name, None, ino, words);
        }
    }
}

fn shown(name: &[u8]) -> String {
    format!("\"{}\"", name.escape_ascii())
}
