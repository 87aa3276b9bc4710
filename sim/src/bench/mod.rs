//! What parts of qpmux cost on this machine, beside what they cannot cost less than, measured in
//! the same run: machines are shared and noisy, so only ratios say something.

mod engine;
mod events;

pub use engine::{
    BenchError, EnginePlan, EngineReport, FloorCost, FrameHome, Trust, engine,
    render_text as render_engine,
};
pub use events::{EventBench, events, render_text as render_events};

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
