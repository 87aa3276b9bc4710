//! `qpmux calibrate`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::Outcome;
use super::output::print;
use super::progress::Progress;
use crate::calibrate::Calibration;
use crate::calibrate::report::Report;
use crate::calibrate::{sensitivity, verbs};
use crate::nic::NAMES;

/// Fit the adapters' presets to published measurements, and say how far off the model is.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  qpmux calibrate --check\n\n\
    Without --check, and with --out DIR, changes those parameters of each preset that are marked\n\
    as fitted, and no others, until the sum of the squared logarithms of model over measurement\n\
    is least; this takes minutes.\n\
    Prints, for each source, the median absolute relative error and the worst curve, then what\n\
    is not scored, and why. The same presets give the same result.\n\n\
    With --check nothing is fitted, and the exit status is 1 if a source's median error is above\n\
    10 % (15 % for predictions, which presets are never fitted to).")]
pub(crate) struct Args {
    /// Do not fit: say how far off the presets are as they are.
    #[arg(long, conflicts_with = "out")]
    check: bool,
    /// Do not fit: say what each parameter moves when it is twice or half what it is: a table in
    /// Markdown. Without --nic also of network and middleboxes; this takes minutes.
    #[arg(long, conflicts_with_all = ["check", "out"])]
    sensitivities: bool,
    /// Take only this preset; may be given more than once.
    #[arg(long, value_name = "PRESET",
        value_parser = clap::builder::PossibleValuesParser::new(NAMES))]
    nic: Vec<String>,
    /// Folder to write the fitted presets to, as files like those in `sim/presets`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// How far the model is off.
#[derive(JsonSchema, Serialize)]
pub(super) struct Document {
    #[serde(flatten)]
    report: Report,
    /// Files written: the fitted presets.
    written: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut calibration = Calibration::load(verbs::run)?;
    if args.sensitivities {
        let mut progress = Progress::new();
        let all = calibration.sensitivities(&args.nic, &mut |done, total| {
            progress.count("changing parameters", done, total);
        })?;
        progress.finish();
        print(args.json, &all, &sensitivity::render_text(&all))?;
        return Ok(Outcome::Good);
    }
    if !args.check {
        let mut progress = Progress::new();
        calibration.fit(&args.nic, &mut |preset, step| {
            progress.count(&format!("fitting {preset}"), step.done, step.total);
        });
        progress.finish();
    }
    let report = calibration.report();
    let written = args.out.as_ref().map(|dir| calibration.write(dir)).transpose()?;
    let written = written.unwrap_or_default();
    let mut text = report.render_text();
    for path in &written {
        text += &format!("written     {}\n", path.display());
    }
    let good = report.good();
    print(args.json, &Document { report, written }, &text)?;
    Ok(if args.check && !good { Outcome::CheckFailed } else { Outcome::Good })
}
