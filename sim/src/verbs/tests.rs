//! Runs of raw verbs.

use qpmux_engine::policy::{Map, Policy};
use qpmux_workloads::keys::KeyDistribution;

use super::{Middlebox, Pace, RawOp, Sharing, VerbsOutcome, VerbsPlan, run};
use crate::apps::{EngineSetup, engine_config};
use crate::cluster::BoxParams;
use crate::nic::Preset;

fn plan(change: impl FnOnce(&mut VerbsPlan)) -> VerbsPlan {
    let mut plan = VerbsPlan::new(&Preset::load("connectx-5").unwrap().params);
    plan.ops = 4_000;
    change(&mut plan);
    plan
}

fn outcome(plan: &VerbsPlan) -> VerbsOutcome {
    let outcome = run(plan, 1, &mut |_| ()).unwrap();
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations.iter().next());
    assert_eq!(outcome.open, [outcome.open[0], outcome.open[0], 0, 0], "all that was posted ended");
    assert_eq!(outcome.failed, 0);
    outcome
}

#[test]
fn whatever_is_asked_for_ends_and_breaks_no_rule() {
    for op in [RawOp::Read, RawOp::Write, RawOp::Cas, RawOp::Faa, RawOp::Lock] {
        for (threads, sharing) in
            [(1, Sharing::Own), (6, Sharing::Threads(2)), (4, Sharing::Many(3))]
        {
            for (pace, list) in
                [(Pace::Sliding, false), (Pace::Batch, true), (Pace::Open(1e5), false)]
            {
                outcome(&plan(|plan| {
                    (plan.op, plan.threads, plan.sharing) = (op, threads, sharing);
                    (plan.pace, plan.list, plan.outstanding) = (pace, list, 5);
                    (plan.machines, plan.keys, plan.ops) = (2, 16, 600);
                    plan.size = if op == RawOp::Read { 3_000 } else { 64 };
                }));
            }
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_run() {
    let plan = plan(|plan| (plan.threads, plan.outstanding) = (8, 4));
    let hash = |seed| run(&plan, seed, &mut |_| ()).unwrap().run_hash;
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn time_is_where_an_operation_was() {
    let outcome = outcome(&plan(|plan| (plan.threads, plan.outstanding) = (4, 8)));
    let parts: f64 = outcome.measured.parts_ns.iter().sum();
    assert!((parts / outcome.measured.mean_ns - 1.0).abs() < 0.01, "{parts}");
}

/// Little's law holds in a closed loop.
#[test]
fn outstanding_is_throughput_times_latency() {
    let outcome = outcome(&plan(|plan| (plan.threads, plan.outstanding) = (4, 8)));
    let there = outcome.measured.ops_per_s * outcome.measured.mean_ns * 1e-9;
    assert!((there / 32.0 - 1.0).abs() < 0.02, "{there}");
}

#[test]
fn one_word_is_the_limit_of_compare_swap() {
    let params = Preset::load("connectx-5").unwrap().params;
    let rate = |keys| {
        let one = plan(|plan| {
            (plan.op, plan.threads, plan.outstanding) = (RawOp::Cas, 24, 1);
            (plan.keys, plan.distribution) = (keys, KeyDistribution::Uniform);
        });
        outcome(&one).measured.ops_per_s
    };
    let one = rate(1);
    assert!((one * params.cas_host_ns * 1e-9 - 1.0).abs() < 0.02, "{one}");
    assert!(rate(1_000_000) > 3.0 * one);
}

#[test]
fn bytes_are_those_of_the_frames() {
    // READ request 74 and response 66 + 8 bytes, ICRC included, and 24 each on the wire.
    let outcome = outcome(&plan(|plan| plan.size = 8));
    assert_eq!(outcome.bytes_per_op, 74.0 + 24.0 + 70.0 + 24.0);
}

/// All presets of middleboxes, with the engine in them.
#[test]
fn through_a_middlebox_everything_ends_and_no_rule_is_broken() {
    for name in ["qpmux", "prototype", "switch", "smartnic-on-path", "smartnic-off-path"] {
        for op in [RawOp::Read, RawOp::Write, RawOp::Cas, RawOp::Lock] {
            let outcome = outcome(&plan(|plan| {
                (plan.op, plan.threads, plan.outstanding) = (op, 8, 4);
                (plan.machines, plan.keys, plan.ops) = (2, 16, 1_000);
                plan.middlebox = Some(middlebox(name));
            }));
            let (frames, engine) = outcome.middlebox.unwrap();
            assert_eq!(frames.dropped, 0);
            assert_eq!(engine.completed, engine.requests);
            assert!(op == RawOp::Read || engine.mapped > 900, "{name}: {}", engine.mapped);
        }
    }
}

/// More cores of the same kind are faster, until their lock is what bounds them.
#[test]
fn a_lock_that_all_cores_share_bounds_them() {
    let rate = |cores: f64, lock: f64| {
        let plan = plan(|plan| {
            (plan.op, plan.threads, plan.outstanding) = (RawOp::Read, 32, 8);
            let mut middlebox = middlebox("prototype");
            middlebox.costs.cores_count = cores;
            middlebox.costs.global_lock_ns = lock;
            plan.middlebox = Some(middlebox);
        });
        outcome(&plan).measured.ops_per_s
    };
    assert!(rate(8.0, 0.0) > 3.0 * rate(1.0, 0.0));
    let locked = rate(8.0, 200.0);
    // Two frames of an operation take the lock, 200 ns each and the hand-over.
    assert!(locked < 1e9 / 400.0, "{locked}");
}

pub(super) fn middlebox(name: &str) -> Middlebox {
    let profile = qpmux_workloads::load_profile("lock-table").unwrap();
    let engine = EngineSetup {
        policy: Policy { map: Map::Writes, profile, ..Policy::default() },
        config: engine_config(14),
        shards: 1,
        big_endian: false,
        withheld: false,
        switches: Vec::new(),
    };
    Middlebox { costs: BoxParams::load(name).unwrap(), engine }
}
