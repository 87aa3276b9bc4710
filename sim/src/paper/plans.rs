//! The plans of the figures, which are part of the program.

use crate::builtin::{self, BuiltIn};
use crate::plan::Plan;

/// In the order of the gallery.
pub const PLANS: &[BuiltIn] = builtin::plans![
    "";
    "003",
    "008",
    "012",
    "016",
    "017",
    "018",
    "020",
    "020-conditions",
    "022",
    "023",
    "rdma-concur",
    "threads",
    "zipf",
    "object-size",
    "steered-keys",
    "queue-pairs",
    "sharing",
    "depth",
    "memory",
    "own-box",
    "own-box-server-qps",
    "own-box-connections",
    "own-box-latency",
];

/// Names of all figures.
#[must_use]
pub fn names() -> Vec<&'static str> {
    PLANS.iter().map(|plan| plan.name).collect()
}

/// The plans of these names, or all if there are none; with other values of their keys.
///
/// # Errors
/// When one of them has no such key, or there is no such run.
pub fn plans(names: &[String], is_quick: bool, with: &[String]) -> anyhow::Result<Vec<Plan>> {
    let is_wanted =
        |plan: &&BuiltIn| names.is_empty() || names.iter().any(|wanted| wanted == plan.name);
    PLANS.iter().filter(is_wanted).map(|plan| plan.read(is_quick, with)).collect()
}
