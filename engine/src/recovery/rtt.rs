//! How long a server queue pair takes to answer, and how long to wait for it therefore.
//!
//! The timeouts of the clients are not on the wire. The engine's own must be well below them, so
//! it follows the answers that it sees, between a configured floor and a configured cap.

use crate::time::Nanos;
use crate::wire::ServerPsn;

/// Smoothed time between a request and its answer (the estimator of RFC 6298, section 2).
#[derive(Clone, Copy, Default)]
pub(crate) struct RoundTrip {
    smoothed_ns: u64,
    variation_ns: u64,
    /// The request that is measured, and when it was sent.
    measured: Option<(ServerPsn, Nanos)>,
    /// Timeouts since an answer was measured.
    unmeasured: u32,
}

/// Doublings that outlast progress, at most: 64 ms with the usual floor, well under the patience of
/// clients, and far enough to measure answers that take as long.
const KEPT_MAX: u32 = 4;

impl RoundTrip {
    /// A request is sent for the first time. One is measured at a time.
    #[inline]
    pub(crate) fn on_sent(&mut self, psn: ServerPsn, now: Nanos) {
        self.measured.get_or_insert((psn, now));
    }

    /// Something is sent again: an answer would not say to which of the two (Karn and Partridge,
    /// SIGCOMM'87).
    pub(crate) fn on_repair(&mut self) {
        self.measured = None;
    }

    /// The timer ran out. Until an answer is measured the next one waits longer, also if there is
    /// progress meanwhile (RFC 6298, 5.5 and 5.7). Where answers suddenly take longer than the
    /// timer, everything is sent again before it is answered, so nothing would ever be measured.
    pub(crate) fn on_timeout(&mut self) {
        self.unmeasured = KEPT_MAX.min(self.unmeasured + 1);
    }

    /// A request is complete.
    #[inline]
    pub(crate) fn on_answered(&mut self, psn: ServerPsn, now: Nanos) {
        let Some((_, sent)) = self.measured.take_if(|(measured, _)| *measured == psn) else {
            return;
        };
        self.unmeasured = 0;
        let sample = now.0.saturating_sub(sent.0);
        if self.smoothed_ns == 0 {
            (self.smoothed_ns, self.variation_ns) = (sample.max(1), sample / 2);
            return;
        }
        let error = self.smoothed_ns.abs_diff(sample);
        self.variation_ns = self.variation_ns - self.variation_ns / 4 + error / 4;
        self.smoothed_ns = (self.smoothed_ns - self.smoothed_ns / 8 + sample / 8).max(1);
    }

    /// Time to wait for an answer, in nanoseconds, after so many timeouts without any progress: a
    /// busy responder is not helped by hearing the same ever more often.
    #[inline]
    pub(crate) fn timeout_ns(&self, floor_ns: u64, cap_ns: u64, retries: u32) -> u64 {
        let wanted = self.smoothed_ns.saturating_add(self.variation_ns.saturating_mul(4));
        let doubled =
            wanted.max(floor_ns).saturating_mul(1 << retries.max(self.unmeasured).min(20));
        doubled.min(cap_ns.max(floor_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(times_ns: &[u64]) -> RoundTrip {
        let mut estimate = RoundTrip::default();
        for (i, time) in (0..).zip(times_ns) {
            let (psn, sent) = (ServerPsn::new(i), Nanos(1_000_000 * u64::from(i)));
            estimate.on_sent(psn, sent);
            estimate.on_answered(psn, Nanos(sent.0 + time));
        }
        estimate
    }

    #[test]
    fn the_timeout_follows_the_answers_between_floor_and_cap() {
        assert_eq!(RoundTrip::default().timeout_ns(5, 100, 0), 5);
        let steady = answered(&[1000; 50]).timeout_ns(5, 1 << 40, 0);
        assert!((1000..1100).contains(&steady), "{steady}");
        let unsteady = answered(&[1000, 9000].repeat(25)).timeout_ns(5, 1 << 40, 0);
        assert!((9000..40_000).contains(&unsteady), "{unsteady}");
        assert_eq!(answered(&[1000; 50]).timeout_ns(5000, 100_000, 0), 5000);
        assert_eq!(answered(&[1000; 50]).timeout_ns(5000, 100_000, 3), 40_000);
        assert_eq!(answered(&[1000; 50]).timeout_ns(5000, 100_000, 60), 100_000);
    }

    #[test]
    fn answers_that_suddenly_take_longer_than_the_timer_are_measured_all_the_same() {
        let (floor, cap, takes) = (4_000_000, 256_000_000, 20_000_000);
        let mut estimate = answered(&[10_000; 50]);
        let mut now = Nanos(1 << 40);
        let mut timeouts = 0;
        for psn in (100..).take(20).map(ServerPsn::new) {
            estimate.on_sent(psn, now);
            let answered = now.after(takes);
            let mut deadline = now.after(estimate.timeout_ns(floor, cap, 0));
            for retries in 1.. {
                if deadline >= answered {
                    break;
                }
                timeouts += 1;
                estimate.on_timeout();
                estimate.on_repair();
                deadline = deadline.after(estimate.timeout_ns(floor, cap, retries));
            }
            estimate.on_answered(psn, answered);
            now = answered;
        }
        assert!(timeouts <= 4, "{timeouts}");
        let timeout = estimate.timeout_ns(floor, cap, 0);
        assert!((takes..3 * takes).contains(&timeout), "{timeout}");
    }

    #[test]
    fn what_was_sent_twice_says_nothing() {
        let mut estimate = answered(&[1000; 50]);
        let before = estimate.timeout_ns(5, 1 << 40, 0);
        estimate.on_sent(ServerPsn::new(7), Nanos(0));
        estimate.on_repair();
        estimate.on_answered(ServerPsn::new(7), Nanos(1 << 30));
        assert_eq!(estimate.timeout_ns(5, 1 << 40, 0), before);
    }
}
