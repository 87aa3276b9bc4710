//! What stands in the middle of the network, between clients and servers.

use std::collections::HashMap;
use std::net::IpAddr;

use qpmux_engine::policy::{
    self, Choices, Directory, DirectoryError, Grant, Policy, Rights, Start, SwitchError,
};
use qpmux_engine::wire::{Classified, ClientPsn, Msn, classify};
use qpmux_engine::{BuildError, Config, DomainId, Nanos, ServerQpId, ShardId, Side};
use qpmux_traces::CaptureError;

use super::end::{Connection, DEPTH, START_PSN};
use crate::host::Host;
use crate::rc::Region;

/// Receives each frame that passes the middle: time in ns, number of its connection, bytes.
pub(crate) type Tap<'a> = dyn FnMut(u64, usize, &[u8]) -> Result<(), CaptureError> + 'a;

/// What stands in the middle.
pub(crate) enum Middle<'a> {
    /// A wire that somebody listens to.
    Tap(&'a mut Tap<'a>),
    /// The engine.
    Engine(Box<EngineHost>),
    /// A wire.
    Wire,
}

/// The engine, and where its frames go.
pub(crate) struct EngineHost {
    pub(super) host: Host,
    shards: u8,
    /// Connection and end by IP address and queue pair number.
    ends: HashMap<(IpAddr, u32), (usize, usize)>,
    pub(super) wake: u64,
}

/// What the engine is to do, and how large it is.
#[derive(Clone, Debug)]
pub struct EngineSetup {
    /// What it does.
    pub policy: Policy,
    /// Limits and times.
    pub config: Config,
    /// Number of engines that share the connections, at least 1.
    pub shards: u8,
    /// It is told that the first known connection's server keeps words in big-endian order.
    pub big_endian: bool,
    /// It is not told that the first region of that server's memory may be written.
    pub withheld: bool,
    /// What it is switched to while it runs, in that order.
    pub switches: Vec<Switch>,
}

/// A switch of an engine to another policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// When so many operations of the application are done.
    pub after: u64,
    /// What the engine does then.
    pub to: Choices,
}

/// Why there can be no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It cannot know these connections.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl EngineHost {
    /// An engine that translates all known connections from the start. Those that lead to the same
    /// server as the first one may all read, write and do atomics in `regions`.
    pub(super) fn new<A>(
        setup: &EngineSetup,
        connections: &[Connection<A>],
        regions: &[Region],
    ) -> Result<Self, EngineError> {
        let mut ends = HashMap::new();
        for (number, connection) in connections.iter().enumerate().filter(|(_, c)| c.through) {
            let link = &connection.link;
            ends.insert((link.path.source, link.qpn.value()), (number, 0));
            ends.insert((link.path.destination, link.peer_qpn.value()), (number, 1));
        }
        let shards = setup.shards.max(1);
        let directory = directory(setup, connections, regions)?;
        let host = Host::new(&setup.config, &setup.policy, &directory, shards)?;
        Ok(Self { host, shards, ends, wake: u64::MAX })
    }

    /// A frame for `end` of a connection comes in. What goes out, and whither.
    pub(super) fn offer(
        &mut self,
        now: u64,
        (connection, end): (usize, usize),
        frame: &[u8],
    ) -> Vec<(usize, usize, Vec<u8>)> {
        let side = if end == 1 { Side::Client } else { Side::Server };
        let shard = shard_of(connection, self.shards);
        let Self { host, ends, .. } = self;
        let mut sent = Vec::new();
        host.offer(shard, side, Nanos(now), frame, &mut |_, frame| address(ends, frame, &mut sent));
        sent
    }

    /// Switches the engine to another policy.
    pub(super) fn switch(&mut self, to: Choices) -> Result<(), SwitchError> {
        self.host.switch(to)
    }

    /// A deadline may have passed.
    pub(super) fn timeout(&mut self, now: u64) -> Vec<(usize, usize, Vec<u8>)> {
        let Self { host, ends, .. } = self;
        let mut sent = Vec::new();
        host.timeout(Nanos(now), &mut |_, frame| address(ends, frame, &mut sent));
        sent
    }

    /// When it has to be woken, ns, if that is earlier than it will be.
    pub(super) fn due(&mut self, now: u64) -> Option<u64> {
        let Nanos(due) = self.host.next_deadline(Nanos(now))?;
        let due = due.max(now + 1);
        if due >= self.wake {
            return None;
        }
        self.wake = due;
        Some(due)
    }
}

/// Finds the end that a frame is for.
fn address(
    ends: &HashMap<(IpAddr, u32), (usize, usize)>,
    frame: &[u8],
    sent: &mut Vec<(usize, usize, Vec<u8>)>,
) {
    let Ok(Classified::Rc(layout)) = classify(frame) else { return };
    if let Some(&(connection, end)) = ends.get(&(layout.destination, layout.dest_qp.value())) {
        sent.push((connection, end, frame.to_vec()));
    }
}

fn shard_of(connection: usize, shards: u8) -> u8 {
    (connection % usize::from(shards)) as u8
}

fn directory<A>(
    setup: &EngineSetup,
    connections: &[Connection<A>],
    regions: &[Region],
) -> Result<Directory, DirectoryError> {
    let start = Start { psn: ClientPsn::new(START_PSN), msn: Msn::new(0), credits: 0 };
    let mut known: Vec<policy::Connection> = connections
        .iter()
        .enumerate()
        .filter(|(_, connection)| connection.known && connection.through)
        .map(|(i, c)| policy::Connection {
            shard: ShardId(shard_of(i, setup.shards.max(1))),
            ..c.link.known(start, DEPTH)
        })
        .collect();
    let mut servers: Vec<IpAddr> = Vec::new();
    for connection in &mut known {
        let server = connection.server.ip;
        let at = servers.iter().position(|known| *known == server).unwrap_or(servers.len());
        if at == servers.len() {
            servers.push(server);
        }
        connection.domain = DomainId(at as u16);
    }
    let region = |r: &Region| policy::Region {
        domain: DomainId(0),
        remote_key: r.rkey,
        start: r.address,
        end: r.address.wrapping_add(r.length),
    };
    let memory = (0..).zip(&known).filter(|(_, c)| c.domain == DomainId(0));
    let grants = memory.flat_map(|(i, _)| {
        (0..).zip(regions).map(move |(number, region)| Grant {
            server_qp: ServerQpId(i),
            remote_key: region.rkey,
            rights: match setup.withheld && number == 0 {
                true => Rights::READ.union(Rights::ATOMIC),
                false => Rights::ALL,
            },
        })
    });
    let grants = grants.collect();
    let big_endian = if setup.big_endian { servers.first().copied() } else { None };
    let regions = regions.iter().map(region).collect();
    let directory = Directory::new(known, regions, grants, &setup.policy)?;
    Ok(directory.with_big_endian(big_endian.into_iter().collect()))
}
