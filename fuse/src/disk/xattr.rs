// SPDX-License-Identifier: Apache-2.0
//! Extended attributes (section 9 of the format): in the inode, and in one block more.

use std::sync::Arc;

use rustix::io::Errno;
use zerocopy::FromBytes;

use super::layout::{RawAttribute, row_mut};
use super::{BLOCK_SIZE, Block, Error, Expect, Inode, Kind, MetaRead, Result, Tx, corrupt};

/// Longest value.
pub const MAX_VALUE: usize = 4000;
/// Longest name, without its prefix.
pub const MAX_NAME: usize = 255;

pub(in crate::disk) const INLINE: usize = 256;
pub(in crate::disk) const USED: usize = 0x18;
pub(in crate::disk) const FIRST: usize = 0x20;
const ROOM: usize = BLOCK_SIZE - FIRST;
pub(in crate::disk) const FIXED: usize = size_of::<RawAttribute>();

/// Whether an attribute may, must or must not be there when it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetMode {
    /// Either.
    Any,
    /// It is new: else EEXIST.
    Create,
    /// It is there: else ENODATA.
    Replace,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) namespace: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Attribute {
    fn size(&self) -> usize {
        (FIXED + self.name.len() + self.value.len() + 3) & !3
    }

    fn is(&self, namespace: u8, name: &[u8]) -> bool {
        self.namespace == namespace && self.name == name
    }

    /// The name with its prefix.
    pub(crate) fn full_name(&self) -> Vec<u8> {
        let prefix = PREFIXES[usize::from(self.namespace) - 1];
        [prefix, &self.name].concat()
    }
}

const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// Namespace and rest of a full name.
///
/// # Errors
/// EOPNOTSUPP in another namespace, EINVAL or ERANGE for a name that is empty or too long.
pub(crate) fn split_name(full: &[u8]) -> Result<(u8, &[u8])> {
    let known = PREFIXES
        .iter()
        .zip(1..)
        .find_map(|(prefix, namespace)| Some((namespace, full.strip_prefix(*prefix)?)));
    match known {
        None => Err(Error::Errno(Errno::OPNOTSUPP)),
        Some((_, [])) => Err(Error::Errno(Errno::INVAL)),
        Some((_, name)) if name.len() > MAX_NAME => Err(Error::Errno(Errno::RANGE)),
        Some(known) => Ok(known),
    }
}

/// Reads a list of attributes.
///
/// # Errors
/// The name of the field that is wrong.
pub(crate) fn parse(bytes: &[u8]) -> std::result::Result<Vec<Attribute>, &'static str> {
    let mut all = Vec::new();
    parse_into(bytes, &mut all).map(|()| all)
}

/// Takes in the attributes before the first that is wrong.
fn parse_into(mut bytes: &[u8], all: &mut Vec<Attribute>) -> std::result::Result<(), &'static str> {
    while let Ok((head, rest)) = RawAttribute::ref_from_prefix(bytes) {
        let namespace = head.space;
        let (name_len, value_len) = (
            usize::from(head.name_len),
            usize::from(head.value_len.get()),
        );
        if !(1..=PREFIXES.len()).contains(&usize::from(namespace)) {
            return Err("namespace");
        }
        if name_len == 0 {
            return Err("name_len");
        }
        let size = (FIXED + name_len + value_len + 3) & !3;
        if value_len > MAX_VALUE || size > bytes.len() {
            return Err("value_len");
        }
        let (name, value) = rest[..name_len + value_len].split_at(name_len);
        let (used, next) = bytes.split_at(size);
        if used[FIXED + name_len + value_len..].iter().any(|&b| b != 0) {
            return Err("zero");
        }
        if name.contains(&0) || all.iter().any(|other| other.is(namespace, name)) {
            return Err("name");
        }
        all.push(Attribute {
            namespace,
            name: name.to_vec(),
            value: value.to_vec(),
        });
        bytes = next;
    }
    if bytes.is_empty() {
        Ok(())
    } else {
        Err("used")
    }
}

fn encode(all: &[Attribute], out: &mut [u8]) -> usize {
    let mut at = 0;
    for attribute in all {
        let entry = &mut out[at..at + attribute.size()];
        *row_mut(entry) = RawAttribute {
            space: attribute.namespace,
            name_len: attribute.name.len() as u8,
            value_len: (attribute.value.len() as u16).into(),
        };
        let value = FIXED + attribute.name.len();
        entry[FIXED..value].copy_from_slice(&attribute.name);
        entry[value..value + attribute.value.len()].copy_from_slice(&attribute.value);
        at += attribute.size();
    }
    at
}

/// Reads the content of an attribute block.
///
/// # Errors
/// The name of the field that is wrong.
pub(crate) fn parse_block(
    block: &[u8; BLOCK_SIZE],
) -> std::result::Result<Vec<Attribute>, &'static str> {
    let used = usize::from(u16::from_le_bytes([block[USED], block[USED + 1]]));
    if used > ROOM || !used.is_multiple_of(4) {
        return Err("used");
    }
    if block[USED + 2..FIRST].iter().any(|&b| b != 0) {
        return Err("zero");
    }
    parse(&block[FIRST..FIRST + used])
}

/// Attributes of an inode: those in it, and those in its block.
pub(crate) struct Attributes {
    inline: Vec<Attribute>,
    outside: Vec<Attribute>,
}

impl Attributes {
    /// Reads them.
    ///
    /// # Errors
    /// Reading failed, or a check did.
    pub(crate) fn read<R: MetaRead + ?Sized>(meta: &R, ino: u32, inode: &Inode) -> Result<Self> {
        let fail = |kind, block, field: &'static str| {
            let error = corrupt(kind, block, Some(ino), field);
            meta.report(&error);
            error
        };
        let table = meta
            .geometry()
            .inode_place(ino)
            .map_or(0, |(block, _)| block);
        let length = usize::from(inode.xattr_len).min(INLINE);
        let inline =
            parse(&inode.xattr[..length]).map_err(|field| fail(Kind::Inode, table, field))?;
        let outside = match inode.xattr_block {
            0 => Vec::new(),
            pblk => {
                let block: Arc<Block> = meta.read_meta(pblk, expect(ino, inode), &|_| Ok(()))?;
                parse_block(&block).map_err(|field| fail(Kind::Xattr, pblk, field))?
            }
        };
        let twice = |a: &Attribute| outside.iter().any(|b| b.is(a.namespace, &a.name));
        if inline.iter().any(twice) {
            return Err(fail(Kind::Xattr, inode.xattr_block, "name"));
        }
        Ok(Self { inline, outside })
    }

    /// What can still be read of attributes that fail a check. `outside` says whether the block is the inode's.
    ///
    /// # Errors
    /// Reading failed.
    pub(crate) fn salvage<R: MetaRead + ?Sized>(
        meta: &R,
        ino: u32,
        inode: &Inode,
        outside: bool,
    ) -> Result<Self> {
        let mut all = Self {
            inline: Vec::new(),
            outside: Vec::new(),
        };
        let length = usize::from(inode.xattr_len).min(INLINE);
        // Why it ends is known: the check has failed.
        let _ = parse_into(&inode.xattr[..length], &mut all.inline);
        if outside && inode.xattr_block != 0 {
            match meta.read_meta(inode.xattr_block, expect(ino, inode), &|_| Ok(())) {
                Ok(block) => {
                    let used = usize::from(block.get_u16(USED)).min(ROOM);
                    let _ = parse_into(&block[FIRST..FIRST + used], &mut all.outside);
                }
                Err(Error::Corrupt(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let inline = &all.inline;
        let twice = |a: &Attribute| inline.iter().any(|b| b.is(a.namespace, &a.name));
        all.outside.retain(|attribute| !twice(attribute));
        Ok(all)
    }

    /// Whether the block is needed.
    pub(crate) fn has_outside(&self) -> bool {
        !self.outside.is_empty()
    }

    /// Puts them into the inode, and into its block behind the header.
    pub(crate) fn encode(&self, inode: &mut Inode, block: &mut Block) {
        inode.xattr = [0; INLINE];
        inode.xattr_len = encode(&self.inline, &mut inode.xattr) as u16;
        block[USED..].fill(0);
        let used = encode(&self.outside, &mut block[FIRST..]);
        block.put_u16(USED, used as u16);
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.inline.iter().chain(&self.outside)
    }

    /// One of them.
    pub(crate) fn get(&self, namespace: u8, name: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find(|attribute| attribute.is(namespace, name))
            .map(|attribute| attribute.value.as_slice())
    }

    /// Takes one out. Whether it was there.
    pub(crate) fn remove(&mut self, namespace: u8, name: &[u8]) -> bool {
        let before = self.inline.len() + self.outside.len();
        for list in [&mut self.inline, &mut self.outside] {
            list.retain(|attribute| !attribute.is(namespace, name));
        }
        before != self.inline.len() + self.outside.len()
    }

    /// Puts one in that is not there: into the inode, if it finds room there.
    ///
    /// # Errors
    /// No room.
    pub(crate) fn insert(&mut self, attribute: Attribute) -> Result<()> {
        let room = |list: &[Attribute], most| {
            list.iter().map(Attribute::size).sum::<usize>() + attribute.size() <= most
        };
        if room(&self.inline, INLINE) {
            self.inline.push(attribute);
        } else if room(&self.outside, ROOM) {
            self.outside.push(attribute);
        } else {
            return Err(crate::Error::NoSpace.into());
        }
        Ok(())
    }

    /// Puts them into the inode, which the caller writes, and its block.
    ///
    /// # Errors
    /// No space for the block; reading failed, or a check did.
    pub(crate) fn write(&self, tx: &mut Tx<'_>, ino: u32, inode: &mut Inode) -> Result<()> {
        inode.xattr = [0; INLINE];
        inode.xattr_len = encode(&self.inline, &mut inode.xattr) as u16;
        if self.outside.is_empty() {
            return free(tx, inode);
        }
        let expect = expect(ino, inode);
        if inode.xattr_block == 0 {
            let goal = tx.geometry().inode_place(ino).map_or(0, |(block, _)| block);
            inode.xattr_block = tx.alloc_meta(goal, expect)?;
            inode.blocks += 1;
        }
        let block = tx.get_mut(inode.xattr_block, expect, &|_| Ok(()))?;
        block[USED..].fill(0);
        let used = encode(&self.outside, &mut block[FIRST..]);
        block.put_u16(USED, used as u16);
        Ok(())
    }
}

/// Frees the attribute block, if there is one.
///
/// # Errors
/// The block cannot be freed.
pub(crate) fn free(tx: &mut Tx<'_>, inode: &mut Inode) -> Result<()> {
    if inode.xattr_block != 0 {
        tx.free_meta(inode.xattr_block)?;
        inode.xattr_block = 0;
        inode.blocks = inode.blocks.saturating_sub(1);
    }
    Ok(())
}

fn expect(ino: u32, inode: &Inode) -> Expect {
    Expect {
        kind: Kind::Xattr,
        owner: ino,
        generation: inode.generation,
    }
}
