// SPDX-License-Identifier: Apache-2.0
//! Reading metadata of a volume that is not mounted: the same checks, but nothing is cached, logged or recorded.

use std::sync::Arc;

use crate::disk::device::BlockDevice;
use crate::disk::error::device_failure;
use crate::disk::{Block, Check, Error, Expect, Geometry, Kind, MetaRead, Result, corrupt};

pub(super) struct Raw {
    pub(super) device: Arc<dyn BlockDevice>,
    geometry: Geometry,
}

impl Raw {
    pub(super) fn new(device: Arc<dyn BlockDevice>, geometry: Geometry) -> Self {
        Self { device, geometry }
    }

    pub(super) fn read(&self, at: u64, kind: Kind, ino: Option<u32>) -> Result<Block> {
        let mut block = Block::zeroed();
        self.device
            .read_blocks(at, &mut block[..])
            .map_err(|error| device_failure("read", kind, at, ino, &error))?;
        Ok(block)
    }
}

impl MetaRead for Raw {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read_meta(&self, at: u64, expect: Expect, check: Check<'_>) -> Result<Arc<Block>> {
        let fixed = matches!(expect.kind, Kind::State | Kind::Summary | Kind::Group);
        if !fixed && !self.geometry.is_usable(at) {
            return Err(corrupt(expect.kind, at, expect.ino(), "range"));
        }
        let block = self.read(at, expect.kind, expect.ino())?;
        block.check_header(self.geometry.seed, at, expect)?;
        check(&block)?;
        Ok(Arc::new(block))
    }

    fn read_itable(&self, at: u64) -> Result<Arc<Block>> {
        Ok(Arc::new(self.read(at, Kind::Inode, None)?))
    }

    // What is wrong becomes a finding where it is met.
    fn report(&self, _: &Error) {}
}
