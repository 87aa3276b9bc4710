//! `qpmux bench`.

use schemars::JsonSchema;
use serde::Serialize;

use super::Outcome;
use super::output::print;
use super::progress::Progress;
use crate::bench::{self, EventBench};

/// Measure what parts of qpmux cost on this machine, beside their floors.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  qpmux bench --events 200000\n\n\
    Each part is measured in turns with its floor, seven times, and the medians are printed.\n\
    Times of different runs cannot be compared where others use the machine as well; ratios can.")]
pub(crate) struct Args {
    /// Events of each measurement.
    #[arg(long, default_value_t = 2_000_000, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    events: u64,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// What parts of qpmux cost on this machine.
#[derive(JsonSchema, Serialize)]
pub(super) struct Document {
    /// The event core.
    events: Vec<EventBench>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new();
    let events = bench::events(args.events, &mut |done, total| {
        progress.count("measuring", done, total);
    })?;
    progress.finish();
    let text = bench::render_text(&events);
    print(args.json, &Document { events }, &text)?;
    Ok(Outcome::Good)
}
