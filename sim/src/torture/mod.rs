//! The engine among clients and servers that lose, double, delay and damage packets, by seed.
//!
//! A seed decides everything: clients and what they ask for, habits of both ends, limits of the
//! engine, and what becomes of every packet on the four legs of its way. The strict models of
//! [`crate::rc`] judge every packet; at the end it is judged whether each request ran once, in
//! order, and was answered as it ran, and whether those who lost nothing noticed nothing.
//!
//! Beside the rules of [`crate::rc`], these are named:
//!
//! | id | rule |
//! |---|---|
//! | O2 | each WRITE, atomic and SEND ran exactly once |
//! | O3 | it ran between request and completion, and answers are true |
//! | O4 | one client's requests ran in its order |
//! | O5 | no queue pair was lost |
//! | O6 | who lost nothing saw no NAK and sent nothing again |
//! | O7 | all is done in bounded time after the last fault |
//! | O8 | nothing ran that nobody asked for |
//! | O10 | nothing is left at rest, and counts agree |
//! | I-X3 | all WRITEs of a key ran on one server queue pair |
//! | I-C16 | a client is told the credits of its own server queue pair only |

mod dice;
mod faults;
mod judge;
mod plan;
mod trace;
mod workload;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use faults::Leg;
pub use plan::Focus;
use plan::Plan;
use trace::Trace;
use world::World;

use crate::rc::Violations;

/// Packets that a failure shows.
const SHOWN: usize = 150;

/// What a run was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Where faults were.
    pub focus: Focus,
    /// Clients.
    pub clients: usize,
    /// Requests of all clients.
    pub requests: u64,
    /// Packets that were lost, doubled, late or damaged.
    pub faults: u64,
    /// Times that a timer of the engine ran out.
    pub timeouts: u64,
    /// Virtual time that it took, ns.
    pub duration_ns: u64,
    /// Digests of what each leg of each connection carried, in the order of [`Leg::ALL`].
    pub streams: Vec<[u64; 4]>,
}

/// A run in which rules were broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Number of shards.
    pub shards: u8,
    /// Which rules.
    pub violations: Violations,
    /// The plan, and the packets until the first rule was broken.
    pub story: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, shards, violations, story } = self;
        write!(f, "{story}\nseed {seed}, {shards} shards:\n{violations}")
    }
}

/// Runs a seed on a number of shards.
///
/// # Errors
/// When a rule was broken.
pub fn run(seed: u64, shards: u8) -> Result<Summary, Box<Failure>> {
    execute(seed, shards).map(|(summary, _)| summary)
}

/// Runs a seed twice: every connection's packets must be the same.
///
/// # Errors
/// When a rule was broken, or the runs differ.
pub fn run_twice(seed: u64, shards: u8) -> Result<Summary, Box<Failure>> {
    let (first, trace) = execute(seed, shards)?;
    let (other, other_trace) = execute(seed, shards)?;
    if other != first {
        let mut violations = Violations::new();
        violations.record("determinism", 0, || "the second run is not as the first".into());
        let plan = Plan::new(seed);
        let story = format!("{plan}\n{}", trace.difference(&other_trace, SHOWN / 3));
        return Err(Box::new(Failure { seed, shards, violations, story }));
    }
    Ok(first)
}

/// Runs a seed on 1, 2 and 4 shards. Whether every connection's packets were the same on all.
///
/// They need not be: of two requests that are freed by one answer and wait for one server queue
/// pair, the one on its shard comes first; and each shard has a table of requests of its own.
/// Plans in which a server queue pair stops hosting are not compared: only its own shard knows.
///
/// # Errors
/// When a rule was broken.
pub fn compare_shards(seed: u64) -> Result<bool, Box<Failure>> {
    let first = run(seed, 1)?;
    let same = run(seed, 2)? == first;
    let same = run(seed, 4)? == first && same;
    Ok(same || Plan::new(seed).may_move())
}

fn execute(seed: u64, shards: u8) -> Result<(Summary, Trace), Box<Failure>> {
    let plan = Plan::new(seed);
    let mut violations = Violations::new();
    let mut world = match World::new(&plan, shards) {
        Ok(world) => world,
        Err(why) => {
            violations.record("setup", 0, || why);
            return Err(Box::new(Failure { seed, shards, violations, story: String::new() }));
        }
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("").to_owned();
        world.violations.record("panic", world.now, || text);
    }
    if !world.violations.is_empty() {
        let first = world.violations.iter().map(|(_, violation)| violation.first_time).min();
        let story = format!("{plan}\n{}", world.trace.tail(first.unwrap_or(0), SHOWN));
        return Err(Box::new(Failure { seed, shards, violations: world.violations, story }));
    }
    let summary = Summary {
        focus: plan.focus,
        clients: plan.connections.len(),
        requests: world.connections.iter().map(|c| c.asked.len() as u64).sum(),
        faults: world.faults,
        timeouts: world.counters().timeouts,
        duration_ns: world.now,
        streams: world.streams(),
    };
    Ok((summary, world.trace))
}
