//! How the loop bears more than it can do: goodput, latency and losses against offered load, and
//! what happens when load falls again.
//!
//! The host, the engine and their configuration are real, and so is the processor time of the
//! host's turns; it alone moves the clock. Clients, wires and servers around it cost nothing but
//! the time that frames take. So load is known relative to what the loop can do, which is measured
//! first in each world. How fast the machine is while others use it is measured all the time.

mod costs;
mod ends;
mod figure;
mod pace;
mod rings;
mod runs;
mod table;
mod tally;
mod wires;
mod world;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;

use pace::Reference;
use runs::{Case, Progress, Results};

/// Measure the live loop under more load than it can bear.
///
/// Needs no network and no rights. A run with the defaults takes some twenty minutes. All numbers
/// but those of --json are ratios: a rate to the loop's capacity, a time to that of a quiet loop.
#[derive(Parser, Debug)]
#[command(name = "overload")]
#[command(after_help = "Example:\n  cargo run --release -p qpmux-live --example overload -- \
    --loads 0.5,1,2,3 --out out/overload")]
struct Args {
    /// Only measure what the loop costs a frame, by traffic, by map and by what is verified.
    #[arg(long)]
    costs: bool,
    /// Offered load, as multiples of capacity.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LOAD",
        default_value = "0.1,0.3,0.5,0.7,0.9,1,1.25,1.5,2,2.5,3"
    )]
    loads: Vec<f64>,
    /// Cases: all, or some of few-clients, many-clients, keyed, unshed,
    /// few-buffers, slow-servers, deep-rings.
    #[arg(long, value_delimiter = ',', value_name = "CASE", default_value = "all")]
    cases: Vec<String>,
    /// Emulated milliseconds that each load is measured for, after half as many.
    #[arg(long, value_name = "MS", default_value_t = 400,
        value_parser = clap::value_parser!(u64).range(1..=60_000))]
    span: u64,
    /// Frames that wait at a port, at most.
    #[arg(long, value_name = "FRAMES", default_value_t = 1_024)]
    ring: usize,
    /// Times that each load is measured: the one with the middle goodput counts.
    #[arg(long, value_name = "TIMES", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=99))]
    repeat: u32,
    /// Parts of a run in which load rises for three of them and falls; 0: no such run.
    #[arg(long, value_name = "PARTS", default_value_t = 20)]
    parts: usize,
    /// Emulated milliseconds of each of these parts.
    #[arg(long, value_name = "MS", default_value_t = 200,
        value_parser = clap::value_parser!(u64).range(5..=60_000))]
    part: u64,
    /// Seed of all that is drawn. The host's processor time differs from run to run all the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print everything that was counted as JSON, also what is no ratio.
    #[arg(long)]
    json: bool,
    /// Write tables and figures into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("overload: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    if args.costs {
        return print_costs(args);
    }
    let cases = Case::named(&args.cases, args.ring)?;
    if let Some(load) = args.loads.iter().find(|load| !(0.01..=100.0).contains(*load)) {
        bail!("--loads has {load}, must be 0.01 to 100");
    }
    let mut progress = Progress::default();
    let reference = Reference::new(args.ring, args.seed)?;
    let results = Results {
        loads: runs::sweep(&cases, args, &reference, &mut progress)?,
        falling: runs::falling(&cases, args, &reference, &mut progress)?,
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &results)?;
        writeln!(out)?;
    } else {
        out.write_all(table::text(&results).as_bytes())?;
    }
    if let Some(folder) = &args.out {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, bytes).with_context(|| path.display().to_string())
        };
        write("loads.csv", &table::loads(&results)?)?;
        write("falling.csv", &table::falling(&results)?)?;
        let chart = figure::chart(&results);
        write("overload.svg", chart.svg()?.as_bytes())?;
        write("overload.png", &chart.png()?)?;
    }
    Ok(())
}

fn print_costs(args: &Args) -> anyhow::Result<()> {
    let costs = costs::measure_all(args, &mut Progress::default())?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &costs)?;
        return Ok(writeln!(out)?);
    }
    Ok(out.write_all(costs::text(&costs).as_bytes())?)
}
