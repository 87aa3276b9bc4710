//! What queueing theory and Young's formula say of the model.

use proptest::prelude::*;

use super::{Keep, RecoveryOutcome, RecoveryParams, RecoveryPlan, run};

fn plan(keep: Keep, offered_kops: f64) -> RecoveryPlan {
    RecoveryPlan {
        keep,
        offered_per_s: offered_kops * 1e3,
        connections: 1_000,
        flush_ns: 1e6,
        lag_bytes: 0,
        checkpoint_ns: 1e9,
        beside: false,
        costs: RecoveryParams::load("qpmux").unwrap(),
        ops: 400_000,
        crashes: 20_000,
    }
}

fn outcome(plan: &RecoveryPlan) -> RecoveryOutcome {
    let outcome = run(plan, 1, &mut |_| {}).unwrap();
    assert_eq!(outcome.stream.vanished, 0, "{plan:?}");
    outcome
}

fn assert_near(value: f64, expected: f64, share: f64) {
    assert!((value / expected - 1.0).abs() < share, "{value} is not {expected}");
}

/// Without a log and one by one the core is M/D/1.
#[test]
fn waiting_is_what_pollaczek_and_khinchine_say() {
    for load in [0.3, 0.7] {
        let mut plan = plan(Keep::Nothing, 1e6 * load / 85.0);
        plan.costs.burst_count = 1.0;
        plan.ops = 2_000_000;
        let mean = outcome(&plan).stream.mean_ns;
        assert_near(mean, 85.0 * (1.0 + load / (1.0 - load) / 2.0), 0.02);
    }
}

#[test]
fn a_group_waits_for_half_an_interval_and_the_flush() {
    let plan = plan(Keep::Group, 1_000.0);
    let costs = &plan.costs;
    // Half of the bytes that a flush has are there when a frame of the middle of it comes.
    let bytes = 1_000.0 * costs.record_bytes;
    let expected = 0.5e6 + costs.sync_ns + bytes / 2.0 * costs.sync_byte_ns;
    assert_near(outcome(&plan).stream.mean_ns, expected, 0.02);
}

#[test]
fn what_is_written_behind_is_lost_as_long_as_it_is_not_there() {
    let behind = outcome(&plan(Keep::Behind, 1_000.0));
    let window_ns = 0.5e6 + 100_000.0;
    let records = RecoveryParams::load("qpmux").unwrap().records_count * window_ns / 1_000.0;
    assert_near(behind.stream.lost_records, records, 0.08);
    let touched = 1_000.0 * (1.0 - (1.0 - 1e-3f64).powf(window_ns / 1_000.0));
    assert_near(behind.stream.lost_connections, touched, 0.15);
    for keep in [Keep::Mapped, Keep::Write, Keep::Sync, Keep::Group, Keep::Standby] {
        let kept = outcome(&plan(keep, 100.0));
        assert_eq!(kept.stream.lost_records, 0.0, "{keep:?}");
    }
}

#[test]
fn a_lag_that_is_never_reached_costs_no_time_and_one_of_nothing_is_a_standby() {
    let mean =
        |keep, lag_bytes| outcome(&RecoveryPlan { lag_bytes, ..plan(keep, 500.0) }).stream.mean_ns;
    assert_eq!(mean(Keep::Lag, 0), mean(Keep::Standby, 0));
    assert!(mean(Keep::Lag, 10_000_000) < 1_000.0);
}

/// Young, A First Order Approximation to the Optimum Checkpoint Interval, CACM 17(9), 1974.
#[test]
fn the_time_wasted_is_least_where_young_says_and_as_much_as_he_says() {
    let mut plan = plan(Keep::Mapped, 1_000.0);
    plan.crashes = 200_000;
    plan.ops = 1;
    let best = (2.0 * plan.checkpoint_cost_ns() * 86_400e9 / plan.replay_share()).sqrt();
    let at = |factor: f64| {
        let plan = RecoveryPlan { checkpoint_ns: best * factor, ..plan.clone() };
        super::life::live(&plan, 1)
    };
    for factor in [0.25, 1.0, 4.0] {
        assert_near(at(factor).wasted_over_young, 1.0, 0.02);
        assert_near(at(factor).interval_over_young, factor, 1e-9);
    }
    let best = at(1.0).wasted;
    assert!(best < at(0.7).wasted && best < at(1.4).wasted);
    assert!(at(0.25).wasted > 2.0 * best && at(4.0).wasted > 2.0 * best);
}

#[test]
fn what_is_not_possible_is_told_with_its_option() {
    let error = |change: fn(&mut RecoveryPlan)| {
        let mut plan = plan(Keep::Mapped, 100.0);
        change(&mut plan);
        run(&plan, 1, &mut |_| {}).unwrap_err().to_string()
    };
    assert!(error(|plan| plan.connections = 0).contains("--kept-connections"));
    assert!(error(|plan| plan.flush_ns = 0.0).contains("--flush-us"));
    assert!(error(|plan| plan.checkpoint_ns = f64::NAN).contains("--checkpoint-s"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However state is kept, no frame vanishes, and none leaves before it came.
    #[test]
    fn every_frame_leaves_or_is_dropped(
        keep in prop::sample::select(vec![
            Keep::Nothing, Keep::Mapped, Keep::Write, Keep::Sync, Keep::Group, Keep::Behind,
            Keep::Standby, Keep::Lag,
        ]),
        offered in 1.0f64..20_000.0,
        flush_us in 1.0f64..10_000.0,
        lag_bytes in 0u64..1_000_000,
        seed in 0u64..100,
    ) {
        let plan = RecoveryPlan {
            flush_ns: flush_us * 1e3, lag_bytes, ops: 5_000, crashes: 10, ..plan(keep, offered)
        };
        let outcome = run(&plan, seed, &mut |_| {}).unwrap();
        prop_assert_eq!(outcome.stream.vanished, 0);
        prop_assert!(outcome.stream.latency.min() >= 84, "{}", outcome.stream.latency.min());
        prop_assert!((0.0..=1.0).contains(&outcome.life.unavailable));
    }
}
