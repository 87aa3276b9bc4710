//! What queueing theory, and the conservation of packets, say of the model.

use proptest::prelude::*;
use qpmux_workloads::keys::KeyDistribution;

use super::{HostParams, Overload, ReceiveOutcome, ReceivePlan, Sockets, Stack, run};

/// One core, nothing that is random but the arrivals, and room for everything.
fn plan(stack: Stack, offered_kops: f64) -> ReceivePlan {
    ReceivePlan {
        stack,
        feedback: false,
        cores: 1,
        rings: 1,
        sockets: Sockets::Local,
        flows: 1_000,
        popularity: KeyDistribution::Uniform,
        offered_per_s: offered_kops * 1e3,
        packet_bytes: 64,
        overload: Overload::Newest,
        queue_limit: 1_000_000,
        deadline_ns: 1e6,
        remote_node: false,
        host: HostParams { app_random: 0.0, ..HostParams::load("server").unwrap() },
        ops: 100_000,
    }
}

/// Only the application costs anything.
fn ideal(app_ns: f64, app_random: f64) -> HostParams {
    let mut host = HostParams::load("server").unwrap();
    for name in ["nic_ns", "poll_ns", "bypass_driver_ns", "bypass_stack_ns", "bypass_send_ns"] {
        host.set(name, 0.0).unwrap();
    }
    HostParams { app_ns, app_random, ring_count: 1e6, link_gbps: 1_000.0, ..host }
}

fn outcome(plan: &ReceivePlan) -> ReceiveOutcome {
    let outcome = run(plan, 1, &mut |_| {}).unwrap();
    assert_eq!(outcome.vanished, 0, "{plan:?}");
    outcome
}

fn assert_near(value: f64, expected: f64, share: f64) {
    assert!((value / expected - 1.0).abs() < share, "{value} is not {expected}");
}

#[test]
fn waiting_is_what_pollaczek_and_khinchine_say() {
    for (load, random) in [(0.3, 0.0), (0.3, 1.0), (0.8, 0.0), (0.8, 1.0)] {
        let host = ideal(1_000.0, random);
        let plan = ReceivePlan { host, ops: 1_000_000, ..plan(Stack::Bypass, 1_000.0 * load) };
        let outcome = outcome(&plan);
        // Of exponential times the squared coefficient of variation is 1, of constant ones 0. A
        // packet takes 0.672 ns on the wire, which is left out.
        let expected = 1_000.0 * (1.0 + load / (1.0 - load) * (1.0 + random) / 2.0);
        assert_near(outcome.mean_ns, expected, 0.03);
        assert_near(outcome.answers_per_s, load * 1e6, 0.01);
        assert_near(outcome.latency.mean(), outcome.mean_ns, 0.01);
        // Little's law: what is in the system is rate times latency; here, of the time in service.
        assert_near(outcome.times[3], load, 0.01);
    }
}

/// Interrupts go first, so what is left for the application is what they leave.
#[test]
fn a_kernel_that_only_interrupts_answers_what_receiving_leaves_time_for() {
    let host = HostParams { interrupt_ns: 0.0, lock_ns: 0.0, ..plan(Stack::Napi, 1.0).host };
    let receive = host.driver_ns + host.protocol_ns;
    let serve = host.syscall_ns + 6.4 + host.app_ns + host.send_ns;
    for offered in [250.0, 400.0, 700.0, 900.0, 1_100.0] {
        let kernel = ReceivePlan { host: host.clone(), ..plan(Stack::Interrupts, offered) };
        let kops = outcome(&ReceivePlan { queue_limit: 64, ..kernel }).answers_per_s / 1e3;
        let left = (1e6 - offered * receive).max(0.0) / serve;
        assert!((kops - left.min(offered)).abs() < 12.0, "{offered}: {kops}, not {left}");
    }
}

#[test]
fn polling_with_feedback_keeps_what_it_can_do() {
    let at = |feedback, offered| {
        let kernel = ReceivePlan { feedback, ..plan(Stack::Napi, offered) };
        outcome(&ReceivePlan { queue_limit: 64, ..kernel }).answers_per_s
    };
    let best = at(true, 400.0);
    assert_near(at(true, 3_000.0), best, 0.02);
    let shared = at(false, 3_000.0);
    assert!(shared < 0.7 * best && shared > 0.3 * best, "{shared} of {best}");
}

#[test]
fn packets_of_a_ring_that_is_larger_than_its_part_of_the_cache_come_from_memory() {
    let misses = |ring_count, ddio_ways_count| {
        let mut plan = plan(Stack::Bypass, 2_000.0);
        plan.host.ring_count = ring_count;
        plan.host.ddio_ways_count = ddio_ways_count;
        plan.host.llc_bytes = 1_100_000.0;
        plan.packet_bytes = 1_000;
        plan.queue_limit = 4;
        plan.feedback = true;
        outcome(&plan).llc_misses
    };
    // 1,024 bytes a packet: room for 195 in two ways of eleven.
    assert_eq!(misses(190.0, 2.0), 0.0);
    assert!(misses(260.0, 2.0) > 0.9);
    assert_eq!(misses(260.0, 4.0), 0.0);
}

#[test]
fn what_is_not_possible_is_told_with_its_option() {
    let error = |change: fn(&mut ReceivePlan)| {
        let mut plan = plan(Stack::Bypass, 100.0);
        change(&mut plan);
        run(&plan, 1, &mut |_| {}).unwrap_err().to_string()
    };
    assert!(error(|plan| plan.cores = 0).contains("--cores"));
    assert!(error(|plan| plan.rings = 2).contains("--rings"));
    assert!(error(|plan| plan.sockets = Sockets::One).contains("--sockets"));
    assert!(error(|plan| plan.offered_per_s = f64::NAN).contains("--offered-kops"));
    assert!(error(|plan| plan.host.ddio_ways_count = 12.0).contains("ddio_ways_count"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the host does, no packet vanishes, no core is busy longer than it is there, and
    /// what is answered, dropped and shed came.
    #[test]
    fn every_packet_is_somewhere(
        stack in prop::sample::select(vec![Stack::Interrupts, Stack::Napi, Stack::Bypass]),
        sockets in prop::sample::select(vec![Sockets::One, Sockets::Hashed, Sockets::Local]),
        overload in prop::sample::select(vec![Overload::Newest, Overload::Oldest, Overload::Early]),
        feedback: bool,
        cores in 1usize..5,
        offered in 10.0f64..5_000.0,
        queue_limit in 1usize..200,
        moderation_ns in 0.0f64..50_000.0,
        seed in 0u64..100,
    ) {
        let mut plan = ReceivePlan {
            cores, rings: cores, sockets, overload, feedback, queue_limit, ops: 4_000,
            ..plan(stack, offered)
        };
        plan.host.moderation_ns = moderation_ns;
        if stack == Stack::Bypass {
            plan.sockets = Sockets::Local;
        } else {
            plan.rings = 1 + queue_limit % cores;
        }
        let outcome = run(&plan, seed, &mut |_| {}).unwrap();
        prop_assert_eq!(outcome.vanished, 0);
        let gone = outcome.ring_drops + outcome.queue_drops + outcome.shed;
        prop_assert!((0.0..=1.2).contains(&gone), "{}", gone);
        prop_assert!(outcome.goodput_per_s <= outcome.answers_per_s);
        prop_assert!(outcome.times.iter().sum::<f64>() < 1.1, "{:?}", outcome.times);
    }
}
