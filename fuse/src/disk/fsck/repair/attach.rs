// SPDX-License-Identifier: Apache-2.0
//! The second step of a round: what needs space or a directory's tree, by the ordinary transactions of a mounted volume.

use std::sync::Arc;

use super::super::collections::mend::mend;
use super::super::plan::{Entry, Plan};
use crate::disk::device::BlockDevice;
use crate::disk::dir::{self, Dir};
use crate::disk::extents::ROOT_ENTRIES;
use crate::disk::layout::ROOT_INO;
use crate::disk::report::ErrorPolicy;
use crate::disk::{Error, FileType, Inode, MetaRead, OpenOptions, Result, Store, Tx, map};

/// Blocks that one step may change: as for any operation on names.
const CREDITS: usize = 48;
const LOST: &str = "lost+found";
/// Names that are tried for lost+found, and for what comes into it.
const TRIES: u32 = 100;

/// How the volume is opened for repair and for cleaning orphans: silently, and without stopping.
pub(super) fn options() -> OpenOptions {
    OpenOptions {
        writer: concat!("fsck.vexfs ", env!("CARGO_PKG_VERSION")).to_owned(),
        errors: ErrorPolicy::Continue,
        log: Arc::new(|_| {}),
        ..OpenOptions::default()
    }
}

/// Does the rest of the plan. What finds no room is left out: the next check sees it.
pub(super) fn attach(device: Arc<dyn BlockDevice>, plan: &mut Plan) -> Result<()> {
    let long = |list: &Vec<_>| list.len() > ROOT_ENTRIES;
    let nothing = !plan.extents.values().any(long)
        && plan.dirs.values().all(Vec::is_empty)
        && plan.remove.is_empty()
        && plan.retype.is_empty()
        && plan.lost.is_empty()
        && plan.vectors.is_empty();
    if nothing {
        return Ok(());
    }
    let mut store = Store::open(device, options())?;
    for (ino, extents) in plan.extents.iter().filter(|(_, list)| long(list)) {
        for extent in extents {
            step(&mut store, |tx| {
                let mut inode = tx.read_inode(*ino)?;
                map::insert(tx, *ino, &mut inode, *extent)?;
                tx.write_inode(*ino, &inode)
            })?;
        }
    }
    for entry in &plan.remove {
        step(&mut store, |tx| remove(tx, entry))?;
    }
    for entry in &plan.retype {
        step(&mut store, |tx| retype(tx, entry))?;
    }
    for (dir, records) in &plan.dirs {
        for (name, target) in records {
            let entry = (*dir, name.clone());
            if !plan.remove.contains(&entry) {
                step(&mut store, |tx| insert(tx, &entry, *target))?;
            }
        }
    }
    for fix in &mut plan.vectors {
        let mut all = false;
        while !all && step(&mut store, |tx| mend(tx, fix).map(|done| all = done))? {}
    }
    if !plan.lost.is_empty()
        && let Some(lost) = lost_and_found(&mut store)?
    {
        for ino in &plan.lost {
            adopt(&mut store, lost, *ino)?;
        }
    }
    store.close()
}

/// One operation. Whether there was room for it.
fn step(store: &mut Store, work: impl FnOnce(&mut Tx<'_>) -> Result<()>) -> Result<bool> {
    // Nothing is read again, so that pinned blocks need no second try: commit when space runs low.
    if store.has_pinned() {
        store.commit()?;
    }
    let mut tx = store.begin(CREDITS)?;
    match work(&mut tx) {
        Ok(()) => tx.finish().map(|()| true),
        // No room, or damage that the next round names.
        Err(Error::Volume(_) | Error::Corrupt(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove(tx: &mut Tx<'_>, (dir, name): &Entry) -> Result<()> {
    let mut inode = tx.read_inode(*dir)?;
    let found = Dir {
        ino: *dir,
        inode: &inode,
    }
    .find(tx, name)?;
    if let Some(found) = found {
        dir::remove(tx, *dir, &mut inode, found)?;
        tx.write_inode(*dir, &inode)?;
    }
    Ok(())
}

fn retype(tx: &mut Tx<'_>, (ino, name): &Entry) -> Result<()> {
    let inode = tx.read_inode(*ino)?;
    let dir = Dir {
        ino: *ino,
        inode: &inode,
    };
    if let Some(found) = dir.find(tx, name)? {
        let kind = tx.read_inode(found.ino)?.file_type().dir_type();
        dir::retarget(tx, dir, found, (found.ino, kind))?;
    }
    Ok(())
}

fn insert(tx: &mut Tx<'_>, (dir, name): &Entry, target: u32) -> Result<()> {
    let mut inode = tx.read_inode(*dir)?;
    let kind = tx.read_inode(target)?.file_type().dir_type();
    let there = Dir {
        ino: *dir,
        inode: &inode,
    }
    .find(tx, name)?;
    if there.is_some() {
        return Err(crate::Error::Exists.into());
    }
    dir::insert(tx, *dir, &mut inode, name, (target, kind))?;
    tx.write_inode(*dir, &inode)
}

/// The directory for what has no name; none if there is no room for one.
fn lost_and_found(store: &mut Store) -> Result<Option<u32>> {
    for n in 0..TRIES {
        let name = numbered(LOST, n);
        let root = store.read_inode(ROOT_INO)?;
        let dir = Dir {
            ino: ROOT_INO,
            inode: &root,
        };
        match dir.find(store, name.as_bytes())? {
            Some(found) => {
                if store.read_inode(found.ino)?.file_type() == FileType::Directory {
                    return Ok(Some(found.ino));
                }
            }
            None => {
                let mut made = None;
                let done = step(store, |tx| {
                    made = Some(make_directory(tx, name.as_bytes())?);
                    Ok(())
                })?;
                return Ok(made.filter(|_| done));
            }
        }
    }
    Ok(None)
}

fn numbered(name: &str, n: u32) -> String {
    match n {
        0 => name.to_owned(),
        n => format!("{name}.{n}"),
    }
}

fn make_directory(tx: &mut Tx<'_>, name: &[u8]) -> Result<u32> {
    let mut root = tx.read_inode(ROOT_INO)?;
    let (ino, generation) = tx.alloc_inode(ROOT_INO, true)?;
    let now = tx.now();
    let mut inode = Inode::new(generation, 0o040_700);
    (inode.nlink, inode.parent) = (2, ROOT_INO);
    (inode.atime, inode.mtime, inode.ctime, inode.btime) = (now, now, now, now);
    dir::append_leaf(tx, ino, &mut inode)?;
    tx.write_inode(ino, &inode)?;
    let kind = inode.file_type().dir_type();
    dir::insert(tx, ROOT_INO, &mut root, name, (ino, kind))?;
    root.nlink = root.nlink.saturating_add(1);
    tx.write_inode(ROOT_INO, &root)?;
    Ok(ino)
}

/// Gives an inode a name in lost+found. Link counts and parents are set by the next round.
fn adopt(store: &mut Store, lost: u32, ino: u32) -> Result<()> {
    for n in 0..TRIES {
        let name = numbered(&format!("#{ino}"), n);
        let dir = store.read_inode(lost)?;
        let taken = Dir {
            ino: lost,
            inode: &dir,
        }
        .find(store, name.as_bytes())?;
        if taken.is_some_and(|found| found.ino != ino) {
            continue;
        }
        step(store, |tx| {
            insert(tx, &(lost, name.into_bytes()), ino)?;
            let mut inode = tx.read_inode(ino)?;
            if inode.file_type() == FileType::Directory {
                inode.parent = lost;
            }
            inode.nlink = inode.nlink.max(1);
            tx.write_inode(ino, &inode)
        })?;
        break;
    }
    Ok(())
}
