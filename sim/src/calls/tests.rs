//! Runs of calls through adapters and wires.

use super::{Protocol, Software, SoftwareParams};
use crate::nic::Preset;
use crate::verbs::{Pace, RawOp, TablePlan, Transport, VerbsOutcome, VerbsPlan, run};

fn software(protocol: Protocol) -> Software {
    let (name, timeout_ns) = match protocol {
        Protocol::Datagrams => ("user-level", 5_000_000),
        Protocol::Tcp => ("linux", 200_000_000),
    };
    let host = SoftwareParams::load(name).unwrap();
    Software {
        protocol,
        client: host.clone(),
        server: host,
        server_cores: 1,
        adapter_serves: false,
        window: 64,
        timeout_ns,
    }
}

fn plan(protocol: Protocol, change: impl FnOnce(&mut VerbsPlan, &mut Software)) -> VerbsPlan {
    let mut plan = VerbsPlan::new(&Preset::load("connectx-5").unwrap().params);
    let mut software = software(protocol);
    plan.ops = 2_000;
    change(&mut plan, &mut software);
    plan.transport = Transport::Calls(Box::new(software));
    plan
}

/// Runs a plan; whatever happened, all calls have ended and no packet is unaccounted for.
fn outcome(plan: &VerbsPlan) -> VerbsOutcome {
    let outcome = run(plan, 1, &mut |_| ()).unwrap();
    assert_eq!(outcome.open, [outcome.open[0], outcome.open[0], 0, 0], "{:?}", outcome.network);
    assert_eq!(outcome.ended, plan.ops);
    let network = outcome.network;
    assert_eq!(network.sent, network.passed + network.dropped + network.lost, "{network:?}");
    let parts: f64 = outcome.measured.parts_ns.iter().sum();
    assert!((parts / outcome.measured.mean_ns - 1.0).abs() < 0.02, "{parts}");
    outcome
}

const BOTH: [Protocol; 2] = [Protocol::Datagrams, Protocol::Tcp];

#[test]
fn every_call_ends_and_every_packet_is_accounted_for() {
    for protocol in BOTH {
        for op in [RawOp::Read, RawOp::Write] {
            for pace in [Pace::Sliding, Pace::Batch, Pace::Barrier, Pace::Open(2e4)] {
                for (size, loss) in [(1, 0.0), (20_000, 0.0), (20_000, 0.01)] {
                    outcome(&plan(protocol, |plan, software| {
                        (plan.op, plan.pace, plan.size) = (op, pace, size);
                        (plan.threads, plan.machines, plan.outstanding) = (4, 2, 3);
                        (plan.ops, plan.conditions.loss, software.server_cores) = (300, loss, 2);
                    }));
                }
            }
        }
    }
}

/// Little's law holds in a closed loop.
#[test]
fn outstanding_is_throughput_times_latency() {
    for protocol in BOTH {
        let outcome = outcome(&plan(protocol, |plan, _| {
            (plan.threads, plan.outstanding) = (4, 8);
        }));
        let there = outcome.measured.ops_per_s * outcome.measured.mean_ns * 1e-9;
        assert!((there / 32.0 - 1.0).abs() < 0.03, "{protocol:?} {there}");
    }
}

/// A server whose core is the only bottleneck serves one call in its service time, and with random
/// arrivals calls wait as M/D/1 says.
#[test]
fn a_core_is_a_queue() {
    let service = 2_000.0;
    let lone = |rate: f64| {
        outcome(&plan(Protocol::Datagrams, |plan, software| {
            (plan.threads, plan.machines, plan.ops) = (200, 20, 60_000);
            plan.pace = Pace::Open(rate / 200.0);
            software.server.serve_ns = service;
        }))
    };
    let mean = |rate| lone(rate).measured.mean_ns;
    // All that the core does for a call, the adapter's posting and polling included.
    let whole = service + 200.0 + 32.0 * 0.05;
    let load = 0.7;
    let waits = mean(load / whole * 1e9) - mean(0.01 / whole * 1e9);
    let expected = load * whole / (2.0 * (1.0 - load));
    assert!((waits / expected - 1.0).abs() < 0.08, "{waits} {expected}");
}

#[test]
fn a_core_bounds_the_rate_and_more_cores_do_more() {
    let rate = |cores| {
        let outcome = outcome(&plan(Protocol::Datagrams, |plan, software| {
            (plan.threads, plan.machines, plan.outstanding) = (16, 8, 16);
            (plan.ops, software.server_cores) = (40_000, cores);
        }));
        outcome.measured.ops_per_s
    };
    let one = rate(1);
    // See above, without the server's own time.
    assert!((one / (1e9 / 201.6) - 1.0).abs() < 0.02, "{one}");
    assert!((rate(4) / one - 4.0).abs() < 0.2);
}

#[test]
fn an_adapter_that_serves_needs_no_core() {
    let outcome = outcome(&plan(Protocol::Datagrams, |plan, software| {
        (plan.op, plan.keys, plan.table) = (RawOp::Lookup, 10_000, TablePlan::default());
        (software.adapter_serves, software.server) =
            (true, SoftwareParams::load("adapter").unwrap());
    }));
    assert_eq!(outcome.busy_s[1], 0.0);
    assert!(outcome.server_pcie_reads as f64 >= 2.0 * outcome.ended as f64);
}

#[test]
fn a_lookup_by_verbs_reads_what_its_table_says_and_a_call_asks_once() {
    let mut plan = plan(Protocol::Datagrams, |plan, _| {
        (plan.op, plan.keys) = (RawOp::Lookup, 50_000);
    });
    assert_eq!(outcome(&plan).open[0], plan.ops);
    plan.transport = Transport::Rc;
    plan.ops = 20_000;
    let by_verbs = outcome(&plan);
    let each = by_verbs.open[0] as f64 / by_verbs.ended as f64;
    assert!(each > 2.0 && each < 2.2, "{each}");
    plan.table.is_inline = true;
    let each = outcome(&plan).open[0] as f64 / plan.ops as f64;
    assert!((1.0..1.2).contains(&each), "{each}");
}

/// Senders that wait for each other lose the link while one waits for its timeout.
#[test]
fn synchronized_senders_collapse_with_long_timeouts_and_not_with_short_ones() {
    let goodput = |senders: usize, timeout_ns: u64| {
        let outcome = outcome(&plan(Protocol::Tcp, |plan, software| {
            (plan.op, plan.pace, plan.size) = (RawOp::Write, Pace::Barrier, 1_000_000 / senders);
            (plan.threads, plan.machines, plan.ops) = (senders, senders, 12 * senders as u64);
            (plan.path_mtu, software.timeout_ns) = (1_448, timeout_ns);
            plan.conditions.network.queue_bytes = 64_000.0;
            software.server_cores = senders;
            plan.client.link_gbps = 1.0;
            plan.server.link_gbps = 1.0;
        }));
        outcome.measured.ops_per_s * (1_000_000 / senders) as f64 * 8e-9
    };
    let [one, many, quick] =
        [(1, 200), (32, 200), (32, 1)].map(|(n, ms)| goodput(n, ms * 1_000_000));
    assert!(one > 0.8, "{one}");
    assert!(many < 0.2, "{many}");
    assert!(quick > 10.0 * many, "{quick} {many}");
}

#[test]
fn what_calls_cannot_do_is_refused() {
    for change in [
        (|plan: &mut VerbsPlan| plan.op = RawOp::Cas) as fn(&mut VerbsPlan),
        |plan| plan.both_ask = true,
        |plan| plan.sharing = crate::verbs::Sharing::All,
        |plan| plan.path_mtu = 0,
        |plan| plan.table.neighbourhood = 7,
        |plan| plan.table.occupancy = f64::NAN,
    ] {
        let plan = plan(Protocol::Datagrams, |plan, _| change(plan));
        assert!(run(&plan, 1, &mut |_| ()).is_err());
    }
}
