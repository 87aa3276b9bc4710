//! What parts of qpmux cost on this machine, beside what they cannot cost less than, measured in
//! the same run: machines are shared and noisy, so only ratios say something.

mod caches;
mod engine;
mod events;
mod replay;

use nix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::Serialize;

pub use caches::{CacheBench, caches, render_text as render_caches};
pub use engine::{
    BenchError, CaseReport, EnginePlan, EngineReport, FrameHome, Trust, cases, engine,
    render_cases, render_text as render_engine,
};
pub use events::{EventBench, events, render_text as render_events};
pub use replay::{ReplayBench, ReplayPlan, render_text as render_replay, replay};

/// Measurements of each thing, of which the median counts.
const ROUNDS: usize = 7;

/// The median of measurements, and the least and the most over it.
fn median(mut values: Vec<f64>) -> (f64, [f64; 2]) {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let middle = at(values.len() / 2);
    (middle, [at(0) / middle, at(last) / middle])
}

/// What a floor costs.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct FloorCost {
    /// What is done.
    pub what: &'static str,
    /// Nanoseconds of processor time for each: packet, or lookup.
    pub ns: f64,
    /// Least and most over that.
    pub spread: [f64; 2],
}

/// Nanoseconds of processor time that this thread has had, the kernel's for it included.
fn thread_ns() -> f64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0.0, |time| time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

/// What it costs to look at the clock, ns.
fn clock_ns() -> f64 {
    let looks: Vec<f64> = (0..101)
        .map(|_| {
            let begin = thread_ns();
            thread_ns() - begin
        })
        .collect();
    median(looks).0
}
