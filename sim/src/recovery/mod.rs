//! A middlebox's own state: what it costs to keep it, what is lost when it fails, and how long it
//! takes to go on.
//!
//! Frames pass one core, burst by burst; records of them are kept in one of several ways before or
//! after they leave. What a frame records is that of the real engine: `qpmux sim --records` counts
//! it. A second, much longer run has crashes at random times, checkpoints at intervals, and
//! recovery from the last of them and the log behind it.

mod life;
mod params;
mod plan;
mod stream;
#[cfg(test)]
mod tests;

pub use life::LifeOutcome;
pub use params::RecoveryParams;
pub use plan::{Keep, RecoveryError, RecoveryPlan};
pub use stream::StreamOutcome;

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct RecoveryOutcome {
    /// While nothing fails.
    pub stream: StreamOutcome,
    /// Over many crashes.
    pub life: LifeOutcome,
}

/// Makes the run of a seed. `progress` is told frames so far.
///
/// # Errors
/// When there is no such run.
pub fn run(
    plan: &RecoveryPlan,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<RecoveryOutcome, RecoveryError> {
    plan.check()?;
    let stream = stream::Stream::new(plan, seed).run(progress);
    Ok(RecoveryOutcome { stream, life: life::live(plan, seed) })
}
