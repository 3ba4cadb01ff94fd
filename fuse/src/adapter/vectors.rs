// SPDX-License-Identifier: Apache-2.0
//! The ioctls of vector collections.

use fuser::{INodeNo, ReplyIoctl, Request};

use super::convert::{errno, groups, ino, owner};
use super::vexfs::VexFs;
use crate::Caller;
use crate::uapi::{IOC_COLLECTION_CREATE, IOC_VECTOR_ADD};

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
        let done = self.beside_or_alone(
            |volume| volume.ioctl_unchanging(ino(node), command, input, &caller),
            |volume| volume.ioctl(ino(node), command, input, &caller),
        );
        match done {
            Ok(answer) => {
                if matches!(command, IOC_COLLECTION_CREATE | IOC_VECTOR_ADD) {
                    self.has_changed(node);
                }
                reply.ioctl(0, &answer);
            }
            Err(error) => reply.error(errno(&error)),
        }
    }
}
