//! Options of commands that read a plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use super::sim::read_capture;
use crate::builtin::{self, BuiltIn};
use crate::job::Capture;
use crate::plan::{Plan, Source};

/// Which plan, and what is to be another than it says.
#[derive(clap::Args)]
pub(super) struct PlanArgs {
    /// The plan: a TOML file, or the name of a figure of `qpmux paper` or, with
    /// `scenarios/` in front, of `qpmux scenarios`.
    #[arg(value_name = "PLAN")]
    pub(super) plan: PathBuf,
    /// Gives a key of the plan another value, as in base.zipf=0.75 or axes.threads=[1,2]; may be
    /// given more than once.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(super) with: Vec<String>,
    /// Few points and short runs, as the plan's [quick] says, one seed: to see that all works.
    #[arg(long)]
    pub(super) quick: bool,
}

impl PlanArgs {
    /// Reads the plan. Captures that it names are in its folder, or below.
    pub(super) fn read(&self) -> anyhow::Result<Plan> {
        let file = self.plan.display().to_string();
        let (text, name) = match std::fs::read_to_string(&self.plan) {
            Ok(text) => {
                let stem = self.plan.file_stem().unwrap_or_default();
                (text, stem.to_string_lossy().into_owned())
            }
            Err(error) => match builtin::find(&file) {
                Some(BuiltIn { name, text, .. }) => (text.to_owned(), name.to_owned()),
                None => {
                    return Err(error).with_context(|| {
                        format!(
                            "cannot read the plan {file}; those of the program are {}",
                            builtin::all().map(|plan| plan.path).collect::<Vec<_>>().join(", ")
                        )
                    });
                }
            },
        };
        let source = Source {
            file: &file,
            name: &name,
            text: &text,
            with: &self.with,
            is_quick: self.quick,
        };
        let dir = self.plan.parent().unwrap_or(Path::new("")).to_owned();
        let mut known: BTreeMap<PathBuf, Arc<Capture>> = BTreeMap::new();
        Plan::read(&source, &mut |path| {
            if let Some(capture) = known.get(path) {
                return Ok(capture.clone());
            }
            let capture = read_capture(&dir.join(path))?;
            known.insert(path.to_owned(), capture.clone());
            Ok(capture)
        })
    }
}
