//! `qpmux synth`: an application's traffic as a capture, with nobody's cluster.
//!
//! Clients are the state machines of `workloads`, adapters the models of [`crate::rc`], servers
//! have real memory; what they send to each other passes a tap between clients and servers, and
//! becomes the capture. Everything follows from the configuration and its seed.
//!
//! `world` has the clock and who waits for whom, `network` the hosts, queue pairs and wires,
//! `drivers` the threads and what they are to do.

mod drivers;
mod network;
mod world;

use std::path::Path;

use qpmux_traces::CaptureWriter;
use qpmux_workloads::clover::{CloverConfig, ConfigError, Layout, Variant};
use qpmux_workloads::keys::{KeyDistribution, KeyError, Ycsb};

use world::World;

/// Most client machines: so many have an address in the capture's network.
pub const MACHINES_MAX: u16 = 200;
/// Most client threads per machine.
pub const THREADS_MAX: u16 = 1_000;
/// Most keys: so many shortcuts the memory node has, and the fork opens key 0 besides.
pub const KEYS_MAX: u64 = Layout::SHORTCUTS_MAX - 1;

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
    /// A number out of range.
    #[error("{what} is {value}, must be {least} to {most}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// Clover has neither scans nor inserts while it runs.
    #[error("workload {0} is not for Clover, which reads and updates: take A, B, C or W")]
    Workload(Ycsb),
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
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
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
    /// The Clover to run.
    fn clover(&self) -> Result<CloverConfig, SynthError> {
        let within = |what, value: u64, least: u64, most: u64| {
            let bad = SynthError::Range { what, value, least, most };
            if (least..=most).contains(&value) { Ok(()) } else { Err(bad) }
        };
        let threads_max = u64::from(self.machines) * u64::from(THREADS_MAX);
        within("machines", self.machines.into(), 1, MACHINES_MAX.into())?;
        within("threads", self.threads.into(), self.machines.into(), threads_max)?;
        within("keys", self.keys, 1, KEYS_MAX)?;
        within("ops", self.operations, 1, 1 << 40)?;
        let mix = self.workload.mix();
        if mix.read + mix.update != 100 {
            return Err(SynthError::Workload(self.workload));
        }
        let workers = self.threads.div_ceil(self.machines);
        let mut clover = CloverConfig::new(self.variant, self.machines, workers, self.value_len)?;
        clover.coroutines = self.coroutines;
        Ok(clover)
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
    let mut tap = |time_ns: u64, frame: &[u8]| writer.write(time_ns, frame);
    let report = World::new(config, &clover, &mut tap)?.run(progress)?;
    writer.finish()?;
    Ok(report)
}
