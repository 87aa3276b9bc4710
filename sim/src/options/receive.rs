//! Options of a host's receive path.

use qpmux_workloads::keys::KeyDistribution;

use super::file::Given;
use super::verbs::{Setting, settings};
use crate::receive_path::{HostParams, Overload, ReceivePlan, Sockets, Stack};

/// Requests of a run, unless more or fewer are asked for.
const OPS: u64 = 40_000;

/// Options of a host's receive path.
#[derive(clap::Args)]
#[command(next_help_heading = "The host receive path (--workload receive)")]
pub(super) struct ReceiveArgs {
    /// What the host costs.
    #[arg(long, default_value = "server", value_name = "PRESET")]
    host: String,
    /// Gives a number of the host another value; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE")]
    set_host: Vec<Setting>,
    /// Who takes packets from the adapter's rings.
    #[arg(long, value_enum, default_value_t = Stack::Napi)]
    stack: Stack,
    /// Nothing is taken from a ring whose socket, or queue, is full.
    #[arg(long)]
    feedback: bool,
    /// Cores, each with an application thread.
    #[arg(long, default_value_t = 1, value_name = "N")]
    cores: usize,
    /// Rings of the adapter, each served by a core (RSS); as many as cores, if it is not said.
    #[arg(long, value_name = "N")]
    rings: Option<usize>,
    /// Where packets wait for the application.
    #[arg(long, value_enum, default_value_t = Sockets::Local)]
    sockets: Sockets,
    /// Flows, of which each has a ring; equally popular, unless --zipf says otherwise.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    flows: u64,
    /// Thousands of requests that come per second, at random times, whatever becomes of them.
    #[arg(long, default_value_t = 100.0, value_name = "KOPS")]
    offered_kops: f64,
    /// Bytes of a request's frame.
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    packet_bytes: u32,
    /// What is dropped when more comes than can be served.
    #[arg(long, value_enum, default_value_t = Overload::Newest)]
    overload: Overload,
    /// Requests that wait for a thread, or in the socket of all, at most.
    #[arg(long, default_value_t = 1_024, value_name = "N")]
    queue_limit: usize,
    /// An answer after this time is of no use, microseconds.
    #[arg(long, default_value_t = 1_000.0, value_name = "US")]
    deadline_us: f64,
    /// Adapter and cores are at different nodes (NUMA).
    #[arg(long)]
    remote_node: bool,
}

impl ReceiveArgs {
    fn host(&self) -> anyhow::Result<HostParams> {
        let mut host = HostParams::load(&self.host)?;
        for Setting(name, value) in &self.set_host {
            host.set(name, *value)?;
        }
        Ok(host)
    }

    /// Each number of the host, as options.
    pub(super) fn numbers(&self) -> anyhow::Result<Vec<Given>> {
        let host = self.host()?;
        Ok(vec![("set-host".to_owned(), settings(HostParams::SPECS, |name| host.get(name)))])
    }

    /// Requests, or frames, that come per second.
    pub(super) fn offered_per_s(&self) -> f64 {
        self.offered_kops * 1e3
    }

    /// Requests of a run.
    pub(super) fn ops(wanted: Option<u64>) -> u64 {
        wanted.unwrap_or(OPS)
    }

    pub(super) fn plan(
        &self,
        ops: Option<u64>,
        popularity: KeyDistribution,
    ) -> anyhow::Result<ReceivePlan> {
        Ok(ReceivePlan {
            stack: self.stack,
            feedback: self.feedback,
            cores: self.cores,
            rings: self.rings.unwrap_or(self.cores),
            sockets: self.sockets,
            flows: self.flows,
            popularity,
            offered_per_s: self.offered_per_s(),
            packet_bytes: self.packet_bytes,
            overload: self.overload,
            queue_limit: self.queue_limit,
            deadline_ns: self.deadline_us * 1e3,
            remote_node: self.remote_node,
            host: self.host()?,
            ops: Self::ops(ops),
        })
    }
}
