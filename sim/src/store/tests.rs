//! Runs of the store: what must hold whatever they cost.

use qpmux_workloads::keys::{KeyDistribution, Ycsb};
use qpmux_workloads::load_profile;

use super::{Caches, Library, Mode, StorePlan, run};
use crate::cluster::BoxParams;
use crate::nic::Preset;
use crate::verbs::Middlebox;

fn plan(mode: Option<Mode>, workload: Ycsb, threads: usize) -> StorePlan {
    let profile = load_profile("clover").unwrap();
    StorePlan {
        workload,
        threads,
        machines: 2,
        keys: 64,
        distribution: KeyDistribution::Zipf { theta: 0.99 },
        value_len: 1_000,
        library: Library {
            operation_ns: 1_000.0,
            round_ns: 3_000.0,
            slope: 0.2,
            exponent: 0.75,
            random: 0.3,
        },
        metadata_ns: 4_000.0,
        caches: Caches::PerMachine,
        shortcuts: true,
        adapter: Preset::load("connectx-5").unwrap().params,
        middlebox: mode.map(|mode| Middlebox {
            costs: BoxParams::load("prototype").unwrap(),
            engine: mode.engine(profile),
        }),
        warm_up: 1_500,
        ops: 3_000,
    }
}

#[test]
fn all_modes_run_and_steering_saves_tries() {
    let again = Mode::LADDER.map(|mode| {
        let outcome = run(&plan(Some(mode), Ycsb::A, 16), 1, &mut |_| {}).unwrap();
        assert_eq!(outcome.violations, 0, "{mode:?}");
        println!(
            "{mode:?} {:.0} ops/s {:.0} B lost {:.2} hops {:.2} {} events",
            outcome.ops_per_s,
            outcome.bytes_per_op,
            outcome.lost_commits,
            outcome.hops_per_op,
            outcome.events
        );
        outcome.lost_commits
    });
    assert!(again[0] > 0.2, "{again:?}");
    assert!(again[1..].iter().all(|again| *again < 0.01), "{again:?}");
}

/// Without shortcuts lists are walked from their first version: there is no throughput that does
/// not depend on how long it ran. With them there is, however short the run.
#[test]
fn only_without_shortcuts_is_clover_slower_the_longer_it_runs() {
    let kops = |shortcuts, before| {
        let plan = StorePlan { shortcuts, warm_up: before, ops: before, ..plan(None, Ycsb::A, 8) };
        run(&plan, 1, &mut |_| {}).unwrap().ops_per_s / 1e3
    };
    let [early, late] = [500, 4_000].map(|before| kops(true, before));
    assert!((late / early - 1.0).abs() < 0.1, "{early} and {late} kops/s");
    let [early, late] = [500, 4_000].map(|before| kops(false, before));
    assert!(late < 0.5 * early, "{early} and {late} kops/s");
}

/// An append that is not sent on, since the engine has forgotten what it is about, fails; it must
/// not make all others fail whose clients wait for the same key.
#[test]
fn appends_succeed_although_the_engine_forgets_nodes() {
    for (nodes_max, most) in [(512, 0.2), (1_024, 0.1)] {
        let mut plan = plan(Some(Mode::Mapping), Ycsb::W, 64);
        plan.middlebox.as_mut().unwrap().engine.config.nodes_max = nodes_max;
        let outcome = run(&plan, 1, &mut |_| {}).unwrap();
        assert_eq!(outcome.violations, 0);
        assert!(outcome.lost_commits < most, "{nodes_max} nodes: {}", outcome.lost_commits);
    }
}

#[test]
fn all_of_ycsb_runs_and_the_same_seed_gives_the_same_run() {
    for workload in Ycsb::ALL {
        let plan = StorePlan { ops: 1_000, ..plan(None, workload, 4) };
        let [first, second] = [1, 1].map(|seed| run(&plan, seed, &mut |_| {}).unwrap());
        assert_eq!(first.run_hash, second.run_hash);
        assert_ne!(first.run_hash, run(&plan, 2, &mut |_| {}).unwrap().run_hash);
        let ended: u64 = first.kinds.iter().map(|kind| kind.latency.len()).sum();
        assert_eq!(ended, 1_000);
    }
}
