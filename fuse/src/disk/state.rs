// SPDX-License-Identifier: Apache-2.0
//! The state block (section 5).

use super::block::{Block, Expect, Kind};
use super::error::{Result, corrupt};
use super::geometry::Geometry;
use super::layout::{RawErrorRecord, RawState, STATE_BLOCK};

/// The volume was unmounted regularly.
pub const CLEAN: u32 = 1;
/// A check or a metadata write failed; only fsck clears it.
pub const ERROR: u32 = 2;

/// What the header of the state block says.
pub const EXPECT: Expect = Expect {
    kind: Kind::State,
    owner: 0,
    generation: 0,
};

/// An error that was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the document's
pub struct ErrorRecord {
    pub time: i64,
    pub block: u64,
    pub ino: u32,
    pub errno: u32,
    pub place: String,
}

/// The state of the volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the document's
pub struct State {
    pub flags: u32,
    pub mount_count: u32,
    pub mount_time: i64,
    pub write_time: i64,
    pub orphan_head: u32,
    pub error_count: u32,
    pub first_error: ErrorRecord,
    pub last_error: ErrorRecord,
    pub check_time: i64,
    pub writer: String,
}

impl State {
    /// The range checks of section 5.
    pub fn check(geometry: &Geometry, block: &Block) -> Result<()> {
        let raw: &RawState = block.at(0);
        let bad = |field: &str| Err(corrupt(Kind::State, STATE_BLOCK, None, field));
        if raw.zero != [0; 8] {
            return bad("zero");
        }
        if raw.flags.get() & !(CLEAN | ERROR) != 0 {
            return bad("flags");
        }
        if raw.orphan_head.get() != 0 && !geometry.is_inode(raw.orphan_head.get()) {
            return bad("orphan_head");
        }
        Ok(())
    }

    /// From a block that has passed [`State::check`].
    #[must_use]
    pub fn decode(block: &Block) -> State {
        let raw: &RawState = block.at(0);
        State {
            flags: raw.flags.get(),
            mount_count: raw.mount_count.get(),
            mount_time: raw.mount_time.get(),
            write_time: raw.write_time.get(),
            orphan_head: raw.orphan_head.get(),
            error_count: raw.error_count.get(),
            first_error: ErrorRecord::decode(&raw.first_error),
            last_error: ErrorRecord::decode(&raw.last_error),
            check_time: raw.check_time.get(),
            writer: text(&raw.writer),
        }
    }

    /// Write the fields; the header and the reserved bytes stay.
    pub fn encode(&self, block: &mut Block) {
        let raw: &mut RawState = block.at_mut(0);
        raw.flags = self.flags.into();
        raw.mount_count = self.mount_count.into();
        raw.mount_time = self.mount_time.into();
        raw.write_time = self.write_time.into();
        raw.orphan_head = self.orphan_head.into();
        raw.error_count = self.error_count.into();
        raw.first_error = self.first_error.encode();
        raw.last_error = self.last_error.encode();
        raw.check_time = self.check_time.into();
        raw.writer = padded(&self.writer);
    }

    /// Note an error: it becomes the last one, and the first if there was none.
    pub fn record(&mut self, error: ErrorRecord) {
        self.flags |= ERROR;
        if self.error_count == 0 {
            self.first_error = error.clone();
        }
        self.error_count = self.error_count.saturating_add(1);
        self.last_error = error;
    }
}

impl ErrorRecord {
    fn decode(raw: &RawErrorRecord) -> ErrorRecord {
        ErrorRecord {
            time: raw.time.get(),
            block: raw.block.get(),
            ino: raw.ino.get(),
            errno: raw.errno.get(),
            place: text(&raw.place),
        }
    }

    fn encode(&self) -> RawErrorRecord {
        RawErrorRecord {
            time: self.time.into(),
            block: self.block.into(),
            ino: self.ino.into(),
            errno: self.errno.into(),
            place: padded(&self.place),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The text cut at a character's end, NUL padded.
pub(super) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut bytes = [0; N];
    bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
    bytes
}
