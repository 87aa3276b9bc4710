//! How fast a queue pair may send: DCQCN's reaction point (after Zhu et al., SIGCOMM 2015).
//!
//! A notification cuts the rate by the estimate of congestion. Then timer and byte counter raise
//! it: first half the way back to the rate before, `recovery_count` times; then the target itself
//! rises, by a step, and by ever more once both are beyond that. What timers do is caught up with
//! when a packet or a notification comes: nothing else reads the rate.

use super::Network;
use crate::event::{NS, Ps};

/// Share of the line's rate from which a queue pair is not held back any more: halving the way
/// never arrives.
const FREE_SHARE: f64 = 0.999;

/// A queue pair's rate. Rates are in Gbit/s, which are bits per ns.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    network: Network,
    line: f64,
    current: f64,
    target: f64,
    /// The estimate of congestion, from 0 to 1.
    alpha: f64,
    is_limited: bool,
    alpha_since: Ps,
    timer_since: Ps,
    timer_rises: u32,
    counter: f64,
    counter_rises: u32,
    /// When the next packet may begin.
    next: Ps,
}

fn period(ns: f64) -> Ps {
    (ns * NS as f64).max(1.0) as Ps
}

impl Rate {
    /// Of a queue pair that nobody has complained of: that of the line.
    pub(crate) fn new(network: &Network, line_gbps: f64) -> Self {
        Self {
            network: network.clone(),
            line: line_gbps,
            current: line_gbps,
            target: line_gbps,
            alpha: 1.0,
            is_limited: false,
            alpha_since: 0,
            timer_since: 0,
            timer_rises: 0,
            counter: 0.0,
            counter_rises: 0,
            next: 0,
        }
    }

    /// A notification comes.
    pub(crate) fn notify(&mut self, now: Ps) {
        self.catch_up(now);
        let gain = self.network.alpha_gain_share;
        self.is_limited = true;
        self.target = self.current;
        self.current *= 1.0 - self.alpha / 2.0;
        self.current = self.current.max(self.network.least_gbps.min(self.line));
        self.alpha = (1.0 - gain) * self.alpha + gain;
        (self.alpha_since, self.timer_since) = (now, now);
        (self.timer_rises, self.counter_rises, self.counter) = (0, 0, 0.0);
    }

    /// When a packet of so many bytes that is ready at `ready` may begin; the next one is held
    /// back accordingly.
    pub(crate) fn admit(&mut self, now: Ps, ready: Ps, bytes: f64) -> Ps {
        self.catch_up(now);
        if !self.is_limited {
            return ready;
        }
        let begins = ready.max(self.next);
        self.next = begins + (bytes * 8.0 / self.current * NS as f64) as Ps;
        self.counter += bytes;
        while self.counter >= self.network.rate_counter_bytes {
            self.counter -= self.network.rate_counter_bytes;
            self.counter_rises += 1;
            self.rise();
        }
        begins
    }

    /// When the next packet may begin.
    pub(crate) fn next(&self) -> Ps {
        self.next
    }

    /// Does what timers have done since.
    fn catch_up(&mut self, now: Ps) {
        let alpha_timer = period(self.network.alpha_timer_ns);
        let periods = now.saturating_sub(self.alpha_since) / alpha_timer;
        self.alpha_since += periods * alpha_timer;
        self.alpha *= libm::pow(1.0 - self.network.alpha_gain_share, periods as f64);
        let timer = period(self.network.rate_timer_ns);
        while self.is_limited && now.saturating_sub(self.timer_since) >= timer {
            self.timer_since += timer;
            self.timer_rises += 1;
            self.rise();
        }
    }

    fn rise(&mut self) {
        let rounds = [self.timer_rises, self.counter_rises].map(f64::from);
        let recovery = self.network.recovery_count;
        let (least, most) = (rounds[0].min(rounds[1]), rounds[0].max(rounds[1]));
        if least > recovery {
            self.target += (least - recovery) * self.network.hyper_gbps;
        } else if most >= recovery {
            self.target += self.network.additive_gbps;
        }
        self.target = self.target.min(self.line);
        self.current = f64::midpoint(self.current, self.target);
        if self.current >= FREE_SHARE * self.line {
            (self.current, self.is_limited) = (self.line, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NS, Network, Rate};

    const TIMER: u64 = 55_000 * NS;

    fn rate() -> Rate {
        Rate::new(&Network::default(), 100.0)
    }

    #[test]
    fn nobody_is_held_back_before_the_first_notification() {
        let mut rate = rate();
        assert_eq!(rate.admit(0, 7, 1e6), 7);
        assert_eq!(rate.admit(0, 7, 1e6), 7);
    }

    #[test]
    fn the_first_notification_halves_and_recovery_halves_the_way_back() {
        let mut rate = rate();
        rate.notify(0);
        assert_eq!((rate.current, rate.target), (50.0, 100.0));
        rate.catch_up(TIMER - 1);
        assert_eq!(rate.current, 50.0);
        rate.catch_up(TIMER);
        assert_eq!(rate.current, 75.0);
        rate.catch_up(4 * TIMER);
        assert_eq!(rate.current, 96.875);
        // 1,000 bytes at that rate.
        assert_eq!(rate.admit(4 * TIMER, 0, 1_000.0), 0);
        assert_eq!(rate.next(), (8_000.0 / 96.875 * 1e3) as u64);
    }

    #[test]
    fn alpha_rises_with_notifications_and_falls_without() {
        let mut rate = rate();
        for _ in 0..3 {
            rate.notify(0);
        }
        assert_eq!((rate.alpha, rate.current), (1.0, 12.5));
        rate.catch_up(2 * TIMER);
        assert!((rate.alpha - (255.0f64 / 256.0).powi(2)).abs() < 1e-12);
        let before = rate.alpha;
        rate.notify(2 * TIMER);
        assert!((rate.alpha - (before * 255.0 + 1.0) / 256.0).abs() < 1e-12);
    }

    #[test]
    fn beyond_recovery_the_target_rises_by_steps_and_then_by_more() {
        let mut rate = rate();
        (0..4).for_each(|_| rate.notify(0));
        let target = rate.target;
        rate.catch_up(4 * TIMER);
        assert_eq!(rate.target, target);
        rate.catch_up(7 * TIMER);
        assert!((rate.target - target - 3.0 * 0.04).abs() < 1e-9, "{}", rate.target);
        // The counter comes as far as the timer: 6 rounds of both are beyond 5.
        for _ in 0..5 {
            rate.admit(7 * TIMER, 0, 1e7);
        }
        let before = rate.target;
        rate.admit(7 * TIMER, 0, 1e7);
        assert!((rate.target - before - 0.4).abs() < 1e-9, "{}", rate.target - before);
    }

    #[test]
    fn a_rate_is_never_below_the_least_and_comes_back_to_the_line() {
        let mut rate = rate();
        (0..100).for_each(|_| rate.notify(0));
        assert_eq!(rate.current, 0.1);
        rate.catch_up(10_000 * TIMER);
        assert!(!rate.is_limited);
        assert_eq!(rate.current, 100.0);
    }
}
