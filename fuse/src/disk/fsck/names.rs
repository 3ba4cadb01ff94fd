// SPDX-License-Identifier: Apache-2.0
//! Directories: what they name, and whether everything in use can be reached.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Checker, Known};
use crate::disk::dir::{self, Dir};
use crate::disk::layout::ROOT_INO;
use crate::disk::{FLAG_STORE, FileType, Inode, MetaRead, Result};

/// What names directories: for each of them, where and how.
type Named = BTreeMap<u32, Vec<(u32, Vec<u8>)>>;

impl Checker {
    /// Checks all names; returns how many orphans wait.
    pub(super) fn names(&mut self) -> Result<usize> {
        let is_dir = |known: &Known| known.inode.file_type() == FileType::Directory;
        let mut waiting: VecDeque<u32> = self
            .inodes
            .iter()
            .filter(|(_, known)| is_dir(known))
            .map(|(ino, _)| *ino)
            .collect();
        let mut named = Named::new();
        while let Some(ino) = waiting.pop_front() {
            waiting.extend(self.directory(ino, &mut named)?);
        }
        self.leftovers();
        let children = self.parents(named);
        self.reach(&children, ROOT_INO);
        let orphans = self.orphans()?;
        self.links(&orphans);
        self.unreached(&orphans, &children);
        Ok(orphans.len())
    }

    /// Checks one directory; returns directories that only now turn out to be in use.
    fn directory(&mut self, ino: u32, named: &mut Named) -> Result<Vec<u32>> {
        let Some(inode) = self.inodes.get(&ino).map(|known| known.inode.clone()) else {
            return Ok(Vec::new());
        };
        let dir = Dir { ino, inode: &inode };
        let audit = match self.broken.contains_key(&ino) {
            true => None,
            false => match dir.audit(&self.raw) {
                Ok(audit) => Some(audit),
                Err(error) => {
                    self.note("dir-valid", error)?;
                    None
                }
            },
        };
        let Some(audit) = audit else {
            let records = self.salvage(ino, &inode)?;
            return self.broken_directory(ino, records, named);
        };
        for name in &audit.misplaced {
            let words = format!("the key of {} is not its hash", shown(name));
            self.find("dir-hash", None, ino, words);
        }
        for name in &audit.doubled {
            let words = format!("{} is there twice", shown(name));
            self.find("dir-name", None, ino, words);
        }
        let count = audit.records.len();
        if count as u64 != u64::from(dir::entries(&inode)) {
            let words = format!("{count} entries, but says {}", dir::entries(&inode));
            self.find("dir-count", None, ino, words);
            if let Some(known) = self.inodes.get_mut(&ino) {
                known.entries = u32::try_from(count).ok();
            }
        }
        if !audit.misplaced.is_empty() || !audit.doubled.is_empty() {
            let records = audit.records.into_iter().map(|(name, to, _)| (name, to));
            return self.broken_directory(ino, records.collect(), named);
        }
        let mut adopted = Vec::new();
        for (name, target, kind) in audit.records {
            match self.target(ino, &name, target, &mut adopted)? {
                None => {
                    self.plan.remove.insert((ino, name));
                }
                Some(file_type) => {
                    if file_type.dir_type() != kind {
                        let words =
                            format!("{} has another type than inode {target}", shown(&name));
                        self.find("dir-entry", None, ino, words);
                        self.plan.retype.insert((ino, name.clone()));
                    }
                    if file_type == FileType::Directory {
                        named.entry(target).or_default().push((ino, name));
                    }
                }
            }
        }
        Ok(adopted)
    }

    /// Plans to build a directory anew from these records.
    fn broken_directory(
        &mut self,
        ino: u32,
        records: Vec<(Vec<u8>, u32)>,
        named: &mut Named,
    ) -> Result<Vec<u32>> {
        let (mut adopted, mut kept) = (Vec::new(), Vec::new());
        let (mut names, mut pairs) = (BTreeSet::new(), BTreeSet::new());
        for (name, target) in records {
            if !pairs.insert((name.clone(), target)) {
                continue;
            }
            let Some(file_type) = self.target(ino, &name, target, &mut adopted)? else {
                continue;
            };
            let name = match dir::leaf::is_legal(&name) && !names.contains(&name) {
                true => name,
                false => format!("#{target}").into_bytes(),
            };
            if !names.insert(name.clone()) {
                continue;
            }
            if file_type == FileType::Directory {
                named.entry(target).or_default().push((ino, name.clone()));
            }
            kept.push((name, target));
        }
        self.plan.dirs.insert(ino, kept);
        Ok(adopted)
    }

    /// Type of the inode that a record names, which is counted; none if the record must go.
    fn target(
        &mut self,
        dir: u32,
        name: &[u8],
        target: u32,
        adopted: &mut Vec<u32>,
    ) -> Result<Option<FileType>> {
        if let Some(inode) = self.unsure.remove(&target) {
            let words = format!("{} in {dir} names it, but it is not in use", shown(name));
            self.find("bitmap-inode", None, target, words);
            if inode.file_type() == FileType::Directory {
                adopted.push(target);
            }
            self.inodes.insert(target, Known::new(inode));
            self.contents(target)?;
        }
        let Some(known) = self.inodes.get_mut(&target) else {
            let words = format!("{} names inode {target}, which is not in use", shown(name));
            self.find("dir-entry", None, dir, words);
            return Ok(None);
        };
        let inode: &Inode = &known.inode;
        let file_type = inode.file_type();
        let why = match (target == ROOT_INO, inode.has(FLAG_STORE)) {
            (true, _) => Some("the root"),
            (_, true) => Some("a store, which has no name"),
            _ => None,
        };
        if let Some(why) = why {
            let words = format!("{} names inode {target}, {why}", shown(name));
            self.find("dir-entry", None, dir, words);
            return Ok(None);
        }
        known.names = known.names.saturating_add(1);
        // What is cleared was found wrong already.
        Ok((!self.plan.clear.contains(&target)).then_some(file_type))
    }

    /// What is neither in use nor named, but not empty.
    fn leftovers(&mut self) {
        for (ino, inode) in std::mem::take(&mut self.unsure) {
            let place = self.raw.geometry().inode_place(ino);
            let table = place.map(|(block, _)| block);
            self.find("inode-free", table, ino, "has content but is not in use");
            self.plan.slots.insert(ino, inode.generation);
        }
    }

    /// Decides where each directory is; returns what each has below it.
    fn parents(&mut self, named: Named) -> BTreeMap<u32, Vec<u32>> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (ino, places) in named {
            let parent = self.inodes.get(&ino).map_or(0, |known| known.inode.parent);
            let kept = places.iter().position(|(dir, _)| *dir == parent);
            let kept = kept.unwrap_or(0);
            let (dir, count) = (places[kept].0, places.len());
            if parent != dir || count > 1 {
                let words = format!("is named in {dir}, {count} times; its parent is {parent}");
                self.find("dir-parent", None, ino, words);
            }
            if parent != dir {
                self.plan.parents.insert(ino, dir);
            }
            children.entry(dir).or_default().push(ino);
            self.places.insert(ino, places[kept].clone());
            let others = places.into_iter().enumerate();
            let others = others.filter(|(i, _)| *i != kept).map(|(_, place)| place);
            self.plan.remove.extend(others);
        }
        for (dir, below) in &children {
            if let Some(known) = self.inodes.get_mut(dir) {
                known.subdirectories = below.len() as u32;
            }
        }
        let parent = self.inodes.get(&ROOT_INO).map(|root| root.inode.parent);
        if parent != Some(ROOT_INO) {
            let words = "is the root, but has another parent";
            self.find("dir-parent", None, ROOT_INO, words);
            self.plan.parents.insert(ROOT_INO, ROOT_INO);
        }
        children
    }

    /// Marks what can be reached from a directory.
    pub(super) fn reach(&mut self, children: &BTreeMap<u32, Vec<u32>>, from: u32) {
        let mut waiting = vec![from];
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
}

pub(super) fn shown(name: &[u8]) -> String {
    format!("\"{}\"", name.escape_ascii())
}
