// SPDX-License-Identifier: Apache-2.0
//! From mount to unmount.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use fuser::Session;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use vexfs::adapter::VexFs;
use vexfs::{MemoryVolume, Owner};

use crate::Failure;
use crate::mount_options::MountOptions;
use crate::mountpoint::mounted_at;
use crate::shutdown::Live;

/// What the main thread waits for.
#[derive(Debug)]
pub(crate) enum Event {
    /// The session ended: unmounted, or the connection broke.
    Ended(io::Result<()>),
    /// A signal that asks us to end.
    Signal(i32),
}

/// Mounts an empty volume, calls `ready` once the kernel shows the mount, and serves until it is unmounted or a signal
/// asks to end.
///
/// # Errors
/// A sentence: could not mount, `ready` failed, the connection broke, or files stayed open past the grace period.
pub(crate) fn run(
    mountpoint: &Path,
    options: &MountOptions,
    ready: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (events, inbox) = channel();
    // Before mounting, so that no signal can leave a mount behind without a daemon.
    watch_signals(events.clone())?;

    let shown = mountpoint.display();
    let owner = Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    let volume = MemoryVolume::new(options.limits()?, owner, options.atime());
    log::debug!("{volume:?}");
    let mut session = Session::new(VexFs::new(volume), mountpoint, &options.fuse_config())
        .map_err(|error| format!("cannot mount on {shown}: {error}"))?;
    let unmounter = session.unmount_callable();
    thread::Builder::new()
        .name("session".to_owned())
        // If nobody receives any more, the process is ending.
        .spawn(move || events.send(Event::Ended(session.run())).unwrap_or_default())
        .map_err(|error| format!("cannot start a thread: {error}"))?;

    let mut live = Live::new(mountpoint, unmounter, inbox);
    let mount = match mounted_at(mountpoint) {
        Ok(Some(mount)) if mount.is_ours() => mount,
        Ok(_) => return live.give_up(format!("mounted, but the kernel shows no mount on {shown}")),
        Err(error) => return live.give_up(format!("cannot read mountinfo: {error}")),
    };
    live.set_mount(mount);
    if let Err(failure) = ready() {
        return live.give_up(failure);
    }
    log::info!("mounted on {shown}");
    live.wait()
}

fn watch_signals(events: Sender<Event>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| format!("cannot watch for signals: {error}"))?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if events.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}
