// SPDX-License-Identifier: Apache-2.0
//! Volumes that were not unmounted: their log has to be replayed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::sync::Arc;

use vexfs::disk::journal::format::{ESCAPE, MAGIC};
use vexfs::disk::journal::{Log, Place, scan};
use vexfs::disk::{
    Block, BlockDevice, Expect, FLAG_ORPHAN, Kind, MemoryDevice, MetaRead, OverlayDevice, Store,
    Superblock,
};
use vexfs::{Ino, NewNode};

use super::{content, format, make, open, options, write};

/// Free blocks: of an escaped copy, and of one that is revoked.
const ESCAPED: u64 = 4000;

fn read(device: &dyn BlockDevice, at: u64) -> Block {
    let mut block = Block::zeroed();
    device.read_blocks(at, &mut block[..]).expect("reads");
    block
}

fn log(device: &dyn BlockDevice) -> Log {
    let place = Place::of(&Superblock::read(device).expect("is valid"));
    let start = place.read_super(device).expect("is valid");
    scan(device, &place, start).expect("is sound")
}

/// The log wraps, revokes, escapes; what it says is not in place yet; its last transaction is unfinished. Orphans: a
/// file without a name, and one whose truncation was cut off.
pub fn dirty() -> MemoryDevice {
    let (base, large) = filled();
    let over = Arc::new(OverlayDevice::new(base.clone()));
    change(&over, large);
    let whole = log(&*over);
    spoil_last_commit(&*over, |block| block.fill(0));
    let known = &whole.transactions;
    let tags: Vec<_> = known.iter().flat_map(|known| &known.tags).collect();
    assert_eq!(log(&*over).transactions.len() + 1, known.len());
    assert!(known.len() > 4 && known.iter().any(|one| one.commit < one.start));
    assert!(tags.iter().any(|tag| tag.flags & ESCAPE != 0));
    assert!(known.iter().any(|one| !one.revokes.is_empty()));
    let logged: HashSet<u64> = tags.iter().map(|tag| tag.block).collect();
    let image = MemoryDevice::new(base.blocks());
    for at in 0..base.blocks() {
        // What the log has a copy of was not written home.
        let from: &dyn BlockDevice = match logged.contains(&at) {
            true => &*base,
            false => &*over,
        };
        image.write_blocks(at, &read(from, at)[..]).expect("writes");
    }
    MemoryDevice::from_image(&image.image())
}

/// A volume with an empty log and a file without a name; and the number of its largest file.
fn filled() -> (Arc<MemoryDevice>, u32) {
    let device = Arc::new(format(4096));
    let mut volume = open(&device);
    let dir = make(&mut volume, Ino::ROOT, "dir", NewNode::Directory);
    for n in 0..40 {
        let file = make(&mut volume, dir, &format!("file-{n}"), NewNode::Regular);
        write(&mut volume, file, 0, &content(5000, n));
    }
    let large = make(&mut volume, Ino::ROOT, "large", NewNode::Regular);
    write(&mut volume, large, 0, &content(400_000, 9));
    let link = NewNode::Symlink("l".repeat(3000).into());
    make(&mut volume, Ino::ROOT, "link", link);
    let name = OsStr::new("file-7");
    let held = volume.lookup(dir, name).expect("is there").ino;
    volume.remember(held).expect("is there");
    volume.unlink(dir, name).expect("unlinks");
    volume.sync().expect("commits");
    // As a crash leaves it: nothing is closed.
    drop(volume);
    let mut quiet = options();
    quiet.log = Arc::new(|_| ());
    let mut store = Store::open(device.clone(), quiet).expect("opens");
    store.close().expect("closes");
    (device, large.0 as u32)
}

fn change(device: &Arc<OverlayDevice>, large: u32) {
    let mut store = Store::open(device.clone(), options()).expect("opens");
    let mut time = 0;
    // Until the log has come round.
    while !log(&**device)
        .transactions
        .iter()
        .any(|known| known.commit < known.start)
    {
        time += 1;
        assert!(time < 1000, "the log never wraps");
        let mut inode = store.read_inode(large).expect("exists");
        inode.atime = time;
        let mut tx = store.begin(2).expect("begins");
        // Four blocks each: 1023 is no multiple.
        tx.write_inode(large, &inode).expect("writes");
        tx.write_state(&mut |state| state.check_time = time)
            .expect("writes");
        tx.finish().expect("finishes");
        store.commit().expect("commits");
    }
    let mut inode = store.read_inode(large).expect("exists");
    // A truncation's first transaction is in the log, its second is not.
    let mut tx = store.begin(10).expect("begins");
    let next = tx.read_state().expect("is there").orphan_head;
    (inode.size, inode.flags, inode.orphan_next) = (100_000, FLAG_ORPHAN, next);
    tx.write_inode(large, &inode).expect("writes");
    tx.write_state(&mut |state| state.orphan_head = large)
        .expect("writes");
    let expect = Expect::of_inode(Kind::Symlink, large, 1);
    tx.new_meta(ESCAPED, expect)[..4].copy_from_slice(&MAGIC.to_be_bytes());
    let freed = tx.alloc_meta(0, expect).expect("finds room");
    tx.finish().expect("finishes");
    store.commit().expect("commits");
    let mut tx = store.begin(10).expect("begins");
    tx.free_meta(freed).expect("frees");
    tx.finish().expect("finishes");
    store.commit().expect("commits");
    let mut tx = store.begin(1).expect("begins");
    tx.write_state(&mut |state| state.check_time = 0)
        .expect("writes");
    tx.finish().expect("finishes");
    store.commit().expect("commits");
}

fn spoil_last_commit(device: &dyn BlockDevice, spoil: impl FnOnce(&mut Block)) {
    let superblock = Superblock::read(device).expect("is valid");
    let log = log(device);
    let last = log.transactions.last().expect("is not empty");
    let at = Place::of(&superblock).start + u64::from(last.commit);
    let mut block = read(device, at);
    spoil(&mut block);
    device.write_blocks(at, &block[..]).expect("writes");
}

/// The last commit block was torn after its first sector: its transaction counts.
pub fn torn() -> MemoryDevice {
    let device = dirty();
    spoil_last_commit(&device, |block| block[512..].fill(0xaa));
    device
}
