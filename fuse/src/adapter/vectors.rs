// SPDX-License-Identifier: Apache-2.0
//! The ioctls of vector collections.

use fuser::{INodeNo, ReplyIoctl, Request};

use super::convert::{errno, groups, ino, owner};
use super::vexfs::VexFs;
use crate::Caller;
use crate::disk::Result;
use crate::uapi::{IOC_COLLECTION_CREATE, IOC_SEARCH, IOC_VECTOR_ADD};

/// How often a collection is loaded beside others that may change it meanwhile, before it is searched alone.
const LOADS: usize = 3;

impl VexFs {
    pub(super) fn command(
        &self,
        request: &Request,
        node: INodeNo,
        (command, input): (u32, &[u8]),
        reply: ReplyIoctl,
    ) {
        let pid = request.pid();
        let caller = Caller {
            owner: owner(request),
            groups: &|| groups(pid),
        };
        match self.answer(node, command, input, &caller) {
            Ok(answer) => {
                if matches!(command, IOC_COLLECTION_CREATE | IOC_VECTOR_ADD) {
                    self.has_changed(node);
                }
                reply.ioctl(0, &answer);
            }
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn answer(
        &self,
        node: INodeNo,
        command: u32,
        input: &[u8],
        caller: &Caller<'_>,
    ) -> Result<Vec<u8>> {
        for _ in 0..LOADS {
            let volume = self.shared()?;
            if let Some(done) = volume.ioctl_unchanging(ino(node), command, input, caller) {
                return done;
            }
            // The first search of a collection reads it beside others, too.
            let loaded = match command {
                IOC_SEARCH => volume.load_collection(ino(node))?,
                _ => None,
            };
            drop(volume);
            match loaded {
                Some(loaded) => drop(self.volume()?.keep_collection(loaded)),
                None => break,
            }
        }
        self.volume()?.ioctl(ino(node), command, input, caller)
    }
}
