//! `qpmux inspect`.

use std::path::PathBuf;

use super::output::print;
use super::progress::{Progress, file_len};
use super::{Outcome, load_connections, manifest};
use crate::files::make_results_dir;
use crate::inspect::{self, InspectOptions, NamedProfile};

/// Say what is in a capture: packets, connections, verbs, repeats, keys.
#[derive(clap::Args, serde::Serialize)]
#[command(after_help = "Example:\n  qpmux inspect traces/samples/kv-ycsb-a-16qp.pcap\n\n\
    Connections are learnt from the traffic alone; --no-cm, --no-source-port and --no-psn switch\n\
    a kind of evidence off. --connections FILE names those that are known beforehand:\n\n  \
    [[connection]]\n  client = \"10.0.0.1:0x11\"\n  server = \"10.0.0.2:0x22\"")]
pub(crate) struct Args {
    /// Capture to read: pcap or pcapng, plain, gzip or zstd; - is standard input.
    capture: PathBuf,
    /// Which requests carry a key: kv, none, or a TOML file.
    #[arg(long, default_value = "kv", value_name = "NAME|FILE")]
    profile: String,
    /// Connections that are known: a TOML file with [[connection]] entries.
    #[arg(long, value_name = "FILE")]
    connections: Option<PathBuf>,
    /// Do not learn connections from the connection manager.
    #[arg(long)]
    no_cm: bool,
    /// Do not learn connections from UDP source ports.
    #[arg(long)]
    no_source_port: bool,
    /// Do not learn connections from sequence numbers.
    #[arg(long)]
    no_psn: bool,
    /// Distinct keys to keep apart.
    #[arg(long, default_value_t = 1 << 20, value_name = "N")]
    keys_max: usize,
    /// Print one JSON document.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
    /// Also write report.json and manifest.json to this directory.
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if args.out.is_some() {
        manifest::refuse_standard_input(&args.capture)?;
    }
    let options = InspectOptions {
        profile: Some(NamedProfile::load(&args.profile)?),
        keys_max: args.keys_max,
        connections: load_connections(args.connections.as_deref())?,
        learn_by_cm: !args.no_cm,
        learn_by_source_port: !args.no_source_port,
        learn_by_psn: !args.no_psn,
        ..InspectOptions::default()
    };
    let mut progress = Progress::new();
    let total = file_len(&args.capture);
    let report = inspect::run(&args.capture, &options, &mut |bytes| {
        progress.bytes("reading", bytes, total);
    })?;
    progress.finish();
    if let Some(dir) = &args.out {
        make_results_dir(dir)?;
        let inputs = [Some(&args.capture), args.connections.as_ref()];
        let inputs: Vec<_> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
        manifest::write(dir, "inspect", args, &inputs, &report)?;
    }
    print(args.json, &report, &report.render_text())?;
    Ok(Outcome::Good)
}
