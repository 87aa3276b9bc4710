//! Connections by the operator's word.

use super::handshake::Shake;
use super::*;
use crate::connections::{ConfigureError, ConnectionId, EndReason, Evidence};

fn configure(watch: &mut Watch, pair: &Pair) -> Result<ConnectionId, ConfigureError> {
    let client = (ip(pair.client_ip), Qpn::new(pair.client_qpn));
    let server = (ip(SERVER_IP), Qpn::new(pair.server_qpn));
    let result = watch.learner.configure(watch.now_ns, client, server);
    watch.events.extend(std::iter::from_fn(|| watch.learner.poll_event()));
    result
}

fn pair() -> Pair {
    Pair::new(2, 0x11, 0x12, 100)
}

#[test]
fn the_operator_need_not_be_convinced() {
    let mut watch = Watch::new(small());
    let pair = pair().with_ports([0xc001, 0xc002]);
    let id = configure(&mut watch, &pair).unwrap();
    assert_eq!(watch.learnt(), [pair.names()]);
    let connection = *watch.learner.connection(id).unwrap();
    assert_eq!((connection.evidence, connection.pinned), (Evidence::Configured, true));
    let sighting = watch.see(&pair.request(100, Verb::Write)).unwrap();
    assert_eq!((sighting.connection, sighting.from_client), (id, true));
    watch.see(&pair.answer(100, Verb::Write));
    let connection = *watch.learner.connection(id).unwrap();
    assert_eq!((connection.client.mac, connection.server.mac), (mac(2), mac(SERVER_IP)));
    assert_eq!((connection.source_port_request, connection.source_port_response), (0xc001, 0xc002));
    assert_eq!(watch.learner.counters().configured, 1);
}

#[test]
fn saying_it_twice_is_once() {
    let mut watch = Watch::new(small());
    let id = configure(&mut watch, &pair()).unwrap();
    assert_eq!(configure(&mut watch, &pair()), Ok(id));
    let other = Pair { server_qpn: 0x99, ..pair() };
    assert_eq!(configure(&mut watch, &other), Err(ConfigureError::Taken(id)));
    assert_eq!(watch.learnt().len(), 1);
}

#[test]
fn what_traffic_showed_gives_way() {
    let mut watch = Watch::new(small());
    let mut learnt = pair();
    (0..3).for_each(|_| watch.round_trip(&mut learnt, Verb::Write));
    let id = watch.learner.connections().next().unwrap().id;
    // It is what the operator says, too: the same connection, better known.
    assert_eq!(configure(&mut watch, &pair()), Ok(id));
    assert_eq!(watch.learner.connection(id).unwrap().evidence, Evidence::Configured);
    assert_eq!(watch.events.len(), 1);

    let mut watch = Watch::new(small());
    let mut learnt = pair();
    (0..3).for_each(|_| watch.round_trip(&mut learnt, Verb::Write));
    let other = Pair { server_qpn: 0x99, ..pair() };
    configure(&mut watch, &other).unwrap();
    let ended = watch
        .events
        .iter()
        .any(|event| matches!(event, Event::ConnectionEnded { reason: EndReason::NewEpoch, .. }));
    assert!(ended);
    assert_eq!(watch.learnt(), [pair().names(), other.names()]);
}

#[test]
fn a_handshake_adds_its_facts() {
    let mut watch = Watch::new(small());
    let shake = Shake::new(pair());
    let id = configure(&mut watch, &shake.pair).unwrap();
    [shake.req(), shake.rep(), shake.rtu(), shake.rtu()].iter().for_each(|frame| {
        watch.see(frame);
    });
    let connection = *watch.learner.connection(id).unwrap();
    assert_eq!(connection.evidence, Evidence::Configured);
    assert_eq!(connection.cm.unwrap().client_psn, Psn::new(100));
    assert_eq!(watch.events.len(), 1);
    watch.see(&shake.dreq(true));
    assert_eq!(watch.learner.connections().count(), 0);
}

/// The operator calls the end a client that the connection manager calls the server.
#[test]
fn the_operator_says_who_is_the_client() {
    let mut watch = Watch::new(small());
    let shake = Shake::new(pair());
    let (client, server) = ((ip(SERVER_IP), Qpn::new(0x12)), (ip(2), Qpn::new(0x11)));
    let id = watch.learner.configure(0, client, server).unwrap();
    [shake.req(), shake.rep(), shake.rtu()].iter().for_each(|frame| {
        watch.see(frame);
    });
    let facts = watch.learner.connection(id).unwrap().cm.unwrap();
    assert_eq!((facts.client_psn, facts.server_psn), (Psn::new(0x70_0000), Psn::new(100)));
    assert_eq!((facts.depth, facts.client_depth), (2, 8));
    // Another handshake is another connection, which goes by the same roles.
    let mut data = shake.pair;
    watch.round_trip(&mut data, Verb::Write);
    let again = Shake { ids: [5, 6], ..Shake::new(Pair { psn: 9_000_000, ..pair() }) };
    [again.req(), again.rep(), again.rtu()].iter().for_each(|frame| {
        watch.see(frame);
    });
    assert_eq!(watch.learner.connection(id), None);
    let new = *watch.learner.connections().next().unwrap();
    assert_eq!((new.evidence, new.client.ip), (Evidence::Configured, ip(SERVER_IP)));
    assert_eq!((new.client.mac, new.server.mac), (mac(SERVER_IP), mac(2)));
    assert_eq!(new.cm.unwrap().server_psn, Psn::new(9_000_000));
    watch.see(&again.dreq(true));
    assert_eq!(watch.learner.connections().count(), 0);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut watch = Watch::new(small());
    let (one, other) = (ip(1), ip(2));
    let six = IpAddr::V6(core::net::Ipv6Addr::LOCALHOST);
    let good = Qpn::new(17);
    let mut refused = |a, b| watch.learner.configure(0, a, b).unwrap_err();
    assert_eq!(refused((one, good), (one, Qpn::new(18))), ConfigureError::Addresses);
    assert_eq!(refused((one, good), (six, good)), ConfigureError::Addresses);
    for special in [0, 1, 0xff_ffff].map(Qpn::new) {
        assert_eq!(refused((one, special), (other, good)), ConfigureError::QueuePair(special));
        assert_eq!(refused((one, good), (other, special)), ConfigureError::QueuePair(special));
    }
    let text = std::format!("{}", refused((one, Qpn::new(0xff_ffff)), (other, good)));
    assert_eq!(text, "queue pair 0xffffff has another use, must be 2 to 0xfffffe");
}

#[test]
fn full_tables_say_so() {
    let mut watch = Watch::new(Config { flows_max: 6, connections_max: 2, ..Config::default() });
    let pair = |i: u32| Pair::new(2, 0x20 + i, 0x30 + i, 0);
    configure(&mut watch, &pair(0)).unwrap();
    configure(&mut watch, &pair(1)).unwrap();
    watch.now_ns += 1 << 60;
    // The two are pinned, however long they are idle.
    assert_eq!(configure(&mut watch, &pair(2)), Err(ConfigureError::NoRoom));
    assert_eq!(watch.learner.connections().count(), 2);
    let mut watch = Watch::new(Config { flows_max: 3, connections_max: 2, ..Config::default() });
    configure(&mut watch, &pair(0)).unwrap();
    assert_eq!(configure(&mut watch, &pair(1)), Err(ConfigureError::NoRoom));
    assert_eq!(configure(&mut watch, &pair(0)).map(ConnectionId::index), Ok(0));
}
