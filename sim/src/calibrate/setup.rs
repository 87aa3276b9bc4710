//! What was measured: setups of published benchmarks, as far as the model tells them apart.

use serde::Serialize;

use crate::nic::Params;

/// What one request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Fetches bytes.
    Read,
    /// Stores bytes.
    Write,
    /// Compares a word and swaps it if it is equal.
    CompareSwap,
    /// Adds to a word.
    FetchAdd,
}

/// Which queue pairs a thread's requests go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueuePairs {
    /// Its own ones; each request goes on one of them at random.
    Own {
        /// How many it has.
        per_thread: u32,
    },
    /// One, its lock and its completion queue together with other threads.
    Shared {
        /// How many threads share it.
        threads: u32,
    },
}

/// Which doorbell registers queue pairs ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doorbells {
    /// Those that the driver gives out: a few are a queue pair's own, the others are shared.
    Driver,
    /// One for each queue pair.
    Own,
}

/// How a thread keeps its requests outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Posting {
    /// For each that is complete it posts another.
    Sliding,
    /// It posts all, one by one, and then waits until all are complete.
    Batch,
    /// It posts all as a list with one doorbell, and then waits until all are complete.
    List,
}

/// Which addresses are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addresses {
    /// All requests use one.
    One,
    /// So many that requests hardly ever meet.
    Independent,
    /// The same, at any byte: many cross a cache line.
    Unaligned,
}

/// What holds the target's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryOf {
    /// The host.
    Host,
    /// The adapter itself.
    Device,
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// All machines send to one more, which only answers.
    ToOne,
    /// Every machine sends to all others and answers all others.
    AllToAll,
}

/// A benchmark of verbs over reliable connections, with nothing but a switch in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VerbsSetup {
    /// What requests do.
    pub verb: Verb,
    /// Bytes that one reads or writes.
    pub bytes: u32,
    /// Whether what is written is a part of the work request.
    pub inline: bool,
    /// Machines that send.
    pub machines: u32,
    /// Threads of each of them.
    pub threads: u32,
    /// Requests outstanding per thread.
    pub outstanding: u32,
    /// How they are kept so.
    pub posting: Posting,
    /// Which queue pairs they go on.
    pub queue_pairs: QueuePairs,
    /// Which registers these ring.
    pub doorbells: Doorbells,
    /// Which addresses they use.
    pub addresses: Addresses,
    /// Whose memory that is.
    pub memory: MemoryOf,
    /// Who sends to whom.
    pub traffic: Traffic,
}

impl VerbsSetup {
    /// One thread with one request at a time on a queue pair of its own.
    #[must_use]
    pub fn lone(verb: Verb, bytes: u32) -> Self {
        Self {
            verb,
            bytes,
            inline: false,
            machines: 1,
            threads: 1,
            outstanding: 1,
            posting: Posting::Sliding,
            queue_pairs: QueuePairs::Own { per_thread: 1 },
            doorbells: Doorbells::Driver,
            addresses: Addresses::Independent,
            memory: MemoryOf::Host,
            traffic: Traffic::ToOne,
        }
    }
}

/// Where what is read over PCIe was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warmth {
    /// In memory alone.
    Cold,
    /// In the last-level cache, as far as it fits: the processor has used it.
    Host,
    /// In the part of it that the adapter's writes can fill, as far as it fits.
    Device,
}

/// How memory is read over PCIe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// One read after the other, so many in a measurement.
    Reads(u32),
    /// The same, each behind a write to the same place.
    WriteReads(u32),
    /// As many reads at a time as the adapter can have on their way.
    Flood,
}

/// A benchmark of reads over PCIe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DmaSetup {
    /// How it reads.
    pub access: Access,
    /// Bytes of a read.
    pub bytes: u32,
    /// Bytes of memory from which it reads at random.
    pub window_bytes: u64,
    /// Where they were before.
    pub warmth: Warmth,
    /// Whether an IOMMU translates its addresses.
    pub iommu: bool,
}

/// What is run to get a row's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// Reads over PCIe alone.
    Dma(DmaSetup),
    /// Verbs from one adapter to another.
    Verbs(VerbsSetup),
}

/// Which of an experiment's results a row states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Operations of all machines, M/s.
    Rate,
    /// Operations per machine that sends, M/s.
    RatePerMachine,
    /// Mean latency, us.
    Mean,
    /// Median latency, us.
    Median,
    /// Least latency, us.
    Least,
    /// Greatest latency, us.
    Most,
    /// Reads over PCIe of the adapter that answers, M/s.
    DmaReads,
}

/// Latency, us.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LatencyUs {
    /// On average.
    pub mean: f64,
    /// Half of them are below.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

/// What an experiment has measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Operations of all machines, M/s.
    pub mops: f64,
    /// How long one takes.
    pub latency_us: LatencyUs,
    /// Reads over PCIe of the adapter that answers, M/s.
    pub dma_reads_mops: f64,
}

/// Runs a benchmark of verbs on adapters of that kind; none if it cannot be run.
pub type RunVerbs = fn(&Params, &VerbsSetup, u64) -> Option<Measured>;

/// Verbs are not run.
#[must_use]
pub fn no_verbs(_: &Params, _: &VerbsSetup, _: u64) -> Option<Measured> {
    None
}

impl Experiment {
    /// One of the results, if there is one.
    pub(super) fn result(&self, quantity: Quantity, measured: &Measured) -> f64 {
        let machines = match self {
            Self::Verbs(setup) => f64::from(setup.machines),
            Self::Dma(_) => 1.0,
        };
        match quantity {
            Quantity::Rate => measured.mops,
            Quantity::RatePerMachine => measured.mops / machines,
            Quantity::Mean => measured.latency_us.mean,
            Quantity::Median => measured.latency_us.median,
            Quantity::Least => measured.latency_us.least,
            Quantity::Most => measured.latency_us.most,
            Quantity::DmaReads => measured.dma_reads_mops,
        }
    }
}
