//! Clover and YCSB at scale, through adapters, wires and a middlebox that cost something.
//!
//! The state machines are those of [`qpmux_workloads::clover`], and so is what they say; this gives
//! them machines, queue pairs and time. Whether every read is right is judged elsewhere
//! ([`crate::apps`]), on a network where anything may happen; here it is counted what it costs.
//!
//! What a client's thread does between verbs is the library's time ([`Library`]); all else that
//! takes time is the cluster's.

mod load;
mod measure;
mod modes;
mod network;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod world;

pub use measure::{KindOutcome, StoreOutcome};
pub use modes::Mode;
pub use plan::{Caches, Library, StoreError, StorePlan};
pub use report::{KindReport, StoreReport};

use world::World;

/// Makes the run of a plan. `progress` is told operations done.
///
/// # Errors
/// When there is no such run, or it did not go on.
pub fn run(
    plan: &StorePlan,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<StoreOutcome, StoreError> {
    let mut world = World::new(plan, seed)?;
    world.run(progress)?;
    let World { tally, cluster, .. } = world;
    Ok(tally.outcome(&cluster))
}
