// SPDX-License-Identifier: Apache-2.0
//! Checking a volume: the invariants of section 15 of the format, by name.
//!
//! - `mod.rs`: findings, the order of the check
//! - `raw.rs`: reading without a mount
//! - `head.rs`: superblock, journal
//! - `groups.rs`: summary, groups, bitmaps
//! - `inodes.rs`, `extents.rs`: inodes and what they own
//! - `names.rs`, `salvage.rs`, `links.rs`: directories, links, orphans
//! - `collections/`: vectors, and their repair
//! - `plan.rs`: what a repair would do; `repair/`: doing it

mod collections;
mod extents;
mod groups;
mod head;
mod inodes;
mod links;
mod names;
mod plan;
mod raw;
mod repair;
mod salvage;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::extents::Walk;
use self::head::Head;
use self::plan::Plan;
use self::raw::Raw;
use super::device::{BlockDevice, OverlayDevice};
use super::state::ERROR;
use super::{Error, Inode, MetaRead, Result};

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
    /// Subdirectories that are here.
    subdirectories: u32,
    /// Whether the walk from the root met it.
    reached: bool,
    /// The link count that it should have, if it has another.
    nlink: Option<u32>,
    /// The number of entries that it should have, if it has another.
    entries: Option<u32>,
}

impl Known {
    fn new(inode: Inode) -> Self {
        Self {
            inode,
            blocks: 0,
            names: 0,
            subdirectories: 0,
            reached: false,
            nlink: None,
            entries: None,
        }
    }
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

    fn set(&mut self, bit: u64, used: bool) {
        let word = &mut self.0[(bit / 64) as usize];
        match used {
            true => *word |= 1 << (bit % 64),
            false => *word &= !(1 << (bit % 64)),
        }
    }
}

struct Checker {
    raw: Raw,
    findings: Vec<Finding>,
    plan: Plan,
    owned: Bits,
    inodes: BTreeMap<u32, Known>,
    /// Inodes with content whose bit says that they are free, until a name decides.
    unsure: BTreeMap<u32, Inode>,
    /// Directories whose tree is broken, and what is left of their extents.
    broken: BTreeMap<u32, Walk>,
    /// Where each directory is: the name that counts.
    places: BTreeMap<u32, plan::Entry>,
    /// Whether the root had to be made up.
    rootless: bool,
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

    /// What was read, unless a check failed; a failed device ends the check.
    fn sound<T>(&self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(Error::Corrupt(_)) => Ok(None),
            Err(error) => Err(error),
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
            Err(error) => {
                self.plan.state = true;
                self.note("state-valid", error)
            }
        }
    }
}

/// Checks the volume on `device`, which is not written: a log is replayed in memory.
///
/// # Errors
/// Reading failed, or it is not a VexFS volume that this code knows.
pub fn check(device: Arc<dyn BlockDevice>) -> Result<Report> {
    let head = head::find(&*device)?;
    let overlay: Arc<dyn BlockDevice> = Arc::new(OverlayDevice::new(device));
    Ok(examine(&head, overlay)?.0)
}

/// Like [`check`], but replays the log on the device. Also gives all that was seen.
fn examine(head: &Head, device: Arc<dyn BlockDevice>) -> Result<(Report, Checker)> {
    let mut findings = head.findings.clone();
    let replayed = head.replay(&*device, &mut findings)?;
    let geometry = head.superblock.geometry();
    let mut checker = Checker {
        raw: Raw::new(device, geometry),
        findings,
        plan: Plan::default(),
        owned: Bits::new(geometry.total_blocks),
        inodes: BTreeMap::new(),
        unsure: BTreeMap::new(),
        broken: BTreeMap::new(),
        places: BTreeMap::new(),
        rootless: false,
    };
    checker.state()?;
    checker.groups()?;
    checker.inodes()?;
    let pending = checker.names()?;
    checker.collections()?;
    checker.bitmaps()?;
    let report = Report {
        findings: std::mem::take(&mut checker.findings),
        pending,
        replayed,
    };
    Ok((report, checker))
}
