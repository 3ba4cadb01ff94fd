// SPDX-License-Identifier: Apache-2.0
//! Damage to a volume that a seed repeats: flipped bits, and changed fields behind right checksums.
#![allow(dead_code, unreachable_pub)] // Each test crate uses its part.

use std::collections::BTreeMap;

use vexfs::disk::journal::Place;
use vexfs::disk::journal::format::{
    COMMIT, COMMIT_SUM, DESCRIPTOR, MAGIC, REVOKE, TAIL, block_sum,
};
use vexfs::disk::{BLOCK_SIZE, Block, BlockDevice, Geometry, Kind, MemoryDevice, Superblock, crc};

/// A cheap source of decisions that a seed repeats.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must differ at once.
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..4).for_each(|_| {
            dice.roll();
        });
        dice
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }
}

/// Bytes that replace those at an offset of the image.
pub struct Patch {
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// A volume to be damaged.
pub struct Base {
    geometry: Geometry,
    blocks: BTreeMap<u64, Block>,
    /// Blocks whose content a reader checks.
    targets: Vec<u64>,
}

/// Values that a field is set to.
const INTERESTING: [u64; 16] = [
    0,
    1,
    2,
    3,
    7,
    0x7f,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    1 << 32,
    u64::MAX,
];

impl Base {
    pub fn new(device: &MemoryDevice) -> Self {
        let superblock = Superblock::read(device).expect("is valid");
        let geometry = superblock.geometry();
        let log = Place::of(&superblock).read_super(device).expect("is valid");
        let (mut blocks, mut targets) = (BTreeMap::new(), Vec::new());
        for at in 0..device.blocks() {
            let mut block = Block::zeroed();
            device.read_blocks(at, &mut block[..]).expect("reads");
            let known = Kind::of_magic([block[0], block[1], block[2], block[3]]).is_some();
            // An empty log is not looked at.
            let journal = be(&block) && (log.start != 0 || at == geometry.journal_start);
            let table = is_table(&geometry, at) && block[..].iter().any(|&b| b != 0);
            if at == 0 || geometry.is_backup(at) || known || journal || table {
                targets.push(at);
            }
            if block[..].iter().any(|&b| b != 0) {
                blocks.insert(at, block);
            }
        }
        Self {
            geometry,
            blocks,
            targets,
        }
    }

    /// The damage of this seed, as patches against the base.
    pub fn patches(&self, seed: u64) -> Vec<Patch> {
        let mut dice = Dice::new(seed);
        let mut changed: BTreeMap<u64, Block> = BTreeMap::new();
        for _ in 0..=dice.below(4) {
            self.damage(&mut dice, &mut changed);
        }
        self.difference(&changed)
    }

    /// Writes bytes into one of the blocks that a reader checks, counted round.
    pub fn change(
        &self,
        changed: &mut BTreeMap<u64, Block>,
        which: usize,
        sealed: bool,
        offset: usize,
        bytes: &[u8],
    ) {
        let at = self.targets[which % self.targets.len()];
        let block = changed.entry(at).or_insert_with(|| self.block(at));
        block[offset..offset + bytes.len()].copy_from_slice(bytes);
        if sealed {
            reseal(&self.geometry, at, block);
        }
    }

    /// Changed blocks as patches.
    pub fn difference(&self, changed: &BTreeMap<u64, Block>) -> Vec<Patch> {
        let mut patches = Vec::new();
        for (&at, block) in changed {
            let old = self.block(at);
            let differ = |i: &usize| old[*i] != block[*i];
            let (first, last) = ((0..BLOCK_SIZE).find(differ), (0..BLOCK_SIZE).rfind(differ));
            if let (Some(first), Some(last)) = (first, last) {
                patches.push(Patch {
                    offset: at * BLOCK_SIZE as u64 + first as u64,
                    bytes: block[first..=last].to_vec(),
                });
            }
        }
        patches
    }

    fn block(&self, at: u64) -> Block {
        self.blocks.get(&at).cloned().unwrap_or_else(Block::zeroed)
    }

    /// A block to be damaged: each kind as often as any other, though there are many more of some.
    fn target(&self, dice: &mut Dice) -> u64 {
        for _ in 0..8 {
            let at = self.targets[dice.below(self.targets.len())];
            let block = self.block(at);
            let many =
                block[..4] == MAGIC.to_be_bytes() || block.header().magic == Kind::DirLeaf.magic();
            // Of the superblock most damage ends at its checks.
            if !many || dice.below(4) == 0 {
                return at;
            }
        }
        self.targets[dice.below(self.targets.len())]
    }

    fn damage(&self, dice: &mut Dice, changed: &mut BTreeMap<u64, Block>) {
        let at = self.target(dice);
        let mut block = changed.get(&at).cloned().unwrap_or_else(|| self.block(at));
        let sealed = match dice.below(10) {
            // As a failing disk does it.
            0 => {
                let bit = dice.below(BLOCK_SIZE * 8);
                block[bit / 8] ^= 1 << (bit % 8);
                false
            }
            1 => {
                // A block of another place, or nothing.
                let other = self.targets[dice.below(self.targets.len())];
                block = match dice.below(3) {
                    0 => Block::zeroed(),
                    _ => self.block(other),
                };
                dice.below(2) == 0
            }
            2 | 3 => {
                let bit = self.field(dice, at, &block) * 8 + dice.below(8);
                block[bit / 8] ^= 1 << (bit % 8);
                true
            }
            4 => {
                self.point_elsewhere(dice, at, &mut block);
                true
            }
            _ => {
                let (field, width) = (self.field(dice, at, &block), 1 << dice.below(4));
                let field = (field / width * width).min(BLOCK_SIZE - width);
                let mut bytes = [0; 8];
                bytes[..width].copy_from_slice(&block[field..field + width]);
                let old = u64::from_le_bytes(bytes);
                let new = match dice.below(4) {
                    0 => INTERESTING[dice.below(INTERESTING.len())],
                    1 => old.wrapping_add(1 + dice.below(4) as u64),
                    2 => old.wrapping_sub(1 + dice.below(4) as u64),
                    _ => dice.roll(),
                };
                let new = match be(&block) {
                    true => new.swap_bytes() >> (64 - 8 * width),
                    false => new,
                };
                block[field..field + width].copy_from_slice(&new.to_le_bytes()[..width]);
                true
            }
        };
        if sealed {
            reseal(&self.geometry, at, &mut block);
        }
        changed.insert(at, block);
    }

    /// Where a change matters: mostly where the block has something.
    fn field(&self, dice: &mut Dice, at: u64, block: &Block) -> usize {
        if is_table(&self.geometry, at) {
            let slot = 512 * dice.below(8);
            return slot
                + match dice.below(3) {
                    0 => dice.below(0x80),
                    1 => 0x80 + dice.below(0x80),
                    _ => dice.below(512),
                };
        }
        match dice.below(4) {
            0 => dice.below(BLOCK_SIZE),
            1 => dice.below(0x20),
            _ => {
                let used = block[..].iter().rposition(|&b| b != 0).unwrap_or(0);
                dice.below(used + 1)
            }
        }
    }

    /// A pointer to a block becomes one to another block that is in use.
    fn point_elsewhere(&self, dice: &mut Dice, at: u64, block: &mut Block) {
        let first = self.geometry.groups_start;
        let pointers: Vec<usize> = (0x10..BLOCK_SIZE - 8)
            .step_by(8)
            .filter(|&i| (first..self.geometry.total_blocks).contains(&block.get_u64(i)))
            .collect();
        let places: Vec<u64> = self.blocks.range(first..).map(|(at, _)| *at).collect();
        if !pointers.is_empty() && !places.is_empty() && at != 0 {
            let to = places[dice.below(places.len())];
            block.put_u64(pointers[dice.below(pointers.len())], to);
        }
    }
}

fn be(block: &Block) -> bool {
    block[..4] == MAGIC.to_be_bytes()
}

fn is_table(geometry: &Geometry, at: u64) -> bool {
    geometry.group_of_block(at).is_some()
        && (1..=geometry.itable_blocks).contains(&geometry.offset_in_group(at))
}

/// Makes the checksum of a changed block right, so that the checks behind it are reached.
pub fn reseal(geometry: &Geometry, at: u64, block: &mut Block) {
    if at == 0 || geometry.is_backup(at) {
        let sum = crc::raw_without(u32::MAX, &block[..], 4);
        block.put_u32(4, sum);
    } else if at == geometry.journal_start {
        let sum = crc::raw_without(u32::MAX, &block[..1024], 0xfc);
        block[0xfc..0x100].copy_from_slice(&sum.to_be_bytes());
    } else if be(block) {
        let sum_at = match u32::from_be_bytes([block[4], block[5], block[6], block[7]]) {
            DESCRIPTOR | REVOKE => TAIL,
            COMMIT => COMMIT_SUM,
            _ => return,
        };
        let sum = block_sum(geometry.seed, block, sum_at);
        block[sum_at..sum_at + 4].copy_from_slice(&sum.to_be_bytes());
    } else if is_table(geometry, at) {
        let group = geometry.group_of_block(at).unwrap_or(0);
        let first = group * geometry.inodes_per_group + (geometry.offset_in_group(at) - 1) * 8 + 1;
        for (ino, slot) in (first..).zip(block.chunks_exact_mut(512)) {
            if slot.starts_with(b"VXIN") {
                let sum = crc::raw_without(crc::raw(geometry.seed, &ino.to_le_bytes()), slot, 4);
                slot[4..8].copy_from_slice(&sum.to_le_bytes());
            }
        }
    } else if Kind::of_magic(block.header().magic).is_some() {
        block.seal(geometry.seed);
    }
}
