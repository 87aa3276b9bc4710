//! What a run shows, between the first request that counts and the last one.

use hdrhistogram::Histogram;

use super::parts::Packet;
use super::plan::ReceivePlan;
use crate::event::{NS, Ps};

/// What a core's time went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Interrupt,
    Receive,
    Lock,
    Application,
}

/// Number of uses.
const USES: usize = 4;

/// How a request left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Answered,
    /// It found its ring full.
    Ring,
    /// Its queue was full.
    Queue,
    /// Its client was told that it is not served.
    Shed,
}

/// What a run showed. Shares are of the requests that came while it was measured.
#[derive(Clone, Debug)]
pub struct ReceiveOutcome {
    /// Answers per second.
    pub answers_per_s: f64,
    /// Answers per second that came in time.
    pub goodput_per_s: f64,
    /// From a request's arrival at the port to its answer's departure, ns.
    pub latency: Histogram<u64>,
    /// Mean of that, ns.
    pub mean_ns: f64,
    /// Share of requests that found their ring full.
    pub ring_drops: f64,
    /// Share of requests for which their queue had no room, or that made room.
    pub queue_drops: f64,
    /// Share of requests that were shed.
    pub shed: f64,
    /// Interrupts per request.
    pub interrupts_per_op: f64,
    /// Share of packets that came from memory instead of the cache.
    pub llc_misses: f64,
    /// Packets of the fullest ring over those of the mean one.
    pub imbalance: f64,
    /// Shares of all cores' time: interrupts, drivers and protocols, waiting for and holding locks,
    /// the application with its calls.
    pub times: [f64; USES],
    /// Simulated time, ns.
    pub simulated_ns: f64,
    /// Events of the whole run.
    pub events: u64,
    /// Requests that are neither answered nor dropped nor anywhere.
    pub vanished: u64,
}

/// What is counted while a run goes on.
pub(super) struct Tally {
    first: u64,
    last: u64,
    deadline: Ps,
    cores: usize,
    begun: Option<Ps>,
    came: u64,
    left: [u64; 4],
    left_ever: u64,
    in_time: u64,
    interrupts: u64,
    times: [Ps; USES],
    rings: Vec<u64>,
    sum_ns: f64,
    latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new(plan: &ReceivePlan, warm_up: u64) -> Self {
        Self {
            first: warm_up,
            last: warm_up + plan.ops,
            deadline: crate::event::ps(plan.deadline_ns),
            cores: plan.cores,
            begun: None,
            came: 0,
            left: [0; 4],
            left_ever: 0,
            in_time: 0,
            interrupts: 0,
            times: [0; USES],
            rings: vec![0; plan.rings],
            sum_ns: 0.0,
            latency: Histogram::new(3).expect("3 digits are allowed"),
        }
    }

    /// A request has come to a ring. Whether it is the last one.
    pub(super) fn on_arrival(&mut self, now: Ps, ring: usize) -> bool {
        if self.came == self.first {
            self.begun = Some(now);
        }
        self.came += 1;
        if self.begun.is_some() {
            self.rings[ring] += 1;
        }
        self.came >= self.last
    }

    /// Whether what happens counts.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// A request has left.
    pub(super) fn on_left(&mut self, how: Left) {
        self.left_ever += 1;
        if self.begun.is_some() {
            self.left[how as usize] += 1;
        }
    }

    /// A request is answered at this time.
    pub(super) fn on_answer(&mut self, packet: &Packet, end: Ps) {
        self.on_left(Left::Answered);
        if self.begun.is_some() {
            let latency = end.saturating_sub(packet.came);
            self.in_time += u64::from(latency <= self.deadline);
            self.sum_ns += latency as f64 / NS as f64;
            // It grows as it has to, so nothing is out of its range.
            let _ = self.latency.record(latency / NS);
        }
    }

    pub(super) fn on_interrupt(&mut self) {
        self.interrupts += u64::from(self.begun.is_some());
    }

    /// A core has used time, from `since` on.
    pub(super) fn on_time(&mut self, of: Use, time: Ps) {
        if self.begun.is_some() {
            self.times[of as usize] += time;
        }
    }

    /// Requests that have come and not left.
    pub(super) fn inside(&self) -> u64 {
        self.came - self.left_ever
    }

    /// What all of it shows; `inside` requests are in rings, queues and cores.
    pub(super) fn outcome(&self, now: Ps, events: u64, misses: [u64; 2]) -> ReceiveOutcome {
        let begun = self.begun.unwrap_or(now);
        let seconds = ((now - begun) as f64 / 1e12).max(1e-12);
        let came = self.rings.iter().sum::<u64>().max(1) as f64;
        let share = |how: Left| self.left[how as usize] as f64 / came;
        let answered = self.left[Left::Answered as usize] as f64;
        let most = self.rings.iter().copied().max().unwrap_or(0) as f64;
        let core_time = (self.cores as f64 * (now - begun) as f64).max(1.0);
        ReceiveOutcome {
            answers_per_s: answered / seconds,
            goodput_per_s: self.in_time as f64 / seconds,
            mean_ns: self.sum_ns / answered.max(1.0),
            latency: self.latency.clone(),
            ring_drops: share(Left::Ring),
            queue_drops: share(Left::Queue),
            shed: share(Left::Shed),
            interrupts_per_op: self.interrupts as f64 / came,
            llc_misses: misses[1] as f64 / misses[0].max(1) as f64,
            imbalance: most * self.rings.len() as f64 / came,
            times: self.times.map(|time| time as f64 / core_time),
            simulated_ns: now as f64 / NS as f64,
            events,
            vanished: 0,
        }
    }
}
