//! The only place where a shim reads clocks.

use crate::task::event::Now;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Counts from the start of its process.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn now(&self) -> Now {
        Now { mono_ms: self.mono_ms(), wall_ms: wall_ns() / 1_000_000 }
    }

    pub(super) fn mono_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Nanoseconds since the epoch, 0 before it.
pub(super) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
