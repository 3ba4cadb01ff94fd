// SPDX-License-Identifier: Apache-2.0
//! The volume that is shown: blocks as they are on the device.

use crate::blocks;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use vexfs::disk::journal::{self, Place};
use vexfs::disk::layout::INODE_SIZE;
use vexfs::disk::{
    Access, Block, BlockDevice, Error, FileDevice, Geometry, Inode, OverlayDevice, Result, Slot,
    Superblock,
};

/// A volume opened for reading.
pub(crate) struct Image {
    device: Arc<dyn BlockDevice>,
    superblock: Superblock,
    geometry: Geometry,
}

/// The superblock's copy in block `at`.
pub(crate) fn superblock_at(path: &Path, at: u64) -> Result<Value> {
    let device = FileDevice::open(path, Access::ReadOnly)?;
    Ok(blocks::superblock(&Superblock::read_at(&device, at)?))
}

impl Image {
    pub(crate) fn open(path: &Path, replay: bool) -> Result<Image> {
        let mut device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(path, Access::ReadOnly)?);
        let superblock = Superblock::read(&*device)?;
        let geometry = superblock.geometry();
        if replay {
            device = Arc::new(OverlayDevice::new(device));
            journal::recover(&*device, &Place::of(&superblock), &geometry)?;
        }
        Ok(Image {
            device,
            superblock,
            geometry,
        })
    }

    pub(crate) fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(crate) fn device(&self) -> &dyn BlockDevice {
        &*self.device
    }

    /// Any block of the device.
    pub(crate) fn block(&self, at: u64) -> Result<Block> {
        let mut block = Block::zeroed();
        let failed = |e| Error::Invalid(format!("block {at} cannot be read: {e}"));
        self.device
            .read_blocks(at, &mut block[..])
            .map_err(failed)?;
        Ok(block)
    }

    /// What an inode's place holds.
    pub(crate) fn slot(&self, ino: u32) -> Result<Slot> {
        let Some((at, byte)) = self.geometry.inode_place(ino) else {
            return Err(Error::Invalid(format!("there is no inode {ino}")));
        };
        let entry = blocks::summary_entry(self, self.geometry.group_of_inode(ino))?;
        if self.geometry.index_of_inode(ino) / 8 >= u32::from(entry.itable) {
            return Ok(Slot::Never);
        }
        let mut bytes = [0; INODE_SIZE];
        bytes.copy_from_slice(&self.block(at)?[byte..byte + INODE_SIZE]);
        Slot::parse(&self.geometry, ino, at, &bytes)
    }

    /// An inode in use.
    pub(crate) fn inode(&self, ino: u32) -> Result<Inode> {
        match self.slot(ino)? {
            Slot::Used(inode) => Ok(*inode),
            Slot::Never | Slot::Freed(_) => Err(Error::Invalid(format!("inode {ino} is free"))),
        }
    }
}
