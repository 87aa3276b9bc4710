//! What a run is to be.

use qpmux_engine::Config;
use qpmux_engine::policy::{PolicyError, SwitchError};
use qpmux_workloads::clover::{ConfigError, Layout, SlotClass};
use qpmux_workloads::keys::{KeyDistribution, KeyError, Ycsb};

use crate::fabric::{EngineError, EngineSetup, Habits, Weather};
use crate::faults::Rates;
use crate::rc::Wire;

/// Most client machines: so many have an address in the network.
pub(crate) const MACHINES_MAX: u16 = 200;
/// Most client threads per machine.
pub(crate) const THREADS_MAX: u16 = 1_000;
/// Most keys: so many shortcuts the memory node has, and Clover's fork opens key 0 besides.
pub(crate) const KEYS_MAX: u64 = Layout::SHORTCUTS_MAX - 1;
/// Fewest bytes of a value: its key and what tells it from all others.
const VALUE_LEN_MIN: u16 = 16;

/// PSNs that are sure to be among the last 16 steered ones of a queue pair, with what may be in
/// flight behind them.
const IN_PLACE_WINDOW: u32 = 8;
/// What rates of faults are counted by.
const MILLION: f64 = 1e6;
/// Code of the clients' timeout that the engine's defaults are for.
const USUAL_TIMEOUT: u8 = 14;

/// Everything that a run depends on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What runs.
    pub app: App,
    /// Who does how much of it.
    pub load: Load,
    /// Seed of everything random.
    pub seed: u64,
    /// What stands between clients and memory node.
    pub middlebox: Middlebox,
    /// Probability, 0 to 1, that a packet is lost, on each of the four parts of its way.
    pub loss: f64,
    /// Local ACK timeout of all adapters, code (4.096 us * 2^t); 0 never times out.
    pub timeout: u8,
    /// Retries before an adapter gives a queue pair up.
    pub retries: u32,
    /// Threads whose packets go past the middlebox: so many of the last ones.
    pub around: u16,
    /// Mean time in ns between changes that the memory node makes by itself: it appends a version,
    /// or takes a free lock for a while. `None`: it makes none.
    pub meddling_ns: Option<u64>,
    /// What else is not as the engine would have it.
    pub adversity: Adversity,
}

/// What is not as an engine would have it, besides losses. By default all is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adversity {
    /// Packets, of a million on each part of the way, that come twice.
    pub doubled: u64,
    /// Packets of a million that come late.
    pub delayed: u64,
    /// Packets of a million with one wrong bit.
    pub damaged: u64,
    /// Packets of a million that are marked for congestion (RFC 3168).
    pub marked: u64,
    /// Longest delay, ns, of what is late or comes again.
    pub delay_max_ns: u64,
    /// The memory node's adapter keeps the words of atomics in big-endian order, and so do all who
    /// write such words.
    pub big_endian: bool,
    /// Whoever goes past the engine, the memory node included, uses only so many keys or locks, the
    /// first ones. `None`: all.
    pub outside_keys: Option<u64>,
    /// Threads that go past the middlebox do pass it, but as connections that it does not know.
    pub strangers: bool,
    /// Of so many keys or locks, the first ones, no more is judged than holds where updates may be
    /// lost: those whose words are written past an engine that replaces atomics, or which is wrong
    /// about the order of their bytes, and all where it steers in place.
    pub unsound_keys: u64,
}

/// An application and what is special about it.
#[derive(Clone, Debug)]
pub enum App {
    /// Clover, a key-value store on passive disaggregated memory, as the fork that has keys in its
    /// values.
    Clover(CloverPlan),
    /// Locks, words of memory that are taken by COMPARE_SWAP.
    Lock(LockPlan),
}

/// Threads and their operations.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Client threads, on all machines together.
    pub threads: u16,
    /// Client machines, `1..=threads`.
    pub machines: u16,
    /// Keys or locks, from 1 on.
    pub keys: u64,
    /// How they are chosen.
    pub distribution: KeyDistribution,
    /// Operations of all threads together.
    pub operations: u64,
}

/// What Clover is to do.
#[derive(Clone, Debug)]
pub struct CloverPlan {
    /// Mix of operations: reads and updates only.
    pub workload: Ycsb,
    /// Bytes of a value, 16 to 1,016.
    pub value_len: u16,
    /// Slots there are for values; `None` for all of their size. Few are used again and again.
    pub slots_max: Option<u32>,
    /// Connections between clients and metadata server pass the middlebox as well, which does not
    /// know them.
    pub through_metadata: bool,
}

/// How a lock is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// By a WRITE of 0.
    Write,
    /// By a COMPARE_SWAP from its owner to 0.
    CompareSwap,
}

/// What threads do with locks.
#[derive(Clone, Copy, Debug)]
pub struct LockPlan {
    /// How a lock is given back.
    pub release: Release,
    /// Time that a lock is held, ns.
    pub hold_ns: u64,
    /// The holder counts its acquisition in a word that the lock guards: it READs it, then posts
    /// the WRITE of the next number and the release together, as Sherman does (SIGMOD 2022). That
    /// relies on the order of requests on a queue pair.
    pub guarded: bool,
}

/// What stands between clients and memory node.
#[derive(Clone, Debug)]
pub enum Middlebox {
    /// Nothing.
    None,
    /// The engine, which knows all connections that pass it to the memory node from the start.
    Engine(Box<EngineSetup>),
}

/// Why there is no such run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A number out of range.
    #[error("{what} is {value}, must be {least} to {most}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// Clover has neither scans nor inserts while it runs.
    #[error("workload {0} is not for Clover, which reads and updates: take A, B, C or W")]
    Workload(Ycsb),
    /// No such Clover.
    #[error(transparent)]
    Clover(#[from] ConfigError),
    /// No such keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Policies that do not go together.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The engine cannot be switched so.
    #[error("switch")]
    Switch(#[from] SwitchError),
    /// No such engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Fails if a number is out of range.
pub(crate) fn within(
    what: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<(), PlanError> {
    let bad = PlanError::Range { what, value, least, most };
    if (least..=most).contains(&value) { Ok(()) } else { Err(bad) }
}

impl Load {
    /// Checks that there is such a load.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let threads_max = u64::from(self.machines) * u64::from(THREADS_MAX);
        within("machines", self.machines.into(), 1, MACHINES_MAX.into())?;
        within("threads", self.threads.into(), self.machines.into(), threads_max)?;
        within("keys", self.keys, 1, KEYS_MAX)?;
        within("ops", self.operations, 1, 1 << 40)
    }

    /// Threads of the machine that has most.
    pub(crate) fn threads_per_machine(&self) -> u16 {
        self.threads.div_ceil(self.machines)
    }

    /// Machine, from 0, and number there of a thread: threads go round the machines, so that these
    /// have equally many.
    pub(crate) fn place(&self, thread: u16) -> (usize, u16) {
        (usize::from(thread % self.machines), thread / self.machines)
    }

    /// The thread at a place.
    pub(crate) fn thread(&self, machine: usize, number: u16) -> u16 {
        number * self.machines + machine as u16
    }
}

/// Fails if Clover cannot do such a workload.
pub(crate) fn check_workload(workload: Ycsb) -> Result<(), PlanError> {
    let mix = workload.mix();
    if mix.read + mix.update == 100 { Ok(()) } else { Err(PlanError::Workload(workload)) }
}

/// Fails if the engine cannot be that, or become that.
fn check_engine(setup: &EngineSetup) -> Result<(), PlanError> {
    setup.policy.check()?;
    if setup.shards > 1 && !setup.switches.is_empty() {
        return Err(SwitchError::Shards.into());
    }
    let mut switches = setup.switches.iter();
    Ok(switches.try_for_each(|switch| setup.policy.check_switch(switch.to))?)
}

impl Plan {
    /// Checks what does not depend on the application.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        self.load.check()?;
        within("around", self.around.into(), 0, self.load.threads.into())?;
        match &self.middlebox {
            Middlebox::Engine(setup) => check_engine(setup),
            Middlebox::None => Ok(()),
        }
    }

    /// How adapters behave.
    pub(super) fn habits(&self) -> Habits {
        let Adversity { doubled, delayed, damaged, .. } = self.adversity;
        let wire = Wire {
            may_lose: self.loss > 0.0 || damaged > 0,
            may_reorder: doubled + delayed > 0,
            may_corrupt: damaged > 0,
        };
        // What was steered long ago has been forgotten: a copy of it that comes as late goes where
        // it is aimed.
        let content_window = self.steers_in_place().then_some(IN_PLACE_WINDOW);
        Habits { wire, timeout: self.timeout, retries: self.retries, content_window }
    }

    /// What happens to packets.
    pub(super) fn weather(&self) -> Weather {
        let Adversity { doubled, delayed, damaged, marked, delay_max_ns, .. } = self.adversity;
        let rates = Rates {
            drop: (self.loss * MILLION).ceil() as u64,
            double: doubled,
            delay: delayed,
            corrupt: damaged,
            mark: marked,
            delay_max: delay_max_ns.max(1),
            budget: u64::MAX,
            ..Rates::default()
        };
        Weather { rates, seed: self.seed }
    }

    /// Keys or locks, the first ones, that are used past the engine.
    pub(super) fn outside_keys(&self) -> u64 {
        self.adversity.outside_keys.unwrap_or(self.load.keys).clamp(1, self.load.keys)
    }

    /// Whether requests are steered in place: then a list may become a ring.
    pub(super) fn steers_in_place(&self) -> bool {
        matches!(&self.middlebox, Middlebox::Engine(setup) if setup.policy.in_place)
    }

    /// Whether a thread's packets pass the middlebox.
    pub(super) fn passes(&self, thread: u16) -> bool {
        thread < self.load.threads - self.around
    }
}

impl App {
    /// Name of the built-in profile that finds its keys.
    #[must_use]
    pub const fn profile(&self) -> &'static str {
        match self {
            App::Clover(_) => "clover",
            App::Lock(_) => "lock-table",
        }
    }
}

impl CloverPlan {
    /// Checks that Clover can do it.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        check_workload(self.workload)?;
        let most = SlotClass::B1024.bytes() as u64 - 8;
        within("value length", self.value_len.into(), VALUE_LEN_MIN.into(), most)
    }
}

/// The engine's limits, and times that go with the timeout of clients (code: 4.096 us * 2^t): as
/// its defaults go with 67 ms.
#[must_use]
pub fn engine_config(timeout: u8) -> Config {
    let usual = Config::default();
    let scaled = |ns: u64| (ns >> USUAL_TIMEOUT << timeout.min(31)).max(1);
    Config {
        server_timeout_ns: scaled(usual.server_timeout_ns),
        server_timeout_max_ns: scaled(usual.server_timeout_max_ns),
        guest_wait_ns: scaled(usual.guest_wait_ns),
        ..usual
    }
}
