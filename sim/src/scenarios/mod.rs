//! Scenarios: classic questions of this field, each with plans, figures, and what its literature
//! is known for.

mod claims;
#[cfg(test)]
mod tests;

use crate::builtin::{BuiltIn, plans};

pub use claims::{Claim, Evidence, Known, table};

/// A question, and how it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name, that of its folders below `sim/plans/scenarios` and `plots/scenarios`, and that of
    /// its page in `docs/scenarios`.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Its plans, in the order of its page.
    pub plans: &'static [BuiltIn],
    /// What has to come out.
    claims: fn(&Evidence<'_>) -> Vec<Claim>,
}

/// All scenarios, in the order in which they are taught.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "transports",
        title: "Transports by object size",
        plans: plans![
            "scenarios/transports/";
            "latency",
            "throughput",
            "parts",
            "clients",
            "incast",
            "window",
            "timeout",
            "congestion",
            "interrupts",
            "locks",
            "erpc",
            "ramcloud",
        ],
        claims: claims::transports::claims,
    },
    Scenario {
        name: "receive-path",
        title: "The host receive path",
        plans: plans![
            "scenarios/receive-path/";
            "livelock",
            "time",
            "bypass",
            "moderation",
            "sockets",
            "rings",
            "flows",
            "ddio",
            "numa",
            "overload",
            "queue-limit",
            "sensitivity",
        ],
        claims: claims::receive_path::claims,
    },
    Scenario {
        name: "nic-state",
        title: "State in adapters",
        plans: plans![
            "scenarios/nic-state/";
            "connections",
            "cache",
            "pages",
            "regions",
            "hopscotch",
            "lookup",
            "doorbells",
            "outstanding",
            "placement",
        ],
        claims: claims::nic_state::claims,
    },
    Scenario {
        name: "state-survives",
        title: "State that survives",
        plans: plans![
            "scenarios/state-survives/";
            "stream",
            "keep",
            "burst",
            "group-rate",
            "group",
            "lag",
            "interval",
            "recovery",
            "sensitivity",
        ],
        claims: claims::state_survives::claims,
    },
];

impl Scenario {
    /// What its literature is known for, with what came out.
    #[must_use]
    pub fn claims(&self, evidence: &Evidence<'_>) -> Vec<Claim> {
        let mut claims = (self.claims)(evidence);
        claims.iter_mut().for_each(|claim| claim.scenario = self.name.to_owned());
        claims
    }

    /// Its plans that are asked for: all, if names has its own, else those of names that are
    /// `scenario/figure`. With no names at all, everything is asked for.
    #[must_use]
    pub fn wanted(&self, names: &[String]) -> Vec<BuiltIn> {
        let is_whole = names.is_empty() || names.iter().any(|name| name == self.name);
        let has = |plan: &BuiltIn| names.iter().any(|name| name == figure(plan));
        self.plans.iter().filter(|plan| is_whole || has(plan)).copied().collect()
    }
}

/// What the command line calls a figure: scenario and plan.
#[must_use]
pub fn figure(plan: &BuiltIn) -> &'static str {
    plan.path.strip_prefix("scenarios/").unwrap_or(plan.path)
}

/// What may be asked for: scenarios, and figures of them.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|each| [each.name].into_iter().chain(each.plans.iter().map(figure)))
}
