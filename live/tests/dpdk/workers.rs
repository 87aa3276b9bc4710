//! Several workers do together what each would do alone: same frames out, byte for byte.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use qpmux_engine::policy::{KeyMap, Map, Profile};
use qpmux_sim::replay::{CLIENTS_PCAP, INGRESS_PCAP, SERVER_PCAP, Setup, replay_modelled};
use qpmux_sim::synth::{SynthConfig, synthesize};
use qpmux_workloads::clover::Variant;
use qpmux_workloads::keys::{KeyDistribution, Ycsb};
use serde_json::Value;

use super::replayed::{PATH_MTU, sent_to, setup};
use super::{frames, run, sample};

const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 0, 2), Ipv4Addr::new(192, 168, 1, 13)];

/// Whose client's requests go where does not depend on keys: one program serves two applications.
fn by_connection() -> Setup {
    let mut setup = setup(Map::All, 2, 0.0);
    setup.policy.key_map = KeyMap::ByConnection;
    setup.policy.profile = Profile::keyless();
    setup
}

/// Traffic with the second server.
fn clover(folder: &Path) -> PathBuf {
    let capture = folder.join("clover.pcap");
    let config = SynthConfig {
        workload: Ycsb::A,
        threads: 8,
        machines: 1,
        keys: 64,
        distribution: KeyDistribution::Zipf { theta: 0.99 },
        operations: 1_000,
        value_len: 1_000,
        seed: 1,
        variant: Variant::Fork,
        coroutines: false,
        metadata: false,
    };
    synthesize(&config, &capture, &mut |_| {}).unwrap();
    capture
}

/// Two workers; each queue brings all of one server, which is the other worker's if `crossed`.
fn assert_same(crossed: bool) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let captures = [sample("kv-ycsb-a-16qp.pcap"), clover(folder.path())];
    let replayed = [0, 1].map(|at| {
        let out = folder.path().join(format!("replayed{at}"));
        fs::create_dir(&out).unwrap();
        let report =
            replay_modelled(&captures[at], Some(out.as_path()), &by_connection(), &mut |_| {});
        assert!(report.unwrap().is_good());
        out
    });
    let sent = [0, 1].map(|at| folder.path().join(format!("egress{at}.pcap")));
    let port = format!(
        "net_pcap0,rx_pcap={},rx_pcap={},tx_pcap={},tx_pcap={}",
        replayed[0].join(INGRESS_PCAP).display(),
        replayed[1].join(INGRESS_PCAP).display(),
        sent[0].display(),
        sent[1].display()
    );
    let owner = |server: usize| if crossed { 1 - server } else { server };
    let configuration = format!(
        "servers = ['{0}', '{1}']\n[client]\nport = '{port}'\n[server]\nport = '{port}'\n\
         [clock]\nsource = 'packets'\nunit_ns = 1000\n[network]\npath_mtu = {PATH_MTU}\n\
         [policy]\ntrust = 'observed'\nmap = 'all'\nkey_map = 'by-connection'\nserver_qps = 2\n\
         profile = 'none'\n[[worker]]\nservers = ['{2}']\n[[worker]]\nservers = ['{3}']\n",
        SERVERS[0],
        SERVERS[1],
        SERVERS[owner(0)],
        SERVERS[owner(1)]
    );
    let live = run(folder.path(), &configuration);
    for at in [0, 1] {
        let all = frames(&sent[owner(at)]);
        for (clients, file) in [(true, CLIENTS_PCAP), (false, SERVER_PCAP)] {
            let expected = sent_to(clients, SERVERS[at], frames(&replayed[at].join(file)));
            let found = sent_to(clients, SERVERS[at], all.clone());
            let first = expected.iter().zip(&found).position(|(a, b)| a != b);
            assert_eq!(first, None, "server {at}, {file}: the first that differs: {live:#}");
            assert!(found.len() > 500, "server {at}, {file}: {live:#}");
            assert_eq!(found.len(), expected.len(), "server {at}, {file}: {live:#}");
        }
    }
    live
}

#[test]
fn each_with_its_own_servers_frames() {
    let live = assert_same(false);
    for worker in live["workers"].as_array().unwrap() {
        assert_eq!(worker["handed_over"], 0, "{live:#}");
    }
    assert!(live["mapped"].as_u64().unwrap() > 500, "{live:#}");
}

#[test]
fn each_with_the_frames_of_the_others_server() {
    let live = assert_same(true);
    for worker in live["workers"].as_array().unwrap() {
        assert_eq!(worker["handed_over"], worker["received"], "{live:#}");
    }
    assert_eq!(live["ports"]["client"]["hand_over_full"], 0);
}
