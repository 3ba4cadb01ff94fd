// SPDX-License-Identifier: Apache-2.0
//! Superblock and journal: what everything else is read by.

use super::Finding;
use crate::disk::device::BlockDevice;
use crate::disk::error::device_failure;
use crate::disk::group;
use crate::disk::journal::{self, Place};
use crate::disk::layout::{ROOT_INO, STATE_BLOCK, SUMMARY_START, SUPER_MAGIC};
use crate::disk::{Block, Error, Kind, Result, Slot, Superblock, crc, state, summary};

/// Copies are looked for in the first GiB.
const SEARCHED: u64 = 1 << 18;

/// The superblock that counts, and what was found about it.
pub(super) struct Head {
    pub(super) superblock: Superblock,
    pub(super) findings: Vec<Finding>,
}

fn finding(name: &'static str, block: impl Into<Option<u64>>, words: impl Into<String>) -> Finding {
    Finding {
        name,
        words: words.into(),
        block: block.into(),
        ino: None,
    }
}

/// Finds the superblock: block 0, or the copy that stands in for it.
///
/// # Errors
/// Reading failed; there is none; it is of a version or has features that this code does not know.
pub(super) fn find(device: &dyn BlockDevice) -> Result<Head> {
    let mut findings = Vec::new();
    let first = match Superblock::read(device) {
        Ok(superblock) => Some(superblock),
        Err(Error::Corrupt(what)) => {
            findings.push(finding("sb-valid", 0, what.to_string()));
            None
        }
        Err(Error::NotVexfs) => None,
        Err(error) => return Err(error),
    };
    let Some(first) = first else {
        let Some(copy) = copies(device)? else {
            return Err(match findings.pop() {
                Some(found) => {
                    Error::Invalid(format!("{}, and no copy of it is valid", found.words))
                }
                None => Error::NotVexfs,
            });
        };
        if findings.is_empty() {
            findings.push(finding(
                "sb-valid",
                0,
                "corrupt superblock at block 0: magic",
            ));
        }
        return Ok(Head {
            superblock: copy,
            findings,
        });
    };
    let mut head = Head {
        superblock: first,
        findings,
    };
    head.compare(device)?;
    Ok(head)
}

/// The valid copy with the highest serial.
fn copies(device: &dyn BlockDevice) -> Result<Option<Superblock>> {
    let last = device.blocks().saturating_sub(1);
    let mut best: Option<Superblock> = None;
    let mut block = Block::zeroed();
    for at in [last].into_iter().chain(1..SEARCHED.min(last)) {
        device
            .read_blocks(at, &mut block[..])
            .map_err(|error| device_failure("read", Kind::Superblock, at, None, &error))?;
        if block.get_u32(0) != SUPER_MAGIC {
            continue;
        }
        match Superblock::parse(&block, at, device.blocks()) {
            Ok(copy) => {
                let serial = |copy: &Superblock| copy.raw().serial.get();
                if best
                    .as_ref()
                    .is_none_or(|best| serial(best) < serial(&copy))
                {
                    best = Some(copy);
                }
            }
            // What looks like one, in a file for example.
            Err(Error::Corrupt(_) | Error::Unsupported(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(best)
}

impl Head {
    /// Compares the copies with block 0. Where they differ, those that fit what is on the volume count.
    fn compare(&mut self, device: &dyn BlockDevice) -> Result<()> {
        let own = self.superblock;
        // The replay never touches them, and a torn rewrite leaves a copy old or new.
        for at in own.geometry().backup.into_iter().filter(|at| *at != 0) {
            let copy = match Superblock::read_at(device, at) {
                Ok(copy) => Some(copy),
                Err(Error::Corrupt(_) | Error::NotVexfs | Error::Unsupported(_)) => None,
                Err(error) => return Err(error),
            };
            // A rewrite that was cut off is finished by the next mount.
            let same = |copy: &Superblock| {
                copy.to_block(0)[..] == own.to_block(0)[..] || own.is_one_behind(copy)
            };
            let Some(copy) = copy.filter(|copy| !same(copy)) else {
                if copy.is_none() {
                    self.findings
                        .push(finding("sb-backup", at, "is no copy of block 0"));
                }
                continue;
            };
            if fitting(device, &copy)? > fitting(device, &own)? {
                self.superblock = copy;
                let words = format!("fits the volume less than its copy in block {at}");
                self.findings.push(finding("sb-valid", 0, words));
            } else {
                self.findings
                    .push(finding("sb-backup", at, "differs from block 0"));
            }
        }
        Ok(())
    }

    /// Writes block 0 and the copies.
    pub(super) fn rewrite(&self, device: &dyn BlockDevice) -> Result<()> {
        self.superblock.write_copy(device, 0)?;
        device
            .flush()
            .map_err(|error| device_failure("write", Kind::Superblock, None, None, &error))?;
        self.superblock.write_backups(device)
    }

    /// Replays the log. If it is broken, only what counts for certain is replayed, and the journal is made anew.
    pub(super) fn replay(
        &self,
        device: &dyn BlockDevice,
        findings: &mut Vec<Finding>,
    ) -> Result<usize> {
        let place = Place::of(&self.superblock);
        let geometry = self.superblock.geometry();
        match journal::recover(device, &place, &geometry) {
            Ok(replayed) => Ok(replayed),
            Err(Error::Corrupt(what)) => {
                findings.push(finding("journal-valid", what.block, what.to_string()));
                journal::salvage(device, &place, &geometry)
            }
            Err(error) => Err(error),
        }
    }
}

/// How much of what is on the volume agrees with a superblock's seed, places and hash key.
fn fitting(device: &dyn BlockDevice, superblock: &Superblock) -> Result<u32> {
    let geometry = superblock.geometry();
    let mut block = Block::zeroed();
    let mut score = 0;
    let mut read = |at: u64| -> Result<Block> {
        device
            .read_blocks(at, &mut block[..])
            .map_err(|error| device_failure("read", Kind::Superblock, at, None, &error))?;
        Ok(block.clone())
    };
    let fixed = [
        (STATE_BLOCK, state::EXPECT),
        (SUMMARY_START, summary::expect(0)),
        (geometry.group_start(0), group::expect(0)),
    ];
    for (at, expect) in fixed {
        let fits = read(at)?.check_header(geometry.seed, at, expect).is_ok();
        score += u32::from(fits);
    }
    if let Some((at, byte)) = geometry.inode_place(ROOT_INO) {
        let table = read(at)?;
        let mut bytes = [0; 512];
        bytes.copy_from_slice(&table[byte..byte + 512]);
        let slot = Slot::parse(&geometry, ROOT_INO, at, &bytes);
        score += u32::from(matches!(slot, Ok(Slot::Used(_))));
    }
    score += named(device, superblock)?;
    Ok(score)
}

/// Whether the first leaf among the first data blocks has names that its hash key explains.
fn named(device: &dyn BlockDevice, superblock: &Superblock) -> Result<u32> {
    let geometry = superblock.geometry();
    let first = geometry.group_start(0) + 1 + u64::from(geometry.itable_blocks);
    let end = geometry.total_blocks.min(first + 4096);
    let mut block = Block::zeroed();
    for at in first..end {
        device
            .read_blocks(at, &mut block[..])
            .map_err(|error| device_failure("read", Kind::DirLeaf, at, None, &error))?;
        let sum = crc::raw_without(geometry.seed, &block[..], 4);
        let leaf = block.header().magic == Kind::DirLeaf.magic();
        if !leaf || block.header().checksum.get() != sum {
            continue;
        }
        use crate::disk::dir::leaf;
        let hash = |name: &[u8]| crate::disk::hash::dir_hash(&geometry.hash_key, name);
        let mut records = leaf::records(&block).peekable();
        if records.peek().is_some() {
            let fits = records.all(|record| record.key & leaf::HASH_MASK == hash(record.name));
            return Ok(u32::from(fits));
        }
    }
    Ok(0)
}
