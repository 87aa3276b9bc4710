//! Frames through a core that keeps records of them: what that costs, and what is not kept yet.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use super::plan::{Keep, RecoveryPlan};
use crate::dice::Dice;

/// Streams of chance.
const GAPS: u64 = 1;
const CONNECTIONS: u64 = 2;
const LOOKING: u64 = 4;
/// Times at which it is looked at what a crash would lose, about.
const LOOKS: f64 = 1_000.0;

/// What the frames of a run have shown.
#[derive(Clone, Debug)]
pub struct StreamOutcome {
    /// Frames that left per second.
    pub frames_per_s: f64,
    /// From a frame's arrival until it, or what it became, leaves, ns.
    pub latency: Histogram<u64>,
    /// Mean of that, ns.
    pub mean_ns: f64,
    /// Frames that found no room.
    pub dropped: u64,
    /// Bytes of records per second.
    pub log_bytes_per_s: f64,
    /// Records whose frames have left and that a crash would lose, on average over time.
    pub lost_records: f64,
    /// Connections that have such records.
    pub lost_connections: f64,
    /// Simulated time, ns.
    pub simulated_ns: f64,
    /// Frames.
    pub frames: u64,
    /// Frames that have neither left nor been dropped.
    pub vanished: u64,
}

/// A burst whose records are not safe yet. Times in ns.
#[derive(Clone, Debug)]
struct Burst {
    /// When its frames left.
    left: f64,
    /// When its records are safe.
    safe: f64,
    /// The connections of its frames.
    connections: Vec<u32>,
}

/// The disk, which is flushed at intervals.
#[derive(Debug, Default)]
struct Disk {
    /// Bytes that are to be flushed next, and the time at which that begins.
    next: Option<(f64, f64)>,
    free: f64,
}

impl Disk {
    /// When bytes that are appended at `time` are on the disk. Calls come in the order of time.
    fn append(&mut self, time: f64, bytes: f64, plan: &RecoveryPlan) -> f64 {
        let costs = &plan.costs;
        let end = |(begin, bytes): (f64, f64)| begin + costs.sync_ns + bytes * costs.sync_byte_ns;
        if let Some(next) = self.next.filter(|(begin, _)| *begin <= time) {
            self.free = end(next);
            self.next = None;
        }
        let tick = (time / plan.flush_ns).floor() + 1.0;
        let begin = (tick * plan.flush_ns).max(self.free);
        let (begin, before) = self.next.unwrap_or((begin, 0.0));
        self.next = Some((begin, before + bytes));
        // What is still to come into this flush makes it longer; the disk is so fast that nobody
        // waits for that.
        end((begin, before + bytes))
    }
}

/// The link to another host.
#[derive(Debug, Default)]
struct Link {
    free: f64,
    /// Bytes on their way, and when they are confirmed.
    open: VecDeque<(f64, f64)>,
}

impl Link {
    /// When records that are sent at `time` are confirmed.
    fn ship(&mut self, time: f64, bytes: f64, plan: &RecoveryPlan) -> f64 {
        self.free = self.free.max(time) + bytes * 8.0 / plan.costs.standby_gbps;
        let confirmed = self.free + plan.costs.standby_rtt_ns;
        self.open.push_back((confirmed, bytes));
        confirmed
    }

    /// When no more than so many bytes are without a confirmation.
    fn within(&mut self, time: f64, bytes: f64) -> f64 {
        while self.open.front().is_some_and(|(confirmed, _)| *confirmed <= time) {
            self.open.pop_front();
        }
        let mut rest: f64 = self.open.iter().map(|(_, bytes)| bytes).sum();
        let mut when = time;
        for (confirmed, freed) in &self.open {
            if rest <= bytes {
                break;
            }
            rest -= freed;
            when = *confirmed;
        }
        when
    }
}

/// The run.
pub(super) struct Stream<'a> {
    plan: &'a RecoveryPlan,
    seed: u64,
    gaps: Dice,
    connections: Dice,
    /// When the next frame comes, and how many have.
    next: f64,
    came: u64,
    ring: VecDeque<f64>,
    disk: Disk,
    link: Link,
    unsafe_bursts: VecDeque<Burst>,
    left: u64,
    last_left: f64,
    dropped: u64,
    sum_ns: f64,
    latency: Histogram<u64>,
    looks: u64,
    lost: [f64; 2],
    /// By connection: the last look at which it was seen.
    seen: Vec<u64>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(plan: &'a RecoveryPlan, seed: u64) -> Self {
        let mut gaps = Dice::new(seed, GAPS, 0);
        Self {
            next: gaps.exponential(1e9 / plan.offered_per_s),
            gaps,
            seed,
            connections: Dice::new(seed, CONNECTIONS, 0),
            came: 0,
            ring: VecDeque::new(),
            disk: Disk::default(),
            link: Link::default(),
            unsafe_bursts: VecDeque::new(),
            left: 0,
            last_left: 0.0,
            dropped: 0,
            sum_ns: 0.0,
            latency: Histogram::new(3).expect("3 digits are allowed"),
            looks: 0,
            lost: [0.0; 2],
            seen: vec![0; plan.connections as usize],
            plan,
        }
    }

    pub(super) fn run(mut self, progress: &mut dyn FnMut(u64)) -> StreamOutcome {
        let (mut free, mut bursts) = (0.0, 0u64);
        // Crashes come at any time: looks at equal distances would be in step with flushes.
        let mut looking = Dice::new(self.seed, LOOKING, 0);
        let every = self.plan.ops as f64 / LOOKS;
        let mut look_at = looking.exponential(every);
        while self.came < self.plan.ops || !self.ring.is_empty() {
            self.take_in(free);
            let Some(first) = self.ring.front() else { break };
            let begin = f64::max(free, *first);
            self.take_in(begin);
            free = self.burst(begin);
            bursts += 1;
            if self.came as f64 >= look_at {
                look_at = self.came as f64 + looking.exponential(every);
                self.look(free);
            }
            if bursts.is_multiple_of(1_024) {
                progress(self.came);
            }
        }
        self.outcome(free)
    }

    /// Takes in what has come until `time`, and the next frame if there is nothing else.
    fn take_in(&mut self, time: f64) {
        while self.came < self.plan.ops && (self.next <= time || self.ring.is_empty()) {
            self.came += 1;
            if self.ring.len() as f64 >= self.plan.costs.ring_count {
                self.dropped += 1;
            } else {
                self.ring.push_back(self.next);
            }
            self.next += self.gaps.exponential(1e9 / self.plan.offered_per_s);
        }
    }

    /// Handles what is there, up to a burst. When the core is free again.
    fn burst(&mut self, begin: f64) -> f64 {
        let costs = &self.plan.costs;
        let count = self.ring.len().min(costs.burst_count as usize);
        let frames: Vec<f64> = self.ring.drain(..count).collect();
        let bytes = count as f64 * costs.record_bytes;
        let work = begin + count as f64 * costs.frame_ns;
        let appended = work + costs.append_ns + bytes * costs.append_byte_ns;
        let (free, left, safe) = match self.plan.keep {
            Keep::Nothing => (work, work, f64::INFINITY),
            Keep::Mapped => (appended, appended, appended),
            Keep::Write => {
                let written = work + costs.write_ns + bytes * costs.write_byte_ns;
                (written, written, written)
            }
            Keep::Sync => {
                let synced = appended + costs.sync_ns + bytes * costs.sync_byte_ns;
                (synced, synced, synced)
            }
            Keep::Group => {
                let safe = self.disk.append(appended, bytes, self.plan);
                (appended, safe, safe)
            }
            Keep::Behind => (appended, appended, self.disk.append(appended, bytes, self.plan)),
            Keep::Standby => {
                let shipped = appended + costs.ship_ns;
                let safe = self.link.ship(shipped, bytes, self.plan);
                (shipped, safe, safe)
            }
            Keep::Lag => {
                let shipped = appended + costs.ship_ns;
                let safe = self.link.ship(shipped, bytes, self.plan);
                (shipped, self.link.within(shipped, self.plan.lag_bytes as f64), safe)
            }
        };
        // Frames leave in their order.
        let left = left.max(self.last_left);
        self.last_left = left;
        self.leave(&frames, left, safe);
        free
    }

    fn leave(&mut self, frames: &[f64], left: f64, safe: f64) {
        for came in frames {
            self.left += 1;
            self.sum_ns += left - came;
            // It grows as it has to, so nothing is out of its range.
            let _ = self.latency.record((left - came).round() as u64);
        }
        if safe > left && self.plan.keep != Keep::Nothing {
            let below = self.plan.connections;
            let each = frames.iter().map(|_| self.connections.below(below) as u32);
            let connections = each.collect();
            self.unsafe_bursts.push_back(Burst { left, safe, connections });
        }
    }

    /// What a crash now would lose.
    fn look(&mut self, now: f64) {
        self.looks += 1;
        if self.plan.keep == Keep::Nothing {
            self.lost[1] += self.plan.connections as f64;
            return;
        }
        while self.unsafe_bursts.front().is_some_and(|burst| burst.safe <= now) {
            self.unsafe_bursts.pop_front();
        }
        for burst in self.unsafe_bursts.iter().filter(|burst| burst.left <= now) {
            let frames = burst.connections.len() as f64;
            self.lost[0] += frames * self.plan.costs.records_count;
            for connection in &burst.connections {
                let seen = &mut self.seen[*connection as usize];
                self.lost[1] += if *seen == self.looks { 0.0 } else { 1.0 };
                *seen = self.looks;
            }
        }
    }

    fn outcome(self, free: f64) -> StreamOutcome {
        let seconds = (free.max(self.last_left) / 1e9).max(1e-12);
        let left = self.left as f64;
        let [records, connections] = self.lost.map(|lost| lost / self.looks.max(1) as f64);
        let bytes =
            if self.plan.keep == Keep::Nothing { 0.0 } else { self.plan.costs.record_bytes };
        StreamOutcome {
            frames_per_s: left / seconds,
            mean_ns: self.sum_ns / left.max(1.0),
            latency: self.latency,
            dropped: self.dropped,
            log_bytes_per_s: left / seconds * bytes,
            lost_records: records,
            lost_connections: connections,
            simulated_ns: seconds * 1e9,
            frames: self.came,
            vanished: self.came - self.left - self.dropped,
        }
    }
}
