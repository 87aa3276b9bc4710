//! What an operator would know of a connection, as the engine is told it.

use qpmux_engine::policy::{Connection, Endpoint, PathFacts, Start};
use qpmux_engine::{DomainId, ShardId};

use super::Link;

impl Link {
    /// The connection of a client that sees it so, in the first protection domain and on the first
    /// shard.
    pub fn known(&self, start: Start, depth: usize) -> Connection {
        let path = &self.path;
        let request = PathFacts {
            source_port: path.source_port,
            traffic_class: path.traffic_class,
            hop_limit: path.hop_limit,
            migration_request: self.migration_request,
            partition_key: self.partition_key,
            tag: self.tag,
        };
        Connection {
            client: Endpoint { mac: path.source_mac, ip: path.source, qpn: self.qpn },
            server: Endpoint {
                mac: path.destination_mac,
                ip: path.destination,
                qpn: self.peer_qpn,
            },
            request,
            response: PathFacts { tag: self.peer_tag, ..request },
            start,
            path_mtu: self.pmtu as u16,
            depth: depth as u16,
            domain: DomainId(0),
            shard: ShardId(0),
        }
    }
}
