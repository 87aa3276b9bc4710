//! `qpmux sim`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::{ArgMatches, CommandFactory};

use super::output::print;
use super::progress::{Progress, file_len};
use super::{Cli, Outcome};
use crate::apps::{self, Plan};
use crate::job::{Capture, Job, JobReport};
use crate::options::RunOptions;
use crate::store::{self, StorePlan, StoreReport};
use crate::verbs::{self, VerbsError, VerbsOutcome, VerbsReport};

/// Run an application through the engine, on an ideal network, and check what it promises.
#[derive(clap::Args)]
#[command(args_override_self = true)]
#[command(after_help = "Example:\n  qpmux sim --workload A --threads 32 --keys 64 --map all\n  \
    qpmux sim --app lock --threads 64 --keys 128 --loss 0.001\n  \
    qpmux sim --threads 32 --keys 64 --map all --switch 5000:steer=all,atomics=replace\n  \
    qpmux sim --workload cas --nic connectx-6 --print-config\n  \
    qpmux sim --workload receive --stack bypass --offered-kops 500\n  \
    qpmux sim --workload recovery --keep standby --offered-kops 1000\n\n\
    Clients, adapters and servers are modelled, with real frames and real memory; network and\n\
    adapters are ideal, so throughput counts round trips and nothing else. The exit status is\n\
    1 if a rule of the transport was broken, a read was stale, a commit or a lock was lost, or\n\
    anything else is not as the application promises.")]
pub(crate) struct Args {
    #[command(flatten)]
    options: RunOptions,
    /// Runs, with seeds from --seed on; throughput then has a confidence interval. For what costs
    /// something.
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Take options from a TOML file, whose keys are their names; the command line overrides it.
    #[arg(long, value_name = "FILE")]
    #[allow(dead_code, reason = "it is replaced by the file's options before these are parsed")]
    config: Option<std::path::PathBuf>,
    /// Do not run: print all options that hold, as a file for --config. Of adapters, network and
    /// middlebox it has each number.
    #[arg(long)]
    print_config: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// All options that hold, as a file.
    pub(crate) fn printed(&self, matches: &ArgMatches) -> anyhow::Result<String> {
        let mut cli = Cli::command();
        cli.build();
        let sim = cli.find_subcommand("sim").context("there is `sim`")?;
        self.options.config(sim, matches)
    }
}

pub(super) fn run(args: &Args, matches: Option<&ArgMatches>) -> anyhow::Result<Outcome> {
    if let Some(matches) = matches.filter(|_| args.print_config) {
        print!("{}", args.printed(matches)?);
        return Ok(Outcome::Good);
    }
    match args.options.job(&mut read_capture)? {
        Job::Store(plan) => run_store(args, &plan),
        job @ (Job::Receive(_) | Job::Recovery(_)) => run_model(args, &job),
        Job::App(plan) => run_app(args, Plan { seed: args.seed, ..*plan }),
        Job::Verbs(plan) => run_verbs(args, plan.threads, plan.ops, &mut |seed, progress| {
            verbs::run(&plan, seed, progress)
        }),
        Job::Trace(capture, plan) => {
            let threads = capture.script.connections.len() * plan.copies;
            let messages = (capture.messages() * plan.copies) as u64;
            run_verbs(args, threads, messages, &mut |seed, progress| {
                verbs::run_trace(&capture.script, &plan, seed, progress)
            })
        }
    }
}

/// Reads a capture while a bar shows how far that is.
pub(super) fn read_capture(path: &Path) -> anyhow::Result<Arc<Capture>> {
    let mut progress = Progress::new();
    let total = file_len(path);
    let capture = Capture::read(path, &mut |pass, bytes| {
        progress.bytes(&format!("reading {}, pass {pass}", path.display()), bytes, total);
    })?;
    progress.finish();
    Ok(Arc::new(capture))
}

/// Seeds of a command's runs.
fn seeds(args: &Args) -> Vec<u64> {
    (args.seed..args.seed.saturating_add(args.seeds)).collect()
}

fn run_app(args: &Args, plan: Plan) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new();
    let total = plan.load.operations;
    let outcome = apps::run(&plan, &mut |done| progress.count("running", done, total))?;
    progress.finish();
    print(args.json, &outcome, &outcome.render_text())?;
    Ok(if outcome.is_good() { Outcome::Good } else { Outcome::CheckFailed })
}

/// What has no report of its own.
fn run_model(args: &Args, job: &Job) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new();
    let mut runs = Vec::new();
    for (number, seed) in (1..).zip(seeds(args)) {
        runs.push(job.run(seed, &mut |_| {})?);
        progress.count("running", number, args.seeds);
    }
    progress.finish();
    let report = JobReport::new(seeds(args), &runs);
    print(args.json, &report, &report.render_text())?;
    Ok(if report.violations == 0 { Outcome::Good } else { Outcome::CheckFailed })
}

fn run_store(args: &Args, plan: &StorePlan) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new();
    let ops = plan.warm_up + plan.ops;
    let mut outcomes = Vec::new();
    for (number, seed) in (0..).zip(seeds(args)) {
        let mut show = |done| progress.count("running", number * ops + done, ops * args.seeds);
        outcomes.push(store::run(plan, seed, &mut show)?);
    }
    progress.finish();
    let report = StoreReport::new(seeds(args), &outcomes);
    print(args.json, &report, &report.render_text())?;
    Ok(if report.violations == 0 { Outcome::Good } else { Outcome::CheckFailed })
}

/// Makes the run of a seed, and tells how far it is.
type Run<'a> = dyn FnMut(u64, &mut dyn FnMut(u64)) -> Result<VerbsOutcome, VerbsError> + 'a;

fn run_verbs(args: &Args, threads: usize, ops: u64, run: &mut Run<'_>) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let mut progress = Progress::new();
    let mut outcomes = Vec::new();
    for (number, seed) in (0..).zip(seeds(args)) {
        let mut show = |done| progress.count("running", number * ops + done, ops * args.seeds);
        outcomes.push(run(seed, &mut show)?);
    }
    progress.finish();
    let report = VerbsReport::new(seeds(args), &outcomes, started.elapsed().as_secs_f64());
    print(args.json, &report, &report.render_text(threads))?;
    Ok(if report.is_good() { Outcome::Good } else { Outcome::CheckFailed })
}
