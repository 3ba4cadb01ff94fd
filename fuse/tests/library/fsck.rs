// SPDX-License-Identifier: Apache-2.0
//! fsck names each damage by its invariant, and repairs what it says it repairs.

use std::ffi::OsStr;
use std::sync::Arc;

use vexfs::disk::group::Bitmap;
use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::xattr::SetMode;
use vexfs::disk::{
    BLOCK_SIZE, Block, BlockDevice, DiskVolume, Error, Inode, MemoryDevice, OpenOptions, Slot,
    Superblock, fsck,
};
use vexfs::{AtimePolicy, Ino, NewNode, Owner};

const OWNER: Owner = Owner { uid: 1, gid: 2 };

/// A volume with a bit of everything: inode 2 "file", 3 "other", 4 "dir", 5 "dir/inner", 6 "link".
struct Volume {
    device: Arc<dyn BlockDevice>,
}

impl Volume {
    fn new() -> Self {
        let memory = MemoryDevice::new(4096);
        mkfs::format(&memory, &mkfs::Options::new(Identity::from_seed(&[9; 16]))).expect("formats");
        let device: Arc<dyn BlockDevice> = Arc::new(memory);
        let options = OpenOptions::default();
        let mut disk =
            DiskVolume::open(Arc::clone(&device), options, AtimePolicy::Never).expect("opens");
        let mut make = |dir: u64, name: &str, node| {
            let made = disk.make(Ino(dir), OsStr::new(name), node, 0o755, OWNER);
            made.expect("makes").ino.0
        };
        assert_eq!(make(1, "file", NewNode::Regular), 2);
        assert_eq!(make(1, "other", NewNode::Regular), 3);
        assert_eq!(make(1, "dir", NewNode::Directory), 4);
        assert_eq!(make(4, "inner", NewNode::Directory), 5);
        assert_eq!(
            make(1, "link", NewNode::Symlink("t".repeat(1000).into())),
            6
        );
        for ino in [2, 3] {
            disk.write(Ino(ino), 0, &[1; 20_000]).expect("writes");
        }
        disk.set_xattr(Ino(2), b"user.a", b"value", SetMode::Any)
            .expect("sets");
        disk.close().expect("closes");
        Self { device }
    }

    fn superblock(&self) -> Superblock {
        Superblock::read(&*self.device).expect("is valid")
    }

    fn block(&self, at: u64, change: impl FnOnce(&mut Block)) {
        let mut block = Block::zeroed();
        self.device.read_blocks(at, &mut block[..]).expect("reads");
        change(&mut block);
        self.device.write_blocks(at, &block[..]).expect("writes");
    }

    /// Changes a block that has a header, whose checksum is right afterwards.
    fn sealed(&self, at: u64, change: impl FnOnce(&mut Block)) {
        let seed = self.superblock().geometry().seed;
        self.block(at, |block| {
            change(block);
            block.seal(seed);
        });
    }

    fn inode(&self, ino: u32, change: impl FnOnce(&mut Inode)) {
        let geometry = self.superblock().geometry();
        let (at, byte) = geometry.inode_place(ino).expect("is one");
        self.block(at, |block| {
            let bytes = block[byte..byte + 512].try_into().expect("512 bytes");
            let Ok(Slot::Used(mut inode)) = Slot::parse(&geometry, ino, at, bytes) else {
                panic!("inode {ino} is not in use");
            };
            change(&mut inode);
            block[byte..byte + 512].copy_from_slice(&inode.encode(geometry.seed, ino));
        });
    }

    /// Block of the first extent of a file.
    fn first_block(&self, ino: u32) -> u64 {
        let mut at = 0;
        self.inode(ino, |inode| {
            at = u64::from_le_bytes(inode.root[24..32].try_into().expect("8 bytes"));
        });
        at
    }

    fn group(&self) -> u64 {
        self.superblock().geometry().groups_start
    }

    fn names(&self) -> Vec<&'static str> {
        let report = fsck::check(Arc::clone(&self.device)).expect("checks");
        let mut names: Vec<_> = report.findings.iter().map(|finding| finding.name).collect();
        names.dedup();
        names
    }

    /// The damage is found by this name, and by nothing else; whether it can be repaired is as said.
    fn expect(&self, want: &[&str], repaired: bool) {
        assert_eq!(self.names(), want);
        let (first, last) = fsck::repair(Arc::clone(&self.device), &|_| ()).expect("runs");
        assert!(!first.is_clean());
        assert_eq!(last.is_clean(), repaired, "{:?}", last.findings);
        assert_eq!(self.names().is_empty(), repaired);
    }
}

#[test]
fn a_fresh_and_a_used_volume_are_clean() {
    let volume = Volume::new();
    assert_eq!(volume.names(), Vec::<&str>::new());
    let (first, last) = fsck::repair(Arc::clone(&volume.device), &|_| ()).expect("runs");
    assert!(first.is_clean() && last.is_clean());
}

#[test]
fn counts_and_bitmaps_are_found_and_set() {
    type Damage = fn(&Volume);
    let cases: [(&[&str], Damage); 8] = [
        (&["inode-nlink"], |v| v.inode(2, |inode| inode.nlink = 7)),
        (&["inode-nlink"], |v| v.inode(4, |inode| inode.nlink = 2)),
        (&["inode-blocks"], |v| v.inode(2, |inode| inode.blocks = 70)),
        (&["dir-count"], |v| v.inode(4, |inode| inode.special[0] = 9)),
        (&["summary-count", "bitmap-block"], |v| {
            v.sealed(v.group(), |block| Bitmap::Blocks.set(block, 2000, true));
        }),
        (&["summary-count", "bitmap-block"], |v| {
            let bit = (v.first_block(2) - v.group()) as u32;
            v.sealed(v.group(), |block| Bitmap::Blocks.set(block, bit, false));
        }),
        (&["summary-count"], |v| {
            v.sealed(2, |block| block.put_u32(0x20, 5))
        }),
        (&["state-error"], |v| {
            v.sealed(1, |block| block.put_u32(0x20, 3))
        }),
    ];
    for (want, damage) in cases {
        let volume = Volume::new();
        damage(&volume);
        volume.expect(want, true);
    }
}

#[test]
fn damage_is_named_and_repaired() {
    type Damage = fn(&Volume);
    let cases: [(&[&str], Damage); 11] = [
        (&["dir-entry"], |v| {
            // The first record of the only leaf of "/": the type.
            v.sealed(v.first_block(1), |block| block[0x20 + 13] = 5);
        }),
        (&["dir-hash"], |v| {
            v.sealed(v.first_block(4), |block| {
                let key = block.get_u64(0x20);
                block.put_u64(0x20, key ^ 8);
            });
        }),
        (&["dir-valid"], |v| {
            v.sealed(v.first_block(4), |block| block.put_u32(0x1c, 1));
        }),
        (&["inode-size"], |v| v.inode(2, |inode| inode.size = 4096)),
        (&["block-owner", "bitmap-block"], |v| {
            let block = v.first_block(3);
            v.inode(2, |inode| {
                inode.root[24..32].copy_from_slice(&block.to_le_bytes())
            });
        }),
        (&["dir-parent"], |v| v.inode(5, |inode| inode.parent = 1)),
        (&["xattr-valid"], |v| v.inode(2, |inode| inode.xattr[0] = 9)),
        (&["orphan-list"], |v| v.inode(2, |inode| inode.flags |= 4)),
        (&["symlink-valid", "bitmap-block"], |v| {
            v.sealed(v.first_block(6), |block| block.put_u32(0x1c, 999));
        }),
        (&["extent-valid", "bitmap-block"], |v| {
            v.inode(2, |inode| inode.root[20] = 0)
        }),
        (&["inode-free"], |v| {
            let (at, byte) = v.superblock().geometry().inode_place(7).expect("is one");
            v.block(at, |block| block[byte + 100] = 1);
        }),
    ];
    for (want, damage) in cases {
        let volume = Volume::new();
        damage(&volume);
        volume.expect(want, true);
    }
}

#[test]
fn a_broken_head_is_told_apart() {
    let volume = Volume::new();
    let journal = volume.superblock().geometry().journal_start;
    volume.block(journal, |block| block[0x20] = 1);
    assert_eq!(volume.names(), ["journal-valid"]);
    let volume = Volume::new();
    volume.block(0, |block| block[0x60] ^= 1);
    assert_eq!(volume.names(), ["sb-valid"]);
    volume.block(0, |block| block[0] ^= 1);
    volume.expect(&["sb-valid"], true);
    let zeros: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(&[0; 4 << 20]));
    assert!(matches!(fsck::check(zeros), Err(Error::NotVexfs)));
    let empty: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_image(&[0; BLOCK_SIZE]));
    assert!(fsck::check(empty).is_err());
}
