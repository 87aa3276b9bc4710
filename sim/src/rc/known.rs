//! What an operator would know of a connection, as the engine is told it.

use qpmux_engine::policy::{self, Endpoint, PathFacts, Start};
use qpmux_engine::wire::{ClientPsn, Msn, Psn};
use qpmux_engine::{DomainId, ShardId};

use super::Link;

impl Link {
    /// The connection of a client that sees it so, which starts with this PSN, in the first
    /// protection domain.
    pub(crate) fn known(&self, psn: u32, depth: usize, shard: ShardId) -> policy::Connection {
        let path = &self.path;
        let facts = PathFacts {
            source_port: path.source_port,
            traffic_class: path.traffic_class,
            hop_limit: path.hop_limit,
            migration_request: self.migration_request,
            partition_key: self.partition_key,
            tag: self.tag,
        };
        policy::Connection {
            client: Endpoint { mac: path.source_mac, ip: path.source, qpn: self.qpn },
            server: Endpoint {
                mac: path.destination_mac,
                ip: path.destination,
                qpn: self.peer_qpn,
            },
            request: facts,
            response: facts,
            start: Start { psn: ClientPsn::from_wire(Psn::new(psn)), msn: Msn::new(0), credits: 0 },
            path_mtu: self.pmtu as u16,
            depth: depth as u16,
            domain: DomainId(0),
            shard,
        }
    }
}
