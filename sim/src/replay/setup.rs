//! From a capture's workload and the user's wishes to engine, clients and servers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use qpmux_engine::policy::{
    Connection, Directory, DirectoryError, Endpoint, Policy, Rights, Start,
};
use qpmux_engine::wire::ClientPsn;
use qpmux_engine::{Config, DomainId, ShardId, Side};

use super::losses::Losses;
use super::script::{Script, ScriptedConnection};
use crate::connections_file::KnownConnections;
use crate::rc::{Link, Region, RequesterConfig, ResponderConfig, Verb, Wire};

/// One-way times between middlebox and endpoints, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Latency {
    /// Between client and middlebox.
    pub client_ns: u64,
    /// Between middlebox and server.
    pub server_ns: u64,
    /// From a request to its answer inside the server.
    pub execution_ns: u64,
}

impl Default for Latency {
    /// A rack: 500 ns to a middlebox at the switch, 500 ns on to the server, and 500 ns there,
    /// which makes a round trip of 2.5 us, in the range of published one-sided latencies
    /// (1.5 to 3 us: FaRM, NSDI'14; HERD, SIGCOMM'14).
    fn default() -> Self {
        Latency { client_ns: 500, server_ns: 500, execution_ns: 500 }
    }
}

impl Latency {
    /// From the middlebox to the endpoint on that side.
    pub(super) fn of(&self, side: Side) -> u64 {
        match side {
            Side::Client => self.client_ns,
            Side::Server => self.server_ns,
        }
    }
}

/// What a replay is told beside the capture.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the engine does.
    pub policy: Policy,
    /// Connections that are known before the capture is read.
    pub connections: KnownConnections,
    /// Limits and times of the engine.
    pub engine: Config,
    /// Number of shards, at least 1.
    pub shards: u8,
    /// READs and atomics that a server queue pair takes at a time; `None` for the most that the
    /// capture shows outstanding on it.
    pub depth: Option<u16>,
    /// Acknowledgements asked for per acknowledgement that the server sends.
    pub ack_every: u32,
    /// Times between middlebox and endpoints.
    pub latency: Latency,
    /// Packets that are lost between them.
    pub losses: Losses,
    /// Servers whose adapters keep the words of atomics in big-endian order: so do the modelled
    /// ones, and the engine is told.
    pub big_endian: Vec<IpAddr>,
}

impl Default for Setup {
    /// Nothing is translated, lost or known before; one shard.
    fn default() -> Setup {
        Setup {
            policy: Policy::default(),
            connections: KnownConnections::default(),
            engine: Config::default(),
            shards: 1,
            depth: None,
            ack_every: 1,
            latency: Latency::default(),
            losses: Losses::default(),
            big_endian: Vec::new(),
        }
    }
}

impl Setup {
    /// The engine's view of the workload's connections.
    pub(super) fn directory(&self, script: &Script) -> Result<Directory, DirectoryError> {
        let domains = domains(script);
        let connection = |c: &ScriptedConnection| Connection {
            client: c.client,
            server: c.server,
            request: c.request,
            response: c.response,
            start: Start {
                psn: ClientPsn::from_wire(c.start_psn),
                msn: c.start_msn,
                credits: c.credits,
            },
            path_mtu: c.path_mtu,
            depth: self.depth_of(c),
            domain: domains.get(&c.server.ip).copied().unwrap_or(DomainId(0)),
            shard: ShardId(self.shard(&c.client, &c.server, c.request.source_port)),
        };
        let connections = script.connections.iter().map(connection).collect();
        let (regions, grants) = (script.regions.clone(), script.grants.clone());
        Directory::new(connections, regions, grants, &self.policy)
    }

    fn depth_of(&self, connection: &ScriptedConnection) -> u16 {
        self.depth.unwrap_or(connection.depth)
    }

    /// Where the network card's receive-side scaling puts the packets of a flow: a hash of both
    /// addresses and the UDP source port, the same both ways.
    pub(super) fn shard(&self, from: &Endpoint, to: &Endpoint, source_port: u16) -> u8 {
        let fold = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let addresses = fold(from.ip) ^ fold(to.ip);
        let mixed = (addresses as u64 ^ (addresses >> 64) as u64 ^ u64::from(source_port))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> 32) % u64::from(self.shards.max(1))) as u8
    }

    /// From a key of each connection to its index.
    pub(super) fn index<K: Ord>(
        &self,
        script: &Script,
        key: impl Fn(&ScriptedConnection) -> K,
    ) -> BTreeMap<K, u32> {
        script.connections.iter().enumerate().map(|(i, c)| (key(c), i as u32)).collect()
    }

    /// The client of a connection.
    pub(super) fn requester(&self, connection: &ScriptedConnection) -> RequesterConfig {
        let mut config = RequesterConfig::new(self.client_link(connection), connection.start_psn);
        config.msn_start = connection.start_msn;
        // The capture shows how far the client went; the script does not let it go further.
        config.max_rd_atomic = usize::from(connection.depth.max(1));
        config
    }

    /// The server queue pair of connection `index`: it allows what the capture asked of it, and
    /// is strict about all else.
    pub(super) fn responder(&self, script: &Script, index: usize) -> ResponderConfig {
        let connection = &script.connections[index];
        let link = Link {
            pmtu: usize::from(connection.path_mtu),
            ..self.client_link(connection).reversed()
        };
        let link = Link {
            path: qpmux_engine::wire::Path {
                source_port: connection.response.source_port,
                traffic_class: connection.response.traffic_class,
                hop_limit: connection.response.hop_limit,
                ..link.path
            },
            peer_source_port: Some(connection.request.source_port),
            partition_key: connection.response.partition_key,
            migration_request: connection.response.migration_request,
            ..link
        };
        let regions = regions(script, connection.server.ip);
        let mut config = ResponderConfig::new(link, connection.start_psn, regions);
        let rights = rights(connection);
        config.msn_start = connection.start_msn;
        config.credits = connection.credits;
        config.max_dest_rd_atomic = usize::from(self.depth_of(connection).max(1));
        config.allow_write = rights.contains(Rights::WRITE);
        config.allow_read = rights.contains(Rights::READ);
        config.allow_atomic = rights.contains(Rights::ATOMIC);
        config.answer_delay = self.latency.execution_ns;
        config.ack_every = self.ack_every.max(1);
        config
    }

    /// The client's end of the connection's wire.
    fn client_link(&self, c: &ScriptedConnection) -> Link {
        Link {
            qpn: c.client.qpn,
            peer_qpn: c.server.qpn,
            path: qpmux_engine::wire::Path {
                source_mac: c.client.mac,
                destination_mac: c.server.mac,
                source: c.client.ip,
                destination: c.server.ip,
                source_port: c.request.source_port,
                traffic_class: c.request.traffic_class,
                hop_limit: c.request.hop_limit,
                identification: 0,
            },
            peer_source_port: Some(c.response.source_port),
            partition_key: c.request.partition_key,
            tag: c.request.tag,
            peer_tag: c.response.tag,
            migration_request: c.request.migration_request,
            pmtu: usize::from(c.path_mtu),
            wire: Wire { may_lose: self.losses.any(), ..Wire::FAITHFUL },
        }
    }
}

/// One domain per server: nothing in a capture tells protection domains apart.
fn domains(script: &Script) -> BTreeMap<IpAddr, DomainId> {
    let servers = script.memory.iter().map(|server| server.ip);
    servers.enumerate().map(|(i, ip)| (ip, DomainId(i as u16))).collect()
}

/// All memory that clients of a server asked for, by memory key.
fn regions(script: &Script, server: IpAddr) -> Vec<Region> {
    let mut hulls: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    let connections = script.connections.iter().filter(|c| c.server.ip == server);
    for verb in connections.flat_map(|c| &c.verbs) {
        if let Some((remote_key, _, start, end)) = verb.verb.reach() {
            let hull = hulls.entry(remote_key).or_insert((start, end));
            *hull = (hull.0.min(start), hull.1.max(end));
        }
    }
    hulls.into_iter().map(|(key, (start, end))| Region::new(key, start, end - start)).collect()
}

/// The rights that a connection's own requests need.
fn rights(connection: &ScriptedConnection) -> Rights {
    let of = |verb: &Verb| verb.reach().map_or(Rights::NONE, |(_, right, ..)| right);
    connection.verbs.iter().fold(Rights::NONE, |all, v| all.union(of(&v.verb)))
}
