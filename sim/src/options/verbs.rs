//! Options of raw verbs and captures.

use std::path::PathBuf;
use std::str::FromStr;

use qpmux_workloads::keys::KeyDistribution;

use super::calls::{CallArgs, TableArgs};
use super::file::Given;
use crate::cluster::BoxParams;
use crate::nic::{Network, Params, Preset, Spec};
use crate::verbs::{Conditions, Middlebox, Pace, RawOp, Sharing, TracePlan, VerbsPlan};

/// Least operations of a run, unless more or fewer are asked for.
const OPS: u64 = 12_000;
/// Least operations for each that is outstanding.
const ROUNDS: u64 = 8;

/// Options of raw verbs.
#[derive(clap::Args)]
#[command(next_help_heading = "Raw verbs (--workload read|write|cas|faa|lock|lookup)")]
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
    /// Bytes of a READ, a WRITE, or a value that is looked up.
    #[arg(long, default_value_t = 8, value_name = "BYTES")]
    size: usize,
    /// A thread posts one operation for each that has ended, or waits for all of them, or for all
    /// of all threads.
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
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    calls: CallArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PaceArg {
    /// One for each that has ended.
    Sliding,
    /// As many as may be outstanding, when all have ended.
    Batch,
    /// The same, when all of all threads have ended.
    Barrier,
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
pub(super) struct Setting(pub(super) String, pub(super) f64);

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
        all.extend(self.calls.numbers()?);
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

    pub(super) fn plan(
        &self,
        op: RawOp,
        ops: Option<u64>,
        common: &Common,
    ) -> anyhow::Result<VerbsPlan> {
        let [client, server] = self.adapters()?;
        Ok(VerbsPlan {
            op,
            transport: self.calls.transport()?,
            table: self.table.plan(),
            size: self.size,
            threads: common.threads,
            machines: common.machines,
            outstanding: self.outstanding,
            pace: match (self.arrivals, self.pace) {
                (Some(rate), _) => Pace::Open(rate),
                (None, PaceArg::Sliding) => Pace::Sliding,
                (None, PaceArg::Batch) => Pace::Batch,
                (None, PaceArg::Barrier) => Pace::Barrier,
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
            ops: self.ops(ops, common.threads),
        })
    }

    /// The run of a capture's workload.
    pub(super) fn trace_plan(&self, common: &Common) -> anyhow::Result<TracePlan> {
        let [client, server] = self.adapters()?;
        Ok(TracePlan {
            client,
            server,
            middlebox: common.middlebox.clone(),
            conditions: self.conditions(common)?,
            copies: self.trace_clients,
            think: self.think,
            page_bytes: self.pages.0,
        })
    }

    /// Operations of a run.
    pub(super) fn ops(&self, wanted: Option<u64>, threads: usize) -> u64 {
        let outstanding = (threads as u64).saturating_mul(self.outstanding as u64);
        wanted.unwrap_or(OPS.max(ROUNDS.saturating_mul(outstanding)))
    }

    /// Queue pairs of so many threads, at most.
    pub(super) fn queue_pairs(&self, threads: u16) -> u32 {
        let each = match self.qp_sharing.0 {
            Sharing::Many(each) => u32::try_from(each).unwrap_or(u32::MAX),
            _ => 1,
        };
        u32::from(threads).saturating_mul(each)
    }
}

/// Values of parameters, as they are given to an option.
pub(super) fn settings(specs: &[Spec], value: impl Fn(&str) -> Option<f64>) -> Vec<String> {
    let setting = |spec: &Spec| Some(format!("{}={}", spec.name, value(spec.name)?));
    specs.iter().filter_map(setting).collect()
}

fn copies(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix('x').unwrap_or(text).parse().ok();
    number.filter(|n| (1..=1_024).contains(n)).ok_or_else(|| "write x and 1 to 1024".to_owned())
}

fn parse_factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|f: &f64| (0.0..=1e6).contains(f));
    factor.ok_or_else(|| "write a number from 0 to 1000000".to_owned())
}
