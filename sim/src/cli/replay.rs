//! `qpmux replay`.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::bail;
use qpmux_engine::policy::{self, Policy};
use qpmux_engine::{Config, Verify};
use qpmux_traces::refuse_same_file;
use qpmux_workloads::load_profile;

use super::output::print;
use super::progress::{Progress, file_len};
use super::{Outcome, load_connections, manifest};
use crate::options::policy::{PolicyArgs, parse_fraction};
use crate::replay::{
    self, Latency, Losses, Outputs, ReplayReport, Setup, replay_captured, replay_modelled,
};

/// Send a capture through the engine, and check that nobody can tell.
///
/// By default the capture's requests are driven again as a closed loop against modelled servers:
/// what multiplexing would have done to the captured run.
#[derive(clap::Args, serde::Serialize)]
#[command(
    after_help = "Example:\n  qpmux replay traces/samples/kv-ycsb-a-16qp.pcap --server-qps 4 \
    --out out\n  \
    qpmux replay traces/samples/kv-ycsb-a-16qp.pcap --server-qps 4 --loss 0.01\n  \
    qpmux replay traces/samples/kv-ycsb-a-16qp.pcap --map none --responses captured \
    --egress out.pcap\n\n\
    With --out DIR: clients.pcap and server.pcap (the two sides of the middlebox), ingress.pcap\n\
    (what the engine took in from both, in its order), placement.svg (which key ran where),\n\
    report.json and manifest.json. The exit status is 1 if a request was not completed, a rule of\n\
    the transport was broken, or memory or an answer is wrong."
)]
pub(crate) struct Args {
    /// Capture to read: pcap or pcapng, plain, gzip or zstd.
    capture: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    policy: PolicyArgs,
    /// Which requests carry a key: clover, clover-upstream, kv, lock-table, none, or a
    /// TOML file.
    #[arg(long, default_value = "kv", value_name = "NAME|FILE")]
    profile: String,
    /// Connections that are known: a TOML file with [[connection]] entries, each with client and
    /// server as "ADDRESS:NUMBER".
    #[arg(long, value_name = "FILE")]
    connections: Option<PathBuf>,
    /// What the engine knows at the start.
    #[arg(long, value_enum, default_value_t = Learn::FirstPass)]
    learn: Learn,
    /// Path MTU of the network in bytes, with --learn live: traffic does not always show it, and
    /// a connection whose path MTU is not known is not translated.
    #[arg(long, value_name = "BYTES")]
    path_mtu: Option<u16>,
    /// Of which packets the ICRC is verified when they come in: of all, or not of those with data,
    /// which then is when they are sent again. Where data is looked at (--map all, --steer,
    /// --atomics replace), of all.
    #[arg(long, value_enum, default_value_t = Verified::Full, value_name = "WHAT")]
    verify: Verified,
    /// Where the servers' answers come from.
    #[arg(long, value_enum, default_value_t = Responses::Model)]
    responses: Responses,
    /// Number of engines that share the connections; the result is the same.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    shards: u8,
    /// Longest message that is mapped, in packets: a WRITE of several is held until it is whole.
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=8))]
    message_packets_max: u32,
    /// READs and atomics that a server queue pair takes at a time; else what the capture shows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=255))]
    depth: Option<u16>,
    /// Servers whose adapters keep the words of atomics in big-endian order, in memory and in
    /// READs of it; all others keep them in little-endian order.
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    big_endian: Vec<IpAddr>,
    /// The modelled server acknowledges every N-th request.
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    ack_every: u32,
    /// One-way time between clients and middlebox, in nanoseconds.
    #[arg(long, default_value_t = Latency::default().client_ns, value_name = "NS",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    client_latency_ns: u64,
    /// One-way time between middlebox and servers, in nanoseconds.
    #[arg(long, default_value_t = Latency::default().server_ns, value_name = "NS",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    server_latency_ns: u64,
    /// Time from request to answer inside a server, in nanoseconds.
    #[arg(long, default_value_t = Latency::default().execution_ns, value_name = "NS",
        value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    execution_ns: u64,
    /// Probability from 0 to 0.5 that a packet is lost, on each of the four legs of its way:
    /// between clients and middlebox, between middlebox and servers, there and back.
    #[arg(long, default_value_t = 0.0, value_name = "FRACTION", value_parser = parse_fraction)]
    loss: f64,
    /// Seed of --loss.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Lose again what was lost in the recording: a capture of the same run from its other end.
    ///
    /// So CLIENT.pcap --losses-of SERVER.pcap, or the other way round. Both have to show the same
    /// connections from beginning to end, one as seen at the clients, the other as seen at the
    /// servers. A packet that was sent at one end and did not arrive intact at the other is lost.
    /// It is known by its connection, its direction, its PSN, and by how many packets of that
    /// direction had this PSN before: if the first transmission of a request was lost, so is the
    /// first one of the replay, between client and middlebox, where PSNs are the recorded ones; and
    /// likewise answers on their way back. Nothing is lost between middlebox and servers (but see
    /// --loss). Packets are the same if their PSNs and ICRCs are; if fewer of several equal ones
    /// arrived, the last ones count as arrived.
    #[arg(long, value_name = "CAPTURE")]
    losses_of: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
    /// Write the results to this directory.
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    out: Option<PathBuf>,
    /// Write all frames that the engine sends, of both sides and in its order, to this capture; .gz
    /// and .zst are compressed, - is standard output.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    egress: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Learn {
    /// All connections, rights and ranges, from a first pass over the capture.
    FirstPass,
    /// Nothing: it learns while it runs. Keys have one place from the flip into translation on.
    Live,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verified {
    /// Of all.
    Full,
    /// Of those without data.
    Headers,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Responses {
    /// From modelled servers with real memory.
    Model,
    /// From the capture itself (with --map none).
    Captured,
}

impl Args {
    fn setup(&self) -> anyhow::Result<Setup> {
        let policy = Policy {
            trust: match self.learn {
                Learn::FirstPass => policy::TrustBy::Directory,
                Learn::Live => policy::TrustBy::Observation,
            },
            message_packets_max: self.message_packets_max,
            ..self.policy.policy(load_profile(&self.profile)?)
        };
        policy.check()?;
        Ok(Setup {
            policy,
            connections: load_connections(self.connections.as_deref())?,
            engine: Config {
                path_mtu: self.path_mtu,
                depth: self.depth,
                verify: match self.verify {
                    Verified::Full => Verify::Full,
                    Verified::Headers => Verify::Headers,
                },
                ..Config::default()
            },
            shards: self.shards,
            depth: self.depth,
            ack_every: self.ack_every,
            latency: Latency {
                client_ns: self.client_latency_ns,
                server_ns: self.server_latency_ns,
                execution_ns: self.execution_ns,
            },
            losses: Losses { fraction: self.loss, seed: self.seed, of: self.losses_of.clone() },
            big_endian: self.big_endian.clone(),
        })
    }

    fn replay(&self) -> anyhow::Result<ReplayReport> {
        if self.responses == Responses::Model || self.out.is_some() {
            manifest::refuse_standard_input(&self.capture)?;
        }
        self.losses_of.as_deref().map(manifest::refuse_standard_input).transpose()?;
        let setup = self.setup()?;
        let total = file_len(&self.capture);
        let mut bar = Progress::new();
        let mut progress = |progress| match progress {
            replay::Progress::Read(pass, bytes) => {
                bar.bytes(&format!("reading, pass {pass}"), bytes, total);
            }
            replay::Progress::Completed(done, all) => bar.count("requests", done, all),
        };
        let capture = &self.capture;
        let out = Outputs { dir: self.out.as_deref(), egress: self.egress.as_deref() };
        let report = match self.responses {
            Responses::Model => replay_modelled(capture, out, &setup, &mut progress),
            Responses::Captured => replay_captured(capture, out, &setup, &mut progress),
        }?;
        bar.finish();
        Ok(report)
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let to_standard_output = args.egress.as_ref().is_some_and(|path| path.as_os_str() == "-");
    if to_standard_output && args.json {
        bail!("the capture goes to standard output, so --json cannot: name a file");
    }
    let inputs = [Some(&args.capture), args.connections.as_ref(), args.losses_of.as_ref()];
    let inputs: Vec<_> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
    args.egress.as_ref().map(|egress| refuse_same_file(egress, &inputs)).transpose()?;
    let report = args.replay()?;
    if let Some(dir) = &args.out {
        manifest::write(dir, "replay", args, &inputs, &report)?;
    }
    if !to_standard_output {
        print(args.json, &report, &report.render_text())?;
    }
    Ok(if report.is_good() { Outcome::Good } else { Outcome::CheckFailed })
}
