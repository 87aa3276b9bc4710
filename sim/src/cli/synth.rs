//! `qpmux synth`.

use std::path::PathBuf;

use anyhow::bail;
use qpmux_workloads::clover::Variant;
use qpmux_workloads::keys::{KeyDistribution, Ycsb};

use super::Outcome;
use super::output::print;
use super::progress::Progress;
use crate::synth::{SynthConfig, synthesize};

/// Make a capture of an application's traffic, byte for byte as its adapters send it.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  qpmux synth --workload A --threads 64 --keys 1024 --zipf 0.99 \
    --ops 10000 a.pcap\n\n\
    Clients, adapters, memory node and metadata server are modelled; the same options and seed\n\
    give the same bytes. The capture is what a middlebox between clients and memory node sees:\n\
    first one thread opens all keys, then all threads run. It is written whole or not at all, and\n\
    is for `qpmux replay --profile clover`."
)]
pub(crate) struct Args {
    /// Capture to write: pcap; .gz and .zst are compressed, - is standard output.
    out: PathBuf,
    /// The application.
    #[arg(long, value_enum, default_value_t = App::Clover)]
    app: App,
    /// Operations: A (half updates), B (5 % updates), C (reads) or W (updates).
    #[arg(long, default_value = "A", value_name = "A|B|C|W")]
    workload: Ycsb,
    /// Client threads, on all machines together.
    #[arg(long, default_value_t = 8, value_name = "N")]
    threads: u16,
    /// Client machines; the threads of one share what they know of keys.
    #[arg(long, default_value_t = 1, value_name = "N")]
    machines: u16,
    /// Keys.
    #[arg(long, default_value_t = 1_024, value_name = "N")]
    keys: u64,
    /// Zipf exponent of the keys' popularity, 0 or more; key 1 is the most popular.
    #[arg(
        long,
        default_value_t = 0.99,
        value_name = "S",
        conflicts_with = "uniform",
        allow_negative_numbers = true
    )]
    zipf: f64,
    /// All keys are equally popular.
    #[arg(long)]
    uniform: bool,
    /// Operations of all threads together.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    ops: u64,
    /// Bytes of a value; with its 8-byte header it takes a slot of 128, 256, 512 or 1,024 bytes.
    #[arg(long, default_value_t = 1_000, value_name = "BYTES")]
    value_size: u16,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Whose Clover.
    #[arg(long, value_enum, default_value_t = VariantOf::Fork)]
    variant: VariantOf,
    /// Each thread runs five operations at a time on its queue pair.
    #[arg(long)]
    coroutines: bool,
    /// Also capture what goes to and from the metadata server.
    #[arg(long)]
    metadata: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum App {
    /// Clover, a key-value store on passive disaggregated memory.
    Clover,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum VariantOf {
    /// That of the middlebox experiments: values begin with their key, a queue pair per thread.
    Fork,
    /// The original: no keys on the wire, eight queue pairs per machine.
    Upstream,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let App::Clover = args.app;
    let to_standard_output = args.out.as_os_str() == "-";
    if to_standard_output && args.json {
        bail!("the capture goes to standard output, so --json cannot: name a file");
    }
    let config = SynthConfig {
        workload: args.workload,
        threads: args.threads,
        machines: args.machines,
        keys: args.keys,
        distribution: if args.uniform {
            KeyDistribution::Uniform
        } else {
            KeyDistribution::Zipf { theta: args.zipf }
        },
        operations: args.ops,
        value_len: args.value_size,
        seed: args.seed,
        variant: match args.variant {
            VariantOf::Fork => Variant::Fork,
            VariantOf::Upstream => Variant::Upstream,
        },
        coroutines: args.coroutines,
        metadata: args.metadata,
    };
    let mut progress = Progress::new();
    let report = synthesize(&config, &args.out, &mut |done| {
        progress.count("synthesizing", done, args.ops);
    })?;
    progress.finish();
    if !to_standard_output {
        print(args.json, &report, &report.render_text())?;
    }
    Ok(Outcome::Good)
}
