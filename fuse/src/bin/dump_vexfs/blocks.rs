// SPDX-License-Identifier: Apache-2.0
//! Single blocks: decoded as they are.

use crate::image::Image;
use serde_json::{Map, Value, json};
use vexfs::disk::group::Bitmap;
use vexfs::disk::layout::{RawSummaryEntry, STATE_BLOCK, SUMMARY_ENTRIES, SUMMARY_START};
use vexfs::disk::summary::GroupSummary;
use vexfs::disk::{Block, Error, Kind, Result, State, Superblock, crc};

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name or text: as it is if it is printable UTF-8, else escaped.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() || c == '\\') => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// The superblock.
pub(crate) fn superblock(superblock: &Superblock) -> Value {
    let raw = superblock.raw();
    json!({
        "magic": raw.magic.get(), "blocknr": raw.blocknr.get(), "version": raw.version.get(),
        "feature_compat": raw.feature_compat.get(), "feature_ro_compat": raw.feature_ro_compat.get(),
        "feature_incompat": raw.feature_incompat.get(), "uuid": hex(&raw.uuid), "label": superblock.label(),
        "hash_key": hex(&raw.hash_key), "total_blocks": raw.total_blocks.get(),
        "summary_start": raw.summary_start.get(), "summary_blocks": raw.summary_blocks.get(),
        "groups": raw.groups.get(), "journal_start": raw.journal_start.get(),
        "journal_blocks": raw.journal_blocks.get(), "group_blocks": raw.group_blocks.get(),
        "groups_start": raw.groups_start.get(), "inodes_per_group": raw.inodes_per_group.get(),
        "itable_blocks": raw.itable_blocks.get(), "log_block_size": raw.log_block_size.get(),
        "inode_size": raw.inode_size.get(), "mkfs_time": raw.mkfs_time.get(),
        "backup": raw.backup.map(|at| at.get()), "root_ino": raw.root_ino.get(), "serial": raw.serial.get(),
    })
}

/// The header that metadata blocks share, and whether its checksum is right.
pub(crate) fn header(image: &Image, block: &Block) -> Map<String, Value> {
    let raw = block.header();
    let sum = crc::raw_without(image.geometry().seed, &block[..], 4);
    let mut fields = Map::new();
    fields.insert("magic".into(), text(&raw.magic).into());
    let verdict = if raw.checksum.get() == sum {
        "right"
    } else {
        "wrong"
    };
    fields.insert(
        "checksum".into(),
        format!("{:08x} ({verdict})", raw.checksum.get()).into(),
    );
    fields.insert("blocknr".into(), raw.blocknr.get().into());
    fields.insert("owner".into(), raw.owner.get().into());
    fields.insert("generation".into(), raw.generation.get().into());
    fields
}

fn with(mut fields: Map<String, Value>, more: Value) -> Value {
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    Value::Object(fields)
}

/// The state block.
pub(crate) fn state(image: &Image) -> Result<Value> {
    let block = image.block(STATE_BLOCK)?;
    let state = State::decode(&block);
    let record = |r: &vexfs::disk::ErrorRecord| json!({ "time": r.time, "block": r.block, "ino": r.ino, "errno": r.errno, "place": r.place });
    Ok(with(
        header(image, &block),
        json!({
            "flags": state.flags, "mount_count": state.mount_count, "mount_time": state.mount_time,
            "write_time": state.write_time, "orphan_head": state.orphan_head,
            "error_count": state.error_count, "first_error": record(&state.first_error),
            "last_error": record(&state.last_error), "check_time": state.check_time, "writer": state.writer,
        }),
    ))
}

/// A group's entry in the summary.
pub(crate) fn summary_entry(image: &Image, group: u32) -> Result<GroupSummary> {
    let (at, byte) = image.geometry().summary_place(group);
    Ok(GroupSummary::decode(
        image.block(at)?.at::<RawSummaryEntry>(byte),
    ))
}

/// The summary.
pub(crate) fn summary(image: &Image, only: Option<u32>) -> Result<Value> {
    let groups = image.geometry().groups;
    if only.is_some_and(|group| group >= groups) {
        return Err(Error::Invalid(format!("there are {groups} groups")));
    }
    let mut shown = Vec::new();
    for index in 0..image.geometry().summary_blocks {
        let first = index * SUMMARY_ENTRIES;
        let range = first..first + vexfs::disk::summary::entries(image.geometry(), index);
        if only.is_some_and(|group| !range.contains(&group)) {
            continue;
        }
        let block = image.block(SUMMARY_START + u64::from(index))?;
        let entries: Vec<Value> = range
            .filter(|&group| only.is_none_or(|only| only == group))
            .map(|group| {
                let raw: &RawSummaryEntry = block.at(0x20 + (group - first) as usize * 8);
                json!({ "group": group, "free_blocks": raw.free_blocks.get(),
                    "free_inodes": raw.free_inodes.get(), "init": raw.init.get() })
            })
            .collect();
        let head = json!({ "count": block.get_u32(0x18), "first_group": block.get_u32(0x1c), "entries": entries });
        shown.push(with(header(image, &block), head));
    }
    Ok(Value::Array(shown))
}

/// A group block; bitmaps as runs of bits in use.
pub(crate) fn group(image: &Image, group: u32) -> Result<Value> {
    if group >= image.geometry().groups {
        return Err(Error::Invalid(format!(
            "there are {} groups",
            image.geometry().groups
        )));
    }
    if !summary_entry(image, group)?.initialised {
        return Ok(json!({ "group": group, "initialised": false }));
    }
    let block = image.block(image.geometry().group_start(group))?;
    let runs = |bitmap: Bitmap| {
        let mut runs: Vec<[u32; 2]> = Vec::new();
        for bit in (0..bitmap.bits()).filter(|&bit| bitmap.get(&block, bit)) {
            match runs.last_mut() {
                Some([_, last]) if *last + 1 == bit => *last = bit,
                _ => runs.push([bit, bit]),
            }
        }
        runs.iter()
            .map(|[first, last]| format!("{first}..{last}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    Ok(with(
        header(image, &block),
        json!({ "blocks": block.get_u32(0x18), "inodes": block.get_u32(0x1c),
            "inode_bitmap": runs(Bitmap::Inodes), "block_bitmap": runs(Bitmap::Blocks) }),
    ))
}

/// An entry of an extent tree.
pub(crate) fn extent(block: &[u8], at: usize, depth: u16) -> Value {
    let word =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let pblk = u64::from(word(at + 8)) | u64::from(word(at + 12)) << 32;
    if depth == 0 {
        let (len, unwritten) = (word(at + 4) & 0x7fff_ffff, word(at + 4) >> 31 != 0);
        json!({ "lblk": word(at), "len": len, "pblk": pblk, "unwritten": unwritten })
    } else {
        json!({ "lblk": word(at), "pblk": pblk })
    }
}

/// A block of an extent tree.
pub(crate) fn extent_block(image: &Image, at: u64) -> Result<Value> {
    let block = image.block(at)?;
    let (entries, depth) = (block.get_u16(0x18), block.get_u16(0x1a));
    let shown =
        (0..usize::from(entries).min(254)).map(|n| extent(&block[..], 0x20 + n * 16, depth));
    let shown: Vec<Value> = shown.collect();
    let body = json!({ "entries": entries, "depth": depth, "entry": shown });
    Ok(with(header(image, &block), body))
}

/// The records of a leaf, as many as can be made out.
pub(crate) fn records(block: &Block) -> Vec<(u64, u32, u8, Vec<u8>)> {
    let end = 0x20 + usize::from(block.get_u16(0x1a)).min(4064);
    let (mut at, mut records) = (0x20, Vec::new());
    while at + 16 <= end {
        let len = usize::from(block[at + 12]);
        if len == 0 || at + 16 + len > end {
            break;
        }
        let name = block[at + 16..at + 16 + len].to_vec();
        records.push((
            block.get_u64(at),
            block.get_u32(at + 8),
            block[at + 13],
            name,
        ));
        at += (16 + len).next_multiple_of(8);
    }
    records
}

/// A record of a directory.
pub(crate) fn record((key, ino, kind, name): &(u64, u32, u8, Vec<u8>)) -> Value {
    json!({ "key": format!("{key:016x}"), "ino": ino, "type": kind, "name": text(name) })
}

/// A block of a directory: leaf or index.
pub(crate) fn dir_block(image: &Image, at: u64) -> Result<Value> {
    let block = image.block(at)?;
    let (level, count, lblk) = (
        block.get_u16(0x18),
        block.get_u16(0x1a),
        block.get_u32(0x1c),
    );
    let body = if block.header().magic == Kind::DirIndex.magic() {
        let entries = (0..usize::from(count).min(254)).map(|n| {
            let at = 0x20 + n * 16;
            json!({ "key": format!("{:016x}", block.get_u64(at)), "lblk": block.get_u32(at + 8) })
        });
        json!({ "level": level, "entries": count, "lblk": lblk, "entry": entries.collect::<Vec<_>>() })
    } else {
        let shown: Vec<Value> = records(&block).iter().map(record).collect();
        json!({ "level": level, "used": count, "lblk": lblk, "record": shown })
    };
    Ok(with(header(image, &block), body))
}

/// What a block is, and whose.
pub(crate) fn any(image: &Image, at: u64) -> Result<Value> {
    let geometry = image.geometry();
    let block = image.block(at)?;
    let fixed = match at {
        0 => Some("superblock"),
        STATE_BLOCK => Some("state"),
        at if geometry.is_backup(at) => Some("superblock"),
        at if (SUMMARY_START..geometry.journal_start).contains(&at) => Some("summary"),
        at if (geometry.journal_start..geometry.groups_start).contains(&at) => Some("journal"),
        at if at >= geometry.total_blocks => Some("outside"),
        at if geometry.offset_in_group(at) == 0 => Some("group"),
        at if geometry.offset_in_group(at) <= geometry.itable_blocks => Some("inode"),
        _ => None,
    };
    let group = geometry.group_of_block(at);
    let guess = Kind::of_magic(block.header().magic);
    let kind = fixed.unwrap_or_else(|| guess.map_or("data", Kind::name));
    let mut fields = Map::new();
    fields.insert("block".into(), at.into());
    fields.insert("type".into(), kind.into());
    if let Some(group) = group {
        let bit = geometry.offset_in_group(at);
        let entry = summary_entry(image, group)?;
        let in_use = !entry.initialised && bit <= geometry.itable_blocks
            || entry.initialised
                && Bitmap::Blocks.get(&image.block(geometry.group_start(group))?, bit);
        fields.insert("group".into(), group.into());
        fields.insert("in_use".into(), in_use.into());
    }
    if guess.is_some() && !matches!(fixed, Some("journal" | "superblock" | "inode" | "outside")) {
        fields.insert("header".into(), Value::Object(header(image, &block)));
    }
    Ok(Value::Object(fields))
}
