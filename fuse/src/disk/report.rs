// SPDX-License-Identifier: Apache-2.0
//! What happens when a check or the device fails: the message, the record, and `errors=` (section 3).

use super::error::Error;
use super::state::ErrorRecord;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What follows a failure: `errors=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// No further changes are accepted.
    #[default]
    RemountRo,
    /// Only the operation fails.
    Continue,
    /// The `fatal` function of the options is called; no further changes are accepted.
    Panic,
}

/// Messages within a window of time; the first of a window is never lost.
const BURST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(5);
/// Records kept for the next commit: the first, and the last ones.
const RECORDS: usize = 16;

/// Takes failures in from any thread.
pub(super) struct Reporter {
    device: String,
    policy: ErrorPolicy,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    log: Arc<dyn Fn(&str) + Send + Sync>,
    fatal: Arc<dyn Fn() + Send + Sync>,
    is_stopped: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    records: Vec<ErrorRecord>,
    window: Option<Instant>,
    shown: u32,
}

impl Reporter {
    pub(super) fn new(device: &str, options: &super::store::OpenOptions) -> Reporter {
        Reporter {
            device: device.to_owned(),
            policy: options.errors,
            clock: options.clock.clone(),
            log: options.log.clone(),
            fatal: options.fatal.clone(),
            is_stopped: AtomicBool::new(false),
            inner: Mutex::default(),
        }
    }

    /// Whether a failure has ended writing.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Log, note for the state block, and follow the policy. Errors of callers are none of ours.
    pub(super) fn report(&self, error: &Error) {
        let record = match error {
            Error::Corrupt(c) => {
                self.record(c.block.unwrap_or(0), c.ino, error.errno(), c.kind.name())
            }
            Error::Device(d) => self.record(d.block.unwrap_or(0), d.ino, d.errno, d.kind.name()),
            _ => return,
        };
        let is_shown = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.records.len() >= RECORDS {
                inner.records.remove(1);
            }
            inner.records.push(record);
            if inner.window.is_none_or(|start| start.elapsed() > WINDOW) {
                (inner.window, inner.shown) = (Some(Instant::now()), 0);
            }
            inner.shown += 1;
            inner.shown <= BURST
        };
        if is_shown {
            self.say(&error.to_string());
        }
        if self.policy != ErrorPolicy::Continue && !self.is_stopped.swap(true, Ordering::AcqRel) {
            self.say("no further changes are accepted");
            if self.policy == ErrorPolicy::Panic {
                (self.fatal)();
            }
        }
    }

    /// Log a line.
    pub(super) fn say(&self, text: &str) {
        (self.log)(&format!("vexfs ({}): {text}", self.device));
    }

    fn record(&self, block: u64, ino: Option<u32>, errno: i32, place: &str) -> ErrorRecord {
        let (time, ino) = ((self.clock)(), ino.unwrap_or(0));
        ErrorRecord {
            time,
            block,
            ino,
            errno: errno.unsigned_abs(),
            place: place.to_owned(),
        }
    }

    /// Whether there are records that [`Reporter::take`] would give.
    pub(super) fn has_records(&self) -> bool {
        !self
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .records
            .is_empty()
    }

    /// The records since the last time, oldest first.
    pub(super) fn take(&self) -> Vec<ErrorRecord> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut inner.records)
    }
}
