//! What runs of several seeds showed, for people and for programs.

use std::fmt::Write;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use super::measure::StoreOutcome;
use crate::cluster::RecordCounts;
use crate::text::group;
use crate::verbs::{Estimate, Quantiles};

/// One kind of operation.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct KindReport {
    /// `read`, `update`, `insert`, `scan` or `read_modify_write`.
    pub kind: &'static str,
    /// Operations.
    pub ops: u64,
    /// Share of them that one try was enough for.
    pub first_try: f64,
    /// Latencies, ns.
    pub latency_ns: Quantiles,
}

/// What runs of Clover showed, without their warm-up.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct StoreReport {
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Throughput.
    pub throughput_ops_per_s: Estimate,
    /// By kind of operation.
    pub kinds: Vec<KindReport>,
    /// Bytes of IP packets that the middlebox received per operation; 0 without one.
    pub bytes_per_op: f64,
    /// COMPARE_SWAPs that appended, per operation.
    pub commits_per_op: f64,
    /// COMPARE_SWAPs that found another value, of all.
    pub lost_commits: f64,
    /// Superseded versions looked at, per operation.
    pub hops_per_op: f64,
    /// Requests to the metadata server, per operation.
    pub metadata_per_op: f64,
    /// Rules of the transport that were broken.
    pub violations: u64,
    /// What the middlebox's engine recorded, in all runs together; `null` if it keeps no log.
    pub recorded: Option<RecordCounts>,
    /// Events of all runs.
    pub events: u64,
    /// Equal for equal runs.
    pub run_hash: String,
}

impl StoreReport {
    /// Of the outcomes of these seeds.
    #[must_use]
    pub fn new(seeds: Vec<u64>, outcomes: &[StoreOutcome]) -> Self {
        let mean = |value: &dyn Fn(&StoreOutcome) -> f64| {
            outcomes.iter().map(value).sum::<f64>() / outcomes.len().max(1) as f64
        };
        let rates: Vec<f64> = outcomes.iter().map(|outcome| outcome.ops_per_s).collect();
        let hash = outcomes.iter().fold(0u64, |hash, o| hash.rotate_left(9) ^ o.run_hash);
        Self {
            seeds,
            throughput_ops_per_s: Estimate::of(&rates),
            kinds: kinds(outcomes),
            bytes_per_op: mean(&|o| o.bytes_per_op),
            commits_per_op: mean(&|o| o.commits_per_op),
            lost_commits: mean(&|o| o.lost_commits),
            hops_per_op: mean(&|o| o.hops_per_op),
            metadata_per_op: mean(&|o| o.metadata_per_op),
            violations: outcomes.iter().map(|o| o.violations).sum(),
            recorded: recorded(outcomes),
            events: outcomes.iter().map(|o| o.events).sum(),
            run_hash: format!("{hash:016x}"),
        }
    }

    /// For people.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} operations per second (+- {}, 95 %, {} runs)",
            group(self.throughput_ops_per_s.mean.round() as u64),
            group(self.throughput_ops_per_s.ci95.round() as u64),
            self.seeds.len()
        );
        let _ = writeln!(
            text,
            "{:18} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9}",
            "", "count", "first try", "mean us", "p50 us", "p99 us", "p99.9 us"
        );
        for kind in &self.kinds {
            let us = |ns: u64| ns as f64 / 1e3;
            let latency = &kind.latency_ns;
            let _ = writeln!(
                text,
                "{:18} {:>10} {:>8.2} % {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
                kind.kind,
                group(kind.ops),
                100.0 * kind.first_try,
                latency.mean / 1e3,
                us(latency.p50),
                us(latency.p99),
                us(latency.p999)
            );
        }
        let _ = writeln!(
            text,
            "per operation: {:.0} bytes of IP packets at the middlebox, {:.2} superseded versions \
             looked at, {:.3} requests to the metadata server",
            self.bytes_per_op, self.hops_per_op, self.metadata_per_op
        );
        let _ = writeln!(
            text,
            "{:.2} % of appending compare-and-swaps came too late",
            100.0 * self.lost_commits
        );
        if let Some(RecordCounts { records, bytes, state_bytes, .. }) = self.recorded {
            let _ = writeln!(
                text,
                "{} records of {} bytes; what has to be known of them is {} bytes",
                group(records),
                group(bytes),
                group(state_bytes)
            );
        }
        let _ = writeln!(
            text,
            "{} rules of the transport broken; {} events, run hash {}",
            self.violations,
            group(self.events),
            self.run_hash
        );
        text
    }
}

/// What was recorded in all runs together.
fn recorded(outcomes: &[StoreOutcome]) -> Option<RecordCounts> {
    let all = outcomes.iter().filter_map(|outcome| Some(outcome.recorded?.0));
    all.reduce(|sum, one| RecordCounts {
        records: sum.records + one.records,
        bytes: sum.bytes + one.bytes,
        state_bytes: sum.state_bytes + one.state_bytes,
        wrong: sum.wrong + one.wrong,
    })
}

fn kinds(outcomes: &[StoreOutcome]) -> Vec<KindReport> {
    let mut all: Vec<(&'static str, Histogram<u64>, u64)> = Vec::new();
    for kind in outcomes.iter().flat_map(|outcome| &outcome.kinds) {
        match all.iter_mut().find(|(name, ..)| *name == kind.kind) {
            Some((_, latency, again)) => {
                // Both have three digits and no upper end.
                let _ = latency.add(&kind.latency);
                *again += kind.again;
            }
            None => all.push((kind.kind, kind.latency.clone(), kind.again)),
        }
    }
    all.into_iter()
        .map(|(kind, latency, again)| KindReport {
            kind,
            ops: latency.len(),
            first_try: 1.0 - again as f64 / latency.len().max(1) as f64,
            latency_ns: Quantiles::of(&latency, latency.mean()),
        })
        .collect()
}
