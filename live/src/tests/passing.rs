//! The loop without any connection: everything passes, bounded, and what is lost is counted.

use std::io;

use qpmux_engine::policy::Map;
use qpmux_engine::{BURST_MAX, Nanos, Side};

use super::{engine, host};
use crate::port::SendFailure;

fn frame(number: usize) -> Vec<u8> {
    let mut frame = vec![0xaa; 60 + number % 7];
    frame[..8].copy_from_slice(&number.to_be_bytes());
    frame
}

#[test]
fn frames_pass_both_ways_untouched_and_in_order() {
    let (mut host, client, server) = host(engine(Map::None, vec![], vec![]), 512);
    let frames: Vec<_> = (0..3 * BURST_MAX + 5).map(frame).collect();
    frames.iter().for_each(|frame| client.put(frame));
    frames.iter().rev().for_each(|frame| server.put(frame));
    for _ in 0..4 {
        host.turn(Nanos(1));
    }
    assert_eq!(server.take_sent(), frames);
    assert!(client.take_sent().iter().eq(frames.iter().rev()));
    let (counters, _) = host.port_counters(Side::Client);
    assert_eq!((counters.received, counters.sent), (197, 197));
    assert_eq!((host.kept(), host.broken()), (0, 0));
    assert_eq!(host.engine().counters().passed, 2 * 197);
}

#[test]
fn one_turn_takes_one_burst_of_each_side() {
    let (mut host, client, server) = host(engine(Map::None, vec![], vec![]), 512);
    (0..BURST_MAX + 1).for_each(|number| client.put(&frame(number)));
    server.put(&frame(0));
    host.turn(Nanos(1));
    assert_eq!((client.waiting(), server.waiting()), (1, 0));
}

#[test]
fn what_is_too_long_is_dropped_alone() {
    let (mut host, client, server) = host(engine(Map::None, vec![], vec![]), 256);
    client.put(&[0; 2_049]);
    client.put(&[1; 2_048]);
    host.turn(Nanos(1));
    assert_eq!(server.take_sent(), [vec![1; 2_048]]);
    let (counters, _) = host.port_counters(Side::Client);
    assert_eq!((counters.received, counters.receive_too_long), (1, 1));
}

#[test]
fn without_buffers_frames_of_clients_are_lost_first() {
    // As many as are reserved for the servers' answers.
    let (mut host, client, server) = host(engine(Map::None, vec![], vec![]), 64);
    client.put(&frame(1));
    server.put(&frame(2));
    host.turn(Nanos(1));
    assert_eq!((server.take_sent().len(), client.take_sent().len()), (0, 1));
    assert_eq!(host.port_counters(Side::Client).0.pool_exhausted, 1);
    assert_eq!(host.port_counters(Side::Server).0.pool_exhausted, 0);
    assert_eq!(client.waiting(), 0);
}

#[test]
fn failures_of_the_interface_are_counted_by_kind() {
    let (mut host, client, server) = host(engine(Map::None, vec![], vec![]), 256);
    let kinds =
        [SendFailure::QueueFull, SendFailure::TooLong, SendFailure::LinkDown, SendFailure::Other];
    for kind in kinds {
        server.0.borrow_mut().refuses = Some(kind);
        client.put(&frame(0));
        host.turn(Nanos(1));
    }
    let down = io::Error::from(io::ErrorKind::NetworkDown);
    server.0.borrow_mut().refuses = None;
    client.0.borrow_mut().waiting.push_back(Err(down));
    client.put(&frame(1));
    host.turn(Nanos(1));
    host.turn(Nanos(2));
    let (there, _) = host.port_counters(Side::Server);
    let refused = [there.send_queue_full, there.send_too_long, there.send_link_down];
    assert_eq!((refused, there.send_refused, there.sent), ([1; 3], 1, 1));
    assert_eq!(host.port_counters(Side::Client).0.receive_errors, 1);
    assert_eq!((host.kept(), host.broken()), (0, 0));
}
