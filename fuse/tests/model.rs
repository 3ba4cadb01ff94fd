// SPDX-License-Identifier: Apache-2.0
//! Random sequences of operations on a volume and on a naive model must give the same answers and the same tree.
//!
//! The model knows whole paths and whole byte vectors, and nothing of inodes, pages, cookies or link counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::ControlFlow;

use proptest::prelude::*;
use vexfs::{
    AtimePolicy, Attr, AttrChange, Error, FileKind, Ino, Limits, MemoryVolume, NewNode, Owner,
    RenameMode, Result,
};

const OWNER: Owner = Owner { uid: 0, gid: 0 };

#[derive(Debug, Clone)]
enum Op {
    Create(String),
    Mkdir(String),
    Symlink(String, String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Unlink(String),
    Rmdir(String),
    Link(String, String),
    Rename(String, String, RenameMode),
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    File(usize),
    Symlink(usize, String),
    Dir,
}

/// Paths like "/a/b" to nodes; "" is the root. Files are indices into `contents`, so that hard links share bytes.
#[derive(Debug)]
struct Model {
    nodes: BTreeMap<String, Node>,
    contents: Vec<Vec<u8>>,
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').expect("starts with a slash")
}

fn below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.starts_with('/'))
}

impl Model {
    fn new() -> Self {
        Self {
            nodes: [(String::new(), Node::Dir)].into(),
            contents: Vec::new(),
        }
    }

    fn get(&self, path: &str) -> Result<Node> {
        if !path.is_empty() {
            self.parent(path)?;
        }
        self.nodes.get(path).cloned().ok_or(Error::NotFound)
    }

    fn parent(&self, path: &str) -> Result<()> {
        match self.get(split(path).0)? {
            Node::Dir => Ok(()),
            _ => Err(Error::NotADirectory),
        }
    }

    fn add(&mut self, path: &str, node: Node) -> Result<()> {
        self.parent(path)?;
        if self.nodes.contains_key(path) {
            return Err(Error::Exists);
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    fn fresh(&mut self) -> usize {
        self.contents.push(Vec::new());
        self.contents.len() - 1
    }

    fn file(&mut self, path: &str) -> Result<&mut Vec<u8>> {
        match self.get(path)? {
            Node::File(id) => Ok(&mut self.contents[id]),
            Node::Dir => Err(Error::IsADirectory),
            Node::Symlink(..) => Err(Error::InvalidArgument),
        }
    }

    fn is_empty(&self, dir: &str) -> bool {
        !self.nodes.keys().any(|path| below(path, dir))
    }

    /// Takes the tree at `path` out, with paths relative to it.
    fn take(&mut self, path: &str) -> Vec<(String, Node)> {
        let inside = |at: &str| at == path || below(at, path);
        let all = std::mem::take(&mut self.nodes);
        let (out, stay) = all.into_iter().partition(|(at, _)| inside(at));
        self.nodes = stay;
        let out: BTreeMap<String, Node> = out;
        out.into_iter()
            .map(|(at, node)| (at[path.len()..].to_owned(), node))
            .collect()
    }

    fn put(&mut self, path: &str, tree: Vec<(String, Node)>) {
        self.nodes.extend(
            tree.into_iter()
                .map(|(at, node)| (format!("{path}{at}"), node)),
        );
    }

    fn rename(&mut self, from: &str, to: &str, mode: RenameMode) -> Result<()> {
        let source = self.get(from)?;
        self.parent(to)?;
        let target = self.nodes.get(to).cloned();
        match (mode, &target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Error::Exists),
            (RenameMode::Exchange, None) => return Err(Error::NotFound),
            _ => {}
        }
        // Two directories are the same only if their paths are; files and links carry their identity.
        if from == to || (source != Node::Dir && target.as_ref() == Some(&source)) {
            return Ok(());
        }
        if below(to, from) || (mode == RenameMode::Exchange && below(from, to)) {
            return Err(Error::InvalidArgument);
        }
        if mode == RenameMode::Exchange {
            let (a, b) = (self.take(from), self.take(to));
            self.put(from, b);
            self.put(to, a);
            return Ok(());
        }
        match (source == Node::Dir, target.map(|node| node == Node::Dir)) {
            (true, Some(false)) => return Err(Error::NotADirectory),
            (false, Some(true)) => return Err(Error::IsADirectory),
            (true, Some(true)) if !self.is_empty(to) => return Err(Error::NotEmpty),
            _ => {}
        }
        self.nodes.remove(to);
        let tree = self.take(from);
        self.put(to, tree);
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Create(path) => {
                let node = Node::File(self.fresh());
                self.add(path, node)
            }
            Op::Mkdir(path) => self.add(path, Node::Dir),
            Op::Symlink(path, target) => {
                let node = Node::Symlink(self.fresh(), target.clone());
                self.add(path, node)
            }
            Op::Write(path, offset, data) => {
                let bytes = self.file(path)?;
                let start = *offset as usize;
                if !data.is_empty() {
                    bytes.resize(bytes.len().max(start + data.len()), 0);
                    bytes[start..start + data.len()].copy_from_slice(data);
                }
                Ok(())
            }
            Op::Truncate(path, size) => {
                self.file(path)?.resize(*size as usize, 0);
                Ok(())
            }
            Op::Unlink(path) => {
                if self.get(path)? == Node::Dir {
                    return Err(Error::IsADirectory);
                }
                self.nodes.remove(path);
                Ok(())
            }
            Op::Rmdir(path) => {
                if self.get(path)? != Node::Dir {
                    return Err(Error::NotADirectory);
                }
                if !self.is_empty(path) {
                    return Err(Error::NotEmpty);
                }
                self.nodes.remove(path);
                Ok(())
            }
            Op::Link(from, to) => {
                let node = self.get(from)?;
                self.parent(to)?;
                if self.nodes.contains_key(to) {
                    return Err(Error::Exists);
                }
                if node == Node::Dir {
                    return Err(Error::NotPermitted);
                }
                self.add(to, node)
            }
            Op::Rename(from, to, mode) => self.rename(from, to, *mode),
        }
    }

    fn nlink(&self, path: &str, node: &Node) -> usize {
        let others = self.nodes.iter();
        match node {
            Node::Dir => {
                let subdir =
                    |at: &str, n: &Node| *n == Node::Dir && below(at, path) && split(at).0 == path;
                2 + others.filter(|(at, n)| subdir(at, n)).count()
            }
            _ => others.filter(|(_, n)| *n == node).count(),
        }
    }
}

/// Walks a path of the volume, as the kernel does.
fn resolve(volume: &MemoryVolume, path: &str) -> Result<Attr> {
    let names = path.split('/').skip(1);
    names.fold(volume.attr(Ino::ROOT), |dir, name| {
        volume.lookup(dir?.ino, OsStr::new(name))
    })
}

fn place<'a>(volume: &MemoryVolume, path: &'a str) -> Result<(Ino, &'a OsStr)> {
    let (parent, name) = split(path);
    Ok((resolve(volume, parent)?.ino, OsStr::new(name)))
}

fn apply(volume: &mut MemoryVolume, op: &Op) -> Result<()> {
    match op {
        Op::Create(path) => {
            let (dir, name) = place(volume, path)?;
            volume
                .make(dir, name, NewNode::Regular, 0o644, OWNER)
                .map(drop)
        }
        Op::Mkdir(path) => {
            let (dir, name) = place(volume, path)?;
            volume
                .make(dir, name, NewNode::Directory, 0o755, OWNER)
                .map(drop)
        }
        Op::Symlink(path, target) => {
            let (dir, name) = place(volume, path)?;
            let node = NewNode::Symlink(target.into());
            volume.make(dir, name, node, 0, OWNER).map(drop)
        }
        Op::Write(path, offset, data) => {
            let handle = volume.open(resolve(volume, path)?.ino)?;
            let written = volume.write(handle, *offset, data);
            volume.release(handle)?;
            assert!(written.is_err() || written == Ok(data.len()));
            written.map(drop)
        }
        Op::Truncate(path, size) => {
            let change = AttrChange {
                size: Some(*size),
                ..AttrChange::default()
            };
            let ino = resolve(volume, path)?.ino;
            volume.set_attr(ino, &change).map(drop)
        }
        Op::Unlink(path) => {
            let (dir, name) = place(volume, path)?;
            volume.unlink(dir, name)
        }
        Op::Rmdir(path) => {
            let (dir, name) = place(volume, path)?;
            volume.rmdir(dir, name)
        }
        Op::Link(from, to) => {
            let ino = resolve(volume, from)?.ino;
            let (dir, name) = place(volume, to)?;
            volume.link(ino, dir, name).map(drop)
        }
        Op::Rename(from, to, mode) => {
            let (from_dir, from_name) = place(volume, from)?;
            volume.lookup(from_dir, from_name)?;
            let (to_dir, to_name) = place(volume, to)?;
            volume.rename(from_dir, from_name, to_dir, to_name, *mode)
        }
    }
}

/// The whole tree of the volume must be the model's.
fn compare(volume: &mut MemoryVolume, model: &Model) {
    let mut pages = BTreeMap::new();
    for (path, node) in &model.nodes {
        let attr = resolve(volume, path).expect("is in the model");
        assert_eq!(
            attr.nlink as usize,
            model.nlink(path, node),
            "nlink of {path:?}"
        );
        pages.insert(attr.ino, attr.blocks / 8);
        let handle = volume.open(attr.ino).expect("opens");
        match node {
            Node::File(id) => {
                let bytes = &model.contents[*id];
                assert_eq!(
                    (attr.kind, attr.size),
                    (FileKind::Regular, bytes.len() as u64)
                );
                let read = volume.read(handle, 0, bytes.len() + 1).expect("reads");
                assert!(read == *bytes, "content of {path:?}");
            }
            Node::Symlink(_, target) => {
                let read = volume.read_link(attr.ino).expect("reads");
                assert_eq!(read, OsStr::new(target));
            }
            Node::Dir => {
                let mut listed = BTreeSet::new();
                let mut visit =
                    |name: &OsStr| listed.insert(name.to_str().expect("UTF-8").to_owned());
                let mut dots = Vec::new();
                let done = volume.read_dir(handle, 0, |entry| {
                    match entry.cookie {
                        1 | 2 => dots.push((entry.name.to_owned(), entry.ino)),
                        _ => assert!(visit(entry.name), "{path:?} lists a name twice"),
                    }
                    ControlFlow::Continue(())
                });
                let above = path.rsplit_once('/').map_or("", |(above, _)| above);
                let above = resolve(volume, above).expect("is in the model").ino;
                assert_eq!(dots, [(".".into(), attr.ino), ("..".into(), above)]);
                assert_eq!(done, Ok(()));
                let children = model
                    .nodes
                    .keys()
                    .filter(|at| below(at, path) && split(at).0 == path);
                let children: BTreeSet<String> =
                    children.map(|at| split(at).1.to_owned()).collect();
                assert_eq!(listed, children, "listing of {path:?}");
            }
        }
        volume.release(handle).expect("closes");
    }
    let space = volume.space();
    assert_eq!(space.total_inodes - space.free_inodes, pages.len() as u64);
    assert_eq!(
        space.total_blocks - space.free_blocks,
        pages.values().sum::<u64>()
    );
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..=3)
        .prop_map(|names| names.iter().map(|name| format!("/{name}")).collect())
}

fn op() -> impl Strategy<Value = Op> {
    let mode = prop::sample::select(vec![
        RenameMode::Replace,
        RenameMode::NoReplace,
        RenameMode::Exchange,
    ]);
    let data = (any::<u8>(), 0..9000_usize).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        3 => path().prop_map(Op::Create),
        3 => path().prop_map(Op::Mkdir),
        1 => (path(), "[a-z/]{1,9}").prop_map(|(path, target)| Op::Symlink(path, target)),
        4 => (path(), 0..20_000_u64, data).prop_map(|(path, at, data)| Op::Write(path, at, data)),
        2 => (path(), 0..20_000_u64).prop_map(|(path, size)| Op::Truncate(path, size)),
        1 => path().prop_map(Op::Unlink),
        1 => path().prop_map(Op::Rmdir),
        2 => (path(), path()).prop_map(|(from, to)| Op::Link(from, to)),
        4 => (path(), path(), mode).prop_map(|(from, to, mode)| Op::Rename(from, to, mode)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_volume_behaves_as_the_model(ops in proptest::collection::vec(op(), 1..80)) {
        let limits = Limits::of_bytes(64 << 20);
        let mut volume = MemoryVolume::new(limits, OWNER, AtimePolicy::Relative);
        let mut model = Model::new();
        for op in &ops {
            prop_assert_eq!(apply(&mut volume, op), model.apply(op), "{:?}", op);
            compare(&mut volume, &model);
        }
    }
}
