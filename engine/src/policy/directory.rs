//! What every shard knows of every connection: addresses, owner, places, rights.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::trust::{Access, Trust};
use super::{Grant, KeyMap, Map, Policy, Region, Rights};
use crate::counters::DeclineReason;
use crate::ids::{ClientId, DomainId, ServerQpId, ShardId};
use crate::wire::{ClientPsn, Msn, Qpn};

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Its Ethernet address, as the middlebox sees it.
    pub mac: [u8; 6],
    /// Its IP address.
    pub ip: IpAddr,
    /// Its queue pair number.
    pub qpn: Qpn,
}

/// What the packets of one direction of a connection have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathFacts {
    /// UDP source port. One value per direction, else the network spreads and reorders it.
    pub source_port: u16,
    /// IPv4 type of service or IPv6 traffic class. The two ECN bits are the packet's own.
    pub traffic_class: u8,
    /// IPv4 time to live or IPv6 hop limit.
    pub hop_limit: u8,
    /// The MigReq bit.
    pub migration_request: bool,
    /// Partition key.
    pub partition_key: u16,
}

/// Where a connection is when it starts to be translated. Nothing is outstanding then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// The next PSN that the server queue pair expects from its client.
    pub psn: ClientPsn,
    /// Messages completed so far, modulo 2^24.
    pub msn: Msn,
    /// The credit code that the server queue pair last advertised, 0 to 31 (31: no limit).
    pub credits: u8,
}

/// A reliable connection between a client (requester) and a server (responder).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// The requester.
    pub client: Endpoint,
    /// The responder.
    pub server: Endpoint,
    /// Packets from client to server.
    pub request: PathFacts,
    /// Packets from server to client.
    pub response: PathFacts,
    /// State at the start.
    pub start: Start,
    /// Path MTU in bytes: 256, 512, 1024, 2048 or 4096.
    pub path_mtu: u16,
    /// READs and atomics that the server queue pair takes at a time (max_dest_rd_atomic).
    pub depth: u16,
    /// Server and protection domain.
    pub domain: DomainId,
    /// The shard where the client's traffic arrives: owner of both halves.
    pub shard: ShardId,
}

/// A set of connections that no engine can be built for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectoryError {
    /// Two connections have the same addresses and queue pair number on one end.
    Duplicate {
        /// Index of the second one.
        connection: usize,
    },
    /// A path MTU that InfiniBand does not have.
    PathMtu {
        /// Index of the connection.
        connection: usize,
        /// The value, in bytes.
        found: u16,
    },
    /// More connections than an index can name (2^31).
    TooMany,
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Duplicate { connection } => {
                write!(f, "connection {connection}: its addresses and queue pair are taken")
            }
            DirectoryError::PathMtu { connection, found } => write!(
                f,
                "connection {connection}: path MTU {found}, must be 256, 512, 1024, 2048 or 4096"
            ),
            DirectoryError::TooMany => f.write_str("more connections than 2^31"),
        }
    }
}

impl core::error::Error for DirectoryError {}

/// All connections, as every shard knows them. It does not change during a run.
#[derive(Clone, Debug)]
pub struct Directory {
    connections: Box<[Connection]>,
    trust: Trust,
    /// Hosts by place, for each domain in order.
    places: Box<[(DomainId, Box<[ServerQpId]>)]>,
}

/// A request's way, as the policy wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Host(ServerQpId),
    Declined(DeclineReason),
}

impl Directory {
    /// The directory of these connections under this policy.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn new(
        connections: Vec<Connection>,
        regions: Vec<Region>,
        grants: Vec<Grant>,
        policy: &Policy,
    ) -> Result<Directory, DirectoryError> {
        if connections.len() >= 1 << 31 {
            return Err(DirectoryError::TooMany);
        }
        if let Some(connection) =
            connections.iter().position(|c| !matches!(c.path_mtu, 256 | 512 | 1024 | 2048 | 4096))
        {
            let found = connections.get(connection).map_or(0, |c| c.path_mtu);
            return Err(DirectoryError::PathMtu { connection, found });
        }
        let trust = Trust::new(regions, grants);
        let places = places(&connections, &trust, policy);
        Ok(Directory { connections: connections.into(), trust, places })
    }

    /// Number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// All connections, in the order of their index.
    #[must_use]
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// The server queue pairs that may carry several clients' requests, by domain and place.
    pub fn hosts(&self) -> impl Iterator<Item = (DomainId, &[ServerQpId])> {
        self.places.iter().map(|(domain, hosts)| (*domain, hosts.as_ref()))
    }

    pub(crate) fn client(&self, id: ClientId) -> Option<&Connection> {
        self.connections.get(id.index())
    }

    pub(crate) fn server_qp(&self, id: ServerQpId) -> Option<&Connection> {
        self.connections.get(id.index())
    }

    /// The host of `key`, if `access` is certain to be accepted there.
    pub(crate) fn place(
        &self,
        map: KeyMap,
        client: ClientId,
        key: u64,
        access: &Access,
        parts: u32,
    ) -> Place {
        let Some(own) = self.client(client) else { return Place::Declined(DeclineReason::NoPlace) };
        let hosts = self.places.iter().find(|(domain, _)| *domain == own.domain);
        let Some((_, hosts)) = hosts else { return Place::Declined(DeclineReason::NoPlace) };
        let index = map.place(key, client.0, hosts.len() as u32);
        let Some(&host) = hosts.get(index as usize) else {
            return Place::Declined(DeclineReason::NoPlace);
        };
        if host == client.own_server_qp() {
            return Place::Host(host);
        }
        let Some(other) = self.server_qp(host) else {
            return Place::Declined(DeclineReason::NoPlace);
        };
        if other.request.partition_key != own.request.partition_key
            || (other.path_mtu != own.path_mtu
                && (parts > 1 || access.len > u32::from(other.path_mtu.min(own.path_mtu))))
        {
            return Place::Declined(DeclineReason::PathDiffers);
        }
        if access.right != Rights::WRITE && other.depth == 0 {
            return Place::Declined(DeclineReason::NoDepth);
        }
        if !self.trust.covers(own.domain, client.own_server_qp(), host, access) {
            return Place::Declined(DeclineReason::NotTrusted);
        }
        Place::Host(host)
    }
}

/// For each domain the server queue pairs in use, lowest server queue pair number first.
///
/// Only those with the rights and the depth for every verb that the policy maps may host: WRITE
/// always, because holes are filled with zero-length WRITEs.
fn places(
    connections: &[Connection],
    trust: &Trust,
    policy: &Policy,
) -> Box<[(DomainId, Box<[ServerQpId]>)]> {
    if policy.map == Map::None {
        return Box::default();
    }
    let needed = match policy.key_map {
        KeyMap::ByConnection => Rights::ALL,
        KeyMap::Modulo | KeyMap::Hash => Rights::WRITE.union(Rights::ATOMIC),
    };
    let mut domains: Vec<DomainId> = connections.iter().map(|c| c.domain).collect();
    domains.sort_unstable();
    domains.dedup();
    let hosts_of = |domain: DomainId| -> Box<[ServerQpId]> {
        let mut hosts: Vec<(Qpn, ServerQpId)> = connections
            .iter()
            .enumerate()
            .map(|(i, c)| (c, ServerQpId(i as u32)))
            .filter(|(c, id)| {
                c.domain == domain && c.depth > 0 && trust.any_rights(*id).contains(needed)
            })
            .map(|(c, id)| (c.server.qpn, id))
            .collect();
        hosts.sort_unstable();
        if policy.server_qps > 0 {
            hosts.truncate(policy.server_qps as usize);
        }
        hosts.into_iter().map(|(_, id)| id).collect()
    };
    domains.into_iter().map(|domain| (domain, hosts_of(domain))).collect()
}
