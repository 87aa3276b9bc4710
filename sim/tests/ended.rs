//! Connections that the connection manager sets up and takes down before an engine that knows
//! nothing: what comes late after the end, and queue pair numbers that are used again.

#[path = "support/keyed.rs"]
mod keyed;
#[path = "support/packets.rs"]
mod packets;

use std::net::Ipv4Addr;

use keyed::keyed;
use packets::ACK;
use qpmux_engine::policy::{Directory, TrustBy};
use qpmux_engine::wire::cm::{
    CmDreqRepr, CmMad, CmMessage, CmRepRepr, CmReqRepr, CmRtuRepr, gid_of_address,
};
use qpmux_engine::wire::{Psn, build_cm};
use qpmux_engine::{Config, DropReason, Nanos, Side};
use qpmux_sim::host::Host;
use qpmux_sim::rc::Link;

const RECORD: usize = 16;
/// First PSN of each connection's requests; of those that come later, far from all before.
const START: u32 = 100;
const LATER: u32 = 5_000_000;

/// Connection `i`, seen from its client.
fn link(i: u32) -> Link {
    let (near, far) = (Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, 0, 0, 9));
    Link::new(near, 0x11 + i, far, 0x100 + i)
}

struct World {
    host: Host,
    now: u64,
}

impl World {
    fn new(connections_max: u32) -> World {
        let policy = keyed(RECORD, 1, TrustBy::Observation);
        let config = Config { connections_max, ..Config::default() };
        let host = Host::new(&config, &policy, &Directory::empty(), 1).unwrap();
        World { host, now: 0 }
    }

    /// How many frames that brings out, and whether it comes out itself.
    fn offer(&mut self, side: Side, frame: &[u8]) -> (usize, bool) {
        self.now += 1000;
        let mut sent = Vec::new();
        self.host.offer(0, side, Nanos(self.now), frame, &mut |_, frame| sent.push(frame.to_vec()));
        (sent.len(), sent.iter().any(|one| one == frame))
    }

    fn say(&mut self, i: u32, side: Side, message: CmMessage) {
        let link = if side == Side::Client { link(i) } else { link(i).reversed() };
        let mut frame = [0; 400];
        let mad = CmMad { transaction_id: 1, message };
        let len = build_cm(&link.path, Psn::new(0), &mad, &mut frame).unwrap();
        assert_eq!(self.offer(side, &frame[..len]), (1, true));
    }

    /// REQ and REP of connection `i`, which goes by the name `id` and begins at `psn`.
    fn agree(&mut self, i: u32, id: u32, psn: u32) {
        let link = link(i);
        let req = CmReqRepr {
            local_comm_id: id,
            service_id: 0,
            local_ca_guid: 0,
            local_qpn: link.qpn,
            responder_resources: 1,
            initiator_depth: 1,
            starting_psn: Psn::new(7),
            partition_key: 0xffff,
            local_gid: gid_of_address(link.path.source),
            remote_gid: gid_of_address(link.path.destination),
            traffic_class: 0,
            hop_limit: 64,
            transport: 0,
            flow_control: 0,
            retry_count: 7,
            path_mtu: 3,
            rnr_retry_count: 7,
            shared_receive_queue: 0,
            local_ack_timeout: 14,
        };
        let rep = CmRepRepr {
            local_comm_id: !id,
            remote_comm_id: id,
            local_qpn: link.peer_qpn,
            starting_psn: Psn::new(psn),
            responder_resources: 1,
            initiator_depth: 1,
            local_ca_guid: 0,
            target_ack_delay: 0,
            flow_control: 0,
            rnr_retry_count: 7,
            shared_receive_queue: 0,
        };
        self.say(i, Side::Client, CmMessage::Req(req));
        self.say(i, Side::Server, CmMessage::Rep(rep));
    }

    fn set_up(&mut self, i: u32, id: u32, psn: u32) {
        self.agree(i, id, psn);
        let rtu = CmRtuRepr { local_comm_id: id, remote_comm_id: !id };
        self.say(i, Side::Client, CmMessage::Rtu(rtu));
    }

    fn take_down(&mut self, i: u32, id: u32) {
        let (local_comm_id, remote_comm_id) = (id, !id);
        let dreq = CmDreqRepr { local_comm_id, remote_comm_id, remote_qpn: link(i).peer_qpn };
        self.say(i, Side::Client, CmMessage::Dreq(dreq));
    }

    fn ask(&mut self, i: u32, psn: u32) -> (usize, bool) {
        self.offer(Side::Client, &request(i, psn))
    }

    fn answer(&mut self, i: u32, psn: u32) -> (usize, bool) {
        self.offer(Side::Server, &response(i, psn))
    }

    /// Sets a connection up and has it translated.
    fn flip(&mut self, i: u32, id: u32, psn: u32) {
        let flips = self.host.counters().flips;
        self.set_up(i, id, psn);
        for psn in psn..psn + 6 {
            assert_eq!((self.ask(i, psn).0, self.answer(i, psn).0), (1, 1));
        }
        assert_eq!(self.host.counters().flips, flips + 1);
    }

    fn dropped(&self) -> u64 {
        self.host.counters().dropped(DropReason::Ended)
    }
}

fn request(i: u32, psn: u32) -> Vec<u8> {
    link(i).frame(&packets::write(Psn::new(psn), &[0; RECORD])).unwrap()
}

fn response(i: u32, psn: u32) -> Vec<u8> {
    let msn = psn.wrapping_sub(START) + 1;
    link(i).reversed().frame(&packets::answer(Psn::new(psn), ACK, msn)).unwrap()
}

/// The same frame with a VLAN tag, which its ICRC does not cover.
fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    frame
}

/// As from a loop in the network, and far from where the connection is.
#[test]
fn a_connection_does_not_end_by_packets_from_the_wrong_side() {
    let mut world = World::new(8);
    world.flip(0, 5, START);
    for psn in LATER..LATER + 8 {
        assert_eq!(world.offer(Side::Server, &request(0, psn)), (1, true), "it passes");
        assert_eq!(world.offer(Side::Client, &response(0, psn)), (1, true), "it passes");
    }
    let passed = world.host.counters().passed;
    assert_eq!((world.ask(0, START + 6).0, world.answer(0, START + 6).0), (1, 1));
    assert_eq!((world.host.counters().passed, world.dropped()), (passed, 0), "it is translated");
}

#[test]
fn nobody_makes_a_connection_up_from_one_side() {
    for side in [Side::Client, Side::Server] {
        let mut world = World::new(8);
        for psn in START..START + 20 {
            assert_eq!(world.offer(side, &request(0, psn)), (1, true));
            assert_eq!(world.offer(side, &response(0, psn)), (1, true));
        }
        assert_eq!(world.host.counters().learnt, 0, "{side:?}");
    }
}

#[test]
fn a_translated_connection_takes_no_packet_with_a_tag_that_it_has_not() {
    let mut world = World::new(8);
    world.flip(0, 5, START);
    assert_eq!(world.ask(0, START + 6).0, 1);
    for frame in [request(0, START + 6), request(0, START + 7), request(0, START + 3)] {
        assert_eq!(world.offer(Side::Client, &tagged(frame)), (0, false));
    }
    assert_eq!(world.offer(Side::Server, &tagged(response(0, START + 6))), (0, false));
    assert_eq!(world.host.counters().dropped(DropReason::TagUnlike), 4);
    assert_eq!((world.answer(0, START + 6).0, world.ask(0, START + 7).0), (1, 1));
}

#[test]
fn what_is_late_after_the_end_does_not_pass() {
    let mut world = World::new(8);
    world.flip(0, 5, START);
    world.take_down(0, 5);
    assert_eq!(world.ask(0, START + 6), (0, false), "a late request");
    assert_eq!(world.answer(0, START + 3), (0, false), "a late answer");
    assert_eq!(world.dropped(), 1);
    world.now += Config::default().packet_lifetime_ns;
    assert_eq!(world.ask(0, LATER), (1, true), "it is another connection's");
    assert_eq!(world.dropped(), 1);
}

#[test]
fn what_is_late_before_the_flip_passes() {
    let mut world = World::new(8);
    world.set_up(0, 5, START);
    assert_eq!(world.ask(0, START), (1, true));
    world.take_down(0, 5);
    assert_eq!(world.ask(0, START), (1, true));
    assert_eq!(world.dropped(), 0);
}

#[test]
fn queue_pair_numbers_that_are_used_again_are_the_new_connections() {
    for rtu_is_seen in [true, false] {
        let mut world = World::new(8);
        world.flip(0, 5, START);
        world.take_down(0, 5);
        world.agree(0, 6, LATER);
        if rtu_is_seen {
            world.say(
                0,
                Side::Client,
                CmMessage::Rtu(CmRtuRepr { local_comm_id: 6, remote_comm_id: !6 }),
            );
        }
        assert_eq!(world.ask(0, LATER), (1, true), "RTU seen: {rtu_is_seen}");
        assert_eq!(world.host.counters().learnt, 2);
    }
}

/// Without a word of its end: what it has open does not come to the new one's server queue pair.
#[test]
fn a_connection_that_is_replaced_is_given_up() {
    let mut world = World::new(8);
    world.flip(0, 5, START);
    assert_eq!(world.ask(0, START + 6).0, 1);
    world.set_up(0, 6, LATER);
    assert_eq!(world.host.counters().server_qps_lost, 1);
    assert_eq!(world.ask(0, LATER), (1, true));
    let mut sent = 0;
    world.host.timeout(Nanos(world.now + 1_000_000_000), &mut |_, _| sent += 1);
    assert_eq!(sent, 0, "nothing is repeated");
}

#[test]
fn a_place_is_not_given_away_while_packets_may_be_late() {
    let mut world = World::new(1);
    world.flip(0, 5, START);
    world.take_down(0, 5);
    world.set_up(1, 6, START);
    assert_eq!((world.host.counters().learnt, world.host.counters().not_adopted), (1, 1));
    assert_eq!(world.ask(1, START), (1, true), "it passes");
    world.take_down(1, 6);
    world.now += Config::default().packet_lifetime_ns;
    world.flip(2, 7, START);
    assert_eq!((world.host.counters().learnt, world.host.counters().not_adopted), (2, 1));
}

#[test]
fn a_translated_connection_stays_so_however_long_it_is_idle() {
    let mut world = World::new(1);
    world.flip(0, 5, START);
    world.now += 600_000_000_000;
    world.set_up(1, 6, START);
    let passed = world.host.counters().passed;
    assert_eq!((world.ask(0, START + 6).0, world.answer(0, START + 6).0), (1, 1));
    assert_eq!(world.host.counters().passed, passed, "it is translated");
}
