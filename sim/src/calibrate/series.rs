//! What has to be run to get each published number, or why none is.

use super::rows::Row;
use super::setup::{
    Access, Addresses, DmaSetup, Doorbells, Experiment, MemoryOf, Posting, Quantity, QueuePairs,
    Traffic, Verb, VerbsSetup, Warmth,
};

/// How a row's number is got from the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The adapter, by its preset.
    pub preset: &'static str,
    /// What is run.
    pub experiment: Experiment,
    /// Which of its results the row states.
    pub quantity: Quantity,
}

/// A plan, or why the row is not scored; none if nobody has thought about this row.
pub type Verdict = Option<Result<Plan, &'static str>>;

const A_FACT: &str = "a fact, not a measurement";
const A_SYSTEM: &str = "a whole system, not a verb";
const OTHER_ADAPTER: &str = "an adapter that has no preset";
const DCT: &str = "another transport: DCT";

/// Requests outstanding per queue pair where a source says only that it is saturated: as many
/// READs and atomics as these adapters can have outstanding (`max_qp_rd_atom`).
const SATURATING: u32 = 16;
/// The same for WRITEs, which nothing bounds but the queue: what SMART goes up to, and more than
/// rate times latency of one queue pair of a ConnectX-5 (18.3 M/s, 2.2 us).
const SATURATING_WRITES: u32 = 64;

/// What has to be run for a row.
#[must_use]
pub fn verdict(row: &Row) -> Verdict {
    match row.group() {
        "SMART (ASPLOS 2024)" => smart(row).map(Ok),
        "rdma_bench" => swarm(row).map(Ok),
        "FaSST (OSDI 2016)" => fasst(row),
        "pcie-bench (SIGCOMM 2018)" => pcie_bench(row),
        "NEO-Host" => neo_host(row),
        "SwordBox" => swordbox(row).map(Ok),
        "eRPC (NSDI 2019)" => Some(erpc(row)),
        "Crail blog" => Some(Err("ConnectX-4, which has no preset")),
        "tulips" => Some(Err("raw Ethernet frames; what a switch adds is in wire_ns")),
        "RAMCloud wiki" | "RAMCloud measurements talk, June 2011" => Some(Err(A_SYSTEM)),
        "Clio (ASPLOS 2022)" | "KV-Direct (SOSP 2017)" => Some(Err(A_SYSTEM)),
        "SRNIC (NSDI 2023)" => Some(Err(OTHER_ADAPTER)),
        "NP-RDMA" => Some(Err("latency of page faults, which these adapters do not take")),
        "hns driver" | "nbl driver" | "rdma-core" | "YCSB" => Some(Err(A_FACT)),
        _ => None,
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&number| number > 0)
}

fn verb(op: &str) -> Option<Verb> {
    let named = |name: &str| op.split([' ', ';']).any(|word| word == name);
    [
        ("READ", Verb::Read),
        ("WRITE", Verb::Write),
        ("CAS", Verb::CompareSwap),
        ("FAA", Verb::FetchAdd),
    ]
    .into_iter()
    .find_map(|(name, verb)| named(name).then_some(verb))
}

fn verbs(preset: &'static str, setup: VerbsSetup, quantity: Quantity) -> Plan {
    Plan { preset, experiment: Experiment::Verbs(setup), quantity }
}

/// Posts one by one, then polls until all are done; a queue pair and its completion queue are
/// shared together. One machine sends, one answers.
fn smart(row: &Row) -> Option<Plan> {
    let x = number(&row.x)?;
    let (threads, outstanding) = match row.x_name.as_str() {
        "threads" => (x, 8),
        "outstanding_per_thread" => (24, x),
        _ => return None,
    };
    let sharing = row.op.split("; ").nth(1)?;
    let own = QueuePairs::Own { per_thread: 1 };
    let (queue_pairs, doorbells) = match sharing {
        "all threads share 1 QP (lock)" => (QueuePairs::Shared { threads }, Doorbells::Driver),
        "1 QP per 4 threads" => (QueuePairs::Shared { threads: 4 }, Doorbells::Driver),
        "1 QP per 2 threads" => (QueuePairs::Shared { threads: 2 }, Doorbells::Driver),
        "1 QP per thread, default 12 shared doorbells" => (own, Doorbells::Driver),
        "1 QP + own doorbell per thread" | "own doorbell" => (own, Doorbells::Own),
        _ => return None,
    };
    let setup = VerbsSetup {
        threads,
        outstanding,
        posting: Posting::Batch,
        queue_pairs,
        doorbells,
        ..VerbsSetup::lone(verb(&row.op)?, 8)
    };
    Some(verbs("connectx-6", setup, Quantity::Rate))
}

/// Eight threads per machine keep eight requests outstanding over all their queue pairs, each on
/// one at random; all machines send and answer.
fn swarm(row: &Row) -> Option<Plan> {
    const THREADS: u32 = 8;
    let per_thread = number(&row.x)? / THREADS;
    let setup = VerbsSetup {
        machines: 11,
        threads: THREADS,
        outstanding: 8,
        queue_pairs: QueuePairs::Own { per_thread },
        traffic: Traffic::AllToAll,
        ..VerbsSetup::lone(Verb::Read, 32)
    };
    (row.op.starts_with("32B READ; window 8/thread"))
        .then(|| verbs("connectx-3", setup, Quantity::RatePerMachine))
}

fn fasst(row: &Row) -> Verdict {
    // Its benchmark draws any byte's address (dct-bench/worker.cc).
    let lone = VerbsSetup { addresses: Addresses::Unaligned, ..VerbsSetup::lone(Verb::Read, 32) };
    let one_thread = VerbsSetup { outstanding: 32, ..lone };
    match row.op.as_str() {
        "inbound READ" => {
            let (machines, threads) = (10, 14);
            let per_thread = number(&row.x)? / (machines * threads);
            let queue_pairs = QueuePairs::Own { per_thread };
            let setup = VerbsSetup { machines, threads, outstanding: 32, queue_pairs, ..lone };
            let quantity = match row.y_name.as_str() {
                "throughput" => Quantity::Rate,
                "PCIe DMA reads" => Quantity::DmaReads,
                _ => return None,
            };
            Some(Ok(verbs("connect-ib", setup, quantity)))
        }
        "READ, 1 thread, RC (paper one-sided-sharing)" | "READ, 1 thread, rc-swarm" => {
            Some(Ok(verbs("connect-ib", one_thread, Quantity::Rate)))
        }
        op if op.starts_with("READ, 1 thread, one control block") => {
            Some(Err("a device context per queue pair, whose own cost is not modelled"))
        }
        op if op.contains("DCT") => Some(Err(DCT)),
        _ => None,
    }
}

fn pcie_bench(row: &Row) -> Verdict {
    let iommu = row.source.contains("-iommu-");
    let x = number(&row.x)?;
    let many = 2_000;
    let sized = |access| {
        let window_bytes = 8 << 10;
        DmaSetup { access, bytes: x, window_bytes, warmth: Warmth::Host, iommu }
    };
    let (setup, quantity) = match row.op.as_str() {
        "LAT_DMA_RD host-cache-warm" => (sized(Access::Reads(many)), Quantity::Median),
        "LAT_DMA_WRRD host-cache-warm" => (sized(Access::WriteReads(many)), Quantity::Median),
        op => {
            let warmth = match op.strip_prefix("64B random DMA read; cache ")? {
                "DWarm" | "DThrash" if !iommu => {
                    return Some(Err("repeats the cold rows: warming was not in force"));
                }
                "Cold" | "DThrash" => Warmth::Cold,
                "HWarm" => Warmth::Host,
                "DWarm" => Warmth::Device,
                _ => return None,
            };
            let (access, quantity) = match row.y_name.as_str() {
                "avg_latency" => (Access::Reads(many), Quantity::Mean),
                "transactions" => (Access::Flood, Quantity::Rate),
                _ => return None,
            };
            let window_bytes = u64::from(x);
            (DmaSetup { access, bytes: 64, window_bytes, warmth, iommu }, quantity)
        }
    };
    Some(Ok(Plan { preset: "nfp6000", experiment: Experiment::Dma(setup), quantity }))
}

/// Of an idle adapter, whose few reads are of contexts that the cache holds.
fn neo_host(row: &Row) -> Verdict {
    if row.x != "idle" {
        return Some(Err("sizes of the reads are not said, and the least latency under load is \
                         below that without"));
    }
    let quantity = match row.y_name.as_str() {
        "avg PCIe latency" => Quantity::Mean,
        "min PCIe latency" => Quantity::Least,
        "max PCIe latency" => Quantity::Most,
        _ => return None,
    };
    let setup = DmaSetup {
        access: Access::Reads(38),
        bytes: 64,
        window_bytes: 8 << 10,
        warmth: Warmth::Host,
        iommu: false,
    };
    Some(Ok(Plan { preset: "connectx-6", experiment: Experiment::Dma(setup), quantity }))
}

fn swordbox(row: &Row) -> Option<Plan> {
    let verb = verb(&row.op)?;
    // Its benchmark inlines what it writes, as 023 says.
    let lone = VerbsSetup { inline: verb == Verb::Write, ..VerbsSetup::lone(verb, 8) };
    let busy = VerbsSetup { outstanding: SATURATING, ..lone };
    let (setup, quantity) = match row.figure.as_str() {
        "per-QP issue rate" => {
            let threads = number(&row.x)?;
            let outstanding = SATURATING_WRITES;
            (VerbsSetup { threads, outstanding, ..lone }, Quantity::Rate)
        }
        "one address plateau" => {
            let device = row.op.contains("NIC device memory");
            let memory = if device { MemoryOf::Device } else { MemoryOf::Host };
            let addresses = Addresses::One;
            (VerbsSetup { threads: 24, addresses, memory, ..busy }, Quantity::Rate)
        }
        "per-QP atomic ceiling" => {
            (VerbsSetup { threads: number(&row.x)?, ..busy }, Quantity::Rate)
        }
        "unloaded latency" => (lone, Quantity::Mean),
        // So many requests over 24 queue pairs, those of one rung as a list.
        "rdma_concur" => {
            let outstanding = number(&row.x)? / 24;
            let posting = Posting::List;
            (VerbsSetup { threads: 24, outstanding, posting, ..lone }, Quantity::Rate)
        }
        _ => return None,
    };
    Some(verbs("connectx-5", setup, quantity))
}

fn erpc(row: &Row) -> Result<Plan, &'static str> {
    match (row.figure.as_str(), row.x.as_str()) {
        ("table 2", "RDMA READ") => {
            Ok(verbs("connectx-5", VerbsSetup::lone(Verb::Read, 32), Quantity::Mean))
        }
        ("table 2", _) => Err(A_SYSTEM),
        _ => Err(A_FACT),
    }
}

/// The row's number in the unit of the model's results: M/s and us.
///
/// # Errors
/// When a unit is another one; then this is it.
pub fn published(row: &Row) -> Result<f64, &str> {
    match row.unit.as_str() {
        "Mops" | "M/s" | "us" => Ok(row.y),
        "ns" => Ok(row.y / 1e3),
        other => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, verdict};
    use crate::calibrate::setup::{Experiment, Quantity, QueuePairs, Verb};
    use crate::calibrate::{CALIBRATION, PREDICTIONS, rows};

    fn all() -> Vec<rows::Row> {
        let files = [CALIBRATION].into_iter().chain(PREDICTIONS);
        files.flat_map(|(file, text)| rows::parse(file, text).unwrap()).collect()
    }

    #[test]
    fn every_row_is_scored_or_has_a_reason() {
        let rows = all();
        assert!(rows.len() > 380, "{}", rows.len());
        for row in &rows {
            let verdict = verdict(row);
            assert!(verdict.is_some(), "line {}: {row:?}", row.line);
            if let Some(Ok(_)) = verdict {
                assert!(super::published(row).is_ok(), "line {}: unit {}", row.line, row.unit);
            }
        }
    }

    #[test]
    fn what_nobody_thought_about_has_no_verdict() {
        for source in ["Nobody: 1", "SMART (ASPLOS 2024): 5c", "FaSST (OSDI 2016): x"] {
            let mut row = all().remove(0);
            row.source = source.to_owned();
            row.op = "8B SEND; by pigeon".to_owned();
            assert_eq!(verdict(&row), None);
        }
    }

    #[test]
    fn setups_say_what_their_rows_say() {
        let rows = all();
        let verbs = |op: &str, x: &str| {
            let row = rows.iter().find(|row| row.op.contains(op) && row.x == x).unwrap();
            match verdict(row) {
                Some(Ok(Plan { experiment: Experiment::Verbs(setup), quantity, .. })) => {
                    (setup, quantity)
                }
                other => panic!("{other:?}"),
            }
        };
        let (setup, quantity) = verbs("WRITE; 1 QP per 4 threads", "8");
        assert_eq!((setup.verb, setup.threads, setup.outstanding), (Verb::Write, 8, 8));
        assert_eq!(setup.queue_pairs, QueuePairs::Shared { threads: 4 });
        assert_eq!(quantity, Quantity::Rate);
        let (setup, quantity) = verbs("window 8/thread", "176");
        assert_eq!(setup.queue_pairs, QueuePairs::Own { per_thread: 22 });
        assert_eq!(quantity, Quantity::RatePerMachine);
        assert_eq!(verbs("CAS; host memory; independent", "384").0.outstanding, 16);
    }
}
