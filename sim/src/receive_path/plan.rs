//! What a run of the receive path is, without a seed.

use qpmux_workloads::keys::{KeyDistribution, KeyError};

use super::params::HostParams;

/// Who takes packets from the rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stack {
    /// The kernel, in interrupts that go before everything else.
    Interrupts,
    /// The kernel, which polls after an interrupt, up to a budget, and then shares the core with
    /// the application (Linux's NAPI).
    Napi,
    /// The application, which polls; the kernel takes no part.
    Bypass,
}

/// Where packets wait for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sockets {
    /// All in one socket, which the threads of all cores share.
    One,
    /// Each core has its own, chosen by a hash that knows nothing of rings.
    Hashed,
    /// Each core has its own, for the packets of its rings.
    Local,
}

/// What is dropped when more comes in than can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Overload {
    /// What finds the queue full.
    Newest,
    /// What has waited longest, to make room.
    Oldest,
    /// What comes while the oldest of the queue has waited too long; its client is told so.
    Early,
}

/// Everything that a run depends on, without a seed.
#[derive(Clone, Debug)]
pub struct ReceivePlan {
    /// Who takes packets from the rings.
    pub stack: Stack,
    /// Nothing is taken from a ring whose socket, or queue, is full.
    pub feedback: bool,
    /// Cores, each with an application thread.
    pub cores: usize,
    /// Rings of the adapter; each belongs to a core.
    pub rings: usize,
    /// Where packets wait for the application.
    pub sockets: Sockets,
    /// Flows; the packets of one go to one ring.
    pub flows: u64,
    /// How many packets each flow has.
    pub popularity: KeyDistribution,
    /// Requests per second, whatever is answered.
    pub offered_per_s: f64,
    /// Bytes of a request's frame.
    pub packet_bytes: u32,
    /// What is dropped.
    pub overload: Overload,
    /// Requests that wait in a socket, or for a thread that polls, at most.
    pub queue_limit: usize,
    /// Answers after this time are of no use, ns.
    pub deadline_ns: f64,
    /// The adapter belongs to another node than the cores.
    pub remote_node: bool,
    /// What everything costs.
    pub host: HostParams,
    /// Requests that count.
    pub ops: u64,
}

/// Why there is no such run.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// A number out of range.
    #[error("--{what} is {value}, must be {least} to {most}")]
    Range {
        /// The option.
        what: &'static str,
        /// What it is.
        value: f64,
        /// The least it may be.
        least: f64,
        /// The most it may be.
        most: f64,
    },
    /// Two numbers that contradict each other.
    #[error("{0}")]
    Together(&'static str),
    /// No such flows.
    #[error(transparent)]
    Flows(#[from] KeyError),
}

impl ReceivePlan {
    /// Whether there can be such a run.
    ///
    /// # Errors
    /// When there cannot.
    pub fn check(&self) -> Result<(), ReceiveError> {
        let ranges = [
            ("cores", self.cores as f64, 1.0, 256.0),
            ("rings", self.rings as f64, 1.0, 256.0),
            ("flows", self.flows as f64, 1.0, 1e7),
            ("offered-kops", self.offered_per_s / 1e3, 1e-3, 1e6),
            ("packet-bytes", f64::from(self.packet_bytes), 64.0, 9_216.0),
            ("queue-limit", self.queue_limit as f64, 1.0, 1e7),
            ("deadline-us", self.deadline_ns / 1e3, 1e-3, 1e9),
            ("ops", self.ops as f64, 1.0, 1e9),
        ];
        for (what, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(ReceiveError::Range { what, value, least, most });
            }
        }
        if self.rings > self.cores {
            return Err(ReceiveError::Together("--rings: no more than --cores, which serve them"));
        }
        if self.stack == Stack::Bypass && self.rings < self.cores {
            return Err(ReceiveError::Together(
                "--rings: with --stack bypass each core polls a ring: as many as --cores",
            ));
        }
        if self.stack == Stack::Bypass && self.sockets != Sockets::Local {
            return Err(ReceiveError::Together(
                "--sockets: with --stack bypass each core has a queue of its own, local",
            ));
        }
        if self.host.ddio_ways_count > self.host.llc_ways_count {
            return Err(ReceiveError::Together(
                "ddio_ways_count: no more than llc_ways_count, of which they are a part",
            ));
        }
        Ok(())
    }
}
