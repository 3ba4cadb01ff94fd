// SPDX-License-Identifier: Apache-2.0
//! For fsck: what can be replayed of a broken log, and a journal made anew.

use super::format::JournalSuper;
use super::scan::{replay, scan_known};
use super::{Log, LoggedTransaction, Place, flush};
use crate::disk::block::Kind;
use crate::disk::device::BlockDevice;
use crate::disk::error::{Error, Result, device_failure};
use crate::disk::geometry::Geometry;

/// How often a log is cut before nothing of it counts.
const TRIES: usize = 16;

/// Replays the transactions before the first that is broken, and makes an empty journal. Gives their number.
///
/// # Errors
/// Reading or writing failed.
pub fn salvage(device: &dyn BlockDevice, place: &Place, geometry: &Geometry) -> Result<usize> {
    let mut sequence = 0;
    let mut replayed = 0;
    match place.read_super(device) {
        Ok(start) => {
            let log = longest(device, place, geometry, start)?;
            replay(device, place, &log.copies(device, place, geometry)?)?;
            flush(device, place.start)?;
            (sequence, replayed) = (log.next, log.transactions.len());
        }
        Err(Error::Corrupt(_)) => {}
        Err(error) => return Err(error),
    }
    // No old transaction may be taken for one that continues the new log.
    device
        .zero(place.start + 1, u64::from(place.len - 1))
        .map_err(|error| device_failure("write", Kind::Journal, place.start + 1, None, &error))?;
    flush(device, place.start)?;
    let empty = JournalSuper {
        sequence: sequence & 0x7fff_ffff,
        start: 0,
        errno: 0,
        maxlen: place.len,
    };
    place.write_super(device, empty)?;
    flush(device, place.start)?;
    Ok(replayed)
}

/// The transactions before the first whose blocks or tags are broken.
fn longest(
    device: &dyn BlockDevice,
    place: &Place,
    geometry: &Geometry,
    start: JournalSuper,
) -> Result<Log> {
    let mut log = scan_known(device, place, start)?.0;
    for _ in 0..TRIES {
        match log.copies(device, place, geometry) {
            Ok(_) => return Ok(log),
            Err(Error::Corrupt(what)) => {
                // Without the transactions from here on, a copy may count that one of them revoked: once more.
                let position = what.block.unwrap_or(0).saturating_sub(place.start);
                let broken = |known: &LoggedTransaction| {
                    known
                        .tags
                        .iter()
                        .any(|tag| u64::from(tag.position) == position)
                };
                let kept = log.transactions.iter().position(broken).unwrap_or(0);
                log.next = log.transactions[kept].sequence;
                log.transactions.truncate(kept);
            }
            Err(error) => return Err(error),
        }
    }
    log.transactions.clear();
    Ok(log)
}
