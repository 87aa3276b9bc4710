//! The plans of the figures, which are part of the program.

use anyhow::Context;

use crate::figure::{Figure, figures};
use crate::plan::{Plan, Source};
use crate::sweep::Runs;

use super::published::Published;

/// Names and texts, in the order of the gallery.
macro_rules! plans {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../plans/", $name, ".toml")))),*]
    };
}

const ALL: &[(&str, &str)] = plans![
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
    ALL.iter().map(|(name, _)| *name).collect()
}

/// A figure's plan.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The plans of these names, or all if there are none; with other values of their keys.
///
/// # Errors
/// When one of them has no such key, or there is no such run.
pub fn plans(names: &[String], is_quick: bool, with: &[String]) -> anyhow::Result<Vec<Plan>> {
    let wanted = ALL
        .iter()
        .filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name));
    let read = |(name, text): &(&str, &str)| {
        let file = format!("{name}.toml");
        let source = Source { file: &file, name, text, with, is_quick };
        Plan::read(&source, &mut |path| {
            anyhow::bail!("the published experiments have no capture {}", path.display())
        })
        .with_context(|| format!("figure {name}"))
    };
    wanted.map(read).collect()
}

/// The figures of plans, and the runs that they need.
#[must_use]
pub fn figures_of(plans: &[Plan], published: &Published) -> (Vec<Figure>, Runs) {
    let mut runs = Runs::default();
    let all = plans.iter().flat_map(|plan| figures(plan, published, &mut runs)).collect();
    (all, runs)
}
