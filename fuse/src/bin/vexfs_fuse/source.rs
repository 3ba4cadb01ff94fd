// SPDX-License-Identifier: Apache-2.0
//! Where the volume comes from: an image, a device, or memory.

use std::path::Path;
use std::sync::{Arc, RwLock};

use vexfs::adapter::Shared;
use vexfs::disk::{Access, DiskVolume, FileDevice, OpenOptions};
use vexfs::{MemoryVolume, Owner};

use crate::Failure;
use crate::mount_options::MountOptions;

/// Opens the volume of `image`, or makes an empty one in memory.
///
/// # Errors
/// A sentence: the image cannot be opened, is in use, or has no volume that can be mounted so.
pub(crate) fn open(options: &MountOptions, image: Option<&Path>) -> Result<Shared, Failure> {
    let Some(image) = image else {
        let owner = Owner {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let volume = MemoryVolume::new(options.limits()?, owner, options.atime());
        log::debug!("{volume:?}");
        return Ok(Arc::new(RwLock::new(volume)));
    };
    if options.has_size() {
        return Err("size= is for a volume in memory; an image has its size".to_owned());
    }
    let shown = image.display().to_string();
    let refused = |error| format!("cannot mount {shown}: {error}");
    let access = match options.is_read_only() {
        true => Access::ReadOnly,
        false => Access::ReadWrite,
    };
    let device = FileDevice::open(image, access).map_err(refused)?;
    let how = OpenOptions {
        read_only: options.is_read_only(),
        writer: concat!("vexfs_fuse ", env!("CARGO_PKG_VERSION")).to_owned(),
        errors: options.errors(),
        log: Arc::new(|line: &str| log::error!("{line}")),
        // Like a panic of the kernel: nothing more is written, and the next mount replays.
        fatal: Arc::new(|| std::process::abort()),
        ..OpenOptions::default()
    };
    let volume = DiskVolume::open(Arc::new(device), how, options.atime()).map_err(refused)?;
    log::debug!("{volume:?}");
    Ok(Arc::new(RwLock::new(volume)))
}

/// What an errno means.
pub(crate) fn sentence(failure: vexfs::Failure) -> String {
    std::io::Error::from_raw_os_error(failure.0).to_string()
}
