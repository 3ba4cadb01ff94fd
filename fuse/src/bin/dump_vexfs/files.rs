// SPDX-License-Identifier: Apache-2.0
//! What belongs to inodes: fields, extents, records, attributes, targets, vectors.

use crate::blocks::{self, hex, text};
use crate::image::Image;
use crate::log;
use serde_json::{Value, json};
use std::collections::HashSet;
use vexfs::disk::layout::{BLOCK_SIZE, ROOT_INO};
use vexfs::disk::{Error, FLAG_COLLECTION, FLAG_STORE, FileType, Inode, Kind, Result, Slot};

/// First logical block of a store's slot map.
const MAP: u32 = 0x8000_0000;
/// Entries of a slot map block.
const SLOTS: u32 = 254;

/// The fields of an inode.
pub(crate) fn inode(image: &Image, ino: u32) -> Result<Value> {
    let inode = match image.slot(ino)? {
        Slot::Used(inode) => inode,
        Slot::Freed(generation) => {
            return Ok(json!({ "ino": ino, "free": true, "generation": generation }));
        }
        Slot::Never => return Ok(json!({ "ino": ino, "free": true })),
    };
    Ok(json!({
        "ino": ino, "generation": inode.generation, "mode": format!("{:06o}", inode.mode),
        "uid": inode.uid, "gid": inode.gid, "nlink": inode.nlink, "flags": inode.flags, "size": inode.size,
        "blocks": inode.blocks, "atime": inode.atime, "mtime": inode.mtime, "ctime": inode.ctime,
        "btime": inode.btime, "xattr_len": inode.xattr_len, "xattr_block": inode.xattr_block,
        "rdev": inode.rdev, "orphan_next": inode.orphan_next, "parent": inode.parent, "link": inode.link,
        "special": hex(&inode.special), "root": hex(&inode.root),
    }))
}

/// The extents of an inode, and the blocks of their tree. Each block is read once, whatever the tree looks like.
struct Tree {
    extents: Vec<(u32, u32, u64, bool)>,
    nodes: Vec<u64>,
}

fn tree(image: &Image, inode: &Inode) -> Result<Tree> {
    let mut tree = Tree {
        extents: Vec::new(),
        nodes: Vec::new(),
    };
    let is_mapped = match inode.file_type() {
        FileType::Regular | FileType::Directory => true,
        FileType::Symlink => inode.size > 128,
        _ => false,
    };
    if is_mapped {
        let half = |at: usize| u16::from_le_bytes([inode.root[at], inode.root[at + 1]]);
        let entries = &inode.root[16..16 + usize::from(half(0)).min(7) * 16];
        collect(image, entries, half(2), &mut tree, &mut HashSet::new())?;
    }
    Ok(tree)
}

fn collect(
    image: &Image,
    entries: &[u8],
    depth: u16,
    tree: &mut Tree,
    seen: &mut HashSet<u64>,
) -> Result<()> {
    for entry in entries.chunks_exact(16) {
        let word = |at: usize| {
            u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
        };
        let pblk = u64::from(word(8)) | u64::from(word(12)) << 32;
        if depth == 0 {
            tree.extents
                .push((word(0), word(4) & 0x7fff_ffff, pblk, word(4) >> 31 != 0));
            continue;
        }
        if !seen.insert(pblk) || depth > 5 {
            return Err(Error::Invalid(format!(
                "the extent tree comes to block {pblk} twice, or is too deep"
            )));
        }
        tree.nodes.push(pblk);
        let block = image.block(pblk)?;
        if block.get_u16(0x1a) != depth - 1 {
            return Err(Error::Invalid(format!(
                "the extent block {pblk} is not of depth {}",
                depth - 1
            )));
        }
        let end = 0x20 + usize::from(block.get_u16(0x18)).min(254) * 16;
        collect(image, &block[0x20..end], depth - 1, tree, seen)?;
    }
    Ok(())
}

/// Physical block of a logical one.
fn lookup(tree: &Tree, lblk: u32) -> Option<u64> {
    let holds = |&&(first, len, ..): &&(u32, u32, u64, bool)| lblk >= first && lblk - first < len;
    tree.extents
        .iter()
        .find(holds)
        .map(|&(first, _, pblk, _)| pblk.wrapping_add(u64::from(lblk - first)))
}

/// Extents, and the blocks of the tree.
pub(crate) fn extents(image: &Image, ino: u32) -> Result<Value> {
    let tree = tree(image, &image.inode(ino)?)?;
    let extents = tree.extents.iter().map(|&(lblk, len, pblk, unwritten)| {
        json!({ "lblk": lblk, "len": len, "pblk": pblk, "unwritten": unwritten })
    });
    Ok(json!({ "ino": ino, "extents": extents.collect::<Vec<_>>(), "tree": tree.nodes }))
}

type Record = (u64, u32, u8, Vec<u8>);

/// All records of a directory in the order of their keys.
fn dir_records(image: &Image, ino: u32) -> Result<Vec<Record>> {
    let inode = image.inode(ino)?;
    if inode.file_type() != FileType::Directory {
        return Err(crate_error(ino, "a directory"));
    }
    let mut records = Vec::new();
    for (_, len, pblk, _) in tree(image, &inode)?.extents {
        for at in pblk..pblk.saturating_add(u64::from(len)) {
            let block = image.block(at)?;
            if block.header().magic == Kind::DirLeaf.magic() {
                records.extend(blocks::records(&block));
            }
        }
    }
    records.sort();
    Ok(records)
}

fn crate_error(ino: u32, what: &str) -> Error {
    Error::Invalid(format!("inode {ino} is not {what}"))
}

/// The records of a directory.
pub(crate) fn directory(image: &Image, ino: u32) -> Result<Value> {
    let records: Vec<Value> = dir_records(image, ino)?
        .iter()
        .map(blocks::record)
        .collect();
    Ok(json!({ "ino": ino, "parent": image.inode(ino)?.parent, "records": records }))
}

/// The attributes of an inode: those in it, then those in its block.
pub(crate) fn xattr(image: &Image, ino: u32) -> Result<Value> {
    let inode = image.inode(ino)?;
    let mut shown = Vec::new();
    attributes(
        &inode.xattr[..usize::from(inode.xattr_len)],
        "inode",
        &mut shown,
    );
    if inode.xattr_block != 0 {
        let block = image.block(inode.xattr_block)?;
        let end = 0x20 + usize::from(block.get_u16(0x18)).min(4064);
        attributes(&block[0x20..end], "block", &mut shown);
    }
    Ok(json!({ "ino": ino, "xattr_block": inode.xattr_block, "entries": shown }))
}

fn attributes(mut bytes: &[u8], place: &str, shown: &mut Vec<Value>) {
    while bytes.len() >= 4 {
        let name_len = usize::from(bytes[1]);
        let value_len = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
        let end = 4 + name_len + value_len;
        if name_len == 0 || end > bytes.len() {
            break;
        }
        shown.push(
            json!({ "namespace": bytes[0], "name": text(&bytes[4..4 + name_len]),
            "value": hex(&bytes[4 + name_len..end]), "place": place }),
        );
        bytes = &bytes[end.next_multiple_of(4).min(bytes.len())..];
    }
}

/// The target of a symlink.
pub(crate) fn symlink(image: &Image, ino: u32) -> Result<Value> {
    let inode = image.inode(ino)?;
    if inode.file_type() != FileType::Symlink {
        return Err(crate_error(ino, "a symlink"));
    }
    let mut target = Vec::new();
    if inode.size <= 128 {
        target.extend_from_slice(&inode.root[..inode.size as usize]);
    } else {
        let tree = tree(image, &inode)?;
        for at in (0..2).filter_map(|lblk| lookup(&tree, lblk)) {
            let block = image.block(at)?;
            let used = (block.get_u32(0x1c) as usize).min(4064);
            target.extend_from_slice(&block[0x20..0x20 + used]);
        }
    }
    Ok(json!({ "ino": ino, "target": text(&target) }))
}

/// The orphan list.
pub(crate) fn orphans(image: &Image) -> Result<Value> {
    let block = image.block(vexfs::disk::layout::STATE_BLOCK)?;
    let mut next = vexfs::disk::State::decode(&block).orphan_head;
    let mut seen = HashSet::new();
    let mut list = Vec::new();
    while next != 0 && seen.insert(next) {
        let inode = image.inode(next)?;
        list.push(
            json!({ "ino": next, "nlink": inode.nlink, "size": inode.size, "flags": inode.flags }),
        );
        next = inode.orphan_next;
    }
    Ok(json!({ "orphans": list, "loops": next != 0 }))
}

/// The store of a collection, given the directory or the store itself.
fn store_of(image: &Image, ino: u32) -> Result<(u32, Inode)> {
    let inode = image.inode(ino)?;
    if inode.has(FLAG_STORE) {
        return Ok((ino, inode));
    }
    if !inode.has(FLAG_COLLECTION) {
        return Err(crate_error(ino, "a collection"));
    }
    Ok((inode.link, image.inode(inode.link)?))
}

struct Special {
    slots: u32,
    live: u32,
    dimension: u16,
    metric: u8,
    element: u8,
    stride: u32,
}

fn special(store: &Inode) -> Special {
    let s = &store.special;
    let word = |at: usize| u32::from_le_bytes([s[at], s[at + 1], s[at + 2], s[at + 3]]);
    let dimension = u16::from_le_bytes([s[8], s[9]]);
    Special {
        slots: word(0),
        live: word(4),
        dimension,
        metric: s[10],
        element: s[11],
        stride: word(12),
    }
}

/// A collection.
pub(crate) fn collection(image: &Image, ino: u32) -> Result<Value> {
    let (store, inode) = store_of(image, ino)?;
    let s = special(&inode);
    Ok(
        json!({ "directory": inode.parent, "store": store, "slots": s.slots, "live": s.live,
        "dimension": s.dimension, "metric": s.metric, "element": s.element, "stride": s.stride }),
    )
}

/// The slots of a collection that are in use.
pub(crate) fn slot_map(image: &Image, ino: u32) -> Result<Value> {
    let (store, inode) = store_of(image, ino)?;
    let (tree, slots) = (tree(image, &inode)?, special(&inode).slots);
    let mut shown = Vec::new();
    for index in 0..slots.min(MAP - 1).div_ceil(SLOTS) {
        let Some(at) = lookup(&tree, MAP + index) else {
            return Err(Error::Invalid(format!(
                "slot map block {index} is not mapped"
            )));
        };
        let block = image.block(at)?;
        for entry in 0..SLOTS.min(slots - index * SLOTS) {
            let at = 0x20 + entry as usize * 16;
            if block.get_u32(at) != 0 {
                shown.push(json!({ "slot": index * SLOTS + entry, "ino": block.get_u32(at),
                    "generation": block.get_u32(at + 4), "crc": format!("{:08x}", block.get_u32(at + 8)) }));
            }
        }
    }
    Ok(json!({ "store": store, "slots": slots, "used": shown }))
}

/// The vector of a file.
pub(crate) fn vector(image: &Image, ino: u32) -> Result<Value> {
    let inode = image.inode(ino)?;
    if inode.file_type() != FileType::Regular || inode.has(FLAG_STORE) || inode.link == 0 {
        return Err(crate_error(ino, "a file with a vector"));
    }
    let (_, store) = store_of(image, inode.parent)?;
    let (tree, s, slot) = (tree(image, &store)?, special(&store), inode.link - 1);
    let start = u64::from(slot) * u64::from(s.stride);
    let mut bytes = Vec::new();
    while bytes.len() < usize::from(s.dimension) * 4 {
        let at = start + bytes.len() as u64;
        let lblk = u32::try_from(at / BLOCK_SIZE as u64)
            .ok()
            .and_then(|lblk| lookup(&tree, lblk));
        let block = image
            .block(lblk.ok_or_else(|| Error::Invalid(format!("slot {slot} is not mapped")))?)?;
        bytes.extend_from_slice(&block[(at % BLOCK_SIZE as u64) as usize..]);
    }
    let (words, _) = bytes[..usize::from(s.dimension) * 4].as_chunks::<4>();
    let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    Ok(json!({ "ino": ino, "slot": slot, "dimension": s.dimension, "vector": values }))
}

/// The inode that an absolute path leads to; symlinks are not followed.
pub(crate) fn path(image: &Image, path: &str) -> Result<Value> {
    let mut ino = ROOT_INO;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let records = dir_records(image, ino)?;
        let found = records.iter().find(|(.., found)| found == name.as_bytes());
        ino = found.ok_or(vexfs::Error::NotFound)?.1;
    }
    inode(image, ino)
}

/// Everything but contents.
pub(crate) fn all(image: &Image) -> Result<Value> {
    let geometry = image.geometry();
    let (mut groups, mut inodes) = (Vec::new(), Vec::new());
    for group in 0..geometry.groups {
        let entry = blocks::summary_entry(image, group)?;
        if entry.initialised {
            groups.push(blocks::group(image, group)?);
        }
        let first = group * geometry.inodes_per_group + 1;
        for ino in first..first + geometry.inodes_per_group.min(u32::from(entry.itable) * 8) {
            inodes.extend(whole(image, ino)?);
        }
    }
    Ok(json!({
        "super": blocks::superblock(image.superblock()), "state": blocks::state(image)?,
        "summary": blocks::summary(image, None)?, "groups": groups, "inodes": inodes,
        "orphans": orphans(image)?, "journal": log::journal(image)?,
    }))
}

/// An inode with all that is below it; none if it was never used.
fn whole(image: &Image, ino: u32) -> Result<Option<Value>> {
    let mut shown = inode(image, ino)?;
    let Slot::Used(used) = image.slot(ino)? else {
        return Ok(shown.get("generation").is_some().then_some(shown));
    };
    let mut parts: Vec<(&str, Value)> = vec![("xattr", xattr(image, ino)?)];
    match used.file_type() {
        FileType::Regular => parts.push(("extents", extents(image, ino)?)),
        FileType::Directory => {
            parts.extend([
                ("extents", extents(image, ino)?),
                ("dir", directory(image, ino)?),
            ]);
        }
        FileType::Symlink => parts.push(("symlink", symlink(image, ino)?)),
        _ => {}
    }
    if used.has(FLAG_STORE) {
        parts.extend([
            ("collection", collection(image, ino)?),
            ("slot_map", slot_map(image, ino)?),
        ]);
    }
    if let Value::Object(fields) = &mut shown {
        fields.extend(
            parts
                .into_iter()
                .map(|(name, part)| (name.to_owned(), part)),
        );
    }
    Ok(Some(shown))
}
