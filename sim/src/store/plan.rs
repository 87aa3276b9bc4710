//! What a run of Clover is, without a seed.

use qpmux_workloads::clover::{CloverConfig, ConfigError, Layout, Variant};
use qpmux_workloads::keys::{KeyDistribution, KeyError, Ycsb};

use crate::fabric::EngineError;
use crate::nic::Params;
use crate::verbs::Middlebox;

/// The most client threads of a run.
const THREADS_MAX: u64 = 20_000;

/// Times of Clover's client library, which nobody has published.
///
/// A client thread polls, decides and posts; what that takes grows with the threads on its machine,
/// which share caches, a memory bus and the library's structures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Library {
    /// Per operation, ns.
    pub operation_ns: f64,
    /// Per round of verbs, ns: from what ends one to the posting of the next.
    pub round_ns: f64,
    /// With n threads on a machine all times are `1 + slope * (n - 1)^exponent` times as long.
    pub slope: f64,
    /// See [`Library::slope`].
    pub exponent: f64,
    /// Share of each time that is exponentially distributed; the rest is always the same.
    pub random: f64,
}

impl Library {
    /// How much longer everything takes with so many threads on a machine.
    #[must_use]
    pub fn slow_down(&self, threads: usize) -> f64 {
        let others = threads.saturating_sub(1) as f64;
        1.0 + self.slope * libm::pow(others, self.exponent)
    }
}

/// Who shares a cache of where keys' lists end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caches {
    /// All threads of a machine, as in Clover.
    #[default]
    PerMachine,
    /// Nobody: each thread has its own, with collectors of its own.
    PerThread,
}

/// Everything that a run depends on, without a seed.
#[derive(Clone, Debug)]
pub struct StorePlan {
    /// Mix of operations.
    pub workload: Ycsb,
    /// Client threads, on all machines together; they go round the machines.
    pub threads: usize,
    /// Client machines.
    pub machines: usize,
    /// Keys at the start.
    pub keys: u64,
    /// How popular each is.
    pub distribution: KeyDistribution,
    /// Bytes of a value.
    pub value_len: u16,
    /// Times of the client library.
    pub library: Library,
    /// Time of a thread of the metadata server for a message, ns.
    pub metadata_ns: f64,
    /// Who shares a cache.
    pub caches: Caches,
    /// Collectors write shortcuts, as they do in Clover.
    pub shortcuts: bool,
    /// All adapters.
    pub adapter: Params,
    /// What stands between clients and memory node.
    pub middlebox: Option<Middlebox>,
    /// Operations before anything counts.
    pub warm_up: u64,
    /// Operations that count.
    pub ops: u64,
}

/// Why there is no such run.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
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
    /// A time that is none.
    #[error("{0} must be a number, 0 or more")]
    Time(&'static str),
    /// No such Clover.
    #[error(transparent)]
    Clover(#[from] ConfigError),
    /// No such keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No such engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It did not go on.
    #[error("after {done} operations nothing went on any more: {why}")]
    Stuck {
        /// Operations that had ended.
        done: u64,
        /// What is known of it.
        why: String,
    },
}

impl StorePlan {
    /// Whether there can be such a run.
    ///
    /// # Errors
    /// When there cannot.
    pub fn check(&self) -> Result<(), StoreError> {
        let threads = self.threads as u64;
        let ranges = [
            ("machines", self.machines as u64, 1, 200),
            ("threads", threads, self.machines as u64, THREADS_MAX),
            ("keys", self.keys, 1, self.keys_max()?),
            ("warm_up", self.warm_up, 1, 1 << 40),
            ("ops", self.ops, 1, 1 << 40),
        ];
        for (what, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(StoreError::Range { what, value, least, most });
            }
        }
        let Library { operation_ns, round_ns, slope, exponent, random } = self.library;
        let times = [
            ("operation_ns", operation_ns),
            ("round_ns", round_ns),
            ("slope", slope),
            ("exponent", exponent),
            ("random", random),
            ("metadata_ns", self.metadata_ns),
        ];
        match times.into_iter().find(|(_, time)| !(time.is_finite() && *time >= 0.0)) {
            Some((what, _)) => Err(StoreError::Time(what)),
            None => Ok(()),
        }
    }

    /// The most keys: beyond those that Clover itself has room for, two slots for each.
    fn keys_max(&self) -> Result<u64, ConfigError> {
        let (first, end) = CloverConfig::new(Variant::Fork, 1, 1, self.value_len)?.class().slots();
        Ok(u64::from((end - first) / 2).max(Layout::SHORTCUTS_MAX / 2))
    }

    /// Threads of a machine.
    pub(super) fn threads_of(&self, machine: usize) -> usize {
        (self.threads + self.machines - 1 - machine) / self.machines
    }

    /// Clover processes, each with a cache.
    pub(super) fn processes(&self) -> usize {
        match self.caches {
            Caches::PerMachine => self.machines,
            Caches::PerThread => self.threads,
        }
    }

    /// Process and worker of a thread.
    pub(super) fn place(&self, thread: usize) -> (usize, u16) {
        match self.caches {
            Caches::PerMachine => (thread % self.machines, (thread / self.machines) as u16),
            Caches::PerThread => (thread, 0),
        }
    }

    /// The thread at a place.
    pub(super) fn thread(&self, process: usize, worker: u16) -> usize {
        match self.caches {
            Caches::PerMachine => usize::from(worker) * self.machines + process,
            Caches::PerThread => process,
        }
    }

    /// Machine, from 0, of a process.
    pub(super) fn machine(&self, process: usize) -> usize {
        process % self.machines
    }

    pub(super) fn clover(&self) -> Result<CloverConfig, StoreError> {
        let workers = match self.caches {
            Caches::PerMachine => self.threads.div_ceil(self.machines),
            Caches::PerThread => 1,
        };
        let processes = self.processes() as u16;
        let mut clover =
            CloverConfig::new(Variant::Fork, processes, workers as u16, self.value_len)?;
        clover.shortcuts = self.shortcuts;
        // As many may be inserted.
        clover.layout.make_room_for(2 * self.keys);
        Ok(clover)
    }
}
