// SPDX-License-Identifier: Apache-2.0
//! A live mount, and how it ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use fuser::SessionUnmounter;
use rustix::mount::{UnmountFlags, unmount};
use signal_hook::low_level::signal_name;

use crate::Failure;
use crate::mountpoint::{Mount, mounted_at};
use crate::serve::Event;

/// How long a busy mount is tried again before it is detached.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// How long files that are still open are served after the mount was detached.
const GRACE: Duration = Duration::from_secs(10);

/// A mount whose session runs in another thread.
pub(crate) struct Live {
    mountpoint: PathBuf,
    mount: Option<Mount>,
    unmounter: SessionUnmounter,
    inbox: Receiver<Event>,
}

impl Live {
    pub(crate) fn new(
        mountpoint: &Path,
        unmounter: SessionUnmounter,
        inbox: Receiver<Event>,
    ) -> Self {
        Self {
            mountpoint: mountpoint.to_owned(),
            mount: None,
            unmounter,
            inbox,
        }
    }

    /// The mount as the kernel shows it, so that no other one is unmounted by mistake.
    pub(crate) fn set_mount(&mut self, mount: Mount) {
        self.mount = Some(mount);
    }

    /// Serves until somebody unmounts, or until a signal: then unmounts.
    ///
    /// # Errors
    /// The connection broke, or files stayed open past the grace period.
    pub(crate) fn wait(mut self) -> Result<(), Failure> {
        match self.inbox.recv() {
            Ok(Event::Ended(end)) => self.ended(end),
            Ok(Event::Signal(signal)) => {
                let name = signal_name(signal).unwrap_or("signal");
                log::info!("{name}: unmounting {}", self.mountpoint.display());
                self.shut_down()
            }
            Err(_) => self.ended(Err(io::Error::other("the session thread is gone"))),
        }
    }

    /// Unmounts because of `failure`, and returns that.
    pub(crate) fn give_up(mut self, failure: Failure) -> Result<(), Failure> {
        if let Err(also) = self.shut_down() {
            log::error!("{also}");
        }
        Err(failure)
    }

    fn shut_down(&mut self) -> Result<(), Failure> {
        match self.unmounter.unmount() {
            Ok(()) => {}
            Err(error) if self.is_mounted() => {
                log::info!("{}: {error}; trying again", self.mountpoint.display());
                if let Some(end) = self.unmount_busy()? {
                    return self.ended(end);
                }
            }
            // Nothing of ours is there: somebody else unmounted it.
            Err(error) => log::debug!("unmount: {error}"),
        }
        self.drain()
    }

    /// Tries for a while, then detaches. Returns the session's end if that came first.
    fn unmount_busy(&mut self) -> Result<Option<io::Result<()>>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.inbox.recv_timeout(PAUSE) {
                Ok(Event::Ended(end)) => return Ok(Some(end)),
                Ok(Event::Signal(_)) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
            if !self.is_mounted() || unmount(&self.mountpoint, UnmountFlags::empty()).is_ok() {
                return Ok(None);
            }
        }
        log::warn!("{} is busy: detaching it", self.mountpoint.display());
        self.detach()
            .map_err(|error| format!("cannot unmount {}: {error}", self.mountpoint.display()))?;
        Ok(None)
    }

    /// Waits until the last user of the detached mount is gone.
    fn drain(&mut self) -> Result<(), Failure> {
        match self.inbox.recv_timeout(GRACE) {
            Ok(Event::Ended(end)) => self.ended(end),
            Ok(Event::Signal(_)) => Err("told again to end: open files were abandoned".to_owned()),
            Err(_) => Err(format!(
                "files stayed open for {} s after unmounting: they were abandoned",
                GRACE.as_secs()
            )),
        }
    }

    fn ended(&self, end: io::Result<()>) -> Result<(), Failure> {
        let Err(error) = end else {
            log::info!("unmounted {}", self.mountpoint.display());
            return Ok(());
        };
        // A mount without its daemon only gives errors.
        if self.is_mounted()
            && let Err(error) = self.detach()
        {
            log::error!("cannot unmount {}: {error}", self.mountpoint.display());
        }
        Err(format!("the connection to the kernel broke: {error}"))
    }

    fn detach(&self) -> io::Result<()> {
        if self.is_mounted() {
            unmount(&self.mountpoint, UnmountFlags::DETACH)?;
        }
        Ok(())
    }

    /// Whether what is visible at the mountpoint is our mount.
    fn is_mounted(&self) -> bool {
        let visible = mounted_at(&self.mountpoint).ok().flatten();
        visible.is_some() && visible == self.mount
    }
}
