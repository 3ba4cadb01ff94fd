// SPDX-License-Identifier: Apache-2.0
//! Checking a volume: the invariants of section 15 of the format, by name.
//!
//! - `mod.rs`: findings; superblock, journal, state
//! - `raw.rs`: reading without a mount
//! - `groups.rs`: summary, groups, bitmaps
//! - `inodes.rs`: inodes and what they own
//! - `names.rs`: directories, links, orphans
//! - `repair.rs`: what is put right
//!
//! Collections are not checked yet: their inodes and blocks are, their vectors and slot maps are not.

mod groups;
mod inodes;
mod names;
mod raw;
mod repair;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::raw::Raw;
use super::device::{BlockDevice, OverlayDevice};
use super::journal::{self, Place};
use super::state::ERROR;
use super::{Error, Inode, MetaRead, Result, Superblock};

pub use repair::repair;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The invariant's name.
    pub name: &'static str,
    /// What was found.
    pub words: String,
    /// Where.
    pub block: Option<u64>,
    /// In which inode.
    pub ino: Option<u32>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.words)?;
        match (self.block, self.ino) {
            (Some(block), Some(ino)) => write!(f, " (block {block}, inode {ino})"),
            (Some(block), None) => write!(f, " (block {block})"),
            (None, Some(ino)) => write!(f, " (inode {ino})"),
            (None, None) => Ok(()),
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// All findings, in the order of the check.
    pub findings: Vec<Finding>,
    /// Inodes that wait for the next mount to be cleaned; no error.
    pub pending: usize,
    /// Transactions that the log held.
    pub replayed: usize,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// An inode in use, and what else was seen of it.
struct Known {
    inode: Inode,
    /// Blocks that it owns.
    blocks: u64,
    /// Names that point at it.
    names: u32,
    /// Subdirectories that name it as their parent's place.
    subdirectories: u32,
    /// Whether the walk from the root met it.
    reached: bool,
    /// The link count that it should have, if it has another.
    nlink: Option<u32>,
    /// The number of entries that it should have, if it has another.
    entries: Option<u32>,
}

/// A bit for each block of the volume.
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: u64) -> Self {
        Self(vec![0; count.div_ceil(64) as usize])
    }

    fn get(&self, bit: u64) -> bool {
        self.0[(bit / 64) as usize] & 1 << (bit % 64) != 0
    }

    /// Sets the bit; whether it was clear.
    fn set(&mut self, bit: u64) -> bool {
        let was = self.get(bit);
        self.0[(bit / 64) as usize] |= 1 << (bit % 64);
        !was
    }
}

struct Checker {
    raw: Raw,
    findings: Vec<Finding>,
    owned: Bits,
    inodes: BTreeMap<u32, Known>,
}

impl Checker {
    fn find(
        &mut self,
        name: &'static str,
        block: impl Into<Option<u64>>,
        ino: impl Into<Option<u32>>,
        words: impl Into<String>,
    ) {
        self.findings.push(Finding {
            name,
            words: words.into(),
            block: block.into(),
            ino: ino.into(),
        });
    }

    /// A failed check becomes a finding; a failed device ends the check.
    fn note(&mut self, name: &'static str, error: Error) -> Result<()> {
        match error {
            Error::Corrupt(what) => {
                self.find(name, what.block, what.ino, what.to_string());
                Ok(())
            }
            other => Err(other),
        }
    }

    fn state(&mut self) -> Result<()> {
        match self.raw.read_state() {
            Ok(state) if state.flags & ERROR != 0 => {
                let words = format!(
                    "{} errors were recorded, the last in {} at block {}",
                    state.error_count, state.last_error.place, state.last_error.block
                );
                self.find("state-error", 1, None, words);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => self.note("state-valid", error),
        }
    }
}

/// Checks the volume on `device`, which is not written: a log is replayed in memory.
///
/// # Errors
/// Reading failed, or it is not a VexFS volume that this code knows.
pub fn check(device: Arc<dyn BlockDevice>) -> Result<Report> {
    let overlay: Arc<dyn BlockDevice> = Arc::new(OverlayDevice::new(device));
    Ok(examine(overlay)?.0)
}

/// Like [`check`], but replays the log on the device. Also gives all that was seen, if it went so far.
fn examine(device: Arc<dyn BlockDevice>) -> Result<(Report, Option<Checker>)> {
    let mut report = Report::default();
    let superblock = match Superblock::read(&*device) {
        Ok(superblock) => superblock,
        Err(Error::Corrupt(what)) => {
            report.findings.push(Finding {
                name: "sb-valid",
                words: what.to_string(),
                block: Some(0),
                ino: None,
            });
            return Ok((report, None));
        }
        Err(error) => return Err(error),
    };
    let geometry = superblock.geometry();
    match journal::recover(&*device, &Place::of(&superblock), &geometry) {
        Ok(replayed) => report.replayed = replayed,
        Err(Error::Corrupt(what)) => {
            report.findings.push(Finding {
                name: "journal-valid",
                words: what.to_string(),
                block: Some(what.block),
                ino: None,
            });
            // Without its log the rest has no meaning.
            return Ok((report, None));
        }
        Err(error) => return Err(error),
    }
    // The replay never touches it, and a torn rewrite leaves it old or new.
    for at in geometry.backup.into_iter().filter(|at| *at != 0) {
        let copy = Superblock::read_at(&*device, at);
        let same = copy.is_ok_and(|copy| copy.to_block(0)[..] == superblock.to_block(0)[..]);
        if !same {
            report.findings.push(Finding {
                name: "sb-backup",
                words: "differs from block 0".to_owned(),
                block: Some(at),
                ino: None,
            });
        }
    }
    let mut checker = Checker {
        raw: Raw::new(device, geometry),
        findings: Vec::new(),
        owned: Bits::new(geometry.total_blocks),
        inodes: BTreeMap::new(),
    };
    checker.state()?;
    let whole = checker.groups()?;
    if whole {
        checker.inodes()?;
        report.pending = checker.names()?;
        checker.bitmaps()?;
    }
    report.findings.append(&mut checker.findings);
    Ok((report, whole.then_some(checker)))
}
