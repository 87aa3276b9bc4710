//! What a replay found, for programs and for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use qpmux_engine::{Counters, GeneratedKind};
use schemars::JsonSchema;
use serde::Serialize;

use super::losses::RecordedReport;
use super::script::LeftOut;
use super::world::WorldReport;
use crate::text::{group, list};

/// What a replay found. Counts of messages and packets.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ReplayReport {
    /// Connections replayed.
    pub client_connections: usize,
    /// Server queue pairs that the policy may send several clients' requests to.
    pub server_qps_eligible: usize,
    /// Server queue pairs that carried a request.
    pub server_qps_used: usize,
    /// Those of them that carried requests of others than their owner.
    pub server_qps_hosting: usize,
    /// Server queue pairs that were lost.
    pub server_qps_lost: u64,
    /// Messages that clients sent to the engine (all of them, if it translates).
    pub requests: u64,
    /// Messages completed at the clients.
    pub completed: u64,
    /// Messages with a key.
    pub keyed: u64,
    /// Messages sent through the server queue pair of their key.
    pub mapped: u64,
    /// Messages with a key that stayed on their client's own server queue pair, by reason.
    pub declined: BTreeMap<&'static str, u64>,
    /// Packets that the engine made, by kind.
    pub generated: BTreeMap<&'static str, u64>,
    /// Packets that the engine did not pass on, by reason.
    pub drops: BTreeMap<&'static str, u64>,
    /// Messages with a key that ran alone, because it was not certain that the server queue pair
    /// of their key accepts them.
    pub alone: u64,
    /// Frames passed untouched.
    pub passed: u64,
    /// Connections that went over into translation while they ran.
    pub flips: u64,
    /// Times that a server queue pair was emptied of guests for a request of its owner.
    pub emptied: u64,
    /// Requests taken a second time because their READ was repeated.
    pub read_repeats: u64,
    /// Times that the engine's timer towards a server ran out.
    pub timeouts: u64,
    /// Negative acknowledgements from servers (sequence errors and receiver not ready).
    pub server_naks: u64,
    /// Connections that the engine took out of service.
    pub out_of_service: u64,
    /// Connections that the engine learnt from their traffic.
    pub learnt: u64,
    /// Connections learnt that there was no room for: they pass.
    pub not_adopted: u64,
    /// Messages that were not whole yet, given up because the table of requests was full or the
    /// last packet did not come.
    pub shed: u64,
    /// Requests that came back from a server queue pair without having run.
    pub returned: u64,
    /// Server queue pairs that stopped hosting.
    pub hosts_closed: u64,
    /// Ends of connections that were kept back until the guests had left.
    pub teardowns_held: u64,
    /// Requests that waited for their client's earlier ones.
    pub fence_waits: u64,
    /// Requests that waited for room on their server queue pair.
    pub server_waits: u64,
    /// Requests whose key was found, or not, by what is at their address; addresses forgotten.
    pub address_hits: u64,
    /// See `address_hits`.
    pub address_misses: u64,
    /// See `address_hits`.
    pub address_evictions: u64,
    /// Appends aimed elsewhere than at the presumed tail that were not steered in place.
    pub unsteered_atomics: u64,
    /// Compare-and-swaps that went on to the end of their list.
    pub steered_atomics: u64,
    /// READs that went on to the end of their list.
    pub steered_reads: u64,
    /// READs that went on to a node that was overwritten, and were asked for again.
    pub steered_back: u64,
    /// Requests that waited until it was known where their list ends.
    pub list_waits: u64,
    /// Atomics in whose place a WRITE went.
    pub replaced_atomics: u64,
    /// Atomics that stayed atomics although they are replaced, by reason.
    pub kept: BTreeMap<&'static str, u64>,
    /// Words that are not replaced any more: written on another server queue pair.
    pub words_off: u64,
    /// Words that are not replaced any more: written past the engine.
    pub words_contradicted: u64,
    /// Compare-and-swaps that clients were told have succeeded, and that have failed.
    pub swaps_succeeded: u64,
    /// See `swaps_succeeded`.
    pub swaps_failed: u64,
    /// Broken rules of the transport, by invariant, as strict endpoints saw them.
    pub violations: BTreeMap<&'static str, u64>,
    /// The first violation of each invariant, and what is wrong with memory.
    pub problems: Vec<String>,
    /// Final memory is what the log of executed requests gives, each answer was its value, and
    /// each client was told what happened. `null` with captured responses.
    pub memory_ok: Option<bool>,
    /// Clients that gave up.
    pub dead_clients: u64,
    /// Packets lost, by leg: `client_to_middlebox`, `middlebox_to_server`, `server_to_middlebox`,
    /// `middlebox_to_client`.
    pub lost: BTreeMap<&'static str, u64>,
    /// Requests sent again, by who did it: `clients`, or the `engine` (to servers).
    pub repaired: BTreeMap<&'static str, u64>,
    /// What became of a recording's losses; `null` without one.
    pub recorded: Option<RecordedReport>,
    /// What the capture has and the replay has not.
    pub left_out: LeftOut,
    /// The capture breaks off in the middle of its last record.
    pub truncated_tail: bool,
    /// Events of the simulation, or packets with captured responses.
    pub events: u64,
    /// Simulated time in nanoseconds, or the capture's with captured responses.
    pub duration_ns: u64,
}

impl ReplayReport {
    /// The report of the engine's counters alone.
    pub(super) fn of_counters(counters: &Counters) -> ReplayReport {
        ReplayReport {
            client_connections: 0,
            server_qps_eligible: 0,
            server_qps_used: 0,
            server_qps_hosting: 0,
            server_qps_lost: counters.server_qps_lost,
            requests: counters.requests,
            completed: counters.completed,
            keyed: counters.keyed,
            mapped: counters.mapped,
            declined: counters.declined_by_name().collect(),
            generated: counters.generated_by_name().collect(),
            drops: counters.drops_by_name().collect(),
            alone: counters.alone,
            passed: counters.passed,
            flips: counters.flips,
            emptied: counters.emptied,
            read_repeats: counters.read_repeats,
            timeouts: counters.timeouts,
            server_naks: counters.server_naks,
            out_of_service: counters.out_of_service,
            learnt: counters.learnt,
            not_adopted: counters.not_adopted,
            shed: counters.shed,
            returned: counters.returned,
            hosts_closed: counters.hosts_closed,
            teardowns_held: counters.teardowns_held,
            fence_waits: counters.fence_waits,
            server_waits: counters.server_waits,
            address_hits: counters.address_hits,
            address_misses: counters.address_misses,
            address_evictions: counters.address_evictions,
            unsteered_atomics: counters.unsteered_atomics,
            steered_atomics: counters.steered_atomics,
            steered_reads: counters.steered_reads,
            steered_back: counters.steered_back,
            list_waits: counters.list_waits,
            replaced_atomics: counters.replaced_atomics,
            words_off: counters.words_off,
            words_contradicted: counters.words_contradicted,
            swaps_succeeded: counters.swaps_succeeded,
            swaps_failed: counters.swaps_failed,
            kept: counters.kept_by_name().collect(),
            violations: BTreeMap::new(),
            problems: Vec::new(),
            memory_ok: None,
            dead_clients: 0,
            lost: BTreeMap::new(),
            repaired: BTreeMap::new(),
            recorded: None,
            left_out: LeftOut::default(),
            truncated_tail: false,
            events: 0,
            duration_ns: 0,
        }
    }

    /// The report of a run with modelled responses.
    pub(super) fn of_model(
        done: &WorldReport,
        left_out: &LeftOut,
        connections: usize,
        hosts: usize,
        requests: u64,
    ) -> ReplayReport {
        let mut problems: Vec<String> =
            done.violations.to_string().lines().map(str::to_owned).collect();
        problems.extend(done.memory_problems.iter().take(20).cloned());
        ReplayReport {
            client_connections: connections,
            server_qps_eligible: hosts,
            server_qps_used: done.server_qps_used,
            server_qps_hosting: done.host.server_qps().filter(|qp| qp.hosted).count(),
            requests,
            completed: done.completed,
            violations: done.violations.iter().map(|(id, v)| (id, v.count)).collect(),
            problems,
            memory_ok: Some(done.memory_problems.is_empty()),
            dead_clients: done.dead_clients,
            lost: done.lost.clone(),
            repaired: repaired(done),
            recorded: done.recorded,
            left_out: *left_out,
            events: done.events,
            duration_ns: done.duration_ns,
            ..ReplayReport::of_counters(&done.host.counters())
        }
    }

    /// Whether every check passed: all completed, nothing broken, memory right.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
            && self.memory_ok != Some(false)
            && self.completed == self.requests
    }

    /// The report for people.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut lines = vec![("connections", group(self.client_connections as u64))];
        if self.passed > 0 {
            lines.push(("passed untouched", format!("{} packets", group(self.passed))));
        }
        if self.memory_ok.is_none() && self.steered_atomics + self.unsteered_atomics > 0 {
            let [swaps, reads, left] =
                [self.steered_atomics, self.steered_reads, self.unsteered_atomics].map(group);
            lines.push((
                "steered",
                format!("{swaps} compare-and-swaps, {reads} READs; {left} compare-and-swaps left"),
            ));
        }
        if let Some(memory_ok) = self.memory_ok {
            lines.extend(self.modelled_lines(memory_ok));
        }
        let mut text = String::new();
        for (name, value) in lines {
            let _ = writeln!(text, "{name:<22} {value}");
        }
        for problem in &self.problems {
            let _ = writeln!(text, "  {problem}");
        }
        if self.left_out != LeftOut::default() {
            let _ = writeln!(text, "left out of the capture: {}", left_out_text(&self.left_out));
        }
        if self.truncated_tail {
            text.push_str("warning: the capture breaks off in the middle of its last record\n");
        }
        text
    }

    /// What there is to say with modelled responses only.
    fn modelled_lines(&self, memory_ok: bool) -> Vec<(&'static str, String)> {
        let (used, hosting) = (self.server_qps_used, self.server_qps_hosting);
        let (requests, completed) = (group(self.requests), group(self.completed));
        let share = percent(self.mapped.min(self.keyed), self.keyed);
        let mut lines = vec![
            ("server queue pairs", format!("{used} used, {hosting} hosting")),
            ("requests", format!("{requests}, {completed} completed")),
            ("with a key", format!("{}, {} mapped{share}", group(self.keyed), group(self.mapped))),
        ];
        if self.flips + self.alone > 0 {
            let (flips, alone) = (group(self.flips), group(self.alone));
            lines.push((
                "learnt",
                format!("{flips} connections; {alone} requests ran alone for it"),
            ));
        }
        if !self.lost.is_empty() || !self.repaired.is_empty() {
            lines.push(("lost", list(&self.lost)));
            lines.push(("sent again by", list(&self.repaired)));
        }
        if let Some(recorded) = self.recorded {
            let [requests, answers, met] =
                [recorded.requests, recorded.answers, recorded.met].map(group);
            lines.push((
                "lost when recorded",
                format!("{requests} requests, {answers} answers; {met} of them lost again"),
            ));
        }
        lines.extend(self.memory_lines());
        let (fence, server) = (group(self.fence_waits), group(self.server_waits));
        let right = "right: final contents, every answer, every execution";
        lines.extend([
            ("declined", list(&self.declined)),
            ("made by the engine", list(&self.generated)),
            ("not passed on", list(&self.drops)),
            (
                "waited",
                format!("{fence} for their client's order, {server} for room at the server"),
            ),
            ("violations", list(&self.violations)),
            ("memory", if memory_ok { right } else { "WRONG" }.to_owned()),
        ]);
        lines
    }
}

impl ReplayReport {
    /// What there is to say where the engine knows of servers' memory.
    fn memory_lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        if self.address_hits + self.address_misses > 0 {
            let [hits, misses, forgotten] =
                [self.address_hits, self.address_misses, self.address_evictions].map(group);
            lines
                .push(("known by address", format!("{hits}, {misses} not, {forgotten} forgotten")));
        }
        if self.steered_atomics + self.steered_reads + self.list_waits > 0 {
            let [swaps, reads, waits, back] =
                [self.steered_atomics, self.steered_reads, self.list_waits, self.steered_back]
                    .map(group);
            lines.push((
                "steered",
                format!(
                    "{swaps} compare-and-swaps, {reads} READs ({back} asked again); {waits} waited"
                ),
            ));
        }
        if self.swaps_succeeded + self.swaps_failed > 0 {
            let swaps = self.swaps_succeeded + self.swaps_failed;
            let share = percent(self.swaps_succeeded, swaps);
            lines.push((
                "compare-and-swaps",
                format!("{} succeeded{share}", group(self.swaps_succeeded)),
            ));
        }
        if self.replaced_atomics > 0 || !self.kept.is_empty() {
            let replaced = group(self.replaced_atomics);
            lines.push(("replaced", format!("{replaced} atomics; kept: {}", list(&self.kept))));
        }
        if self.words_off + self.words_contradicted > 0 {
            let [stray, contradicted] = [self.words_off, self.words_contradicted].map(group);
            lines.push((
                "words given up",
                format!("{stray} written elsewhere, {contradicted} changed past the engine"),
            ));
        }
        lines
    }
}

/// Requests sent again, by who did it.
fn repaired(done: &WorldReport) -> BTreeMap<&'static str, u64> {
    let by_engine = done.host.counters().generated(GeneratedKind::Repair);
    let all = [("clients", done.sent_again), ("engine", by_engine)];
    all.into_iter().filter(|(_, n)| *n > 0).collect()
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    format!(" ({:.1} %)", 100.0 * part as f64 / whole as f64)
}

/// Why a capture gave no workload.
pub(super) fn why_nothing(left_out: &LeftOut) -> String {
    if *left_out == LeftOut::default() {
        return "it holds no RoCEv2 traffic of reliable connections (UDP port 4791). \
                `qpmux inspect` says what it holds"
            .to_owned();
    }
    left_out_text(left_out)
}

fn left_out_text(left_out: &LeftOut) -> String {
    let entries = [
        (left_out.unpaired_packets, "packets of flows that could not be paired"),
        (left_out.icrc_bad, "packets with a wrong ICRC"),
        (left_out.cut_packets, "packets cut by the snap length"),
        (left_out.repeated_requests, "repeated requests"),
        (left_out.reverse_requests, "requests from server to client"),
        (left_out.unsupported_requests, "requests of kinds that are not re-driven"),
        (left_out.former_connections, "connections whose queue pair numbers were used again"),
        (left_out.holes, "places where requests are missing"),
    ];
    let texts: Vec<String> = entries
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", group(*n)))
        .collect();
    texts.join(", ")
}
