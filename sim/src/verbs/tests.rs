//! Runs of raw verbs.

use qpmux_engine::policy::{KeyMap, Map, Policy, Steer};
use qpmux_workloads::keys::KeyDistribution;

use super::{Middlebox, Pace, RawOp, Sharing, VerbsOutcome, VerbsPlan, run};
use crate::apps::{EngineSetup, engine_config};
use crate::cluster::{BoxCounts, BoxParams};
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

/// Throughput and frames through the prototype's box, with these changes to it.
fn through_prototype(
    op: RawOp,
    size: usize,
    change: impl FnOnce(&mut Middlebox),
) -> (f64, BoxCounts) {
    let outcome = outcome(&plan(|plan| {
        (plan.op, plan.size, plan.ops) = (op, size, 20_000);
        (plan.threads, plan.machines, plan.outstanding) = (32, 4, 8);
        plan.own_doorbells = true;
        let mut middlebox = middlebox("prototype");
        change(&mut middlebox);
        plan.middlebox = Some(middlebox);
    }));
    (outcome.measured.ops_per_s, outcome.middlebox.unwrap().0)
}

/// More cores of the same kind are faster, until those that send are what bounds them.
#[test]
fn cores_that_map_or_send_bound_what_passes() {
    let rate = |mapping: f64, sending: f64| {
        let run = through_prototype(RawOp::Read, 8, |middlebox| {
            let costs = &mut middlebox.costs;
            (costs.mapping_cores_count, costs.sending_cores_count) = (mapping, sending);
            costs.connection_lock_ns = 0.0;
        });
        run.0
    };
    let costs = BoxParams::load("prototype").unwrap();
    // An operation is two frames.
    let one = 1e9 / (2.0 * (costs.frame_ns + costs.mapped_ns));
    assert!((rate(1.0, 11.0) / one - 1.0).abs() < 0.02);
    assert!(rate(4.0, 11.0) > 3.5 * one);
    // Request and answer have 74 and 70 bytes.
    let one = 1e9 / (2.0 * costs.send_ns + 144.0 * costs.byte_ns);
    assert!((rate(8.0, 1.0) / one - 1.0).abs() < 0.02);
    assert!(rate(8.0, 4.0) > 3.5 * one);
}

/// All that goes to one queue pair is sent by one core. Published for that are 2.83 M/s of the
/// WRITEs that atomics became, and 2.55 M/s of atomics, whose answers one core maps (SwordBox 022).
#[test]
fn one_destination_has_one_core_that_sends() {
    let rate = |server_qps| {
        through_prototype(RawOp::Write, 8, |middlebox| {
            middlebox.costs.mapping_cores_count = 8.0;
            middlebox.engine.policy.server_qps = server_qps;
        })
    };
    let (one, frames) = rate(1);
    let costs = BoxParams::load("prototype").unwrap();
    let limit = 1e9 / (costs.send_ns + 82.0 * costs.byte_ns);
    assert!(one < limit && one > 0.85 * limit, "{one} {frames:?}");
    assert!((one / 2.83e6 - 1.0).abs() < 0.05, "{one}");
    let swaps = through_prototype(RawOp::Cas, 8, |middlebox| {
        middlebox.engine.policy.server_qps = 1;
    });
    assert!((swaps.0 / 2.55e6 - 1.0).abs() < 0.05, "{swaps:?}");
    let eight = rate(8).0;
    assert!(eight > 2.5 * one, "{eight}");
}

/// Cores that map to one queue pair wait for its state, with each frame that goes there.
#[test]
fn a_server_queue_pairs_state_is_locked_for_each_frame() {
    let rate = |server_qps, lock| {
        let run = through_prototype(RawOp::Write, 8, |middlebox| {
            let Middlebox { costs, engine } = middlebox;
            (costs.mapping_cores_count, costs.send_ns) = (16.0, 0.0);
            costs.connection_lock_ns = lock;
            engine.policy.server_qps = server_qps;
        });
        run.0
    };
    let (free, locked) = (rate(1, 0.0), rate(1, 600.0));
    assert!(locked < 1e9 / 600.0 && 1e9 / 600.0 < 0.5 * free, "{locked} {free}");
    let eight = rate(8, 600.0);
    assert!(eight > 4.0 * locked, "{eight} {locked}");
}

/// The lock that all share is for WRITEs of versions and compare-and-swaps, under steering.
#[test]
fn steering_locks_what_it_looks_up() {
    let rate = |op, steer, lock| {
        let run = through_prototype(op, 1_024, |middlebox| {
            let Middlebox { costs, engine } = middlebox;
            (costs.cores_count, costs.global_lock_ns) = (16.0, lock);
            let profile = qpmux_workloads::load_profile("clover").unwrap();
            let in_place = steer != Steer::None;
            engine.policy =
                Policy { map: Map::None, steer, in_place, profile, ..Policy::default() };
        });
        run.0
    };
    let locked = rate(RawOp::Write, Steer::Writes, 500.0);
    assert!(locked < 1e9 / 500.0, "{locked}");
    for (op, steer) in [(RawOp::Write, Steer::None), (RawOp::Read, Steer::All)] {
        assert_eq!(rate(op, steer, 500.0), rate(op, steer, 0.0));
    }
}

pub(super) fn middlebox(name: &str) -> Middlebox {
    let profile = qpmux_workloads::load_profile("lock-table").unwrap();
    let engine = EngineSetup {
        // Keys are multiples of 64.
        policy: Policy { map: Map::Writes, key_map: KeyMap::Hash, profile, ..Policy::default() },
        config: engine_config(14),
        shards: 1,
        big_endian: false,
        withheld: false,
        switches: Vec::new(),
    };
    Middlebox { costs: BoxParams::load(name).unwrap(), engine }
}
