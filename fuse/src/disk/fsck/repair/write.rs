// SPDX-License-Identifier: Apache-2.0
//! The result of a repair goes to the device: as one transaction of the journal if it fits, else in steps of which each
//! leaves what another repair can start from.

use std::sync::Arc;

use super::super::head::Head;
use crate::disk::device::{BlockDevice, OverlayDevice};
use crate::disk::error::device_failure;
use crate::disk::journal::{Journal, Place};
use crate::disk::layout::STATE_BLOCK;
use crate::disk::state::{self, ERROR, State};
use crate::disk::{Block, Geometry, Kind, Result};

/// What is written first in steps: new blocks, then what refers to them, then what counts them.
fn rank(geometry: &Geometry, at: u64) -> u8 {
    match geometry.group_of_block(at) {
        Some(_) if geometry.is_usable(at) => 0,
        Some(_) if geometry.offset_in_group(at) > 0 => 1,
        Some(_) => 2,
        None if at != STATE_BLOCK => 3,
        None => 4,
    }
}

fn write_one(device: &dyn BlockDevice, at: u64, block: &Block) -> Result<()> {
    let kind = Kind::of_magic(block.header().magic).unwrap_or(Kind::Inode);
    device
        .write_blocks(at, &block[..])
        .map_err(|error| device_failure("write", kind, at, None, &error))
}

fn flush(device: &dyn BlockDevice) -> Result<()> {
    device
        .flush()
        .map_err(|error| device_failure("write", Kind::State, STATE_BLOCK, None, &error))
}

/// Writes what `work` holds that `device` does not. The log of the device is empty.
pub(super) fn write(
    head: &Head,
    device: &Arc<dyn BlockDevice>,
    work: &OverlayDevice,
    log: &dyn Fn(&str),
) -> Result<()> {
    let geometry = head.superblock.geometry();
    let mut changed: Vec<(u64, Arc<Block>)> = Vec::new();
    for at in work.written() {
        // The log below `work` was its own.
        if !geometry.is_journaled_place(at) {
            continue;
        }
        let (mut old, mut new) = (Block::zeroed(), Block::zeroed());
        let failed = |error| device_failure("read", Kind::Data, at, None, &error);
        device.read_blocks(at, &mut old[..]).map_err(failed)?;
        work.read_blocks(at, &mut new[..]).map_err(failed)?;
        if old != new {
            changed.push((at, Arc::new(new)));
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    changed.sort_unstable_by_key(|(at, _)| (rank(&geometry, *at), *at));
    let room = geometry.journal_blocks as usize - 1;
    if Journal::blocks_needed(changed.len(), 0) <= room {
        let mut journal = Journal::open(Arc::clone(device), Place::of(&head.superblock))?;
        journal.commit(&changed, &[], 0)?;
        for (at, block) in &changed {
            write_one(&**device, *at, block)?;
        }
        journal.checkpoint()?;
        // Whatever aborted the journal once has been seen to.
        journal.clear_errno()?;
    } else {
        mark(&**device, &geometry)?;
        let mut before = 0;
        for (at, block) in &changed {
            let now = rank(&geometry, *at);
            if now != before {
                flush(&**device)?;
                before = now;
            }
            write_one(&**device, *at, block)?;
        }
        flush(&**device)?;
    }
    log(&format!("repaired: {} blocks were written", changed.len()));
    Ok(())
}

/// Says in the state block, if it can be read, that a check is needed: until all is written.
fn mark(device: &dyn BlockDevice, geometry: &Geometry) -> Result<()> {
    let mut block = Block::zeroed();
    let failed = |error| device_failure("read", Kind::State, STATE_BLOCK, None, &error);
    device
        .read_blocks(STATE_BLOCK, &mut block[..])
        .map_err(failed)?;
    let header = block.check_header(geometry.seed, STATE_BLOCK, state::EXPECT);
    if header
        .and_then(|()| State::check(geometry, &block))
        .is_err()
    {
        return Ok(());
    }
    let mut state = State::decode(&block);
    state.flags |= ERROR;
    state.encode(&mut block);
    block.seal(geometry.seed);
    write_one(device, STATE_BLOCK, &block)?;
    flush(device)
}
