//! Months of a middlebox: checkpoints, crashes, and how it goes on.

use super::plan::{Keep, RecoveryPlan};
use crate::dice::Dice;

/// The stream of chance that says when crashes are.
const CRASHES: u64 = 3;

/// What the long run has shown.
#[derive(Clone, Debug)]
pub struct LifeOutcome {
    /// Mean time from a crash until frames pass again, ns.
    pub recovery_ns: f64,
    /// Time in checkpoints and in doing again what came since the last one, over the time between
    /// crashes.
    pub wasted: f64,
    /// The same over what Young's formula says.
    pub wasted_over_young: f64,
    /// The interval over that which Young's formula says is best.
    pub interval_over_young: f64,
    /// Share of time without service: in checkpoints, and from crashes until frames pass again.
    pub unavailable: f64,
    /// Crashes.
    pub crashes: u64,
}

/// Time in which nothing depends on the interval, from a crash on, ns.
fn fixed_ns(plan: &RecoveryPlan) -> f64 {
    let costs = &plan.costs;
    match plan.keep {
        Keep::Nothing => costs.detect_ns + costs.start_ns,
        // The other host has everything in memory.
        Keep::Standby | Keep::Lag => costs.lease_ns + costs.resume_ns,
        _ => {
            let per_byte = costs.read_byte_ns + costs.apply_ns * records_per_byte(plan);
            let state = plan.state_bytes() * per_byte;
            costs.detect_ns + costs.start_ns + state + costs.resume_ns
        }
    }
}

/// Records in a byte, of log and checkpoint alike.
fn records_per_byte(plan: &RecoveryPlan) -> f64 {
    plan.costs.records_count / plan.costs.record_bytes.max(1.0)
}

/// Runs from crash to crash.
pub(super) fn live(plan: &RecoveryPlan, seed: u64) -> LifeOutcome {
    let mut dice = Dice::new(seed, CRASHES, 0);
    let mtbf = plan.costs.mtbf_s * 1e9;
    let (interval, cost) = (plan.checkpoint_ns, plan.checkpoint_cost_ns());
    let has_log = !matches!(plan.keep, Keep::Nothing | Keep::Standby | Keep::Lag);
    let (cost, replay) = if has_log { (cost, plan.replay_share()) } else { (0.0, 0.0) };
    let (mut time, mut checkpoints, mut replays) = (0.0, 0.0, 0.0);
    for _ in 0..plan.crashes {
        let crash = dice.exponential(mtbf);
        let cycles = (crash / (interval + cost)).floor();
        let into = crash - cycles * (interval + cost);
        time += crash;
        // A checkpoint that the crash cuts off took its time, and is of no use.
        checkpoints += cycles * cost + (into - interval).max(0.0);
        replays += replay * into.min(interval);
    }
    let crashes = plan.crashes as f64;
    let down = crashes * fixed_ns(plan) + replays;
    let young = cost / interval + replay * interval / (2.0 * mtbf);
    let best = (2.0 * cost * mtbf / replay).sqrt();
    let over = |value: f64, of: f64| if of > 0.0 && of.is_finite() { value / of } else { 0.0 };
    let wasted = (checkpoints + replays) / time;
    LifeOutcome {
        recovery_ns: down / crashes,
        wasted,
        wasted_over_young: over(wasted, young),
        interval_over_young: over(interval, best),
        unavailable: (checkpoints + down) / (time + down),
        crashes: plan.crashes,
    }
}
