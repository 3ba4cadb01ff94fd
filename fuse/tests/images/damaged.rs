// SPDX-License-Identifier: Apache-2.0
//! Volumes with one fault each, and how fsck calls it.

use vexfs::disk::extents::{Child, Node, encode_block, parse_root};
use vexfs::disk::journal::{Place, scan};
use vexfs::disk::{Block, BlockDevice, Expect, Inode, Kind, MemoryDevice, Slot, Superblock};

use super::build;

fn block(device: &MemoryDevice, at: u64, change: impl FnOnce(&mut Block)) {
    let mut block = Block::zeroed();
    device.read_blocks(at, &mut block[..]).expect("reads");
    change(&mut block);
    device.write_blocks(at, &block[..]).expect("writes");
}

/// An inode, and the block and byte where it is.
fn inode(device: &MemoryDevice, ino: u32) -> (Inode, u64, usize) {
    let geometry = Superblock::read(device).expect("is valid").geometry();
    let (at, byte) = geometry.inode_place(ino).expect("is one");
    let mut table = Block::zeroed();
    device.read_blocks(at, &mut table[..]).expect("reads");
    let bytes = table[byte..byte + 512].try_into().expect("512 bytes");
    match Slot::parse(&geometry, ino, at, bytes) {
        Ok(Slot::Used(inode)) => (*inode, at, byte),
        other => panic!("inode {ino} is {other:?}"),
    }
}

pub fn corrupt(what: &str) -> MemoryDevice {
    let device = build(match what {
        "journal" => "dirty-16m",
        "loop" => "trees-16m",
        _ => "files-16m",
    });
    let seed = Superblock::read(&device).expect("is valid").geometry().seed;
    match what {
        "superblock" => block(&device, 0, |block| block[0x60] ^= 1),
        "inode" => {
            let (_, at, byte) = inode(&device, 2);
            block(&device, at, |block| block[byte + 0x20] ^= 4);
        }
        "leaf" => {
            let (root, ..) = inode(&device, 1);
            let Ok(Node::Leaf(extents)) = parse_root(&root.root) else {
                panic!("the root's tree is small");
            };
            block(&device, extents[0].pblk, |block| block[0x40] ^= 1);
        }
        "loop" => {
            // A node of the deep tree names itself.
            let (deep, ..) = inode(&device, 2);
            let Ok(Node::Inner(depth, children)) = parse_root(&deep.root) else {
                panic!("the tree is deep");
            };
            let Child { lblk, pblk } = children[0];
            let mut node = Block::zeroed();
            node.set_header(pblk, Expect::of_inode(Kind::Extent, 2, deep.generation));
            let itself = Node::Inner(depth - 1, vec![Child { lblk, pblk }]);
            encode_block(&itself, &mut node);
            node.seal(seed);
            device.write_blocks(pblk, &node[..]).expect("writes");
        }
        "journal" => {
            let superblock = Superblock::read(&device).expect("is valid");
            let place = Place::of(&superblock);
            let start = place.read_super(&device).expect("is valid");
            let log = scan(&device, &place, start).expect("is sound");
            let last = log.transactions.last().expect("is not empty");
            let at = place.start + u64::from(last.tags[0].position);
            block(&device, at, |block| block[0x100] ^= 1);
        }
        other => panic!("no damage is called {other}"),
    }
    device
}
