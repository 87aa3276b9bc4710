//! What is counted over a span of time.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use qpmux_engine::Nanos;
use qpmux_live::report::Report;
use serde::Serialize;

use crate::world::World;

/// Operations since the last look.
pub(crate) struct Tally {
    pub(crate) offered: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) longest_turn: u64,
    /// Since they came.
    whole: Histogram<u64>,
    /// Since they were sent first.
    sent: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Tally> {
        let histogram = || Histogram::new_with_bounds(1, 100_000_000_000, 3);
        Ok(Tally {
            offered: 0,
            completed: 0,
            failed: 0,
            longest_turn: 0,
            whole: histogram()?,
            sent: histogram()?,
        })
    }

    pub(crate) fn complete(&mut self, came: u64, sent: u64, now: u64) {
        self.completed += 1;
        self.whole.saturating_record(now.saturating_sub(came).max(1));
        self.sent.saturating_record(now.saturating_sub(sent).max(1));
    }

    fn clear(&mut self) {
        (self.offered, self.completed, self.failed, self.longest_turn) = (0, 0, 0, 0);
        self.whole.reset();
        self.sent.reset();
    }
}

/// A median and a high percentile, ns.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Latency { p50: at(0.5), p99: at(0.99) }
    }
}

/// What a span of time has brought.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Span {
    pub(crate) ns: u64,
    pub(crate) idle_ns: u64,
    pub(crate) longest_turn_ns: u64,
    pub(crate) offered: u64,
    pub(crate) completed: u64,
    /// Operations of queue pairs that gave up.
    pub(crate) failed: u64,
    pub(crate) whole: Latency,
    pub(crate) sent: Latency,
    /// By name: drops, the ports' losses, and what clients did.
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Span {
    /// Completed operations in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.completed as f64 * 1e9 / self.ns as f64
    }

    /// How often something was counted for each completed operation.
    pub(crate) fn per_operation(&self, name: &str) -> f64 {
        self.count(name) as f64 / (self.completed as f64).max(1.0)
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

/// Lets so many ns pass, and says what they brought.
pub(crate) fn measure(world: &mut World, ns: u64) -> Span {
    world.tally.clear();
    let (before, from, idle) = (counts(world), world.now, world.idle);
    world.run_for(ns);
    let mut counts = counts(world);
    for (name, count) in &mut counts {
        *count -= before.get(name).copied().unwrap_or(0);
    }
    counts.retain(|_, count| *count > 0);
    let tally = &world.tally;
    Span {
        ns: world.now - from,
        idle_ns: world.idle - idle,
        longest_turn_ns: tally.longest_turn,
        offered: tally.offered,
        completed: tally.completed,
        failed: tally.failed,
        whole: Latency::of(&tally.whole),
        sent: Latency::of(&tally.sent),
        counts,
    }
}

/// All that only grows.
fn counts(world: &mut World) -> BTreeMap<String, u64> {
    let report = Report::of(&mut world.host, Nanos(world.now));
    let mut found = BTreeMap::new();
    for (name, count) in &report.drops {
        found.insert(format!("drops.{name}"), *count);
    }
    for (side, port) in [("client", &report.ports.client), ("server", &report.ports.server)] {
        found.insert(format!("{side}.missed"), port.receive_missed);
        found.insert(format!("{side}.received"), port.counters.received);
        found.insert(format!("{side}.overload"), port.counters.overload);
        found.insert(format!("{side}.pool_exhausted"), port.counters.pool_exhausted);
    }
    for name in ["fence_waits", "server_waits", "timeouts", "mapped"] {
        found.insert(name.to_owned(), report.totals.get(name).copied().unwrap_or(0));
    }
    found.insert("repairs".to_owned(), report.generated.get("repair").copied().unwrap_or(0));
    found.insert("broken".to_owned(), report.broken);
    let mut add = |name: &str, count: u64| *found.entry(name.to_owned()).or_default() += count;
    for client in &world.clients {
        let stats = client.requester.stats();
        add("clients.sent", stats.sent);
        add("clients.sent_again", stats.sent_again);
        add("clients.timeouts", stats.timeouts);
        add("clients.sequence_naks", stats.sequence_naks);
        add("clients.dead", client.requester.is_dead().into());
        add("violations", client.requester.violations().total());
    }
    for responder in &world.responders {
        add("violations", responder.violations().total());
    }
    found
}
