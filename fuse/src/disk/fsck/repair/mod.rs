// SPDX-License-Identifier: Apache-2.0
//! Repair: worked out in memory, in rounds, until a check finds nothing; only then written.
//!
//! - `mod.rs`: the rounds
//! - `clear.rs`: what is broken is taken out, in place
//! - `attach.rs`: what needs space or a directory's tree
//! - `write.rs`: the result goes to the device
//!
//! Superblock and journal come first, on the device itself: each of their steps leaves a volume that can be checked
//! again. If no round ends clean, the rest of the device is left as it is.

mod attach;
mod clear;
mod write;

use std::sync::Arc;

use super::head::{self, Head};
use super::{Report, examine};
use crate::disk::device::{BlockDevice, OverlayDevice};
use crate::disk::layout::RO_COMPAT_KNOWN;
use crate::disk::state::{CLEAN, ERROR};
use crate::disk::{DiskVolume, Error, Result};
use crate::types::AtimePolicy;

/// Each round can bring to light what the one before hid, but not for ever.
const ROUNDS: usize = 8;
const ERRORS: &str = "state-error";

/// Checks the volume on `device`, replays its log, cleans its orphans and repairs what is wrong. Returns what was found
/// at first, and what is left: then nothing but superblock and journal was changed. `log` is told what was done.
///
/// # Errors
/// Reading or writing failed, or it is not a VexFS volume that this code knows.
pub fn repair(device: Arc<dyn BlockDevice>, log: &dyn Fn(&str)) -> Result<(Report, Report)> {
    let mut head = head::find(&*device)?;
    let unknown = head.superblock.ro_compat() & !RO_COMPAT_KNOWN;
    if unknown != 0 {
        let (first, _) = examine(&head, overlay(&device))?;
        return match first.is_clean() {
            true => Ok((first.clone(), first)),
            false => Err(Error::Unsupported(format!(
                "repair with unknown ro_compat features {unknown:#x}"
            ))),
        };
    }
    let mut first = mend_head(&mut head, &*device, log)?;
    let work = Arc::new(OverlayDevice::new(Arc::clone(&device)));
    let shared: Arc<dyn BlockDevice> = work.clone();
    let (found, mut checker) = examine(&head, Arc::clone(&shared))?;
    let (replayed, pending) = (first.replayed, found.pending);
    first.findings.extend(found.findings);
    first = Report {
        findings: first.findings,
        pending,
        replayed,
    };
    if first.is_clean() && pending == 0 {
        return Ok((first.clone(), first));
    }
    let mut last = first.clone();
    for round in 0..ROUNDS {
        if round > 0 {
            (last, checker) = examine(&head, Arc::clone(&shared))?;
        }
        let only_errors = last.findings.iter().all(|finding| finding.name == ERRORS);
        if only_errors && last.pending > 0 {
            clean_orphans(&shared)?;
            log(&format!("orphan-pending: {} inodes cleaned", last.pending));
            continue;
        }
        if only_errors {
            checker.settle()?;
            write::write(&head, &device, &work, log)?;
            let (last, _) = examine(&head, overlay(&device))?;
            return Ok((first, last));
        }
        checker.clear()?;
        attach::attach(Arc::clone(&shared), &mut checker.plan)?;
    }
    Ok((first, last))
}

fn overlay(device: &Arc<dyn BlockDevice>) -> Arc<dyn BlockDevice> {
    Arc::new(OverlayDevice::new(Arc::clone(device)))
}

/// Superblock and its copies, and the journal.
fn mend_head(head: &mut Head, device: &dyn BlockDevice, log: &dyn Fn(&str)) -> Result<Report> {
    let mut report = Report {
        findings: head.findings.clone(),
        ..Report::default()
    };
    if !head.findings.is_empty() {
        head.rewrite(device)?;
        log("superblock: written anew, with its copies");
    }
    report.replayed = head.replay(device, &mut report.findings)?;
    head.findings.clear();
    Ok(report)
}

fn clean_orphans(device: &Arc<dyn BlockDevice>) -> Result<()> {
    let device = Arc::clone(device);
    DiskVolume::open(device, attach::options(), AtimePolicy::Never)?.close()
}

impl super::Checker {
    /// The state block of a volume that was found right: no errors, clean.
    fn settle(&self) -> Result<()> {
        self.set_state_block(&mut |state| {
            state.flags = state.flags & !ERROR | CLEAN;
            state.error_count = 0;
            (state.first_error, state.last_error) = Default::default();
            state.check_time = (attach::options().clock)();
        })
    }
}
