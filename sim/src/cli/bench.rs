//! `qpmux bench`.

use serde::Serialize;

use super::Outcome;
use super::output::print;
use super::progress::Progress;
use crate::bench::{self, EventBench};

/// Measure what parts of qpmux cost on this machine, beside their floors.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  qpmux bench\n  qpmux bench --json > bench.json\n\n\
    Each part is measured in turns with its floor, seven times, and the medians are printed.\n\
    Times of different runs cannot be compared where others use the machine as well; ratios can.")]
pub(super) struct Args {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    events: Vec<EventBench>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new();
    let events = bench::events(&mut |done, total| progress.count("measuring", done, total))?;
    progress.finish();
    let text = bench::render_text(&events);
    print(args.json, &Document { events }, &text)?;
    Ok(Outcome::Good)
}
