//! The measurement as a test: whether all engines do the same.

use qpmux_engine::Verify;
use qpmux_engine::policy::Map;
use qpmux_workloads::keys::Ycsb;

use super::*;

/// A measurement fails where any of its engines, the one without short cuts included, does
/// something else than was recorded: so these are compared, in cases with and without waits.
#[test]
fn engines_with_and_without_short_cuts_do_the_same() {
    let short = EnginePlan {
        packets: 4_000,
        rounds: 1,
        homes: vec![FrameHome::Hot],
        floors: false,
        ..EnginePlan::default()
    };
    let plans = [
        short.clone(),
        EnginePlan { workload: Ycsb::W, server_qps: 1, connections: 200, ..short.clone() },
        EnginePlan { verify: Verify::Full, object: 128, burst: 5, ..short.clone() },
        EnginePlan { trust: Trust::Observed, connections: 40, server_qps: 3, ..short.clone() },
        EnginePlan { map: Map::All, server_qps: 2, ..short.clone() },
        EnginePlan { map: Map::None, ..short.clone() },
        EnginePlan { trust: Trust::Strangers, ..short },
    ];
    for plan in plans {
        let report = engine(&plan, &mut |_, _| ()).unwrap();
        assert!(report.packets >= 4_000, "{plan:?}");
        let maps = plan.map != Map::None && plan.trust != Trust::Strangers;
        assert_eq!(report.mapped > 0, maps, "{plan:?}");
    }
}
