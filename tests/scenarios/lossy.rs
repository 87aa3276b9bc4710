//! Replays that lose packets: by chance, and where a recording lost them. Every request has to be
//! completed all the same, and both captures written have to stand the checkers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use qpmux_engine::policy::{Map, TrustBy};
use qpmux_sim::replay::{CLIENTS_PCAP, Losses, ReplayReport, SERVER_PCAP, Setup, replay_modelled};
use qpmux_tests::capture::{self, Packet};
use qpmux_tests::checkers::check;
use qpmux_tests::{extra_captures, full_tier, root, sample};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{KEY_VALUE, SAMPLE, run_in, setup, tree};

/// One run with 5 % loss, captured at both ends.
const CLIENT: &str = "kv-ycsb-a-8qp-loss5-client";
const SERVER: &str = "kv-ycsb-a-8qp-loss5-server";

fn lossy(fraction: f64, seed: u64, server_qps: u32) -> Setup {
    Setup { losses: Losses { fraction, seed, of: None }, ..setup(server_qps) }
}

fn losses_of(other: &Path, server_qps: u32) -> Setup {
    let losses = Losses { of: Some(other.to_owned()), ..Losses::default() };
    Setup { losses, ..setup(server_qps) }
}

/// Replays, and judges the report; the captures too if there is somebody between the two sides.
fn judged(capture: &Path, setup: &Setup, pairs: &str, what: &str) -> ReplayReport {
    let out = TempDir::new().unwrap();
    let report = replay_modelled(capture, Some(out.path()), setup, &mut |_| {}).unwrap();
    assert!(report.is_good(), "{what}: {report:#?}");
    assert_eq!(report.memory_ok, Some(true), "{what}: {report:#?}");
    assert_eq!((report.dead_clients, report.server_qps_lost), (0, 0), "{what}: {report:#?}");
    assert!(report.requests > 1_000, "{what}: {report:#?}");
    if setup.policy.map == Map::None || setup.policy.trust == TrustBy::Observation {
        return report;
    }
    assert_eq!(report.mapped, report.keyed, "{what}: {report:#?}");
    let (clients, server) = (out.path().join(CLIENTS_PCAP), out.path().join(SERVER_PCAP));
    check("check_server.py", [&server]).assert_good();
    let pairs = match pairs {
        "auto" => PathBuf::from(pairs),
        name => root().join(format!("tests/data/pairs-{name}.csv")),
    };
    let arguments = [clients.as_os_str(), "--pairs".as_ref(), pairs.as_os_str()];
    check("check_clients.py", arguments).assert_good();
    report
}

/// Numbers of server queue pairs and of shards: the first two, or all of them in the full tier.
fn some_of<const N: usize>(all: [(u32, u8); N]) -> impl Iterator<Item = (u32, u8)> {
    all.into_iter().take(if full_tier() { N } else { 2 })
}

/// The share of packets lost on one leg, roughly: what was sent again is not known exactly.
fn assert_share(report: &ReplayReport, fraction: f64, what: &str) {
    let legs = [
        "client_to_middlebox",
        "middlebox_to_client",
        "middlebox_to_server",
        "server_to_middlebox",
    ];
    assert!(report.lost.keys().copied().eq(legs), "{what}: {:?}", report.lost);
    let expected = report.requests as f64 * fraction;
    for (leg, &lost) in &report.lost {
        let factor = lost as f64 / expected;
        assert!((0.5..2.0).contains(&factor), "{what}: {leg} lost {lost}, not {expected}");
    }
    assert!(report.repaired["clients"] > 0, "{what}: {:?}", report.repaired);
    assert_eq!(report.repaired.get("engine"), report.generated.get("repair"), "{what}");
}

#[test]
fn random_losses_are_repaired() {
    let (rates, seeds): (&[f64], _) = match full_tier() {
        true => (&[0.002, 0.01, 0.05, 0.1], 1..=5),
        false => (&[0.01, 0.05], 1..=1),
    };
    for name in [KEY_VALUE[0], KEY_VALUE[1], CLIENT] {
        for (&rate, seed) in rates.iter().flat_map(|r| seeds.clone().map(move |seed| (r, seed))) {
            for (server_qps, shards) in some_of([(1, 1), (4, 2), (0, 4)]) {
                let what = format!("{name}, {rate} lost, seed {seed}, {server_qps} queue pairs");
                let setup = Setup { shards, ..lossy(rate, seed, server_qps) };
                let capture = sample(&format!("{name}.pcap"));
                assert_share(&judged(&capture, &setup, name, &what), rate, &what);
            }
        }
    }
}

#[test]
fn an_engine_that_translates_nothing_loses_as_much() {
    let mut setup = lossy(0.05, 1, 0);
    setup.policy.map = Map::None;
    let report = judged(&sample(&format!("{CLIENT}.pcap")), &setup, CLIENT, "no map");
    assert_share(&report, 0.05, "no map");
    assert_eq!(report.repaired.get("engine"), None, "{report:#?}");
}

#[test]
fn an_engine_that_learns_repairs_too() {
    for server_qps in [1, 4] {
        let mut setup = lossy(0.05, 1, server_qps);
        setup.policy.trust = TrustBy::Observation;
        setup.engine.path_mtu = Some(1024);
        let report = judged(&sample(&format!("{CLIENT}.pcap")), &setup, CLIENT, "learning");
        assert_eq!(report.flips, 8, "{report:#?}");
        assert_share(&report, 0.05, "learning");
    }
}

/// The same seed gives the same losses, another seed others.
#[test]
fn a_seed_says_what_is_lost() {
    let capture = sample(SAMPLE);
    let run = |seed| {
        let report = replay_modelled(&capture, None, &lossy(0.02, seed, 4), &mut |_| {}).unwrap();
        format!("{report:#?}")
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// Whether a frame goes to the server, by what comes after Ethernet, IPv4 and UDP, and its
/// destination queue pair and PSN. An opcode is a request's if it is none of the answers'.
fn looked_into(packet: &Packet) -> (bool, [u8; 3], [u8; 3]) {
    let bth = &packet.data[42..54];
    let part = |at: usize| bth[at..at + 3].try_into().unwrap();
    (!(13..=18).contains(&bth[0]), part(5), part(9))
}

/// Requests that differ, and all packets towards the server and back.
fn counted(path: &Path) -> (u64, [u64; 2]) {
    let packets = capture::read(path);
    let all: Vec<_> = packets.iter().map(looked_into).collect();
    let requests = all.iter().filter(|(request, ..)| *request);
    let different: BTreeSet<_> = requests.clone().map(|(_, qp, psn)| (*qp, *psn)).collect();
    let requests = requests.count() as u64;
    (different.len() as u64, [requests, all.len() as u64 - requests])
}

/// The two captures of a lossy run, each re-driven with the losses of the other.
fn recorded_losses_are_met_again(client: &Path, server: &Path, pairs: [&str; 2]) {
    let (requests, [sent, returned]) = counted(client);
    let (_, [arrived, answered]) = counted(server);
    let (requests_lost, answers_lost) = (sent - arrived, answered - returned);
    assert!(requests_lost > 50 && answers_lost > 50, "the captures show losses");
    for (capture, other, pairs) in [(client, server, pairs[0]), (server, client, pairs[1])] {
        for (server_qps, shards) in some_of([(1, 1), (4, 2), (1, 4), (0, 1)]) {
            let setup = Setup { shards, ..losses_of(other, server_qps) };
            let what = format!("{}, {server_qps} server queue pairs", capture.display());
            let report = judged(capture, &setup, pairs, &what);
            assert_eq!(report.requests, requests, "{what}: repeated packets are no new requests");
            let recorded = report.recorded.unwrap();
            assert_eq!(
                (recorded.requests, recorded.answers, recorded.unsent),
                (requests_lost, answers_lost, 0),
                "{what}"
            );
            // All but those that depend on when clients repeat what.
            let there = recorded.requests + recorded.answers;
            assert!(recorded.met * 100 >= there * 98, "{what}: {recorded:?}");
            assert_eq!(report.lost.values().sum::<u64>(), recorded.met, "{what}: {report:#?}");
            assert!(report.lost["client_to_middlebox"] <= requests_lost, "{what}: {report:#?}");
            assert!(report.lost["middlebox_to_client"] <= answers_lost, "{what}: {report:#?}");
            // As often as in the recording, but for the same differences.
            let again = report.repaired["clients"];
            assert!(again.abs_diff(sent - requests) * 10 <= sent - requests, "{what}: {again}");
        }
    }
}

#[test]
fn losses_of_the_sample_are_met_again() {
    let [client, server] = [CLIENT, SERVER].map(|name| sample(&format!("{name}.pcap")));
    recorded_losses_are_met_again(&client, &server, [CLIENT, SERVER]);
}

#[test]
fn losses_of_more_recordings_are_met_again() {
    let Some(folder) = extra_captures("losses_of_more_recordings_are_met_again") else { return };
    for name in ["kv-ycsb-a-8qp-loss5", "kv-ghost-ack-loss5"] {
        let [client, server] =
            ["client", "server"].map(|end| folder.join(format!("{name}-{end}.pcap")));
        recorded_losses_are_met_again(&client, &server, ["auto", "auto"]);
        for (rate, server_qps) in [(0.0, 1), (0.05, 1), (0.05, 4)] {
            let what = format!("{name}, {rate} lost");
            let report = judged(&client, &lossy(rate, 1, server_qps), "auto", &what);
            assert_eq!(report.lost.is_empty(), rate == 0.0, "{what}: {report:#?}");
            assert_eq!(report.requests, counted(&client).0, "{what}");
        }
    }
}

#[test]
fn both_kinds_of_losses_go_together() {
    let [client, server] = [CLIENT, SERVER].map(|name| sample(&format!("{name}.pcap")));
    let mut setup = losses_of(&server, 4);
    setup.losses.fraction = 0.01;
    let report = judged(&client, &setup, CLIENT, "both");
    assert!(report.lost.values().sum::<u64>() > report.recorded.unwrap().met, "{report:#?}");
}

#[test]
fn the_program_says_what_was_lost() {
    let [client, server] = [CLIENT, SERVER].map(|name| sample(&format!("{name}.pcap")));
    let folder = TempDir::new().unwrap();
    let arguments = ["replay".as_ref(), client.as_os_str(), "--losses-of".as_ref()];
    let arguments = [&arguments[..], &[server.as_os_str(), "--json".as_ref()]].concat();
    let run = run_in(folder.path(), arguments).assert_good();
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["lost"]["client_to_middlebox"], report["recorded"]["requests"]);
    assert_eq!(report["lost"]["middlebox_to_client"], report["recorded"]["answers"]);
    assert!(report["repaired"]["clients"].as_u64() > Some(0), "{report}");
    // Without losses the fields are there, and empty.
    let run = run_in(folder.path(), ["replay".as_ref(), client.as_os_str(), "--json".as_ref()]);
    let report: Value = serde_json::from_str(&run.assert_good().stdout).unwrap();
    assert_eq!((&report["lost"], &report["recorded"]), (&serde_json::json!({}), &Value::Null));
}

#[test]
fn losses_that_make_no_sense_are_refused() {
    let folder = TempDir::new().unwrap();
    let [capture, other, client] =
        [SAMPLE, "kv-ycsb-a-2clients-16qp.pcap", "kv-ycsb-a-8qp-loss5-client.pcap"].map(sample);
    let refused = |capture: &Path, options: &[&str], mentions: &[&str]| {
        let arguments = [&["replay", capture.to_str().unwrap(), "--out", "out"], options].concat();
        run_in(folder.path(), arguments).assert_refused(mentions);
        assert!(tree(folder.path()).is_empty(), "{options:?}");
    };
    for fraction in ["0.6", "-0.1", "nan", "5%"] {
        let option = format!("--loss={fraction}");
        refused(&capture, &[&option], &["--loss", fraction, "from 0 to 0.5"]);
    }
    for other in [other, client] {
        let other = other.to_str().unwrap();
        refused(&capture, &["--losses-of", other], &[other, "connections"]);
    }
    let captured = ["--responses", "captured", "--map", "none", "--loss", "0.1"];
    refused(&capture, &captured, &["--loss", "--responses model"]);
}
