//! One run of a plan, from its first event to its judgement.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plan::Plan;
use super::script;
use super::tally::Tally;
use super::trace::Trace;
use super::world::World;
use crate::faults::{Fault, Leg};
use crate::memory::{DIGEST_START, digest_more};
use crate::rc::Violations;

/// Packets that a failure shows.
const SHOWN: usize = 150;

/// A run in which no rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Good {
    pub(super) tally: Tally,
    /// The faults that happened.
    pub(super) faults: Vec<Fault>,
    /// Digests of what each leg of each connection carried.
    pub(super) streams: Vec<[u64; 4]>,
    /// All packets, in the order of sending: on which leg of which connection.
    pub(super) sent: Vec<(Leg, u32)>,
    /// How many of them there were at each flip into translation.
    pub(super) flipped_at: Vec<usize>,
    /// Packets and records that the engine let out.
    pub(super) actions: u64,
    /// Virtual time that it took, ns.
    pub(super) duration_ns: u64,
}

/// A run in which rules were broken.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    pub(super) violations: Violations,
    /// The same run with its faults listed.
    pub(super) plan: Plan,
    pub(super) tally: Tally,
}

impl Good {
    /// What tells this run from others.
    pub(super) fn digest(&self) -> u64 {
        let mut state = digest_more(DIGEST_START, &self.duration_ns.to_le_bytes());
        for stream in self.streams.iter().flatten() {
            state = digest_more(state, &stream.to_le_bytes());
        }
        state
    }
}

impl Bad {
    /// The rule that was broken first. Of several at the same time, what is not done explains
    /// what is left at rest.
    pub(super) fn rule(&self) -> &'static str {
        let first = self.violations.iter().min_by_key(|(id, v)| (v.first_time, *id != "O7", *id));
        first.map_or("", |(id, _)| id)
    }

    /// What tells this run from others.
    pub(super) fn digest(&self) -> u64 {
        digest_more(DIGEST_START, self.violations.to_string().as_bytes())
    }

    /// The packets until the first rule was broken, and the plan.
    pub(super) fn story(&self) -> Story {
        let first = self.violations.iter().map(|(_, violation)| violation.first_time).min();
        let tail = match follow(&self.plan, true) {
            Ok((_, trace)) => trace.tail(first.unwrap_or(0), SHOWN),
            Err((_, trace)) => trace.tail(first.unwrap_or(0), SHOWN),
        };
        Story { packets: tail, script: script::write(&self.plan) }
    }
}

/// What a broken rule looks like.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) packets: String,
    pub(super) script: String,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.script, self.packets)
    }
}

/// Runs a plan.
pub(super) fn execute(plan: &Plan) -> Result<Good, Box<Bad>> {
    follow(plan, false).map(|(good, _)| good).map_err(|(bad, _)| bad)
}

/// Runs a plan and tells its packets.
pub(super) fn follow(plan: &Plan, told: bool) -> Result<(Good, Trace), (Box<Bad>, Trace)> {
    let mut violations = Violations::new();
    let mut world = match World::new(plan) {
        Ok(world) => world,
        Err(why) => {
            violations.record("setup", 0, || why);
            let (plan, tally) = (plan.clone(), Tally::default());
            return Err((Box::new(Bad { violations, plan, tally }), Trace::default()));
        }
    };
    world.trace = told.then(Trace::default);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("").to_owned();
        world.violations.record("panic", world.now, || text);
    }
    let trace = world.trace.take().unwrap_or_default();
    let tally = world.tally();
    if !world.violations.is_empty() {
        let faults = std::mem::take(&mut world.faults);
        let plan = Plan { faults, chance: None, ..plan.clone() };
        return Err((Box::new(Bad { violations: world.violations, plan, tally }), trace));
    }
    let good = Good {
        tally,
        streams: world.streams(),
        sent: std::mem::take(&mut world.sent),
        flipped_at: std::mem::take(&mut world.flipped_at),
        actions: world.outlet.count(),
        duration_ns: world.now,
        faults: world.faults,
    };
    Ok((good, trace))
}
