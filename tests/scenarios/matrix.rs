//! Modelled replays of the key-value samples under many policies. Each has to complete every
//! request and break no rule, as the endpoint models see it and as independent checkers see it in
//! the two captures written.

use std::fs;
use std::path::Path;

use qpmux_engine::policy::{Atomics, KeyMap, Order};
use qpmux_sim::replay::{CLIENTS_PCAP, ReplayReport, SERVER_PCAP, Setup};
use qpmux_tests::checkers::check;
use qpmux_tests::{capture, full_tier, root};
use tempfile::TempDir;

use crate::support::{KEY_VALUE, replay, run_in, setup};

/// Packets of each capture that scapy looks at; zlib looks at all.
const BY_SCAPY: &str = "300";

/// Everything completed, nothing broken, and it was worth looking at.
fn assert_report(report: &ReplayReport, server_qps: u32, what: &str) {
    assert!(report.requests > 3_000, "{what}: {report:#?}");
    assert_eq!(report.completed, report.requests, "{what}: {report:#?}");
    assert!(report.violations.is_empty(), "{what}: {report:#?}");
    assert_eq!(report.memory_ok, Some(true), "{what}: {report:#?}");
    assert!(report.is_good(), "{what}: {report:#?}");
    assert_eq!((report.dead_clients, report.server_qps_lost), (0, 0), "{what}: {report:#?}");
    assert!(report.keyed > 3_000, "{what}: {report:#?}");
    assert!(report.mapped * 10 >= report.keyed * 9, "{what}: {report:#?}");
    if server_qps > 0 {
        assert!(report.server_qps_hosting <= server_qps as usize, "{what}: {report:#?}");
    }
    assert!(report.server_qps_hosting > 0, "{what}: {report:#?}");
}

/// The three checkers on the two captures. Without an order per key those checks are left out.
fn assert_captures(name: &str, out: &Path, keys_have_order: bool) {
    let (clients, server) = (out.join(CLIENTS_PCAP), out.join(SERVER_PCAP));
    let skip = if keys_have_order { "" } else { "key,word,rank" };
    let arguments = [server.as_os_str(), "--skip".as_ref(), skip.as_ref()];
    let verdict = check("check_server.py", arguments);
    verdict.assert_good();
    assert_eq!(verdict.report["checks"]["rank"]["status"] == "pass", keys_have_order, "{name}");
    let pairs = root().join(format!("tests/data/pairs-{name}.csv"));
    let arguments = [clients.as_os_str(), "--pairs".as_ref(), pairs.as_os_str()];
    check("check_clients.py", arguments).assert_good();
    let arguments =
        ["--scapy".as_ref(), BY_SCAPY.as_ref(), clients.as_os_str(), server.as_os_str()];
    let verdict = check("check_icrc.py", arguments);
    verdict.assert_good();
    assert_eq!(verdict.report["checks"]["scapy"]["status"], "pass", "{name}");
}

/// Both captures and the figure are the same, byte for byte.
fn assert_same_files(a: &Path, b: &Path, what: &str) {
    for file in [CLIENTS_PCAP, SERVER_PCAP, "placement.svg"] {
        let [left, right] = [a, b].map(|folder| fs::read(folder.join(file)).unwrap());
        if left == right {
            continue;
        }
        if file.ends_with(".pcap") {
            let [left, right] = [a, b].map(|folder| capture::read(&folder.join(file)));
            let first = left.iter().zip(&right).position(|(left, right)| left != right);
            panic!("{what}: {file} differs first at packet {first:?} (from 0)");
        }
        panic!("{what}: {file} differs");
    }
}

/// The report, without the effort of the simulation: one more shard means more messages inside.
fn result(report: &ReplayReport) -> ReplayReport {
    ReplayReport { events: 0, ..report.clone() }
}

/// One number of server queue pairs: twice on one shard, then on more, all with the same result.
/// Whole files are compared, so the packets of each connection are the same, too.
fn same_on_any_number_of_shards(name: &str, server_qps: u32) {
    let first = TempDir::new().unwrap();
    let report = replay(name, &setup(server_qps), first.path());
    let what = format!("{name}, {server_qps} server queue pairs");
    assert_report(&report, server_qps, &what);
    assert_captures(name, first.path(), true);
    for shards in [1, 2, 4] {
        let again = TempDir::new().unwrap();
        let other = replay(name, &Setup { shards, ..setup(server_qps) }, again.path());
        let what = format!("{what}, {shards} shards");
        assert_eq!(format!("{:#?}", result(&other)), format!("{:#?}", result(&report)), "{what}");
        assert_same_files(first.path(), again.path(), &what);
    }
}

#[test]
fn keys_on_one_server_queue_pair() {
    KEY_VALUE.iter().for_each(|name| same_on_any_number_of_shards(name, 1));
}

#[test]
fn keys_on_two_server_queue_pairs() {
    KEY_VALUE.iter().for_each(|name| same_on_any_number_of_shards(name, 2));
}

#[test]
fn keys_on_seven_server_queue_pairs() {
    KEY_VALUE.iter().for_each(|name| same_on_any_number_of_shards(name, 7));
}

#[test]
fn keys_on_all_server_queue_pairs() {
    KEY_VALUE.iter().for_each(|name| same_on_any_number_of_shards(name, 0));
}

/// A policy and a server other than the usual ones.
struct Variant {
    key_map: KeyMap,
    order: Order,
    ack_every: u32,
    depth: Option<u16>,
    server_qps: u32,
    shards: u8,
}

impl Variant {
    fn run(&self, name: &str) {
        let Variant { key_map, order, ack_every, depth, server_qps, shards } = *self;
        let mut setup = Setup { shards, depth, ack_every, ..setup(server_qps) };
        (setup.policy.key_map, setup.policy.order) = (key_map, order);
        let what = format!(
            "{name}: {key_map:?}, {order:?}, ack every {ack_every}, depth {depth:?}, \
             {server_qps} server queue pairs, {shards} shards"
        );
        let out = TempDir::new().unwrap();
        let report = replay(name, &setup, out.path());
        assert_report(&report, server_qps, &what);
        println!("{what}");
        assert_captures(name, out.path(), key_map != KeyMap::ByConnection);
    }
}

#[test]
fn other_policies_and_servers() {
    use KeyMap::{ByConnection, Hash, Modulo};
    use Order::{Fenced, Keyed};
    let rows = [
        (Hash, Fenced, 1, Some(1), 2, 1),
        (Hash, Keyed, 4, Some(4), 7, 2),
        (Modulo, Keyed, 1, Some(1), 1, 4),
        (Modulo, Fenced, 4, Some(4), 7, 1),
        (ByConnection, Fenced, 1, Some(4), 2, 2),
        (ByConnection, Keyed, 4, Some(1), 7, 1),
    ];
    for (i, (key_map, order, ack_every, depth, server_qps, shards)) in rows.into_iter().enumerate()
    {
        let variant = Variant { key_map, order, ack_every, depth, server_qps, shards };
        variant.run(KEY_VALUE[i % KEY_VALUE.len()]);
    }
}

/// All combinations. `QPMUX_TEST_TIER=full` asks for them.
#[test]
fn every_policy_and_server() {
    if !full_tier() {
        eprintln!("SKIPPED: every_policy_and_server: QPMUX_TEST_TIER is not full");
        return;
    }
    for name in KEY_VALUE {
        for key_map in [KeyMap::Modulo, KeyMap::Hash, KeyMap::ByConnection] {
            for order in [Order::Fenced, Order::Keyed] {
                for (ack_every, depth) in [(1, None), (1, Some(1)), (4, Some(4)), (4, None)] {
                    for (server_qps, shards) in [(1, 4), (7, 2), (0, 1)] {
                        Variant { key_map, order, ack_every, depth, server_qps, shards }.run(name);
                    }
                }
            }
        }
    }
}

/// The command gives what its library gives, and says so by its exit status.
/// WRITEs in the place of atomics store words as their server keeps them.
#[test]
fn words_of_servers_in_either_byte_order() {
    for (name, server) in KEY_VALUE.into_iter().zip(["10.9.0.2", "10.9.0.3"]) {
        let mut setup = setup(4);
        setup.policy.atomics = Atomics::Replace;
        let out = TempDir::new().unwrap();
        let little = replay(name, &setup, out.path());
        setup.big_endian = vec![server.parse().unwrap()];
        let big = replay(name, &setup, out.path());
        for report in [little, big] {
            assert!(report.is_good() && report.replaced_atomics > 0, "{name}: {report:?}");
            assert_eq!(report.words_contradicted, 0, "{name}");
        }
    }
}

#[test]
fn the_program_gives_the_same() {
    for name in KEY_VALUE {
        let [library, program] = [(); 2].map(|()| TempDir::new().unwrap());
        replay(name, &Setup { shards: 2, ..setup(7) }, library.path());
        let capture = qpmux_tests::sample(&format!("{name}.pcap"));
        let mut arguments = vec!["replay".into(), capture.into_os_string()];
        let options = ["--map", "writes", "--server-qps", "7", "--shards", "2", "--out", "."];
        arguments.extend(options.map(Into::into));
        run_in(program.path(), arguments).assert_good();
        assert_same_files(library.path(), program.path(), name);
    }
}
