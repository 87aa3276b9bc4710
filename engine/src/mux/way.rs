//! Places in use: who may send to a place's host now, and who waits.

use super::client::{ClientSlot, Service, Way};
use super::closing::Hosting;
use crate::counters::DeclineReason;
use crate::engine::Engine;
use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::policy::{Access, Fit, PlaceId, TrustBy};
use crate::rules::Rule;
use crate::wire::ClientPsn;

impl Engine {
    /// The server queue pair that holds a place; one is found if none does, lowest number of
    /// places first, then lowest server queue pair number.
    pub(crate) fn host_of(&mut self, place: PlaceId, client: ClientId) -> Option<ServerQpId> {
        let state = self.directory.places.get(place)?;
        if state.host.is_some() || !self.policy.trust.learns() {
            return state.host;
        }
        let domain = self.directory.client(client)?.domain;
        let connections = self.directory.connections().iter().enumerate();
        let candidates = connections.filter(|(_, c)| c.domain == domain);
        let host = candidates
            .map(|(i, c)| (ServerQpId(i as u32), c.server.qpn))
            .filter(|(id, _)| self.is_eligible(*id))
            .min_by_key(|(id, qpn)| (self.directory.places.held_by(*id), *qpn))
            .map(|(id, _)| id)?;
        self.directory.places.get_mut(place)?.host = Some(host);
        Some(host)
    }

    /// A connection is translated from now on. Where connections are learnt, places had only those
    /// to choose their hosts from that were translated by then: this one's server queue pair takes
    /// over its share, of places that have nothing on their way. So a place's requests are never
    /// at two hosts, and those that wait for their turn find the new one. None of these may go
    /// earlier for that: nothing of its client is at a server queue pair that only begins.
    ///
    /// Only where all queue pairs have the same rights, and from a host with the same path: what
    /// the old host took the new one takes. And what is known of memory is known of a host, and
    /// would have to go along.
    pub(crate) fn take_share(&mut self, id: ServerQpId) {
        let alike = self.policy.trust == TrustBy::Configuration && !self.minds;
        let Some(domain) = self.directory.server_qp(id).map(|connection| connection.domain) else {
            return;
        };
        if !alike || !self.is_eligible(id) {
            return;
        }
        for place in self.directory.places.of_domain(domain) {
            self.take_over(place, id, domain);
        }
    }

    fn take_over(&mut self, place: PlaceId, id: ServerQpId, domain: DomainId) {
        let places = &self.directory.places;
        let moves_empty = self.config.keeps(Rule::PlaceMovesEmpty);
        let state = places.get(place).filter(|state| state.is_idle() || !moves_empty);
        let Some(host) = state.and_then(|state| state.host) else { return };
        let held = |id| places.held_in(domain, id);
        if held(host) <= held(id) + 1 || !self.directory.are_alike(host, id) {
            return;
        }
        if let Some(state) = self.directory.places.get_mut(place) {
            (state.host, state.host_recorded) = (Some(id), false);
            self.counters.places_taken_over += 1;
        }
    }

    fn is_eligible(&self, id: ServerQpId) -> bool {
        self.servers.get(id).is_some_and(|server| {
            let started = server.started && !self.watches.is_starting(id.owner());
            started && server.hosting == Hosting::Open && !server.exclusive
        }) && self.directory.may_host(id, &self.policy)
    }

    /// Whether a server queue pair holds a place.
    pub(crate) fn is_host(&self, id: ServerQpId) -> bool {
        self.directory.places.held_by(id) > 0
    }

    /// Settles which server queue pair a request that was not handed over goes to: the holder of
    /// its place may have changed while it waited.
    pub(crate) fn resolve(&mut self, id: ClientId, slot: u32) {
        let Some(record) = self.clients.slots.get(slot) else { return };
        let &ClientSlot { way, access, packets, .. } = record;
        if !record.opcode.starts_message() {
            // The rest of a message goes where the packet before it went.
            let previous = self.clients.slots.previous(slot);
            let before = match previous.and_then(|previous| self.clients.slots.get(previous)) {
                Some(before) => (before.way, before.target),
                None => self.clients.get(id).map_or((Way::Own, id.own_server_qp()), |c| c.released),
            };
            let Some(record) = self.clients.slots.get_mut(slot) else { return };
            (record.way, record.target) = before;
            return;
        }
        let Way::Place(place) = way else { return };
        let host = self.host_of(place, id);
        let knows = !self.config.step_by_step && packets == 1;
        let fit = match (host, access) {
            (Some(host), Some(access))
                if knows && self.directory.is_known_certain(id, host, &access) =>
            {
                Fit::Certain
            }
            (Some(host), Some(access)) => self.directory.fit(id, host, &access, packets),
            _ => Fit::Never(DeclineReason::NoPlace),
        };
        let Some(record) = self.clients.slots.get_mut(slot) else { return };
        match (fit, host) {
            (Fit::Certain, Some(host)) => record.target = host,
            (Fit::NotTrusted, Some(host)) if !self.config.keeps(Rule::CertainAcceptance) => {
                record.target = host;
            }
            (Fit::Never(DeclineReason::PathDiffers), Some(host))
                if !self.config.keeps(Rule::PathFits) =>
            {
                record.target = host;
            }
            _ => {
                record.way = Way::Alone(place);
                record.target = id.own_server_qp();
                record.exclusive = true;
            }
        }
    }

    /// Whether a request may enter its place now. If not, its client is woken when that changes.
    pub(crate) fn may_enter(&mut self, id: ClientId, record: &ClientSlot) -> bool {
        let place = match record.way {
            Way::Own => return true,
            Way::Place(place) | Way::Alone(place) => place,
        };
        if self.is_alone_before(place, (id, record.psn)) {
            self.parked.push(id.0);
            return false;
        }
        let Some(state) = self.directory.places.get_mut(place) else { return true };
        let may = match record.way {
            Way::Alone(_) => {
                let mine = state.alone.is_none_or(|client| client == id);
                if mine {
                    state.alone = Some(id);
                }
                mine && state.issued == 0
            }
            _ => state.alone.is_none() && !state.leaving,
        };
        if !may {
            self.parked.push(id.0);
        }
        may
    }

    /// Whether a request of this place that an engine before has handed over, to go alone, may
    /// still be on its way, or the rest of its message.
    fn is_alone_before(&mut self, place: PlaceId, asking: (ClientId, ClientPsn)) -> bool {
        let before = self.directory.places.get(place).is_some_and(|state| state.alone_before);
        if !before {
            return false;
        }
        let mut clients = (0..self.resumes.clients.len() as u32).map(ClientId);
        let alone = clients.any(|id| self.has_alone(id, place, asking));
        if let Some(state) = self.directory.places.get_mut(place) {
            state.alone_before = alone;
        }
        alone
    }

    /// The same of one client's requests, before the one that asks, if that is its own.
    fn has_alone(&self, id: ClientId, place: PlaceId, asking: (ClientId, ClientPsn)) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        let way = Way::Alone(place);
        let queue = client.queue.head().into_iter().flat_map(|at| self.clients.slots.iter_from(at));
        let mut before = queue.clone().take_while(|record| (id, record.psn) != asking);
        let newest = queue.last().map_or(client.released.0, |record| record.way);
        let cut = client.service != Service::Stopped && client.in_message && newest == way;
        before.any(|record| record.way == way && record.state.is_out()) || cut && id != asking.0
    }

    /// What an engine before has handed over stands in its place.
    pub(super) fn enter_again(&mut self, way: Way) {
        self.enter(way);
        if let Way::Alone(place) = way
            && let Some(state) = self.directory.places.get_mut(place)
            && self.config.keeps(Rule::AloneIsRestored)
        {
            state.alone_before = true;
        }
    }

    /// A request is handed over.
    pub(crate) fn enter(&mut self, way: Way) {
        self.directory.places.note_issued(way.place());
    }

    /// A handed-over request is complete, or never will be.
    pub(crate) fn leave(&mut self, id: ClientId, way: Way) {
        let (Way::Place(place) | Way::Alone(place)) = way else { return };
        let Some(state) = self.directory.places.get_mut(place) else { return };
        match way {
            Way::Alone(_) if state.alone == Some(id) => state.alone = None,
            Way::Place(_) => state.issued = state.issued.saturating_sub(1),
            _ => {}
        }
        let wake = state.issued == 0 && state.alone.is_some() || state.alone.is_none();
        while wake && let Some(client) = self.parked.pop() {
            self.clients.work.push(client);
        }
    }

    /// A slot's request is done at its server queue pair: it gives its place's room up, once.
    pub(crate) fn leave_slot(&mut self, id: ClientId, slot: u32) {
        let Some(record) = self.clients.slots.get_mut(slot) else { return };
        let way = record.way;
        // Whoever runs alone does so to the end of its message.
        let through = record.ends_message || !matches!(way, Way::Alone(_));
        if record.state.is_out() && through {
            self.leave(id, way);
        }
    }

    /// Something was answered positively.
    pub(crate) fn observe_access(
        &mut self,
        client: ClientId,
        server_qp: ServerQpId,
        access: Option<Access>,
    ) {
        if self.policy.trust != TrustBy::Observation {
            return;
        }
        self.directory.observe(client, server_qp, access);
    }

    /// The owner's request could not share its server queue pair with guests. After a few such
    /// requests it hosts no more.
    pub(crate) fn note_disturbance(&mut self, id: ServerQpId) {
        self.counters.emptied += 1;
        let max = self.config.disturbances_max;
        let Some(server) = self.servers.get_mut(id) else { return };
        server.disturbances += 1;
        if server.disturbances > max {
            self.close_host(id);
        }
    }
}
