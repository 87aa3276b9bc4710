//! Where connections are learnt one after the other, their server queue pairs share the places.

#[path = "support/keyed.rs"]
mod keyed;
#[path = "support/packets.rs"]
mod packets;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::rc::Rc;

use keyed::keyed;
use packets::{ACK, KEY};
use qpmux_engine::journal::Journal;
use qpmux_engine::policy::{ConfiguredRegion, Directory, Policy, Rights, TrustBy};
use qpmux_engine::wire::{Classified, NakCode, Psn, Syndrome, classify};
use qpmux_engine::{Config, Nanos, Side};
use qpmux_sim::host::{Host, RecordSink};
use qpmux_sim::rc::{Link, Packet};

const PATH_MTU: usize = 256;
const RECORD: usize = 16;
const PLACES: u32 = 4;
/// Packets by which a question is ahead of what a server expects.
const AHEAD: u32 = 1 << 22;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

/// The connection of a client, one of those of a machine.
fn link(client: u32) -> Link {
    let near = Ipv4Addr::new(10, 0, 1, 1);
    Link { pmtu: PATH_MTU, ..Link::new(near, 0x11 + client, SERVER, 0x100 + client) }
}

/// Takes records of a log to its end.
fn sink(log: &Rc<RefCell<Vec<u8>>>) -> RecordSink {
    let log = Rc::clone(log);
    Box::new(move |record| log.borrow_mut().extend_from_slice(record))
}

/// A request at a server queue pair: of which client's connection that is, and its PSN there.
type At = (u32, Psn);

struct World {
    config: Config,
    policy: Policy,
    directory: Directory,
    host: Host,
    log: Rc<RefCell<Vec<u8>>>,
    now: u64,
    /// PSNs of the clients' next requests.
    next: Vec<Psn>,
    /// What was answered to clients, by client.
    answered: Vec<u32>,
}

impl World {
    fn new(clients: u32) -> World {
        let trust = TrustBy::Configuration;
        let policy = Policy { server_qps: PLACES, ..keyed(RECORD, 1, trust) };
        let config = Config {
            path_mtu: Some(PATH_MTU as u16),
            depth: Some(4),
            connections_max: 64,
            records: true,
            ..Config::default()
        };
        let region = ConfiguredRegion {
            server: SERVER.into(),
            remote_key: KEY,
            start: 0,
            end: 1 << 20,
            rights: Rights::ALL,
        };
        let directory = Directory::empty().with_regions(vec![region]);
        let log = Rc::default();
        let host = Host::new(&config, &policy, &directory, 1).unwrap().with_records(sink(&log));
        World {
            config,
            policy,
            directory,
            host,
            log,
            now: 0,
            next: vec![Psn::new(7); clients as usize],
            answered: vec![0; clients as usize],
        }
    }

    /// The engine is gone, and another one goes on from its log.
    fn crash(&mut self) {
        let World { config, policy, directory, .. } = self;
        let journal = Journal::read(config, &self.log.borrow()).unwrap();
        let host = Host::resume(config, policy, directory, 1, &journal, Nanos(self.now)).unwrap();
        self.host = host.with_records(sink(&self.log));
        // It asks the servers, far ahead of what they expect.
        let asked = self.carry(|host, now, emit| {
            host.timeout(now, emit);
        });
        for (server, psn) in asked {
            let expected = Psn::new(psn.value() - AHEAD);
            let nak = packets::answer(expected, Syndrome::Nak(NakCode::PsnSequence), 0);
            assert_eq!(self.offer(Side::Server, server, &nak), []);
        }
        // Nobody flips until what the engine before had on its way has arrived or is lost.
        self.now += 1_000_000_000;
    }

    fn offer(&mut self, side: Side, client: u32, packet: &Packet<'_>) -> Vec<At> {
        let link = match side {
            Side::Client => link(client),
            Side::Server => link(client).reversed(),
        };
        let frame = link.frame(packet).unwrap();
        self.carry(|host, now, emit| host.offer(0, side, now, &frame, emit))
    }

    /// Has the engine do something. What went to the server then.
    fn carry(
        &mut self,
        call: impl FnOnce(&mut Host, Nanos, &mut dyn FnMut(Side, &[u8])),
    ) -> Vec<At> {
        let mut sent = Vec::new();
        self.now += 1_000;
        let answered = &mut self.answered;
        call(&mut self.host, Nanos(self.now), &mut |side, frame| {
            let Ok(Classified::Rc(layout)) = classify(frame) else { panic!("no packet") };
            let qpn = layout.dest_qp.value();
            match side {
                Side::Server => sent.push((qpn - 0x100, layout.psn)),
                Side::Client => answered[(qpn - 0x11) as usize] += 1,
            }
        });
        sent
    }

    /// A client writes a key's record. Where that went, if it did.
    fn write(&mut self, client: u32, key: u8) -> Vec<At> {
        let psn = self.next[client as usize];
        self.next[client as usize] = psn.add(1);
        self.offer(Side::Client, client, &packets::write(psn, &[key; RECORD]))
    }

    /// The server answers. What went to it then.
    fn acknowledge(&mut self, (server, psn): At) -> Vec<At> {
        self.offer(Side::Server, server, &packets::answer(psn, ACK, 0))
    }

    /// A client writes a key's record and is answered. By which server queue pair.
    fn write_through(&mut self, client: u32, key: u8) -> u32 {
        let sent = self.write(client, key);
        let &[at] = &sent[..] else { panic!("{sent:?} for one request") };
        let before = self.answered[client as usize];
        assert_eq!(self.acknowledge(at), []);
        assert_eq!(self.answered[client as usize], before + 1);
        at.0
    }

    /// A client works until its connection is translated.
    fn join(&mut self, client: u32) {
        let flips = self.host.counters().flips;
        for key in 0..32 {
            self.write_through(client, key % 2);
            if self.host.counters().flips > flips {
                return;
            }
        }
        panic!("client {client} is not translated");
    }

    /// Server queue pairs of all keys.
    fn hosts(&mut self) -> Vec<u32> {
        (0..PLACES as u8).map(|key| self.write_through(0, key)).collect()
    }
}

#[test]
fn who_comes_later_takes_a_share() {
    let mut world = World::new(6);
    world.join(0);
    assert_eq!(world.hosts(), [0; 4]);
    for (client, hosts) in [(1, 2), (2, 3), (3, 4), (4, 4), (5, 4)] {
        world.join(client);
        let found: BTreeSet<u32> = world.hosts().into_iter().collect();
        assert_eq!(found.len(), hosts, "with client {client}: {found:?}");
        assert_eq!(world.hosts(), world.hosts(), "places stay");
    }
    // From then on all clients' requests for a key go to one.
    let hosts = world.hosts();
    for client in 0..6 {
        let found: Vec<u32> =
            (0..PLACES as u8).map(|key| world.write_through(client, key)).collect();
        assert_eq!(found, hosts, "client {client}");
    }
}

#[test]
fn a_place_with_something_on_its_way_stays() {
    let mut world = World::new(2);
    world.join(0);
    let hosts = world.hosts();
    assert_eq!(hosts, [0; 4]);
    // Keys 0 and 1 are on their way, and a second request for key 0.
    let open: Vec<At> = [0, 1, 0].into_iter().flat_map(|key| world.write(0, key)).collect();
    assert_eq!(open.iter().map(|at| at.0).collect::<Vec<_>>(), [0; 3]);
    world.join(1);
    assert_eq!(world.host.counters().places_taken_over, 2);
    for at in open {
        assert_eq!(world.acknowledge(at), []);
    }
    assert_eq!(world.hosts(), [0, 0, 1, 1]);
}

#[test]
fn what_waits_for_its_turn_goes_to_the_new_host() {
    let mut world = World::new(3);
    world.join(0);
    assert_eq!(world.hosts(), [0; 4]);
    world.join(1);
    assert_eq!(world.hosts(), [1, 1, 0, 0]);
    let first = world.write(0, 2);
    assert_eq!(first.len(), 1);
    // This one would go elsewhere: it waits.
    assert_eq!(world.write(0, 0), []);
    world.join(2);
    let sent = world.acknowledge(first[0]);
    assert_eq!(sent.len(), 1);
    let second = sent[0];
    assert_eq!(second.0, 2);
    assert_eq!(world.acknowledge(second), []);
    assert_eq!(world.hosts(), [2, 1, 0, 0]);
}

#[test]
fn who_took_over_has_its_places_after_a_crash() {
    let mut world = World::new(3);
    world.join(0);
    assert_eq!(world.hosts(), [0; 4]);
    world.join(1);
    assert_eq!(world.hosts(), [1, 1, 0, 0]);
    world.crash();
    assert_eq!(world.hosts(), [1, 1, 0, 0]);
    world.join(2);
    assert_eq!(world.hosts(), [2, 1, 0, 0]);
    world.crash();
    for client in 0..3 {
        let found: Vec<u32> =
            (0..PLACES as u8).map(|key| world.write_through(client, key)).collect();
        assert_eq!(found, [2, 1, 0, 0], "client {client}");
    }
}
