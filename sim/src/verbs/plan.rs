//! What threads ask for.

use qpmux_workloads::keys::KeyDistribution;
use serde::{Deserialize, Serialize};

use super::lookup::TablePlan;
use crate::calls::Software;
use crate::cluster::{BoxParams, Conditions, ConditionsError};
use crate::fabric::{EngineError, EngineSetup};
use crate::nic::Params;

/// PSNs that may be unanswered per queue pair, unless one operation has more.
pub(super) const WINDOW: u32 = 128;

/// The verb that threads post again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawOp {
    /// RDMA READ.
    Read,
    /// RDMA WRITE.
    Write,
    /// COMPARE_SWAP of what the thread saw last against its own number.
    Cas,
    /// FETCH_ADD of one.
    Faa,
    /// COMPARE_SWAP from 0 until it succeeds, then a WRITE of 0: a lock is taken and given back.
    Lock,
    /// A key of a hash table is looked up: by READs of its slots and its value, or by one call.
    Lookup,
}

/// What carries operations.
#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    /// Verbs of reliable connections: adapters do everything.
    Rc,
    /// Calls to software on the server.
    Calls(Box<Software>),
}

/// Who posts on which queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each thread on its own.
    Own,
    /// So many threads on one.
    Threads(usize),
    /// All threads of a machine on one.
    All,
    /// Each thread has so many, and takes one at random for each operation.
    Many(usize),
}

/// When a thread posts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// It posts as many as it may have outstanding, and waits until all have ended.
    Batch,
    /// It posts one for each that has ended.
    Sliding,
    /// All threads post as many as they may have outstanding, and wait until all of everybody have
    /// ended: a client of striped storage waits so for its slowest server.
    Barrier,
    /// It posts this many per second on average, at random times (Poisson), whatever has ended.
    Open(f64),
}

/// A run of raw verbs: what it is, without a seed.
#[derive(Clone, Debug)]
pub struct VerbsPlan {
    /// The verb.
    pub op: RawOp,
    /// What carries operations.
    pub transport: Transport,
    /// The table that is looked up.
    pub table: TablePlan,
    /// Bytes of a READ, a WRITE or a value that is looked up, `1..=16777216`; atomics have 8.
    pub size: usize,
    /// Threads, on all client machines together.
    pub threads: usize,
    /// Client machines.
    pub machines: usize,
    /// Operations that a thread may have outstanding.
    pub outstanding: usize,
    /// When it posts.
    pub pace: Pace,
    /// A thread posts what it may post at once as one list, with one doorbell.
    pub list: bool,
    /// Who posts on which queue pair.
    pub sharing: Sharing,
    /// Every queue pair has a doorbell register of its own.
    pub own_doorbells: bool,
    /// The server posts as well, as many as a client machine, to the first client.
    pub both_ask: bool,
    /// Addresses that are asked for, `1..`.
    pub keys: u64,
    /// They are not at multiples of 64 bytes, but at any byte.
    pub unaligned: bool,
    /// How popular each is.
    pub distribution: KeyDistribution,
    /// The server's memory is its adapter's own.
    pub device_memory: bool,
    /// Pages of the server's memory, bytes.
    pub page_bytes: u64,
    /// Memory regions that the server's memory is registered as.
    pub regions: u32,
    /// WRITEs up to this many bytes travel with their work request.
    pub inline_bytes: u64,
    /// Path MTU in bytes.
    pub path_mtu: usize,
    /// What the network does, and how adapters take it.
    pub conditions: Conditions,
    /// Adapters of clients and of the server.
    pub client: Params,
    /// The same of the server.
    pub server: Params,
    /// What stands between clients and server.
    pub middlebox: Option<Middlebox>,
    /// Operations of all threads together.
    pub ops: u64,
}

/// What stands between clients and server.
#[derive(Clone, Debug)]
pub struct Middlebox {
    /// What its frames cost.
    pub costs: BoxParams,
    /// The engine in it.
    pub engine: EngineSetup,
}

/// Why there is no such run.
#[derive(Debug, thiserror::Error)]
pub enum VerbsError {
    /// A number is 0.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// More than there can be.
    #[error("{what} = {value} is more than {most}")]
    TooMany {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The most.
        most: u64,
    },
    /// Keys cannot be drawn.
    #[error("keys: {0}")]
    Keys(String),
    /// The engine takes requests of one side only.
    #[error("with a middlebox only clients can ask: leave out --both-ask")]
    BothAsk,
    /// There can be no such engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no such network.
    #[error(transparent)]
    Conditions(#[from] ConditionsError),
    /// A number is not what it can be.
    #[error("{0}")]
    Wrong(&'static str),
    /// A rate is none.
    #[error("the rate of arrivals must be a number above 0")]
    Rate,
}

impl VerbsPlan {
    /// One thread with one READ of 8 bytes outstanding, between two of these adapters.
    #[must_use]
    pub fn new(adapter: &Params) -> Self {
        Self {
            op: RawOp::Read,
            transport: Transport::Rc,
            table: TablePlan::default(),
            size: 8,
            threads: 1,
            machines: 1,
            outstanding: 1,
            pace: Pace::Sliding,
            list: false,
            sharing: Sharing::Own,
            own_doorbells: false,
            both_ask: false,
            keys: 1_000_000,
            unaligned: false,
            distribution: KeyDistribution::Uniform,
            device_memory: false,
            page_bytes: 2 << 20,
            regions: 1,
            inline_bytes: 64,
            path_mtu: 1024,
            conditions: Conditions::default(),
            client: adapter.clone(),
            server: adapter.clone(),
            middlebox: None,
            ops: 20_000,
        }
    }

    /// Bytes that an operation is for; 0 for those that carry none but their word.
    pub(crate) fn moved_bytes(&self) -> usize {
        match self.op {
            RawOp::Read | RawOp::Write | RawOp::Lookup => self.size,
            RawOp::Cas | RawOp::Faa | RawOp::Lock => 0,
        }
    }

    /// Bytes from one key to the next.
    pub(super) fn stride(&self) -> u64 {
        (self.size as u64).next_multiple_of(64)
    }

    /// Whether there can be such a run.
    ///
    /// # Errors
    /// When there cannot.
    pub fn check(&self) -> Result<(), VerbsError> {
        let counts = [
            ("size", self.size as u64, 1 << 24),
            ("threads", self.threads as u64, 65_536),
            ("machines", self.machines as u64, 4_096),
            ("outstanding", self.outstanding as u64, 65_536),
            ("keys", self.keys, 1 << 40),
            ("regions", u64::from(self.regions), 1 << 20),
            ("page_bytes", self.page_bytes, 1 << 60),
            ("ops", self.ops, 1 << 40),
        ];
        for (what, value, most) in counts {
            if value == 0 {
                return Err(VerbsError::Zero(what));
            }
            if value > most {
                return Err(VerbsError::TooMany { what, value, most });
            }
        }
        if let Sharing::Threads(0) | Sharing::Many(0) = self.sharing {
            return Err(VerbsError::Zero("queue pairs"));
        }
        if self.both_ask && self.middlebox.is_some() {
            return Err(VerbsError::BothAsk);
        }
        self.conditions.check()?;
        self.check_table()?;
        self.check_transport()?;
        match self.pace {
            Pace::Open(rate) if !(rate > 0.0 && rate.is_finite()) => Err(VerbsError::Rate),
            _ => Ok(()),
        }
    }

    fn check_table(&self) -> Result<(), VerbsError> {
        let TablePlan { neighbourhood, occupancy, slot_bytes, .. } = self.table;
        let wrong = match self.op {
            RawOp::Lookup if self.keys > 1 << 24 => "keys: a table has at most 16777216",
            _ if !(2..=64).contains(&neighbourhood) || neighbourhood % 2 == 1 => {
                "neighbourhood must be an even number from 2 to 64"
            }
            _ if !(occupancy > 0.0 && occupancy <= 0.98) => {
                "occupancy must be above 0 and at most 0.98"
            }
            _ if !(8..=65_536).contains(&slot_bytes) => "slot-bytes must be from 8 to 65536",
            _ => return Ok(()),
        };
        Err(VerbsError::Wrong(wrong))
    }

    fn check_transport(&self) -> Result<(), VerbsError> {
        let Transport::Calls(software) = &self.transport else {
            let is_none = self.middlebox.is_none();
            let is_long = self.size > WINDOW as usize * self.path_mtu;
            return match is_none || !is_long {
                true => Ok(()),
                false => Err(VerbsError::Wrong(
                    "size: through a middlebox an operation has at most 128 packets",
                )),
            };
        };
        let counts = [
            ("server-cores", software.server_cores as u64, 1_024),
            ("window", u64::from(software.window), 1_000_000),
            ("rto-us", software.timeout_ns, 60_000_000_000),
            ("path-mtu", self.path_mtu as u64, 9_000),
        ];
        for (what, value, most) in counts {
            if value == 0 {
                return Err(VerbsError::Zero(what));
            }
            if value > most {
                return Err(VerbsError::TooMany { what, value, most });
            }
        }
        let wrong = match self.op {
            RawOp::Cas | RawOp::Faa | RawOp::Lock => {
                "workload: calls read, write and look up; atomics need --transport rc"
            }
            _ if self.middlebox.is_some() => "middlebox: it passes verbs only; --transport rc",
            _ if self.both_ask => "both-ask: only clients call; --transport rc",
            _ if matches!(self.sharing, Sharing::All | Sharing::Threads(_)) => {
                "qp-sharing: threads share queue pairs of --transport rc only"
            }
            _ => return Ok(()),
        };
        Err(VerbsError::Wrong(wrong))
    }
}
