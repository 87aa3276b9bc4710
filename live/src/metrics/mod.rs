//! What Prometheus is told: the report, in its text format.

mod server;

use std::collections::BTreeMap;
use std::fmt::Write;

use qpmux_engine::{Counters, DeclineReason, DropReason, GeneratedKind, KeptReason};

use crate::driver::PortCounters;
use crate::report::{Report, WorkerReport};
use crate::standby::{Seen, Stage};

pub use server::MetricsServer;

/// What begins each name.
const PREFIX: &str = "qpmux_";

/// The counters of ports: name and value.
type PortField = (&'static str, &'static str, fn(&PortCounters) -> u64);

/// What of a port's counters is lost, by reason, and on which way.
const LOST: [PortField; 11] = [
    ("receive", "pool_exhausted", |port| port.pool_exhausted),
    ("receive", "overload", |port| port.overload),
    ("receive", "too_long", |port| port.receive_too_long),
    ("receive", "error", |port| port.receive_errors),
    ("receive", "not_ours", |port| port.receive_not_ours),
    ("receive", "hand_over_full", |port| port.hand_over_full),
    ("send", "queue_full", |port| port.send_queue_full),
    ("send", "too_long", |port| port.send_too_long),
    ("send", "link_down", |port| port.send_link_down),
    ("send", "refused", |port| port.send_refused),
    ("send", "no_neighbour", |port| port.send_no_neighbour),
];

/// Metrics as text.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    /// The head of a metric.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
    }

    /// One of its values. Labels are words of this program: nothing in them is to be escaped.
    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> =
            labels.iter().map(|(label, word)| format!("{label}=\"{word}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { labels.join(",") };
        let braced = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let _ = writeln!(self.0, "{PREFIX}{name}{braced} {value}");
    }

    /// A metric with one value.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.value(name, &[], value);
    }

    /// A counter for each of these words.
    fn by_word(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        words: impl Iterator<Item = &'static str>,
        counts: &BTreeMap<&'static str, u64>,
    ) {
        self.head(name, "counter", help);
        for word in words {
            self.value(name, &[(label, word)], counts.get(word).copied().unwrap_or(0));
        }
    }
}

/// The report in Prometheus' text format. All names are there from the start, also with zeros.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = Text::default();
    for (name, _) in Counters::default().totals() {
        let count = report.totals.get(name).copied().unwrap_or(0);
        let help = format!("Counter {name} of the engine, as qpmux replay --json has it.");
        text.single(&format!("{name}_total"), "counter", &help, count);
    }
    let drops = DropReason::ALL.iter().map(|reason| reason.name());
    let help = "Packets that the engine did not pass on.";
    text.by_word("drops_total", help, "reason", drops, &report.drops);
    let made = GeneratedKind::ALL.iter().map(|kind| kind.name());
    let help = "Packets that the engine made.";
    text.by_word("generated_total", help, "kind", made, &report.generated);
    let kept = KeptReason::ALL.iter().map(|reason| reason.name());
    let help = "Atomics that stayed atomics although they are replaced.";
    text.by_word("kept_total", help, "reason", kept, &report.kept);
    let declined = DeclineReason::ALL.iter().map(|reason| reason.name());
    let help = "Messages with a key that stayed on their client's own server queue pair.";
    text.by_word("declined_total", help, "reason", declined, &report.declined);
    let help = "Frames that are of no configured server.";
    text.single("passed_not_ours_total", "counter", help, report.passed_not_ours);
    let help = "Contradictions between engine and host: defects.";
    text.single("broken_total", "counter", help, report.broken);
    ports(&mut text, report);
    workers(&mut text, report);
    levels(&mut text, report);
    journal(&mut text, report);
    text.0
}

/// What the journal has, where there is one.
fn journal(text: &mut Text, report: &Report) {
    let Some(journal) = &report.journal else { return };
    for (name, kind, help, value) in [
        ("journal_records_total", "counter", "Records written.", journal.records),
        ("journal_written_bytes_total", "counter", "Bytes of records written.", journal.bytes),
        ("journal_log_bytes", "gauge", "Bytes that the log takes.", journal.log_bytes),
        ("journal_recovered_records", "gauge", "Records gone on from.", journal.recovered_records),
        ("journal_recovery_ns", "gauge", "Time that reading them took.", journal.recovery_ns),
    ] {
        text.single(name, kind, help, value);
    }
}

/// This host's part of two.
#[must_use]
pub fn of_two(seen: &Seen) -> String {
    let mut text = Text::default();
    text.head("standby_stage", "gauge", "How far this host of two is: 1 at one of these.");
    for stage in Stage::ALL {
        let is_it = u64::from(stage == seen.stage);
        text.value("standby_stage", &[("stage", stage.name())], is_it);
    }
    let help = "How many hosts have forwarded, one after the other.";
    text.single("standby_term", "gauge", help, seen.term);
    let help = "Bytes of records that the standby has not confirmed.";
    text.single("standby_lag_bytes", "gauge", help, seen.lag_bytes);
    let help = "Records taken from the other host.";
    text.single("standby_records_taken", "gauge", help, seen.records_taken);
    text.0
}

fn ports(text: &mut Text, report: &Report) {
    let sides = [("client", &report.ports.client), ("server", &report.ports.server)];
    text.head("port_received_total", "counter", "Frames taken in.");
    for (side, port) in sides {
        text.value("port_received_total", &[("side", side)], port.counters.received);
    }
    text.head("port_sent_total", "counter", "Frames sent.");
    for (side, port) in sides {
        text.value("port_sent_total", &[("side", side)], port.counters.sent);
    }
    text.head("port_lost_total", "counter", "Frames lost at an interface, and errors of it.");
    for (side, port) in sides {
        let all = LOST.iter().map(|(way, reason, of)| (*way, *reason, of(&port.counters)));
        for (way, reason, count) in all.chain([("receive", "missed", port.receive_missed)]) {
            let labels = [("side", side), ("way", way), ("reason", reason)];
            text.value("port_lost_total", &labels, count);
        }
    }
}

/// The counters of workers: name, what is told of it, and value.
type WorkerField = (&'static str, &'static str, fn(&WorkerReport) -> u64);

const WORKERS: [WorkerField; 4] = [
    ("received", "Frames that a worker's queues brought.", |worker| worker.received),
    ("handed_over", "Frames that a worker gave to others.", |worker| worker.handed_over),
    ("sent", "Frames that a worker sent.", |worker| worker.sent),
    ("cpu_ns", "Processor time of a worker, in nanoseconds.", |worker| worker.loop_cpu_ns),
];

fn workers(text: &mut Text, report: &Report) {
    for (field, help, of) in WORKERS {
        let name = format!("worker_{field}_total");
        text.head(&name, "counter", help);
        for (number, worker) in report.workers.iter().enumerate() {
            text.value(&name, &[("worker", &number.to_string())], of(worker));
        }
    }
}

fn levels(text: &mut Text, report: &Report) {
    text.head("connections", "gauge", "Connections, by how far they are.");
    for (state, count) in &report.connections {
        text.value("connections", &[("state", state)], *count);
    }
    text.head("server_queue_pairs", "gauge", "Server queue pairs that carried a request.");
    let (used, hosting) = (report.server_qps_used as u64, report.server_qps_hosting as u64);
    text.value("server_queue_pairs", &[("carried", "any")], used);
    text.value("server_queue_pairs", &[("carried", "others")], hosting);
    let open = &report.open;
    text.head("open_requests", "gauge", "Requests that wait for their answer.");
    text.value("open_requests", &[("side", "client")], open.client_requests as u64);
    text.value("open_requests", &[("side", "server")], open.server_requests as u64);
    text.single("buffers_kept", "gauge", "Buffers that the engine keeps.", open.buffers as u64);
    let seconds = report.duration_ns / 1_000_000_000;
    text.single("running_seconds", "gauge", "How long the program runs.", seconds);
}
