//! Runs whose engine is switched to another policy while they go on: when, and what each phase
//! showed.

use std::collections::{BTreeMap, VecDeque};

use qpmux_engine::policy::Choices;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Middlebox, Plan};
use crate::fabric::{Fabric, Switch};

/// What a run showed under one policy.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize)]
pub struct Phase {
    /// The engine's choices.
    pub policy: String,
    /// Operations that ended in it. Those that were on their way at its ends count to the later
    /// phase.
    pub operations: u64,
    /// Its simulated time, ns.
    pub duration_ns: u64,
    /// Operations per second of simulated time.
    pub throughput_ops_per_s: f64,
    /// As of the whole run.
    pub first_try_success: BTreeMap<&'static str, f64>,
}

/// What was done up to a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) operations: u64,
    /// Operations of each kind whose first request was enough, and all of the kind.
    pub(crate) tries: [(&'static str, u64, u64); 2],
    /// The moment, ns.
    pub(crate) at: u64,
}

/// The phases of a run.
#[derive(Default)]
pub(crate) struct Phases {
    left: VecDeque<Switch>,
    /// What the engine does now; `None` if it is never switched.
    now: Option<Choices>,
    since: Done,
    ended: Vec<Phase>,
}

impl Phases {
    /// Those of a plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let Middlebox::Engine(setup) = &plan.middlebox else { return Self::default() };
        let left: VecDeque<Switch> = setup.switches.iter().copied().collect();
        let now = (!left.is_empty()).then(|| setup.policy.choices());
        Self { left, now, ..Self::default() }
    }

    /// The operations begin.
    pub(crate) fn begin(&mut self, done: Done) {
        self.since = done;
    }

    /// Whether a switch is due when so many operations are done.
    pub(crate) fn is_due(&self, operations: u64) -> bool {
        self.left.front().is_some_and(|switch| operations >= switch.after)
    }

    /// Makes the switches that are due.
    pub(crate) fn switch<A: Copy, N>(&mut self, done: Done, fabric: &mut Fabric<'_, A, N>) {
        while self.is_due(done.operations)
            && let Some(Switch { to, .. }) = self.left.pop_front()
        {
            self.end(done);
            fabric.switch(to).expect("plans are checked before they run");
            self.now = Some(to);
        }
    }

    /// The phase under the present policy ends.
    fn end(&mut self, done: Done) {
        let Some(now) = self.now else { return };
        let since = std::mem::replace(&mut self.since, done);
        let operations = done.operations - since.operations;
        if operations == 0 {
            return;
        }
        let duration_ns = done.at.saturating_sub(since.at);
        let mut phase = Phase {
            policy: now.to_string(),
            operations,
            duration_ns,
            throughput_ops_per_s: operations as f64 * 1e9 / duration_ns.max(1) as f64,
            ..Phase::default()
        };
        for ((name, first, all), (_, first_before, all_before)) in
            done.tries.into_iter().zip(since.tries)
        {
            if all > all_before {
                let share = (first - first_before) as f64 / (all - all_before) as f64;
                phase.first_try_success.insert(name, share);
            }
        }
        self.ended.push(phase);
    }

    /// All phases of a run that has ended.
    pub(crate) fn report(mut self, done: Done) -> Vec<Phase> {
        self.end(done);
        self.ended
    }
}
