//! More comes in than the loop or its tables can take.

use qpmux_engine::policy::Map;
use qpmux_engine::wire::Psn;
use qpmux_engine::{BURST_MAX, Config, Nanos, Side};
use qpmux_sim::rc::{Requester, RequesterConfig, Verb};

use super::translated::{connection, links};
use super::{MemoryHost, MemoryPort, engine, engine_with, host};

/// As many requests of a client as it sends at once, each a READ.
fn requests(client: u32, count: usize) -> Vec<Vec<u8>> {
    let config = RequesterConfig::new(links(client).0, Psn::new(1_000 * client));
    let mut requester = Requester::new(RequesterConfig { max_rd_atomic: count, ..config });
    for _ in 0..count {
        requester.post(Verb::Read { address: 0x10_0000, rkey: 1, length: 64 });
    }
    let mut buffer = vec![0; 256];
    let mut frame = || requester.poll_transmit(0, &mut buffer).map(|len| buffer[..len].to_vec());
    (0..count).map(|_| frame().unwrap()).collect()
}

/// Between clients that are translated, with room for so many requests.
fn between(requests_max: u32) -> (MemoryHost, MemoryPort, MemoryPort) {
    let config = Config { requests_max, ..Config::default() };
    let connections = (0..2).map(connection).collect();
    host(engine_with(config, Map::Writes, connections, vec![]), 512)
}

fn dropped(host: &MemoryHost) -> Vec<(&'static str, u64)> {
    host.engine().counters().drops_by_name().collect()
}

#[test]
fn a_full_table_has_room_for_those_who_have_little_in_it() {
    let (mut host, client, server) = between(8);
    requests(0, 8).iter().for_each(|frame| client.put(frame));
    requests(1, 1).iter().for_each(|frame| client.put(frame));
    host.turn(Nanos(1));
    assert_eq!(server.take_sent().len(), 4 + 1);
    assert_eq!(dropped(&host), [("request_gap", 3), ("table_full", 1)]);
}

#[test]
fn beyond_a_gap_nobody_asks_whether_a_request_is_intact() {
    let (mut host, client, server) = between(64);
    let mut frames = requests(0, 4);
    frames.iter_mut().skip(1).for_each(|frame| *frame.last_mut().unwrap() ^= 1);
    // The first is taken, and the second is corrupt.
    frames[..2].iter().for_each(|frame| client.put(frame));
    host.turn(Nanos(1));
    assert_eq!(dropped(&host), [("icrc_bad", 1)]);
    // The third shows the gap, once it is intact, and then the last need not be.
    *frames[2].last_mut().unwrap() ^= 1;
    frames[2..].iter().for_each(|frame| client.put(frame));
    host.turn(Nanos(2));
    assert_eq!(dropped(&host), [("icrc_bad", 1), ("request_gap", 2)]);
    assert_eq!(server.take_sent().len(), 1);
}

#[test]
fn while_a_port_loses_frames_a_client_that_had_its_turn_is_shed() {
    let (mut host, client, server) = host(engine(Map::None, vec![], vec![]), 512);
    let frame = &requests(0, 1)[0];
    let other = &requests(1, 1)[0];
    let full = |host: &mut MemoryHost, from: u64| {
        for turn in 0..10 {
            (0..BURST_MAX).for_each(|_| client.put(frame));
            host.turn(Nanos(from + 1_000 * turn));
        }
    };
    full(&mut host, 1);
    assert_eq!(host.port_counters(Side::Client).0.overload, 0);
    client.0.borrow_mut().missed = 1;
    full(&mut host, 30_000_000);
    let shed = host.port_counters(Side::Client).0.overload;
    assert!(shed > 5 * BURST_MAX as u64, "{shed}");
    let passed = server.take_sent().len() as u64;
    assert_eq!(passed + shed, 20 * BURST_MAX as u64);
    client.put(other);
    host.turn(Nanos(30_020_000));
    assert_eq!(server.take_sent().len(), 1);
    assert_eq!((host.kept(), host.broken()), (0, 0));
}
