// SPDX-License-Identifier: Apache-2.0
//! jbd2's structures, big-endian, as section 11.1 restricts them.

use crate::disk::block::{Block, Kind};
use crate::disk::crc;
use crate::disk::error::{Error, Result, corrupt};
use crate::disk::layout::BLOCK_SIZE;

/// First word of every control block.
pub const MAGIC: u32 = 0xc03b_3998;
/// Block type: descriptor.
pub const DESCRIPTOR: u32 = 1;
/// Block type: commit.
pub const COMMIT: u32 = 2;
/// Block type: superblock, version 2.
pub const SUPERBLOCK: u32 = 4;
/// Block type: revoke.
pub const REVOKE: u32 = 5;
/// Tag flag: the block began with [`MAGIC`], which is 0 in the log.
pub const ESCAPE: u32 = 1;
/// Tag flag: no uuid follows.
pub const SAME_UUID: u32 = 2;
/// Tag flag: the last one.
pub const LAST: u32 = 8;
/// Tags that writers put into a descriptor block.
pub const TAGS: usize = 253;
/// Records that fit a revoke block.
pub const REVOKES: usize = 509;
/// Where a descriptor or revoke block has its checksum.
pub const TAIL: usize = BLOCK_SIZE - 4;
/// Where a commit block has its checksum.
pub const COMMIT_SUM: usize = 0x10;
/// Where what a commit block says ends; the rest is zero.
pub const COMMIT_END: usize = 0x3c;
const FEATURES: u32 = 0x13; // REVOKE, 64BIT, CSUM_V3
const CHECKSUM_CRC32C: u8 = 4;
const SUPER_SUM: usize = 0xfc;
const SUPER_BYTES: usize = 1024;

/// The big-endian word at this offset.
#[must_use]
pub fn be32(block: &Block, at: usize) -> u32 {
    u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Write a big-endian word.
pub fn put_be32(block: &mut Block, at: usize, value: u32) {
    block[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// The big-endian double word at this offset.
#[must_use]
pub fn be64(block: &Block, at: usize) -> u64 {
    u64::from(be32(block, at)) << 32 | u64::from(be32(block, at + 4))
}

/// Write a big-endian double word.
pub fn put_be64(block: &mut Block, at: usize, value: u64) {
    block[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

/// A control block: magic, type, sequence.
#[must_use]
pub fn control(blocktype: u32, sequence: u32) -> Block {
    let mut block = Block::zeroed();
    put_be32(&mut block, 0, MAGIC);
    put_be32(&mut block, 4, blocktype);
    put_be32(&mut block, 8, sequence);
    block
}

/// The checksum of a block with the big-endian field at `at` taken as 0.
#[must_use]
pub fn block_sum(seed: u32, block: &Block, at: usize) -> u32 {
    crc::raw_without(seed, &block[..], at)
}

/// The checksum in a tag: of the block as it is in the log.
#[must_use]
pub fn tag_sum(seed: u32, sequence: u32, logged: &Block) -> u32 {
    crc::raw(crc::raw(seed, &sequence.to_be_bytes()), &logged[..])
}

/// The journal superblock: what of it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalSuper {
    /// Number of the first transaction in the log; if the log is empty the next is one more.
    pub sequence: u32,
    /// Where the log starts; 0: it is empty.
    pub start: u32,
    /// The error that aborted the journal, or 0.
    pub errno: i32,
    /// Blocks, this one included.
    pub maxlen: u32,
}

impl JournalSuper {
    /// Check that the journal is exactly what section 11.1 says.
    pub fn parse(block: &Block, at: u64, uuid: &[u8; 16], maxlen: u32) -> Result<JournalSuper> {
        let sum = crc::raw_without(u32::MAX, &block[..SUPER_BYTES], SUPER_SUM);
        let want = |field: &str, offset: usize, value: u32| {
            if be32(block, offset) == value {
                Ok(())
            } else {
                Err(bad(at, field))
            }
        };
        want("magic", 0, MAGIC)?;
        want("h_blocktype", 4, SUPERBLOCK)?;
        want("checksum", SUPER_SUM, sum)?;
        want("s_blocksize", 0x0c, BLOCK_SIZE as u32)?;
        want("s_maxlen", 0x10, maxlen)?;
        want("s_first", 0x14, 1)?;
        want("s_feature_compat", 0x24, 0)?;
        want("s_feature_incompat", 0x28, FEATURES)?;
        want("s_feature_ro_compat", 0x2c, 0)?;
        want("s_nr_users", 0x40, 1)?;
        want("s_dynsuper", 0x44, 0)?;
        want("s_max_transaction", 0x48, 0)?;
        want("s_max_trans_data", 0x4c, 0)?;
        want("s_num_fc_blks", 0x54, 0)?;
        let start = be32(block, 0x1c);
        if block[0x30..0x40] != uuid[..] {
            return Err(bad(at, "s_uuid"));
        }
        if block[0x50] != CHECKSUM_CRC32C {
            return Err(bad(at, "s_checksum_type"));
        }
        if start >= maxlen {
            return Err(bad(at, "s_start"));
        }
        Ok(JournalSuper {
            sequence: be32(block, 0x18),
            start,
            errno: be32(block, 0x20) as i32,
            maxlen,
        })
    }

    /// The block on disk.
    #[must_use]
    pub fn to_block(self, uuid: &[u8; 16]) -> Block {
        let mut block = control(SUPERBLOCK, 0);
        put_be32(&mut block, 0x0c, BLOCK_SIZE as u32);
        put_be32(&mut block, 0x10, self.maxlen);
        put_be32(&mut block, 0x14, 1);
        put_be32(&mut block, 0x18, self.sequence);
        put_be32(&mut block, 0x1c, self.start);
        put_be32(&mut block, 0x20, self.errno as u32);
        put_be32(&mut block, 0x28, FEATURES);
        block[0x30..0x40].copy_from_slice(uuid);
        put_be32(&mut block, 0x40, 1);
        block[0x50] = CHECKSUM_CRC32C;
        let sum = crc::raw_without(u32::MAX, &block[..SUPER_BYTES], SUPER_SUM);
        put_be32(&mut block, SUPER_SUM, sum);
        block
    }
}

fn bad(at: u64, field: &str) -> Error {
    corrupt(
        Kind::Journal,
        at,
        None,
        format!("journal superblock {field}"),
    )
}
