//! Plans drawn by seed: small runs of every kind, in which every check must hold.

use qpmux_engine::Config;
use qpmux_engine::policy::{Atomics, Choices, KeyMap, Map, Order, Policy, Steer};
use qpmux_workloads::keys::{KeyDistribution, Ycsb, generator};
use qpmux_workloads::{ProfileError, load_profile};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::plan::{
    Adversity, App, CloverPlan, Load, LockPlan, Middlebox, Plan, Release, engine_config,
};
use super::wrong;
use crate::fabric::{EngineSetup, Switch};

/// Stream of chance of what is drawn: no run has it.
const STREAM: u64 = 1 << 42;
/// The same of switches: whatever else a seed decides stays as it is.
const SWITCHES: u64 = 1 << 43;
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
        let alone = rng.random_ratio(2, 3);
        let mut app = if clover {
            App::Clover(clover_plan(&mut rng, &policy, alone))
        } else {
            App::Lock(lock_plan(&mut rng, &mut policy))
        };
        let is_wrong = rng.random_ratio(1, 6);
        if is_wrong {
            policy.profile = wrong::profile(&mut rng, &policy, clover)?;
            if let App::Clover(plan) = &mut app {
                // Nobody knows then which slots the reports should name.
                plan.slots_max = None;
            }
        }
        let mut plan = Plan {
            app,
            load,
            seed,
            around: if alone { 0 } else { rng.random_range(0..=load.threads / 2) },
            meddling_ns: (!alone && rng.random()).then(|| rng.random_range(5_000..50_000)),
            loss: pick(&mut rng, &[0.0, 0.0, 0.001, 0.01, 0.05]),
            timeout: TIMEOUT,
            retries: RETRIES,
            adversity: faults(&mut rng),
            middlebox: Middlebox::None,
        };
        let mut setup = setup(&mut rng, policy);
        plan.adversity.big_endian = rng.random_ratio(1, 4);
        let mut misled = rng.random_ratio(1, 3);
        if let App::Clover(CloverPlan { slots_max: Some(_), .. }) = plan.app {
            // Enough for slots to be used again and again. An engine that steers and knows little
            // mends few reports, and in the end no slot would be left.
            plan.load.operations += 700;
            (setup.withheld, misled) = (false, false);
            if setup.policy.steer != Steer::None {
                setup.config = roomy();
            }
        }
        setup.big_endian = plan.adversity.big_endian != misled;
        plan.adversity.strangers = rng.random_ratio(1, 3);
        excuse(&mut rng, &mut plan, &setup.policy, misled);
        setup.switches = switches(seed, &setup, plan.load.operations);
        plan.middlebox = Middlebox::Engine(Box::new(setup));
        Ok(plan)
    }
}

/// Says of which keys updates may be lost, and keeps whoever may make them be lost to those.
fn excuse(rng: &mut Pcg64, plan: &mut Plan, policy: &Policy, misled: bool) {
    let replaces = policy.atomics == Atomics::Replace;
    let alone = plan.around == 0 && plan.meddling_ns.is_none();
    let adversity = &mut plan.adversity;
    if replaces && !alone {
        let some = rng.random_range(1..=plan.load.keys.div_ceil(2));
        (adversity.outside_keys, adversity.unsound_keys) = (Some(some), some);
    }
    if replaces && misled {
        adversity.unsound_keys = u64::MAX;
        if let App::Lock(lock) = &mut plan.app {
            // A COMPARE_SWAP of what was stored the other way round would fail for ever.
            lock.release = Release::Write;
        }
    }
    // One client at a time races with nobody.
    if policy.in_place && !(alone && plan.load.threads == 1) {
        adversity.unsound_keys = u64::MAX;
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
        operations: rng.random_range(50..=800),
    }
}

/// What happens to packets, besides losses.
fn faults(rng: &mut Pcg64) -> Adversity {
    let mut rate = || if rng.random_ratio(1, 2) { 0 } else { pick(rng, &[500, 5_000, 20_000]) };
    let (doubled, delayed, damaged, marked) = (rate(), rate(), rate(), rate());
    let delay_max_ns = pick(rng, &[2_000, 20_000, 200_000]);
    Adversity { doubled, delayed, damaged, marked, delay_max_ns, ..Adversity::default() }
}

/// Any policy that can be, and promises what the application needs.
fn policy(rng: &mut Pcg64, clover: bool) -> Result<Policy, ProfileError> {
    let in_place = clover && rng.random_ratio(1, 8);
    loop {
        let policy = Policy {
            map: pick(rng, &[Map::None, Map::Writes, Map::All, Map::All]),
            key_map: pick(rng, &[KeyMap::Modulo, KeyMap::Hash, KeyMap::Rendezvous]),
            server_qps: rng.random_range(0..=4),
            order: pick(rng, &[Order::Fenced, Order::Keyed]),
            profile: load_profile(if clover { "clover" } else { "lock-table" })?,
            steer: pick(rng, &[Steer::None, Steer::Writes, Steer::All, Steer::All]),
            atomics: pick(rng, &[Atomics::Keep, Atomics::Replace]),
            in_place,
            ..Policy::default()
        };
        if policy.check().is_ok() {
            return Ok(policy);
        }
    }
}

fn setup(rng: &mut Pcg64, policy: Policy) -> EngineSetup {
    let config = if rng.random_ratio(1, 3) { tiny(rng) } else { roomy() };
    // What is known of memory is known on one shard.
    let plain =
        policy.map != Map::All && policy.steer == Steer::None && policy.atomics == Atomics::Keep;
    let shards = if plain { pick(rng, &[1, 2, 4]) } else { 1 };
    EngineSetup {
        policy,
        config,
        shards,
        big_endian: false,
        withheld: rng.random_ratio(1, 12),
        switches: Vec::new(),
    }
}

/// Switches between all that the engine is built for. It may begin with less than that, and several
/// may follow each other closely.
fn switches(seed: u64, setup: &EngineSetup, operations: u64) -> Vec<Switch> {
    let mut rng = generator(seed, SWITCHES);
    if setup.shards > 1 || setup.policy.map == Map::None || rng.random() {
        return Vec::new();
    }
    let mut after = if rng.random() { 0 } else { rng.random_range(0..=operations) };
    let mut switches = Vec::new();
    for _ in 0..rng.random_range(1..=12) {
        let to = Choices {
            map: pick(&mut rng, &[Map::Writes, Map::All]),
            steer: pick(&mut rng, &[Steer::None, Steer::Writes, Steer::All]),
            atomics: pick(&mut rng, &[Atomics::Keep, Atomics::Replace]),
        };
        if setup.policy.check_switch(to).is_ok() {
            switches.push(Switch { after, to });
            let pause = pick(&mut rng, &[4, 50, operations]);
            after += rng.random_range(0..=pause);
        }
    }
    switches
}

fn clover_plan(rng: &mut Pcg64, policy: &Policy, alone: bool) -> CloverPlan {
    // Steered, superseded slots find their way back only if the engine sees them reported; nor do
    // those that follow what the memory node has appended. And slots that are used again past the
    // engine are taken for what they were: who READs one would be steered from there for ever.
    let through_metadata = rng.random();
    let reported = policy.steer == Steer::None || through_metadata && !policy.in_place;
    let recycles = reported && alone && rng.random();
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
        ..roomy()
    }
}

/// Tables in which such a run has room, and which are soon made.
fn roomy() -> Config {
    Config {
        connections_max: 64,
        requests_max: 2_048,
        grants_max: 256,
        declined_keys_max: 256,
        addresses_max: 4_096,
        words_max: 2_048,
        lists_max: 64,
        nodes_max: 4_096,
        ..engine_config(TIMEOUT)
    }
}
