//! What a run showed, for programs and for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use super::Phase;
use crate::fabric::Fabric;
use crate::rc::Violations;
use crate::text::{group, list};

/// What a run showed.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
pub struct Outcome {
    /// Operations done.
    pub operations: u64,
    /// Operations that a client gave up, with their threads.
    pub given_up: u64,
    /// Simulated time of the operations, ns: from the first one's begin to the last one's end.
    pub duration_ns: u64,
    /// Operations per second of simulated time, on an ideal network of ideal adapters.
    pub throughput_ops_per_s: f64,
    /// Latencies by operation, ns.
    pub latency_ns: BTreeMap<&'static str, LatencyReport>,
    /// Share of operations whose first request of a kind was enough: `compare_swap` of updates or
    /// acquisitions, `read` of reads.
    pub first_try_success: BTreeMap<&'static str, f64>,
    /// What it showed under each policy, if the engine was switched.
    pub phases: Vec<Phase>,
    /// What the application counted.
    pub application: BTreeMap<&'static str, u64>,
    /// Superseded slots, if there are any.
    pub garbage: Option<Garbage>,
    /// What the engine counted, without zeros; empty without an engine.
    pub engine: BTreeMap<String, u64>,
    /// Queue pairs of the memory node that executed requests.
    pub server_qps_used: u64,
    /// Those that executed requests of others than their owners.
    pub server_qps_hosting: u64,
    /// Packets lost.
    pub lost: u64,
    /// Requests that adapters sent again.
    pub sent_again: u64,
    /// Broken rules, of the transport and of the application.
    pub violations: BTreeMap<&'static str, u64>,
    /// The first violation of each rule.
    pub problems: Vec<String>,
    /// Memory ended as the operations left it, and each answer was true.
    pub memory_ok: bool,
    /// Events of the simulation.
    pub events: u64,
    /// Real time that it took, seconds.
    pub wall_s: f64,
}

/// Superseded slots: what the metadata server was told of them, and what is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Garbage {
    /// Slots that have a successor.
    pub superseded: u64,
    /// Reports of a slot and its successor.
    pub reported: u64,
    /// Of these, pairs that do not follow each other.
    pub untrue: u64,
    /// Reports of a slot that was reported before.
    pub repeated: u64,
    /// Superseded slots that were never reported.
    pub unreported: u64,
    /// Slots that the metadata server took back.
    pub recycled: u64,
    /// Superseded slots that it never took back.
    pub leaked: u64,
}

/// Quantiles of latencies, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema, Serialize)]
pub struct LatencyReport {
    /// Operations.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90 % are no slower.
    pub p90: u64,
    /// 99 % are no slower.
    pub p99: u64,
    /// 99.9 % are no slower.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
}

/// The rule that everything ends.
pub(super) const NEVER_ENDED: &str = "O7";
/// Decimal digits of latencies that are kept.
const DIGITS: u8 = 3;

/// Latencies by operation.
#[derive(Default)]
pub struct Latencies {
    by_name: BTreeMap<&'static str, Histogram<u64>>,
}

impl Latencies {
    /// An operation took so long, ns.
    pub fn record(&mut self, name: &'static str, ns: u64) {
        let histogram = self.by_name.entry(name).or_insert_with(|| {
            let mut histogram =
                Histogram::new(DIGITS).expect("a histogram can keep so many digits");
            histogram.auto(true);
            histogram
        });
        // One that resizes itself takes any number.
        let _ = histogram.record(ns);
    }

    /// Their quantiles.
    #[must_use]
    pub fn report(&self) -> BTreeMap<&'static str, LatencyReport> {
        let of = |h: &Histogram<u64>| LatencyReport {
            count: h.len(),
            mean: h.mean(),
            p50: h.value_at_quantile(0.5),
            p90: h.value_at_quantile(0.9),
            p99: h.value_at_quantile(0.99),
            p999: h.value_at_quantile(0.999),
            max: h.max(),
        };
        self.by_name.iter().map(|(name, histogram)| (*name, of(histogram))).collect()
    }
}

impl Outcome {
    /// What the network has to say; `broken` is what the application's judge found.
    pub(super) fn of_network<A: Copy, N>(
        fabric: &Fabric<'_, A, N>,
        server: usize,
        broken: Violations,
    ) -> Self {
        let memory_ok = broken.iter().all(|(id, _)| id == NEVER_ENDED);
        let mut transport = fabric.violations();
        if fabric.given_up() > 0 || broken.count(NEVER_ENDED) > 0 {
            // Then there are requests without an answer, of course.
            transport.forget(NEVER_ENDED);
        }
        let mut all = broken;
        all.merge(&transport);
        let mut outcome = Self {
            server_qps_used: fabric.used(server),
            lost: fabric.lost(),
            sent_again: fabric.sent_again(),
            problems: all.to_string().lines().map(str::to_owned).collect(),
            violations: all.iter().map(|(id, violation)| (id, violation.count)).collect(),
            memory_ok,
            events: fabric.events(),
            ..Self::default()
        };
        if let Some((counters, qps)) = fabric.engine() {
            outcome.server_qps_hosting = qps.iter().filter(|qp| qp.hosted).count() as u64;
            let totals = counters.totals().map(|(name, n)| (name.to_owned(), n));
            let parts = [
                ("declined", counters.declined_by_name().collect::<Vec<_>>()),
                ("generated", counters.generated_by_name().collect()),
                ("dropped", counters.drops_by_name().collect()),
                ("kept", counters.kept_by_name().collect()),
            ];
            let parts = parts.into_iter().flat_map(|(kind, counts)| {
                counts.into_iter().map(move |(name, n)| (format!("{kind}_{name}"), n))
            });
            outcome.engine = totals.chain(parts).filter(|(_, n)| *n > 0).collect();
        }
        outcome
    }

    /// A rule does not hold in such a run.
    pub(super) fn forget(&mut self, rule: &'static str) {
        self.violations.remove(rule);
        self.problems.retain(|problem| !problem.starts_with(rule));
    }

    /// The time the operations took, and how many were done.
    pub(super) fn set_times(&mut self, operations: u64, begin: u64, end: u64) {
        self.operations = operations;
        self.duration_ns = end.saturating_sub(begin);
        if self.duration_ns > 0 {
            self.throughput_ops_per_s = operations as f64 * 1e9 / self.duration_ns as f64;
        }
    }

    /// How many of a kind there were, and how many of them succeeded at once.
    pub(super) fn set_first_tries(&mut self, name: &'static str, (first, all): (u64, u64)) {
        if all > 0 {
            self.first_try_success.insert(name, first as f64 / all as f64);
        }
    }

    /// Whether every check passed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.memory_ok && self.given_up == 0
    }

    /// The report for people.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<22} {value}");
        };
        let given_up = match self.given_up {
            0 => String::new(),
            n => format!(", {} GIVEN UP", group(n)),
        };
        let (operations, ms) = (group(self.operations), self.duration_ns as f64 / 1e6);
        line("operations", format!("{operations} in {ms:.3} ms of simulated time{given_up}"));
        let rate = group(self.throughput_ops_per_s as u64);
        line("throughput", format!("{rate} per second (ideal network, ideal adapters)"));
        for (name, l) in &self.latency_ns {
            let [p50, p90, p99, p999] = [l.p50, l.p90, l.p99, l.p999].map(group);
            let text = format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999} ns");
            line(&format!("latency of {name}"), text);
        }
        for (name, share) in &self.first_try_success {
            line(&format!("first {name} enough"), format!("{:.2} %", 100.0 * share));
        }
        for phase in &self.phases {
            line("phase", phase.render_text());
        }
        line("application", list(&self.application));
        if let Some(garbage) = &self.garbage {
            line("superseded slots", garbage.render_text());
        }
        let (used, hosting) = (self.server_qps_used, self.server_qps_hosting);
        line("server queue pairs", format!("{used} used, {hosting} hosting"));
        if !self.engine.is_empty() {
            line("engine", list(&self.engine));
        }
        if self.lost + self.sent_again > 0 {
            let (lost, again) = (group(self.lost), group(self.sent_again));
            line("lost", format!("{lost} packets; clients sent {again} again"));
        }
        line("violations", list(&self.violations));
        let right = "right: every answer, and what is there at the end";
        line("memory", if self.memory_ok { right } else { "WRONG" }.to_owned());
        for problem in &self.problems {
            let _ = writeln!(text, "  {problem}");
        }
        text
    }
}

impl Phase {
    fn render_text(&self) -> String {
        let (operations, rate) = (group(self.operations), self.throughput_ops_per_s as u64);
        let mut text = format!("{}: {operations} at {} per second", self.policy, group(rate));
        for (name, share) in &self.first_try_success {
            let _ = write!(text, ", first {name} enough {:.2} %", 100.0 * share);
        }
        text
    }
}

impl Garbage {
    fn render_text(&self) -> String {
        let all = [
            (self.superseded, ""),
            (self.reported, "reported"),
            (self.untrue, "with a wrong successor"),
            (self.repeated, "twice"),
            (self.unreported, "not reported"),
            (self.recycled, "taken back"),
            (self.leaked, "never"),
        ];
        let each = all.map(|(n, what)| format!("{} {what}", group(n)).trim_end().to_owned());
        each.join(", ")
    }
}
