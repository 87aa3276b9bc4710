//! Benchmarks of verbs, as plans of the model's own.

use super::setup::{
    Addresses, Doorbells, LatencyUs, Measured, MemoryOf, Posting, QueuePairs, Traffic, Verb,
    VerbsSetup,
};
use crate::nic::Params;
use crate::verbs::{self, Pace, RawOp, Sharing, VerbsOutcome, VerbsPlan};

/// Least number of operations of a run.
const OPS: u64 = 8_000;
/// Least number of operations for each that is outstanding: before, nothing is steady.
const ROUNDS: u64 = 5;
/// So many addresses hardly ever meet.
const INDEPENDENT: u64 = 1_000_000;
/// The most that travels with a work request, where anything does.
const INLINE_BYTES: u64 = 64;

/// Runs a benchmark between adapters with these parameters; none if there is no such run.
#[must_use]
pub fn run(params: &Params, setup: &VerbsSetup, seed: u64) -> Option<Measured> {
    let plan = plan(params, setup);
    let outcome = verbs::run(&plan, seed, &mut |_| {}).ok()?;
    Some(measured(setup, plan.ops, &outcome))
}

/// The model's plan for a benchmark. Machines that all send to all others and answer them are
/// alike: two of them stand for all.
pub(crate) fn plan(params: &Params, setup: &VerbsSetup) -> VerbsPlan {
    let all_alike = setup.traffic == Traffic::AllToAll;
    let machines = if all_alike { 1 } else { setup.machines as usize };
    let threads = machines * setup.threads as usize;
    let outstanding = setup.outstanding as usize;
    VerbsPlan {
        op: match setup.verb {
            Verb::Read => RawOp::Read,
            Verb::Write => RawOp::Write,
            Verb::CompareSwap => RawOp::Cas,
            Verb::FetchAdd => RawOp::Faa,
        },
        size: setup.bytes as usize,
        threads,
        machines,
        outstanding,
        pace: match setup.posting {
            Posting::Sliding => Pace::Sliding,
            Posting::Batch | Posting::List => Pace::Batch,
        },
        list: setup.posting == Posting::List,
        sharing: match setup.queue_pairs {
            QueuePairs::Own { per_thread: 1 } => Sharing::Own,
            QueuePairs::Own { per_thread } => Sharing::Many(per_thread as usize),
            QueuePairs::Shared { threads } => Sharing::Threads(threads as usize),
        },
        own_doorbells: setup.doorbells == Doorbells::Own,
        both_ask: all_alike,
        keys: match setup.addresses {
            Addresses::One => 1,
            Addresses::Independent | Addresses::Unaligned => INDEPENDENT,
        },
        unaligned: setup.addresses == Addresses::Unaligned,
        device_memory: setup.memory == MemoryOf::Device,
        inline_bytes: if setup.inline { INLINE_BYTES } else { 0 },
        ops: OPS.max(ROUNDS * (threads * outstanding) as u64),
        ..VerbsPlan::new(params)
    }
}

fn measured(setup: &VerbsSetup, ops: u64, outcome: &VerbsOutcome) -> Measured {
    let of_all = match setup.traffic {
        Traffic::ToOne => 1.0,
        // Two machines have been run for all of them.
        Traffic::AllToAll => f64::from(setup.machines) / 2.0,
    };
    let latency = &outcome.measured.latency;
    let us = |ns: u64| ns as f64 / 1e3;
    let mops = outcome.measured.ops_per_s / 1e6;
    Measured {
        mops: mops * of_all,
        latency_us: LatencyUs {
            mean: outcome.measured.mean_ns / 1e3,
            median: us(latency.value_at_quantile(0.5)),
            least: us(latency.min()),
            most: us(latency.max()),
        },
        // Per operation: the run's time has a start and an end when less goes on.
        dma_reads_mops: outcome.server_pcie_reads as f64 / ops as f64 * mops,
    }
}

#[cfg(test)]
mod tests {
    use super::{INLINE_BYTES, Sharing, plan, run};
    use crate::calibrate::setup::{Posting, QueuePairs, Traffic, Verb, VerbsSetup};
    use crate::nic::Preset;

    #[test]
    fn a_plan_is_what_its_setup_says() {
        let params = Preset::load("connectx-3").unwrap().params;
        let setup = VerbsSetup {
            machines: 11,
            threads: 8,
            queue_pairs: QueuePairs::Own { per_thread: 22 },
            traffic: Traffic::AllToAll,
            ..VerbsSetup::lone(Verb::Read, 32)
        };
        let swarm = plan(&params, &setup);
        assert_eq!((swarm.machines, swarm.threads, swarm.both_ask), (1, 8, true));
        assert_eq!((swarm.sharing, swarm.inline_bytes), (Sharing::Many(22), 0));
        let to_one = VerbsSetup { inline: true, traffic: Traffic::ToOne, ..setup };
        let to_one = VerbsSetup { posting: Posting::List, ..to_one };
        let incast = plan(&params, &to_one);
        assert_eq!((incast.machines, incast.threads, incast.both_ask), (11, 88, false));
        assert!(incast.list && incast.inline_bytes == INLINE_BYTES);
    }

    #[test]
    fn a_lone_request_takes_its_latency() {
        let params = Preset::load("connectx-5").unwrap().params;
        let measured = run(&params, &VerbsSetup::lone(Verb::Read, 8), 1).unwrap();
        let latency = measured.latency_us;
        assert!(latency.least <= latency.median && latency.median <= latency.most);
        assert!((measured.mops * latency.mean - 1.0).abs() < 0.1, "{measured:?}");
    }
}
