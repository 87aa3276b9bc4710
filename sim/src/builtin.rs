//! Plans that are part of the program: those of the published experiments, and of scenarios.

use anyhow::Context;

use crate::plan::{Plan, Source};
use crate::{paper, scenarios};

/// A plan that is part of the program.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// Its path below `sim/plans`, without its ending: what `qpmux sweep` calls it.
    pub path: &'static str,
    /// Its name: the last part of its path.
    pub name: &'static str,
    /// What it says.
    pub text: &'static str,
}

/// The plans of a folder below `sim/plans`, whose name ends with `/` unless it is empty.
macro_rules! plans {
    ($folder:literal; $($name:literal),* $(,)?) => {
        &[$($crate::builtin::BuiltIn {
            path: concat!($folder, $name),
            name: $name,
            text: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"), "/plans/", $folder, $name, ".toml"
            )),
        }),*]
    };
}
pub(crate) use plans;

impl BuiltIn {
    /// Reads it; with other values of its keys.
    ///
    /// # Errors
    /// When it has no such key, or there is no such run.
    pub fn read(&self, is_quick: bool, with: &[String]) -> anyhow::Result<Plan> {
        let file = format!("{}.toml", self.path);
        let source = Source { file: &file, name: self.name, text: self.text, with, is_quick };
        Plan::read(&source, &mut |path| {
            anyhow::bail!("a plan of the program has no capture {}", path.display())
        })
        .with_context(|| format!("figure {}", self.path))
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = BuiltIn> {
    let of_scenarios = scenarios::ALL.iter().flat_map(|scenario| scenario.plans);
    paper::PLANS.iter().chain(of_scenarios).copied()
}

/// The plan of a path.
#[must_use]
pub fn find(path: &str) -> Option<BuiltIn> {
    all().find(|plan| plan.path == path)
}
