// SPDX-License-Identifier: Apache-2.0
//! Files in many pieces.

use std::sync::Arc;

use vexfs::disk::extents::{Child, Extent, Node, encode_block, encode_root, parse_root};
use vexfs::disk::{Expect, Kind, MemoryDevice, MetaRead, Store};
use vexfs::{AttrChange, Ino, NewNode};

use super::{content, format, make, open, options, write};

const BLOCK: u64 = 4096;

/// A file whose tree has depth 3, made by hand with few entries a node (the format allows it; growing there takes
/// 450,000 extents); one of depth 1 and one of depth 2 that grew by being written in pieces.
pub fn fragmented(blocks: u64) -> MemoryDevice {
    let device = Arc::new(format(blocks));
    let mut volume = open(&device);
    let [deep, wide, other] =
        ["deep", "wide", "other"].map(|name| make(&mut volume, Ino::ROOT, name, NewNode::Regular));
    let pieces = if blocks > 8192 { 2500 } else { 600 };
    for n in 0..pieces {
        // Two files written by turns lie in pieces.
        write(
            &mut volume,
            wide,
            n * BLOCK,
            &content(BLOCK as usize, n as u8),
        );
        write(&mut volume, other, 2 * n * BLOCK, &content(10, 200));
    }
    for n in 0..7 {
        write(
            &mut volume,
            deep,
            2 * n * BLOCK,
            &content(BLOCK as usize, n as u8),
        );
    }
    let size = AttrChange {
        size: Some(13 * BLOCK),
        ..AttrChange::default()
    };
    volume.set_attr(deep, &size).expect("cuts");
    volume.close().expect("closes");
    drop(volume);
    deepen(&device, deep.0 as u32);
    Arc::into_inner(device).expect("nobody else has it")
}

/// Puts each extent of the root below nodes of its own, three deep.
fn deepen(device: &Arc<MemoryDevice>, ino: u32) {
    let mut store = Store::open(device.clone(), options()).expect("opens");
    let mut inode = store.read_inode(ino).expect("exists");
    let Ok(Node::Leaf(extents)) = parse_root(&inode.root) else {
        panic!("the root holds the extents");
    };
    let mut tx = store.begin(40).expect("begins");
    let expect = Expect::of_inode(Kind::Extent, ino, inode.generation);
    let mut put = |node: &Node| -> Child {
        let pblk = tx.alloc_meta(0, expect).expect("finds room");
        encode_block(node, tx.get_mut(pblk, expect, &|_| Ok(())).expect("is new"));
        inode.blocks += 1;
        let lblk = node.first_lblk();
        Child { lblk, pblk }
    };
    let leaves: Vec<Child> = extents
        .chunks(2)
        .map(|pair: &[Extent]| put(&Node::Leaf(pair.to_vec())))
        .collect();
    let inner: Vec<Child> = leaves
        .chunks(2)
        .map(|pair| put(&Node::Inner(1, pair.to_vec())))
        .collect();
    let upper: Vec<Child> = inner
        .chunks(1)
        .map(|one| put(&Node::Inner(2, one.to_vec())))
        .collect();
    inode.root = encode_root(&Node::Inner(3, upper));
    tx.write_inode(ino, &inode).expect("writes");
    tx.finish().expect("finishes");
    store.close().expect("closes");
}
