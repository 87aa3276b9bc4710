//! What a run shows: between the end of its warm-up and its last operation.

use hdrhistogram::Histogram;
use qpmux_workloads::clover::MachineStats;

use super::load::{Current, KINDS};
use super::plan::StorePlan;
use super::world::{Asker, Notice};
use crate::cluster::{BoxCounts, Cluster, RecordCounts};
use crate::event::{NS, Ps};

/// What had happened at some time.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    time: Ps,
    stats: MachineStats,
    frames: BoxCounts,
}

/// What is counted while a run goes on.
pub(super) struct Tally {
    warm_up: u64,
    ops: u64,
    done: u64,
    begin: Mark,
    end: Mark,
    latencies: [Histogram<u64>; KINDS.len()],
    again: [u64; KINDS.len()],
}

/// Latencies of one kind of operation.
#[derive(Clone, Debug)]
pub struct KindOutcome {
    /// `read`, `update`, `insert`, `scan` or `read_modify_write`.
    pub kind: &'static str,
    /// Latencies, ns.
    pub latency: Histogram<u64>,
    /// Operations that took more than one try.
    pub again: u64,
}

/// What the measured part of a run showed.
#[derive(Clone, Debug)]
pub struct StoreOutcome {
    /// Operations per second.
    pub ops_per_s: f64,
    /// By kind of operation, those that happened.
    pub kinds: Vec<KindOutcome>,
    /// Bytes of IP packets that the middlebox received per operation; 0 without one.
    pub bytes_per_op: f64,
    /// Share of request packets, of the whole run, that were the next of their queue pair.
    pub in_sequence: f64,
    /// COMPARE_SWAPs that appended, per operation.
    pub commits_per_op: f64,
    /// COMPARE_SWAPs that found another value, of all.
    pub lost_commits: f64,
    /// Slots looked at because the one before was superseded, per operation.
    pub hops_per_op: f64,
    /// Requests to the metadata server per operation.
    pub metadata_per_op: f64,
    /// Simulated time, ns.
    pub simulated_ns: u64,
    /// Events of the whole run.
    pub events: u64,
    /// Equal for equal runs.
    pub run_hash: u64,
    /// Rules of the transport that were broken, and records that are none.
    pub violations: u64,
    /// What the engine recorded in the whole run, and the frames that came meanwhile.
    pub recorded: Option<(RecordCounts, u64)>,
}

impl Tally {
    pub(super) fn new(plan: &StorePlan) -> Self {
        let empty = || Histogram::new(3).expect("3 digits are allowed");
        Self {
            warm_up: plan.warm_up,
            ops: plan.ops,
            done: 0,
            begin: Mark::default(),
            end: Mark::default(),
            latencies: KINDS.map(|_| empty()),
            again: [0; KINDS.len()],
        }
    }

    /// Operations so far.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    pub(super) fn is_over(&self) -> bool {
        self.done >= self.warm_up + self.ops
    }

    /// An operation has ended.
    pub(super) fn add(
        &mut self,
        cluster: &Cluster<Asker, Notice>,
        current: &Current,
        stats: impl Fn() -> MachineStats,
    ) {
        self.done += 1;
        let time = cluster.now();
        if self.done > self.warm_up {
            // It grows as needed: there is no greatest value that it refuses.
            let _ = self.latencies[current.kind].record(((time - current.began) / NS).max(1));
            self.again[current.kind] += u64::from(current.again);
        }
        let mark =
            || Mark { time, stats: stats(), frames: cluster.box_counts().unwrap_or_default() };
        if self.done == self.warm_up {
            self.begin = mark();
        }
        if self.is_over() {
            self.end = mark();
        }
    }

    pub(super) fn outcome(self, cluster: &Cluster<Asker, Notice>) -> StoreOutcome {
        /// Ethernet's header, which is not part of an IP packet.
        const ETHERNET: u64 = 14;
        let Self { begin, end, .. } = self;
        let per_op = |count: u64| count as f64 / self.ops as f64;
        let frames = end.frames.received - begin.frames.received;
        let bytes = end.frames.received_bytes - begin.frames.received_bytes;
        let commits = end.stats.commits - begin.stats.commits;
        let lost = end.stats.commits_lost - begin.stats.commits_lost;
        let kinds = KINDS.into_iter().zip(self.latencies).zip(self.again);
        let kinds = kinds.map(|((kind, latency), again)| KindOutcome { kind, latency, again });
        let all_frames = cluster.box_counts().unwrap_or_default().received;
        let recorded = cluster.recorded().map(|counts| (counts, all_frames));
        let wrong = recorded.map_or(0, |(counts, _)| counts.wrong);
        StoreOutcome {
            ops_per_s: self.ops as f64 / ((end.time - begin.time).max(1) as f64 * 1e-12),
            kinds: kinds.filter(|kind| !kind.latency.is_empty()).collect(),
            bytes_per_op: per_op(bytes - ETHERNET * frames),
            in_sequence: cluster.in_sequence(),
            commits_per_op: per_op(commits),
            lost_commits: lost as f64 / (commits + lost).max(1) as f64,
            hops_per_op: per_op(end.stats.hops - begin.stats.hops),
            metadata_per_op: per_op(end.stats.requests - begin.stats.requests),
            simulated_ns: (end.time - begin.time) / NS,
            events: cluster.events(),
            run_hash: cluster.run_hash(),
            violations: cluster.violations().total() + wrong,
            recorded,
        }
    }
}
