//! What the engine costs for each packet, alone.
//!
//! Clients of Clover in a closed loop, and a server, are run through an engine once, and every
//! call with its frames, its time and its result is written down. Then the same calls are given
//! to fresh engines, with nothing in between but what any host has to do: lend the frames, and look
//! at each action. Every action and every byte that goes out has to be what it was, or there is
//! no result.
//!
//! What is measured is the thread's processor time in those calls, timers and counters included,
//! divided by the frames that come in: half of them requests, half answers. What is not: anything
//! of a port or a card, copying frames, other shards, a log, lost packets, and connections that
//! are met or end meanwhile. Frames are written before, by the same thread: `hot` just so many that
//! they are in its own cache, `shared` so many that they are in the cache that cores share, which
//! is where a card puts them; `memory` all of them, so that none is in any cache. The engine's own
//! tables are where its use of them leaves them: writing and checking frames in between evicts
//! some, so the numbers are upper bounds.
//!
//! Floors are measured in turns with the engine, on the same frames.

mod cases;
mod passes;
mod recording;
mod report;
#[cfg(test)]
mod tests;
mod traffic;

use qpmux_engine::policy::{Directory, Map, Policy, PolicyError, TrustBy};
use qpmux_engine::{BuildError, Config, Engine, ShardId, Verify};
use qpmux_workloads::keys::{KeyError, Ycsb};
use qpmux_workloads::{ProfileError, load_profile};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) use self::passes::patch;
use self::passes::{Engines, Floor, pass};
use self::recording::{Recorder, Recording};
use self::traffic::Traffic;

pub use self::cases::{CaseReport, cases, render_cases};
pub use self::report::{EngineReport, render_text};

/// Rounds of each measurement: see [`super::ROUNDS`].
const ROUNDS: usize = super::ROUNDS;

/// Where frames are when the engine gets them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FrameHome {
    /// In the core's own cache.
    Hot,
    /// In the cache that cores share.
    Shared,
    /// In memory.
    Memory,
}

impl FrameHome {
    /// Frames that are written at a time. With some 400 bytes in use of each they take 0.2 and
    /// 8 MB.
    fn frames(self) -> usize {
        match self {
            FrameHome::Hot => 512,
            FrameHome::Shared => 20_000,
            FrameHome::Memory => usize::MAX,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FrameHome::Hot => "hot",
            FrameHome::Shared => "shared",
            FrameHome::Memory => "memory",
        }
    }
}

/// How an engine knows its connections, and what it may ask of server queue pairs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// It was told at the start.
    Directory,
    /// It learns both from what passes, before the measurement begins.
    Observed,
    /// It knows no connection, and learns none: all passes.
    Strangers,
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct EnginePlan {
    /// Clover's mix of operations.
    pub workload: Ycsb,
    /// Bytes of a version: 128, 256, 512 or 1024.
    pub object: u16,
    /// Connections, each of a client of its own.
    pub connections: u32,
    /// Threads that share a connection: operations that it has on its way at once. With more than
    /// one, requests for different server queue pairs wait for each other.
    pub threads: u32,
    /// What the engine does. How it trusts, and whose keys it knows, is added.
    pub policy: Policy,
    /// Of which frames the ICRC is verified.
    pub verify: Verify,
    /// Who tells the engine of connections.
    pub trust: Trust,
    /// Frames of one call.
    pub burst: u32,
    /// Frames of one pass.
    pub packets: u64,
    /// Passes of each measurement.
    pub rounds: usize,
    /// Where frames are.
    pub homes: Vec<FrameHome>,
    /// Whether floors are measured as well.
    pub floors: bool,
}

impl Default for EnginePlan {
    fn default() -> EnginePlan {
        EnginePlan {
            workload: Ycsb::A,
            object: 1024,
            connections: 64,
            threads: 1,
            policy: Policy { map: Map::Writes, ..Policy::default() },
            verify: Verify::Headers,
            trust: Trust::Directory,
            burst: 32,
            packets: 200_000,
            rounds: ROUNDS,
            homes: vec![FrameHome::Hot, FrameHome::Shared, FrameHome::Memory],
            floors: true,
        }
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No such traffic.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No such application.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// No such policy.
    #[error("policy: {0}")]
    Policy(PolicyError),
    /// No such engine.
    #[error("engine: {0}")]
    Build(BuildError),
    /// The recording cannot be made, or an engine did something else than was recorded.
    #[error("not measured: {0}")]
    Recording(String),
}

/// How engines are made.
struct Plant {
    config: Config,
    policy: Policy,
    directory: Directory,
}

impl Plant {
    fn new(plan: &EnginePlan, traffic: &Traffic) -> Result<Plant, BenchError> {
        let observed = plan.trust == Trust::Observed;
        let policy = Policy {
            trust: if observed { TrustBy::Observation } else { TrustBy::Directory },
            profile: load_profile("clover")?,
            ..plan.policy.clone()
        };
        policy.check().map_err(BenchError::Policy)?;
        let directory = match plan.trust {
            Trust::Directory => {
                let (regions, grants) = traffic.memory();
                Directory::new(traffic.connections(), regions, grants, &policy)
                    .map_err(|error| BenchError::Build(BuildError::Directory(error)))?
            }
            Trust::Observed | Trust::Strangers => Directory::empty(),
        };
        let config = Config {
            requests_max: plan.connections.saturating_mul(4 * plan.threads).max(65_536),
            connections_max: plan.connections.max(4_096),
            grants_max: plan.connections.saturating_mul(4).max(16_384),
            path_mtu: Some(1024),
            depth: Some(traffic::DEPTH),
            verify: plan.verify,
            ..Config::default()
        };
        Ok(Plant { config, policy, directory })
    }

    fn engine(&self) -> Result<Engine, BenchError> {
        self.engine_of(self.config)
    }

    fn engine_of(&self, config: Config) -> Result<Engine, BenchError> {
        let (policy, directory) = (self.policy.clone(), self.directory.clone());
        Engine::new(config, policy, directory, ShardId(0), 1).map_err(BenchError::Build)
    }
}

/// Runs clients and servers through an engine until enough is written down.
fn record(plan: &EnginePlan) -> Result<(Plant, Recording), BenchError> {
    let profile = load_profile("clover")?;
    let list = profile.list().ok_or_else(|| said("Clover has lists"))?;
    let mut traffic =
        Traffic::new(plan.workload, (plan.connections, plan.threads), plan.object, list)?;
    let plant = Plant::new(plan, &traffic)?;
    let mut engine = plant.engine()?;
    let mut recorder = Recorder::new(&mut engine, &mut traffic, plan.burst as usize);
    let mut warm =
        (plan.packets / 10).max(u64::from(plan.connections) * u64::from(plan.threads) * 16);
    recorder.run(warm).map_err(BenchError::Recording)?;
    // Connections that are learnt flip when they pause.
    while plan.trust == Trust::Observed && recorder.counters().flips < plan.connections.into() {
        if warm > 100 * plan.packets {
            return Err(said("not every connection was translated"));
        }
        warm += plan.packets / 10 + 1;
        recorder.run(warm).map_err(BenchError::Recording)?;
    }
    recorder.end_warm_up();
    recorder.run(warm + plan.packets).map_err(BenchError::Recording)?;
    Ok((plant, recorder.finish()))
}

fn said(what: &str) -> BenchError {
    BenchError::Recording(what.to_owned())
}

/// Measures an engine and its floors. `progress` is told passes done, and of how many.
///
/// # Errors
/// See [`BenchError`].
pub fn engine(
    plan: &EnginePlan,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<EngineReport, BenchError> {
    let (plant, recording) = record(plan)?;
    recording.verify(&mut plant.engine()?).map_err(BenchError::Recording)?;
    // Usual packets are handled in one go: as if it were step by step.
    let config = Config { step_by_step: true, ..plant.config };
    recording.verify(&mut plant.engine_of(config)?).map_err(BenchError::Recording)?;
    let measured = &recording.calls[recording.warm_up..];
    let mut report = EngineReport::new(plan, &recording, measured);
    let total = (plan.homes.len() * plan.rounds) as u64;
    let mut slots = Vec::new();
    for (at, &home) in plan.homes.iter().enumerate() {
        let mut own = Vec::new();
        let mut floors = vec![Vec::new(); if plan.floors { Floor::ALL.len() } else { 0 }];
        for round in 0..plan.rounds {
            for (floor, costs) in Floor::ALL.into_iter().zip(&mut floors) {
                let mut work = floor;
                let cost = pass(&recording, home, &mut slots, &mut work, &|_, _| true);
                costs.push(cost.map_err(BenchError::Recording)?);
            }
            let mut work = Engines::new(plant.engine()?);
            work.warm_up(&recording);
            let check =
                |calls: &[recording::Call], slots: &[u8]| recording.is_as_recorded(calls, slots);
            let cost = pass(&recording, home, &mut slots, &mut work, &check);
            own.push(cost.map_err(BenchError::Recording)?);
            if !work.is_as_recorded(&recording) {
                return Err(said("an engine did something else than was recorded"));
            }
            progress((at * plan.rounds + round + 1) as u64, total);
        }
        report.add(home, own, floors);
    }
    Ok(report)
}
