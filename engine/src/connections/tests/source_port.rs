//! Evidence by UDP source port.

use super::*;
use crate::connections::Evidence;

#[test]
fn the_hash_is_the_kernels() {
    // Seen on ConnectX-5 and on soft-RoCE.
    for (one, other, port) in
        [(0x5434, 0x8d7c, 61437), (0x5435, 0x8d7d, 52256), (0x5d, 0x5b, 57615), (0x11, 0x12, 49458)]
    {
        assert_eq!(symmetric_port(Qpn::new(one), Qpn::new(other)), port);
        assert_eq!(symmetric_port(Qpn::new(other), Qpn::new(one)), port);
    }
    // A product of more than 40 bits: every fold counts.
    let product = 0xff_fffe_u64 * 0xff_fffd;
    let folded = product ^ (product >> 20) ^ ((product ^ (product >> 20)) >> 40);
    let port = (folded & 0x3fff) as u16 ^ (folded >> 14 & 0x3f) as u16 | 0xc000;
    assert_eq!(symmetric_port(Qpn::new(0xff_fffe), Qpn::new(0xff_fffd)), port);
}

#[test]
fn it_takes_two_round_trips() {
    let mut watch = Watch::new(small());
    let mut pair = Pair::new(2, 0x11, 0x12, 100);
    watch.round_trip(&mut pair, Verb::Write);
    assert_eq!(watch.learnt(), []);
    // The same answer again is not another round trip.
    watch.see(&pair.answer(100, Verb::Write));
    assert_eq!(watch.learnt(), []);
    watch.round_trip(&mut pair, Verb::Cas);
    assert_eq!(watch.learnt(), [pair.names()]);
    let connection = watch.learner.connections().next().copied().unwrap();
    assert_eq!(connection.evidence, Evidence::SourcePort);
    assert_eq!((connection.client.mac, connection.server.mac), (mac(2), mac(SERVER_IP)));
    assert_eq!(connection.source_port_request, pair.ports[0]);
    assert_eq!(connection.evidence.name(), "source-port");
    // From now on every frame is known, both ways.
    let request = watch.see(&pair.request(pair.psn, Verb::Write)).unwrap();
    assert_eq!((request.connection, request.from_client), (connection.id, true));
    let answer = watch.see(&pair.answer(pair.psn, Verb::Write)).unwrap();
    assert_eq!((answer.connection, answer.from_client), (connection.id, false));
}

#[test]
fn answers_in_flight_are_one_round_trip() {
    let mut watch = Watch::new(small());
    let pair = Pair::new(2, 0x11, 0x12, 0);
    (0..8).for_each(|psn| {
        watch.see(&pair.request(psn, Verb::Write));
    });
    (0..8).for_each(|psn| {
        watch.see(&pair.answer(psn, Verb::Write));
    });
    assert_eq!(watch.learnt(), []);
    watch.see(&pair.request(8, Verb::Write));
    watch.see(&pair.answer(8, Verb::Write));
    assert_eq!(watch.learnt(), [pair.names()]);
}

#[test]
fn crossed_queue_pairs_share_a_port_and_are_told_apart() {
    let mut pairs = [Pair::new(2, 0x61, 0x62, 0), Pair::new(2, 0x62, 0x61, 0)];
    assert_eq!(pairs[0].ports, pairs[1].ports);
    let mut watch = Watch::new(small());
    for _ in 0..3 {
        // In perfect step: PSNs tell nothing.
        for pair in &pairs {
            watch.see(&pair.request(pair.psn, Verb::Write));
        }
        for pair in pairs.iter_mut().rev() {
            watch.see(&pair.answer(pair.psn, Verb::Write));
            pair.psn += 1;
        }
    }
    assert_eq!(watch.learnt().len(), 2);
    assert_eq!(watch.wrong(&pairs), 0);
}

#[test]
fn equal_ports_without_the_product_prove_nothing() {
    let config = Config { psn: false, ..small() };
    let mut watch = Watch::new(config);
    let port = symmetric_port(Qpn::new(0x11), Qpn::new(0x12)) ^ 1;
    let mut pair = Pair::new(2, 0x11, 0x12, 0).with_ports([port, port]);
    (0..50).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    assert_eq!(watch.learnt(), []);
    // Nor does the product if only one direction uses it.
    let mut watch = Watch::new(config);
    let mut pair = Pair::new(2, 0x11, 0x12, 0).with_ports([port ^ 1, port]);
    (0..50).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    assert_eq!(watch.learnt(), []);
}

#[test]
fn ports_without_matching_sequence_numbers_prove_nothing() {
    let mut watch = Watch::new(small());
    let pair = Pair::new(2, 0x11, 0x12, 0);
    for psn in 0..50 {
        watch.see(&pair.request(psn, Verb::Write));
        watch.see(&pair.answer(psn + 5000, Verb::Write));
        // Right PSN, wrong kind.
        watch.see(&pair.answer(psn, Verb::Cas));
    }
    assert_eq!(watch.learnt(), []);
}

#[test]
fn it_can_be_switched_off() {
    let mut watch = Watch::new(Config { source_port: false, psn: false, ..small() });
    let mut pair = Pair::new(2, 0x11, 0x12, 0);
    (0..50).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    assert_eq!(watch.learnt(), []);
    assert_eq!(watch.learner.unpaired_flows().count(), 2);
}
