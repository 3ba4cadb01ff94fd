// SPDX-License-Identifier: Apache-2.0
//! The superblock and its backups (section 4).

use super::block::{Block, Kind};
use super::crc;
use super::device::BlockDevice;
use super::error::{Error, Result, corrupt, corrupt_value, device_failure};
use super::geometry::Geometry;
use super::layout::{
    GROUP_BLOCKS, RO_COMPAT_SHORT_JOURNAL, ROOT_INO, RawSuper, SUMMARY_ENTRIES, SUMMARY_START,
    SUPER_MAGIC, VERSION,
};

/// A superblock that has passed every check.
#[derive(Debug, Clone, Copy)]
pub struct Superblock {
    raw: RawSuper,
}

impl Superblock {
    /// Read block 0.
    pub fn read(device: &dyn BlockDevice) -> Result<Superblock> {
        Superblock::read_at(device, 0)
    }

    /// Read the copy in this block.
    pub fn read_at(device: &dyn BlockDevice, at: u64) -> Result<Superblock> {
        let mut block = Block::zeroed();
        device
            .read_blocks(at, &mut block[..])
            .map_err(|e| device_failure("read", Kind::Superblock, at, None, &e))?;
        Superblock::parse(&block, at, device.blocks())
    }

    /// Check in the order of section 3: magic, checksum, version, incompat bits, ranges.
    pub fn parse(block: &Block, at: u64, device_blocks: u64) -> Result<Superblock> {
        let raw: RawSuper = *block.at(0);
        if raw.magic.get() != SUPER_MAGIC {
            return Err(Error::NotVexfs);
        }
        let sum = crc::raw_without(u32::MAX, &block[..], 4);
        if raw.checksum.get() != sum {
            let (got, want) = (format!("{:08x}", raw.checksum.get()), format!("{sum:08x}"));
            return Err(corrupt_value(
                Kind::Superblock,
                at,
                None,
                "checksum",
                got,
                want,
            ));
        }
        if raw.version.get() != VERSION {
            return Err(Error::Unsupported(format!(
                "format version {}",
                raw.version.get()
            )));
        }
        if raw.feature_incompat.get() != 0 {
            let bits = raw.feature_incompat.get();
            return Err(Error::Unsupported(format!("incompat features {bits:#x}")));
        }
        check_ranges(&raw, at, device_blocks)?;
        Ok(Superblock { raw })
    }

    /// From parts that mkfs has computed; they are checked like any others.
    pub(super) fn from_raw(raw: RawSuper, device_blocks: u64) -> Result<Superblock> {
        check_ranges(&raw, 0, device_blocks)?;
        Ok(Superblock { raw })
    }

    /// The fields, as they are on disk.
    #[must_use]
    pub fn raw(&self) -> &RawSuper {
        &self.raw
    }

    /// The label, without its padding.
    #[must_use]
    pub fn label(&self) -> String {
        let end = self
            .raw
            .label
            .iter()
            .position(|&b| b == 0)
            .unwrap_or(self.raw.label.len());
        String::from_utf8_lossy(&self.raw.label[..end]).into_owned()
    }

    /// ro_compat bits.
    #[must_use]
    pub fn ro_compat(&self) -> u32 {
        self.raw.feature_ro_compat.get()
    }

    /// Where things are.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        let raw = &self.raw;
        Geometry {
            total_blocks: raw.total_blocks.get(),
            summary_blocks: raw.summary_blocks.get(),
            journal_start: raw.journal_start.get(),
            journal_blocks: raw.journal_blocks.get(),
            groups_start: raw.groups_start.get(),
            groups: raw.groups.get(),
            inodes_per_group: raw.inodes_per_group.get(),
            itable_blocks: raw.itable_blocks.get(),
            backup: raw.backup.map(zerocopy::byteorder::little_endian::U64::get),
            seed: crc::raw(u32::MAX, &raw.uuid),
            hash_key: raw.hash_key,
        }
    }

    /// The block to be written at `at`.
    #[must_use]
    pub fn to_block(&self, at: u64) -> Block {
        let mut block = Block::zeroed();
        let mut raw = self.raw;
        raw.blocknr = at.into();
        raw.checksum = 0.into();
        *block.at_mut(0) = raw;
        let sum = crc::raw(u32::MAX, &block[..]);
        block.put_u32(4, sum);
        block
    }

    /// Set ro_compat bits and write block 0, flush, the backups, flush.
    pub fn rewrite(&mut self, device: &dyn BlockDevice, set_ro_compat: u32) -> Result<()> {
        let mut next = self.raw;
        next.feature_ro_compat = (self.ro_compat() | set_ro_compat).into();
        next.serial = next.serial.get().wrapping_add(1).into();
        let next = Superblock { raw: next };
        next.write_copy(device, 0)?;
        flush(device)?;
        next.write_backups(device)?;
        *self = next;
        Ok(())
    }

    /// Whether `copy` is what a rewrite leaves of a backup when it is cut off: one serial behind, and else different in
    /// feature bits only.
    #[must_use]
    pub fn is_one_behind(&self, copy: &Superblock) -> bool {
        let mut next = copy.raw;
        let serial = next.serial.get().wrapping_add(1);
        let added = self.ro_compat() & !copy.ro_compat();
        next.serial = serial.into();
        next.feature_ro_compat = (copy.ro_compat() | added).into();
        let next = Superblock { raw: next };
        copy.ro_compat() & !self.ro_compat() == 0 && next.to_block(0)[..] == self.to_block(0)[..]
    }

    /// Write the backups that are not equal to this one, and flush.
    pub(super) fn refresh_backups(&self, device: &dyn BlockDevice) -> Result<()> {
        let stale = |at: &u64| {
            let copy = Superblock::read_at(device, *at);
            *at != 0 && copy.is_ok_and(|copy| self.is_one_behind(&copy))
        };
        match self.geometry().backup.iter().any(stale) {
            true => self.write_backups(device),
            false => Ok(()),
        }
    }

    /// Write the backups and flush.
    pub(super) fn write_backups(&self, device: &dyn BlockDevice) -> Result<()> {
        for at in self.geometry().backup.into_iter().filter(|&at| at != 0) {
            self.write_copy(device, at)?;
        }
        flush(device)
    }

    /// Write one copy.
    pub(super) fn write_copy(&self, device: &dyn BlockDevice, at: u64) -> Result<()> {
        device
            .write_blocks(at, &self.to_block(at)[..])
            .map_err(|e| device_failure("write", Kind::Superblock, at, None, &e))
    }
}

fn flush(device: &dyn BlockDevice) -> Result<()> {
    device
        .flush()
        .map_err(|e| device_failure("write", Kind::Superblock, None, None, &e))
}

fn check_ranges(raw: &RawSuper, at: u64, device_blocks: u64) -> Result<()> {
    let bad = |field: &str, holds: bool| {
        if holds {
            Ok(())
        } else {
            Err(corrupt(Kind::Superblock, at, None, field))
        }
    };
    let total = raw.total_blocks.get();
    let journal = raw.journal_blocks.get();
    let (groups, per_group) = (raw.groups.get(), raw.inodes_per_group.get());
    let itable = raw.itable_blocks.get();
    bad("blocknr", raw.blocknr.get() == at)?;
    bad("uuid", raw.uuid != [0; 16])?;
    bad(
        "total_blocks",
        (1024..=1 << 32).contains(&total) && total <= device_blocks,
    )?;
    bad("summary_start", raw.summary_start.get() == SUMMARY_START)?;
    bad(
        "summary_blocks",
        (1..=353).contains(&raw.summary_blocks.get()),
    )?;
    let journal_start = SUMMARY_START + u64::from(raw.summary_blocks.get());
    bad("journal_start", raw.journal_start.get() == journal_start)?;
    bad("journal_blocks", (256..=262_144).contains(&journal))?;
    bad("group_blocks", raw.group_blocks.get() == GROUP_BLOCKS)?;
    let start = journal_start + u64::from(journal);
    bad(
        "groups_start",
        raw.groups_start.get() == start && start < total,
    )?;
    let want = (total - start).div_ceil(u64::from(GROUP_BLOCKS));
    bad("groups", u64::from(groups) == want)?;
    bad(
        "summary_blocks",
        groups.div_ceil(SUMMARY_ENTRIES) <= raw.summary_blocks.get(),
    )?;
    let fits = u64::from(per_group) * u64::from(groups) < 1 << 32;
    bad(
        "inodes_per_group",
        (16..=8192).contains(&per_group) && per_group % 8 == 0 && fits,
    )?;
    bad("itable_blocks", itable == per_group / 8)?;
    bad("log_block_size", raw.log_block_size.get() == 12)?;
    bad("inode_size", raw.inode_size.get() == 512)?;
    let last = total - start - u64::from(groups - 1) * u64::from(GROUP_BLOCKS);
    bad("total_blocks", last >= u64::from(1 + itable + 8))?;
    let second = if groups == 1 {
        0
    } else {
        start + u64::from(GROUP_BLOCKS) - 1
    };
    bad(
        "backup",
        raw.backup[0].get() == total - 1 && raw.backup[1].get() == second,
    )?;
    bad("root_ino", raw.root_ino.get() == ROOT_INO)?;
    let short = raw.feature_ro_compat.get() & RO_COMPAT_SHORT_JOURNAL != 0;
    bad("feature_ro_compat", short == (journal < 1024))
}
