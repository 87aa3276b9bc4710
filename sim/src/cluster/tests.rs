//! What a cluster does to single operations.

use super::{Cluster, ConnectionSetup, Happening, Part};
use crate::event::NS;
use crate::nic::Preset;
use crate::rc::{Outcome, Region, Verb};

const RKEY: u32 = 7;

fn pair_of(nic: &str) -> (Cluster<u32, ()>, u32, u32) {
    let params = Preset::load(nic).unwrap().params;
    let mut cluster = Cluster::new(&[&params, &params], 1);
    let region = Region::new(RKEY, 0, 1 << 20);
    let pair = cluster.connect([0, 1], &ConnectionSetup::default(), [&[], &[region]]);
    let thread = cluster.add_thread(0);
    (cluster, pair, thread)
}

/// Latency in ns of an operation, where nothing else happens and the caches are warm.
fn alone(nic: &str, verb: Verb) -> (f64, [u64; super::PARTS]) {
    let (mut cluster, pair, thread) = pair_of(nic);
    cluster.post(thread, pair, [(0, verb.clone())]);
    while let Some(happening) = cluster.next() {
        if let Happening::Completed(op) = happening {
            if op.asker == 0 {
                cluster.post(thread, pair, [(1, verb.clone())]);
                continue;
            }
            let latency = cluster.now() - op.begun;
            assert_eq!(op.parts().iter().sum::<u64>(), latency);
            return (latency as f64 / NS as f64, op.parts());
        }
    }
    panic!("it never ends");
}

#[test]
fn a_word_is_what_was_written_swapped_and_added() {
    let (mut cluster, pair, thread) = pair_of("connectx-5");
    let verbs = [
        Verb::write(64, RKEY, &5u64.to_le_bytes()),
        Verb::CompareSwap { address: 64, rkey: RKEY, compare: 5, swap: 9 },
        Verb::CompareSwap { address: 64, rkey: RKEY, compare: 5, swap: 1 },
        Verb::FetchAdd { address: 64, rkey: RKEY, add: 3 },
        Verb::Read { address: 64, rkey: RKEY, length: 8 },
    ];
    cluster.post(thread, pair, verbs.map(|verb| (0, verb)));
    let mut told = Vec::new();
    while let Some(happening) = cluster.next() {
        if let Happening::Completed(op) = happening {
            told.push(op.completion.unwrap().outcome);
        }
    }
    assert_eq!(told.len(), 5);
    assert!(matches!(told[1], Outcome::Atomic(5)), "{:?}", told[1]);
    assert!(matches!(told[2], Outcome::Atomic(9)), "{:?}", told[2]);
    assert!(matches!(told[3], Outcome::Atomic(9)), "{:?}", told[3]);
    assert_eq!(cluster.memory(1).read_u64(64), 12);
    assert_eq!(cluster.open()[2..], [0, 0]);
    let violations = cluster.violations();
    assert!(violations.is_empty(), "{:?}", violations.iter().collect::<Vec<_>>());
}

#[test]
fn time_is_where_its_cost_is() {
    let read = |nic| alone(nic, Verb::Read { address: 0, rkey: RKEY, length: 8 });
    let (read_ns, parts) = read("connectx-5");
    assert!((2_000.0..2_500.0).contains(&read_ns), "{read_ns}");
    let params = Preset::load("connectx-5").unwrap().params;
    let wire = parts[Part::Wire as usize] as f64 / NS as f64;
    assert_eq!(wire, 2.0 * params.wire_ns);
    let memory = parts[Part::Memory as usize] as f64 / NS as f64;
    assert!(memory >= params.pcie_read_ns, "{memory}");
}
