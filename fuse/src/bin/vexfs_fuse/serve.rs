// SPDX-License-Identifier: Apache-2.0
//! From mount to unmount.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use fuser::Session;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use vexfs::adapter::{Shared, VexFs};

use crate::Failure;
use crate::mount_options::MountOptions;
use crate::mountpoint::mounted_at;
use crate::shutdown::Live;
use crate::source;

/// What the main thread waits for.
#[derive(Debug)]
pub(crate) enum Event {
    /// The session ended: unmounted, or the connection broke.
    Ended(io::Result<()>),
    /// A signal that asks us to end.
    Signal(i32),
}

/// How long a change may wait for its commit.
const COMMIT_AGE: Duration = Duration::from_secs(5);

/// Mounts the volume of `image` (an empty one in memory without), calls `ready` once the kernel shows the mount, and
/// serves until it is unmounted or a signal asks to end.
///
/// # Errors
/// A sentence: could not mount, `ready` failed, the connection broke, or files stayed open past the grace period.
pub(crate) fn run(
    mountpoint: &Path,
    options: &MountOptions,
    image: Option<&Path>,
    ready: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (events, inbox) = channel();
    // Before mounting, so that no signal can leave a mount behind without a daemon.
    watch_signals(events.clone())?;
    let volume = source::open(options, image)?;
    let served = serve(mountpoint, options, &volume, (events, inbox), ready);
    // Whatever ended the mount: what was done is made durable, and the volume left clean.
    let closed = volume
        .close()
        .map_err(|error| format!("cannot close the volume: {error}"));
    served.and(closed)
}

fn serve(
    mountpoint: &Path,
    options: &MountOptions,
    volume: &Shared,
    (events, inbox): (Sender<Event>, Receiver<Event>),
    ready: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let shown = mountpoint.display();
    let filesystem = VexFs::new(Arc::clone(volume));
    let notifier = filesystem.notifier();
    let mut session = Session::new(filesystem, mountpoint, &options.fuse_config())
        .map_err(|error| format!("cannot mount on {shown}: {error}"))?;
    // It was empty: the session is new.
    let _ = notifier.set(session.notifier());
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
    if let Err(failure) = commit_regularly(volume).and_then(|()| ready()) {
        return live.give_up(failure);
    }
    log::info!("mounted on {shown}");
    live.wait()
}

/// Commits what is older than [`COMMIT_AGE`], as long as the volume is in use.
fn commit_regularly(volume: &Shared) -> Result<(), Failure> {
    let volume = Arc::downgrade(volume);
    thread::Builder::new()
        .name("commit".to_owned())
        .spawn(move || {
            while let Some(volume) = volume.upgrade() {
                let done = volume.sync_older(COMMIT_AGE);
                if let Err(error) = done {
                    log::error!("cannot commit: {error}");
                }
                drop(volume);
                thread::sleep(COMMIT_AGE / 5);
            }
        })
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
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
