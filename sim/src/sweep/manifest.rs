//! `manifest.json`: what a folder of results is of, so that each row can be made again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::runs::Runs;
use crate::files;
use crate::job::Job;
use crate::plan::Plan;

/// The file's name.
const NAME: &str = "manifest.json";

/// What a folder of results is of.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The program that makes it.
    pub program: Identity,
    /// Name of the plan.
    pub name: String,
    /// The plan, with all that was changed in it, as TOML.
    pub plan: String,
    /// Only few points, and short runs.
    pub quick: bool,
    /// Names of the axes.
    pub axes: Vec<String>,
    /// SHA-256 of the captures whose workloads are run, by the path that the plan names.
    pub captures: BTreeMap<String, String>,
    /// All rows of the results.
    pub rows: Vec<Row>,
}

/// A row of the results.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The run's name, and that of its file.
    pub run: String,
    /// Places on the axes, in the order of `axes`.
    pub at: Vec<String>,
    /// Seed.
    pub seed: u64,
    /// Options, as a file for `qpmux sim --config` has them.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub options: toml::Table,
}

impl Manifest {
    /// Of a plan's runs.
    #[must_use]
    pub fn of(plan: &Plan, quick: bool, runs: &mut Runs) -> Self {
        let (mut rows, mut captures) = (Vec::new(), BTreeMap::new());
        for point in &plan.points {
            let job = runs.add(&point.job, plan.seeds);
            let at = plan.axes.iter().zip(&point.at);
            let at: Vec<String> = at.map(|(axis, at)| axis.values[*at].name.clone()).collect();
            let options = point.settings.table();
            if let (Job::Trace(capture, _), Some(path)) = (&point.job, options.get("trace")) {
                captures
                    .insert(path.as_str().unwrap_or_default().to_owned(), capture.sha256.clone());
            }
            for seed in 1..=plan.seeds {
                let run = runs.job(job).id(seed);
                rows.push(Row { run, at: at.clone(), seed, options: options.clone() });
            }
        }
        let axes = plan.axes.iter().map(|axis| axis.name.clone()).collect();
        let (name, text) = (plan.name.clone(), plan.text.clone());
        Self { program: Identity::own(), name, plan: text, quick, axes, captures, rows }
    }

    /// Reads that of a folder, if there is one.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn load(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join(NAME);
        match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
            Ok(text) => {
                let parsed = serde_json::from_str(&text);
                parsed.map(Some).with_context(|| {
                    format!(
                        "{} is damaged, or no sweep's: name another folder, or, if it has runs of \
                         this plan, remove this file and make the sweep again, which keeps them",
                        path.display()
                    )
                })
            }
        }
    }

    /// Makes a folder this one's, or sees that it is. `extends`: it may be of another plan, whose
    /// runs are kept.
    ///
    /// # Errors
    /// When it is another program's, or another plan's and that may not be; with what differs.
    pub fn claim(&self, dir: &Path, extends: bool) -> anyhow::Result<()> {
        files::make_results_dir(dir)?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        let path = dir.join(NAME);
        match Self::load(dir)? {
            None if files::write_new(&path, json.as_bytes())? => return Ok(()),
            // Another process was faster.
            None => {
                let there = Self::load(dir)?.context("the manifest has vanished")?;
                return self.compare(&there, dir);
            }
            Some(there) if there == *self => return Ok(()),
            Some(there) if !extends => return self.compare(&there, dir),
            Some(there) => there.is_own(dir)?,
        }
        files::write_whole(&path, json.as_bytes())
    }

    /// Sees that a folder's manifest is of this program.
    ///
    /// # Errors
    /// When it is another's, with both.
    pub fn is_own(&self, dir: &Path) -> anyhow::Result<()> {
        let own = Identity::own();
        ensure!(
            self.program == own,
            "{} was made by {}; this is {own}. Results of two programs are not mixed: name \
             another folder",
            dir.display(),
            self.program
        );
        Ok(())
    }

    /// Sees that a folder's manifest is this one.
    ///
    /// # Errors
    /// When it is not, with what differs.
    pub fn compare(&self, there: &Self, dir: &Path) -> anyhow::Result<()> {
        there.is_own(dir)?;
        if there == self {
            return Ok(());
        }
        let what = self.difference(there);
        bail!(
            "{} has results of another plan: {what}. Name another folder, or have `qpmux \
             sweep --extend` keep those of its runs that the plan still has",
            dir.display()
        );
    }

    /// The first thing that differs.
    fn difference(&self, there: &Self) -> String {
        let lacks = |of: &Self, other: &Self| {
            let mut lines = of.plan.lines();
            let line = lines.find(|line| !other.plan.lines().any(|other| other == *line))?;
            Some(line.trim().to_owned())
        };
        match (lacks(self, there), lacks(there, self)) {
            (Some(here), Some(there)) => return format!("`{there}` there, `{here}` here"),
            (Some(here), None) => return format!("it has no `{here}`"),
            (None, Some(there)) => return format!("it has `{there}`, which this has not"),
            (None, None) => {}
        }
        if let Some((path, _)) =
            self.captures.iter().find(|(path, sha256)| there.captures.get(*path) != Some(sha256))
        {
            return format!("the capture {path} is not the same file any more");
        }
        if self.name != there.name {
            return format!("it is called `{}` and this `{}`", there.name, self.name);
        }
        if self.quick != there.quick {
            return "one of them is --quick".to_owned();
        }
        if self.plan != there.plan {
            return "one of them says more".to_owned();
        }
        "the same options mean something else: a profile has changed".to_owned()
    }

    /// Options of a run, as a file for `qpmux sim --config`.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn options(&self, run: &str) -> anyhow::Result<String> {
        let row = self.rows.iter().find(|row| row.run == run);
        let row = row.with_context(|| format!("no row is of a run {run}"))?;
        let mut options = row.options.clone();
        options.insert("seed".to_owned(), toml::Value::Integer(row.seed as i64));
        Ok(toml::to_string(&options)?)
    }
}
