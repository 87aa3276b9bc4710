//! Connections that end make room for others in the engine's tables.

use super::handshake::Shake;
use super::*;
use crate::policy::{Directory, KeyMap, Map, Order, Policy, Profile, TrustBy};
use crate::{Config as EngineConfig, Engine, Frame, HEADROOM, Nanos, Out, ShardId, Side, Token};

/// An engine with room for two connections.
fn engine() -> Engine {
    let policy = Policy {
        map: Map::Writes,
        key_map: KeyMap::Modulo,
        server_qps: 1,
        trust: TrustBy::Observation,
        order: Order::Fenced,
        profile: Profile::keyless(),
        message_packets_max: 1,
        ..Policy::default()
    };
    let config = EngineConfig { connections_max: 2, ..EngineConfig::default() };
    Engine::new(config, policy, Directory::empty(), ShardId(0), 1).unwrap()
}

fn see(engine: &mut Engine, side: Side, frame: &[u8]) {
    let mut bytes = vec![0; HEADROOM];
    bytes.extend_from_slice(frame);
    bytes.resize(frame.len() + 2 * HEADROOM, 0);
    let mut frames = [Frame::new(&mut bytes, HEADROOM, frame.len(), Token(0)).unwrap()];
    let mut out = Out::new(64);
    assert_eq!(engine.handle_burst(side, Nanos(1), &mut frames, &mut out), 1);
}

fn connect(engine: &mut Engine, number: u32) -> Shake {
    let shake = Shake::new(Pair::new(2, 0x11 + number, 0x100 + number, 100));
    see(engine, Side::Client, &shake.req());
    see(engine, Side::Server, &shake.rep());
    see(engine, Side::Client, &shake.rtu());
    shake
}

#[test]
fn a_connection_that_ended_makes_room() {
    let mut engine = engine();
    for number in 0..20 {
        let shake = connect(&mut engine, number);
        see(&mut engine, Side::Client, &shake.dreq(true));
        see(&mut engine, Side::Server, &shake.drep(false));
        assert_eq!(engine.counters().learnt, u64::from(number) + 1);
    }
    assert_eq!(engine.counters().not_adopted, 0);
}

#[test]
fn a_connection_that_goes_on_does_not() {
    let mut engine = engine();
    for number in 0..5 {
        connect(&mut engine, number);
    }
    assert_eq!(engine.counters().learnt, 2);
}
