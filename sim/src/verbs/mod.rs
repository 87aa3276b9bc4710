//! Raw verbs in a loop: what microbenchmarks of adapters do.

mod backend;
mod lookup;
mod measure;
#[cfg(test)]
mod network_tests;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use crate::cluster::Conditions;
pub use lookup::TablePlan;
pub use measure::{Estimate, Measured, part_names};
pub use plan::{Middlebox, Pace, RawOp, Sharing, Transport, VerbsError, VerbsPlan};
pub use report::{Caches, NicReport, Quantiles, VerbsReport};
pub use trace::{TracePlan, run_trace};

use qpmux_engine::Counters;

use std::ops::Range;

use crate::cluster::{BoxCounts, CacheCounts, Cluster, Machine, NetworkCounts};
use crate::rc::Violations;
use measure::Samples;
use world::World;

/// What a run of raw verbs showed.
#[derive(Clone, Debug)]
pub struct VerbsOutcome {
    /// Throughput, latency and where time went.
    pub measured: Measured,
    /// The server's caches: contexts, translations, regions.
    pub server_caches: [CacheCounts; 3],
    /// Those of the first client.
    pub client_caches: [CacheCounts; 3],
    /// PCIe reads of the server's adapter, as the host's counters see them: one for each line of 64
    /// bytes that a READ touches, and one for each entry of a cache.
    pub server_pcie_reads: u64,
    /// Work requests that the first client's adapter fetched twice.
    pub wqe_misses: u64,
    /// Acknowledgements of servers that were told with a later one.
    pub coalesced_acks: u64,
    /// Mean time that an operation waited for its word, ns.
    pub word_wait_ns: f64,
    /// Bytes on the wire per operation, both directions, all headers.
    pub bytes_per_op: f64,
    /// What the middlebox has seen, and its engine has counted.
    pub middlebox: Option<(BoxCounts, Counters)>,
    /// Time that cores of clients and server have worked on calls, all together, s; 0 of verbs,
    /// whose threads' time is in the parts.
    pub busy_s: [f64; 2],
    /// What became of frames.
    pub network: NetworkCounts,
    /// COMPARE_SWAPs that failed, and that succeeded.
    pub swaps: [u64; 2],
    /// Operations that ended with an error.
    pub failed: u64,
    /// Operations that have ended: each may have been several verbs.
    pub ended: u64,
    /// Operations posted, completed and under way, and frames on their way, at the end.
    pub open: [u64; 4],
    /// Simulated time, s.
    pub simulated_s: f64,
    /// Events.
    pub events: u64,
    /// Equal for equal runs.
    pub run_hash: u64,
    /// Rules of the transport that were broken.
    pub violations: Violations,
}

/// Makes the run of a plan. `progress` is told operations done.
///
/// # Errors
/// When there is no such run.
pub fn run(
    plan: &VerbsPlan,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<VerbsOutcome, VerbsError> {
    let mut world = World::new(plan, seed)?;
    world.run(progress);
    Ok(VerbsOutcome {
        swaps: world.swaps,
        failed: world.failed,
        ..world.backend.outcome(&world.samples)
    })
}

/// What a cluster and the ends of its operations show; the first of its machines are the servers.
fn outcome<A: Copy, N: Copy>(
    cluster: &Cluster<A, N>,
    samples: &Samples,
    servers: Range<usize>,
) -> VerbsOutcome {
    let machines: Vec<&Machine> = (0..cluster.machines()).map(|n| cluster.machine(n)).collect();
    of_cluster(cluster, of_machines(&machines, samples, servers))
}

/// The same with what a cluster knows besides its machines.
fn of_cluster<A: Copy, N: Copy>(cluster: &Cluster<A, N>, seen: VerbsOutcome) -> VerbsOutcome {
    VerbsOutcome {
        middlebox: cluster.box_counts().zip(cluster.engine_counters()),
        network: cluster.network_counts(),
        open: cluster.open(),
        simulated_s: cluster.now() as f64 * 1e-12,
        events: cluster.events(),
        run_hash: cluster.run_hash(),
        violations: cluster.violations(),
        ..seen
    }
}

/// What machines and the ends of operations show; the first of them are the servers.
fn of_machines(machines: &[&Machine], samples: &Samples, servers: Range<usize>) -> VerbsOutcome {
    let bytes: u64 = machines.iter().map(|machine| machine.sent_bytes).sum();
    let client = machines[servers.end];
    let ended = samples.len().max(1) as f64;
    let mut caches = [CacheCounts::default(); 3];
    let (mut reads, mut waited, mut coalesced_acks) = (0, 0, 0);
    for server in &machines[servers] {
        for (sum, counts) in caches.iter_mut().zip(server.caches()) {
            sum.hits += counts.hits;
            sum.misses += counts.misses;
        }
        reads += server.pcie.counts().reads + server.more_lines;
        waited += server.words.waited;
        coalesced_acks += server.coalesced;
    }
    VerbsOutcome {
        measured: samples.measure(),
        server_caches: caches,
        client_caches: client.caches(),
        server_pcie_reads: reads,
        wqe_misses: client.wqe_misses,
        coalesced_acks,
        word_wait_ns: waited as f64 / 1e3 / ended,
        bytes_per_op: bytes as f64 / ended,
        middlebox: None,
        busy_s: [0.0; 2],
        network: NetworkCounts::default(),
        swaps: [0; 2],
        failed: 0,
        ended: samples.len(),
        open: [0; 4],
        simulated_s: 0.0,
        events: 0,
        run_hash: 0,
        violations: Violations::new(),
    }
}
