//! What a run showed, by name: the same names, whatever ran.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::apps;
use crate::receive_path::ReceiveOutcome;
use crate::recovery::RecoveryOutcome;
use crate::store::{KindOutcome, StoreOutcome};
use crate::verbs::{VerbsOutcome, part_names};

/// What one run showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    metrics: BTreeMap<String, f64>,
    /// Latencies in ns, by kind of operation; `all` for verbs.
    histograms: BTreeMap<String, Histogram<u64>>,
}

impl Shown {
    /// Puts together what was kept of a run.
    #[must_use]
    pub fn new(
        metrics: BTreeMap<String, f64>,
        histograms: BTreeMap<String, Histogram<u64>>,
    ) -> Self {
        Self { metrics, histograms }
    }

    /// A metric, if the run shows it.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied()
    }

    /// All metrics.
    #[must_use]
    pub fn metrics(&self) -> &BTreeMap<String, f64> {
        &self.metrics
    }

    /// Latencies by kind of operation, ns.
    #[must_use]
    pub fn histograms(&self) -> &BTreeMap<String, Histogram<u64>> {
        &self.histograms
    }

    fn add(&mut self, name: &str, value: f64) {
        self.metrics.insert(name.to_owned(), value);
    }

    fn add_all(&mut self, values: &[(&str, f64)]) {
        values.iter().for_each(|(name, value)| self.add(name, *value));
    }

    fn add_rate(&mut self, ops_per_s: f64) {
        self.add_all(&[("kops", ops_per_s / 1e3), ("mops", ops_per_s / 1e6)]);
    }

    /// Quantiles of latencies, with a kind behind their names.
    fn add_latency(&mut self, kind: &str, latency: &Histogram<u64>) {
        for (name, quantile) in
            [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999)]
        {
            let value = latency.value_at_quantile(quantile) as f64 / 1e3;
            self.add(&format!("{name}{kind}"), value);
        }
        self.add(&format!("max_us{kind}"), latency.max() as f64 / 1e3);
    }

    /// Of Clover.
    pub(super) fn of_store(outcome: &StoreOutcome) -> Self {
        let mut shown = Self::default();
        shown.add_rate(outcome.ops_per_s);
        shown.add_all(&[
            ("bytes_per_op", outcome.bytes_per_op),
            ("in_sequence", outcome.in_sequence),
            ("commits_per_op", outcome.commits_per_op),
            ("lost_commits", outcome.lost_commits),
            ("hops_per_op", outcome.hops_per_op),
            ("metadata_per_op", outcome.metadata_per_op),
            ("simulated_ms", outcome.simulated_ns as f64 / 1e6),
            ("events", outcome.events as f64),
            ("violations", outcome.violations as f64),
        ]);
        if let Some((counts, frames)) = &outcome.recorded {
            let frames = (*frames).max(1) as f64;
            shown.add_all(&[
                ("records_per_frame", counts.records as f64 / frames),
                ("record_bytes_per_frame", counts.bytes as f64 / frames),
                ("record_kbytes", counts.bytes as f64 / 1e3),
                ("state_kbytes", counts.state_bytes as f64 / 1e3),
            ]);
        }
        for KindOutcome { kind, latency, again } in &outcome.kinds {
            let dotted = format!(".{kind}");
            shown.add_latency(&dotted, latency);
            shown.add(&format!("mean_us{dotted}"), latency.mean() / 1e3);
            let first = 1.0 - *again as f64 / latency.len().max(1) as f64;
            shown.add(&format!("first_try{dotted}"), first);
            shown.histograms.insert((*kind).to_owned(), latency.clone());
        }
        shown
    }

    /// Of raw verbs, or of a capture.
    pub(super) fn of_verbs(outcome: &VerbsOutcome, size: usize) -> Self {
        let mut shown = Self::default();
        shown.add_rate(outcome.measured.ops_per_s);
        shown.add_latency("", &outcome.measured.latency);
        let names = ["context_misses", "mtt_misses", "mpt_misses"];
        for (name, counts) in names.into_iter().zip(outcome.server_caches) {
            let lookups = (counts.hits + counts.misses).max(1) as f64;
            shown.add(name, counts.misses as f64 / lookups);
        }
        let ops = outcome.open[1].max(1) as f64;
        let ended = outcome.measured.ops_per_s;
        for (part, time) in part_names().into_iter().zip(outcome.measured.parts_ns) {
            shown.add(&format!("time_us.{part}"), time / 1e3);
        }
        if size > 0 {
            shown.add("goodput_gbps", ended * size as f64 * 8e-9);
        }
        let [client, server] = outcome.busy_s.map(|busy| busy * 1e6 / ops);
        let [failed, succeeded] = outcome.swaps.map(|count| count as f64);
        if failed + succeeded > 0.0 {
            shown.add("lost_swaps", failed / (failed + succeeded));
        }
        if let Some((counts, _)) = &outcome.middlebox {
            shown.add("box_dropped", counts.dropped as f64);
        }
        shown.add_all(&[
            ("mean_us", outcome.measured.mean_ns / 1e3),
            ("bytes_per_op", outcome.bytes_per_op),
            ("wqe_misses_per_op", outcome.wqe_misses as f64 / ops),
            ("pcie_reads_per_op", outcome.server_pcie_reads as f64 / ops),
            ("word_wait_ns", outcome.word_wait_ns),
            ("client_cpu_us", client),
            ("server_cpu_us", server),
            ("verbs_per_op", ops / outcome.ended.max(1) as f64),
            ("timeouts", outcome.network.timeouts as f64),
            ("queue_mean_kb", outcome.network.queue_mean_bytes() / 1e3),
            ("failed", outcome.failed as f64),
            ("sent_again", outcome.network.sent_again as f64),
            ("lost", (outcome.network.lost + outcome.network.dropped) as f64),
            ("simulated_ms", outcome.simulated_s * 1e3),
            ("events", outcome.events as f64),
            ("violations", outcome.violations.total() as f64),
        ]);
        shown.histograms.insert("all".to_owned(), outcome.measured.latency.clone());
        shown
    }

    /// Of a host.
    pub(super) fn of_receive(outcome: &ReceiveOutcome) -> Self {
        let mut shown = Self::default();
        shown.add_rate(outcome.answers_per_s);
        shown.add_latency("", &outcome.latency);
        let [interrupts, receive, locks, application] = outcome.times;
        shown.add_all(&[
            ("goodput_kops", outcome.goodput_per_s / 1e3),
            ("mean_us", outcome.mean_ns / 1e3),
            ("ring_drops", outcome.ring_drops),
            ("queue_drops", outcome.queue_drops),
            ("shed", outcome.shed),
            ("interrupts_per_op", outcome.interrupts_per_op),
            ("llc_misses", outcome.llc_misses),
            ("imbalance", outcome.imbalance),
            ("time_interrupts", interrupts),
            ("time_receive", receive),
            ("time_locks", locks),
            ("time_application", application),
            ("time_idle", (1.0 - outcome.times.iter().sum::<f64>()).max(0.0)),
            ("simulated_ms", outcome.simulated_ns / 1e6),
            ("events", outcome.events as f64),
            ("violations", outcome.vanished as f64),
        ]);
        shown.histograms.insert("all".to_owned(), outcome.latency.clone());
        shown
    }

    /// Of a middlebox that fails.
    pub(super) fn of_recovery(outcome: &RecoveryOutcome) -> Self {
        let mut shown = Self::default();
        let (stream, life) = (&outcome.stream, &outcome.life);
        shown.add_rate(stream.frames_per_s);
        shown.add_latency("", &stream.latency);
        shown.add_all(&[
            ("mean_us", stream.mean_ns / 1e3),
            ("box_dropped", stream.dropped as f64),
            ("log_mbytes_per_s", stream.log_bytes_per_s / 1e6),
            ("lost_records", stream.lost_records),
            ("lost_connections", stream.lost_connections),
            ("recovery_ms", life.recovery_ns / 1e6),
            ("wasted", life.wasted),
            ("wasted_over_young", life.wasted_over_young),
            ("interval_over_young", life.interval_over_young),
            ("unavailable", life.unavailable),
            ("simulated_ms", stream.simulated_ns / 1e6),
            ("events", (stream.frames + life.crashes) as f64),
            ("violations", stream.vanished as f64),
        ]);
        shown.histograms.insert("all".to_owned(), stream.latency.clone());
        shown
    }

    /// Of an application on an ideal network.
    pub(super) fn of_app(outcome: &apps::Outcome) -> Self {
        let mut shown = Self::default();
        shown.add_rate(outcome.throughput_ops_per_s);
        for (kind, report) in &outcome.latency_ns {
            let us = |ns: u64| ns as f64 / 1e3;
            shown.add(&format!("p50_us.{kind}"), us(report.p50));
            shown.add(&format!("p99_us.{kind}"), us(report.p99));
            shown.add(&format!("max_us.{kind}"), us(report.max));
        }
        for (kind, share) in &outcome.first_try_success {
            shown.add(&format!("first_try.{kind}"), *share);
        }
        let broken: u64 = outcome.violations.values().sum();
        shown.add_all(&[
            ("failed", outcome.given_up as f64),
            ("sent_again", outcome.sent_again as f64),
            ("lost", outcome.lost as f64),
            ("simulated_ms", outcome.duration_ns as f64 / 1e6),
            ("events", outcome.events as f64),
            ("violations", (broken + u64::from(!outcome.memory_ok)) as f64),
        ]);
        shown
    }
}
