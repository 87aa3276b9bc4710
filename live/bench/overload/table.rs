//! The numbers as tables: ratios only.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::runs::{Point, Results};
use crate::tally::Span;

/// Losses and repeats that tables always have, for each completed operation.
const ALWAYS: [&str; 9] = [
    "client.missed",
    "server.missed",
    "client.overload",
    "client.pool_exhausted",
    "server.pool_exhausted",
    "clients.sent_again",
    "clients.timeouts",
    "clients.sequence_naks",
    "repairs",
];

/// The median of a quiet loop: of the case's least load, ns.
pub(crate) fn quiet_ns(results: &Results, case: &str) -> f64 {
    let points = results.loads.iter().filter(|point| point.case == case);
    let least = points.min_by(|a, b| a.load.total_cmp(&b.load));
    least.map_or(1.0, |point| point.span.whole.p50.max(1) as f64)
}

/// Latencies as multiples of the quiet loop's median: since operations came, and since they were
/// sent first.
fn latencies(span: &Span, quiet: f64) -> [f64; 4] {
    [span.whole.p50, span.whole.p99, span.sent.p50, span.sent.p99].map(|ns| ns as f64 / quiet)
}

/// Names of what is counted anywhere: those of [`ALWAYS`], then the engine's drops but for what
/// is dropped in a quiet loop as well, since its work is done.
fn counted(results: &Results) -> Vec<String> {
    let spans = results.loads.iter().map(|point| &point.span);
    let falling = results.falling.iter().flat_map(|run| run.intervals.iter().map(|(_, span)| span));
    let names = spans.chain(falling).flat_map(|span| span.counts.keys());
    let drops: BTreeSet<_> = names.filter(|name| name.starts_with("drops.")).cloned().collect();
    let drops = drops.into_iter().filter(|name| name != "drops.consumed");
    ALWAYS.map(str::to_owned).into_iter().chain(drops).collect()
}

fn digits(value: f64) -> String {
    format!("{value:.4}")
}

/// One row for each case and load.
pub(crate) fn loads(results: &Results) -> anyhow::Result<Vec<u8>> {
    let names = counted(results);
    let mut table = csv::Writer::from_writer(Vec::new());
    let head = ["case", "clients", "load", "goodput", "goodput_low", "goodput_high", "p50", "p99"];
    let head = head.into_iter().chain(["sent_p50", "sent_p99"]).map(str::to_owned);
    table.write_record(head.chain(names.iter().cloned()).chain(["gave_up".to_owned()]))?;
    for point in &results.loads {
        let start = [point.case.to_owned(), point.clients.to_string(), point.load.to_string()];
        let numbers = [point.goodput(), point.goodputs.0, point.goodputs.1].into_iter();
        let numbers = numbers.chain(latencies(&point.span, quiet_ns(results, point.case)));
        let numbers = numbers.chain(names.iter().map(|name| point.span.per_operation(name)));
        let dead = point.span.count("clients.dead") as f64 / f64::from(point.clients);
        table.write_record(start.into_iter().chain(numbers.chain([dead]).map(digits)))?;
    }
    Ok(table.into_inner()?)
}

/// One row for each interval of load that rises and falls.
pub(crate) fn falling(results: &Results) -> anyhow::Result<Vec<u8>> {
    let names = counted(results);
    let mut table = csv::Writer::from_writer(Vec::new());
    let head = ["case", "clients", "interval", "load", "goodput", "p50", "p99", "sent_p50"];
    let head = head.into_iter().chain(["sent_p99"]).map(str::to_owned);
    table.write_record(head.chain(names.iter().cloned()).chain(["gave_up".to_owned()]))?;
    for run in &results.falling {
        for (number, (load, span)) in run.intervals.iter().enumerate() {
            let start = [run.case.to_owned(), run.clients.to_string(), number.to_string()];
            let numbers = [*load, span.rate() / run.capacity].into_iter();
            let numbers = numbers.chain(latencies(span, run.quiet_ns.max(1) as f64));
            let numbers = numbers.chain(names.iter().map(|name| span.per_operation(name)));
            let dead = span.count("clients.dead") as f64 / f64::from(run.clients);
            table.write_record(start.into_iter().chain(numbers.chain([dead]).map(digits)))?;
        }
    }
    Ok(table.into_inner()?)
}

/// What a person reads.
pub(crate) fn text(results: &Results) -> String {
    let mut text = format!("{:14}{:>6}", "case", "load");
    let latencies = ["p50", "p99", "sent p50", "sent p99"];
    let counts = ["missed", "shed", "gap", "again", "gave up"];
    for head in ["goodput"].iter().chain(&latencies).chain(&counts) {
        let _ = write!(text, "{head:>9}");
    }
    text.push('\n');
    for point in &results.loads {
        let _ = writeln!(text, "{}", line(point, quiet_ns(results, point.case)));
    }
    for run in &results.falling {
        let dead: u64 = run.intervals.iter().map(|(_, span)| span.count("clients.dead")).sum();
        let share = dead as f64 / f64::from(run.clients);
        let _ = write!(text, "\n{}: {share:.3} of clients gave up; goodput:", run.case);
        for (load, span) in &run.intervals {
            let _ = write!(text, " {load}:{:.2}", span.rate() / run.capacity);
        }
        text.push('\n');
    }
    text
}

/// Requests that the host shed by a rule of its own, for each completed operation.
pub(crate) fn shed(span: &Span) -> f64 {
    let names = ["client.overload", "client.pool_exhausted", "drops.table_full"];
    names.iter().map(|name| span.per_operation(name)).sum()
}

/// Frames that found a full ring, for each completed operation.
pub(crate) fn missed(span: &Span) -> f64 {
    span.per_operation("client.missed") + span.per_operation("server.missed")
}

fn line(point: &Point, quiet: f64) -> String {
    let span = &point.span;
    let counts = [
        missed(span),
        shed(span),
        span.per_operation("drops.request_gap"),
        span.per_operation("clients.sent_again"),
        span.count("clients.dead") as f64 / f64::from(point.clients),
    ];
    let mut line = format!("{:14}{:6.2}{:9.3}", point.case, point.load, point.goodput());
    for number in latencies(span, quiet) {
        let _ = write!(line, "{number:9.1}");
    }
    for number in counts {
        let _ = write!(line, "{number:9.3}");
    }
    line
}
