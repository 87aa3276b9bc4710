//! Mixes of operations: YCSB's core workloads and one of writes only.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use rand_pcg::Pcg64;

use super::{KeyChooser, KeyDistribution, KeyError, generator};

/// Longest scan, in records (YCSB workload E: `maxscanlength`).
const SCAN_MAX: u32 = 100;

/// What is done to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Its value is read.
    Read,
    /// Its value is replaced.
    Update,
    /// It is new.
    Insert,
    /// It and those after it are read.
    Scan {
        /// Number of records, `1..=100`.
        records: u32,
    },
    /// Its value is read, then replaced.
    ReadModifyWrite,
}

/// One operation of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What is done.
    pub kind: OperationKind,
    /// Record, from 0. That of an insert is the number of records before.
    pub record: u64,
}

/// Shares of the kinds of operations, in percent; together 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Reads.
    pub read: u32,
    /// Updates.
    pub update: u32,
    /// Inserts.
    pub insert: u32,
    /// Scans.
    pub scan: u32,
    /// Reads followed by an update of the same record.
    pub read_modify_write: u32,
}

/// A workload of the Yahoo! Cloud Serving Benchmark (SoCC 2010), or `W`: writes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ycsb {
    /// Half reads, half updates.
    A,
    /// 95 % reads, 5 % updates.
    B,
    /// Reads only.
    C,
    /// 95 % reads of the newest records, 5 % inserts.
    D,
    /// 95 % short scans, 5 % inserts.
    E,
    /// Half reads, half reads with an update after them.
    F,
    /// Updates only. Not one of YCSB's: the write-heavy end of the published RDMA experiments.
    W,
}

impl Ycsb {
    /// All of them.
    pub const ALL: [Ycsb; 7] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::W];

    /// Its operations.
    #[must_use]
    pub const fn mix(self) -> Mix {
        let none = Mix { read: 0, update: 0, insert: 0, scan: 0, read_modify_write: 0 };
        match self {
            Self::A => Mix { read: 50, update: 50, ..none },
            Self::B => Mix { read: 95, update: 5, ..none },
            Self::C => Mix { read: 100, ..none },
            Self::D => Mix { read: 95, insert: 5, ..none },
            Self::E => Mix { scan: 95, insert: 5, ..none },
            Self::F => Mix { read: 50, read_modify_write: 50, ..none },
            Self::W => Mix { update: 100, ..none },
        }
    }

    /// The distribution that YCSB gives it.
    #[must_use]
    pub const fn usual_keys(self) -> KeyDistribution {
        match self {
            Self::D => KeyDistribution::Latest { theta: 0.99 },
            _ => KeyDistribution::ScrambledZipf { theta: 0.99 },
        }
    }
}

impl fmt::Display for Ycsb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Ycsb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |one: &Ycsb| one.to_string().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(named).ok_or_else(|| "must be one of A to F, or W".to_owned())
    }
}

/// The operations of one thread, without end.
#[derive(Clone, Debug)]
pub struct OperationStream {
    mix: Mix,
    keys: KeyChooser,
    rng: Pcg64,
}

impl OperationStream {
    /// The operations of thread `stream` of a run: equal arguments give equal operations.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(
        mix: Mix,
        keys: KeyDistribution,
        records: u64,
        seed: u64,
        stream: u64,
    ) -> Result<Self, KeyError> {
        let keys = KeyChooser::new(keys, records)?;
        Ok(Self { mix, keys, rng: generator(seed, stream) })
    }

    /// The next operation, given the number of records now. After an insert there is one more;
    /// threads that share the records share this number.
    pub fn next_operation(&mut self, records: u64) -> Operation {
        let kind = self.kind();
        let record = match kind {
            OperationKind::Insert => records,
            _ => self.keys.choose(records, &mut self.rng),
        };
        Operation { kind, record }
    }

    fn kind(&mut self) -> OperationKind {
        let Mix { read, update, insert, scan, .. } = self.mix;
        let mut draw = self.rng.random_range(0..100_u32);
        let mut falls_in = |share: u32| {
            let inside = draw < share;
            draw = draw.saturating_sub(share);
            inside
        };
        if falls_in(read) {
            OperationKind::Read
        } else if falls_in(update) {
            OperationKind::Update
        } else if falls_in(insert) {
            OperationKind::Insert
        } else if falls_in(scan) {
            OperationKind::Scan { records: self.rng.random_range(1..=SCAN_MAX) }
        } else {
            OperationKind::ReadModifyWrite
        }
    }
}
