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
//! | I-X3 | all WRITEs of a key ran on one server queue pair, or on one after the other |
//! | F27 | a learnt connection flips where its server is |
//! | resume | another engine goes on from the log |
//! | ECN | a congestion mark stays on the packet |
//! | F23 | a congestion notification reaches those whose packets were marked |
//! | F32 | long messages run on their client's own server queue pair |
//! | F29 | nothing more goes to a server queue pair whose end was let through |
//! | I-S14 | what a server asks of its client passes |
//! | noise | what is no packet of a conversation is dropped by its name, and changes nothing |
//! | I-C16 | a client is told the credits of its own server queue pair only |
//!
//! Some seeds run an application instead, with the rules of [`crate::apps`]: policies that look at
//! what requests are for. Where some of a run's keys are written past an engine that replaces
//! atomics, and where requests are steered in place, less is promised, and judged, of those keys.

mod application;
mod campaign;
mod choices;
mod connection;
mod crash;
mod draw;
mod flip;
mod hosts;
mod judge;
mod learn;
mod marks;
mod noise;
mod notices;
mod plan;
mod rare;
mod replaced;
mod report;
mod run;
mod schedules;
mod script;
mod shrink;
mod tally;
mod teardown;
mod trace;
mod workload;
mod world;

use std::fmt;

pub use crate::faults::Leg;
pub use campaign::{Campaign, Progress};
pub use draw::Shape;
use draw::draw;
use plan::Plan;
pub use report::{Fired, Report, Violation};
use run::{Bad, execute, follow};
pub use schedules::Size;
pub use script::{Script, ScriptError};

use crate::rc::Violations;

/// Packets that a difference shows.
const SHOWN: usize = 50;

/// A run in which rules were broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Number of shards.
    pub shards: u8,
    /// The rule that was broken first.
    pub rule: &'static str,
    /// All rules that were broken.
    pub violations: Violations,
    /// The script, and the packets until the first rule was broken.
    pub story: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, shards, violations, story, .. } = self;
        write!(f, "{story}\nseed {seed}, {shards} shards:\n{violations}")
    }
}

fn failure(seed: u64, shards: u8, bad: &Bad) -> Box<Failure> {
    let (violations, story) = (bad.violations.clone(), bad.story().to_string());
    Box::new(Failure { seed, shards, rule: bad.rule(), violations, story })
}

/// Runs a seed twice: every connection's packets must be the same.
///
/// # Errors
/// When a rule was broken, or the runs differ.
pub fn run_twice(seed: u64) -> Result<(), Box<Failure>> {
    if let Some(plan) = application::draw(seed, &Shape::default()) {
        return application::run_twice(&plan);
    }
    let plan = draw(seed, &Shape::default());
    let shards = plan.shards;
    let fail = |(bad, _): (Box<Bad>, _)| failure(seed, shards, &bad);
    let (first, trace) = follow(&plan, true).map_err(fail)?;
    let (other, other_trace) = follow(&plan, true).map_err(fail)?;
    if other != first {
        return Err(differs(seed, shards, trace.difference(&other_trace, SHOWN)));
    }
    Ok(())
}

/// Runs a seed twice, the second time with an engine that takes no short way: every packet must be
/// the same.
///
/// # Errors
/// When a rule was broken, or the runs differ: what differs.
pub fn run_step_by_step(seed: u64) -> Result<(), Box<Failure>> {
    if let Some(plan) = application::draw(seed, &Shape::default()) {
        return application::run_step_by_step(&plan);
    }
    let plan = draw(seed, &Shape::default());
    let shards = plan.shards;
    let fail = |(bad, _): (Box<Bad>, _)| failure(seed, shards, &bad);
    let (short, trace) = follow(&plan, true).map_err(fail)?;
    let plan = Plan { step_by_step: true, ..plan };
    let (long, long_trace) = follow(&plan, true).map_err(fail)?;
    if long != short {
        return Err(differs(seed, shards, trace.difference(&long_trace, SHOWN)));
    }
    Ok(())
}

fn differs(seed: u64, shards: u8, story: String) -> Box<Failure> {
    let (rule, mut violations) = ("same", Violations::new());
    violations.record(rule, 0, || "the second run is not as the first".into());
    Box::new(Failure { seed, shards, rule, violations, story })
}

/// Runs a seed, and then the script of its run: every connection's packets must be the same.
///
/// # Errors
/// When a rule was broken, the script cannot be read, or the runs differ.
pub fn run_as_script(seed: u64) -> Result<(), Box<Failure>> {
    let plan = draw(seed, &Shape::default());
    let shards = plan.shards;
    let first = execute(&plan).map_err(|bad| failure(seed, shards, &bad))?;
    let mut violations = Violations::new();
    // The rules are held against fewer faults then: it must only be the same.
    let listed = Plan { faults: first.faults.clone(), chance: None, ..plan };
    let text = script::write(&listed);
    let read = match Script::parse("script", &text) {
        Ok(script) => script.plan,
        Err(error) => {
            violations.record("script", 0, || error.to_string());
            let rule = "script";
            return Err(Box::new(Failure { seed, shards, rule, violations, story: text }));
        }
    };
    match execute(&read) {
        Ok(other) if other.digest() == first.digest() && read == listed => Ok(()),
        Ok(_) => {
            violations.record("determinism", 0, || "the script does not do the same".into());
            let rule = "determinism";
            Err(Box::new(Failure { seed, shards, rule, violations, story: text }))
        }
        Err(bad) => Err(failure(seed, shards, &bad)),
    }
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
    let mut plan = draw(seed, &Shape::default());
    // What is known of memory is known on one shard.
    (plan.policy.map_all, plan.policy.replace) = (false, false);
    let on = |shards| {
        let plan = Plan { shards, ..plan.clone() };
        execute(&plan).map_err(|bad| failure(seed, shards, &bad)).map(|good| good.streams)
    };
    let first = on(1)?;
    let same = on(2)? == first;
    let same = on(4)? == first && same;
    Ok(same || plan.may_move())
}

/// The first of these scripts in which it shows that the engine breaks a rule, by name, and what is
/// then broken. `None` if it shows in none, those left out that show another fault by themselves.
#[cfg(feature = "mutations")]
#[must_use]
pub fn first_script_without(
    rule: qpmux_engine::Rule,
    scripts: &[Script],
) -> Option<(&str, Box<Failure>)> {
    scripts.iter().filter(|script| script.broken().is_none()).find_map(|script| {
        let plan = Plan { without: Some(rule), ..script.plan.clone() };
        let bad = execute(&plan).err()?;
        Some((script.name(), failure(0, plan.shards, &bad)))
    })
}

/// The first of the small runs with crashes in which it shows that the engine breaks a rule, by
/// name, and what is then broken. `None` if it shows in none.
#[cfg(feature = "mutations")]
#[must_use]
pub fn first_crash_without(rule: qpmux_engine::Rule, size: Size) -> Option<(String, Box<Failure>)> {
    use rayon::prelude::*;
    crash::sequences(size).into_par_iter().find_map_first(|sequence| {
        let campaign::Failed::Packets(bad) = sequence.run_without(rule).bad? else { return None };
        execute(&Plan { without: None, ..bad.plan.clone() }).ok()?;
        Some((sequence.name(), failure(0, bad.plan.shards, &bad)))
    })
}

/// The first run, of those that these seeds decide, in which it shows that the engine breaks a
/// rule. `None` if it shows in none. A run in which something is broken anyway shows nothing.
#[cfg(feature = "mutations")]
#[must_use]
pub fn first_without(
    rule: qpmux_engine::Rule,
    seeds: std::ops::Range<u64>,
) -> Option<Box<Failure>> {
    use rayon::prelude::*;
    let shape = Shape::default();
    seeds.into_par_iter().find_map_first(|seed| {
        if let Some(plan) = application::draw(seed, &shape)
            && let Some(failure) = application::failure_without(rule, plan)
        {
            return Some(failure);
        }
        // Also the packets of seeds that run an application: some rules show in few seeds.
        let plan = Plan { without: Some(rule), ..draw(seed, &shape) };
        let bad = execute(&plan).err()?;
        execute(&Plan { without: None, ..plan.clone() }).ok()?;
        Some(failure(seed, plan.shards, &bad))
    })
}
