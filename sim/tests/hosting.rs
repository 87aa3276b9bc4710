//! A server queue pair that carries other clients' requests stops doing so: what did not run goes
//! elsewhere, in order, and nobody but the guilty notices.

use std::net::Ipv4Addr;

use qpmux_engine::policy::{
    AtomicKey, ByteOrder, Connection, Directory, Endpoint, Grant, KeyField, KeyMap, Map, Order,
    PathFacts, Policy, Profile, Region, Rights, Start, TrustBy,
};
use qpmux_engine::wire::{
    AethRepr, Classified, ClientPsn, Extension, Msn, NakCode, NotRc, Opcode, Psn, RethRepr,
    Syndrome, build_cnp, classify,
};
use qpmux_engine::{Config, DomainId, Nanos, ServerQpId, ShardId, Side};
use qpmux_sim::host::Host;
use qpmux_sim::rc::{Link, Packet};

const CLIENTS: u32 = 3;
const KEY: u32 = 0x1234;
const PATH_MTU: usize = 256;
const RECORD: usize = 16;
const ACK: Syndrome = Syndrome::Ack { credits: 31 };

/// The connection of a client. Client 0's server queue pair has the lowest number: it hosts first.
fn link(client: u32) -> Link {
    let near = Ipv4Addr::new(10, 0, 1, client as u8 + 1);
    let far = Ipv4Addr::new(10, 0, 0, 9);
    Link { pmtu: PATH_MTU, ..Link::new(near, 0x11 + client, far, 0x100 + client) }
}

/// What went out: to which side, to whose queue pair, which packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    side: Side,
    client: u32,
    opcode: Opcode,
    psn: u32,
    syndrome: Option<Syndrome>,
}

struct World {
    host: Host,
    shards: u8,
    now: u64,
}

impl World {
    fn new(shards: u8) -> World {
        let field = KeyField {
            opcode: Opcode::WriteOnly,
            payload_len: RECORD as u32,
            offset: 0,
            len: 1,
            byte_order: ByteOrder::Little,
        };
        let policy = Policy {
            map: Map::Writes,
            key_map: KeyMap::Modulo,
            server_qps: 1,
            trust: TrustBy::Directory,
            order: Order::Fenced,
            profile: Profile::new(vec![field], AtomicKey::LastWritten),
            message_packets_max: 1,
            ..Policy::default()
        };
        let region = Region { domain: DomainId(0), remote_key: KEY, start: 0, end: 1 << 20 };
        let grant = |id| Grant { server_qp: ServerQpId(id), remote_key: KEY, rights: Rights::ALL };
        let connections = (0..CLIENTS).map(|client| connection(client, shards)).collect();
        let grants = (0..CLIENTS).map(grant).collect();
        let directory = Directory::new(connections, vec![region], grants, &policy).unwrap();
        let config = Config { server_retries_max: 8, ..Config::default() };
        World { host: Host::new(&config, &policy, &directory, shards).unwrap(), shards, now: 0 }
    }

    fn shard(&self, client: u32) -> u8 {
        client as u8 % self.shards
    }

    fn offer(&mut self, client: u32, side: Side, frame: &[u8]) -> Vec<Sent> {
        self.now += 1000;
        let mut sent = Vec::new();
        let shard = self.shard(client);
        self.host.offer(shard, side, Nanos(self.now), frame, &mut |side, frame| {
            sent.extend(read(side, frame));
        });
        sent
    }

    fn request(
        &mut self,
        client: u32,
        opcode: Opcode,
        psn: u32,
        extension: Extension,
        payload: &[u8],
    ) -> Vec<Sent> {
        let packet = Packet { opcode, psn: Psn::new(psn), ack_request: true, extension, payload };
        let mut frame = [0; 1024];
        let len = link(client).emit(&packet, 0, &mut frame).unwrap();
        self.offer(client, Side::Client, &frame[..len])
    }

    fn write(&mut self, client: u32, psn: u32) -> Vec<Sent> {
        let reth = RethRepr { virtual_address: 64, remote_key: KEY, dma_length: RECORD as u32 };
        self.request(client, Opcode::WriteOnly, psn, Extension::Reth(reth), &[0; RECORD])
    }

    fn answer(&mut self, server: u32, psn: u32, syndrome: Syndrome) -> Vec<Sent> {
        let aeth = AethRepr { syndrome, msn: Msn::new(0) };
        let packet = Packet {
            opcode: Opcode::Acknowledge,
            psn: Psn::new(psn),
            ack_request: false,
            extension: Extension::Aeth(aeth),
            payload: &[],
        };
        let mut frame = [0; 256];
        let len = link(server).reversed().emit(&packet, 0, &mut frame).unwrap();
        self.offer(server, Side::Server, &frame[..len])
    }

    /// Everything that is sent until nothing is left to wait for, or for so long.
    fn wait(&mut self, ns: u64) -> Vec<Sent> {
        let (mut sent, end) = (Vec::new(), self.now + ns);
        while let Some(Nanos(deadline)) = self.host.next_deadline(Nanos(self.now)) {
            if deadline > end {
                break;
            }
            self.now = deadline.max(self.now + 1);
            self.host.timeout(Nanos(self.now), &mut |side, frame| sent.extend(read(side, frame)));
        }
        self.now = end;
        sent
    }
}

fn connection(client: u32, shards: u8) -> Connection {
    let (near, far) = (link(client), link(client).reversed());
    let end =
        |link: &Link| Endpoint { mac: link.path.source_mac, ip: link.path.source, qpn: link.qpn };
    let facts = |link: &Link| PathFacts {
        source_port: link.path.source_port,
        traffic_class: 0,
        hop_limit: 64,
        migration_request: false,
        partition_key: 0xffff,
        tag: None,
    };
    Connection {
        client: end(&near),
        server: end(&far),
        request: facts(&near),
        response: facts(&far),
        start: Start { psn: ClientPsn::new(100 * client), msn: Msn::new(0), credits: 31 },
        path_mtu: PATH_MTU as u16,
        depth: 4,
        domain: DomainId(0),
        shard: ShardId(client as u8 % shards),
    }
}

fn read(side: Side, frame: &[u8]) -> Option<Sent> {
    let Ok(Classified::Rc(layout)) = classify(frame) else { return None };
    let qpn = layout.dest_qp.value();
    let client = if side == Side::Server { qpn - 0x100 } else { qpn - 0x11 };
    let syndrome = layout.aeth(frame).map(|aeth| aeth.syndrome);
    Some(Sent { side, client, opcode: layout.opcode, psn: layout.psn.value(), syndrome })
}

fn to_server(client: u32, psn: u32) -> Sent {
    Sent { side: Side::Server, client, opcode: Opcode::WriteOnly, psn, syndrome: None }
}

fn to_client(client: u32, psn: u32, syndrome: Syndrome) -> Sent {
    let opcode = Opcode::Acknowledge;
    Sent { side: Side::Client, client, opcode, psn, syndrome: Some(syndrome) }
}

/// Which server queue pair took over from client 0's, where it starts, and who is left.
fn successor(sent: &[Sent]) -> (u32, u32) {
    let first = sent.iter().find(|s| s.side == Side::Server).expect("something goes on");
    assert_ne!(first.client, 0, "{sent:?}");
    assert_eq!(first.psn, 100 * first.client, "{sent:?}");
    (first.client, first.psn)
}

#[test]
fn guests_leave_an_owner_that_fell_silent_in_the_middle_of_a_message() {
    for shards in [1, 3] {
        let mut world = World::new(shards);
        assert_eq!(world.write(1, 100), [to_server(0, 0)]);
        assert_eq!(world.answer(0, 0, ACK), [to_client(1, 100, ACK)]);
        let first = world.request(0, Opcode::SendFirst, 0, Extension::None, &[1; PATH_MTU]);
        assert!(matches!(first[..], [Sent { client: 0, psn: 1, .. }]), "{first:?}");
        assert_eq!(world.answer(0, 1, ACK).len(), 1, "the owner hears of its packet");
        assert_eq!(world.write(1, 101), [], "nothing comes between first and last");
        assert_eq!(world.write(2, 200), []);
        let sent = world.wait(30_000_000);
        let (host, psn) = successor(&sent);
        assert_eq!(sent[..2], [to_server(host, psn), to_server(host, psn + 1)]);
        assert_eq!(world.answer(host, psn + 1, ACK).len(), 2, "both clients are told");
        // The owner can go on all the same.
        let last = world.request(0, Opcode::SendLast, 1, Extension::None, &[1; 8]);
        assert!(matches!(last[..], [Sent { client: 0, psn: 2, .. }]), "{last:?}");
        assert_eq!(world.answer(0, 2, ACK), [to_client(0, 1, ACK)]);
        assert_eq!(world.host.open(), (0, 0, 0), "{shards} shards: at rest");
    }
}

#[test]
fn what_a_dead_server_queue_pair_did_not_run_runs_elsewhere() {
    for shards in [1, 3] {
        let mut world = World::new(shards);
        assert_eq!(world.write(1, 100), [to_server(0, 0)]);
        assert_eq!(world.write(2, 200), [to_server(0, 1)]);
        assert_eq!(world.write(1, 101), [to_server(0, 2)]);
        assert_eq!(world.write(2, 201), [to_server(0, 3)]);
        let refused = Syndrome::Nak(NakCode::RemoteAccess);
        let sent = world.answer(0, 1, refused);
        // The first ran, the second was refused, the third is another client's: it goes on. What
        // the refused client asked for after it never runs.
        let (host, psn) = successor(&sent);
        let expected = [to_client(1, 100, ACK), to_client(2, 200, refused), to_server(host, psn)];
        assert_eq!(sent.len(), 3, "{sent:?}");
        assert!(expected.iter().all(|one| sent.contains(one)), "{sent:?}");
        assert_eq!(world.write(1, 102), [to_server(host, psn + 1)]);
        assert_eq!(world.answer(host, psn + 1, ACK), [to_client(1, 102, ACK)]);
        assert_eq!(world.wait(1_000_000_000), []);
        assert_eq!(world.host.open(), (0, 0, 0), "{shards} shards: at rest");
    }
}

#[test]
fn what_may_have_run_on_a_silent_server_queue_pair_does_not_run_again() {
    for shards in [1, 3] {
        let mut world = World::new(shards);
        assert_eq!(world.write(1, 100), [to_server(0, 0)]);
        // It is sent again until the server queue pair is given up; nobody is told anything.
        let sent = world.wait(1_100_000_000);
        assert_eq!(sent, [to_server(0, 0); 8]);
        assert_eq!(world.write(2, 200), [], "the old packets may still arrive");
        let sent = world.wait(500_000_000);
        let (host, psn) = successor(&sent);
        assert!(sent.iter().all(|sent| *sent == to_server(host, psn)), "{sent:?}");
        assert_eq!(world.write(1, 100), [], "its outcome is unknown");
        assert_eq!(world.write(1, 101), [], "nor does anything behind it run");
        assert_eq!(world.answer(host, psn, ACK), [to_client(2, 200, ACK)]);
        assert_eq!(world.host.open(), (0, 0, 0), "{shards} shards: at rest");
    }
}

#[test]
fn a_congestion_notification_reaches_the_client_whose_packet_was_marked() {
    for shards in [1, 3] {
        let mut world = World::new(shards);
        world.write(1, 100);
        let reth = RethRepr { virtual_address: 64, remote_key: KEY, dma_length: RECORD as u32 };
        let packet = Packet {
            opcode: Opcode::WriteOnly,
            psn: Psn::new(200),
            ack_request: true,
            extension: Extension::Reth(reth),
            payload: &[0; RECORD],
        };
        let mut marked = link(2);
        marked.path.traffic_class = 3;
        let mut frame = [0; 256];
        let len = marked.emit(&packet, 0, &mut frame).unwrap();
        assert_eq!(world.offer(2, Side::Client, &frame[..len]), [to_server(0, 1)]);
        let from = link(0).reversed();
        let bth = qpmux_engine::wire::BthRepr {
            opcode: Opcode::SendOnly,
            solicited: false,
            migration_request: false,
            pad_count: 0,
            partition_key: 0xffff,
            fecn: false,
            becn: true,
            dest_qp: from.peer_qpn,
            ack_request: false,
            psn: Psn::new(0),
        };
        let len = build_cnp(&from.path, &bth, &mut frame).unwrap();
        let mut told = Vec::new();
        let shard = world.shard(0);
        world.host.offer(shard, Side::Server, Nanos(9999), &frame[..len], &mut |side, frame| {
            assert_eq!(side, Side::Client);
            match classify(frame) {
                Ok(Classified::Other(NotRc::Cnp(cnp))) => told.push(cnp.target.dest_qp.value()),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(told, [0x11 + 2], "{shards} shards");
    }
}
