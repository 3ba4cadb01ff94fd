// SPDX-License-Identifier: Apache-2.0
//! A volume that several threads work on.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::DiskVolume;
use crate::disk::Result;
use crate::error::Error;

/// A volume behind its lock. What changes nothing shares the lock, all else has it alone; a sync has it only for the
/// moment in which it gathers what is to be written.
#[derive(Debug)]
pub struct SharedVolume {
    volume: RwLock<DiskVolume>,
    /// Whose turn it is to sync: taken before the lock, so that nobody waits for another's sync with the lock in hand.
    turn: Mutex<()>,
}

impl SharedVolume {
    /// Shares `volume`.
    #[must_use]
    pub fn new(volume: DiskVolume) -> Self {
        Self {
            volume: RwLock::new(volume),
            turn: Mutex::default(),
        }
    }

    /// The volume for what changes it.
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub fn alone(&self) -> Result<RwLockWriteGuard<'_, DiskVolume>> {
        self.volume.write().map_err(|_| Error::Poisoned.into())
    }

    /// The volume for what only looks at it.
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub fn beside(&self) -> Result<RwLockReadGuard<'_, DiskVolume>> {
        self.volume.read().map_err(|_| Error::Poisoned.into())
    }

    /// Makes all durable that was done before this call, while others go on.
    ///
    /// # Errors
    /// Writing failed, now or earlier; [`Error::Poisoned`].
    pub fn sync(&self) -> Result<()> {
        let before = self.beside()?.store().commits_begun();
        // The turn protects nothing that a panic could have left half-done.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Who was before us may have begun after us: then it is done.
        if self.beside()?.store().commits() > before {
            return Ok(());
        }
        let sealed = self.alone()?.store.seal()?;
        match sealed {
            Some(commit) => commit.finish(),
            None => Ok(()),
        }
    }

    /// [`SharedVolume::sync`], if changes wait for longer than `age`.
    ///
    /// # Errors
    /// As for that.
    pub fn sync_older(&self, age: Duration) -> Result<()> {
        // Looked at beside the requests: whoever waits to have the volume alone holds up all that come later.
        let is_due = self.beside()?.has_older(age);
        match is_due {
            true => self.sync(),
            false => Ok(()),
        }
    }

    /// The end: as [`DiskVolume::close`], whatever became of those who worked on it.
    ///
    /// # Errors
    /// Writing failed.
    pub fn close(&self) -> Result<()> {
        let mut volume = self.volume.write().unwrap_or_else(PoisonError::into_inner);
        volume.close()
    }
}
