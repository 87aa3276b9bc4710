//! `qpmux paper`.

use std::fmt::Write;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::Outcome;
use super::figures::{Entry, write_all};
use super::output::print;
use super::progress::Progress;
use super::runs::{self, PoolArgs};
use crate::figure::{Check, Scores, figures_of, paper_page};
use crate::files;
use crate::paper::{self, Era, Published, checks};
use crate::sweep::RunFolder;

/// Predict the published experiments, and draw them over what was published.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  qpmux paper --quick --only 023\n\n\
    Runs Clover, YCSB and raw verbs through adapters and boxes that cost what they cost, three\n\
    seeds each; takes some 15 minutes on two cores, --quick less than one. DIR gets, for each\n\
    figure, its numbers (.csv), its drawing (.svg, .png) and its errors (.md), and README.md,\n\
    index.html and summary.json for all. The same program gives the same bytes, on any number of\n\
    threads. What was run is kept in DIR/runs: when it is stopped, the same command goes on\n\
    where it was. Each figure is a plan, in sim/plans, that `qpmux sweep` makes as well.\n\n\
    With --check the exit status is 1 if a prediction is outside of the limits that were set\n\
    before anything was compared. With --fit nothing is predicted: what nobody published of\n\
    the experiments is fitted to the series that may be, and printed as files like those in\n\
    sim/presets/paper.")]
pub(crate) struct Args {
    /// Folder for the figures; without it only the summary is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Few points and short runs: to see that all works. Its errors say nothing.
    #[arg(long)]
    quick: bool,
    /// Only this figure; may be given more than once.
    #[arg(long, value_name = "NAME",
        value_parser = clap::builder::PossibleValuesParser::new(paper::names()))]
    only: Vec<String>,
    /// Fail if a prediction is outside of its limits.
    #[arg(long, conflicts_with = "quick")]
    check: bool,
    /// Fit library and box to the series that may be fitted, and print what was found.
    #[arg(long, conflicts_with_all = ["check", "quick", "only"])]
    fit: bool,
    /// Gives a key of the plans another value, as in base.zipf=0.75; may be given more than once.
    #[arg(long, value_name = "PATH=VALUE")]
    with: Vec<String>,
    #[command(flatten)]
    pool: PoolArgs,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// What was predicted, and how far off it is.
#[derive(JsonSchema, Serialize)]
pub(super) struct Summary {
    /// The figures.
    figures: Vec<Entry>,
    /// Limits and what was predicted; none of quick runs, whose errors say nothing.
    checks: Vec<Check>,
    /// Rules of the transport that were broken.
    violations: u64,
    /// Events of all runs.
    events: u64,
    /// Runs that could not be made, and why.
    failures: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if args.fit {
        return fit(args);
    }
    let published = Published::load()?;
    let plans = paper::plans(&args.only, args.quick, &args.with)?;
    let (figures, runs) = figures_of(&plans, &published);
    let folder = args.out.as_deref().map(RunFolder::create).transpose()?;
    let results = runs::make(&runs, folder.as_ref(), &args.pool)?;
    let scores = Scores::of(&figures, &results, &published);
    let checks = if args.quick { Vec::new() } else { checks(&scores) };
    let entries = write_all(args.out.as_deref(), &figures, &scores)?;
    let summary = Summary {
        figures: entries,
        checks,
        violations: results.sum("violations") as u64,
        events: results.sum("events") as u64,
        failures: scores.failures(),
    };
    if let Some(dir) = &args.out {
        let page = paper::gallery(&figures, &scores, &summary.checks);
        files::write_whole(&dir.join("README.md"), page.as_bytes())?;
        let page = paper_page(&plans, &figures, &scores, &summary.checks)?;
        files::write_whole(&dir.join("index.html"), page.as_bytes())?;
        let json = serde_json::to_string_pretty(&summary)? + "\n";
        files::write_whole(&dir.join("summary.json"), json.as_bytes())?;
    }
    print(args.json, &summary, &render(&summary))?;
    let missed = args.check && summary.checks.iter().any(|check| !check.is_met());
    let is_bad = missed || summary.violations > 0 || !summary.failures.is_empty();
    Ok(if is_bad { Outcome::CheckFailed } else { Outcome::Good })
}

fn render(summary: &Summary) -> String {
    let mut text = String::from("figures, and the median error of what was published of them:\n");
    for entry in &summary.figures {
        let error = entry.error.map_or("-".to_owned(), |error| format!("{:.1} %", 100.0 * error));
        let _ = writeln!(text, "  {:24} {error:>8}  {}", entry.name, entry.title);
    }
    if !summary.checks.is_empty() {
        text += "\nlimits:\n";
    }
    for check in &summary.checks {
        let mark = if check.is_met() { "met   " } else { "MISSED" };
        let _ = writeln!(
            text,
            "  {mark} {:.3} ({} to {}): {}",
            check.value, check.least, check.most, check.what
        );
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

/// What a fit found, with the file that it makes.
#[derive(JsonSchema, Serialize)]
pub(super) struct FitReport {
    /// Name of the file.
    file: String,
    /// Root mean square of the logarithms of model over measurement, for each stage of the fit.
    rms: Vec<f64>,
    /// The file.
    text: String,
}

fn fit(args: &Args) -> anyhow::Result<Outcome> {
    let mut reports = Vec::new();
    for era in Era::ALL {
        let mut progress = Progress::new();
        let fitted = paper::fit(era, &mut |done| {
            progress.count("fitting, sets of parameters", done, done.max(200));
        })?;
        progress.finish();
        let values: Vec<(&str, f64)> = fitted
            .iter()
            .flat_map(|stage| stage.names.iter().map(|name| (*name, stage.value(name))))
            .collect();
        let text = era.file_with(&values)?;
        let file = format!("{}.toml", era.name());
        if let Some(dir) = &args.out {
            files::make_results_dir(dir)?;
            files::write_whole(&dir.join(&file), text.as_bytes())?;
        }
        let rms = fitted.iter().map(|fitted| fitted.rms).collect();
        reports.push(FitReport { file, rms, text });
    }
    let mut text = String::new();
    for report in &reports {
        let _ = writeln!(text, "# {}: rms of logarithms {:.4?}", report.file, report.rms);
        text += &report.text;
    }
    print(args.json, &reports, &text)?;
    Ok(Outcome::Good)
}
