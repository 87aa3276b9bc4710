//! The measurement as a test: whether all engines do the same.

use qpmux_engine::Verify;
use qpmux_engine::policy::{Atomics, KeyMap, Map, Order, Steer};
use qpmux_workloads::keys::Ycsb;

use super::*;

/// A measurement of so many packets that tells little of time.
fn short(packets: u64) -> EnginePlan {
    EnginePlan {
        packets,
        rounds: 1,
        homes: vec![FrameHome::Hot],
        floors: false,
        ..EnginePlan::default()
    }
}

fn policy(map: Map, server_qps: u32) -> Policy {
    Policy { map, server_qps, ..Policy::default() }
}

/// A measurement fails where any of its engines, the one without short cuts included, does
/// something else than was recorded: so these are compared, in cases with and without waits.
#[test]
fn engines_with_and_without_short_cuts_do_the_same() {
    let short = short(4_000);
    let plans = [
        short.clone(),
        EnginePlan {
            workload: Ycsb::W,
            policy: policy(Map::Writes, 1),
            connections: 200,
            ..short.clone()
        },
        EnginePlan { verify: Verify::Full, object: 128, burst: 5, ..short.clone() },
        EnginePlan {
            trust: Trust::Observed,
            connections: 40,
            policy: policy(Map::Writes, 3),
            ..short.clone()
        },
        EnginePlan { policy: policy(Map::All, 2), ..short.clone() },
        EnginePlan {
            policy: Policy { key_map: KeyMap::ByConnection, ..policy(Map::All, 3) },
            ..short.clone()
        },
        EnginePlan {
            trust: Trust::Observed,
            policy: Policy { order: Order::Keyed, ..policy(Map::All, 3) },
            ..short.clone()
        },
        EnginePlan {
            trust: Trust::Observed,
            policy: Policy { steer: Steer::All, ..policy(Map::All, 3) },
            ..short.clone()
        },
        EnginePlan {
            trust: Trust::Observed,
            policy: Policy { atomics: Atomics::Replace, ..policy(Map::Writes, 3) },
            ..short.clone()
        },
        EnginePlan { policy: policy(Map::None, 0), ..short.clone() },
        EnginePlan { trust: Trust::Strangers, ..short },
    ];
    for plan in plans {
        let report = engine(&plan, &mut |_, _| ()).unwrap();
        assert!(report.packets >= 4_000, "{plan:?}");
        let maps = plan.policy.map != Map::None && plan.trust != Trust::Strangers;
        assert_eq!(report.mapped > 0, maps, "{plan:?}");
    }
}

/// So they are where several threads share a connection, and requests wait for each other.
#[test]
fn they_do_the_same_where_requests_wait() {
    let short = short(4_000);
    let plans = [
        EnginePlan { threads: 8, policy: policy(Map::Writes, 4), ..short.clone() },
        EnginePlan {
            threads: 16,
            connections: 40,
            burst: 7,
            verify: Verify::Full,
            policy: policy(Map::All, 3),
            ..short.clone()
        },
        EnginePlan {
            threads: 6,
            trust: Trust::Observed,
            connections: 40,
            policy: Policy { order: Order::Keyed, ..policy(Map::All, 3) },
            ..short.clone()
        },
        EnginePlan {
            threads: 4,
            trust: Trust::Observed,
            connections: 40,
            policy: policy(Map::Writes, 3),
            ..short.clone()
        },
        EnginePlan {
            threads: 8,
            trust: Trust::Observed,
            connections: 40,
            policy: Policy { steer: Steer::All, atomics: Atomics::Replace, ..policy(Map::All, 3) },
            ..short.clone()
        },
    ];
    for plan in plans {
        let report = engine(&plan, &mut |_, _| ()).unwrap();
        let fenced = plan.policy.order == Order::Fenced;
        assert!(report.waits[usize::from(!fenced)] > 500, "{plan:?}: {:?}", report.waits);
    }
}

/// So it is with every policy, with few packets.
#[test]
fn every_case_is_measured() {
    let short = short(1_000);
    let few = |case: &cases::Case| case.plan.connections <= 4_096;
    let all: Vec<_> = cases::all(&short).into_iter().filter(few).collect();
    let names: std::collections::BTreeSet<_> = all.iter().map(|case| case.name.clone()).collect();
    assert_eq!(names.len(), all.len());
    for case in all {
        let report = engine(&case.plan, &mut |_, _| ()).unwrap_or_else(|error| {
            panic!("{}: {error}", case.name);
        });
        let maps = case.plan.policy.map != Map::None && case.plan.trust != Trust::Strangers;
        assert_eq!(report.mapped > 0, maps && case.plan.workload != Ycsb::C, "{}", case.name);
    }
}
