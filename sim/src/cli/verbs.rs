//! `qpmux sim` with a raw verb.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use qpmux_workloads::keys::KeyDistribution;

use super::Outcome;
use super::config::Given;
use super::output::print;
use super::progress::{Progress, file_len};
use crate::cluster::BoxParams;
use crate::connections_file::KnownConnections;
use crate::nic::{Network, Params, Preset, Spec};
use crate::replay::{Progress as Step, read_script};
use crate::verbs::{
    Conditions, Middlebox, Pace, RawOp, Sharing, TracePlan, VerbsError, VerbsOutcome, VerbsPlan,
    VerbsReport, run as run_verbs, run_trace,
};

/// Options of raw verbs.
#[derive(clap::Args)]
#[command(next_help_heading = "Raw verbs (--workload read|write|cas|faa|lock)")]
pub(super) struct VerbsArgs {
    /// Adapters of clients and server.
    #[arg(long, default_value = "connectx-5", value_name = "PRESET")]
    nic: String,
    /// The server's adapter, if it is another one.
    #[arg(long, value_name = "PRESET")]
    server_nic: Option<String>,
    /// Gives a parameter of the adapters another value; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
    /// The same for the server's adapter alone, after --set.
    #[arg(long, value_name = "NAME=VALUE")]
    set_server: Vec<Setting>,
    /// Gives a parameter of the middlebox another value; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE")]
    set_middlebox: Vec<Setting>,
    /// Operations that a thread may have outstanding.
    #[arg(long, default_value_t = 1, value_name = "N")]
    outstanding: usize,
    /// Bytes of a READ or WRITE.
    #[arg(long, default_value_t = 8, value_name = "BYTES")]
    size: usize,
    /// A thread posts one operation for each that has ended, or waits for all of them.
    #[arg(long, value_enum, default_value_t = PaceArg::Sliding)]
    pace: PaceArg,
    /// Operations per second that each thread begins at random times, whatever has ended.
    #[arg(long, value_name = "RATE", conflicts_with_all = ["pace", "outstanding"])]
    arrivals: Option<f64>,
    /// What a thread posts at once goes out as one list, with one doorbell.
    #[arg(long)]
    list: bool,
    /// Threads on one queue pair: own, a number of threads, or all of a machine; xM: each thread
    /// has M of its own, and takes one at random for each operation.
    #[arg(long, default_value = "own", value_name = "own|N|all|xM")]
    qp_sharing: SharingArg,
    /// Doorbell registers: own for each queue pair, or shared as the driver does by default.
    #[arg(long, value_enum, default_value_t = DoorbellsArg::Shared)]
    doorbells: DoorbellsArg,
    /// The server posts as well.
    #[arg(long)]
    both_ask: bool,
    /// READs and WRITEs are at any byte, not at multiples of 64.
    #[arg(long)]
    unaligned: bool,
    /// Where the memory is that operations reach.
    #[arg(long, value_enum, default_value_t = MemoryArg::Host)]
    memory: MemoryArg,
    /// Size of its pages: 4K, 2M or 1G; 0 for physical addresses, which need no translation.
    #[arg(long, default_value = "2M", value_name = "4K|2M|1G|0")]
    pages: Pages,
    /// Memory regions that it is registered as.
    #[arg(long, default_value_t = 1, value_name = "N")]
    regions: u32,
    /// WRITEs up to this many bytes travel with their work request.
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    inline: u64,
    /// Path MTU, bytes.
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    path_mtu: usize,
    /// Run the closed-loop workload of a capture instead: the same verbs, waiting for the same
    /// answers, thinking as long; each connection has a thread.
    #[arg(long, value_name = "CAPTURE")]
    pub(super) trace: Option<PathBuf>,
    /// Each client machine of the capture is there so many times.
    #[arg(long, default_value = "x1", value_name = "xN", requires = "trace", value_parser = copies)]
    trace_clients: usize,
    /// Clients think so many times as long as captured ones did; 0: not at all.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", requires = "trace",
        value_parser = parse_factor)]
    think: f64,
    /// Adapters take part in congestion control (DCQCN): the switch marks packets, receivers
    /// notify, and senders slow down.
    #[arg(long)]
    dcqcn: bool,
    /// Gives a number of the network another value: the switch's queue or a parameter of congestion
    /// control; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE")]
    set_network: Vec<Setting>,
    /// Runs, with seeds from --seed on; throughput then has a confidence interval.
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(super) seeds: u64,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PaceArg {
    /// One for each that has ended.
    Sliding,
    /// As many as may be outstanding, when all have ended.
    Batch,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum DoorbellsArg {
    /// Each queue pair has its own.
    Own,
    /// The driver's few.
    Shared,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum MemoryArg {
    /// The server's.
    Host,
    /// The adapter's own.
    Device,
}

#[derive(Clone)]
struct Setting(String, f64);

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
        let value = value.parse().map_err(|_| format!("`{value}` is no number"))?;
        Ok(Self(name.to_owned(), value))
    }
}

#[derive(Clone, Copy)]
struct SharingArg(Sharing);

impl FromStr for SharingArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<usize>()
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| "write own, all, a number of threads, or x and a number".to_owned())
        };
        Ok(Self(match text {
            "own" => Sharing::Own,
            "all" => Sharing::All,
            many if many.starts_with('x') => Sharing::Many(number(&many[1..])?),
            threads => Sharing::Threads(number(threads)?),
        }))
    }
}

#[derive(Clone, Copy)]
struct Pages(u64);

impl FromStr for Pages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "4K" => Ok(Self(4 << 10)),
            "2M" => Ok(Self(2 << 20)),
            "1G" => Ok(Self(1 << 30)),
            "0" => Ok(Self(1 << 60)),
            _ => Err("write 4K, 2M, 1G or 0".to_owned()),
        }
    }
}

/// What raw verbs have in common with applications.
pub(super) struct Common {
    pub(super) threads: usize,
    pub(super) machines: usize,
    pub(super) keys: u64,
    pub(super) distribution: KeyDistribution,
    pub(super) ops: u64,
    pub(super) seed: u64,
    pub(super) json: bool,
    pub(super) middlebox: Option<Middlebox>,
    pub(super) loss: f64,
    pub(super) timeout: u8,
    pub(super) retries: u32,
}

impl VerbsArgs {
    /// Adapters of clients and of servers.
    fn adapters(&self) -> anyhow::Result<[Params; 2]> {
        let preset = |name: &str, more: &[Setting]| -> anyhow::Result<_> {
            let mut params = Preset::load(name)?.params;
            for Setting(name, value) in self.set.iter().chain(more) {
                params.set(name, *value)?;
            }
            Ok(params)
        };
        let server = self.server_nic.as_deref().unwrap_or(&self.nic);
        Ok([preset(&self.nic, &[])?, preset(server, &self.set_server)?])
    }

    /// The adapter of clients and servers, where these have the same.
    pub(super) fn one_adapter(&self) -> anyhow::Result<Params> {
        let [client, server] = self.adapters()?;
        anyhow::ensure!(
            client == server,
            "--server-nic, --set-server: Clover's machines all have one adapter; take --nic and \
             --set"
        );
        Ok(client)
    }

    /// Gives a middlebox the values that it is to have.
    pub(super) fn set_middlebox(&self, costs: &mut BoxParams) -> anyhow::Result<()> {
        for Setting(name, value) in &self.set_middlebox {
            costs.set(name, *value)?;
        }
        Ok(())
    }

    /// Each number of adapters and network, as options.
    pub(super) fn numbers(&self, common: &Common) -> anyhow::Result<Vec<Given>> {
        let [client, server] = self.adapters()?;
        let network = self.conditions(common)?.network;
        let mut all = vec![
            ("set".to_owned(), settings(Params::SPECS, |name| client.get(name))),
            ("set-network".to_owned(), settings(Network::SPECS, |name| network.get(name))),
        ];
        if server != client {
            let settings = settings(Params::SPECS, |name| server.get(name));
            all.push(("set-server".to_owned(), settings));
        }
        Ok(all)
    }

    /// What the network does, and how adapters take it.
    fn conditions(&self, common: &Common) -> anyhow::Result<Conditions> {
        let mut network = Network::default();
        for Setting(name, value) in &self.set_network {
            network.set(name, *value)?;
        }
        Ok(Conditions {
            network,
            loss: common.loss,
            dcqcn: self.dcqcn,
            timeout: common.timeout,
            retries: common.retries,
        })
    }

    fn plan(&self, op: RawOp, common: &Common) -> anyhow::Result<VerbsPlan> {
        let [client, server] = self.adapters()?;
        Ok(VerbsPlan {
            op,
            size: self.size,
            threads: common.threads,
            machines: common.machines,
            outstanding: self.outstanding,
            pace: match (self.arrivals, self.pace) {
                (Some(rate), _) => Pace::Open(rate),
                (None, PaceArg::Sliding) => Pace::Sliding,
                (None, PaceArg::Batch) => Pace::Batch,
            },
            list: self.list,
            sharing: self.qp_sharing.0,
            own_doorbells: matches!(self.doorbells, DoorbellsArg::Own),
            both_ask: self.both_ask,
            keys: common.keys,
            unaligned: self.unaligned,
            distribution: common.distribution,
            device_memory: matches!(self.memory, MemoryArg::Device),
            page_bytes: self.pages.0,
            regions: self.regions,
            inline_bytes: self.inline,
            path_mtu: self.path_mtu,
            conditions: self.conditions(common)?,
            client,
            server,
            middlebox: common.middlebox.clone(),
            ops: common.ops,
        })
    }

    /// Runs a raw verb.
    pub(super) fn run(&self, op: RawOp, common: &Common) -> anyhow::Result<Outcome> {
        let plan = self.plan(op, common)?;
        self.report(common, plan.threads, plan.ops, &mut |seed, progress| {
            run_verbs(&plan, seed, progress)
        })
    }

    /// Runs the workload of a capture.
    pub(super) fn run_trace(&self, capture: &Path, common: &Common) -> anyhow::Result<Outcome> {
        let mut progress = Progress::new();
        let total = file_len(capture);
        let script = read_script(capture, &KnownConnections::default(), &[], &mut |step| {
            if let Step::Read(pass, bytes) = step {
                progress.bytes(
                    &format!("reading {}, pass {pass}", capture.display()),
                    bytes,
                    total,
                );
            }
        })?;
        progress.finish();
        let [client, server] = self.adapters()?;
        let plan = TracePlan {
            client,
            server,
            middlebox: common.middlebox.clone(),
            conditions: self.conditions(common)?,
            copies: self.trace_clients,
            think: self.think,
            page_bytes: self.pages.0,
        };
        let threads = script.connections.len() * plan.copies;
        let messages: usize = script.connections.iter().map(|c| c.verbs.len()).sum();
        self.report(common, threads, (messages * plan.copies) as u64, &mut |seed, progress| {
            run_trace(&script, &plan, seed, progress)
        })
    }

    /// Makes a run for each seed and says what they showed.
    fn report(
        &self,
        common: &Common,
        threads: usize,
        ops: u64,
        run: &mut Run<'_>,
    ) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        let mut progress = Progress::new();
        let seeds: Vec<u64> = (common.seed..common.seed.saturating_add(self.seeds)).collect();
        let mut outcomes = Vec::new();
        for (number, seed) in (0..).zip(&seeds) {
            let mut show = |done| progress.count("running", number * ops + done, ops * self.seeds);
            outcomes.push(run(*seed, &mut show)?);
        }
        progress.finish();
        let report = VerbsReport::new(seeds, &outcomes, started.elapsed().as_secs_f64());
        print(common.json, &report, &report.render_text(threads))?;
        Ok(if report.is_good() { Outcome::Good } else { Outcome::CheckFailed })
    }
}

/// Values of parameters, as they are given to an option.
pub(super) fn settings(specs: &[Spec], value: impl Fn(&str) -> Option<f64>) -> Vec<String> {
    let setting = |spec: &Spec| Some(format!("{}={}", spec.name, value(spec.name)?));
    specs.iter().filter_map(setting).collect()
}

/// Makes the run of a seed, and tells how far it is.
type Run<'a> = dyn FnMut(u64, &mut dyn FnMut(u64)) -> Result<VerbsOutcome, VerbsError> + 'a;

fn copies(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix('x').unwrap_or(text).parse().ok();
    number.filter(|n| (1..=1_024).contains(n)).ok_or_else(|| "write x and 1 to 1024".to_owned())
}

fn parse_factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|f: &f64| (0.0..=1e6).contains(f));
    factor.ok_or_else(|| "write a number from 0 to 1000000".to_owned())
}
