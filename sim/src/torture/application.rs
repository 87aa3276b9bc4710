//! Seeds whose run is one of an application ([`crate::apps`]): policies that need to know what
//! requests are for, which the packets of all other seeds do not say.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sha2::{Digest, Sha256};

use super::draw::Shape;
use super::tally::Tally;
use super::{Failure, differs};
use crate::apps::{Middlebox, Outcome, Plan, run_counted};
use crate::dice::Dice;
use crate::rc::Violations;

/// Of a thousand seeds, so many run an application.
const PER_MILLE: u64 = 125;

/// What came of an application's run.
pub(super) struct Ran {
    pub(super) tally: Tally,
    pub(super) digest: u64,
    pub(super) bad: Option<BadApplication>,
}

/// A run in which rules were broken.
#[derive(Clone, Debug)]
pub(super) struct BadApplication {
    pub(super) rule: &'static str,
    pub(super) text: String,
    plan: Box<Plan>,
    report: String,
}

/// The plan of a seed, if it runs an application; none does where something is not left to seeds.
pub(super) fn draw(seed: u64, shape: &Shape) -> Option<Plan> {
    // Chance of its own, so that whatever else a seed decides stays as it is.
    let runs = *shape == Shape::default() && Dice::new(seed, 7, 0).chance(PER_MILLE);
    // Built-in profiles can be read.
    runs.then(|| Plan::draw(seed).ok()).flatten()
}

/// Runs an application.
pub(super) fn run(plan: &Plan) -> Ran {
    let failed = |rule, text: String, report| {
        let plan = Box::new(plan.clone());
        BadApplication { rule, text, plan, report }
    };
    match catch_unwind(AssertUnwindSafe(|| run_counted(plan, &mut |_| {}))) {
        Ok(Ok((outcome, traffic))) => {
            let bad = (!outcome.is_good()).then(|| {
                let (rule, text) = first(&outcome);
                failed(rule, text, outcome.render_text())
            });
            Ran { tally: Tally::of_application(&traffic), digest: digest(&outcome), bad }
        }
        Ok(Err(why)) => Ran::failed(failed("setup", why.to_string(), String::new())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("");
            Ran::failed(failed("panic", text.to_owned(), String::new()))
        }
    }
}

/// What was broken, and how first.
fn first(outcome: &Outcome) -> (&'static str, String) {
    let rule = outcome.violations.keys().next().copied().unwrap_or("O7");
    let text = outcome.problems.first().cloned();
    (rule, text.unwrap_or_else(|| format!("{} operations were given up", outcome.given_up)))
}

/// What tells a run from others.
fn digest(outcome: &Outcome) -> u64 {
    let hash = Sha256::digest(format!("{outcome:?}"));
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Makes a run twice: both must be the same.
pub(super) fn run_twice(plan: &Plan) -> Result<(), Box<Failure>> {
    compare(plan, plan)
}

/// Runs a plan, and again with an engine that takes no short way.
pub(super) fn run_step_by_step(plan: &Plan) -> Result<(), Box<Failure>> {
    let mut long = plan.clone();
    if let Middlebox::Engine(setup) = &mut long.middlebox {
        setup.config.step_by_step = true;
    }
    compare(plan, &long)
}

fn compare(plan: &Plan, other: &Plan) -> Result<(), Box<Failure>> {
    let (first, second) = (run(plan), run(other));
    if let Some(bad) = &first.bad {
        return Err(failure(plan, bad));
    }
    let same = (first.digest, &first.tally) == (second.digest, &second.tally);
    if same { Ok(()) } else { Err(differs(plan.seed, 1, format!("{plan:#?}"))) }
}

fn failure(plan: &Plan, bad: &BadApplication) -> Box<Failure> {
    let mut violations = Violations::new();
    violations.record(bad.rule, 0, || bad.text.clone());
    let (seed, rule, story) = (plan.seed, bad.rule, bad.to_string());
    Box::new(Failure { seed, shards: 1, rule, violations, story })
}

/// What a run says of an engine that breaks a rule, if anything.
#[cfg(feature = "mutations")]
pub(super) fn failure_without(rule: qpmux_engine::Rule, mut plan: Plan) -> Option<Box<Failure>> {
    let Middlebox::Engine(setup) = &mut plan.middlebox else { return None };
    setup.config.without = Some(rule);
    let bad = run(&plan).bad?;
    let Middlebox::Engine(setup) = &mut plan.middlebox else { return None };
    setup.config.without = None;
    run(&plan).bad.is_none().then(|| failure(&plan, &bad))
}

impl Ran {
    fn failed(bad: BadApplication) -> Ran {
        Ran { tally: Tally::default(), digest: 0, bad: Some(bad) }
    }
}

impl fmt::Display for BadApplication {
    /// As comments of a script.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.plan.seed;
        writeln!(f, "# An application's run: qpmux torture --from {seed} --seeds 1")?;
        let plan = format!("{:#?}", self.plan);
        self.report.lines().chain(plan.lines()).try_for_each(|line| writeln!(f, "# {line}"))
    }
}
