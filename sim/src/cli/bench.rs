//! `qpmux bench`.

use std::path::PathBuf;

use clap::ValueEnum;
use qpmux_engine::Verify;
use qpmux_engine::policy::Profile;
use qpmux_workloads::keys::Ycsb;
use schemars::JsonSchema;
use serde::Serialize;

use super::Outcome;
use super::output::print;
use super::progress::Progress;
use crate::bench::{
    self, CacheBench, CaseReport, EnginePlan, EngineReport, EventBench, FrameHome, ReplayBench,
    ReplayPlan, Trust,
};
use crate::options::policy::PolicyArgs;

/// Measure what parts of qpmux cost on this machine, beside their floors.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  qpmux bench events --events 200000\n  \
    qpmux bench engine --map all --connections 4096\n  \
    qpmux bench cases --packets 5000 --rounds 1 --frames hot\n  \
    qpmux bench replay --packets 20000\n  \
    qpmux bench caches --lookups 100000\n\n\
    Each part is measured in turns with its floors, seven times, and the medians are printed.\n\
    Times of different runs cannot be compared where others use the machine as well; ratios can.")]
pub(crate) struct Args {
    /// What is measured.
    #[arg(value_enum, default_value_t = Part::Events)]
    part: Part,
    /// Events of each measurement.
    #[arg(long, default_value_t = 2_000_000, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    events: u64,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    replay: ReplayArgs,
    /// Lookups of each measurement of caches.
    #[arg(long, default_value_t = 2_000_000, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    lookups: u64,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Parts of qpmux.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The event core of simulations.
    Events,
    /// The engine, packet by packet.
    Engine,
    /// The engine in many cases: connections, server queue pairs, workloads, policies. Of the
    /// engine's options, those of traffic, policy and trust do not matter.
    Cases,
    /// Captures through the engine, from file to file.
    Replay,
    /// Caches of the simulated adapters.
    Caches,
}

/// Of which frames ICRCs are verified.
#[derive(Clone, Copy, ValueEnum)]
enum VerifyArg {
    Headers,
    Full,
}

#[derive(clap::Args)]
#[command(next_help_heading = "The engine")]
struct EngineArgs {
    /// YCSB's mix of operations, of reads and updates: A, B, C or W.
    #[arg(long, default_value = "A", value_parser = workload)]
    workload: Ycsb,
    /// Bytes of a version: 128, 256, 512 or 1024.
    #[arg(long, default_value_t = 1024, value_name = "BYTES", value_parser = object)]
    object: u16,
    /// Connections, each of a client of its own.
    #[arg(long, default_value_t = 64, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Threads that share a connection: operations that it has on its way at once.
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=16))]
    threads: u32,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Of which frames the ICRC is verified.
    #[arg(long, value_enum, default_value_t = VerifyArg::Headers)]
    verify: VerifyArg,
    /// How the engine knows its connections.
    #[arg(long, value_enum, default_value_t = Trust::Directory)]
    trust: Trust,
    /// Frames of one call.
    #[arg(long, default_value_t = 32, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=64))]
    burst: u32,
    /// Frames of one pass; of a replay, packets [default: 200000; of a replay 1000000].
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    packets: Option<u64>,
    /// Passes of each measurement, also of a replay.
    #[arg(long, default_value_t = 7, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Where frames are when the engine gets them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHERE",
        default_values = ["hot", "shared", "memory"])]
    frames: Vec<FrameHome>,
    /// Measure the engine alone.
    #[arg(long)]
    no_floors: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Replays")]
struct ReplayArgs {
    /// Capture that is replayed; without one, Clover's traffic is made.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
}

fn workload(text: &str) -> Result<Ycsb, String> {
    match text.parse()? {
        workload @ (Ycsb::A | Ycsb::B | Ycsb::C | Ycsb::W) => Ok(workload),
        _ => Err("must be A, B, C or W".to_owned()),
    }
}

fn object(text: &str) -> Result<u16, String> {
    let found = text.parse().ok().filter(|bytes| matches!(bytes, 128 | 256 | 512 | 1024));
    found.ok_or_else(|| "must be 128, 256, 512 or 1024".to_owned())
}

impl EngineArgs {
    fn plan(&self) -> EnginePlan {
        EnginePlan {
            workload: self.workload,
            object: self.object,
            connections: self.connections,
            threads: self.threads,
            policy: self.policy.policy(Profile::keyless()),
            verify: match self.verify {
                VerifyArg::Headers => Verify::Headers,
                VerifyArg::Full => Verify::Full,
            },
            trust: self.trust,
            burst: self.burst,
            packets: self.packets.unwrap_or(200_000),
            rounds: self.rounds as usize,
            homes: self.frames.clone(),
            floors: !self.no_floors,
        }
    }
}

/// What parts of qpmux cost on this machine.
#[derive(JsonSchema, Serialize)]
#[serde(untagged)]
pub(super) enum Document {
    /// The event core.
    Events {
        /// Each measurement.
        events: Vec<EventBench>,
    },
    /// The engine.
    Engine {
        /// What it costs for each packet.
        engine: Box<EngineReport>,
    },
    /// The engine in many cases.
    Cases {
        /// Each of them.
        cases: Vec<CaseReport>,
    },
    /// Replays.
    Replay {
        /// What they cost for each packet.
        replay: ReplayBench,
    },
    /// Caches.
    Caches {
        /// Each measurement.
        caches: Vec<CacheBench>,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new();
    let mut told = |done, total| progress.count("measuring", done, total);
    let (document, text) = match args.part {
        Part::Events => {
            let events = bench::events(args.events, &mut told)?;
            let text = bench::render_events(&events);
            (Document::Events { events }, text)
        }
        Part::Engine => {
            let engine = bench::engine(&args.engine.plan(), &mut told)?;
            let text = bench::render_engine(&engine);
            (Document::Engine { engine: Box::new(engine) }, text)
        }
        Part::Cases => {
            let cases = bench::cases(&args.engine.plan(), &mut told)?;
            let text = bench::render_cases(&cases);
            (Document::Cases { cases }, text)
        }
        Part::Replay => {
            let plan = ReplayPlan {
                capture: args.replay.capture.clone(),
                packets: args.engine.packets.unwrap_or(1_000_000),
                rounds: args.engine.rounds as usize,
            };
            let replay = bench::replay(&plan, &mut told)?;
            let text = bench::render_replay(&replay);
            (Document::Replay { replay }, text)
        }
        Part::Caches => {
            let caches = bench::caches(args.lookups, &mut told)?;
            let text = bench::render_caches(&caches);
            (Document::Caches { caches }, text)
        }
    };
    progress.finish();
    print(args.json, &document, &text)?;
    Ok(Outcome::Good)
}
