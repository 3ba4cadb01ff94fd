// SPDX-License-Identifier: Apache-2.0
//! A file tree as simple as can be, to compare a volume with: whole paths and whole byte vectors, and nothing of inodes,
//! blocks, cookies or link counts.

use std::collections::BTreeMap;

use vexfs::{Error, FileKind, RenameMode, Result};

use crate::volumes::{Op, Shown, data, target};

#[derive(Debug, Clone, PartialEq)]
enum Node {
    File(usize),
    Symlink(usize, String),
    Device(usize),
    Dir,
}

/// Paths like "/a/b" to nodes; "" is the root. Files are indices into `contents`, so that hard links share bytes.
#[derive(Debug)]
pub(crate) struct Model {
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
    pub(crate) fn new() -> Self {
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
            Node::Symlink(..) | Node::Device(_) => Err(Error::InvalidArgument),
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
        // Both folders are looked up before either name is.
        self.get(split(from).0)?;
        self.get(split(to).0)?;
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

    /// As [`super::volumes::apply`], with the same answers.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<u64> {
        match op {
            Op::Make(path, kind) => self.make(path, *kind),
            Op::Write(path, offset, len, byte) => {
                let bytes = self.file(path)?;
                let (start, data) = (*offset as usize, data(*len, *byte));
                if !data.is_empty() {
                    bytes.resize(bytes.len().max(start + data.len()), 0);
                    bytes[start..start + data.len()].copy_from_slice(&data);
                }
                Ok(data.len() as u64)
            }
            Op::Truncate(path, size) => {
                self.file(path)?.resize(*size as usize, 0);
                Ok(*size)
            }
            Op::Allocate(path, offset, len, keep) => {
                let bytes = self.file(path)?;
                let end = bytes.len().max((offset + len) as usize);
                bytes.resize(if *keep { bytes.len() } else { end }, 0);
                Ok(0)
            }
            Op::Punch(path, offset, len) => {
                let bytes = self.file(path)?;
                let end = bytes.len().min((offset + len) as usize);
                if let Some(hole) = bytes.get_mut(*offset as usize..end) {
                    hole.fill(0);
                }
                Ok(0)
            }
            Op::Unlink(path) => {
                if self.get(path)? == Node::Dir {
                    return Err(Error::IsADirectory);
                }
                self.nodes.remove(path);
                Ok(0)
            }
            Op::Rmdir(path) => {
                if self.get(path)? != Node::Dir {
                    return Err(Error::NotADirectory);
                }
                if !self.is_empty(path) {
                    return Err(Error::NotEmpty);
                }
                self.nodes.remove(path);
                Ok(0)
            }
            Op::Link(from, to) => self.link(from, to),
            Op::Rename(from, to, mode) => self.rename(from, to, *mode).map(|()| 0),
            Op::Xattr(..) | Op::Hold(_) | Op::LetGo | Op::Sync | Op::Remount => Ok(0),
        }
    }

    fn make(&mut self, path: &str, kind: u8) -> Result<u64> {
        let id = self.fresh();
        let (node, nlink) = match kind {
            0..=2 => (Node::File(id), 1),
            3 | 4 => (Node::Dir, 2),
            5 | 6 => (Node::Symlink(id, target(path, kind)), 1),
            _ => (Node::Device(id), 1),
        };
        self.add(path, node).map(|()| nlink)
    }

    fn link(&mut self, from: &str, to: &str) -> Result<u64> {
        let node = self.get(from)?;
        self.parent(to)?;
        if self.nodes.contains_key(to) {
            return Err(Error::Exists);
        }
        if node == Node::Dir {
            return Err(Error::NotPermitted);
        }
        self.add(to, node.clone())?;
        Ok(self.nlink(to, &node).into())
    }

    fn nlink(&self, path: &str, node: &Node) -> u32 {
        let others = self.nodes.iter();
        let count = match node {
            Node::Dir => {
                let subdir =
                    |at: &str, n: &Node| *n == Node::Dir && below(at, path) && split(at).0 == path;
                2 + others.filter(|(at, n)| subdir(at, n)).count()
            }
            _ => others.filter(|(_, n)| *n == node).count(),
        };
        u32::try_from(count).expect("there are few")
    }

    /// As [`super::volumes::whole`] shows a volume.
    pub(crate) fn whole(&self) -> BTreeMap<String, Shown> {
        let shown = |(path, node): (&String, &Node)| {
            let (kind, perm, rdev, content) = match node {
                Node::File(id) => (FileKind::Regular, 0o640, 0, self.contents[*id].clone()),
                Node::Dir => (FileKind::Directory, 0o640, 0, Vec::new()),
                Node::Symlink(_, target) => (FileKind::Symlink, 0o777, 0, target.clone().into()),
                Node::Device(_) => (FileKind::CharDevice, 0o640, 0x1234, Vec::new()),
            };
            let nlink = self.nlink(path, node);
            let shown = Shown {
                kind,
                perm,
                nlink,
                rdev,
                content,
            };
            (path.clone(), shown)
        };
        let all = self.nodes.iter().filter(|(path, _)| !path.is_empty());
        all.map(shown).collect()
    }
}
