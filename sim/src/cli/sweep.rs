//! `qpmux sweep`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;

use super::Outcome;
use super::output::print;
use super::plan::PlanArgs;
use super::results::{self, Claim};
use super::runs::{self, PoolArgs};
use crate::plan::Plan;
use crate::sweep::{Ended, Manifest, Run, RunFolder, Runs, Shard, Status, deal};

/// Runs that are timed to tell how long all will take.
const SAMPLES: usize = 6;
/// Operations of each of them.
const SAMPLE_OPS: u64 = 1_500;

/// Make all runs of a plan, on all cores, and figures and tables of what they show.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  qpmux sweep 018 --quick --dry-run\n  \
    qpmux sweep 018 --with axes.server-qps=[1,2] --quick --print-config\n\n\
    A plan has options of `qpmux sim` that hold throughout, axes over any of them, and plots; the\n\
    guide (docs/guide.md) begins with one. DIR gets results.csv, .jsonl and .parquet with a row\n\
    for each run, each figure's numbers (.csv), drawing (.svg, .png) and errors against what was\n\
    published (.md), index.html with all of this, and manifest.json, which says how each row can\n\
    be made again. Each run is kept in DIR/runs as soon as it has ended: after a crash, kill -9\n\
    included, the same command goes on where it was, and what it writes in the end is the same,\n\
    byte for byte, for any number of jobs, shards and interruptions.\n\n\
    A run that cannot be made is recorded, and the rest goes on. The exit status is 1 if a run\n\
    failed or broke a rule.")]
pub(crate) struct Args {
    #[command(flatten)]
    plan: PlanArgs,
    /// Folder for the results.
    #[arg(long, value_name = "DIR",
        required_unless_present_any = ["dry_run", "print_config", "options_of"])]
    out: Option<PathBuf>,
    #[command(flatten)]
    pool: PoolArgs,
    /// Make one part of the runs only, as in 2/5, and write no tables or figures: `qpmux merge`
    /// does when all parts are made. Parts may be made in one folder at a time, or in several.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Do not run: list the runs, and tell how long they will take.
    #[arg(long)]
    dry_run: bool,
    /// Do not run: print the plan with all that is given here.
    #[arg(long)]
    print_config: bool,
    /// Do not run: print the options of a run, by its name in the results, as a file for `qpmux
    /// sim --config`.
    #[arg(long, value_name = "RUN")]
    options_of: Option<String>,
    /// Go on in a folder whose plan was another: runs that the plan still has are kept.
    #[arg(long)]
    extend: bool,
    /// Make runs again that failed.
    #[arg(long)]
    retry_failed: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// What a dry run tells.
#[derive(JsonSchema, Serialize)]
pub(super) struct Forecast {
    /// Runs of the plan, or of its part.
    runs: usize,
    /// Of these, already made.
    made: usize,
    /// Time that the others will take, about, in seconds.
    estimated_s: f64,
    /// Runs that are made at a time.
    jobs: usize,
    /// Each run.
    list: Vec<Listed>,
}

/// A run that is listed.
#[derive(JsonSchema, Serialize)]
struct Listed {
    /// Its name.
    run: String,
    /// Its seed.
    seed: u64,
    /// Places on the axes, for people.
    at: String,
    /// Whether it is made.
    made: bool,
}

/// What a shard tells.
#[derive(JsonSchema, Serialize)]
pub(super) struct Part {
    /// Runs of this part.
    runs: usize,
    /// Those of them that failed, or broke a rule.
    bad: usize,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let plan = args.plan.read()?;
    if args.print_config {
        print!("{}", plan.text);
        return Ok(Outcome::Good);
    }
    let mut runs = Runs::default();
    let manifest = Manifest::of(&plan, args.plan.quick, &mut runs);
    if let Some(run) = &args.options_of {
        print!("{}", manifest.options(run)?);
        return Ok(Outcome::Good);
    }
    let wanted = deal(&runs, args.shard);
    if args.dry_run {
        return dry_run(args, &plan, &runs, &wanted);
    }
    let dir = args.out.as_deref().context("--out is missing")?;
    make(args, &plan, &manifest, &runs, &wanted, dir)
}

fn make(
    args: &Args,
    plan: &Plan,
    manifest: &Manifest,
    runs: &Runs,
    wanted: &[Run],
    dir: &Path,
) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    if !args.extend {
        // Before anything is made there, for the folder may be somebody's else.
        manifest.claim(dir, false)?;
    }
    let folder = RunFolder::create(dir)?;
    let who = if args.shard.is_some() { Claim::Shared } else { Claim::Alone };
    let claimed = results::claim(dir, who)?;
    // Not before: others who work there would get another manifest.
    manifest.claim(dir, args.extend)?;
    if who == Claim::Alone && claimed.is_some() {
        folder.tidy(dir)?;
    }
    if args.retry_failed {
        forget_failed(&folder, wanted)?;
    }
    runs::make_some(runs, &folder, wanted, &args.pool)?;
    if args.shard.is_some() {
        return tell_part(args, &folder, wanted);
    }
    let finished = results::finish(dir, plan, manifest)?;
    print(args.json, &finished, &finished.render_text(dir, begun.elapsed()))?;
    Ok(if finished.is_good() { Outcome::Good } else { Outcome::CheckFailed })
}

fn tell_part(args: &Args, folder: &RunFolder, wanted: &[Run]) -> anyhow::Result<Outcome> {
    let mut bad = 0;
    for run in wanted {
        let ended = folder.get(run)?;
        bad += usize::from(ended.is_some_and(|ended| ended.status() != Status::Ok));
    }
    let part = Part { runs: wanted.len(), bad };
    let text = format!("{} runs made, {bad} of them bad; `qpmux merge` does the rest\n", part.runs);
    print(args.json, &part, &text)?;
    Ok(if bad == 0 { Outcome::Good } else { Outcome::CheckFailed })
}

/// Removes what is kept of runs that failed.
fn forget_failed(folder: &RunFolder, wanted: &[Run]) -> anyhow::Result<()> {
    for run in wanted {
        if matches!(folder.get(run)?, Some(Ended::Failed(_))) {
            folder.remove(run)?;
        }
    }
    Ok(())
}

/// Lists the runs, and says how long those take that are not made.
fn dry_run(args: &Args, plan: &Plan, runs: &Runs, wanted: &[Run]) -> anyhow::Result<Outcome> {
    let folder = args.out.as_deref().map(RunFolder::of);
    let is_made = |run: &Run| match &folder {
        Some(folder) => Ok::<_, anyhow::Error>(folder.get(run)?.is_some()),
        None => Ok(false),
    };
    let mut left = Vec::new();
    let mut made = BTreeMap::new();
    for run in wanted {
        let is_made = is_made(run)?;
        made.insert(run.id.clone(), is_made);
        if !is_made {
            left.push(run);
        }
    }
    let jobs = args.pool.count();
    let mut list = Vec::new();
    for point in &plan.points {
        for seed in 1..=plan.seeds {
            let run = point.job.id(seed);
            let Some(is_made) = made.get(&run) else { continue };
            list.push(Listed { at: plan.described(&point.at), seed, made: *is_made, run });
        }
    }
    let forecast = Forecast {
        runs: wanted.len(),
        made: wanted.len() - left.len(),
        estimated_s: estimate(runs, &left) / jobs.min(left.len()).max(1) as f64,
        jobs,
        list,
    };
    print(args.json, &forecast, &forecast.render_text())?;
    Ok(Outcome::Good)
}

/// About how long runs take one after another, in seconds: a few of them are made, shortened.
fn estimate(runs: &Runs, left: &[&Run]) -> f64 {
    let size = |run: &Run| runs.job(run.job).size() as f64;
    let step = left.len().div_ceil(SAMPLES).max(1);
    let (mut tried, mut took) = (0.0, 0.0);
    for run in left.iter().step_by(step) {
        let short = runs.job(run.job).shortened(SAMPLE_OPS);
        let begun = Instant::now();
        if short.run(run.seed, &mut |_| {}).is_ok() {
            tried += short.size() as f64;
            took += begun.elapsed().as_secs_f64();
        }
    }
    let all: f64 = left.iter().map(|run| size(run)).sum();
    if tried > 0.0 { all * took / tried } else { 0.0 }
}

impl Forecast {
    fn render_text(&self) -> String {
        let mut text = String::new();
        for Listed { run, seed, at, made } in &self.list {
            let mark = if *made { "made" } else { "    " };
            let _ = writeln!(text, "{run} {mark} seed {seed}: {at}");
        }
        let _ = writeln!(
            text,
            "{} runs, {} of them made; the others take about {}, {} at a time",
            self.runs,
            self.made,
            duration(self.estimated_s),
            self.jobs
        );
        text
    }
}

/// Seconds for people.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5_400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}
