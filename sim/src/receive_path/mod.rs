//! The way of packets through a host: rings of an adapter, interrupts or polling, sockets and their
//! locks, application threads. Requests come at random times whatever becomes of them.
//!
//! A packet goes to the ring of its flow. With a kernel, an interrupt has the ring's core take
//! packets from it and put them into sockets, from which threads take them; without one, the
//! threads do all of it. A core does one thing at a time; interrupts put off what an
//! application does.

mod core;
mod measure;
mod params;
mod parts;
mod plan;
#[cfg(test)]
mod tests;
mod world;

pub use measure::ReceiveOutcome;
pub use params::HostParams;
pub use plan::{Overload, ReceiveError, ReceivePlan, Sockets, Stack};

/// Makes the run of a seed. `progress` is told requests so far.
///
/// # Errors
/// When there is no such run.
pub fn run(
    plan: &ReceivePlan,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<ReceiveOutcome, ReceiveError> {
    plan.check()?;
    Ok(world::World::new(plan, seed)?.run(progress))
}
