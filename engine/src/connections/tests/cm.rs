//! What the connection manager's messages teach, whatever happens to them on the way.

use proptest::prelude::*;

use super::handshake::Shake;
use super::*;
use crate::connections::{CmFacts, EndReason, Evidence};
use crate::wire::CmMessage;
use crate::wire::cm::{CmReqRepr, gid_of_address};

fn shake() -> Shake {
    Shake::new(Pair::new(2, 0x11, 0x12, 100))
}

/// After REQ and REP.
fn replied() -> (Watch, Shake) {
    let (mut watch, shake) = (Watch::new(small()), shake());
    watch.see(&shake.req());
    watch.see(&shake.rep());
    (watch, shake)
}

fn known() -> (Watch, Shake) {
    let (mut watch, shake) = replied();
    watch.see(&shake.rtu());
    assert_eq!(watch.learnt(), [shake.pair.names()]);
    watch.events.clear();
    (watch, shake)
}

fn only(watch: &Watch) -> Connection {
    let mut all = watch.learner.connections();
    let first = *all.next().expect("there is one");
    assert!(all.next().is_none(), "there is but one");
    first
}

fn endings(watch: &Watch) -> Vec<EndReason> {
    let ended = watch.events.iter().filter_map(|event| match event {
        Event::ConnectionEnded { reason, .. } => Some(*reason),
        Event::ConnectionLearnt(_) => None,
    });
    ended.collect()
}

#[test]
fn a_handshake_tells_all_there_is_to_know() {
    let (mut watch, shake) = replied();
    assert_eq!(watch.events, [], "nothing is true before the RTU");
    watch.see(&shake.rtu());
    let connection = only(&watch);
    assert_eq!(names(&connection), shake.pair.names());
    assert_eq!((connection.client.mac, connection.server.mac), (mac(2), mac(SERVER_IP)));
    assert_eq!(connection.evidence, Evidence::Cm);
    let facts = CmFacts {
        client_comm_id: shake.ids[0],
        server_comm_id: shake.ids[1],
        // The client begins where the server's REP says, and the other way round.
        client_psn: shake.rep_repr().starting_psn,
        server_psn: shake.req_repr().starting_psn,
        path_mtu: 2048,
        depth: 8,
        client_depth: 2,
        partition_key: 0x8001,
        retry_count: 7,
        rnr_retry_count: 5,
        local_ack_timeout: 14,
    };
    assert_eq!(connection.cm, Some(facts));
    assert_eq!(facts.client_psn, Psn::new(100));
    assert_eq!(facts.ack_timeout_ns(), Some(67_108_864));
    assert_eq!(CmFacts { local_ack_timeout: 0, ..facts }.ack_timeout_ns(), None);
    assert_eq!(watch.learner.counters().learnt_by_cm, 1);
    assert_eq!(watch.learner.counters().cm_messages, 3);
    assert_eq!(watch.learner.counters().cm_ignored, 0);
}

#[test]
fn ports_are_known_from_the_first_packets_on() {
    let (mut watch, shake) = known();
    let connection = only(&watch);
    assert_eq!((connection.source_port_request, connection.source_port_response), (0, 0));
    let pair = shake.pair.with_ports([0xc111, 0xc222]);
    let sighting = watch.see(&pair.request(100, Verb::Write)).unwrap();
    assert_eq!((sighting.connection, sighting.from_client), (connection.id, true));
    let sighting = watch.see(&pair.answer(100, Verb::Write)).unwrap();
    assert_eq!((sighting.connection, sighting.from_client), (connection.id, false));
    let connection = only(&watch);
    assert_eq!((connection.source_port_request, connection.source_port_response), (0xc111, 0xc222));
}

#[test]
fn every_message_may_come_again_or_be_put_off() {
    let (mut watch, shake) = (Watch::new(small()), shake());
    for frame in [
        shake.req(),
        shake.req(),
        shake.mra(false),
        shake.rep(),
        shake.req(),
        shake.mra(true),
        shake.rep(),
    ] {
        watch.see(&frame);
    }
    assert_eq!(watch.events, []);
    for frame in [shake.rtu(), shake.rep(), shake.rtu(), shake.req(), shake.rep(), shake.rtu()] {
        watch.see(&frame);
    }
    assert_eq!((watch.learnt(), endings(&watch)), (std::vec![shake.pair.names()], std::vec![]));
    assert_eq!(only(&watch).epoch, 0);
}

#[test]
fn the_first_packet_that_fits_stands_for_a_lost_rtu() {
    for (psn, is_request, learnt) in [
        (100, true, 1),
        (100, false, 1),
        (100 + 1023, true, 1),
        (100 + 1024, true, 0),
        (99, true, 0),
        (0x70_0000, true, 0),
    ] {
        let (mut watch, shake) = replied();
        let frame = match is_request {
            true => shake.pair.request(psn, Verb::Write),
            false => shake.pair.answer(psn, Verb::Write),
        };
        let sighting = watch.see(&frame);
        assert_eq!(watch.learnt().len(), learnt, "{psn} {is_request}");
        assert_eq!(sighting.map(|seen| seen.from_client), (learnt == 1).then_some(is_request));
        if learnt == 1 {
            assert_eq!(only(&watch).evidence, Evidence::Cm);
        }
    }
    // A request of the server's own, at the PSN that the client has asked for.
    let (mut watch, shake) = replied();
    let server = Pair { psn: 0x70_0000, ..shake.pair };
    let mut frame = server.answer(0x70_0000, Verb::Write);
    assert_eq!(frame[42], Opcode::Acknowledge.to_byte());
    frame[42] = Opcode::SendOnly.to_byte();
    watch.see(&frame);
    assert_eq!(watch.learnt(), [shake.pair.names()]);
}

#[test]
fn a_rejected_handshake_is_forgotten() {
    for (with_rep, from_client) in [(false, false), (true, false), (true, true)] {
        let (mut watch, shake) = (Watch::new(small()), shake());
        watch.see(&shake.req());
        if with_rep {
            watch.see(&shake.rep());
        }
        watch.see(&shake.rej(from_client));
        assert_eq!(watch.learner.counters().handshakes_rejected, 1);
        watch.see(&shake.rep());
        watch.see(&shake.rtu());
        watch.see(&shake.pair.request(100, Verb::Write));
        assert_eq!(watch.events, []);
    }
}

#[test]
fn a_rejection_of_something_else_is_not_one() {
    let (mut watch, shake) = replied();
    let stranger = Shake { ids: [shake.ids[0] + 1, shake.ids[1]], ..shake };
    watch.see(&stranger.rej(true));
    watch.see(&stranger.rej(false));
    watch.see(&shake.rtu());
    assert_eq!(watch.learnt(), [shake.pair.names()]);
}

/// A server that waits for an RTU in vain rejects, which takes the client's connection down.
#[test]
fn a_late_rejection_takes_down() {
    let (mut watch, shake) = known();
    watch.see(&shake.rej(false));
    assert_eq!(endings(&watch), [EndReason::Teardown]);
}

#[test]
fn each_end_may_take_down() {
    for from_client in [false, true] {
        for frames in [
            std::vec![Shake::dreq as fn(&Shake, bool) -> Vec<u8>],
            std::vec![Shake::drep],
            // Crossing, and each sent again.
            std::vec![Shake::dreq, Shake::drep, Shake::dreq, Shake::dreq, Shake::drep],
        ] {
            let (mut watch, shake) = known();
            for (i, frame) in (0..).zip(frames) {
                watch.see(&frame(&shake, from_client ^ (i % 2 == 1)));
            }
            assert_eq!(endings(&watch), [EndReason::Teardown]);
            assert_eq!(watch.learner.counters().teardowns, 1);
            assert_eq!(watch.learner.counters().epochs_ended, 0);
            assert_eq!(watch.learner.connections().count(), 0);
        }
    }
}

#[test]
fn a_teardown_of_something_else_is_not_one() {
    let (mut watch, shake) = known();
    let mut dreq = shake;
    dreq.pair.server_qpn += 1;
    watch.see(&dreq.dreq(true));
    for ids in [[shake.ids[0] + 1, shake.ids[1]], [shake.ids[0], shake.ids[1] + 1]] {
        let stranger = Shake { ids, ..shake };
        watch.see(&stranger.dreq(true));
        watch.see(&stranger.drep(false));
    }
    let mut elsewhere = shake;
    elsewhere.pair.client_ip = 3;
    watch.see(&elsewhere.dreq(true));
    assert_eq!(watch.events, []);
    assert_eq!(watch.learner.counters().cm_ignored, 6);
}

/// Learnt from its traffic, as the handshake was before our time.
#[test]
fn a_connection_without_handshake_is_taken_down_by_its_number() {
    let mut watch = Watch::new(small());
    let mut shake = shake();
    (0..2).for_each(|_| watch.round_trip(&mut shake.pair, Verb::Write));
    assert_eq!(only(&watch).evidence, Evidence::SourcePort);
    watch.see(&shake.dreq(true));
    assert_eq!(endings(&watch), [EndReason::Teardown]);
}

#[test]
fn numbers_that_are_used_again_begin_a_new_epoch() {
    let (mut watch, mut old) = known();
    (0..4).for_each(|_| watch.round_trip(&mut old.pair, Verb::Write));
    let new = Shake { ids: [7, 8], ..Shake::new(Pair { psn: 5_000_000, ..old.pair }) };
    watch.see(&new.req());
    watch.see(&new.rep());
    (0..4).for_each(|_| watch.round_trip(&mut old.pair, Verb::Write));
    assert_eq!(watch.events, [], "the old connection goes on");
    watch.see(&new.rtu());
    assert_eq!((endings(&watch), watch.learnt().len()), (std::vec![EndReason::NewEpoch], 1));
    let connection = only(&watch);
    assert_eq!((connection.epoch, connection.cm.unwrap().client_comm_id), (1, 7));
    // The new one has other ports and PSNs, and nothing suspects it.
    let mut pair = Pair { psn: 5_000_000, ..old.pair }.with_ports([0xc333, 0xc444]);
    (0..8).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    assert_eq!(endings(&watch).len(), 1);
    assert_eq!(only(&watch).source_port_request, 0xc333);
    // What the old one's peer still says about its end no longer counts.
    watch.see(&old.dreq(false));
    assert_eq!(endings(&watch).len(), 1);
}

/// The new connection will begin where the old one happens to be.
#[test]
fn the_old_connection_is_not_taken_for_the_new_one() {
    let (mut watch, mut old) = known();
    (0..4).for_each(|_| watch.round_trip(&mut old.pair, Verb::Write));
    let new = Shake { ids: [7, 8], ..Shake::new(Pair { psn: old.pair.psn - 10, ..old.pair }) };
    watch.see(&new.req());
    watch.see(&new.rep());
    (0..20).for_each(|_| watch.round_trip(&mut old.pair, Verb::Write));
    assert_eq!(watch.events, []);
    // Another port shows that it is not the old one.
    watch.see(&new.pair.with_ports([0xc333, 0xc444]).request(new.pair.psn, Verb::Write));
    assert_eq!(endings(&watch), [EndReason::NewEpoch]);
}

#[test]
fn late_packets_of_an_earlier_connection_do_no_harm() {
    let (mut watch, mut shake) = known();
    watch.see(&shake.pair.request(5_000_000, Verb::Write));
    watch.see(&shake.pair.answer(5_000_000, Verb::Write));
    (0..8).for_each(|_| watch.round_trip(&mut shake.pair, Verb::Write));
    assert_eq!(watch.events, []);
}

#[test]
fn what_is_over_takes_no_room() {
    let mut watch = Watch::new(Config { handshakes_max: 2, connections_max: 2, ..small() });
    for id in 0..40 {
        let shake = Shake { ids: [id, 77 * id], ..shake() };
        [shake.req(), shake.rep(), shake.rtu()].iter().for_each(|frame| {
            watch.see(frame);
        });
        assert!(!watch.learner.handshakes.any_waits());
        watch.see(&shake.dreq(id % 2 == 0));
        watch.see(&shake.req());
        watch.see(&shake.rep());
        assert!(watch.learner.handshakes.any_waits());
        watch.see(&shake.rej(id % 2 == 0));
        assert!(!watch.learner.handshakes.any_waits());
    }
    assert_eq!((watch.learnt().len(), endings(&watch).len()), (40, 40));
    assert_eq!(watch.learner.counters().handshakes_evicted, 0);
}

#[test]
fn a_number_of_two_connections_belongs_to_the_newer_one() {
    let (mut watch, mut old) = known();
    watch.round_trip(&mut old.pair, Verb::Write);
    // The client's queue pair with another one of the server.
    let new = Shake::new(Pair::new(2, old.pair.client_qpn, 0x99, 7));
    let new = Shake { ids: [9, 9], ..new };
    [new.req(), new.rep()].iter().for_each(|frame| {
        watch.see(frame);
    });
    watch.see(&new.pair.request(7, Verb::Write));
    assert_eq!(
        (endings(&watch), only(&watch).server.qpn),
        (std::vec![EndReason::NewEpoch], Qpn::new(0x99))
    );
}

/// Data that came between REP and RTU was weighed first; the handshake then says more.
#[test]
fn the_handshake_outranks_what_traffic_showed() {
    let mut watch = Watch::new(Config { source_port_matches: 1, ..small() });
    let mut shake = shake();
    shake.pair.psn = 90_000;
    watch.see(&shake.req());
    watch.see(&shake.rep());
    // Too far ahead to be taken for the first packets.
    let mut data = Pair { psn: 91_500, ..shake.pair };
    watch.round_trip(&mut data, Verb::Write);
    assert_eq!(only(&watch).evidence, Evidence::SourcePort);
    watch.see(&shake.rtu());
    let connection = only(&watch);
    assert_eq!((connection.evidence, connection.epoch), (Evidence::Cm, 0));
    assert_eq!(connection.cm.unwrap().client_psn, Psn::new(90_000));
    watch.see(&shake.dreq(false));
    assert_eq!(endings(&watch), [EndReason::Teardown]);
}

#[test]
fn crossing_handshakes_are_two_connections() {
    let mut watch = Watch::new(small());
    let there = shake();
    // The same two hosts the other way, by the same names: addresses keep them apart.
    let back = |message| {
        let swapped = Shake { pair: Pair { server_qpn: 0x77, ..there.pair }, ..there };
        swapped.letter(matches!(message, CmMessage::Rep(_)), message)
    };
    let req = CmReqRepr {
        local_qpn: Qpn::new(0x66),
        local_gid: gid_of_address(ip(SERVER_IP)),
        remote_gid: gid_of_address(ip(2)),
        ..there.req_repr()
    };
    let rep = crate::wire::cm::CmRepRepr { local_qpn: Qpn::new(0x77), ..there.rep_repr() };
    watch.see(&there.req());
    watch.see(&back(CmMessage::Req(req)));
    watch.see(&there.rep());
    watch.see(&back(CmMessage::Rep(rep)));
    watch.see(&there.rtu());
    let [local_comm_id, remote_comm_id] = there.ids;
    let rtu = crate::wire::cm::CmRtuRepr { local_comm_id, remote_comm_id };
    watch.see(&back(CmMessage::Rtu(rtu)));
    let learnt = [there.pair.names(), (ip(SERVER_IP), 0x66, ip(2), 0x77)];
    assert_eq!(watch.learnt(), learnt);
}

#[test]
fn what_cannot_be_used_is_ignored() {
    let shake = shake();
    let good = shake.req_repr();
    let elsewhere = gid_of_address(ip(9));
    for req in [
        CmReqRepr { transport: 1, ..good },
        CmReqRepr { path_mtu: 0, ..good },
        CmReqRepr { path_mtu: 6, ..good },
        CmReqRepr { local_qpn: Qpn::new(1), ..good },
        CmReqRepr { local_qpn: Qpn::new(0xff_ffff), ..good },
        CmReqRepr { local_gid: elsewhere, ..good },
        CmReqRepr { remote_gid: elsewhere, ..good },
    ] {
        let mut watch = Watch::new(small());
        watch.see(&shake.letter(true, CmMessage::Req(req)));
        watch.see(&shake.rep());
        watch.see(&shake.rtu());
        assert_eq!((watch.events.len(), watch.learner.counters().cm_ignored), (0, 3), "{req:?}");
    }
    let mut watch = Watch::new(Config { cm: false, ..small() });
    [shake.req(), shake.rep(), shake.rtu()].iter().for_each(|frame| {
        watch.see(frame);
    });
    assert_eq!((watch.events.len(), watch.learner.counters().cm_messages), (0, 3));
}

#[test]
fn an_rtu_answers_the_rep_that_it_names() {
    let (mut watch, shake) = replied();
    watch.see(&Shake { ids: [shake.ids[0], 1], ..shake }.rtu());
    assert_eq!(watch.events, []);
    // A second REP takes the first one's place.
    let second = Shake { ids: [shake.ids[0], 2], ..shake };
    watch.see(&second.rep());
    watch.see(&shake.rtu());
    assert_eq!(watch.events, []);
    watch.see(&second.rtu());
    assert_eq!(only(&watch).cm.unwrap().server_comm_id, 2);
}

#[test]
fn slow_handshakes_expire_unless_somebody_speaks() {
    let timeout = small().handshake_timeout_ns;
    for (pause, mra, learnt) in
        [(timeout - 10_000, false, 1), (timeout, false, 0), (timeout, true, 1)]
    {
        let (mut watch, shake) = replied();
        if mra {
            watch.now_ns += timeout / 2;
            watch.see(&shake.mra(true));
            watch.now_ns -= timeout / 2;
        }
        watch.now_ns += pause;
        watch.see(&shake.pair.request(100, Verb::Write));
        assert_eq!(watch.learnt().len(), learnt, "{pause} {mra}");
        assert_eq!(watch.learner.counters().handshakes_expired, 1 - learnt as u64);
    }
}

#[test]
fn one_handshake_too_many_displaces_the_oldest() {
    let mut watch = Watch::new(Config { handshakes_max: 2, ..small() });
    let shakes = [0x20, 0x21, 0x22].map(|qpn| Shake::new(Pair::new(2, qpn, qpn + 0x100, 5)));
    watch.see(&shakes[0].req());
    watch.see(&shakes[1].req());
    // The older one speaks up.
    watch.see(&shakes[0].rep());
    watch.see(&shakes[2].req());
    watch.see(&shakes[2].rep());
    watch.see(&shakes[1].rep());
    shakes.iter().for_each(|shake| {
        watch.see(&shake.rtu());
    });
    assert_eq!(watch.learnt(), [shakes[0].pair.names(), shakes[2].pair.names()]);
    assert_eq!(watch.learner.counters().handshakes_evicted, 1);
}

/// A step of a hostile or unlucky peer: which connection, which message, from which end, how long
/// after the one before.
type Step = (usize, u8, bool, u64);

fn frame_of(shakes: &[Shake], (who, what, from_client, _): Step) -> Vec<u8> {
    let shake = &shakes[who];
    match what {
        0 | 1 => shake.req(),
        2 | 3 => shake.rep(),
        4 => shake.rtu(),
        5 => shake.rej(from_client),
        6 => shake.mra(from_client),
        7 => shake.dreq(from_client),
        8 => shake.drep(from_client),
        9 | 10 => shake.pair.request(shake.pair.psn + u32::from(what), Verb::Write),
        _ => shake.pair.answer(shake.pair.psn + u32::from(what), Verb::Write),
    }
}

proptest! {
    /// Messages in any order, of connections that share numbers and names: no panic, limits hold,
    /// what ends has been learnt, and only pairs that some handshake names are learnt.
    #[test]
    fn any_order_is_survived(
        steps in prop::collection::vec(
            (0_usize..8, 0_u8..12, any::<bool>(), 0_u64..100_000_000_000), 1..200),
    ) {
        let config = Config {
            flows_max: 6,
            connections_max: 2,
            handshakes_max: 3,
            source_port: false,
            psn: false,
            connection_idle_ns: 0,
            flow_idle_ns: 0,
            ..Config::default()
        };
        // Few numbers and names, so that they collide.
        let shakes: Vec<Shake> = (0..8).map(|i| Shake {
            ids: [i % 3, i % 2],
            server_psn: i * 1000,
            ..Shake::new(Pair::new(2 + (i % 2) as u8, 0x10 + i % 4, 0x20 + i % 3, i * 5000))
        }).collect();
        let mut watch = Watch::new(config);
        for step in steps {
            watch.now_ns += step.3;
            watch.see(&frame_of(&shakes, step));
            let paired = watch.learner.connections().count();
            prop_assert!(paired <= 2);
            prop_assert!(2 * paired + watch.learner.unpaired_flows().count() <= 6);
        }
        let learnt = watch.events.iter().filter(|e| matches!(e, Event::ConnectionLearnt(_)));
        let alive = learnt.count() - endings(&watch).len();
        prop_assert_eq!(alive, watch.learner.connections().count());
        let truth: Vec<Pair> = shakes.iter().map(|shake| shake.pair).collect();
        let qpns = |names: &(IpAddr, u32, IpAddr, u32)| (names.0, names.1);
        for names in watch.learnt() {
            prop_assert!(truth.iter().any(|pair| qpns(&pair.names()) == qpns(&names)));
        }
    }

    /// Any bytes in place of the message.
    #[test]
    fn any_message_is_survived(
        bodies in prop::collection::vec(
            (0x0f_u8..0x18, prop::collection::vec(any::<u8>(), 160)), 1..40),
    ) {
        let mut watch = Watch::new(Config { handshakes_max: 2, ..small() });
        for (id, body) in bodies {
            let mut frame = shake().req();
            frame[79] = id;
            frame[86..246].copy_from_slice(&body);
            watch.see(&frame);
        }
    }
}
