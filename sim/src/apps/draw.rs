//! Plans drawn by seed: small runs of every kind, in which every check must hold.

use qpmux_engine::Config;
use qpmux_engine::policy::{Atomics, KeyMap, Map, Order, Policy, Steer};
use qpmux_workloads::keys::{KeyDistribution, Ycsb, generator};
use qpmux_workloads::{ProfileError, load_profile};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::plan::{App, CloverPlan, Load, LockPlan, Middlebox, Plan, Release, engine_config};
use crate::fabric::EngineSetup;

/// Stream of chance of what is drawn: no run has it.
const STREAM: u64 = 1 << 42;
/// Code of the clients' timeout: 1 ms.
const TIMEOUT: u8 = 8;
/// With the losses drawn, nobody is to give up.
const RETRIES: u32 = 64;

impl Plan {
    /// The plan of a seed.
    ///
    /// # Errors
    /// When a built-in profile cannot be read.
    pub fn draw(seed: u64) -> Result<Plan, ProfileError> {
        let mut rng = generator(seed, STREAM);
        let clover = rng.random_ratio(2, 3);
        let load = load(&mut rng);
        let mut policy = policy(&mut rng, clover)?;
        let replaces = policy.atomics == Atomics::Replace;
        // That is sound only if nobody goes past the engine.
        let alone = replaces || rng.random_ratio(2, 3);
        let app = if clover {
            App::Clover(clover_plan(&mut rng, policy.steer, alone))
        } else {
            App::Lock(lock_plan(&mut rng, &mut policy))
        };
        let setup = EngineSetup {
            policy,
            config: if rng.random_ratio(1, 3) { tiny(&mut rng) } else { engine_config(TIMEOUT) },
            shards: 1,
        };
        Ok(Plan {
            app,
            load,
            seed,
            middlebox: Middlebox::Engine(Box::new(setup)),
            loss: pick(&mut rng, &[0.0, 0.0, 0.001, 0.01, 0.05]),
            timeout: TIMEOUT,
            retries: RETRIES,
            around: if alone { 0 } else { rng.random_range(0..=load.threads / 2) },
            meddling_ns: (!alone && rng.random()).then(|| rng.random_range(5_000..50_000)),
        })
    }
}

fn pick<T: Copy>(rng: &mut Pcg64, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}

fn load(rng: &mut Pcg64) -> Load {
    let machines = rng.random_range(1..=4);
    Load {
        machines,
        threads: machines * rng.random_range(1..=4),
        keys: rng.random_range(1..=24),
        distribution: KeyDistribution::Zipf { theta: pick(rng, &[0.0, 0.99, 1.5]) },
        operations: rng.random_range(100..=1_500),
    }
}

/// Any policy that can be, and promises what the application needs.
fn policy(rng: &mut Pcg64, clover: bool) -> Result<Policy, ProfileError> {
    loop {
        let policy = Policy {
            map: pick(rng, &[Map::None, Map::Writes, Map::All, Map::All]),
            key_map: pick(rng, &[KeyMap::Modulo, KeyMap::Hash, KeyMap::Rendezvous]),
            server_qps: rng.random_range(0..=4),
            order: pick(rng, &[Order::Fenced, Order::Keyed]),
            profile: load_profile(if clover { "clover" } else { "lock-table" })?,
            steer: pick(rng, &[Steer::None, Steer::Writes, Steer::All, Steer::All]),
            atomics: pick(rng, &[Atomics::Keep, Atomics::Replace]),
            ..Policy::default()
        };
        if policy.check().is_ok() {
            return Ok(policy);
        }
    }
}

fn clover_plan(rng: &mut Pcg64, steer: Steer, alone: bool) -> CloverPlan {
    // Steered, superseded slots find their way back only if the engine sees them reported; nor do
    // those that follow what the memory node has appended.
    let through_metadata = rng.random();
    let recycles = (steer == Steer::None || through_metadata) && alone && rng.random();
    CloverPlan {
        workload: pick(rng, &[Ycsb::A, Ycsb::A, Ycsb::B, Ycsb::W]),
        value_len: pick(rng, &[16, 100, 200, 1_000]),
        slots_max: recycles.then(|| rng.random_range(450..600)),
        through_metadata,
    }
}

fn lock_plan(rng: &mut Pcg64, policy: &mut Policy) -> LockPlan {
    let guarded = rng.random();
    if guarded {
        // The release must not overtake what the lock guards.
        policy.order = Order::Fenced;
    }
    LockPlan {
        release: pick(rng, &[Release::Write, Release::CompareSwap]),
        hold_ns: rng.random_range(0..5_000),
        guarded,
    }
}

/// Tables so small that they are full now and then.
fn tiny(rng: &mut Pcg64) -> Config {
    Config {
        addresses_max: rng.random_range(0..64),
        words_max: rng.random_range(0..32),
        lists_max: rng.random_range(0..16),
        nodes_max: rng.random_range(0..64),
        held_responses_max: rng.random_range(2..32),
        ..engine_config(TIMEOUT)
    }
}
