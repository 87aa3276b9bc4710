//! Runs in which packets meet in the network, or get lost there.

use super::tests::middlebox;
use super::{RawOp, Sharing, VerbsOutcome, VerbsPlan, run};
use crate::cluster::NetworkCounts;
use crate::nic::Preset;

/// WRITEs of 32 KB from as many machines as threads to one server, 100 Gbit/s each.
fn incast(senders: usize, ops: u64, change: impl FnOnce(&mut VerbsPlan)) -> VerbsOutcome {
    let mut plan = VerbsPlan::new(&Preset::load("connectx-5").unwrap().params);
    (plan.op, plan.size, plan.outstanding) = (RawOp::Write, 32_768, 4);
    (plan.threads, plan.machines, plan.sharing) = (senders, senders, Sharing::Own);
    (plan.keys, plan.ops, plan.conditions.timeout) = (64, ops, 8);
    change(&mut plan);
    let outcome = run(&plan, 1, &mut |_| ()).unwrap();
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations.iter().next());
    assert_eq!(outcome.open, [outcome.open[0], outcome.open[0], 0, 0], "all that was posted ended");
    let network = outcome.network;
    assert_eq!(network.sent, network.passed + network.dropped + network.lost);
    outcome
}

/// Share of the port's rate that WRITEs of 32 KB take: 32 packets, each with 82 bytes around its
/// payload as it leaves, the first with 16 more.
fn port_share(outcome: &VerbsOutcome) -> f64 {
    let bits = (32_768 + 32 * 82 + 16) as f64 * 8.0;
    outcome.measured.ops_per_s * bits / 100e9
}

#[test]
fn many_senders_fill_a_port_and_its_queue() {
    let outcome = incast(8, 8_000, |_| ());
    let share = port_share(&outcome);
    assert!((share - 1.0).abs() < 0.02, "{share}");
    let network = outcome.network;
    // A sender has 128 packets unanswered, and no more.
    assert!(network.queue_most_bytes < 8 * 128 * 1_122, "{network:?}");
    assert!(network.queue_most_bytes > 500_000, "{network:?}");
    assert_eq!((network.dropped, network.marked, network.sent_again), (0, 0, 0));
    assert_eq!(outcome.failed, 0);
}

#[test]
fn a_short_queue_drops_and_what_was_dropped_is_sent_again() {
    let outcome = incast(8, 4_000, |plan| plan.conditions.network.queue_bytes = 300_000.0);
    let network = outcome.network;
    assert!(network.queue_most_bytes <= 300_000, "{network:?}");
    assert!(network.dropped > 100 && network.sent_again >= network.dropped, "{network:?}");
    assert!(network.sequence_naks > 0, "{network:?}");
    assert_eq!(outcome.failed, 0);
}

#[test]
fn congestion_control_keeps_the_queue_short_and_the_port_busy() {
    let outcome = incast(8, 30_000, |plan| plan.conditions.dcqcn = true);
    let network = outcome.network;
    let share = port_share(&outcome);
    assert!(network.queue_mean_bytes() < 200_000.0, "{}", network.queue_mean_bytes());
    assert_eq!((network.dropped, network.sent_again), (0, 0), "{network:?}");
    assert!(network.marked > 0 && network.notices > 0, "{network:?}");
    assert!((share - 1.0).abs() < 0.1, "{share}");
}

#[test]
fn a_queue_pair_notifies_once_in_an_interval() {
    let outcome = incast(4, 4_000, |plan| {
        plan.conditions.dcqcn = true;
        // Whatever finds a queue is marked.
        let network = &mut plan.conditions.network;
        (network.ecn_kmin_bytes, network.ecn_kmax_bytes) = (0.0, 0.0);
    });
    let network = outcome.network;
    let most = 4.0 * (outcome.simulated_s / 50e-6 + 1.0);
    assert!(network.notices as f64 <= most, "{most} {network:?}");
    assert!(network.notices > 100 && network.marked > 3 * network.notices, "{network:?}");
}

#[test]
fn loss_delays_but_everything_ends() {
    let mut all = NetworkCounts::default();
    for op in [RawOp::Write, RawOp::Read, RawOp::Faa, RawOp::Lock] {
        for outstanding in [1, 4] {
            let outcome = incast(2, 3_000, |plan| {
                (plan.op, plan.outstanding, plan.size) = (op, outstanding, 3_000);
                (plan.conditions.loss, plan.conditions.retries) = (0.01, 50);
            });
            let network = outcome.network;
            let share = network.lost as f64 / network.sent as f64;
            assert!((0.006..0.014).contains(&share), "{share}");
            assert!(network.sent_again > 0, "{network:?}");
            assert_eq!(outcome.failed, 0);
            all.add(&network);
        }
    }
    // What nothing follows is found missing by a timeout only.
    assert!(all.timeouts > 10 && all.sequence_naks > 100, "{all:?}");
}

/// Where nothing arrives, queue pairs give up, and what was posted on them has failed.
#[test]
fn without_retries_a_loss_is_the_end_of_a_queue_pair() {
    let outcome = incast(4, 2_000, |plan| {
        plan.op = RawOp::Lock;
        (plan.conditions.loss, plan.conditions.retries) = (0.05, 0);
    });
    assert!(outcome.failed > 1_000, "{}", outcome.failed);
}

/// With the engine in between, a loss on either side of it is made good there.
#[test]
fn through_a_middlebox_what_was_lost_is_sent_again() {
    for op in [RawOp::Write, RawOp::Read, RawOp::Lock] {
        let outcome = incast(4, 3_000, |plan| {
            (plan.op, plan.size, plan.middlebox) = (op, 8, Some(middlebox("qpmux")));
            (plan.conditions.loss, plan.conditions.retries) = (0.01, 50);
        });
        let network = outcome.network;
        let (_, engine) = outcome.middlebox.unwrap();
        assert!(op == RawOp::Read || engine.mapped > 1_000, "{op:?}: {}", engine.mapped);
        assert!(network.lost > 50 && network.sent_again > 0, "{network:?}");
        assert_eq!(outcome.failed, 0);
    }
}

/// Senders meet at the port towards the middlebox. The engine passes marks on to the server, and
/// the server's notifications to whose packets were marked.
#[test]
fn congestion_before_a_middlebox_slows_senders_down() {
    let run = |dcqcn| {
        incast(8, 16_000, |plan| {
            plan.conditions.dcqcn = dcqcn;
            plan.middlebox = Some(middlebox("switch"));
        })
    };
    let (free, held) = (run(false), run(true));
    let (free, held, share) = (free.network, held.network, port_share(&held));
    assert_eq!((held.dropped, held.sent_again), (0, 0), "{held:?}");
    assert!(held.queue_mean_bytes() < 0.25 * free.queue_mean_bytes(), "{held:?}");
    assert!((share - 1.0).abs() < 0.1, "{share}");
}
