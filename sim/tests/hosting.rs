//! A server queue pair that carries other clients' requests stops doing so: what did not run goes
//! elsewhere, in order, and nobody but the guilty notices.

#[path = "support/clients.rs"]
mod clients;
#[path = "support/keyed.rs"]
mod keyed;
#[path = "support/packets.rs"]
mod packets;

use clients::{PATH_MTU, directory, link};
use keyed::keyed;
use packets::{ACK, KEY};
use qpmux_engine::policy::{Connection, Start, TrustBy};
use qpmux_engine::wire::{
    Classified, ClientPsn, Extension, Msn, NakCode, NotRc, Opcode, Psn, Syndrome, classify,
};
use qpmux_engine::{Config, Nanos, ShardId, Side};
use qpmux_sim::host::Host;
use qpmux_sim::rc::Packet;

const CLIENTS: u32 = 3;
const RECORD: usize = 16;

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
        let policy = keyed(RECORD, 1, TrustBy::Directory);
        let connections = (0..CLIENTS).map(|client| connection(client, shards)).collect();
        let directory = directory(&policy, connections, KEY, 0..1 << 20);
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
        let psn = Psn::new(psn);
        let packet = Packet { opcode, psn, ack_request: true, extension, payload };
        self.offer(client, Side::Client, &link(client).frame(&packet).unwrap())
    }

    fn write(&mut self, client: u32, psn: u32) -> Vec<Sent> {
        let packet = packets::write(Psn::new(psn), &[0; RECORD]);
        self.offer(client, Side::Client, &link(client).frame(&packet).unwrap())
    }

    fn answer(&mut self, server: u32, psn: u32, syndrome: Syndrome) -> Vec<Sent> {
        let packet = packets::answer(Psn::new(psn), syndrome, 0);
        self.offer(server, Side::Server, &link(server).reversed().frame(&packet).unwrap())
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
    let start = Start { psn: ClientPsn::new(100 * client), msn: Msn::new(0), credits: 31 };
    Connection { shard: ShardId(client as u8 % shards), ..link(client).known(start, 4) }
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
        let mut marked = link(2);
        marked.path.traffic_class = 3;
        let request = marked.frame(&packets::write(Psn::new(200), &[0; RECORD])).unwrap();
        assert_eq!(world.offer(2, Side::Client, &request), [to_server(0, 1)]);
        let mut notice = [0; 256];
        let len = link(0).reversed().emit_notice(&mut notice).unwrap();
        let mut told = Vec::new();
        let shard = world.shard(0);
        world.host.offer(shard, Side::Server, Nanos(9999), &notice[..len], &mut |side, frame| {
            assert_eq!(side, Side::Client);
            match classify(frame) {
                Ok(Classified::Other(NotRc::Cnp(cnp))) => told.push(cnp.target.dest_qp.value()),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(told, [0x11 + 2], "{shards} shards");
    }
}
