//! Applications through the engine keep what they promise.
//!
//! `QPMUX_TEST_TIER=full` tries more seeds.

#[path = "support/apps.rs"]
mod support;

use qpmux_engine::Config;
use qpmux_engine::policy::{Atomics, Map, Order, Policy, Steer};
use qpmux_sim::apps::{
    App, CloverPlan, EngineSetup, LockPlan, Middlebox, Outcome, Plan, Release, engine_config, run,
};
use qpmux_workloads::keys::Ycsb;
use qpmux_workloads::load_profile;
use support::{TIMEOUT, good, plan};

const OPERATIONS: u64 = 4_000;
/// Drawn runs.
const SEEDS_QUICK: u64 = 150;
const SEEDS_FULL: u64 = 3_000;

/// Four machines that update and read few keys.
fn clover(map: Map, steer: Steer, atomics: Atomics) -> Plan {
    let profile = load_profile("clover").unwrap();
    let policy = Policy { map, steer, atomics, profile, ..Policy::default() };
    let app =
        CloverPlan { workload: Ycsb::A, value_len: 100, slots_max: None, through_metadata: false };
    plan(App::Clover(app), OPERATIONS, policy, Vec::new())
}

/// The same with locks.
fn locks(map: Map, atomics: Atomics, of_lock: LockPlan) -> Plan {
    let policy =
        Policy { map, atomics, profile: load_profile("lock-table").unwrap(), ..Policy::default() };
    plan(App::Lock(of_lock), OPERATIONS, policy, Vec::new())
}

const GUARDED: LockPlan = LockPlan { release: Release::Write, hold_ns: 1_000, guarded: true };

fn setup(plan: &mut Plan) -> &mut EngineSetup {
    match &mut plan.middlebox {
        Middlebox::Engine(setup) => setup,
        Middlebox::None => panic!("there is no engine"),
    }
}

/// What of a run has to be the same each time.
fn fingerprint(plan: &Plan) -> Outcome {
    Outcome { wall_s: 0.0, ..run(plan, &mut |_| {}).unwrap() }
}

/// All policies that can be.
fn policies() -> impl Iterator<Item = (Map, Steer, Atomics)> {
    let steers = [Steer::None, Steer::Writes, Steer::All];
    let all = [Map::None, Map::Writes, Map::All].into_iter().flat_map(move |map| {
        let atomics = [Atomics::Keep, Atomics::Replace];
        steers.into_iter().flat_map(move |steer| atomics.map(|atomics| (map, steer, atomics)))
    });
    all.filter(|(map, steer, atomics)| {
        setup(&mut clover(*map, *steer, *atomics)).policy.check().is_ok()
    })
}

#[test]
fn clover_keeps_its_promises_under_every_policy() {
    for (map, steer, atomics) in policies() {
        for loss in [0.0, 0.01] {
            let outcome = good(&Plan { loss, ..clover(map, steer, atomics) });
            let garbage = outcome.garbage.unwrap();
            assert_eq!(garbage.superseded, outcome.application["commits"]);
            if steer == Steer::None {
                assert_eq!((garbage.untrue, garbage.leaked), (0, 0), "{garbage:?}");
            }
        }
    }
}

#[test]
fn steering_spares_clover_its_second_tries() {
    let first = |outcome: &Outcome, kind| outcome.first_try_success[kind];
    let past =
        good(&Plan { middlebox: Middlebox::None, ..clover(Map::None, Steer::None, Atomics::Keep) });
    let mapped = good(&clover(Map::All, Steer::None, Atomics::Keep));
    let writes = good(&clover(Map::Writes, Steer::Writes, Atomics::Keep));
    let all = good(&clover(Map::All, Steer::All, Atomics::Keep));
    for outcome in [&past, &mapped] {
        assert!(first(outcome, "compare_swap") < 0.6, "{}", outcome.render_text());
    }
    assert!(first(&writes, "compare_swap") > 0.98, "{}", writes.render_text());
    assert!(first(&writes, "read") < 0.6, "{}", writes.render_text());
    for kind in ["compare_swap", "read"] {
        assert!(first(&all, kind) > 0.98, "{}", all.render_text());
    }
    assert!(all.throughput_ops_per_s > 1.5 * past.throughput_ops_per_s);
}

#[test]
fn slots_of_clover_are_used_again_and_again() {
    for loss in [0.0, 0.01] {
        let mut plan = Plan { loss, ..clover(Map::All, Steer::None, Atomics::Keep) };
        if let App::Clover(clover) = &mut plan.app {
            (clover.slots_max, clover.through_metadata) = (Some(400), true);
        }
        let outcome = good(&plan);
        assert_eq!(outcome.garbage.unwrap().leaked, 0);
        assert!(outcome.application["updates"] > 4 * 400);
    }
}

#[test]
fn threads_and_the_memory_node_may_go_past_the_engine() {
    for (map, steer) in [(Map::Writes, Steer::None), (Map::All, Steer::None)] {
        let clover = clover(map, steer, Atomics::Keep);
        good(&Plan { around: 5, loss: 0.003, ..clover.clone() });
        good(&Plan { meddling_ns: Some(20_000), ..clover });
    }
    let locks = locks(Map::All, Atomics::Keep, GUARDED);
    good(&Plan { around: 5, loss: 0.003, ..locks.clone() });
    let outcome = good(&Plan { meddling_ns: Some(5_000), ..locks });
    assert!(outcome.application["taken_by_memory_node"] > 0);
}

#[test]
fn locks_are_held_by_one_at_a_time() {
    for map in [Map::None, Map::Writes, Map::All] {
        for atomics in [Atomics::Keep, Atomics::Replace] {
            for release in [Release::Write, Release::CompareSwap] {
                let plan = locks(map, atomics, LockPlan { release, ..GUARDED });
                if map == Map::None && atomics == Atomics::Replace {
                    continue;
                }
                let outcome = good(&Plan { loss: 0.01, ..plan });
                assert_eq!(outcome.application["grants"], outcome.operations);
                if atomics == Atomics::Replace {
                    assert!(outcome.engine["replaced_atomics"] > outcome.operations / 2);
                }
            }
        }
    }
}

/// What posts the release of a lock together with what it guards relies on their order.
#[test]
fn what_a_lock_guards_needs_the_fence() {
    // READs stay on their clients' own queue pairs, so they do not wait for the WRITE either.
    let mut plan = Plan { loss: 0.01, ..locks(Map::Writes, Atomics::Keep, GUARDED) };
    good(&plan);
    setup(&mut plan).policy.order = Order::Keyed;
    let outcome = run(&plan, &mut |_| {}).unwrap();
    assert!(outcome.violations.contains_key("L6"), "{}", outcome.render_text());
    assert_eq!(outcome.violations.len(), 1, "{}", outcome.render_text());
}

#[test]
fn tables_of_the_engine_may_be_tiny() {
    let tiny = Config {
        addresses_max: 8,
        words_max: 4,
        lists_max: 4,
        nodes_max: 16,
        held_responses_max: 4,
        ..engine_config(TIMEOUT)
    };
    let mut clover = Plan { loss: 0.003, ..clover(Map::All, Steer::None, Atomics::Replace) };
    setup(&mut clover).config = tiny;
    good(&clover);
    let mut locks = Plan { loss: 0.003, ..locks(Map::All, Atomics::Replace, GUARDED) };
    setup(&mut locks).config = tiny;
    good(&locks);
}

#[test]
fn a_run_follows_from_its_plan() {
    let clover = Plan { loss: 0.01, ..clover(Map::Writes, Steer::None, Atomics::Keep) };
    let locks = Plan { loss: 0.01, ..locks(Map::All, Atomics::Replace, GUARDED) };
    for plan in [clover, locks] {
        let one = format!("{:?}", fingerprint(&plan));
        assert_eq!(one, format!("{:?}", fingerprint(&plan)));
        assert_ne!(one, format!("{:?}", fingerprint(&Plan { seed: 8, ..plan })));
    }
}

#[test]
fn drawn_runs_are_good() {
    let full = std::env::var("QPMUX_TEST_TIER").is_ok_and(|tier| tier == "full");
    for seed in 0..if full { SEEDS_FULL } else { SEEDS_QUICK } {
        let plan = Plan::draw(seed).unwrap();
        let outcome = run(&plan, &mut |_| {}).unwrap();
        assert!(outcome.is_good(), "seed {seed}: {plan:#?}\n{}", outcome.render_text());
    }
}
