// SPDX-License-Identifier: Apache-2.0
//! Devices that cannot be written, or fail, or are somebody else's.

use std::sync::Arc;

use crate::stores::{Fault, Faulty, open, quiet, volume};
use vexfs::disk::state::ERROR;
use vexfs::disk::{
    Access, Block, BlockDevice, Error, FileDevice, MemoryDevice, MetaRead, OpenOptions, Store,
};

#[test]
fn a_read_only_device_is_replayed_into_memory() {
    struct ReadOnly(MemoryDevice);
    impl BlockDevice for ReadOnly {
        fn blocks(&self) -> u64 {
            self.0.blocks()
        }
        fn name(&self) -> &str {
            "read-only"
        }
        fn is_read_only(&self) -> bool {
            true
        }
        fn read_blocks(&self, block: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            self.0.read_blocks(block, buffer)
        }
        fn write_blocks(&self, _block: u64, _bytes: &[u8]) -> std::io::Result<()> {
            panic!("written")
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let device = volume(1024);
    let mut store = open(&device);
    let mut tx = store.begin(1).expect("begin");
    tx.write_state(&mut |state| state.orphan_head = 17)
        .expect("state");
    tx.finish().expect("finish");
    store.commit().expect("commit");
    // Undo what the commit wrote in place: only the log has it now.
    let fresh = volume(1024);
    let mut block = Block::zeroed();
    fresh.read_blocks(1, &mut block[..]).expect("read");
    device.write_blocks(1, &block[..]).expect("write");
    let frozen = Arc::new(ReadOnly(MemoryDevice::from_image(&device.image())));
    assert!(matches!(
        Store::open(frozen.clone(), quiet()),
        Err(Error::ReadOnly(_))
    ));
    let store = Store::open(
        frozen,
        OpenOptions {
            read_only: true,
            ..quiet()
        },
    )
    .expect("open");
    assert_eq!(store.read_state().expect("state").orphan_head, 17);
}

#[test]
fn a_device_that_fails_ends_the_journal_and_says_so() {
    let device = Faulty::over(volume(1024));
    let mut store = Store::open(device.clone(), quiet()).expect("open");
    let mut tx = store.begin(1).expect("begin");
    tx.write_state(&mut |state| state.check_time = 1)
        .expect("state");
    tx.finish().expect("finish");
    // The journal superblock can still be written.
    device.set(Fault::Writes { except: Some(3) });
    assert_eq!(store.commit().map_err(|error| error.errno()), Err(5));
    assert_eq!(store.commit(), Err(Error::Aborted));
    assert!(matches!(store.begin(1), Err(Error::Aborted)));
    drop(store);
    device.set(Fault::Nothing);
    let store = Store::open(device, quiet()).expect("the next mount replays");
    let state = store.read_state().expect("state");
    assert_eq!((state.check_time, state.flags & ERROR), (0, ERROR));
    assert_eq!(state.last_error.place, "journal");
}

#[test]
fn an_image_has_one_writer_or_many_readers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("image");
    std::fs::write(&path, vec![0; 1 << 20]).expect("an image");
    let writer = FileDevice::open(&path, Access::ReadWrite).expect("the first writer");
    assert_eq!(writer.blocks(), 256);
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let refused = FileDevice::open(&path, access);
        assert!(matches!(refused, Err(Error::Busy(_))));
    }
    drop(writer);
    let readers = [Access::ReadOnly; 2].map(|access| FileDevice::open(&path, access));
    assert!(readers.iter().all(Result::is_ok));
    let refused = FileDevice::open(&path, Access::ReadWrite);
    assert!(matches!(refused, Err(Error::Busy(_))));
}

#[test]
fn a_file_keeps_what_was_written_and_reads_zeros_where_it_was_zeroed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("image");
    std::fs::write(&path, vec![1; 10 * 4096 + 17]).expect("an image");
    let device = FileDevice::open(&path, Access::ReadWrite).expect("open");
    assert_eq!(device.blocks(), 10, "the last part of a block is not used");
    device.write_blocks(3, &[7; 8192]).expect("write");
    device.zero(4, 2).expect("zero");
    device.flush().expect("flush");
    let mut bytes = vec![9; 4 * 4096];
    device.read_blocks(3, &mut bytes).expect("read");
    let blocks: Vec<u8> = bytes.chunks(4096).map(|block| block[4095]).collect();
    assert_eq!(blocks, [7, 0, 0, 1]);
    assert!(device.read_blocks(7, &mut bytes).is_err(), "beyond the end");
    assert!(device.write_blocks(u64::MAX, &bytes[..4096]).is_err());
    assert!(
        FileDevice::open(folder.path(), Access::ReadOnly).is_err(),
        "a folder is no device"
    );
}
