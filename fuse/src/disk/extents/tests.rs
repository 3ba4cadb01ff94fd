// SPDX-License-Identifier: Apache-2.0
//! The tree against a map of single blocks.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::disk::Kind;
use crate::disk::{Error, corrupt};

/// Nodes in memory, which go through their bytes.
#[derive(Default)]
struct Memory {
    blocks: BTreeMap<u64, Box<[u8; 4096]>>,
    next: u64,
}

impl ReadNodes for Memory {
    fn load(&self, pblk: u64, depth: u16) -> Result<Node> {
        let block = self.blocks.get(&pblk).ok_or_else(bad)?;
        parse_block(block, depth).map_err(|_| bad())
    }
    fn usable(&self, pblk: u64, len: u32) -> bool {
        pblk > 0 && pblk + u64::from(len) < 1 << 40
    }
    fn corrupt(&self, _: u64, _: &'static str) -> Error {
        bad()
    }
}

impl Nodes for Memory {
    fn save(&mut self, pblk: u64, node: &Node) -> Result<()> {
        let mut block = Box::new([0; 4096]);
        encode_block(node, &mut block);
        self.blocks.insert(pblk, block);
        Ok(())
    }
    fn alloc(&mut self) -> Result<u64> {
        self.next += 1;
        Ok(self.next)
    }
    fn free(&mut self, pblk: u64) -> Result<()> {
        self.blocks.remove(&pblk).map(drop).ok_or_else(bad)
    }
}

fn bad() -> Error {
    corrupt(Kind::Extent, 0, None, "test")
}

type Model = BTreeMap<u64, (u64, bool)>;

fn all(tree: &Tree<'_, Memory>) -> Model {
    let (mut model, mut at) = (Model::new(), 0);
    while let Some(extent) = tree.find(at).expect("reads") {
        for i in 0..u64::from(extent.len) {
            model.insert(
                u64::from(extent.lblk) + i,
                (extent.pblk + i, extent.unwritten),
            );
        }
        at = extent.end();
    }
    model
}

fn depth(root: &[u8; ROOT_SIZE]) -> u16 {
    parse_root(root).expect("valid").depth()
}

#[test]
fn appending_single_blocks_grows_and_removing_shrinks() {
    let mut nodes = Memory::default();
    let mut root = [0; ROOT_SIZE];
    let mut model = Model::new();
    for i in 0..4000_u32 {
        let mut tree = Tree::new(&root, &mut nodes).expect("valid");
        let pblk = 1_000_000 + u64::from(i) * 2;
        let (lblk, len, unwritten) = (i, 1, false);
        tree.insert(Extent {
            lblk,
            len,
            pblk,
            unwritten,
        })
        .expect("inserts");
        model.insert(i.into(), (pblk, false));
        root = tree.encode();
    }
    assert_eq!(depth(&root), 2);
    let mut tree = Tree::new(&root, &mut nodes).expect("valid");
    assert_eq!(all(&tree), model);
    assert_eq!(tree.last().expect("reads").map(|e| e.lblk), Some(3999));
    assert_eq!(tree.remove(0, LBLK_END).expect("removes").len(), 4000);
    assert_eq!(tree.encode(), [0; ROOT_SIZE]);
    assert!(nodes.blocks.is_empty(), "no node is left behind");
}

#[test]
fn a_node_that_points_at_itself_is_an_error() {
    let mut nodes = Memory::default();
    let child = Child { lblk: 0, pblk: 1 };
    nodes.save(1, &Node::Inner(1, vec![child])).expect("saves");
    let root = encode_root(&Node::Inner(2, vec![child]));
    let mut tree = Tree::new(&root, &mut nodes).expect("its root is right");
    assert!(matches!(tree.find(0), Err(Error::Corrupt(_))));
    assert!(matches!(tree.remove(0, 10), Err(Error::Corrupt(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agrees_with_a_map(
        ops in prop::collection::vec((any::<bool>(), 0_u32..3000, 1_u32..40, any::<bool>()), 1..600),
    ) {
        let mut nodes = Memory::default();
        let mut root = [0; ROOT_SIZE];
        let mut model = Model::new();
        let mut place = 1_000_000_u64;
        for (insert, lblk, len, unwritten) in ops {
            let range = u64::from(lblk)..u64::from(lblk + len);
            let mut tree = Tree::new(&root, &mut nodes).expect("valid");
            let removed = tree.remove(range.start, range.end).expect("removes");
            let count: u64 = removed.iter().map(|extent| u64::from(extent.len)).sum();
            prop_assert_eq!(count, model.range(range.clone()).count() as u64);
            model.retain(|at, _| !range.contains(at));
            if insert {
                place += u64::from(len) + u64::from(lblk % 2);
                tree.insert(Extent { lblk, len, pblk: place, unwritten }).expect("inserts");
                model.extend((0..u64::from(len)).map(|i| (u64::from(lblk) + i, (place + i, unwritten))));
            }
            root = tree.encode();
        }
        let tree = Tree::new(&root, &mut nodes).expect("valid");
        prop_assert_eq!(all(&tree), model);
        let mut seen = Vec::new();
        tree.blocks(&mut |block| { seen.push(block); Ok(()) }).expect("walks");
        seen.sort_unstable();
        prop_assert_eq!(seen, nodes.blocks.keys().copied().collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 4096), depth in 0_u16..6) {
        let block: &[u8; 4096] = bytes.as_slice().try_into().expect("a block");
        if let Ok(node) = parse_block(block, depth) {
            let _ = node.check(0, LBLK_END, |pblk, _| pblk < 1000);
        }
    }
}
