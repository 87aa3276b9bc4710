//! What every shard knows of every connection: addresses, owner, places, rights.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::card::Card;
use super::key_map::mix;
use super::places::{PlaceId, Places};
use super::trust::{Access, Trust};
use super::{ByteOrder, ConfiguredRegion, Grant, KeyMap, Map, Policy, Region, Rights, TrustBy};
use crate::counters::DeclineReason;
use crate::ids::{ClientId, DomainId, ServerQpId, ShardId};
use crate::wire::{ClientPsn, Ecn, Ethernet, EthernetRepr, Ipv4, Ipv6, Layout, Msn, Qpn};

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
    /// Priority (3 bits), drop eligible (1) and VLAN (12) of packets that carry an 802.1Q tag.
    pub tag: Option<u16>,
}

impl PathFacts {
    /// What one packet shows of its direction.
    #[must_use]
    pub fn of(frame: &[u8], layout: &Layout) -> PathFacts {
        let header = frame.get(usize::from(layout.ip)..).unwrap_or(&[]);
        let (traffic_class, hop_limit) = if layout.ip_version == 4 {
            Ipv4::new_checked(header).map_or((0, 64), |ip| (ip.traffic_class(), ip.hop_limit()))
        } else {
            Ipv6::new_checked(header).map_or((0, 64), |ip| (ip.traffic_class(), ip.hop_limit()))
        };
        let bth = layout.bth(frame);
        // A mark is the network's word on this one packet, not on those that are made later.
        let marked = Ecn::from_traffic_class(traffic_class) == Ecn::Ce;
        PathFacts {
            source_port: layout.source_port,
            traffic_class: match marked {
                true => traffic_class & !3 | Ecn::Ect0.to_bits(),
                false => traffic_class,
            },
            hop_limit,
            migration_request: bth.migration_request,
            partition_key: bth.partition_key,
            tag: Ethernet::new_checked(frame)
                .ok()
                .and_then(|view| EthernetRepr::parse(&view).ok())
                .and_then(|ethernet| ethernet.tag),
        }
    }
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
    /// No room for another connection.
    Full,
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
            DirectoryError::Full => f.write_str("no room for another connection"),
        }
    }
}

impl core::error::Error for DirectoryError {}

/// All connections, as every shard knows them.
#[derive(Clone, Debug)]
pub struct Directory {
    connections: Vec<Connection>,
    /// What their packets need, as far as that was asked for.
    cards: Vec<Option<Card>>,
    pub(crate) trust: Trust,
    pub(crate) places: Places,
    /// Server queue pairs that host no more.
    gone: Vec<ServerQpId>,
    /// Servers whose adapters do not keep the words of atomics in little-endian order.
    big_endian: Vec<IpAddr>,
    /// Domains, and the first domain of the same server. One that is learnt is its server's only
    /// one.
    memories: Vec<(DomainId, DomainId)>,
}

/// How sure it is that a host takes an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fit {
    Certain,
    /// It would fit, but memory key, right or range are not known for both queue pairs.
    NotTrusted,
    Never(DeclineReason),
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
        let places = Places::fixed(core::iter::empty());
        let gone = Vec::with_capacity(connections.len());
        let big_endian = Vec::new();
        let memories = memories(&connections);
        let cards = vec![None; connections.len()];
        let mut directory =
            Directory { connections, cards, trust, places, gone, big_endian, memories };
        if policy.map != Map::None {
            directory.places = fixed_places(&directory, policy);
        }
        Ok(directory)
    }

    /// A directory that is empty at first, for an engine that learns.
    #[must_use]
    pub fn empty() -> Directory {
        Directory {
            connections: Vec::new(),
            cards: Vec::new(),
            trust: Trust::new(Vec::new(), Vec::new()),
            places: Places::fixed(core::iter::empty()),
            gone: Vec::new(),
            big_endian: Vec::new(),
            memories: Vec::new(),
        }
    }

    /// Adds what the operator says of servers' memory.
    #[must_use]
    pub fn with_regions(mut self, regions: Vec<ConfiguredRegion>) -> Directory {
        self.trust.configure(regions);
        self
    }

    /// Names the servers whose adapters keep the words of atomics in big-endian order; all others
    /// keep them in little-endian order, that of their processors (IBTA vol. 1, 9.4.5 leaves it to
    /// the host; Connect-IB can do either: mlx5_ib, `atomic_cap`).
    #[must_use]
    pub fn with_big_endian(mut self, servers: Vec<IpAddr>) -> Directory {
        self.big_endian = servers;
        self
    }

    /// The same for all domains of one server: they reach the same memory.
    pub(crate) fn memory_at(&self, id: ServerQpId) -> Option<DomainId> {
        let domain = self.server_qp(id)?.domain;
        let at = self.memories.binary_search_by_key(&domain, |(domain, _)| *domain);
        let memory = at.ok().and_then(|at| self.memories.get(at)).map(|(_, memory)| *memory);
        Some(memory.unwrap_or(domain))
    }

    /// In which order a server's adapter keeps the bytes of a word.
    pub(crate) fn byte_order(&self, id: ServerQpId) -> ByteOrder {
        let server = self.server_qp(id).map(|connection| connection.server.ip);
        match server.is_some_and(|server| self.big_endian.contains(&server)) {
            true => ByteOrder::Big,
            false => ByteOrder::Little,
        }
    }

    /// Makes room for connections that are learnt later, and for hosts that are given up.
    pub(crate) fn reserve(&mut self, connections_max: usize) {
        self.gone.reserve_exact(connections_max);
        self.connections.reserve_exact(connections_max.saturating_sub(self.connections.len()));
        self.cards.reserve_exact(connections_max.saturating_sub(self.cards.len()));
    }

    /// Adds a connection, if there is room.
    pub(crate) fn add(&mut self, connection: Connection) -> Result<ClientId, DirectoryError> {
        if self.connections.len() == self.connections.capacity() {
            return Err(DirectoryError::Full);
        }
        self.connections.push(connection);
        self.cards.push(None);
        Ok(ClientId((self.connections.len() - 1) as u32))
    }

    /// Puts a connection in the place of one that has ended.
    pub(crate) fn replace(&mut self, id: ClientId, connection: Connection) {
        self.trust.forget(id.own_server_qp());
        if let Some(old) = self.client_mut(id) {
            *old = connection;
        }
    }

    /// A connection, to be changed.
    pub(crate) fn client_mut(&mut self, id: ClientId) -> Option<&mut Connection> {
        *self.cards.get_mut(id.index())? = None;
        self.connections.get_mut(id.index())
    }

    /// A server queue pair has accepted a client's access.
    pub(crate) fn observe(&mut self, client: ClientId, host: ServerQpId, access: Option<Access>) {
        let domain = self.client(client).map(|connection| connection.domain);
        if let (Some(domain), Some(access)) = (domain, access) {
            self.trust.observe(domain, host, &access);
        }
    }

    /// What the packets of a usual connection need, once it was made.
    #[inline]
    pub(crate) fn card(&self, id: ClientId) -> Option<&Card> {
        self.cards.get(id.index())?.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn card_mut(&mut self, id: ClientId) -> Option<&mut Card> {
        self.cards.get_mut(id.index())?.as_mut()
    }

    /// Makes the card of a connection, if its packets have the usual shape.
    #[cold]
    pub(crate) fn make_card(&mut self, id: ClientId) {
        let connection = self.connections.get(id.index());
        if let (Some(connection), Some(card)) = (connection, self.cards.get_mut(id.index())) {
            *card = Card::new(connection);
        }
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
    pub fn hosts(&self) -> impl Iterator<Item = (DomainId, ServerQpId)> {
        self.places.hosts()
    }

    pub(crate) fn client(&self, id: ClientId) -> Option<&Connection> {
        self.connections.get(id.index())
    }

    pub(crate) fn server_qp(&self, id: ServerQpId) -> Option<&Connection> {
        self.connections.get(id.index())
    }

    /// The place of a key, if the client's server has places.
    pub(crate) fn place_of(&self, map: KeyMap, client: ClientId, key: u64) -> Option<PlaceId> {
        let own = self.client(client)?;
        self.places.of_key(map, own.domain, key, client)
    }

    /// How sure it is that `host` takes a client's access of so many packets. Whoever is a host has
    /// the depth for READs and atomics: see [`Directory::may_host`].
    pub(crate) fn fit(
        &self,
        client: ClientId,
        host: ServerQpId,
        access: &Access,
        packets: u32,
    ) -> Fit {
        let (Some(own), Some(other)) = (self.client(client), self.server_qp(host)) else {
            return Fit::Never(DeclineReason::NoPlace);
        };
        let own_qp = client.own_server_qp();
        if host == own_qp {
            // Refused, it would take the guests along.
            let certain = self.trust.is_configured(own.server.ip, access)
                || self.trust.allows(own.domain, own_qp, access);
            return if certain { Fit::Certain } else { Fit::NotTrusted };
        }
        let tagged = |connection: &Connection| {
            (connection.request.tag.is_some(), connection.response.tag.is_some())
        };
        let short = access.len <= u32::from(other.path_mtu.min(own.path_mtu));
        // A frame keeps its length.
        if other.request.partition_key != own.request.partition_key
            || tagged(other) != tagged(own)
            || (other.path_mtu != own.path_mtu && (packets > 1 || !short))
        {
            return Fit::Never(DeclineReason::PathDiffers);
        }
        if self.trust.is_configured(own.server.ip, access)
            || self.trust.covers(own.domain, own_qp, host, access)
        {
            Fit::Certain
        } else {
            Fit::NotTrusted
        }
    }

    /// A server queue pair hosts no more. Its places get another host: at once where all candidates
    /// are known from the start, the one that fits best among those left, so that every shard
    /// finds the same one; else when they are needed.
    pub(crate) fn give_up_host(&mut self, id: ServerQpId, policy: &Policy) {
        let learns = policy.trust.learns();
        if !learns && !self.gone.contains(&id) {
            self.gone.push(id);
        }
        let Some(domain) = self.server_qp(id).map(|gone| gone.domain) else { return };
        let mut places = core::mem::replace(&mut self.places, Places::fixed(core::iter::empty()));
        places
            .replace(id, |place| if learns { None } else { self.successor(domain, place, policy) });
        self.places = places;
    }

    fn successor(&self, domain: DomainId, place: u32, policy: &Policy) -> Option<ServerQpId> {
        let weight = |qpn: Qpn| mix(u64::from(place) << 32 | u64::from(qpn.value()));
        (0..self.connections.len() as u32)
            .map(ServerQpId)
            .filter(|id| !self.gone.contains(id) && self.may_host(*id, policy))
            .filter_map(|id| self.server_qp(id).map(|qp| (qp, id)))
            .filter(|(qp, _)| qp.domain == domain)
            .max_by_key(|(qp, _)| (weight(qp.server.qpn), qp.server.qpn))
            .map(|(_, id)| id)
    }

    /// Whether frames of one connection can become the other's just as those of any third one can:
    /// what one of their server queue pairs takes by its path, the other one takes.
    pub(crate) fn are_alike(&self, one: ServerQpId, other: ServerQpId) -> bool {
        let path = |id| {
            let connection = self.server_qp(id)?;
            let (request, response) = (&connection.request, &connection.response);
            let tags = (request.tag.is_some(), response.tag.is_some());
            Some((connection.path_mtu, request.partition_key, tags))
        };
        path(one).is_some_and(|one| path(other) == Some(one))
    }

    /// Whether a server queue pair has the rights and the depth for every verb that the policy
    /// maps. WRITE always, because holes are filled with zero-length WRITEs.
    pub(crate) fn may_host(&self, id: ServerQpId, policy: &Policy) -> bool {
        let needed = match policy.key_map {
            KeyMap::ByConnection => Rights::WRITE,
            KeyMap::Modulo | KeyMap::Hash | KeyMap::Rendezvous => {
                Rights::WRITE.union(Rights::ATOMIC)
            }
        };
        let needed = match policy.map {
            Map::All => needed.union(Rights::READ),
            Map::None | Map::Writes => needed,
        };
        let Some(connection) = self.server_qp(id).filter(|c| c.depth > 0) else { return false };
        let rights = match policy.trust {
            TrustBy::Configuration => self.trust.configured_rights(connection.server.ip),
            TrustBy::Directory | TrustBy::Observation => self.trust.any_rights(id),
        };
        rights.contains(needed)
    }
}

/// For each domain the first one of the same server.
fn memories(connections: &[Connection]) -> Vec<(DomainId, DomainId)> {
    let of = |c: &Connection| (c.server.ip, c.domain);
    let mut domains: Vec<(IpAddr, DomainId)> = connections.iter().map(of).collect();
    domains.sort_unstable();
    domains.dedup();
    let first = |ip: IpAddr| domains.iter().find(|(server, _)| *server == ip).map(|(_, d)| *d);
    let mut memories: Vec<_> =
        domains.iter().filter_map(|(ip, domain)| Some((*domain, first(*ip)?))).collect();
    memories.sort_unstable();
    memories.dedup_by_key(|(domain, _)| *domain);
    memories
}

/// For each domain the server queue pairs in use, lowest server queue pair number first.
fn fixed_places(directory: &Directory, policy: &Policy) -> Places {
    let mut domains: Vec<DomainId> = directory.connections.iter().map(|c| c.domain).collect();
    domains.sort_unstable();
    domains.dedup();
    let hosts_of = |domain: DomainId| -> Vec<(Qpn, ServerQpId)> {
        let mut hosts: Vec<(Qpn, ServerQpId)> = directory
            .connections
            .iter()
            .enumerate()
            .map(|(i, c)| (c, ServerQpId(i as u32)))
            .filter(|(c, id)| c.domain == domain && directory.may_host(*id, policy))
            .map(|(c, id)| (c.server.qpn, id))
            .collect();
        hosts.sort_unstable();
        if policy.server_qps > 0 {
            hosts.truncate(policy.server_qps as usize);
        }
        hosts
    };
    Places::fixed(domains.into_iter().map(|domain| (domain, hosts_of(domain))))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;
    use crate::wire::{BthRepr, Classified, Extension, Opcode, Path, Psn, build, classify};

    /// What a packet with this traffic class shows of its direction.
    fn shown(traffic_class: u8) -> PathFacts {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let path = Path {
            source_mac: [2; 6],
            destination_mac: [4; 6],
            source: ip,
            destination: ip,
            source_port: 0xc001,
            traffic_class,
            hop_limit: 64,
            identification: 0,
        };
        let bth = BthRepr {
            opcode: Opcode::SendOnly,
            solicited: false,
            migration_request: true,
            pad_count: 0,
            partition_key: 0xffff,
            fecn: false,
            becn: false,
            dest_qp: Qpn::new(1),
            ack_request: true,
            psn: Psn::new(0),
        };
        let mut frame = [0; 128];
        let len = build(&path, &bth, &Extension::None, &[1; 4], &mut frame).unwrap();
        let Ok(Classified::Rc(layout)) = classify(&frame[..len]) else { panic!("a packet") };
        PathFacts::of(&frame[..len], &layout)
    }

    #[test]
    fn a_direction_does_not_keep_one_packets_congestion_mark() {
        for (seen, kept) in [(0x68, 0x68), (0x69, 0x69), (0x6a, 0x6a), (0x6b, 0x6a)] {
            assert_eq!(shown(seen).traffic_class, kept);
        }
    }
}
