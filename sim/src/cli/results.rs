//! What a folder of results gets when all of its runs are made.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use schemars::JsonSchema;
use serde::Serialize;

use super::{figures, runs};
use crate::figure::{Scores, figure_error, figures as figures_of, plan_page};
use crate::files::write_whole;
use crate::paper::Published;
use crate::plan::Plan;
use crate::sweep::{Ended, Manifest, ResultTable, RunFolder, Runs};

/// At most so many failures are printed.
const FAILURES_SHOWN: usize = 10;

/// What was written.
#[derive(JsonSchema, Serialize)]
pub(super) struct Finished {
    /// Name of the plan.
    plan: String,
    /// Runs, each seed counted.
    runs: usize,
    /// Files, in the folder of results.
    files: Vec<String>,
    /// Figures, with the median error of what was published of them.
    figures: Vec<(String, Option<f64>)>,
    /// Runs that failed, or broke a rule.
    bad: Vec<Bad>,
}

/// A run that is not good.
#[derive(JsonSchema, Serialize)]
struct Bad {
    /// Its name.
    run: String,
    /// Places on the axes, by their names.
    at: BTreeMap<String, String>,
    /// Its seed.
    seed: u64,
    /// `failed` or `broken`.
    status: &'static str,
    /// Why it failed, if it did.
    error: Option<String>,
}

/// Writes tables and figures. Everything is made from what is kept of runs, so that it does not
/// matter who made them, and when.
pub(super) fn finish(dir: &Path, plan: &Plan, manifest: &Manifest) -> anyhow::Result<Finished> {
    let published = Published::load()?;
    let mut runs = Runs::default();
    let figures = figures_of(plan, &published, &mut runs);
    let results = runs::kept(&runs, &RunFolder::of(dir))?;
    let ended: BTreeMap<String, &Ended> = runs
        .iter()
        .filter_map(|run| Some((run.id.clone(), results.ended(run.job, run.seed)?)))
        .collect();
    let table = ResultTable::new(manifest, |run| {
        ended.get(run).copied().cloned().with_context(|| format!("run {run} is missing"))
    })?;
    let mut files = Vec::new();
    for (name, bytes) in [
        ("results.csv", table.csv()?),
        ("results.jsonl", table.json_lines()?),
        ("results.parquet", table.parquet()?),
    ] {
        write_whole(&dir.join(name), &bytes)?;
        files.push(name.to_owned());
    }
    let scores = Scores::of(&figures, &results, &published);
    let mut errors = Vec::new();
    for figure in &figures {
        if figure.has_points(&scores) {
            files.extend(figures::write(dir, figure, &scores)?);
            errors.push((figure.name.clone(), figure_error(figure, &scores)));
        }
    }
    let page = plan_page(plan, &figures, &scores, &table)?;
    write_whole(&dir.join("index.html"), page.as_bytes())?;
    files.push("index.html".to_owned());
    let bad = table.bad().map(|row| Bad {
        run: row.run.clone(),
        at: table.axes.iter().cloned().zip(row.at.iter().cloned()).collect(),
        seed: row.seed,
        status: row.status,
        error: row.error.clone(),
    });
    Ok(Finished {
        plan: plan.name.clone(),
        runs: table.rows.len(),
        files,
        figures: errors,
        bad: bad.collect(),
    })
}

impl Finished {
    /// Whether no run failed or broke a rule.
    pub(super) fn is_good(&self) -> bool {
        self.bad.is_empty()
    }

    /// For people.
    pub(super) fn render_text(&self, dir: &Path, took: Duration) -> String {
        let mut text = format!(
            "{}: {} runs, {:.1} s; in {}:\n",
            self.plan,
            self.runs,
            took.as_secs_f64(),
            dir.display()
        );
        for file in &self.files {
            let _ = writeln!(text, "  {file}");
        }
        for (figure, error) in &self.figures {
            if let Some(error) = error {
                let error = 100.0 * error;
                let _ = writeln!(text, "{figure}: median error of what was published {error:.1} %");
            }
        }
        for Bad { run, at, seed, status, error } in self.bad.iter().take(FAILURES_SHOWN) {
            let at: Vec<String> = at.iter().map(|(axis, at)| format!("{axis} = {at}")).collect();
            let why = error.as_deref().unwrap_or("a rule was broken, or an operation failed");
            let _ = writeln!(text, "{status}: {}, seed {seed} ({run}): {why}", at.join(", "));
        }
        if self.bad.len() > FAILURES_SHOWN {
            let more = self.bad.len() - FAILURES_SHOWN;
            let _ = writeln!(text, "... and {more} more; see `status` in results.csv");
        }
        text
    }
}

/// Who works in a folder: one process that finishes it, or several that make parts of its runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Alone.
    Alone,
    /// With others.
    Shared,
}

/// Claims a folder as long as what is returned lives; none where the file system has no locks:
/// then nothing is lost when two work at a time, but work is done twice.
pub(super) fn claim(dir: &Path, claim: Claim) -> anyhow::Result<Option<File>> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).read(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let claimed = match claim {
        Claim::Alone => file.try_lock(),
        Claim::Shared => file.try_lock_shared(),
    };
    match claimed {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("another process works in {}: wait for it, or name another folder", dir.display())
        }
        Err(TryLockError::Error(error)) => {
            tracing::warn!("{} cannot be locked: {error}", path.display());
            Ok(None)
        }
    }
}
