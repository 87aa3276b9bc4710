//! An engine that knows nothing at the start: it learns connections, flips them into translation
//! in mid-run, and takes rights and ranges from what is answered.

use qpmux_engine::policy::{KeyMap, TrustBy};
use qpmux_sim::replay::{CLIENTS_PCAP, ReplayReport, SERVER_PCAP, Setup};
use qpmux_tests::checkers::check;
use qpmux_tests::root;
use tempfile::TempDir;

use crate::support::{KEY_VALUE, replay, setup};

/// An engine that learns, on a network whose path MTU the operator has told it.
fn learning(server_qps: u32, key_map: KeyMap) -> Setup {
    let mut setup = setup(server_qps);
    setup.policy.trust = TrustBy::Observation;
    setup.policy.key_map = key_map;
    setup.engine.path_mtu = Some(1024);
    setup
}

fn assert_good(report: &ReplayReport, what: &str) {
    assert!(report.is_good(), "{what}: {report:#?}");
    assert_eq!(report.memory_ok, Some(true), "{what}: {report:#?}");
    assert_eq!(report.flips, 16, "{what}: every connection is translated: {report:#?}");
    assert_eq!((report.dead_clients, report.server_qps_lost), (0, 0), "{what}: {report:#?}");
}

#[test]
fn connections_are_learnt_and_flipped_in_mid_run() {
    for name in KEY_VALUE {
        for server_qps in [1, 4, 0] {
            let out = TempDir::new().unwrap();
            let report = replay(name, &learning(server_qps, KeyMap::Modulo), out.path());
            let what = format!("{name}, {server_qps} server queue pairs");
            assert_good(&report, &what);
            // What is not known yet runs alone; from then on a key stays on one queue pair.
            assert!(report.mapped * 10 >= report.keyed * 9, "{what}: {report:#?}");
            assert!(report.alone > 0, "{what}: {report:#?}");
            assert!(report.server_qps_hosting > 0, "{what}: {report:#?}");
            let pairs = root().join(format!("tests/data/pairs-{name}.csv"));
            let clients = out.path().join(CLIENTS_PCAP);
            check("check_clients.py", [clients.as_os_str(), "--pairs".as_ref(), pairs.as_os_str()])
                .assert_good();
            let server = out.path().join(SERVER_PCAP);
            check(
                "check_server.py",
                [server.as_os_str(), "--skip".as_ref(), "key,word,rank".as_ref()],
            )
            .assert_good();
        }
    }
}

#[test]
fn clients_are_folded_by_connection() {
    let out = TempDir::new().unwrap();
    let report = replay(KEY_VALUE[0], &learning(2, KeyMap::ByConnection), out.path());
    assert_good(&report, "by connection");
    assert_eq!(report.server_qps_hosting, 2, "{report:#?}");
    assert!(report.mapped > report.keyed, "READs are folded as well: {report:#?}");
}

#[test]
fn without_a_path_mtu_nothing_is_translated_and_everything_passes() {
    let mut setup = learning(1, KeyMap::Modulo);
    setup.engine.path_mtu = None;
    let out = TempDir::new().unwrap();
    let report = replay(KEY_VALUE[0], &setup, out.path());
    assert!(report.is_good(), "{report:#?}");
    assert_eq!((report.flips, report.mapped), (0, 0), "{report:#?}");
    assert_eq!(report.passed, 2 * report.completed, "one request packet, one answer: {report:#?}");
}
