//! `qpmux scenarios`.

use std::fmt::Write;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::Outcome;
use super::figures::{Entry, write_all};
use super::output::print;
use super::runs::{self, PoolArgs};
use crate::figure::{Figure, Scores, figures};
use crate::files;
use crate::paper::Published;
use crate::plan::Plan;
use crate::scenarios::{self, Claim, Evidence, Scenario, table};
use crate::sweep::{Results, RunFolder, Runs};

/// Run classic questions of this field, and say whether what their literature is known for comes
/// out.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  qpmux scenarios --quick receive-path\n\n\
    Each scenario is a set of plans, in sim/plans/scenarios, and has a page in docs/scenarios.\n\
    DIR gets a folder for each, with the numbers (.csv) and the drawing (.svg, .png) of each of\n\
    its figures and claims.md; and summary.json for all. The same program gives the same bytes,\n\
    on any number of threads. What was run is kept in DIR/runs: when it is stopped, the same\n\
    command goes on where it was.\n\n\
    With --check the exit status is 1 if a claim does not hold.")]
pub(crate) struct Args {
    /// Scenarios, or figures of them, as in receive-path/livelock; all, if none is named. What is
    /// claimed of a scenario is looked at where all of its figures are made.
    #[arg(value_name = "NAME",
        value_parser = clap::builder::PossibleValuesParser::new(scenarios::names()))]
    names: Vec<String>,
    /// Folder for the figures; without it only the summary is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Few points and short runs: to see that all works. No claim is looked at.
    #[arg(long)]
    quick: bool,
    /// Fail if a claim does not hold.
    #[arg(long, conflicts_with = "quick")]
    check: bool,
    #[command(flatten)]
    pool: PoolArgs,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// What is known of a scenario.
#[derive(JsonSchema, Serialize)]
struct Told {
    /// Its name.
    name: String,
    /// What it is about.
    title: String,
    /// Its figures, with files in the folder of its name.
    figures: Vec<Entry>,
    /// What its literature is known for, and whether it came out; none of quick runs, and none
    /// where not all of its figures were made.
    claims: Vec<Claim>,
}

/// What scenarios have shown.
#[derive(JsonSchema, Serialize)]
pub(super) struct Summary {
    /// The scenarios.
    scenarios: Vec<Told>,
    /// Rules of the transport that were broken.
    violations: u64,
    /// Events of all runs.
    events: u64,
    /// Runs that could not be made, and why.
    failures: Vec<String>,
}

/// A scenario that was asked for, or a part of it.
struct Wanted {
    scenario: Scenario,
    figures: Vec<Figure>,
    /// Whether all of its figures are there, as long as they are.
    is_whole: bool,
}

impl Wanted {
    /// All that was asked for, and the runs that it needs.
    fn of(args: &Args, published: &Published) -> anyhow::Result<(Vec<Self>, Runs)> {
        let (mut all, mut runs) = (Vec::new(), Runs::default());
        for scenario in scenarios::ALL {
            let plans = scenario.wanted(&args.names);
            if plans.is_empty() {
                continue;
            }
            let plans = plans.iter().map(|plan| plan.read(args.quick, &[]));
            let plans: Vec<Plan> = plans.collect::<anyhow::Result<_>>()?;
            let figures = plans.iter().flat_map(|plan| figures(plan, published, &mut runs));
            all.push(Self {
                scenario: *scenario,
                figures: figures.collect(),
                is_whole: !args.quick && plans.len() == scenario.plans.len(),
            });
        }
        Ok((all, runs))
    }

    /// Writes its figures and claims; adds its runs that were not made to `failures`.
    fn tell(
        &self,
        args: &Args,
        results: &Results,
        published: &Published,
        failures: &mut Vec<String>,
    ) -> anyhow::Result<Told> {
        let scores = Scores::of(&self.figures, results, published);
        failures.extend(scores.failures());
        let dir = args.out.as_ref().map(|dir| dir.join(self.scenario.name));
        if let Some(dir) = &dir {
            files::make_results_dir(dir)?;
        }
        let claims = match self.is_whole {
            true => self.scenario.claims(&Evidence::new(&scores)),
            false => Vec::new(),
        };
        if let Some(dir) = dir.as_ref().filter(|_| self.is_whole) {
            files::write_whole(&dir.join("claims.md"), table(&claims).as_bytes())?;
        }
        Ok(Told {
            name: self.scenario.name.to_owned(),
            title: self.scenario.title.to_owned(),
            figures: write_all(dir.as_deref(), &self.figures, &scores)?,
            claims,
        })
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let published = Published::load()?;
    let (wanted, runs) = Wanted::of(args, &published)?;
    let folder = args.out.as_deref().map(RunFolder::create).transpose()?;
    let results = runs::make(&runs, folder.as_ref(), &args.pool)?;
    let (mut told, mut failures) = (Vec::new(), Vec::new());
    for each in &wanted {
        told.push(each.tell(args, &results, &published, &mut failures)?);
    }
    let summary = Summary {
        scenarios: told,
        violations: results.sum("violations") as u64,
        events: results.sum("events") as u64,
        failures,
    };
    if let Some(dir) = &args.out {
        let json = serde_json::to_string_pretty(&summary)? + "\n";
        files::write_whole(&dir.join("summary.json"), json.as_bytes())?;
    }
    print(args.json, &summary, &render(&summary))?;
    let mut claims = summary.scenarios.iter().flat_map(|scenario| &scenario.claims);
    let missed = args.check && claims.any(|claim| !claim.holds());
    let is_bad = missed || summary.violations > 0 || !summary.failures.is_empty();
    Ok(if is_bad { Outcome::CheckFailed } else { Outcome::Good })
}

fn render(summary: &Summary) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for Told { name, title, figures, claims } in &summary.scenarios {
        let _ = writeln!(text, "{name}: {title}");
        for figure in figures {
            let _ = writeln!(text, "  {:24} {}", figure.name, figure.title);
        }
        for claim in claims {
            let mark = if claim.holds() { "holds  " } else { "DOES NOT" };
            let value = claim.value.map_or("-".to_owned(), |value| format!("{value:.4}"));
            let _ = writeln!(text, "  {mark} {value} ({}): {}", claim.limits(), claim.what);
        }
    }
    for failure in &summary.failures {
        let _ = writeln!(text, "not run: {failure}");
    }
    let _ = writeln!(
        text,
        "\n{} events; {} rules of the transport broken",
        summary.events, summary.violations
    );
    text
}
