//! What was counted, as one JSON document: the engine's names are those of `qpmux replay --json`.

use std::collections::BTreeMap;

use qpmux_engine::{ClientId, ConnectionState, Nanos, Side};
use serde::Serialize;

use crate::driver::{Driver, PortCounters};
use crate::host::Host;
use crate::journal::Written;

type Named = BTreeMap<&'static str, u64>;

/// The counters of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The engine's single numbers.
    #[serde(flatten)]
    pub totals: Named,
    /// Messages with a key that stayed on their client's own server queue pair, by reason.
    pub declined: Named,
    /// Atomics that stayed atomics although they are replaced, by reason.
    pub kept: Named,
    /// Packets that the engine made, by kind.
    pub generated: Named,
    /// Packets that the engine did not pass on, by reason.
    pub drops: Named,
    /// Server queue pairs that carried a request.
    pub server_qps_used: usize,
    /// Those of them that carried requests of others than their owner.
    pub server_qps_hosting: usize,
    /// Connections, by how far they are.
    pub connections: Named,
    /// What is still open.
    pub open: Open,
    /// Frames that the engine has not seen, because they are of no configured server.
    pub passed_not_ours: u64,
    /// The two interfaces.
    pub ports: Ports,
    /// Contradictions between engine and host: defects.
    pub broken: u64,
    /// How long it ran, in nanoseconds.
    pub duration_ns: u64,
    /// Processor time that the workers have taken since they began, in nanoseconds.
    pub loop_cpu_ns: u64,
    /// What was read and written of the journal, if there is one.
    pub journal: Option<Written>,
    /// Each worker's part.
    pub workers: Vec<WorkerReport>,
}

/// What one worker did.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerReport {
    /// Frames that its queues brought.
    pub received: u64,
    /// Those of them that it gave to others.
    pub handed_over: u64,
    /// Frames that it sent.
    pub sent: u64,
    /// Processor time that it has taken, in nanoseconds.
    pub loop_cpu_ns: u64,
}

/// What is open: nothing at rest.
#[derive(Clone, Debug, Serialize)]
pub struct Open {
    /// Buffers that the engine keeps.
    pub buffers: usize,
    /// Requests of clients.
    pub client_requests: usize,
    /// Requests to servers.
    pub server_requests: usize,
}

/// Both interfaces.
#[derive(Clone, Debug, Serialize)]
pub struct Ports {
    /// Towards the clients.
    pub client: PortReport,
    /// Towards the servers.
    pub server: PortReport,
}

/// One interface.
#[derive(Clone, Debug, Serialize)]
pub struct PortReport {
    /// What it did.
    #[serde(flatten)]
    pub counters: PortCounters,
    /// Frames that the kernel lost because the loop did not keep up.
    pub receive_missed: u64,
}

impl Report {
    /// What `host` has counted until `now`.
    pub fn of<D: Driver>(host: &mut Host<D>, now: Nanos) -> Report {
        let mut port = |side| {
            let (counters, receive_missed) = host.port_counters(side);
            PortReport { counters, receive_missed }
        };
        let ports = Ports { client: port(Side::Client), server: port(Side::Server) };
        let passed_not_ours = host.beside().passed_not_ours();
        let engine = host.engine();
        let mut connections: Named =
            ConnectionState::ALL.iter().map(|state| (state.name(), 0)).collect();
        for connection in engine.connections(ClientId(0)) {
            *connections.entry(connection.state.name()).or_default() += 1;
        }
        let both = [ports.client.counters, ports.server.counters];
        let sum = |of: fn(&PortCounters) -> u64| both.iter().map(of).sum();
        let worker = WorkerReport {
            received: sum(|port| port.received),
            handed_over: sum(|port| port.handed_over),
            sent: sum(|port| port.sent),
            loop_cpu_ns: host.cpu_ns(),
        };
        let counters = engine.counters();
        let (client_requests, server_requests) = engine.open_requests();
        Report {
            totals: counters.totals().collect(),
            declined: counters.declined_by_name().collect(),
            kept: counters.kept_by_name().collect(),
            generated: counters.generated_by_name().collect(),
            drops: counters.drops_by_name().collect(),
            server_qps_used: engine.server_qps().filter(|qp| qp.carried).count(),
            server_qps_hosting: engine.server_qps().filter(|qp| qp.hosted).count(),
            connections,
            passed_not_ours,
            open: Open { buffers: host.kept(), client_requests, server_requests },
            ports,
            broken: host.broken(),
            duration_ns: now.0,
            loop_cpu_ns: worker.loop_cpu_ns,
            journal: host.written(),
            workers: vec![worker],
        }
    }

    /// Adds what another worker has counted at the same time.
    pub fn merge(&mut self, other: Report) {
        for (counts, more) in [
            (&mut self.totals, other.totals),
            (&mut self.declined, other.declined),
            (&mut self.kept, other.kept),
            (&mut self.generated, other.generated),
            (&mut self.drops, other.drops),
            (&mut self.connections, other.connections),
        ] {
            more.into_iter().for_each(|(name, count)| *counts.entry(name).or_default() += count);
        }
        self.server_qps_used += other.server_qps_used;
        self.server_qps_hosting += other.server_qps_hosting;
        self.open.buffers += other.open.buffers;
        self.open.client_requests += other.open.client_requests;
        self.open.server_requests += other.open.server_requests;
        self.passed_not_ours += other.passed_not_ours;
        self.ports.client.merge(&other.ports.client);
        self.ports.server.merge(&other.ports.server);
        self.broken += other.broken;
        self.duration_ns = self.duration_ns.max(other.duration_ns);
        self.loop_cpu_ns += other.loop_cpu_ns;
        if let (Some(sum), Some(other)) = (&mut self.journal, &other.journal) {
            sum.merge(other);
        }
        self.workers.extend(other.workers);
    }
}

impl PortReport {
    fn merge(&mut self, other: &PortReport) {
        self.counters.merge(&other.counters);
        // Each worker tells it of the whole port.
        self.receive_missed = self.receive_missed.max(other.receive_missed);
    }
}
