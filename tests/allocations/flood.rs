//! More than there is room for, of everything.

use std::net::Ipv4Addr;

use qpmux_engine::connections::symmetric_port;
use qpmux_engine::policy::{
    AtomicKey, ByteOrder, Directory, Grant, KeyField, KeyMap, Map, Order, Policy, Profile, Region,
    Rights, Start, TrustBy,
};
use qpmux_engine::wire::{AethRepr, ClientPsn, Extension, Msn, Opcode, Psn, RethRepr, Syndrome};
use qpmux_engine::{Config, DomainId, DropReason, Nanos, ServerQpId, Side};
use qpmux_sim::host::Host;
use qpmux_sim::rc::{Link, Packet};

use crate::{assert_nothing_allocated, counted};

const REMOTE_KEY: u32 = 7;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CONNECTIONS_MAX: u32 = 8;

/// A client's end of a connection; any number of them.
fn link(client: u32) -> Link {
    let host = Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits() + client / 64);
    let mut link = Link::new(host, 0x1000 + client, SERVER, 0x10_0000 + client);
    link.path.source_port = symmetric_port(link.qpn, link.peer_qpn);
    link.pmtu = 256;
    link
}

fn frame(link: &Link, opcode: Opcode, psn: u32, extension: Extension, payload: &[u8]) -> Vec<u8> {
    let packet = Packet { opcode, psn: Psn::new(psn), ack_request: true, extension, payload };
    link.frame(&packet).expect("it is short")
}

/// A record: its key is the first byte.
fn write(client: u32, psn: u32, key: u8) -> Vec<u8> {
    let reth = RethRepr { virtual_address: 64, remote_key: REMOTE_KEY, dma_length: 16 };
    frame(&link(client), Opcode::WriteOnly, psn, Extension::Reth(reth), &[key; 16])
}

fn read(client: u32, psn: u32) -> Vec<u8> {
    let reth = RethRepr { virtual_address: 64, remote_key: REMOTE_KEY, dma_length: 8 };
    frame(&link(client), Opcode::ReadRequest, psn, Extension::Reth(reth), &[])
}

fn answer(client: u32, opcode: Opcode, psn: u32) -> Vec<u8> {
    let syndrome = Syndrome::Ack { credits: 31 };
    let aeth = Extension::Aeth(AethRepr { syndrome, msn: Msn::new(psn + 1) });
    let payload: &[u8] = if opcode == Opcode::Acknowledge { &[] } else { &[9; 8] };
    frame(&link(client).reversed(), opcode, psn, aeth, payload)
}

fn policy(trust: TrustBy) -> Policy {
    let field = KeyField {
        opcode: Opcode::WriteOnly,
        payload_len: 16,
        offset: 0,
        len: 1,
        byte_order: ByteOrder::Little,
    };
    Policy {
        map: Map::Writes,
        key_map: KeyMap::Modulo,
        server_qps: 1,
        trust,
        order: Order::Keyed,
        profile: Profile::new(vec![field], AtomicKey::LastWritten),
        message_packets_max: 1,
        ..Policy::default()
    }
}

fn config() -> Config {
    Config {
        client_window_max: 8,
        requests_max: 24,
        held_responses_max: 2,
        atomic_results: 2,
        server_window_max: 4,
        connections_max: CONNECTIONS_MAX,
        domains_max: 2,
        path_mtu: Some(256),
        grants_max: 4,
        declined_keys_max: 4,
        frame_len_max: 512,
        ..Config::default()
    }
}

/// Four connections that are known from the start. The first one's server queue pair hosts.
fn directory(policy: &Policy) -> Directory {
    let start = Start { psn: ClientPsn::new(0), msn: Msn::new(0), credits: 31 };
    let connection = |client: u32| link(client).known(start, 16);
    let region = Region { domain: DomainId(0), remote_key: REMOTE_KEY, start: 0, end: 4096 };
    let grant = |client| Grant {
        server_qp: ServerQpId(client),
        remote_key: REMOTE_KEY,
        rights: Rights::ALL,
    };
    let connections = (0..7).map(connection).collect();
    Directory::new(connections, vec![region], (0..7).map(grant).collect(), policy).unwrap()
}

/// A host that counts, and the clock.
struct Flood {
    host: Host,
    now: u64,
}

impl Flood {
    fn new(trust: TrustBy) -> Flood {
        let policy = policy(trust);
        let directory = match trust {
            TrustBy::Directory => directory(&policy),
            _ => Directory::empty(),
        };
        let host = Host::new(&config(), &policy, &directory, 1).unwrap();
        Flood { host: host.with_guard(counted), now: 0 }
    }

    fn offer(&mut self, side: Side, frame: &[u8]) {
        self.now += 1000;
        self.host.offer(0, side, Nanos(self.now), frame, &mut |_, _| {});
    }
}

#[test]
fn garbage_and_unknown_connections_pass() {
    for trust in [TrustBy::Directory, TrustBy::Observation] {
        let mut flood = Flood::new(trust);
        let mut state = 1_u64;
        for round in 0..20_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let side = if state >> 63 == 0 { Side::Client } else { Side::Server };
            let mut frame = write(1000 + round % 5000, round, 0);
            match round % 4 {
                0 => frame.truncate((state >> 40) as usize % frame.len()),
                1 => frame.iter_mut().for_each(|byte| *byte ^= (state >> 32) as u8),
                2 => frame[(state >> 33) as usize % 70] ^= (state >> 8) as u8,
                _ => {}
            }
            flood.offer(side, &frame);
        }
        let counters = flood.host.counters();
        assert_eq!(counters.passed, 20_000, "{counters:?}");
        assert_eq!(flood.host.open(), (0, 0, 0));
    }
    assert_nothing_allocated(40_000);
}

#[test]
fn connections_beyond_the_limit_are_not_served() {
    let mut flood = Flood::new(TrustBy::Observation);
    for client in 0..3000 {
        for psn in 0..6 {
            flood.offer(Side::Client, &write(client, psn, 0));
            flood.offer(Side::Server, &answer(client, Opcode::Acknowledge, psn));
        }
    }
    let counters = flood.host.counters();
    let learning = *flood.host.learning().unwrap();
    println!("{learning:?}");
    assert!(counters.learnt >= u64::from(CONNECTIONS_MAX), "{counters:?}");
    assert!(flood.host.server_qps().count() <= CONNECTIONS_MAX as usize);
    assert!(learning.flows_overflow + learning.connections_overflow > 1000, "{learning:?}");
    assert!(counters.passed > 30_000, "{counters:?}");
    assert_nothing_allocated(36_000);
}

/// Clients ask for more than anybody may, and no server answers: the table fills up, though none
/// has more in it than was free, and then one more comes.
#[test]
fn requests_beyond_every_limit_are_dropped() {
    let mut flood = Flood::new(TrustBy::Directory);
    for client in 0..6 {
        for psn in 0..8 {
            flood.offer(Side::Client, &write(client, psn, psn as u8));
        }
    }
    for round in 0..2000 {
        flood.offer(Side::Client, &write(0, 8, 0));
        flood.offer(Side::Client, &write(6, 0, 0));
        flood.offer(Side::Client, &write(6, 1 + round, 0));
    }
    let (buffers, clients, servers) = flood.host.open();
    assert!(buffers <= 24 && clients == 24 && servers <= 24, "{:?}", flood.host.open());
    let counters = flood.host.counters();
    for reason in [DropReason::ClientWindow, DropReason::TableFull, DropReason::RequestGap] {
        assert!(counters.dropped(reason) > 1000, "{}: {counters:?}", reason.name());
    }
    assert_nothing_allocated(6_000);
}

/// A client's WRITEs wait at a host that does not answer, while its READs are answered by its own
/// server queue pair: their answers are held, as many as there is room for.
#[test]
fn answers_beyond_the_room_for_them_are_dropped() {
    let mut flood = Flood::new(TrustBy::Directory);
    flood.offer(Side::Client, &write(1, 0, 0));
    for psn in 1..6 {
        flood.offer(Side::Client, &read(1, psn));
    }
    for round in 0..1000 {
        // On the server queue pair they begin with the first PSN.
        let frame = answer(1, Opcode::ReadResponseOnly, round % 5);
        flood.offer(Side::Server, &frame);
    }
    let (buffers, ..) = flood.host.open();
    let counters = flood.host.counters();
    assert!(counters.dropped(DropReason::HeldFull) > 0, "{counters:?}");
    // Two answers, and what may have to be sent again.
    assert!(buffers <= 2 + 6, "{buffers}");
    assert_nothing_allocated(1_000);
}
