//! Names of what runs show, each with what it is called on an axis, and its unit.

use crate::text::unknown;

/// Something that runs show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name: that of a column of results.
    pub name: String,
    /// What an axis calls it.
    pub title: &'static str,
    /// Its unit; may be empty.
    pub unit: &'static str,
}

/// There is no such metric.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MetricError(String);

/// Name, title and unit. Those with a kind may be asked for by kind of operation, as `p99_us.read`.
const ALL: [(&str, &str, &str); 60] = [
    ("kops", "throughput", "kops/s"),
    ("mops", "throughput", "Mops/s"),
    ("mean_us", "mean latency", "us"),
    ("p50_us", "median latency", "us"),
    ("p90_us", "p90 latency", "us"),
    ("p99_us", "p99 latency", "us"),
    ("p999_us", "p99.9 latency", "us"),
    ("max_us", "greatest latency", "us"),
    ("bytes_per_op", "bytes per operation", "bytes"),
    ("in_sequence", "share in sequence", ""),
    ("commits_per_op", "commits per operation", ""),
    ("lost_commits", "share of lost commits", ""),
    ("hops_per_op", "superseded versions per operation", ""),
    ("metadata_per_op", "metadata requests per operation", ""),
    ("first_try", "share of first tries", ""),
    ("context_misses", "share of context misses", ""),
    ("mtt_misses", "share of MTT misses", ""),
    ("mpt_misses", "share of MPT misses", ""),
    ("wqe_misses_per_op", "work requests fetched twice per operation", ""),
    ("pcie_reads_per_op", "PCIe reads per operation", ""),
    ("word_wait_ns", "wait for a word", "ns"),
    ("lost_swaps", "share of failed compare-and-swaps", ""),
    ("time_us", "share of the mean latency", "us"),
    ("goodput_gbps", "goodput", "Gbit/s"),
    ("client_cpu_us", "CPU time of clients per operation", "us"),
    ("server_cpu_us", "CPU time of the server per operation", "us"),
    ("verbs_per_op", "verbs or calls per operation", ""),
    ("timeouts", "timeouts", ""),
    ("queue_mean_kb", "mean queue that a packet found", "KB"),
    ("failed", "failed operations", ""),
    ("sent_again", "requests sent again", ""),
    ("lost", "packets lost", ""),
    ("box_dropped", "frames dropped by the middlebox", ""),
    ("goodput_kops", "goodput", "kops/s"),
    ("ring_drops", "share dropped by the adapter", ""),
    ("queue_drops", "share dropped by the queue", ""),
    ("shed", "share shed", ""),
    ("interrupts_per_op", "interrupts per request", ""),
    ("llc_misses", "share of packets from memory", ""),
    ("imbalance", "fullest ring over the mean", ""),
    ("time_interrupts", "share of time in interrupts", ""),
    ("time_receive", "share of time in drivers and protocols", ""),
    ("time_locks", "share of time at locks", ""),
    ("time_application", "share of time in the application", ""),
    ("time_idle", "share of time idle", ""),
    ("records_per_frame", "records per frame", ""),
    ("record_bytes_per_frame", "bytes of records per frame", "bytes"),
    ("record_kbytes", "log", "KB"),
    ("state_kbytes", "state, as a checkpoint", "KB"),
    ("log_mbytes_per_s", "log", "MB/s"),
    ("lost_records", "records that a crash loses", ""),
    ("lost_connections", "connections that a crash leaves wrong", ""),
    ("recovery_ms", "recovery", "ms"),
    ("wasted", "share of time in checkpoints and replay", ""),
    ("wasted_over_young", "waste over Young's formula", ""),
    ("interval_over_young", "interval over Young's optimum", ""),
    ("unavailable", "share of time without service", ""),
    ("simulated_ms", "simulated time", "ms"),
    ("events", "events", ""),
    ("violations", "broken rules", ""),
];

impl Metric {
    /// The metric of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(name: &str) -> Result<Self, MetricError> {
        let base = name.split_once('.').map_or(name, |(base, _)| base);
        match ALL.iter().find(|(known, ..)| *known == base) {
            Some((_, title, unit)) => Ok(Self { name: name.to_owned(), title, unit }),
            None => Err(MetricError(unknown("metric", name, Self::names()))),
        }
    }

    /// Whether more of it is better; else less is.
    #[must_use]
    pub fn more_is_better(name: &str) -> bool {
        let base = name.split_once('.').map_or(name, |(base, _)| base);
        ["kops", "mops", "goodput_kops", "goodput_gbps", "first_try", "in_sequence"].contains(&base)
    }

    /// Names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(name, ..)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::Metric;

    #[test]
    fn metrics_are_known_by_name_and_kind() {
        let p99 = Metric::of("p99_us.read").unwrap();
        assert_eq!((p99.name.as_str(), p99.title, p99.unit), ("p99_us.read", "p99 latency", "us"));
        let error = Metric::of("p99us").unwrap_err().to_string();
        assert!(error.contains("`p99_us`"), "{error}");
    }
}
