//! Runs of ours that nobody has published numbers for: in each, something that costs is short, so
//! that its parameters show what they do.

use qpmux_engine::policy::{KeyMap, Map, Policy, Steer};
use qpmux_workloads::load_profile;
use rayon::prelude::*;

use super::SEED;
use super::sensitivity::Curves;
use crate::apps::{EngineSetup, engine_config};
use crate::cluster::BoxParams;
use crate::nic::{Network, Params, Preset};
use crate::verbs::{self, Middlebox, RawOp, Sharing, VerbsOutcome, VerbsPlan};

/// A run, and its name.
type Named = (&'static str, VerbsPlan);

/// Requests that may wait for a middlebox, at most; more take long.
const WAITING_MAX: f64 = 8_192.0;

/// What an adapter holds is short.
pub(super) fn adapter_curves(params: &Params) -> Curves {
    let base = || VerbsPlan { threads: 16, outstanding: 8, ..VerbsPlan::new(params) };
    let pages = VerbsPlan { page_bytes: 4_096, keys: 3 << 20, ops: 150_000, ..base() };
    let regions = VerbsPlan { regions: 8_192, keys: 1 << 20, ..base() };
    let contexts = VerbsPlan { sharing: Sharing::Many(256), ..base() };
    let requests = VerbsPlan { op: RawOp::Write, threads: 8, outstanding: 384, ..base() };
    let words = VerbsPlan { op: RawOp::Faa, threads: 40, own_doorbells: true, ..base() };
    rates(vec![
        ("ours: READs of 192 MB in pages of 4 KB", pages),
        ("ours: READs of 8,192 regions", regions),
        ("ours: READs on 4,096 queue pairs", contexts),
        ("ours: 3,072 WRITEs outstanding", requests),
        ("ours: FETCH_ADDs of 1,000,000 words on 40 queue pairs", words),
    ])
}

/// A port of the switch is short, or becomes free again.
pub(super) fn network_curves(network: &Network) -> Curves {
    let Ok(preset) = Preset::load("connectx-5") else { return Vec::new() };
    let base = |senders: usize, network: &Network| {
        let mut plan = VerbsPlan::new(&preset.params);
        (plan.op, plan.size, plan.keys, plan.ops) = (RawOp::Write, 32_768, 64, 12_000);
        (plan.threads, plan.machines) = (senders, senders.min(100));
        plan.outstanding = 4;
        plan.conditions.network = network.clone();
        plan.conditions.dcqcn = true;
        (plan.conditions.timeout, plan.conditions.retries) = (8, 50);
        plan
    };
    let mut free = base(100, network);
    free.conditions.dcqcn = false;
    // Rates rise fast only after a long time without notifications; here it is short.
    let mut fast = network.clone();
    fast.rate_counter_bytes = (fast.rate_counter_bytes / 100.0).max(1.0);
    // As many as need the least rate each, and none of whose packets is dropped.
    let mut many = base(800, network);
    many.outstanding = 1;
    many.conditions.network.queue_bytes *= 10.0;
    // Its queue takes longer than the others' timeout.
    many.conditions.timeout = 14;
    let plans = [
        ("ours: 100 queue pairs' WRITEs meet, uncontrolled", free),
        ("ours: 8 queue pairs' WRITEs meet, DCQCN", base(8, network)),
        ("ours: 8 queue pairs' WRITEs meet, DCQCN with a hundredth of the bytes", base(8, &fast)),
        ("ours: 800 queue pairs' WRITEs meet, DCQCN with ten times the queue", many),
    ];
    let queue = |run: VerbsOutcome| vec![run.measured.ops_per_s, run.network.queue_mean_bytes()];
    let parts = ["throughput", "mean queue"];
    let runs = plans.into_par_iter().map(|(name, plan)| (name, values(&plan, &queue)));
    let runs: Vec<_> = runs.collect();
    let curves = runs.into_iter().flat_map(|(name, values)| {
        let values = values.into_iter().zip(parts);
        values.map(move |(value, part)| (format!("{name}: {part}"), vec![value]))
    });
    curves.collect()
}

/// A middlebox's cores, locks, rings or ports are short. `base` is the preset as it is.
pub(super) fn box_curves(base: &BoxParams, costs: &BoxParams) -> Curves {
    let Ok(preset) = Preset::load("connectx-5") else { return Vec::new() };
    let waiting = base.ring_count * base.mapping_cores_count * 0.85;
    let plan = |policy: Policy, op, size, in_flight: usize| {
        let mut plan = VerbsPlan::new(&preset.params);
        (plan.op, plan.size, plan.machines, plan.own_doorbells) = (op, size, 4, true);
        plan.threads = in_flight.min(64);
        plan.outstanding = in_flight / plan.threads;
        (plan.conditions.timeout, plan.conditions.retries) = (8, 50);
        plan.middlebox = Some(Middlebox { costs: costs.clone(), engine: engine(policy) });
        plan
    };
    let looked_at = || policy("lock-table", Map::None, 0);
    let mapped = |server_qps| policy("clover", Map::Writes, server_qps);
    let steered = Policy { steer: Steer::Writes, in_place: true, ..policy("clover", Map::None, 0) };
    rates(vec![
        ("ours: one READ", plan(looked_at(), RawOp::Read, 8, 1)),
        ("ours: 32 READs", plan(looked_at(), RawOp::Read, 8, 32)),
        ("ours: 1,024 READs", plan(looked_at(), RawOp::Read, 8, 1_024)),
        ("ours: READs of 4 KB", plan(looked_at(), RawOp::Read, 4_096, 256)),
        ("ours: one WRITE of 1 KB, mapped", plan(mapped(1), RawOp::Write, 1_024, 1)),
        ("ours: WRITEs of 1 KB to one queue pair", plan(mapped(1), RawOp::Write, 1_024, 256)),
        ("ours: WRITEs of 1 KB to 32 queue pairs", plan(mapped(32), RawOp::Write, 1_024, 256)),
        ("ours: WRITEs of 1 KB, steered", plan(steered, RawOp::Write, 1_024, 256)),
        (
            "ours: mapped READs that nearly fill the rings",
            plan(mapped(0), RawOp::Read, 8, waiting.min(WAITING_MAX) as usize),
        ),
    ])
}

fn policy(profile: &str, map: Map, server_qps: u32) -> Policy {
    // Keys are multiples of 64: modulo, they would all go to one queue pair.
    let usual = Policy { map, server_qps, key_map: KeyMap::Hash, ..Policy::default() };
    match load_profile(profile) {
        Ok(profile) => Policy { profile, ..usual },
        Err(_) => usual,
    }
}

fn engine(policy: Policy) -> EngineSetup {
    EngineSetup {
        policy,
        config: engine_config(8),
        shards: 1,
        big_endian: false,
        withheld: false,
        switches: Vec::new(),
    }
}

/// Throughput of each run.
fn rates(plans: Vec<Named>) -> Curves {
    let rate = |run: VerbsOutcome| vec![run.measured.ops_per_s];
    // In their order, however many threads there are.
    let curves = plans.into_par_iter().map(|(name, plan)| (name.to_owned(), values(&plan, &rate)));
    curves.collect()
}

/// What a run shows; a run that there cannot be shows nothing.
fn values(plan: &VerbsPlan, of: &dyn Fn(VerbsOutcome) -> Vec<f64>) -> Vec<f64> {
    verbs::run(plan, SEED, &mut |_| {}).map(of).unwrap_or_default()
}
