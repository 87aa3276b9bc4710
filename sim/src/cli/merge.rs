//! `qpmux merge`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use super::Outcome;
use super::output::print;
use super::results::{self, Claim};
use super::sim::read_capture;
use crate::plan::{Plan, Source};
use crate::sweep::{Manifest, RunFolder, Runs};

/// Runs that are missing and named in a message.
const MISSING_SHOWN: usize = 5;

/// Put the parts of a sweep together: the same files as one that was made in one piece.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  qpmux sweep 018 --quick --shard 1/2 --out a\n  \
    qpmux sweep 018 --quick --shard 2/2 --out b\n  qpmux merge --out all a b\n\n\
    Parts that were made in one folder: `qpmux merge --out DIR DIR`.\n\
    All must be of one program and one plan; what is missing is named. Captures that the plan\n\
    names are looked for in the present folder.")]
pub(crate) struct Args {
    /// Folders of parts.
    #[arg(value_name = "DIR", required = true)]
    parts: Vec<PathBuf>,
    /// Folder for all; may be one of them.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let first = load(&args.parts[0])?;
    for part in &args.parts[1..] {
        first.compare(&load(part)?, part)?;
    }
    let source = Source {
        file: "manifest.json",
        name: &first.name,
        text: &first.plan,
        with: &[],
        is_quick: first.quick,
    };
    let plan = Plan::read(&source, &mut |path| read_capture(path))?;
    let mut runs = Runs::default();
    let manifest = Manifest::of(&plan, first.quick, &mut runs);
    manifest.compare(&first, &args.parts[0])?;
    manifest.claim(&args.out, false)?;
    let all = RunFolder::create(&args.out)?;
    let claimed = results::claim(&args.out, Claim::Alone)?;
    if claimed.is_some() {
        all.tidy(&args.out)?;
    }
    gather(args, &runs, &all)?;
    let finished = results::finish(&args.out, &plan, &manifest)?;
    print(args.json, &finished, &finished.render_text(&args.out, begun.elapsed()))?;
    Ok(if finished.is_good() { Outcome::Good } else { Outcome::CheckFailed })
}

fn load(dir: &std::path::Path) -> anyhow::Result<Manifest> {
    let manifest = Manifest::load(dir)?.with_context(|| {
        format!("{} has no manifest.json: it is no folder of a sweep", dir.display())
    })?;
    manifest.is_own(dir)?;
    Ok(manifest)
}

/// Copies all runs into one folder.
fn gather(args: &Args, runs: &Runs, all: &RunFolder) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for run in runs.iter() {
        let mut there: Option<(&PathBuf, String)> = None;
        for part in std::iter::once(&args.out).chain(&args.parts) {
            let folder = RunFolder::of(part);
            // It may be damaged, or another program's.
            if folder.get(&run)?.is_none() {
                continue;
            }
            let Some(text) = folder.text(&run)? else { continue };
            match &there {
                None if part == &args.out => there = Some((part, text)),
                None => {
                    all.put_text(&run, &text)?;
                    there = Some((part, text));
                }
                Some((other, before)) => ensure!(
                    *before == text,
                    "run {} is not the same in {} and {}: their machines compute differently, or \
                     a file was changed",
                    run.id,
                    other.display(),
                    part.display()
                ),
            }
        }
        if there.is_none() {
            missing.push(run.id);
        }
    }
    if !missing.is_empty() {
        let some: Vec<&str> = missing.iter().take(MISSING_SHOWN).map(String::as_str).collect();
        bail!(
            "{} runs are in none of the folders ({}{}): a part is missing, or was stopped; make it \
             again with the same --shard, or all that is missing with `qpmux sweep` in {}",
            missing.len(),
            some.join(", "),
            if missing.len() > MISSING_SHOWN { ", ..." } else { "" },
            args.out.display()
        );
    }
    Ok(())
}
