//! Whether nothing comes in any more, to any worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Of all workers together: what one has at rest may still come from another.
#[derive(Clone, Debug)]
pub(super) struct Idle {
    most: Option<Duration>,
    from: Instant,
    /// When something came in last, in nanoseconds since then.
    last_ns: Arc<AtomicU64>,
}

impl Idle {
    pub(super) fn new(most: Option<Duration>) -> Idle {
        Idle { most, from: Instant::now(), last_ns: Arc::default() }
    }

    /// How long it may be.
    pub(super) fn most(&self) -> Option<Duration> {
        self.most
    }

    /// Whether it is time to stop. Nothing is shared unless somebody has asked for it.
    pub(super) fn is_over(&self, any: bool) -> bool {
        let Some(most) = self.most else { return false };
        let now = u64::try_from(self.from.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if any {
            self.last_ns.fetch_max(now, Ordering::Relaxed);
        }
        let since = now.saturating_sub(self.last_ns.load(Ordering::Relaxed));
        Duration::from_nanos(since) >= most
    }
}
