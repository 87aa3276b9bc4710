//! The program does with what came in what a replay did with it: same frames out, byte for byte.

use std::fs;
use std::net::Ipv4Addr;

use qpmux_engine::policy::{Atomics, Map, Policy, TrustBy};
use qpmux_engine::{Config, Verify};
use qpmux_sim::connections_file::KnownConnections;
use qpmux_sim::replay::{
    CLIENTS_PCAP, INGRESS_PCAP, Latency, Losses, ReplayReport, SERVER_PCAP, Setup, replay_modelled,
};
use qpmux_workloads::load_profile;

use super::{frames, port, run, sample};

/// A sample, and its server.
type Sample = (&'static str, Ipv4Addr);
const ONE_CLIENT: Sample = ("kv-ycsb-a-16qp.pcap", Ipv4Addr::new(10, 9, 0, 2));
const TWO_CLIENTS: Sample = ("kv-ycsb-a-2clients-16qp.pcap", Ipv4Addr::new(10, 9, 0, 3));
pub(super) const PATH_MTU: u16 = 1024;

/// Where the source address of an IPv4 packet is in a frame.
const SOURCE: usize = 26;

pub(super) fn setup(map: Map, server_qps: u32, loss: f64) -> Setup {
    Setup {
        policy: Policy {
            map,
            server_qps,
            trust: TrustBy::Observation,
            profile: load_profile("kv").unwrap(),
            ..Policy::default()
        },
        connections: KnownConnections::default(),
        engine: Config { path_mtu: Some(PATH_MTU), ..Config::default() },
        shards: 1,
        depth: None,
        ack_every: 1,
        latency: Latency::default(),
        losses: Losses { fraction: loss, seed: 1, ..Losses::default() },
        big_endian: Vec::new(),
    }
}

/// What is sent to one side, of a capture that has both directions.
pub(super) fn sent_to(clients: bool, server: Ipv4Addr, frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let from_server = |frame: &Vec<u8>| frame[SOURCE..SOURCE + 4] == server.octets();
    frames.into_iter().filter(|frame| from_server(frame) == clients).collect()
}

/// Replays a sample, gives the program what the engine took in there, and compares what both sent.
fn assert_same((name, server): Sample, setup: &Setup, policy: &str) -> ReplayReport {
    let folder = tempfile::tempdir().unwrap();
    let replayed = folder.path().join("replayed");
    fs::create_dir(&replayed).unwrap();
    let report =
        replay_modelled(&sample(name), Some(replayed.as_path()), setup, &mut |_| {}).unwrap();
    assert!(report.is_good(), "{report:#?}");
    let egress = folder.path().join("egress.pcap");
    let port = port(0, &replayed.join(INGRESS_PCAP), &egress);
    let configuration = format!(
        "servers = ['{server}']\n[client]\nport = '{port}'\n[server]\nport = '{port}'\n\
         [clock]\nsource = 'packets'\nunit_ns = 1000\n\
         [network]\npath_mtu = {PATH_MTU}\n\
         [policy]\ntrust = 'observed'\nserver_qps = {}\n{policy}",
        setup.policy.server_qps
    );
    let verify = match setup.engine.verify {
        Verify::Full => "full",
        Verify::Headers => "headers",
    };
    let configuration =
        configuration.replace("[network]\n", &format!("[network]\nverify = '{verify}'\n"));
    let live = run(folder.path(), &configuration);
    let sent = frames(&egress);
    for (clients, file) in [(true, CLIENTS_PCAP), (false, SERVER_PCAP)] {
        let expected = sent_to(clients, server, frames(&replayed.join(file)));
        let found = sent_to(clients, server, sent.clone());
        let first = expected.iter().zip(&found).position(|(a, b)| a != b);
        assert_eq!(first, None, "{file}: the first frame that differs: {live:#}");
        assert!(!found.is_empty(), "{file}: {live:#}");
        assert_eq!(found.len(), expected.len(), "{file}: {live:#}");
    }
    report
}

#[test]
fn writes_on_four_server_queue_pairs() {
    let report = assert_same(ONE_CLIENT, &setup(Map::Writes, 4, 0.0), "map = 'writes'");
    assert!(report.mapped > 1_000 && report.flips == 16, "{report:#?}");
}

#[test]
fn writes_on_one_server_queue_pair_while_packets_are_lost() {
    let setup = setup(Map::Writes, 1, 0.02);
    let report = assert_same(TWO_CLIENTS, &setup, "map = 'writes'");
    assert!(report.lost.values().sum::<u64>() > 100, "{report:#?}");
}

#[test]
fn what_carries_data_is_not_verified() {
    let mut setup = setup(Map::Writes, 4, 0.02);
    setup.engine.verify = Verify::Headers;
    let report = assert_same(ONE_CLIENT, &setup, "map = 'writes'");
    assert!(report.mapped > 500, "{report:#?}");
}

#[test]
fn everything_mapped_and_atomics_replaced() {
    let mut setup = setup(Map::All, 2, 0.0);
    setup.policy.atomics = Atomics::Replace;
    let policy = "map = 'all'\natomics = 'replace'";
    let report = assert_same(TWO_CLIENTS, &setup, policy);
    assert!(report.replaced_atomics > 0, "{report:#?}");
}
