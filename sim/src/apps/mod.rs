//! Applications in a closed loop, through the engine or past it, judged by what they promise.
//!
//! [`run`] makes one run of a [`Plan`]; it is a function of the plan alone. Clients and servers are
//! models with real memory and real frames; network and adapters are ideal but for what the plan
//! lets be lost, so throughput says what the protocol costs in round trips, and nothing of network
//! cards.
//!
//! Judges know nothing of the engine: they see what the memory node executed, what clients asked
//! for and what they were told. The rules:
//!
//! | id | rule |
//! |---|---|
//! | K1 | a read brings a value that was written to its key, whole |
//! | K2 | a key's operations are linearizable: all that ended before one began is before it |
//! | K3 | each commit that its client was told of is in its key's list, once; no other is |
//! | K4 | a list grows at its end, by slots written for its key, and no slot in use is written |
//! | K5 | what the client of a COMPARE_SWAP is told is what happened |
//! | K6 | at the end memory holds the lists, as a reader finds them |
//! | L1 | a lock is granted only while it is free |
//! | L2 | a grant is told, once, to whom it was granted; no other is |
//! | L3 | a lock is released by its holder, once |
//! | L4 | what the client of an atomic is told is what happened |
//! | L5 | at the end all locks are free |
//! | L6 | what a lock guards counts its acquisitions |
//! | O7 | everything ends |
//! | O10 | at rest the engine holds nothing |

pub(crate) mod clover;
mod draw;
mod lock;
mod phases;
mod plan;
mod report;
mod wrong;

pub(crate) use crate::fabric::Traffic;
pub use crate::fabric::{EngineError, EngineSetup, Switch};
pub use phases::Phase;
pub(crate) use plan::check_workload;
pub use plan::{
    Adversity, App, CloverPlan, Load, LockPlan, Middlebox, Plan, PlanError, Release, engine_config,
};
pub use report::{Garbage, Latencies, LatencyReport, Outcome};

/// Makes the run of a plan. `progress` is told operations done.
///
/// # Errors
/// When there is no such run: see [`PlanError`].
pub fn run(plan: &Plan, progress: &mut dyn FnMut(u64)) -> Result<Outcome, PlanError> {
    let started = std::time::Instant::now();
    let (mut outcome, _) = run_counted(plan, progress)?;
    outcome.wall_s = started.elapsed().as_secs_f64();
    Ok(outcome)
}

/// The same, without the time that it took, and with what passed.
pub(crate) fn run_counted(
    plan: &Plan,
    progress: &mut dyn FnMut(u64),
) -> Result<(Outcome, Traffic), PlanError> {
    match &plan.app {
        App::Clover(clover) => clover::run(plan, clover, progress),
        App::Lock(lock) => lock::run(plan, lock, progress),
    }
}

/// Events without an operation's end after which a run counts as one that never ends.
const EVENTS_PATIENCE: u64 = 4_000_000;

/// Notices when a run turns in a circle.
struct Patience {
    done: u64,
    since: u64,
}

impl Patience {
    fn new() -> Self {
        Self { done: 0, since: 0 }
    }

    /// Whether it has lasted too long, with so many operations done and events happened.
    fn is_over(&mut self, done: u64, events: u64) -> bool {
        if done != self.done {
            (self.done, self.since) = (done, events);
        }
        events - self.since > EVENTS_PATIENCE
    }
}
