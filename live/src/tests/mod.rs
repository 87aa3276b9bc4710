//! Tests of the configuration and of the loop over ports in memory.

mod config;
mod configured;
mod hostile;
mod metrics;
mod operations;
mod overload;
mod passing;
mod reload;
mod translated;
mod workers;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use qpmux_engine::policy::{
    Directory, KeyMap, Map, Order, Policy, TrustBy, {Connection, Grant, Region},
};
use qpmux_engine::{Config, Engine, ShardId};
use qpmux_workloads::load_profile;

use crate::copying::Copying;
use crate::driver::{ROOM_AFTER, ROOM_BEFORE};
use crate::host::Host;
use crate::port::{Port, Received, SendFailure};

/// A port in memory: what waits to be taken, what was sent, and what it refuses.
#[derive(Default)]
struct Wire {
    waiting: VecDeque<io::Result<Vec<u8>>>,
    sent: VecDeque<Vec<u8>>,
    refuses: Option<SendFailure>,
    missed: u64,
}

#[derive(Clone, Default)]
struct MemoryPort(Rc<RefCell<Wire>>);

impl MemoryPort {
    fn put(&self, frame: &[u8]) {
        self.0.borrow_mut().waiting.push_back(Ok(frame.to_vec()));
    }

    fn take_sent(&self) -> Vec<Vec<u8>> {
        self.0.borrow_mut().sent.drain(..).collect()
    }

    fn waiting(&self) -> usize {
        self.0.borrow().waiting.len()
    }
}

impl Port for MemoryPort {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let Some(frame) = self.0.borrow_mut().waiting.pop_front() else {
            return Ok(Received::Nothing);
        };
        let frame = frame?;
        let end = buffer.len() - ROOM_AFTER;
        let Some(place) = buffer[ROOM_BEFORE..end].get_mut(..frame.len()) else {
            return Ok(Received::TooLong);
        };
        place.copy_from_slice(&frame);
        Ok(Received::Frame { start: ROOM_BEFORE, len: frame.len() })
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), SendFailure> {
        let mut wire = self.0.borrow_mut();
        match wire.refuses {
            Some(failure) => Err(failure),
            None => {
                wire.sent.push_back(frame.to_vec());
                Ok(())
            }
        }
    }

    fn missed(&mut self) -> u64 {
        self.0.borrow().missed
    }
}

/// An engine that knows these connections, and sends all that has a key to one server queue pair.
fn engine(map: Map, connections: Vec<Connection>, regions: Vec<Region>) -> Engine {
    engine_with(Config::default(), map, connections, regions)
}

/// The same with these limits.
fn engine_with(
    config: Config,
    map: Map,
    connections: Vec<Connection>,
    regions: Vec<Region>,
) -> Engine {
    let policy = Policy {
        map,
        key_map: KeyMap::Modulo,
        server_qps: 1,
        order: Order::Fenced,
        trust: TrustBy::Directory,
        profile: load_profile("kv").unwrap(),
        message_packets_max: 1,
        ..Policy::default()
    };
    let grants = (0..connections.len() as u32)
        .flat_map(|i| regions.iter().map(move |region| (i, region.remote_key)))
        .map(|(i, remote_key)| Grant {
            server_qp: qpmux_engine::ServerQpId(i),
            remote_key,
            rights: qpmux_engine::policy::Rights::ALL,
        })
        .collect();
    let directory = Directory::new(connections, regions, grants, &policy).unwrap();
    Engine::new(config, policy, directory, ShardId(0), 1).unwrap()
}

type MemoryHost = Host<Copying<MemoryPort>>;

/// A host between two ports in memory, the client's and the server's, with `buffers`.
fn host(engine: Engine, buffers: u32) -> (MemoryHost, MemoryPort, MemoryPort) {
    let (client, server) = (MemoryPort::default(), MemoryPort::default());
    let driver = Copying::new(client.clone(), server.clone(), buffers, 2_048);
    (Host::new(engine, driver, buffers), client, server)
}
