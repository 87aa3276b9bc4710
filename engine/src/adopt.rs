//! From what the learner finds to connections that the engine serves.

use core::net::IpAddr;

use crate::connections::{self, Learner};
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::mux::closing::Loss;
use crate::mux::lookup::{request_flow, response_flow};
use crate::mux::server_qp::Teardown;
use crate::out::{Action, Out};
use crate::policy::{Connection, Endpoint, PathFacts, Start};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, CmLayout, CmMad, CmMessage, Layout, Msn, NotRc, Target, icrc};

impl Engine {
    /// A packet that is no RC packet that can be handled. It passes, unless it would have to be
    /// translated.
    pub(crate) fn on_other(
        &mut self,
        side: Side,
        now: Nanos,
        frame: &mut Frame<'_>,
        other: &NotRc,
        out: &mut Out,
    ) {
        match other {
            NotRc::Cnp(layout) => return self.on_cnp(side, frame, layout, out),
            NotRc::Cm(layout) => {
                self.dismissed = None;
                self.learn_from_mad(now, frame, layout, out);
                let mad = CmMad::parse(layout.mad(frame.bytes())).ok();
                if side == Side::Client
                    && let Some(mad) = mad.filter(|mad| matches!(mad.message, CmMessage::Dreq(_)))
                {
                    return self.on_teardown(&mad, frame, layout, out);
                }
            }
            NotRc::UnknownRcOpcode { target, .. }
                if self.is_translated(now, target, out)
                    && self.config.keeps(Rule::UnknownOpcodeStops) =>
            {
                return self.drop_frame(frame, DropReason::UnknownOpcode, out);
            }
            _ => {}
        }
        self.pass(frame, out);
    }

    /// Whether the packet's connection is translated. It is not forwarded then, since whether and
    /// how far it moves the connection's PSNs is not known: to its sender it is lost, for ever.
    /// (The opcode may also be damage, so nothing more is concluded from it.)
    fn is_translated(&mut self, now: Nanos, target: &Target, out: &mut Out) -> bool {
        let flow = (target.source, target.destination, target.dest_qp);
        let found = self.requests.find_flow(flow).or_else(|| self.responses.find_flow(flow));
        let Some(id) = found.map(ClientId).filter(|id| !self.is_past(now, *id, out)) else {
            return false;
        };
        self.servers.get(id.own_server_qp()).is_some_and(|server| server.started)
    }

    /// A packet may show that its queue pair number belongs to another connection than before: the
    /// first one behind a handshake whose RTU was not seen.
    pub(crate) fn confirm(
        &mut self,
        now: Nanos,
        frame: &Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        if let Some(learner) = self.learner.as_mut()
            && learner.may_confirm(layout)
            && icrc::verify(frame.bytes(), layout)
        {
            learner.confirm_handshake(now.0, layout);
            self.take_events(now, out);
        }
    }

    /// Whether a connection has ended and none of its packets can come any more. Its queue pair
    /// numbers are nobody's then.
    pub(crate) fn is_past(&mut self, now: Nanos, id: ClientId, out: &mut Out) -> bool {
        let open = || self.servers.get(id.own_server_qp()).is_some_and(|s| !s.open.is_empty());
        let past = self.watches.is_over(id, now) && !open();
        if past {
            self.forget_flows(id, out);
        }
        past
    }

    /// Watches a packet of no known connection.
    pub(crate) fn learn(&mut self, now: Nanos, frame: &Frame<'_>, layout: &Layout, out: &mut Out) {
        if let Some(learner) = self.learner.as_mut()
            && icrc::verify(frame.bytes(), layout)
        {
            learner.observe(now.0, layout, frame.bytes());
            self.take_events(now, out);
        }
    }

    fn learn_from_mad(&mut self, now: Nanos, frame: &Frame<'_>, layout: &CmLayout, out: &mut Out) {
        if let Some(learner) = self.learner.as_mut()
            && icrc::verify_cm(frame.bytes(), layout)
        {
            learner.observe_mad(now.0, layout, frame.bytes());
            self.take_events(now, out);
        }
    }

    fn take_events(&mut self, now: Nanos, out: &mut Out) {
        while let Some(event) = self.learner.as_mut().and_then(Learner::poll_event) {
            match event {
                connections::Event::ConnectionLearnt(learnt) => self.adopt(now, &learnt, out),
                connections::Event::ConnectionEnded { connection, .. } => {
                    self.dismiss(now, &connection, out);
                }
            }
        }
    }

    /// A learnt connection is watched from now on, until it can be translated.
    fn adopt(&mut self, now: Nanos, learnt: &connections::Connection, out: &mut Out) {
        let end = |end: &connections::Endpoint| Endpoint { mac: end.mac, ip: end.ip, qpn: end.qpn };
        let facts = |source_port| PathFacts {
            source_port,
            traffic_class: 0,
            hop_limit: 64,
            migration_request: false,
            partition_key: 0xffff,
            tag: None,
        };
        let connection = Connection {
            client: end(&learnt.client),
            server: end(&learnt.server),
            request: facts(learnt.source_port_request),
            response: facts(learnt.source_port_response),
            start: Start { psn: ClientPsn::new(0), msn: Msn::new(0), credits: 31 },
            path_mtu: 256,
            depth: learnt.cm.map_or(0, |cm| u16::from(cm.depth)),
            domain: self.domain_of(learnt.server.ip),
            shard: self.shard,
        };
        self.succeed(now, &connection, out);
        let added = self.directory.add(connection).ok();
        let Some(id) = added.or_else(|| self.reclaim(now, connection, out)) else {
            self.counters.not_adopted += 1;
            return;
        };
        self.requests.insert(request_flow(&connection), id.0);
        self.responses.insert(response_flow(&connection), id.0);
        self.directory.places.add_domain(connection.domain);
        if let Some(cm) = learnt.cm {
            self.watches.tell_path_mtu(id, cm.path_mtu);
        }
        let (client, server) = (learnt.client.ip, &learnt.server);
        let newest = self.learner.as_ref().and_then(|l| {
            l.newest_request(client, server.ip, server.qpn).map(ClientPsn::from_wire)
        });
        self.watches.tell_learnt(id, learnt.id, newest);
        self.counters.learnt += 1;
    }

    /// A connection is translated from now on. However long it is idle, its two ends would no
    /// longer understand each other if it was given up.
    pub(crate) fn keep_learnt(&mut self, id: ClientId) {
        if let (Some(name), Some(learner)) = (self.watches.learnt(id), self.learner.as_mut()) {
            learner.pin(name, true);
        }
    }

    /// A connection was torn down, or its queue pair numbers belong to another one now. Its
    /// server queue pair hosts nobody any more; what is bound there is finished. If it was
    /// translated, its PSNs mean different things to its two ends: what its client still sends is
    /// not forwarded as long as it may be late, and what its server still says is translated.
    fn dismiss(&mut self, now: Nanos, ended: &connections::Connection, out: &mut Out) {
        let request = (ended.client.ip, ended.server.ip, ended.server.qpn);
        let response = (ended.server.ip, ended.client.ip, ended.client.qpn);
        let Some(id) = self.requests.find_flow(request).map(ClientId) else { return };
        if self.responses.find_flow(response) != Some(id.0) {
            return;
        }
        self.watches.end(id, now.after(self.config.packet_lifetime_ns));
        self.record_end(id, true, out);
        self.close_host(id.own_server_qp());
        self.dismissed = Some(id.own_server_qp());
        let started = self.servers.get(id.own_server_qp()).is_some_and(|server| server.started);
        if !started || !self.config.keeps(Rule::LateIsNotForwarded) {
            self.forget_flows(id, out);
        }
    }

    /// Packets that bear a connection's queue pair numbers are its no longer.
    fn forget_flows(&mut self, id: ClientId, out: &mut Out) {
        let Some(&old) = self.directory.client(id) else { return };
        if self.requests.find_flow(request_flow(&old)) == Some(id.0) {
            self.record_end(id, false, out);
        }
        for (table, flow) in
            [(&mut self.requests, request_flow(&old)), (&mut self.responses, response_flow(&old))]
        {
            // They may belong to another connection by now.
            if table.find_flow(flow) == Some(id.0) {
                table.remove(flow);
            }
        }
    }

    /// A new connection has queue pair numbers of some that have ended: their packets are its.
    /// What one of them has open must not come to its server queue pair.
    fn succeed(&mut self, now: Nanos, connection: &Connection, out: &mut Out) {
        let flows = [
            (&mut self.requests, request_flow(connection)),
            (&mut self.responses, response_flow(connection)),
        ];
        let watches = &self.watches;
        let [asked, told] = flows.map(|(table, flow)| {
            let old = table.find_flow(flow).map(ClientId).filter(|id| watches.has_ended(*id));
            old.inspect(|_| table.remove(flow))
        });
        if let Some(old) = asked {
            let until = now.after(self.config.packet_lifetime_ns);
            self.lose_server(old.own_server_qp(), Loss::Silent { until });
            // Before anything of the new one passes: another engine would ask it what is done.
            self.record_loss(old.own_server_qp(), out);
        }
        for old in asked.into_iter().chain(told.filter(|_| asked != told)) {
            self.record_end(old, false, out);
        }
        // None of its packets can be told from the new one's.
        if let Some(old) = asked.filter(|_| asked == told) {
            self.watches.end(old, now);
        }
    }

    /// The table is full: a connection that has ended, and has nothing open, makes room. Not one
    /// whose packets may be late: it is better not to adopt another, which passes, than to take
    /// them for nobody's.
    fn reclaim(&mut self, now: Nanos, connection: Connection, out: &mut Out) -> Option<ClientId> {
        let mut ids = (0..self.directory.len() as u32).map(ClientId);
        let id = ids.find(|id| self.is_idle(*id) && self.may_reclaim(now, *id))?;
        self.forget_flows(id, out);
        self.clients.reset(id);
        self.forget_contents(id.own_server_qp());
        self.servers.reset(id.own_server_qp());
        self.watches.reset(id);
        self.resumes.reset(id);
        self.directory.replace(id, connection);
        Some(id)
    }

    /// Whether a connection's place may be another's.
    fn may_reclaim(&self, now: Nanos, id: ClientId) -> bool {
        let started = self.servers.get(id.own_server_qp()).is_some_and(|server| server.started);
        let over = self.watches.is_over(id, now) || self.watches.has_ended(id) && !started;
        over && !(started && self.config.records && self.is_named(id))
    }

    /// Whether another engine would be told of the number: a client waits for an answer to what
    /// went to its server queue pair, or a server queue pair has a request of its client.
    fn is_named(&self, id: ClientId) -> bool {
        let clients = self.clients.states.iter().zip(0..).any(|(client, at)| {
            let orphans = self.resumes.client(ClientId(at)).map(|resumed| resumed.orphans);
            let queues = [Some(client.queue), Some(client.repeats), orphans];
            let heads = queues.into_iter().flatten().filter_map(|queue| queue.head());
            let mut slots = heads.flat_map(|head| self.clients.slots.iter_from(head));
            slots.any(|slot| slot.target == id.own_server_qp())
        });
        clients
            || self.servers.states.iter().zip(0..).any(|(server, at)| {
                let kept = self.resumes.server(ServerQpId(at)).map(|resumed| resumed.kept);
                let queues = [Some(server.open), Some(server.again), kept];
                let heads = queues.into_iter().flatten().filter_map(|queue| queue.head());
                let mut slots = heads.flat_map(|head| self.servers.slots.iter_from(head));
                slots.any(|slot| slot.request.client == id)
            })
    }

    /// Whether neither half of a connection has anything open.
    fn is_idle(&self, id: ClientId) -> bool {
        let client = self.clients.get(id).is_some_and(|client| client.open == 0);
        client && self.servers.get(id.own_server_qp()).is_some_and(|server| server.is_idle())
    }

    /// A client's word that it ends its connection. It is kept back while guests are bound on its
    /// server queue pair, which would drop them; the client says it again until it is answered.
    fn on_teardown(&mut self, mad: &CmMad, frame: &Frame<'_>, layout: &CmLayout, out: &mut Out) {
        let transaction_id = mad.transaction_id;
        let again = self.servers.states.iter().zip(0..).any(|(server, id)| {
            let client = self.directory.client(ClientId(id));
            server.teardown.is_some_and(|held| held.transaction_id == transaction_id)
                && client.is_some_and(|client| client.client.ip == layout.source)
        });
        if again {
            return self.drop_frame(frame, DropReason::DuplicateInProgress, out);
        }
        let dismissed = self.dismissed.take().or_else(|| self.dismissed_before(mad, layout));
        let dismissed = dismissed.and_then(|id| self.servers.get_mut(id));
        let waits = self.config.keeps(Rule::TeardownWaits);
        let hosts = dismissed.filter(|s| waits && s.open_guests > 0 && s.loss.is_none());
        let Some(server) = hosts.filter(|server| server.teardown.is_none()) else {
            return self.pass(frame, out);
        };
        server.teardown = Some(Teardown { token: frame.token(), transaction_id });
        self.counters.teardowns_held += 1;
        out.push(Action::Hold(frame.token()));
    }

    /// The server queue pair whose client ends its connection, if an engine before has learnt so.
    fn dismissed_before(&self, mad: &CmMad, layout: &CmLayout) -> Option<ServerQpId> {
        let CmMessage::Dreq(dreq) = mad.message else { return None };
        let flow = (layout.source, layout.destination, dreq.remote_qpn);
        let id = self.requests.find_flow(flow).map(ClientId)?;
        self.watches.has_ended(id).then_some(id.own_server_qp())
    }

    /// One domain per server address: traffic does not show protection domains.
    fn domain_of(&self, server: IpAddr) -> DomainId {
        let connections = self.directory.connections();
        let known = connections.iter().find(|c| c.server.ip == server).map(|c| c.domain);
        let next = connections.iter().map(|c| c.domain.0 + 1).max().unwrap_or(0);
        known.unwrap_or(DomainId(next))
    }
}
