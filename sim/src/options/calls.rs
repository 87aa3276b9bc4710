//! Options of calls and of tables that are looked up.

use super::file::Given;
use super::verbs::{Setting, settings};
use crate::calls::{Protocol, Software, SoftwareParams};
use crate::verbs::{TablePlan, Transport};

/// Options of a table.
#[derive(clap::Args)]
#[command(next_help_heading = "Lookups (--workload lookup)")]
pub(super) struct TableArgs {
    /// Slots of a key's neighbourhood in a hopscotch table, an even number from 2 to 64.
    #[arg(long, default_value_t = 8, value_name = "H")]
    neighbourhood: u32,
    /// Share of the table's slots that are used, above 0 and at most 0.98.
    #[arg(long, default_value_t = 0.9, value_name = "SHARE")]
    occupancy: f64,
    /// Bytes of a slot, 8 to 65,536.
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    slot_bytes: u64,
    /// Slots have the values: no READ of its own for a value.
    #[arg(long)]
    inline_values: bool,
}

impl TableArgs {
    pub(super) fn plan(&self) -> TablePlan {
        TablePlan {
            neighbourhood: self.neighbourhood,
            occupancy: self.occupancy,
            slot_bytes: self.slot_bytes,
            is_inline: self.inline_values,
        }
    }
}

/// Options of calls.
#[derive(clap::Args)]
#[command(next_help_heading = "Calls (--transport ud|tcp)")]
pub(super) struct CallArgs {
    /// What carries reads, writes and lookups: verbs of reliable connections, or calls over
    /// unreliable datagrams or over the kernel's TCP.
    #[arg(long, value_enum, default_value_t = TransportArg::Rc)]
    transport: TransportArg,
    /// What software costs: user-level (of ud by default), linux (of tcp), ramcloud.
    #[arg(long, value_name = "PRESET")]
    software: Option<String>,
    /// Gives a parameter of clients' and the server's software another value; may be given more
    /// than once.
    #[arg(long, value_name = "NAME=VALUE")]
    set_software: Vec<Setting>,
    /// Threads of the server, each on a core of its own; 1 unless it is said.
    #[arg(long, value_name = "N")]
    server_cores: Option<usize>,
    /// Who serves: software on the server's host, or its adapter, which reads memory over PCIe.
    #[arg(long, value_enum)]
    serve: Option<ServeArg>,
    /// Packets on their way: of a message (ud; 32 unless it is said), or of a connection's
    /// direction (tcp; 1,024).
    #[arg(long, value_name = "PACKETS")]
    window: Option<u32>,
    /// Microseconds without progress until something is sent again (ud; 5,000 unless it is said),
    /// or the least such time (tcp; 200,000).
    #[arg(long, value_name = "US")]
    rto_us: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TransportArg {
    /// Verbs of reliable connections.
    Rc,
    /// Calls over unreliable datagrams, repaired by software.
    Ud,
    /// Calls over the kernel's TCP.
    Tcp,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ServeArg {
    /// Software on the server's cores.
    Host,
    /// The server's adapter.
    Adapter,
}

/// Defaults of a protocol: the host's preset, packets of a window, timeout in us.
/// The timeouts are eRPC's (NSDI 2019) and Linux's TCP_RTO_MIN.
struct Usual(Protocol, &'static str, u32, u64);

const DATAGRAMS: Usual = Usual(Protocol::Datagrams, "user-level", 32, 5_000);
const TCP: Usual = Usual(Protocol::Tcp, "linux", 1_024, 200_000);

impl CallArgs {
    pub(super) fn transport(&self) -> anyhow::Result<Transport> {
        let Usual(protocol, software, window, timeout) = match self.transport {
            TransportArg::Ud => DATAGRAMS,
            TransportArg::Tcp => TCP,
            TransportArg::Rc => {
                self.refuse()?;
                return Ok(Transport::Rc);
            }
        };
        let load = |name: &str| -> anyhow::Result<_> {
            let mut params = SoftwareParams::load(name)?;
            for Setting(name, value) in &self.set_software {
                params.set(name, *value)?;
            }
            Ok(params)
        };
        let client = load(self.software.as_deref().unwrap_or(software))?;
        let adapter_serves = self.serve == Some(ServeArg::Adapter);
        anyhow::ensure!(
            !adapter_serves || protocol == Protocol::Datagrams,
            "--serve adapter needs --transport ud"
        );
        let timeout_us = self.rto_us.unwrap_or(timeout);
        Ok(Transport::Calls(Box::new(Software {
            protocol,
            server: if adapter_serves { load("adapter")? } else { client.clone() },
            client,
            server_cores: self.server_cores.unwrap_or(1),
            adapter_serves,
            window: self.window.unwrap_or(window),
            timeout_ns: timeout_us.saturating_mul(1_000),
        })))
    }

    /// With verbs there is no software that could be told anything.
    fn refuse(&self) -> anyhow::Result<()> {
        let given = [
            ("software", self.software.is_some()),
            ("set-software", !self.set_software.is_empty()),
            ("server-cores", self.server_cores.is_some()),
            ("serve", self.serve.is_some()),
            ("window", self.window.is_some()),
            ("rto-us", self.rto_us.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => anyhow::bail!("--{name} needs --transport ud or tcp"),
            None => Ok(()),
        }
    }

    /// Each number of the clients' software, as options.
    pub(super) fn numbers(&self) -> anyhow::Result<Vec<Given>> {
        let Transport::Calls(software) = self.transport()? else { return Ok(Vec::new()) };
        let Software { client, window, timeout_ns, server_cores, .. } = *software;
        Ok(vec![
            ("set-software".to_owned(), settings(SoftwareParams::SPECS, |name| client.get(name))),
            ("window".to_owned(), vec![window.to_string()]),
            ("rto-us".to_owned(), vec![(timeout_ns / 1_000).to_string()]),
            ("server-cores".to_owned(), vec![server_cores.to_string()]),
        ])
    }
}
