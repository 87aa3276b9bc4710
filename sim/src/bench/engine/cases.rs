//! The engine in many cases, each beside its floors: how it scales with connections and server
//! queue pairs, and what workloads, policies and verification cost.

use std::fmt::Write;

use qpmux_engine::Verify;
use qpmux_engine::policy::{Atomics, KeyMap, Map, Order, Policy, Steer};
use qpmux_workloads::keys::Ycsb;
use schemars::JsonSchema;
use serde::Serialize;

use super::passes::Floor;
use super::{BenchError, EnginePlan, EngineReport, Trust, engine};

/// A case before it is measured.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) plan: EnginePlan,
}

/// What was found in one case.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct CaseReport {
    /// What is special about it.
    pub name: String,
    /// What was found.
    pub engine: EngineReport,
}

/// All cases: what `base` says of packets, rounds, bursts and frames is kept.
pub(super) fn all(base: &EnginePlan) -> Vec<Case> {
    let usual = EnginePlan {
        packets: base.packets,
        rounds: base.rounds,
        burst: base.burst,
        homes: base.homes.clone(),
        floors: base.floors,
        ..EnginePlan::default()
    };
    let mut cases = vec![case("as usual", usual.clone())];
    cases.extend(scalings(&usual));
    cases.extend(workloads(&usual));
    cases.extend(policies(&usual));
    let full = EnginePlan { verify: Verify::Full, ..usual.clone() };
    let pipelined = EnginePlan { threads: 8, ..usual.clone() };
    let observed = EnginePlan { trust: Trust::Observed, ..usual.clone() };
    let strangers = EnginePlan { trust: Trust::Strangers, ..usual };
    cases.push(case("8 threads a connection", pipelined));
    cases.push(case("full verification", full));
    cases.push(case("rights learnt", observed));
    cases.push(case("unknown connections", strangers));
    cases
}

fn case(name: impl Into<String>, plan: EnginePlan) -> Case {
    Case { name: name.into(), plan }
}

fn scalings(usual: &EnginePlan) -> Vec<Case> {
    let of = |connections, server_qps| {
        let policy = Policy { server_qps, ..usual.policy.clone() };
        let qps = if server_qps == 0 { "all".to_owned() } else { server_qps.to_string() };
        let plural = if server_qps == 1 { "" } else { "s" };
        let name = format!("{connections} connections, {qps} server queue pair{plural}");
        case(name, EnginePlan { connections, policy, ..usual.clone() })
    };
    let with_64 = [16, 256, 4_096, 65_536].map(|connections| of(connections, 64));
    let others = [of(64, 1), of(64, 16), of(4_096, 0), of(65_536, 0)];
    with_64.into_iter().chain(others).collect()
}

fn workloads(usual: &EnginePlan) -> Vec<Case> {
    let mixes = [Ycsb::A, Ycsb::B, Ycsb::C, Ycsb::W];
    let both = mixes.into_iter().flat_map(|workload| [(workload, 128), (workload, 1024)]);
    both.map(|(workload, object)| {
        let name = format!("workload {workload}, {object} bytes");
        case(name, EnginePlan { workload, object, ..usual.clone() })
    })
    .collect()
}

fn policies(usual: &EnginePlan) -> Vec<Case> {
    let of = |name: &str, policy| case(name, EnginePlan { policy, ..usual.clone() });
    let none = Policy { map: Map::None, ..Policy::default() };
    let writes = Policy { map: Map::Writes, ..Policy::default() };
    let all = Policy { map: Map::All, ..Policy::default() };
    let in_place = Policy { in_place: true, steer: Steer::Writes, ..none.clone() };
    let replace = Policy { atomics: Atomics::Replace, ..writes.clone() };
    let steer_all = Policy { steer: Steer::All, ..all.clone() };
    let most = Policy { atomics: Atomics::Replace, ..steer_all.clone() };
    vec![
        of("map none", none),
        of("steer in place", in_place),
        of("map writes, keyed", Policy { order: Order::Keyed, ..writes.clone() }),
        of("map writes, by connection", Policy { key_map: KeyMap::ByConnection, ..writes.clone() }),
        of("map writes, rendezvous", Policy { key_map: KeyMap::Rendezvous, ..writes.clone() }),
        of("map writes, steer writes", Policy { steer: Steer::Writes, ..writes }),
        of("map writes, replace atomics", replace),
        of("map all", all),
        of("map all, steer all", steer_all),
        of("map all, steer all, replace atomics", most),
    ]
}

/// Measures all cases. `progress` is told cases done, and of how many.
///
/// # Errors
/// See [`BenchError`].
pub fn cases(
    base: &EnginePlan,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<CaseReport>, BenchError> {
    let all = all(base);
    let total = all.len() as u64;
    let measure = |(at, case): (usize, Case)| {
        progress(at as u64, total);
        Ok(CaseReport { name: case.name, engine: engine(&case.plan, &mut |_, _| ())? })
    };
    all.into_iter().enumerate().map(measure).collect()
}

/// For people: nanoseconds per packet, in brackets those of touching all lines used, and what it
/// costs more than the first case.
#[must_use]
pub fn render_cases(cases: &[CaseReport]) -> String {
    let Some(first) = cases.first() else { return String::new() };
    let mut text = format!("{:<42}", "ns per packet (floor: lines used)");
    for cost in &first.engine.costs {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:>16}", cost.frames.name());
    }
    text.push_str("   / first\n");
    for case in cases {
        let _ = write!(text, "{:<42}", case.name);
        for cost in &case.engine.costs {
            let floor = cost.floors.iter().find(|floor| floor.what == Floor::UsedLines.name());
            let floor = floor.map_or(String::new(), |floor| format!(" ({:.1})", floor.ns));
            let _ = write!(text, "{:>16}", format!("{:.1}{floor}", cost.ns));
        }
        let over = case.engine.costs.iter().zip(&first.engine.costs).next();
        let ratio = over.map_or(f64::NAN, |(this, first)| this.ns / first.ns);
        let _ = writeln!(text, "{ratio:>10.2}");
    }
    text
}
