//! Raw verbs in a loop: what microbenchmarks of adapters do.

mod measure;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod world;

pub use measure::{Estimate, Measured, part_names};
pub use plan::{Middlebox, Pace, RawOp, Sharing, VerbsError, VerbsPlan};
pub use report::{Caches, NicReport, Quantiles, VerbsReport};

use qpmux_engine::Counters;

use crate::cluster::{BoxCounts, CacheCounts};
use crate::rc::Violations;
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
    /// PCIe reads of the server's adapter.
    pub server_pcie_reads: u64,
    /// Work requests that the first client's adapter fetched twice.
    pub wqe_misses: u64,
    /// Mean time that an operation waited for its word, ns.
    pub word_wait_ns: f64,
    /// Bytes on the wire per operation, both directions, all headers.
    pub bytes_per_op: f64,
    /// What the middlebox has seen, and its engine has counted.
    pub middlebox: Option<(BoxCounts, Counters)>,
    /// COMPARE_SWAPs that failed, and that succeeded.
    pub swaps: [u64; 2],
    /// Operations that ended with an error.
    pub failed: u64,
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
    let cluster = &world.cluster;
    let machines = 0..=plan.machines;
    let bytes: u64 = machines.map(|number| cluster.machine(number).sent_bytes).sum();
    let server = cluster.machine(0);
    let client = cluster.machine(1);
    let ended = world.samples.len().max(1) as f64;
    Ok(VerbsOutcome {
        measured: world.samples.measure(),
        server_caches: server.caches(),
        client_caches: client.caches(),
        server_pcie_reads: server.pcie.counts().reads,
        wqe_misses: client.wqe_misses,
        word_wait_ns: server.words.waited as f64 / 1e3 / ended,
        bytes_per_op: bytes as f64 / ended,
        middlebox: cluster.box_counts().zip(cluster.engine_counters()),
        swaps: world.swaps,
        failed: world.failed,
        open: cluster.open(),
        simulated_s: cluster.now() as f64 * 1e-12,
        events: cluster.events(),
        run_hash: cluster.run_hash(),
        violations: cluster.violations(),
    })
}
