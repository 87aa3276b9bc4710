//! An engine is switched to another policy while it runs.

#[path = "support/apps.rs"]
mod support;

use qpmux_engine::policy::{
    Atomics, Choices, Directory, KeyMap, Map, Policy, PolicyError, Steer, SwitchError,
};
use qpmux_engine::{Config, Engine, ShardId};
use qpmux_sim::apps::{App, CloverPlan, LockPlan, Plan, Release, Switch};
use qpmux_workloads::keys::Ycsb;
use qpmux_workloads::load_profile;
use support::good;

const OPERATIONS: u64 = 3_000;
const MOST: Choices = Choices { map: Map::All, steer: Steer::All, atomics: Atomics::Replace };

fn policy(most: Choices, profile: &str) -> Policy {
    Policy { profile: load_profile(profile).unwrap(), ..Policy::default() }.with(most)
}

/// Through an engine that is built for `most`.
fn plan(app: App, most: Choices, switches: Vec<Switch>) -> Plan {
    let policy = policy(most, app.profile());
    support::plan(app, OPERATIONS, policy, switches)
}

fn clover(most: Choices, switches: Vec<Switch>) -> Plan {
    let clover =
        CloverPlan { workload: Ycsb::A, value_len: 100, slots_max: None, through_metadata: true };
    plan(App::Clover(clover), most, switches)
}

fn locks(most: Choices, switches: Vec<Switch>) -> Plan {
    let lock = LockPlan { release: Release::CompareSwap, hold_ns: 1_000, guarded: true };
    plan(App::Lock(lock), most, switches)
}

/// All that an engine built for `most` can be switched to.
fn choices(most: Choices, profile: &str) -> Vec<Choices> {
    let policy = policy(most, profile);
    let mut all = Vec::new();
    for map in [Map::Writes, Map::All] {
        for steer in [Steer::None, Steer::Writes, Steer::All] {
            let each = [Atomics::Keep, Atomics::Replace];
            all.extend(each.map(|atomics| Choices { map, steer, atomics }));
        }
    }
    all.retain(|to| policy.check_switch(*to).is_ok());
    all
}

/// From each policy to each other, with pauses in which much is on its way.
fn back_and_forth(all: &[Choices]) -> Vec<Switch> {
    let pairs = all.iter().flat_map(|one| all.iter().flat_map(move |other| [*one, *other]));
    (0..).step_by(15).zip(pairs).map(|(after, to)| Switch { after, to }).collect()
}

#[test]
fn applications_keep_their_promises_while_policies_change() {
    let no_lists = Choices { steer: Steer::None, ..MOST };
    for loss in [0.0, 0.01] {
        let switches = back_and_forth(&choices(MOST, "clover"));
        let outcome = good(&Plan { loss, ..clover(MOST, switches) });
        assert!(outcome.phases.len() > 150, "{} phases", outcome.phases.len());
        let sum: u64 = outcome.phases.iter().map(|phase| phase.operations).sum();
        assert_eq!(sum, outcome.operations);
        let garbage = outcome.garbage.unwrap();
        assert_eq!((garbage.untrue, garbage.leaked), (0, 0), "{garbage:?}");
        good(&Plan { loss, ..locks(no_lists, back_and_forth(&choices(no_lists, "lock-table"))) });
    }
}

#[test]
fn each_phase_shows_what_its_policy_does() {
    let plain = Choices { map: Map::All, steer: Steer::None, atomics: Atomics::Keep };
    let steps = [plain, MOST, plain].into_iter().zip((0..).step_by(OPERATIONS as usize / 3));
    let switches = steps.map(|(to, after)| Switch { after, to }).collect();
    let phases = good(&clover(MOST, switches)).phases;
    let first = |at: usize, kind| phases[at].first_try_success[kind];
    assert_eq!(phases.len(), 3);
    for kind in ["compare_swap", "read"] {
        assert!(first(0, kind) < 0.6 && first(2, kind) < 0.6, "{phases:#?}");
        assert!(first(1, kind) > 0.95, "{phases:#?}");
    }
    assert!(phases[1].throughput_ops_per_s > 1.5 * phases[0].throughput_ops_per_s);
}

/// So two policies can be compared on one engine.
#[test]
fn what_an_engine_is_switched_to_is_as_if_it_were_built_for_that() {
    for to in choices(MOST, "clover") {
        let mut built = good(&clover(to, Vec::new()));
        let mut switched = good(&clover(MOST, vec![Switch { after: 0, to }]));
        switched.engine.remove("switches");
        let phases = std::mem::take(&mut switched.phases);
        assert_eq!(phases.iter().map(|phase| phase.operations).sum::<u64>(), OPERATIONS);
        (built.wall_s, switched.wall_s) = (0.0, 0.0);
        assert_eq!(format!("{built:#?}"), format!("{switched:#?}"), "{to}");
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let engine = |policy: &Policy, config: &Config| {
        Engine::new(*config, policy.clone(), Directory::empty(), ShardId(0), 1).unwrap()
    };
    let refused = |built: &Policy, to: Choices| {
        let mut engine = engine(built, &Config::default());
        let error = engine.switch(to).unwrap_err();
        assert_eq!((engine.choices(), engine.counters().switches), (built.choices(), 0));
        error
    };
    let plain = Choices { map: Map::Writes, steer: Steer::None, atomics: Atomics::Keep };
    let (most, least) = (policy(MOST, "clover"), policy(plain, "clover"));
    let none = Choices { map: Map::None, ..plain };
    assert_eq!(refused(&most, none), SwitchError::Untranslated);
    assert_eq!(refused(&policy(none, "clover"), plain), SwitchError::Untranslated);
    assert_eq!(refused(&least, Choices { map: Map::All, ..plain }), SwitchError::Map);
    assert_eq!(refused(&least, Choices { steer: Steer::Writes, ..plain }), SwitchError::Steer);
    let replaces = Choices { atomics: Atomics::Replace, ..plain };
    assert_eq!(refused(&least, replaces), SwitchError::Atomics);
    let reads = Choices { steer: Steer::All, ..plain };
    assert_eq!(refused(&most, reads), SwitchError::Policy(PolicyError::SteerReadsUnmapped));
    let all = policy(Choices { map: Map::All, ..plain }, "clover");
    let folded = Policy { key_map: KeyMap::ByConnection, ..all.clone() };
    assert_eq!(refused(&folded, plain), SwitchError::ByConnection);

    let recording = Config { records: true, ..Config::default() };
    assert_eq!(engine(&all, &recording).switch(plain), Err(SwitchError::Records));
    let shared = Engine::new(Config::default(), least, Directory::empty(), ShardId(0), 2);
    assert_eq!(shared.unwrap().switch(reads), Err(SwitchError::Shards));

    let mut engine = engine(&most, &Config::default());
    for to in choices(MOST, "clover") {
        engine.switch(to).unwrap();
        assert_eq!(engine.choices(), to);
    }
    engine.switch(engine.choices()).unwrap();
    assert_eq!(engine.counters().switches, choices(MOST, "clover").len() as u64);
}
