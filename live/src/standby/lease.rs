//! How long a speaker may still speak.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since the machine was started, in nanoseconds, also while it was suspended: a machine that
/// wakes up must find its lease over.
#[must_use]
pub(super) fn now() -> u64 {
    // Without a clock nothing may be said any more.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    time.map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// The end of a lease, as all threads of a speaker see it.
#[derive(Debug, Default)]
pub(super) struct Lease {
    until: AtomicU64,
    over: AtomicBool,
}

impl Lease {
    /// It lasts until then, if not for longer already, and if it is not over for good.
    pub(super) fn extend(&self, until: u64) {
        self.until.fetch_max(until, Ordering::AcqRel);
    }

    /// It is over, and cannot be extended any more.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Whether it has ended for good.
    #[must_use]
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Whether it lasts.
    #[must_use]
    pub(super) fn lasts(&self) -> bool {
        !self.is_over() && now() < self.until.load(Ordering::Acquire)
    }
}

/// The error of what needs a lease that is over.
#[must_use]
pub fn over() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the standby has not confirmed in time")
}
