//! Connections that need not be guessed: by the connection manager's handshake, or by the
//! operator's word.

use core::fmt;
use core::net::IpAddr;

use super::event::{CmFacts, Connection, ConnectionId, EndReason, Endpoint, Evidence};
use super::flow::Requests;
use super::handshakes::Handshake;
use super::learner::{Learner, Slot, mac_of};
use super::table::{Mixer, NONE};
use crate::wire::{Layout, Qpn};

/// Why a connection cannot be configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigureError {
    /// Both ends have one address, or addresses of different IP versions.
    Addresses,
    /// A number that no connection's queue pair has: 0, 1 and 0xffffff have other uses.
    QueuePair(Qpn),
    /// A configured connection has one of the queue pairs already.
    Taken(ConnectionId),
    /// There is no place for another flow or connection, or too many events wait to be taken.
    NoRoom,
}

impl fmt::Display for ConfigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses => f.write_str("the ends must be two addresses of one IP version"),
            Self::QueuePair(qpn) => {
                write!(f, "queue pair {:#x} has another use, must be 2 to 0xfffffe", qpn.value())
            }
            Self::Taken(_) => {
                f.write_str("one of its queue pairs belongs to a connection configured before")
            }
            Self::NoRoom => f.write_str("there is no room for another connection"),
        }
    }
}

impl core::error::Error for ConfigureError {}

impl Learner {
    /// Takes the operator's word for a connection between these ends. It is pinned: never given up
    /// when it is idle. What was learnt of its queue pairs otherwise, and contradicts, ends.
    ///
    /// # Errors
    /// See [`ConfigureError`]; nothing has changed then but idle flows may have made room.
    pub fn configure(
        &mut self,
        now_ns: u64,
        client: (IpAddr, Qpn),
        server: (IpAddr, Qpn),
    ) -> Result<ConnectionId, ConfigureError> {
        if client.0 == server.0 || client.0.is_ipv4() != server.0.is_ipv4() {
            return Err(ConfigureError::Addresses);
        }
        for (_, qpn) in [client, server] {
            if !is_usual_qp(qpn) {
                return Err(ConfigureError::QueuePair(qpn));
            }
        }
        let flows = self.flows_between(now_ns, client, server).ok_or(ConfigureError::NoRoom)?;
        let places = flows.map(|flow| self.flow(flow).connection);
        for place in places {
            if let Some(known) = self.connection_at(place)
                && known.evidence == Evidence::Configured
            {
                let same = (known.client.ip, known.client.qpn) == client
                    && (known.server.ip, known.server.qpn) == server;
                return if same { Ok(known.id) } else { Err(ConfigureError::Taken(known.id)) };
            }
        }
        let same = places[0] == places[1]
            && self.slot_at(places[0]).is_some_and(|slot| slot.flows == flows);
        if let Some(known) = self.connection_at(places[0]).filter(|_| same) {
            (known.evidence, known.pinned) = (Evidence::Configured, true);
            let id = known.id;
            self.count_learnt(Evidence::Configured);
            return Ok(id);
        }
        self.clear(flows);
        self.begin_told(now_ns, flows, Evidence::Configured, None).ok_or(ConfigureError::NoRoom)
    }

    /// Takes over a connection that another learner knew, and what the connection manager had said
    /// of it. It is pinned. Its name, if there was room. There is no event of it.
    pub(crate) fn restore(
        &mut self,
        now_ns: u64,
        [client, server]: [Endpoint; 2],
        source_ports: [u16; 2],
        cm: Option<CmFacts>,
    ) -> Option<ConnectionId> {
        let ends = [client, server].map(|end| (end.ip, end.qpn));
        let flows = self.flows_between(now_ns, ends[0], ends[1])?;
        let seen = [client.mac, server.mac].into_iter().zip(source_ports);
        for (flow, (mac, port)) in flows.into_iter().zip(seen) {
            let flow = self.flow(flow);
            (flow.source_mac, flow.source_port) = (mac, port);
        }
        let evidence = if cm.is_some() { Evidence::Cm } else { Evidence::Psn };
        let name = self.begin_told(now_ns, flows, evidence, cm)?;
        while self.poll_event().is_some() {}
        self.pin(name, true);
        Some(name)
    }

    /// What the connection manager said of a connection.
    pub(crate) fn cm_facts(&self, id: ConnectionId) -> Option<CmFacts> {
        self.connection(id)?.cm
    }

    /// Makes a connection of a handshake that is complete.
    pub(super) fn establish(&mut self, now_ns: u64, done: &Handshake) {
        let (Some(mut facts), Some(rep)) = (done.facts(), done.rep) else {
            return;
        };
        let (client, server) = (done.client, done.server);
        let ends = [(client.ip, done.req.local_qpn), (server.ip, rep.local_qpn)];
        let Some(mut flows) = self.flows_between(now_ns, ends[0], ends[1]) else {
            self.counters.connections_overflow += 1;
            return;
        };
        let mut macs = [client.mac, server.mac];
        let mut evidence = Evidence::Cm;
        let place = self.flow(flows[0]).connection;
        if place == self.flow(flows[1]).connection
            && let Some(&Slot { connection: Some(known), flows: known_flows, .. }) =
                self.slot_at(place)
        {
            evidence = evidence.max(known.evidence);
            if known.evidence == Evidence::Configured && known_flows != flows {
                // The operator has said who is to be called the client.
                facts = facts.reversed();
                flows.reverse();
                macs.reverse();
            }
            let is_new = known.cm.is_none()
                && (known.learnt_at_ns >= done.began_at_ns || self.is_silent(flows));
            if known_flows == flows && (is_new || known.cm == Some(facts)) {
                self.add_facts(place, facts);
                return;
            }
        }
        self.clear(flows);
        for (flow, mac) in flows.into_iter().zip(macs) {
            let flow = self.flow(flow);
            (flow.source_port, flow.source_mac) = (0, mac);
        }
        self.begin_told(now_ns, flows, evidence, Some(facts));
    }

    /// Adds what the connection manager says to a connection that is known already.
    fn add_facts(&mut self, place: u32, facts: CmFacts) {
        let Some(connection) = self.connection_at(place).filter(|known| known.cm.is_none()) else {
            return;
        };
        connection.evidence = connection.evidence.max(Evidence::Cm);
        connection.cm = Some(facts);
        let hash = hash_of_comm_ids(connection);
        if let Some(hash) = hash {
            self.by_comm_ids.insert(hash, place);
        }
        let flows = self.slot_at(place).map(|slot| slot.flows);
        if let Some(flows) = flows.filter(|&flows| self.is_silent(flows)) {
            self.expect(flows, &facts);
        }
    }

    /// Makes a connection of two unpaired flows, the first one from the client.
    fn begin_told(
        &mut self,
        now_ns: u64,
        flows: [u32; 2],
        evidence: Evidence,
        cm: Option<CmFacts>,
    ) -> Option<ConnectionId> {
        let [ahead, back] = flows.map(|flow| *self.flow(flow));
        let mut name = None;
        let learnt = self.begin(now_ns, flows, |id| {
            name = Some(id);
            Connection {
                id,
                client: Endpoint { ip: ahead.source, qpn: back.dest_qp, mac: ahead.source_mac },
                server: Endpoint { ip: back.source, qpn: ahead.dest_qp, mac: back.source_mac },
                source_port_request: ahead.source_port,
                source_port_response: back.source_port,
                evidence,
                cm,
                epoch: ahead.epoch.max(back.epoch),
                learnt_at_ns: now_ns,
                pinned: evidence == Evidence::Configured,
            }
        });
        if learnt {
            self.count_learnt(evidence);
            if let Some(facts) = cm {
                self.expect(flows, &facts);
            }
        }
        name.filter(|_| learnt)
    }

    /// Both flows of a connection begin at the PSNs agreed upon.
    fn expect(&mut self, flows: [u32; 2], facts: &CmFacts) {
        self.flow(flows[0]).requests = Requests::expecting(facts.client_psn);
        self.flow(flows[1]).requests = Requests::expecting(facts.server_psn);
    }

    /// The flows from client to server and back, new or known; `None` if there is no place.
    fn flows_between(
        &mut self,
        now_ns: u64,
        client: (IpAddr, Qpn),
        server: (IpAddr, Qpn),
    ) -> Option<[u32; 2]> {
        let keys = [(client.0, server.0, server.1), (server.0, client.0, client.1)];
        for (source, destination, qpn) in keys {
            if self.store.find(source, destination, qpn).is_none() {
                self.new_flow(now_ns, source, destination, qpn)?;
            }
        }
        // The second one may have taken the place of the first one.
        let [ahead, back] = keys.map(|(from, to, qpn)| self.store.find(from, to, qpn));
        Some([ahead?, back?])
    }

    /// Ends whatever two flows belong to, so that they know nothing.
    fn clear(&mut self, flows: [u32; 2]) {
        for flow in flows {
            let place = self.flow(flow).connection;
            if place != NONE {
                self.end_epoch(place, EndReason::NewEpoch);
            }
            self.flow(flow).restart();
        }
    }

    /// Whether no packet was seen of either flow.
    fn is_silent(&self, flows: [u32; 2]) -> bool {
        flows.iter().all(|&flow| self.store.flows[flow as usize].source_port == 0)
    }

    /// Takes in what the first packet of a flow shows of which nothing was seen before.
    #[cold]
    pub(super) fn complete_flow(&mut self, index: u32, layout: &Layout, frame: &[u8]) {
        let (port, mac) = (layout.source_port, mac_of(frame));
        let flow = self.flow(index);
        (flow.source_port, flow.source_mac) = (port, mac);
        let place = flow.connection;
        let from_client = self.slot_at(place).is_some_and(|slot| slot.flows[0] == index);
        if let Some(connection) = self.connection_at(place) {
            if from_client {
                (connection.source_port_request, connection.client.mac) = (port, mac);
            } else {
                (connection.source_port_response, connection.server.mac) = (port, mac);
            }
        }
    }
}

/// Whether a connection can have this queue pair: 0 and 1 manage, 0xffffff is multicast (IBTA
/// vol. 1, 3.5.3 and 10.5).
pub(super) fn is_usual_qp(qpn: Qpn) -> bool {
    (2..0xff_ffff).contains(&qpn.value())
}

/// The hash of the names that the connection manager gave a connection, if it did.
pub(super) fn hash_of_comm_ids(connection: &Connection) -> Option<u32> {
    let cm = connection.cm?;
    let (client, server) = (connection.client.ip, connection.server.ip);
    Some(comm_ids_hash(client, server, cm.client_comm_id, cm.server_comm_id))
}

/// The same, by the client's and the server's name.
pub(super) fn comm_ids_hash(
    client: IpAddr,
    server: IpAddr,
    client_name: u32,
    server_name: u32,
) -> u32 {
    let names = u64::from(client_name) << 32 | u64::from(server_name);
    Mixer::new().add_address(client).add_address(server).add(names).finish()
}
