//! Going on where an engine was that had learnt its connections: those that were translated are
//! so again, from the log; the others are nobody's, pass, and are learnt anew.

use core::net::{IpAddr, Ipv4Addr};

use super::client::Client;
use super::lookup::{request_flow, response_flow};
use crate::build_error::BuildError;
use crate::connections;
use crate::engine::Engine;
use crate::ids::{ClientId, DomainId, ShardId};
use crate::journal::{Journal, KnownClient};
use crate::policy::{Connection, Endpoint, PathFacts, PlaceId, Start};
use crate::time::Nanos;
use crate::wire::{ClientPsn, Msn, Qpn};

/// What stands for a number that no connection has.
fn nobody(shard: ShardId) -> Connection {
    let ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let end = Endpoint { mac: [0; 6], ip, qpn: Qpn::new(0) };
    let path = PathFacts {
        source_port: 0,
        traffic_class: 0,
        hop_limit: 0,
        migration_request: false,
        partition_key: 0,
        tag: None,
    };
    Connection {
        client: end,
        server: end,
        request: path,
        response: path,
        start: Start { psn: ClientPsn::new(0), msn: Msn::new(0), credits: 31 },
        path_mtu: 256,
        depth: 0,
        domain: DomainId(0),
        shard,
    }
}

impl Engine {
    /// Whether a connection goes on: it is translated. What the log has of others led to nothing.
    pub(super) fn goes_on(&self, id: ClientId) -> bool {
        self.servers.get(id.own_server_qp()).is_some_and(|server| server.started)
    }

    /// Puts the connections of the log back under their numbers, and their places.
    pub(super) fn restore_learnt(
        &mut self,
        now: Nanos,
        journal: &Journal,
    ) -> Result<(), BuildError> {
        // What passed the engine before is in the network for as long: no PSN of it is given out
        // anew meanwhile.
        self.flips_from = now.after(self.config.packet_lifetime_ns);
        let known =
            || journal.clients().filter_map(|(id, known)| Some((id, known, known.connection?)));
        let end = known().map(|(id, ..)| id.index() + 1).max().unwrap_or(0);
        while self.directory.len() < end {
            let id = self.directory.add(nobody(self.shard));
            self.watches.end(id.map_err(|_| BuildError::ResumeDirectory)?, Nanos(0));
        }
        let last = known().map(|(.., connection)| connection.domain.0).max();
        let domains = last.map_or(0, |last| last.saturating_add(1));
        // Each has a connection of its own at least.
        if u32::from(domains) > self.config.connections_max {
            return Err(BuildError::ResumeDirectory);
        }
        // In the order in which they were met, as they were numbered: so are the places.
        (0..domains).for_each(|domain| self.directory.places.add_domain(DomainId(domain)));
        // Queue pair numbers that are used again are those of who lives.
        for ended in [false, true] {
            known().filter(|(_, known, _)| known.ended.is_some() == ended).for_each(
                |(id, known, connection)| self.restore_connection(now, id, known, &connection),
            );
        }
        for (place, host) in journal.hosts() {
            if let Some(state) = self.directory.places.get_mut(PlaceId(place)) {
                (state.host, state.host_recorded) = (Some(host), true);
            }
        }
        Ok(())
    }

    fn restore_connection(
        &mut self,
        now: Nanos,
        id: ClientId,
        known: &KnownClient,
        connection: &Connection,
    ) {
        self.directory.replace(id, *connection);
        if let Some(client) = self.clients.get_mut(id) {
            *client = Client::started(id, &connection.start);
        }
        if let Some(server) = self.servers.get_mut(id.own_server_qp()) {
            server.start(connection.start.psn);
        }
        self.watches.reset(id);
        let mut name = None;
        match known.ended {
            None => {
                let ends = [connection.client, connection.server]
                    .map(|end| connections::Endpoint { ip: end.ip, qpn: end.qpn, mac: end.mac });
                let ports = [connection.request.source_port, connection.response.source_port];
                let learner = self.learner.as_mut();
                name = learner.and_then(|l| l.restore(now.0, ends, ports, known.cm));
            }
            Some(true) => self.watches.end(id, now.after(self.config.packet_lifetime_ns)),
            Some(false) => self.watches.end(id, now),
        }
        if known.ended != Some(false) {
            self.requests.insert(request_flow(connection), id.0);
            self.responses.insert(response_flow(connection), id.0);
        }
        self.watches.tell_restored(id, connection.start.psn, name);
        if let Some(watch) = self.watches.get_mut(id) {
            watch.depth_is_least = known.cm.is_none() && self.config.depth.is_none();
        }
    }

    /// The server queue pairs of connections that have ended host nobody any more.
    pub(super) fn close_ended(&mut self) {
        for index in 0..self.directory.len() as u32 {
            let id = ClientId(index);
            if self.goes_on(id) && self.watches.has_ended(id) {
                self.close_host(id.own_server_qp());
            }
        }
    }
}
