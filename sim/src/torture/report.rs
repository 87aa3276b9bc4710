//! What a campaign has found, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::campaign::{Failed, Sum};
use super::run::Bad;
use super::shrink::shrink;
use crate::faults::{Leg, What};

/// Which run it was.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Where {
    /// Of this seed.
    Seed(u64),
    /// Of these requests.
    Schedule(String),
    /// Of this script.
    Script(String),
}

/// A rule that was broken.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Violation {
    /// Id of the rule.
    pub rule: &'static str,
    /// How it was broken first.
    pub text: String,
    /// The first run that broke it.
    run: Where,
    /// A short script that breaks it; of an application's run, what it was.
    pub script: String,
    /// The packets of that script until the rule is broken.
    #[serde(skip)]
    packets: String,
}

/// How often a rule of the engine or of an end acted.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Fired {
    /// Its name.
    pub rule: String,
    /// How often.
    pub count: u64,
}

/// Seeds from which on every kind of fault, and every rule, is expected to have acted so often.
const SEEDS_MANY: u64 = 100_000;
const OFTEN: u64 = 1_000;

/// What a campaign has found.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Report {
    /// The first seed.
    pub from: u64,
    /// Seeds that ran.
    pub seeds: u64,
    /// Schedules that ran: sequences of requests, each with each of its faults.
    pub schedules: u64,
    /// Schedules of connections that are learnt: each flips at every step.
    pub flip_schedules: u64,
    /// Schedules of engines that crash: after every action.
    pub crash_schedules: u64,
    /// Scripts that ran.
    pub scripts: u64,
    /// Runs in which a rule was broken.
    pub failed: u64,
    /// Requests of all clients.
    pub requests: u64,
    /// Packets sent on all legs.
    pub packets: u64,
    /// Packets by leg.
    pub packets_by_leg: BTreeMap<String, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each rule acted.
    pub fired: Vec<Fired>,
    /// In a run of many seeds: the faults and rules that acted less than 1,000 times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seldom: Option<Vec<String>>,
    /// One failure of each rule that was broken.
    pub violations: Vec<Violation>,
    /// Digest of all runs, SHA-256: the same seeds and options give the same on any number of
    /// threads.
    pub run_hash: String,
}

impl Report {
    pub(super) fn new(from: u64, runs: [u64; 5], sum: Sum, run_hash: String) -> Report {
        let [seeds, schedules, flip_schedules, crash_schedules, scripts] = runs;
        let tally = &sum.tally;
        let legs = Leg::ALL.iter().zip(tally.packets);
        let faults: BTreeMap<_, _> = What::ALL.iter().map(|w| w.name()).zip(tally.faults).collect();
        let fired: Vec<Fired> =
            tally.fired().into_iter().map(|(rule, count)| Fired { rule, count }).collect();
        Report {
            from,
            seeds,
            schedules,
            flip_schedules,
            crash_schedules,
            scripts,
            failed: sum.failed,
            requests: tally.requests,
            packets: tally.packets.iter().sum(),
            packets_by_leg: legs.map(|(leg, count)| (leg.to_string(), count)).collect(),
            seldom: (seeds >= SEEDS_MANY).then(|| seldom(&faults, &fired)),
            faults,
            fired,
            violations: sum.found.into_iter().map(|(run, bad)| Violation::new(run, bad)).collect(),
            run_hash,
        }
    }

    /// Whether no rule was broken.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failed == 0
    }

    /// How often each rule acted; then those that never did, and in a run of many seeds those that
    /// seldom did.
    fn render_fired(&self, out: &mut String) -> std::fmt::Result {
        for Fired { rule, count } in self.fired.iter().filter(|fired| fired.count > 0) {
            writeln!(out, "{count:>12}  {rule}")?;
        }
        let never: Vec<_> = self.fired.iter().filter(|f| f.count == 0).map(|f| &*f.rule).collect();
        let list = |names: &[&str]| names.join("\n             ");
        if !never.is_empty() {
            writeln!(out, "never        {}", list(&never))?;
        }
        let Some(seldom) = &self.seldom else { return Ok(()) };
        let seldom: Vec<&str> = seldom.iter().map(String::as_str).collect();
        match seldom.is_empty() {
            true => writeln!(out, "seldom       none: every fault and rule {OFTEN} times or more"),
            false => writeln!(out, "seldom       {}", list(&seldom)),
        }
    }

    /// The report for people.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut text = String::new();
        self.render(&mut text).ok();
        text
    }

    fn render(&self, out: &mut String) -> std::fmt::Result {
        if self.seeds > 0 {
            let last = self.from + self.seeds - 1;
            writeln!(out, "seeds        {}, from {} to {last}", self.seeds, self.from)?;
        }
        if self.schedules > 0 {
            writeln!(out, "schedules    {}", self.schedules)?;
        }
        if self.flip_schedules > 0 {
            writeln!(out, "flips        {} schedules", self.flip_schedules)?;
        }
        if self.crash_schedules > 0 {
            writeln!(out, "crashes      {} schedules", self.crash_schedules)?;
        }
        if self.scripts > 0 {
            writeln!(out, "scripts      {}", self.scripts)?;
        }
        writeln!(out, "requests     {}", self.requests)?;
        writeln!(out, "packets      {}", self.packets)?;
        let faults: Vec<_> = self.faults.iter().map(|(name, n)| format!("{n} {name}")).collect();
        writeln!(out, "faults       {}", faults.join(", "))?;
        writeln!(out, "\nhow often")?;
        self.render_fired(out)?;
        for violation in &self.violations {
            let Violation { rule, text, run, script, packets } = violation;
            let run = match run {
                Where::Seed(seed) => format!("seed {seed}"),
                Where::Schedule(name) | Where::Script(name) => name.clone(),
            };
            writeln!(out, "\nBROKEN {rule}, {run}: {text}\n\n{script}\n{packets}")?;
        }
        match self.failed {
            0 => writeln!(out, "\nviolations   none")?,
            failed => writeln!(out, "\nviolations   in {failed} runs")?,
        }
        writeln!(out, "run hash     {}", self.run_hash)
    }
}

/// Faults and rules that could have acted often, and did not.
fn seldom(faults: &BTreeMap<&str, u64>, fired: &[Fired]) -> Vec<String> {
    let faults = faults.iter().filter(|(_, count)| **count < OFTEN);
    let faults = faults.map(|(name, _)| format!("fault: {name}"));
    let rules = fired.iter().filter(|fired| fired.count < OFTEN).map(|f| f.rule.clone());
    faults.chain(rules).collect()
}

impl Violation {
    fn new(run: Where, failed: Failed) -> Violation {
        match failed {
            Failed::Packets(bad) => Violation::of_packets(run, bad),
            Failed::Application(bad) => Violation {
                rule: bad.rule,
                text: bad.text.clone(),
                run,
                script: bad.to_string(),
                packets: String::new(),
            },
        }
    }

    fn of_packets(run: Where, bad: Box<Bad>) -> Violation {
        let rule = bad.rule();
        let bad = shrink(bad);
        let first = bad.violations.iter().find(|(id, _)| *id == rule);
        let text = first.map_or(String::new(), |(_, violation)| violation.first.clone());
        let story = bad.story();
        Violation { rule, text, run, script: story.script, packets: story.packets }
    }
}
