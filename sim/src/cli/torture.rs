//! `qpmux torture`.

use std::path::PathBuf;

use anyhow::{bail, ensure};

use super::output::print;
use super::progress::Progress;
use super::{Outcome, manifest};
use crate::files::make_results_dir;
use crate::torture::{self, Campaign, Report, Script, Shape, Size};

/// Run the engine among clients and servers that lose, double, delay and damage packets.
#[derive(clap::Args, serde::Serialize)]
#[command(after_help = "Example:\n  qpmux torture --seeds 2000\n  \
    qpmux torture --schedules quick\n  \
    qpmux torture --seeds 1000 --clients 16 --server-qps 1 --loss 0.02 --victim 3\n\n\
    A seed decides everything: clients, what they ask for, habits of both ends, limits of the\n\
    engine, and what becomes of every packet. Strict models of both ends judge every packet; at\n\
    the end it is judged whether each request ran once, in order, and was answered as it ran,\n\
    and whether those who lost nothing noticed nothing. A run that breaks a rule is made shorter\n\
    while it still does, and printed as a script for --script. Results do not depend on --jobs.\n\n\
    One seed in eight runs an application instead, Clover or a table of locks, as qpmux sim does,\n\
    under the same faults: with every policy (maps, steering, in place as well, WRITEs in the\n\
    place of atomics), wrong profiles, tiny tables, servers of either byte order, also an engine\n\
    that is told the wrong one, clients that go around it, and memory that is changed behind its\n\
    back. It is judged by what the application promises: that no read is stale and no commit or\n\
    lock is lost. Such a run is not made shorter: it is told with its plan, and --from SEED\n\
    --seeds 1 makes it again. With --clients, --server-qps or --loss there are none.")]
pub(crate) struct Args {
    /// Seeds to run.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first of them.
    #[arg(long, default_value_t = 0, value_name = "S")]
    from: u64,
    /// Threads; 0 is one for each processor.
    #[arg(long, default_value_t = 0, value_name = "J")]
    #[serde(skip)]
    jobs: usize,
    /// Run a script: one run, with its requests and faults listed.
    #[arg(long, value_name = "FILE")]
    script: Vec<PathBuf>,
    /// Small runs, all of them: short sequences of requests of two clients, with every single
    /// fault and every pair of faults, and of two clients whose connections are learnt, and go
    /// over into translation at every step, and of engines that crash after every action.
    #[arg(long, value_enum, default_value_t = Schedules::None)]
    schedules: Schedules,
    /// Clients of each seed, instead of 2 to 8.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    clients: Option<u32>,
    /// Server queue pairs in use, instead of 1 to 3; 0 is all.
    #[arg(long, value_name = "K")]
    server_qps: Option<u32>,
    /// The only fault: this share of packets is lost, on every leg.
    #[arg(long, value_name = "FRACTION")]
    loss: Option<f64>,
    /// Only the two legs of this client, from 0, lose packets.
    #[arg(long, value_name = "CLIENT", requires = "loss", requires = "clients")]
    victim: Option<u32>,
    /// Print one JSON document.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
    /// Also write report.json, manifest.json and the scripts of violations to this directory.
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    out: Option<PathBuf>,
}

/// How many schedules.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Schedules {
    /// None.
    None,
    /// Up to two requests with all pairs of faults, some of three with single ones.
    Quick,
    /// Up to four requests with all single faults, up to three with all pairs: some minutes.
    Full,
}

impl Args {
    fn campaign(&self) -> anyhow::Result<Campaign> {
        let Args { clients, server_qps, loss, victim, .. } = *self;
        ensure!(
            loss.is_none_or(|loss| (0.0..1.0).contains(&loss)),
            "--loss must be from 0 to below 1"
        );
        if let (Some(victim), Some(clients)) = (victim, clients)
            && victim >= clients
        {
            bail!("--victim {victim}: clients are numbered from 0 to {}", clients - 1);
        }
        let seeds = self.seeds.unwrap_or(0);
        let schedules = match self.schedules {
            Schedules::None => None,
            Schedules::Quick => Some(Size::Quick),
            Schedules::Full => Some(Size::Full),
        };
        ensure!(
            seeds > 0 || schedules.is_some() || !self.script.is_empty(),
            "nothing to run: give --seeds, --schedules or --script"
        );
        let Some(to) = self.from.checked_add(seeds) else {
            bail!("--from {} with --seeds {seeds}: there are no such seeds", self.from);
        };
        let scripts =
            self.script.iter().map(|path| Script::load(path)).collect::<Result<_, _>>()?;
        Ok(Campaign {
            seeds: self.from..to,
            shape: Shape { clients, server_qps, loss, victim },
            scripts,
            schedules,
            jobs: self.jobs,
        })
    }

    fn write(&self, dir: &std::path::Path, report: &Report) -> anyhow::Result<()> {
        make_results_dir(dir)?;
        let inputs: Vec<_> = self.script.iter().map(PathBuf::as_path).collect();
        for violation in &report.violations {
            let path = dir.join(format!("{}.toml", violation.rule));
            crate::files::write_whole(&path, violation.script.as_bytes())?;
        }
        manifest::write(dir, "torture", self, &inputs, report)
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let campaign = args.campaign()?;
    let mut bar = Progress::new();
    // A panic of the engine is a broken rule like others: it is told with its script.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let report = campaign.run(&mut |progress| match progress {
        torture::Progress::Seeds(done, all) => bar.count("seeds", done, all),
        torture::Progress::Schedules(done, all) => bar.count("schedules", done, all),
    });
    std::panic::set_hook(hook);
    let report = report?;
    bar.finish();
    if let Some(dir) = &args.out {
        args.write(dir, &report)?;
    }
    print(args.json, &report, &report.render_text())?;
    Ok(if report.is_good() { Outcome::Good } else { Outcome::CheckFailed })
}
