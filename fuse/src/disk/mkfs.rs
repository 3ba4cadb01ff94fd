// SPDX-License-Identifier: Apache-2.0
//! Making a volume (section 14).

use super::block::{Block, Expect, Kind};
use super::device::BlockDevice;
use super::error::{Error, Result, device_failure};
use super::geometry::Geometry;
use super::group::{self, Bitmap};
use super::hash::siphash24;
use super::inode::Inode;
use super::journal::format::JournalSuper;
use super::layout::{
    BLOCK_SIZE, GROUP_BLOCKS, RO_COMPAT_SHORT_JOURNAL, ROOT_INO, RawSuper, STATE_BLOCK,
    SUMMARY_ENTRIES, SUMMARY_START, SUPER_MAGIC, VERSION,
};
use super::state::{self, State, padded};
use super::summary::{self, GroupSummary};
use super::superblock::Superblock;
use zerocopy::FromZeros;

/// What to make.
#[derive(Debug, Clone)]
pub struct Options {
    /// At most 32 bytes.
    pub label: String,
    /// Blocks of the volume at most; the device's where none is given.
    pub blocks: Option<u64>,
    /// One inode for this many bytes: 4096 ..= 65536.
    pub bytes_per_inode: u32,
    /// Blocks of the journal; by the size where none is given.
    pub journal_blocks: Option<u32>,
    /// What is random otherwise.
    pub identity: Identity,
    /// All times of the new volume, in nanoseconds since 1970.
    pub time: i64,
}

/// What makes one volume differ from another of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Not all 0.
    pub uuid: [u8; 16],
    /// Key of the name hashes.
    pub hash_key: [u8; 16],
    /// Sequence number of the journal, below 2^31.
    pub sequence: u32,
    /// Generation of the root inode.
    pub generation: u32,
}

impl Identity {
    /// From 40 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 40]) -> Identity {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x40; // version 4: random
        uuid[8] = uuid[8] & 0x3f | 0x80; // variant of RFC 9562
        let mut hash_key = [0; 16];
        hash_key.copy_from_slice(&bytes[16..32]);
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Identity {
            uuid,
            hash_key,
            sequence: word(32) & 0x7fff_ffff,
            generation: word(36),
        }
    }

    /// A fresh one, from the kernel's random numbers.
    pub fn random() -> Result<Identity> {
        let mut bytes = [0; 40];
        let urandom = std::fs::File::open("/dev/urandom");
        urandom
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
            .map_err(|e| Error::Invalid(format!("/dev/urandom: {e}")))?;
        Ok(Identity::from_random(bytes))
    }

    /// The reproducible one that belongs to a seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 16]) -> Identity {
        let mut bytes = [0; 40];
        for (n, word) in bytes.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&siphash24(seed, &(n as u64).to_le_bytes()).to_le_bytes());
        }
        Identity::from_random(bytes)
    }
}

impl Options {
    /// With the document's defaults.
    #[must_use]
    pub fn new(identity: Identity) -> Options {
        let label = String::new();
        Options {
            label,
            blocks: None,
            bytes_per_inode: 16384,
            journal_blocks: None,
            identity,
            time: 0,
        }
    }
}

/// Journal blocks for a volume of this size.
#[must_use]
pub fn default_journal(total: u64) -> u32 {
    match total {
        0..4096 => 256,
        4096..32_768 => 1024,
        32_768..262_144 => 4096,
        262_144..2_097_152 => 8192,
        2_097_152..33_554_432 => 16384,
        _ => 32768,
    }
}

/// The superblock that a volume of these options has; `device_blocks` bounds its size.
pub fn plan(options: &Options, device_blocks: u64) -> Result<Superblock> {
    let invalid = |text: String| Err(Error::Invalid(text));
    let mut total = options.blocks.unwrap_or(device_blocks).min(1 << 32);
    if total > device_blocks {
        return invalid(format!(
            "the device has {device_blocks} blocks, fewer than {total}"
        ));
    }
    if total < 1024 {
        return invalid(format!(
            "{total} blocks are too few: a volume has at least 1024 (4 MiB)"
        ));
    }
    if options.label.len() > 32 {
        return invalid("the label is longer than 32 bytes".into());
    }
    if !(4096..=65536).contains(&options.bytes_per_inode) {
        return invalid("bytes per inode must be 4096 to 65536".into());
    }
    let journal = options
        .journal_blocks
        .unwrap_or_else(|| default_journal(total));
    if !(256..=262_144).contains(&journal) || u64::from(journal) > total / 4 {
        return invalid(
            "the journal must have 256 to 262144 blocks, a quarter of the volume at most".into(),
        );
    }
    let full = u64::from(GROUP_BLOCKS);
    let first_guess = (total - 2 - u64::from(journal)).div_ceil(full);
    let summary_blocks = first_guess.div_ceil(u64::from(SUMMARY_ENTRIES)) as u32;
    let journal_start = SUMMARY_START + u64::from(summary_blocks);
    let start = journal_start + u64::from(journal);
    let rest = total - start;
    let mut groups = rest.div_ceil(full);
    let wanted = (rest.min(full) * BLOCK_SIZE as u64).div_ceil(u64::from(options.bytes_per_inode));
    let per_group = (wanted as u32).next_multiple_of(8).clamp(16, 8192);
    let itable = per_group / 8;
    if groups > 1 && rest - (groups - 1) * full < u64::from(1 + itable + 64) {
        groups -= 1;
        total = start + groups * full;
    }
    if groups == 1 && total - start < u64::from(1 + itable + 8) {
        return invalid("too small for this many inodes".into());
    }
    let mut raw = RawSuper::new_zeroed();
    raw.magic = SUPER_MAGIC.into();
    raw.version = VERSION.into();
    raw.feature_ro_compat = if journal < 1024 {
        RO_COMPAT_SHORT_JOURNAL
    } else {
        0
    }
    .into();
    raw.uuid = options.identity.uuid;
    raw.label = padded(&options.label);
    raw.hash_key = options.identity.hash_key;
    raw.total_blocks = total.into();
    raw.summary_start = SUMMARY_START.into();
    raw.summary_blocks = summary_blocks.into();
    raw.groups = (groups as u32).into();
    raw.journal_start = journal_start.into();
    raw.journal_blocks = journal.into();
    raw.group_blocks = GROUP_BLOCKS.into();
    raw.groups_start = start.into();
    raw.inodes_per_group = per_group.into();
    raw.itable_blocks = itable.into();
    raw.log_block_size = 12.into();
    raw.inode_size = 512.into();
    raw.mkfs_time = options.time.into();
    let second = if groups == 1 { 0 } else { start + full - 1 };
    raw.backup = [(total - 1).into(), second.into()];
    raw.root_ino = ROOT_INO.into();
    Superblock::from_raw(raw, device_blocks)
}

/// Make the volume. The superblock is written last, so that a half-made one is none.
pub fn format(device: &dyn BlockDevice, options: &Options) -> Result<Superblock> {
    let superblock = plan(options, device.blocks())?;
    let geometry = superblock.geometry();
    let writer = Writer {
        device,
        geometry: &geometry,
    };
    writer.zero(Kind::Superblock, 0, 1)?;
    writer.flush()?;
    // Whatever signature of another filesystem is near the end would be found by blkid.
    let tail = device.blocks() - 16;
    writer.zero(Kind::Data, tail, device.blocks() - tail)?;
    writer.zero(
        Kind::Journal,
        geometry.journal_start,
        u64::from(geometry.journal_blocks),
    )?;
    let journal = JournalSuper {
        sequence: options.identity.sequence,
        start: 0,
        errno: 0,
        maxlen: geometry.journal_blocks,
    };
    let block = journal.to_block(&options.identity.uuid);
    writer.write(Kind::Journal, geometry.journal_start, &block)?;
    writer.groups()?;
    writer.root(options)?;
    writer.state()?;
    superblock.write_backups(device)?;
    superblock.write_copy(device, 0)?;
    writer.flush()?;
    Ok(superblock)
}

struct Writer<'a> {
    device: &'a dyn BlockDevice,
    geometry: &'a Geometry,
}

impl Writer<'_> {
    fn write(&self, kind: Kind, at: u64, block: &Block) -> Result<()> {
        let failed = |e| device_failure("write", kind, at, None, &e);
        self.device.write_blocks(at, &block[..]).map_err(failed)
    }

    fn write_sealed(&self, kind: Kind, at: u64, mut block: Block) -> Result<()> {
        block.seal(self.geometry.seed);
        self.write(kind, at, &block)
    }

    fn zero(&self, kind: Kind, at: u64, count: u64) -> Result<()> {
        self.device
            .zero(at, count)
            .map_err(|e| device_failure("write", kind, at, None, &e))
    }

    fn flush(&self) -> Result<()> {
        self.device
            .flush()
            .map_err(|e| device_failure("write", Kind::Superblock, None, None, &e))
    }

    /// The summary, and the group blocks of group 0 and of groups with a backup.
    fn groups(&self) -> Result<()> {
        let geometry = self.geometry;
        for index in 0..geometry.summary_blocks {
            let mut block = summary::fresh(geometry, index);
            for slot in 0..summary::entries(geometry, index) {
                let entry = self.group(index * SUMMARY_ENTRIES + slot)?;
                *block.at_mut(0x20 + slot as usize * 8) = entry.encode();
            }
            self.write_sealed(Kind::Summary, SUMMARY_START + u64::from(index), block)?;
        }
        Ok(())
    }

    fn group(&self, group: u32) -> Result<GroupSummary> {
        let geometry = self.geometry;
        let mut entry = GroupSummary {
            free_blocks: geometry.group_len(group) - 1 - geometry.itable_blocks,
            free_inodes: geometry.inodes_per_group as u16,
            itable: 0,
            initialised: false,
        };
        if group == 0 || group::backups(geometry, group).next().is_some() {
            let mut block = group::fresh(geometry, group);
            if group == 0 {
                Bitmap::Blocks.set(&mut block, geometry.itable_blocks + 1, true);
                Bitmap::Inodes.set(&mut block, 0, true);
                entry.itable = 1;
            }
            entry.free_blocks = Bitmap::Blocks.clear_bits(&block);
            entry.free_inodes = Bitmap::Inodes.clear_bits(&block) as u16;
            entry.initialised = true;
            self.write_sealed(Kind::Group, geometry.group_start(group), block)?;
        }
        Ok(entry)
    }

    /// The root directory: its inode, and one empty leaf in the first data block.
    fn root(&self, options: &Options) -> Result<()> {
        let geometry = self.geometry;
        let generation = options.identity.generation;
        let leaf_at = geometry.group_start(0) + 1 + u64::from(geometry.itable_blocks);
        let mut leaf = Block::zeroed();
        leaf.set_header(
            leaf_at,
            Expect::of_inode(Kind::DirLeaf, ROOT_INO, generation),
        );
        self.write_sealed(Kind::DirLeaf, leaf_at, leaf)?;

        let mut root = Inode::new(generation, 0o040_755);
        (root.nlink, root.parent) = (2, ROOT_INO);
        (root.size, root.blocks) = (BLOCK_SIZE as u64, 1);
        (root.atime, root.mtime) = (options.time, options.time);
        (root.ctime, root.btime) = (options.time, options.time);
        root.root[0] = 1; // one extent:
        root.root[0x14] = 1; // of one block, at lblk 0
        root.root[0x18..0x20].copy_from_slice(&leaf_at.to_le_bytes());
        let mut table = Block::zeroed();
        table[..512].copy_from_slice(&root.encode(geometry.seed, ROOT_INO));
        self.write(Kind::Inode, geometry.group_start(0) + 1, &table)
    }

    fn state(&self) -> Result<()> {
        let mut block = Block::zeroed();
        block.set_header(STATE_BLOCK, state::EXPECT);
        State {
            flags: state::CLEAN,
            ..State::default()
        }
        .encode(&mut block);
        self.write_sealed(Kind::State, STATE_BLOCK, block)
    }
}
