// SPDX-License-Identifier: Apache-2.0
//! Collections: stores, members, slots, vectors. `mend.rs` puts right what is found here.

pub(super) mod mend;

use std::collections::{BTreeMap, BTreeSet};

use self::mend::Fix;
use super::Checker;
use crate::disk::dir::Dir;
use crate::disk::error::device_failure;
use crate::disk::vector::{Shape, SlotEntry, StoreRef, bytes, slots, vector_crc};
use crate::disk::{
    BLOCK_SIZE, FLAG_COLLECTION, FLAG_ORPHAN, FLAG_STORE, FileType, Inode, Kind, Result, map,
};

/// A collection whose directory and store agree.
struct Sound {
    dir: u32,
    ino: u32,
    inode: Inode,
    shape: Shape,
}

impl Sound {
    fn store(&self) -> StoreRef<'_> {
        StoreRef {
            ino: self.ino,
            inode: &self.inode,
        }
    }
}

fn is_file(inode: &Inode) -> bool {
    inode.file_type() == FileType::Regular && !inode.has(FLAG_STORE)
}

impl Checker {
    /// Checks everything that has to do with vectors.
    pub(super) fn collections(&mut self) -> Result<()> {
        let concerns = |inode: &Inode| {
            inode.flags & (FLAG_STORE | FLAG_COLLECTION) != 0
                || is_file(inode) && (inode.parent != 0 || inode.link != 0)
        };
        if !self.inodes.values().any(|known| concerns(&known.inode)) {
            return Ok(());
        }
        let sound = self.stores();
        let dirs: BTreeSet<u32> = sound.iter().map(|sound| sound.dir).collect();
        self.members(&dirs)?;
        let mut matched = BTreeSet::new();
        for sound in &sound {
            self.slots(sound, &mut matched)?;
        }
        self.links_of_members(&matched);
        Ok(())
    }

    /// Directories and stores that point at each other; the others are found wrong.
    fn stores(&mut self) -> Vec<Sound> {
        let (mut sound, mut wrong) = (Vec::new(), Vec::new());
        for (ino, known) in &self.inodes {
            let dir = &known.inode;
            if !dir.has(FLAG_COLLECTION) || dir.has(FLAG_ORPHAN) || self.plan.clear.contains(ino) {
                continue;
            }
            let store = self.inodes.get(&dir.link).map(|store| &store.inode);
            let is_its = |store: &&Inode| {
                store.has(FLAG_STORE) && store.parent == *ino && !store.has(FLAG_ORPHAN)
            };
            match store
                .filter(is_its)
                .map(|store| (store, Shape::decode(store)))
            {
                Some((store, Ok(shape))) => sound.push(Sound {
                    dir: *ino,
                    ino: dir.link,
                    inode: store.clone(),
                    shape,
                }),
                Some((_, Err(field))) => {
                    wrong.push((*ino, format!("its store's {field} is wrong")))
                }
                None => wrong.push((*ino, "a collection without a store".to_owned())),
            }
        }
        for (ino, words) in wrong {
            self.find("coll-store", None, ino, words);
            self.plan.vectors.push(Fix::Dissolve(ino));
        }
        let known: BTreeSet<u32> = sound.iter().map(|sound| sound.ino).collect();
        let is_stray = |inode: &Inode| inode.has(FLAG_STORE) && !inode.has(FLAG_ORPHAN);
        let all = self.inodes.iter();
        let stray = all.filter(|(ino, store)| is_stray(&store.inode) && !known.contains(ino));
        let stray: Vec<u32> = stray.map(|(ino, _)| *ino).collect();
        for ino in stray {
            self.find("coll-store", None, ino, "a store without a collection");
            self.plan.vectors.push(Fix::Discard(ino));
        }
        sound
    }

    /// For each regular file that a readable directory names: its collection, or 0. Names elsewhere are found wrong.
    fn homes(&mut self, collections: &BTreeSet<u32>) -> Result<BTreeMap<u32, u32>> {
        let mut homes = BTreeMap::new();
        let is_dir = |inode: &Inode| inode.file_type() == FileType::Directory;
        let all = self.inodes.iter().filter(|(_, known)| is_dir(&known.inode));
        let dirs: Vec<(u32, Inode)> = all.map(|(ino, dir)| (*ino, dir.inode.clone())).collect();
        for (ino, inode) in &dirs {
            if self.plan.dirs.contains_key(ino) || self.broken.contains_key(ino) {
                continue;
            }
            let dir = Dir { ino: *ino, inode };
            let Some(audit) = self.sound(dir.audit(&self.raw))? else {
                continue;
            };
            let home = if collections.contains(ino) { *ino } else { 0 };
            for (name, target, _) in audit.records {
                let is_member = |inode: &Inode| is_file(inode);
                if !self
                    .inodes
                    .get(&target)
                    .is_some_and(|known| is_member(&known.inode))
                {
                    continue;
                }
                if *homes.entry(target).or_insert(home) != home {
                    let words = format!("has a name in {ino}, on the other side of a collection");
                    self.find("coll-member", None, target, words);
                    self.plan.remove.insert((*ino, name));
                }
            }
        }
        Ok(homes)
    }

    fn members(&mut self, collections: &BTreeSet<u32>) -> Result<()> {
        let homes = self.homes(collections)?;
        let mut wrong = Vec::new();
        for (ino, home) in homes {
            let parent = self.inodes.get(&ino).map_or(0, |known| known.inode.parent);
            if parent != home {
                wrong.push((ino, parent, home));
            }
        }
        for (ino, parent, home) in wrong {
            let words = format!("belongs to {home}, but says {parent}");
            self.find("coll-member", None, ino, words);
            self.plan.vectors.push(Fix::Parent(ino, home));
            // Whatever it had a slot in, it is not this.
            if let Some(known) = self.inodes.get_mut(&ino) {
                (known.inode.parent, known.inode.link) = (home, 0);
            }
        }
        Ok(())
    }

    /// The member that a slot's entry names, if it is one and says the same.
    fn is_matched(&self, dir: u32, slot: u32, entry: &SlotEntry) -> bool {
        let known = self.inodes.get(&entry.ino).map(|known| &known.inode);
        known.is_some_and(|inode| {
            is_file(inode)
                && inode.parent == dir
                && inode.generation == entry.generation
                && inode.link == slot + 1
        })
    }

    /// Checks the map and the vectors of one collection; what agrees both ways goes into `matched`.
    fn slots(&mut self, sound: &Sound, matched: &mut BTreeSet<u32>) -> Result<()> {
        let found = self.findings.len();
        let mut live = 0;
        self.mapping(sound)?;
        for index in 0..slots::blocks_of(sound.shape.slots) {
            let read = sound.store().block(&self.raw, index);
            let (at, block) = match read {
                Ok(read) => read,
                Err(error) => {
                    self.note("coll-map", error)?;
                    let entries = self.entries_of_members(sound, index)?;
                    matched.extend(entries.iter().map(|(_, entry)| entry.ino));
                    live += entries.len();
                    self.plan.vectors.push(Fix::Map(sound.ino, index, entries));
                    continue;
                }
            };
            let first = index * slots::ENTRIES;
            for slot in first..first + slots::ENTRIES {
                let Some(entry) = slots::entry(&block, slot) else {
                    continue;
                };
                let (ino, clear) = (entry.ino, Fix::Clear(sound.ino, slot));
                if slot >= sound.shape.slots || !self.is_matched(sound.dir, slot, &entry) {
                    let words = format!("slot {slot} is said to be inode {ino}'s, which it is not");
                    self.find("coll-slot", at, sound.ino, words);
                    self.plan.vectors.push(clear);
                } else if self.crc(sound, slot, &entry)? == Some(entry.crc) {
                    matched.insert(ino);
                    live += 1;
                } else {
                    let words = format!("the vector in slot {slot} of {} is damaged", sound.ino);
                    self.find("coll-crc", at, ino, words);
                    self.plan.vectors.extend([clear, Fix::Unlink(ino)]);
                    matched.insert(ino);
                }
            }
        }
        if found == self.findings.len() && live != sound.shape.live as usize {
            let words = format!("{live} slots in use, but says {}", sound.shape.live);
            self.find("coll-slot", None, sound.ino, words);
        }
        if found != self.findings.len() {
            self.plan.vectors.push(Fix::Live(sound.ino));
        }
        Ok(())
    }

    /// The checksum that a slot's bytes have; none if they cannot be found.
    fn crc(&self, sound: &Sound, slot: u32, entry: &SlotEntry) -> Result<Option<u32>> {
        let mut raw = vec![0; usize::from(sound.shape.dimension) * 4];
        let start = u64::from(slot) * u64::from(sound.shape.stride());
        let read = bytes::read(
            &self.raw,
            &|at, buffer| {
                let done = self.raw.device.read_blocks(at, buffer);
                done.map_err(|error| device_failure("read", Kind::Vector, at, None, &error))
            },
            sound.store(),
            start,
            &mut raw,
        );
        let seed = crate::disk::MetaRead::geometry(&self.raw).seed;
        let read = self.sound(read)?;
        Ok(read.map(|()| vector_crc(seed, entry.ino, entry.generation, &raw)))
    }

    /// What a map block should say, by what members say. The checksums are those of what is there.
    fn entries_of_members(&self, sound: &Sound, index: u32) -> Result<Vec<(u32, SlotEntry)>> {
        let mut entries: BTreeMap<u32, SlotEntry> = BTreeMap::new();
        let first = index * slots::ENTRIES;
        let behind = (first + slots::ENTRIES).min(sound.shape.slots);
        for (ino, known) in &self.inodes {
            let inode = &known.inode;
            let slot = inode.link.wrapping_sub(1);
            if !is_file(inode) || inode.parent != sound.dir || !(first..behind).contains(&slot) {
                continue;
            }
            let mut entry = SlotEntry {
                ino: *ino,
                generation: inode.generation,
                crc: 0,
            };
            if let Some(crc) = self.crc(sound, slot, &entry)? {
                entry.crc = crc;
                entries.entry(slot).or_insert(entry);
            }
        }
        Ok(entries.into_iter().collect())
    }

    /// Checks that all vectors are mapped and written, and no map block is too many.
    fn mapping(&mut self, sound: &Sound) -> Result<()> {
        let behind = sound.shape.size().div_ceil(BLOCK_SIZE as u64);
        let mut at = 0;
        while at < behind {
            let Some(next) = self.extent(sound, at)? else {
                return Ok(());
            };
            let (start, end, unwritten) = next.unwrap_or((behind, behind, false));
            if start > at || unwritten {
                let to = if start > at {
                    start.min(behind)
                } else {
                    end.min(behind)
                };
                let words = format!("vectors in blocks {at} to {to} are not mapped and written");
                self.find("coll-map", None, sound.ino, words);
                self.plan.vectors.push(Fix::Fill(sound.ino, at, to));
                at = to;
            } else {
                at = end;
            }
        }
        let last = slots::blocks_of(sound.shape.slots);
        let first_over = u64::from(slots::MAP) + u64::from(last);
        if let Some(Some(_)) = self.extent(sound, first_over)? {
            self.find("coll-map", None, sound.ino, "more map blocks than slots");
            self.plan.vectors.push(Fix::Trim(sound.ino, last));
        }
        Ok(())
    }

    /// The extent at `lblk` or the next: first, end, unwritten. The outer none: the tree is broken, which was found.
    #[allow(clippy::type_complexity)]
    fn extent(&self, sound: &Sound, lblk: u64) -> Result<Option<Option<(u64, u64, bool)>>> {
        let next = self.sound(map::find(&self.raw, sound.ino, &sound.inode, lblk))?;
        let shown = |extent: crate::disk::extents::Extent| {
            (
                u64::from(extent.lblk).max(lblk),
                extent.end(),
                extent.unwritten,
            )
        };
        Ok(next.map(|next| next.map(shown)))
    }

    /// Files that say they have a slot which is not theirs.
    fn links_of_members(&mut self, matched: &BTreeSet<u32>) {
        let all = self.inodes.iter();
        let wrong: Vec<u32> = all
            .filter(|(ino, known)| {
                let inode = &known.inode;
                is_file(inode) && inode.link != 0 && !matched.contains(ino)
            })
            .map(|(ino, _)| *ino)
            .collect();
        for ino in wrong {
            self.find("coll-slot", None, ino, "its slot is not its own");
            self.plan.vectors.push(Fix::Unlink(ino));
        }
    }
}
