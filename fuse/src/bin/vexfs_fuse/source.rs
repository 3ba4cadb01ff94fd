// SPDX-License-Identifier: Apache-2.0
//! Where the volume comes from: an image, a device, or memory.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use vexfs::adapter::Shared;
use vexfs::disk::mkfs::{self, Identity};
use vexfs::disk::{
    Access, BLOCK_SIZE, DiskVolume, FileDevice, MemoryDevice, OpenOptions, SharedVolume,
};
use vexfs::{AttrChange, Ino};

use crate::Failure;
use crate::mount_options::MountOptions;

/// Opens the volume of `image`, or makes an empty one in memory.
///
/// # Errors
/// A sentence: the image cannot be opened, is in use, or has no volume that can be mounted so.
pub(crate) fn open(options: &MountOptions, image: Option<&Path>) -> Result<Shared, Failure> {
    let Some(image) = image else {
        return in_memory(options);
    };
    if options.has_size() {
        return Err("size= is for a volume in memory; an image has its size".to_owned());
    }
    let shown = image.display().to_string();
    let access = match options.is_read_only() {
        true => Access::ReadOnly,
        false => Access::ReadWrite,
    };
    let device = FileDevice::open(image, access)
        .map_err(|error| format!("cannot mount {shown}: {error}"))?;
    let how = OpenOptions {
        read_only: options.is_read_only(),
        ..how(options)
    };
    let volume = DiskVolume::open(Arc::new(device), how, options.atime())
        .map_err(|error| format!("cannot mount {shown}: {error}"))?;
    log::debug!("{volume:?}");
    Ok(Arc::new(SharedVolume::new(volume)))
}

/// A volume that mkfs makes in memory: what is never written takes none, and what is freed is given back.
fn in_memory(options: &MountOptions) -> Result<Shared, Failure> {
    let blocks = options.memory_bytes()? / BLOCK_SIZE as u64;
    let failed = |error| format!("cannot make a volume in memory: {error}");
    let device = MemoryDevice::new(blocks);
    let mut made = mkfs::Options::new(Identity::random().map_err(failed)?);
    made.time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        });
    mkfs::format(&device, &made).map_err(failed)?;
    let how = OpenOptions {
        discard: true,
        ..how(options)
    };
    let mut volume = DiskVolume::open(Arc::new(device), how, options.atime()).map_err(failed)?;
    // Its root has to get its owner first, even if nothing is written afterwards.
    let owner = AttrChange {
        uid: Some(rustix::process::geteuid().as_raw()),
        gid: Some(rustix::process::getegid().as_raw()),
        ..AttrChange::default()
    };
    let owned = volume.set_attr(Ino::ROOT, &owner).map(drop);
    let done = owned.and_then(|()| match options.is_read_only() {
        true => volume.set_read_only(),
        false => Ok(()),
    });
    done.map_err(failed)?;
    log::debug!("{volume:?}");
    Ok(Arc::new(SharedVolume::new(volume)))
}

fn how(options: &MountOptions) -> OpenOptions {
    OpenOptions {
        writer: concat!("vexfs_fuse ", env!("CARGO_PKG_VERSION")).to_owned(),
        errors: options.errors(),
        log: Arc::new(|line: &str| log::error!("{line}")),
        // Like a panic of the kernel: nothing more is written, and the next mount replays.
        fatal: Arc::new(|| std::process::abort()),
        ..OpenOptions::default()
    }
}
