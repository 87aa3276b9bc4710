//! `qpmux synth`: an application's traffic as a capture, with nobody's cluster.
//!
//! Clients are the state machines of `workloads`, adapters the models of [`crate::rc`], servers
//! have real memory; what they send to each other passes a tap between clients and servers, and
//! becomes the capture. Everything follows from the configuration and its seed.
//!
//! The network is `crate::fabric`, what runs on it `crate::apps::clover`.

use std::collections::BTreeSet;
use std::path::Path;

use qpmux_traces::CaptureWriter;
use qpmux_workloads::clover::{CloverConfig, ConfigError, Variant};
use qpmux_workloads::keys::{KeyDistribution, KeyError, Ycsb};

use crate::apps::clover::{World, faithful_network};
use crate::apps::{Load, PlanError, check_workload};

/// Time of the first event, ns since 1970: any, but always the same.
const START_NS: u64 = 1_600_000_000_000_000_000;

/// What to synthesize.
#[derive(Clone, Debug)]
pub struct SynthConfig {
    /// Mix of operations: reads and updates only.
    pub workload: Ycsb,
    /// Client threads, on all machines together.
    pub threads: u16,
    /// Client machines, `1..=threads`.
    pub machines: u16,
    /// Keys, from 1 on.
    pub keys: u64,
    /// How they are chosen.
    pub distribution: KeyDistribution,
    /// Operations of all threads together, opening keys aside.
    pub operations: u64,
    /// Bytes of a value.
    pub value_len: u16,
    /// Seed of everything random.
    pub seed: u64,
    /// Whose Clover.
    pub variant: Variant,
    /// Five operations at a time per thread.
    pub coroutines: bool,
    /// The tap also sees what goes to and from the metadata server.
    pub metadata: bool,
}

/// Why nothing can be synthesized.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// Numbers or a workload that cannot be.
    #[error(transparent)]
    Load(#[from] PlanError),
    /// No such Clover.
    #[error(transparent)]
    Clover(#[from] ConfigError),
    /// No such keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The capture cannot be written.
    #[error(transparent)]
    Capture(#[from] qpmux_traces::CaptureError),
    /// The models contradict each other: a fault of this program.
    #[error("the models contradict each other: {0}")]
    Models(String),
}

/// What was synthesized.
#[derive(Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
pub struct SynthReport {
    /// Packets in the capture.
    pub packets: u64,
    /// Bytes of their frames, without frame check sequence.
    pub frame_bytes: u64,
    /// Operations done, opening keys aside.
    pub operations: u64,
    /// Of these, reads.
    pub reads: u64,
    /// Of these, updates.
    pub updates: u64,
    /// Keys opened.
    pub keys_opened: u64,
    /// Queue pair pairs of which the capture has packets.
    pub connections: u64,
    /// COMPARE_SWAPs that appended a version.
    pub commits: u64,
    /// COMPARE_SWAPs that failed, as another thread had been first.
    pub commits_lost: u64,
    /// Superseded versions that readers and writers came by.
    pub hops: u64,
    /// Requests to the metadata server.
    pub metadata_requests: u64,
    /// Slots that were taken back to be used again.
    pub slots_recycled: u64,
    /// From the first packet to the last, in nanoseconds.
    pub duration_ns: u64,
}

impl SynthReport {
    /// The report for people.
    #[must_use]
    pub fn render_text(&self) -> String {
        format!(
            "{} packets, {} bytes, {} connections, {:.3} ms\n\
             {} operations: {} reads, {} updates; {} keys opened\n\
             commits: {} won, {} lost; {} hops; {} requests to the metadata server, \
             {} slots recycled\n",
            self.packets,
            self.frame_bytes,
            self.connections,
            self.duration_ns as f64 / 1e6,
            self.operations,
            self.reads,
            self.updates,
            self.keys_opened,
            self.commits,
            self.commits_lost,
            self.hops,
            self.metadata_requests,
            self.slots_recycled
        )
    }
}

impl SynthConfig {
    /// Who does how much.
    fn load(&self) -> Load {
        Load {
            threads: self.threads,
            machines: self.machines,
            keys: self.keys,
            distribution: self.distribution,
            operations: self.operations,
        }
    }

    /// The Clover to run.
    fn clover(&self) -> Result<CloverConfig, SynthError> {
        let load = self.load();
        load.check()?;
        check_workload(self.workload)?;
        let workers = load.threads_per_machine();
        let mut clover = CloverConfig::new(self.variant, self.machines, workers, self.value_len)?;
        clover.coroutines = self.coroutines;
        Ok(clover)
    }
}

/// What the tap has seen.
#[derive(Default)]
struct Seen {
    packets: u64,
    frame_bytes: u64,
    connections: BTreeSet<usize>,
    /// Times of the first and the last, ns.
    span: Option<(u64, u64)>,
}

impl Seen {
    fn note(&mut self, now: u64, connection: usize, frame: &[u8]) {
        self.packets += 1;
        self.frame_bytes += frame.len() as u64;
        self.connections.insert(connection);
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
    }
}

/// Writes a capture to `out`, whole or not at all. `progress` is told operations done.
///
/// # Errors
/// See [`SynthError`].
pub fn synthesize(
    config: &SynthConfig,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<SynthReport, SynthError> {
    let clover = config.clover()?;
    let mut writer = CaptureWriter::create(out)?;
    let mut seen = Seen::default();
    let mut tap = |now: u64, connection: usize, frame: &[u8]| {
        seen.note(now, connection, frame);
        writer.write(START_NS + now, frame)
    };
    let fabric = faithful_network(&clover, config.metadata).with_tap(&mut tap);
    let mut world = World::new(&clover, &config.load(), config.workload, config.seed, fabric)?;
    world.run(progress)?;
    let mut report = report(&world)?;
    drop(world);
    report.packets = seen.packets;
    report.frame_bytes = seen.frame_bytes;
    report.connections = seen.connections.len() as u64;
    report.duration_ns = seen.span.map_or(0, |(first, last)| last - first);
    writer.finish()?;
    Ok(report)
}

/// What the run showed, if the models agree with each other.
fn report(world: &World<'_>) -> Result<SynthReport, SynthError> {
    let broken = world.fabric.violations();
    if let Some(complaint) =
        world.complaint().or_else(|| (!broken.is_empty()).then(|| broken.to_string()))
    {
        return Err(SynthError::Models(complaint));
    }
    let (tally, stats, recycled) = (&world.tally, world.stats(), world.recycled());
    Ok(SynthReport {
        operations: tally.operations(),
        reads: tally.reads,
        updates: tally.updates,
        keys_opened: tally.keys_opened,
        commits: stats.commits,
        commits_lost: stats.commits_lost,
        hops: stats.hops,
        metadata_requests: stats.requests,
        slots_recycled: recycled,
        ..SynthReport::default()
    })
}
