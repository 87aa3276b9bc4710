//! What kind of Clover it is.

use super::layout::{Layout, SlotClass};

/// Bytes of the pointer word before a value.
pub(super) const HEADER_BYTES: usize = 8;
/// Where a stamped value has its stamp; before it is the fork's key.
pub(super) const STAMP: std::ops::Range<usize> = 8..16;
/// Threads per machine that update shortcuts and report garbage (clover source).
pub const COLLECTORS: u16 = 4;
/// Coroutines per worker thread that run operations, beside the one that schedules them (clover
/// source).
const COROUTINES: u16 = 5;
/// Queue pairs between two machines in the original (`P15_PARALLEL_RC_QPS`, clover source).
const UPSTREAM_LANES: u16 = 8;
/// In the fork, the first collector's queue pair comes after as many for workers (trace: key 1
/// is collected 17 queue pairs after the first worker's, by collector 1).
const FORK_WORKER_LANES: u16 = 16;

/// Whose Clover it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Of the middlebox experiments: each value begins with its key, each thread has a queue pair
    /// of its own.
    Fork,
    /// The original: no key in the value, threads share eight queue pairs.
    Upstream,
}

/// Everything a run of Clover depends on, but for its operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloverConfig {
    /// Whose Clover.
    pub variant: Variant,
    /// Client machines; their ids are 1 and up, 0 is the metadata server.
    pub machines: u16,
    /// Worker threads per machine.
    pub workers: u16,
    /// Each worker runs five operations at a time on its queue pair.
    pub coroutines: bool,
    /// Bytes of a value: 1 to 1,016, in the fork 8 at least.
    pub value_len: u16,
    /// Each value has in its bytes 8 to 15 what tells it from all others of the run: machine (16
    /// bits), worker (16) and how many that worker has written (32), as a little-endian number.
    /// Not so in the original.
    pub stamped: bool,
    /// The memory node's regions.
    pub layout: Layout,
    /// First address of each client's buffers for replies.
    pub reply_buffers: u64,
    /// Remote key of the reply buffers of clients and metadata server.
    pub reply_rkey: u32,
    /// Slots to use of the values' class; `None` for all.
    pub slots_max: Option<u32>,
    /// Time until a superseded slot is handed out again, ns: about two round trips, in which
    /// readers that are on it leave it.
    pub recycle_delay_ns: u64,
    /// Collectors bring shortcuts up to date, as they do in Clover.
    pub shortcuts: bool,
    /// Slots that wait for an epoch before one begins.
    pub epoch_slots: usize,
}

/// Why a configuration cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value too short for its key, or too long for a packet.
    #[error("values of {value_len} bytes: must be {} to {}", value_bytes(*.variant).0,
        value_bytes(*.variant).1)]
    ValueLen {
        /// Bytes asked for.
        value_len: u16,
        /// For whose Clover.
        variant: Variant,
    },
    /// No machines or workers, or more than fit a 16-bit number of contexts.
    #[error("{machines} machines of {workers} workers: must be 1 to 1,000 each")]
    Threads {
        /// Machines asked for.
        machines: u16,
        /// Workers asked for.
        workers: u16,
    },
}

/// Fewest and most bytes of a value.
#[must_use]
pub const fn value_bytes(variant: Variant) -> (u16, u16) {
    let least = match variant {
        Variant::Fork => 8,
        Variant::Upstream => 1,
    };
    (least, (SlotClass::B1024.bytes() - HEADER_BYTES) as u16)
}

impl CloverConfig {
    /// A configuration with the addresses of the trace and all slots.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(
        variant: Variant,
        machines: u16,
        workers: u16,
        value_len: u16,
    ) -> Result<Self, ConfigError> {
        let (least, most) = value_bytes(variant);
        if !(least..=most).contains(&value_len) {
            return Err(ConfigError::ValueLen { value_len, variant });
        }
        if !(1..=1_000).contains(&machines) || !(1..=1_000).contains(&workers) {
            return Err(ConfigError::Threads { machines, workers });
        }
        Ok(Self {
            variant,
            machines,
            workers,
            coroutines: false,
            value_len,
            stamped: false,
            layout: Layout::default(),
            reply_buffers: 0x7f31_0000_0000,
            reply_rkey: 0x0a_11ce,
            slots_max: None,
            recycle_delay_ns: 5_000,
            shortcuts: true,
            epoch_slots: 4_096,
        })
    }

    /// Class of the values' slots.
    #[must_use]
    pub fn class(&self) -> SlotClass {
        // `new` has seen that there is one.
        SlotClass::of(usize::from(self.value_len) + HEADER_BYTES).unwrap_or(SlotClass::B1024)
    }

    /// Operations that a worker runs at a time.
    #[must_use]
    pub const fn tasks_per_worker(&self) -> u16 {
        if self.coroutines { COROUTINES } else { 1 }
    }

    /// Queue pairs ("lanes") from a client machine to each other machine.
    #[must_use]
    pub fn lanes(&self) -> u16 {
        match self.variant {
            Variant::Fork => self.epoch_lane() + 1,
            Variant::Upstream => UPSTREAM_LANES,
        }
    }

    /// Lane of a worker thread.
    #[must_use]
    pub const fn worker_lane(&self, worker: u16) -> u16 {
        match self.variant {
            Variant::Fork => worker,
            // Contexts are numbered from 1.
            Variant::Upstream => (worker + 1) % UPSTREAM_LANES,
        }
    }

    /// Lane of a collector thread.
    #[must_use]
    pub fn collector_lane(&self, collector: u16) -> u16 {
        match self.variant {
            Variant::Fork => self.workers.max(FORK_WORKER_LANES) + collector,
            Variant::Upstream => (1 + collector) % UPSTREAM_LANES,
        }
    }

    /// Lane on which epochs are announced and acknowledged.
    #[must_use]
    pub fn epoch_lane(&self) -> u16 {
        self.collector_lane(COLLECTORS)
    }
}
