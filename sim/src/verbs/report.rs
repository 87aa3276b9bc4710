//! What runs of raw verbs showed, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use super::VerbsOutcome;
use super::measure::{Estimate, part_names};
use crate::cluster::{BoxCounts, CacheCounts, NetworkCounts};
use crate::text::group;

/// Quantiles of latency, ns.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
pub struct Quantiles {
    /// Mean over the seeds.
    pub mean: f64,
    /// Half of all are faster.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1,000.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
}

impl Quantiles {
    pub(crate) fn of(latency: &Histogram<u64>, mean: f64) -> Self {
        let at = |quantile| latency.value_at_quantile(quantile);
        Self {
            mean,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: latency.max(),
        }
    }
}

/// What an adapter's caches found and did not find, all seeds together.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
pub struct Caches {
    /// Contexts of queue pairs.
    pub context: CacheCounts,
    /// Translations of pages (MTT).
    pub translation: CacheCounts,
    /// Memory regions (MPT).
    pub region: CacheCounts,
}

impl Caches {
    fn add(&mut self, counts: &[CacheCounts; 3]) {
        let all = [&mut self.context, &mut self.translation, &mut self.region];
        for (sum, counts) in all.into_iter().zip(counts) {
            sum.hits += counts.hits;
            sum.misses += counts.misses;
        }
    }
}

/// What adapters did.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
pub struct NicReport {
    /// The server's caches.
    pub server: Caches,
    /// The first client's.
    pub client: Caches,
    /// PCIe reads of the server's adapter, per operation.
    pub server_pcie_reads_per_op: f64,
    /// Work requests that the first client's adapter fetched twice.
    pub wqe_misses: u64,
    /// Acknowledgements of servers that were told with a later one.
    pub coalesced_acks: u64,
    /// Time that an operation waited for its word, ns.
    pub word_wait_ns: f64,
}

/// What a middlebox did, all seeds together.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
pub struct BoxReport {
    /// Frames and bytes.
    #[serde(flatten)]
    pub frames: BoxCounts,
    /// Requests that the engine sent through the queue pair of their key.
    pub mapped: u64,
    /// Atomics that a WRITE took the place of.
    pub replaced_atomics: u64,
    /// Share of the time that its cores worked.
    pub busy: f64,
}

/// Runs of one plan with several seeds.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct VerbsReport {
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Operations per second.
    pub throughput_ops_per_s: Estimate,
    /// Latency of operations, ns.
    pub latency_ns: Quantiles,
    /// Where the time of an operation goes on average, ns; the sum is the mean latency.
    pub time_ns: BTreeMap<&'static str, f64>,
    /// Bytes on the wire per operation, both directions, all headers and gaps.
    pub bytes_per_op: f64,
    /// Share of COMPARE_SWAPs that found what they expected.
    pub first_try_success: Option<f64>,
    /// What adapters did.
    pub nic: NicReport,
    /// What became of frames, all seeds together.
    pub network: NetworkCounts,
    /// What the middlebox has seen, all seeds together.
    pub middlebox: Option<BoxReport>,
    /// Operations that count, all seeds together.
    pub ops: u64,
    /// Operations at the start that do not count.
    pub warm_up_ops: u64,
    /// Operations that ended with an error, or did not end.
    pub failed: u64,
    /// Rules of the transport that were broken.
    pub violations: u64,
    /// Simulated time, s.
    pub simulated_s: f64,
    /// Events.
    pub events: u64,
    /// Equal for equal runs.
    pub run_hash: String,
    /// Time that it took, s.
    pub wall_s: f64,
}

impl VerbsReport {
    /// Of the outcomes of these seeds.
    #[must_use]
    pub fn new(seeds: Vec<u64>, outcomes: &[VerbsOutcome], wall_s: f64) -> Self {
        let mean = |value: &dyn Fn(&VerbsOutcome) -> f64| {
            outcomes.iter().map(value).sum::<f64>() / outcomes.len().max(1) as f64
        };
        let sum = |value: &dyn Fn(&VerbsOutcome) -> u64| outcomes.iter().map(value).sum::<u64>();
        let mut latency = Histogram::new(3).expect("3 digits are allowed");
        let mut nic = NicReport {
            server_pcie_reads_per_op: mean(&|o| {
                o.server_pcie_reads as f64 / o.open[1].max(1) as f64
            }),
            wqe_misses: sum(&|o| o.wqe_misses),
            coalesced_acks: sum(&|o| o.coalesced_acks),
            word_wait_ns: mean(&|o| o.word_wait_ns),
            ..NicReport::default()
        };
        for outcome in outcomes {
            // Both have three digits and no upper end.
            let _ = latency.add(&outcome.measured.latency);
            nic.server.add(&outcome.server_caches);
            nic.client.add(&outcome.client_caches);
        }
        let mut network = NetworkCounts::default();
        outcomes.iter().for_each(|outcome| network.add(&outcome.network));
        let rates: Vec<f64> = outcomes.iter().map(|o| o.measured.ops_per_s).collect();
        let parts = part_names().into_iter().enumerate();
        let [failed_swaps, good_swaps] =
            [0, 1].map(|which| outcomes.iter().map(|o| o.swaps[which]).sum::<u64>());
        let swaps = failed_swaps + good_swaps;
        let hash = outcomes.iter().fold(0u64, |hash, o| hash.rotate_left(9) ^ o.run_hash);
        Self {
            seeds,
            throughput_ops_per_s: Estimate::of(&rates),
            latency_ns: Quantiles::of(&latency, mean(&|o| o.measured.mean_ns)),
            time_ns: parts.map(|(at, name)| (name, mean(&|o| o.measured.parts_ns[at]))).collect(),
            bytes_per_op: mean(&|o| o.bytes_per_op),
            first_try_success: (swaps > 0).then(|| good_swaps as f64 / swaps as f64),
            nic,
            network,
            middlebox: middlebox(outcomes),
            ops: sum(&|o| o.measured.ops),
            warm_up_ops: sum(&|o| o.measured.warm_up_ops),
            failed: sum(&|o| o.failed + o.open[2]),
            violations: sum(&|o| o.violations.total()),
            simulated_s: outcomes.iter().map(|o| o.simulated_s).sum(),
            events: sum(&|o| o.events),
            run_hash: format!("{hash:016x}"),
            wall_s,
        }
    }

    /// Whether everything ended as it should.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.violations == 0
    }

    /// Throughput, latency and where the time went, for people.
    fn times(&self) -> String {
        let mut text = String::new();
        let rate = &self.throughput_ops_per_s;
        let quantiles = &self.latency_ns;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "throughput   {:.3} M ops/s{}",
            rate.mean / 1e6,
            match self.seeds.len() {
                1 => String::new(),
                seeds => format!(" +- {:.3} (95 %, {seeds} seeds)", rate.ci95 / 1e6),
            }
        );
        let _ = writeln!(
            text,
            "latency      mean {:.0} ns, p50 {}, p90 {}, p99 {}, p99.9 {}, most {}",
            quantiles.mean,
            group(quantiles.p50),
            group(quantiles.p90),
            group(quantiles.p99),
            group(quantiles.p999),
            group(quantiles.max)
        );
        let whole: f64 = self.time_ns.values().sum();
        for name in part_names() {
            let time = self.time_ns.get(name).copied().unwrap_or(0.0);
            if time > 0.0 {
                let share = time / whole.max(f64::MIN_POSITIVE);
                let bar = "#".repeat((share * 40.0).round() as usize);
                let _ =
                    writeln!(text, "  {name:<11}{time:>9.0} ns {:>5.1} %  {bar}", share * 100.0);
            }
        }
        text
    }

    /// For people.
    #[must_use]
    pub fn render_text(&self, threads: usize) -> String {
        let mut text = self.times();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "bytes        {:.1} per operation on the wire", self.bytes_per_op);
        if let Some(share) = self.first_try_success {
            let _ = writeln!(text, "first try    {:.2} % of compare-and-swaps", share * 100.0);
        }
        for (whose, caches) in [("server", &self.nic.server), ("client", &self.nic.client)] {
            let _ = writeln!(text, "{whose:<13}misses: {}", misses(caches));
        }
        text.push_str(&network_lines(&self.network));
        if let Some(middle) = &self.middlebox {
            text.push_str(&middlebox_line(middle));
        }
        let _ = writeln!(
            text,
            "operations   {} measured after {} of warm-up, {} threads",
            group(self.ops),
            group(self.warm_up_ops),
            group(threads as u64)
        );
        let _ = writeln!(
            text,
            "events       {} in {:.2} s ({:.1} M/s); run hash {}",
            group(self.events),
            self.wall_s,
            self.events as f64 / self.wall_s.max(1e-9) / 1e6,
            self.run_hash
        );
        if !self.is_good() {
            let _ = writeln!(
                text,
                "BROKEN       {} operations failed, {} rules of the transport broken",
                self.failed, self.violations
            );
        }
        text
    }
}

fn middlebox(outcomes: &[VerbsOutcome]) -> Option<BoxReport> {
    let mut report = BoxReport::default();
    let mut simulated = 0.0;
    for outcome in outcomes {
        let (frames, engine) = outcome.middlebox.as_ref()?;
        let all = &mut report.frames;
        all.received += frames.received;
        all.received_bytes += frames.received_bytes;
        all.dropped += frames.dropped;
        all.sent += frames.sent;
        all.sent_bytes += frames.sent_bytes;
        all.translated += frames.translated;
        all.busy_ps += frames.busy_ps;
        report.mapped += engine.mapped;
        report.replaced_atomics += engine.replaced_atomics;
        simulated += outcome.simulated_s;
    }
    report.busy = report.frames.busy_ps as f64 * 1e-12 / f64::max(simulated, 1e-12);
    Some(report)
}

fn middlebox_line(report: &BoxReport) -> String {
    let BoxReport { frames, mapped, replaced_atomics, busy } = report;
    format!(
        "middlebox    {} frames in, {} out, {} dropped; {} requests mapped, {} atomics replaced; \
         cores busy {:.1} %\n",
        group(frames.received),
        group(frames.sent),
        group(frames.dropped),
        group(*mapped),
        group(*replaced_atomics),
        busy * 100.0
    )
}

/// What became of frames, if anything happened to them.
fn network_lines(counts: &NetworkCounts) -> String {
    if !counts.is_eventful() {
        return String::new();
    }
    format!(
        "network      {} of {} frames lost, {} dropped; queue {:.0} bytes on average, {} at \
         most;\n             {} requests sent again, {} timeouts, {} NAKs; {} frames marked, {} \
         notifications\n",
        group(counts.lost),
        group(counts.sent),
        group(counts.dropped),
        counts.queue_mean_bytes(),
        group(counts.queue_most_bytes),
        group(counts.sent_again),
        group(counts.timeouts),
        group(counts.sequence_naks + counts.rnr_naks),
        group(counts.marked),
        group(counts.notices),
    )
}

fn misses(caches: &Caches) -> String {
    let share = |counts: &CacheCounts| {
        let all = counts.hits + counts.misses;
        format!("{:.1} % of {}", counts.misses as f64 / all.max(1) as f64 * 100.0, group(all))
    };
    format!(
        "contexts {}, translations {}, regions {}",
        share(&caches.context),
        share(&caches.translation),
        share(&caches.region)
    )
}
