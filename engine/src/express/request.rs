//! The usual request: one packet, the next of its client, certain to be accepted where it goes,
//! where nothing keeps it waiting. It is accepted, bound and sent.

use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, ServerQpId};
use crate::journal::Operands;
use crate::mail::{Kind, Origin, Request};
use crate::mux::client::{ClientSlot, Gap, Service, State, Way};
use crate::mux::server::{ServerSlot, Source};
use crate::mux::slab::Queue;
use crate::out::{Action, Out};
use crate::policy::{Access, KeyMap, KeyOf, Map, PlaceId, Rights, Spot};
use crate::time::Nanos;
use crate::wire::facts::Renewed;
use crate::wire::{ClientPsn, Layout, Opcode, ServerPsn, icrc, usual};

/// What a request asks for.
struct Asked {
    kind: Kind,
    access: Access,
    operands: Operands,
}

/// Where it goes.
struct Route {
    target: ServerQpId,
    place: Option<PlaceId>,
    key: Option<u64>,
    /// Where its address is known, if it was looked up.
    spot: Option<Spot>,
}

impl Asked {
    #[inline]
    fn read(frame: &[u8], layout: &Layout) -> Option<Asked> {
        let word = |at: usize| Some(u32::from_be_bytes(*frame.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_be_bytes(*frame.get(at..)?.first_chunk()?));
        const AT: usize = usual::HEADERS;
        let access = |right, len| {
            Some(Access { remote_key: word(AT + 8)?, right, start: long(AT)?, len })
        };
        let (kind, access) = match layout.opcode {
            Opcode::WriteOnly => (Kind::Plain, access(Rights::WRITE, word(AT + 12)?)?),
            Opcode::ReadRequest => (Kind::Read, access(Rights::READ, word(AT + 12)?)?),
            Opcode::CompareSwap | Opcode::FetchAdd => (Kind::Atomic, access(Rights::ATOMIC, 8)?),
            _ => return None,
        };
        let operands = match kind {
            Kind::Atomic => Operands { swap_or_add: long(AT + 12)?, compare: long(AT + 20)? },
            Kind::Plain | Kind::Read => Operands::default(),
        };
        Some(Asked { kind, access, operands })
    }

    /// Whether headers and payload agree, as every responder checks (rxe_resp.c).
    fn is_sound(&self, layout: &Layout) -> bool {
        match self.kind {
            Kind::Plain => self.access.len == u32::from(layout.payload_len),
            Kind::Atomic => self.access.start.is_multiple_of(8),
            Kind::Read => true,
        }
    }
}

impl Engine {
    /// Accepts a request, binds it and sends it on, if it is a usual one. `false`, and nothing is
    /// done, if it is not.
    #[inline]
    pub(super) fn take_request(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) -> bool {
        let bytes = frame.bytes();
        let Some(asked) = Asked::read(bytes, layout) else { return false };
        let verifies = layout.payload_len == 0 || !self.trusts_data();
        if !asked.is_sound(layout)
            || !self.is_next(id, layout)
            || !self.is_usual_request(id, &asked, bytes, layout, verifies)
        {
            return false;
        }
        let Some(route) = self.find_route(id, &asked, bytes, layout) else { return false };
        if !self.goes_at_once(id, route.target, asked.kind) {
            return false;
        }
        self.note(id, &asked, &route);
        if let Some((slot, psn)) =
            self.bind_usual(now, id, (&asked, &route), !verifies, frame, layout)
        {
            if self.config.records {
                self.record_binding(slot, frame, layout, out);
            }
            self.put_request(id, route.target, psn, frame, layout);
            out.push(Action::ForwardAndRetain(frame.token(), Side::Server));
        }
        true
    }

    /// Whether a packet is the next of a client of which nothing is kept back.
    #[inline]
    fn is_next(&self, id: ClientId, layout: &Layout) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        let room = self.clients.slots.free();
        client.expected == ClientPsn::from_wire(layout.psn)
            && client.service == Service::Active
            && !client.in_message
            && client.assembly.is_none()
            && client.first_held.is_none()
            && client.halted.is_none()
            && client.open < self.config.client_window_max
            // Else it is crowded: see `client_request.rs`.
            && (client.open as usize) < room
    }

    /// Whether a request takes one packet each way, has the headers of its connection, and is
    /// intact, where that has to be looked at.
    #[inline]
    fn is_usual_request(
        &self,
        id: ClientId,
        asked: &Asked,
        bytes: &[u8],
        layout: &Layout,
        verifies: bool,
    ) -> bool {
        let (Some(card), Some(head)) = (self.directory.card(id), bytes.first_chunk()) else {
            return false;
        };
        let short = asked.kind != Kind::Read || asked.access.len <= u32::from(card.path_mtu);
        let intact = || match layout.payload_len {
            0 => card.request.verify(bytes, layout.opcode),
            _ => icrc::verify(bytes, layout),
        };
        short && card.request.are_of(head, layout.opcode) && (!verifies || intact())
    }

    /// Where a request goes, if it is certain to be accepted there.
    #[inline]
    fn find_route(
        &mut self,
        id: ClientId,
        asked: &Asked,
        bytes: &[u8],
        layout: &Layout,
    ) -> Option<Route> {
        let (key, spot) = self.find_key(id, asked, bytes, layout)?;
        let by_connection = self.policy.key_map == KeyMap::ByConnection;
        let own = Route { target: id.own_server_qp(), place: None, key, spot };
        let route = match key.or(by_connection.then_some(0)) {
            None => own,
            Some(key) => {
                let domain = self.directory.card(id)?.domain;
                if self.policy.message_packets_max == 0 || self.declined.contains(domain, key) {
                    return None;
                }
                let map = self.policy.key_map;
                let place = self.directory.places.of_key(map, domain, key, id)?;
                let state = self.directory.places.get(place)?;
                let target = state.host?;
                if state.alone.is_some() || state.leaving || state.alone_before {
                    return None;
                }
                Route { target, place: Some(place), ..own }
            }
        };
        self.directory.is_certain(id, route.target, &asked.access).then_some(route)
    }

    /// A request's key, if it has one, and where its address is remembered, if it was looked for
    /// there. `None` if it belongs to a key that is not known.
    #[inline]
    fn find_key(
        &self,
        id: ClientId,
        asked: &Asked,
        bytes: &[u8],
        layout: &Layout,
    ) -> Option<(Option<u64>, Option<Spot>)> {
        if asked.kind == Kind::Read && self.choices.map != Map::All {
            return Some((None, None));
        }
        let last = self.clients.get(id)?.last_key;
        let extent = Some((asked.access.start, asked.access.len));
        match self.policy.profile.key_of(layout, bytes, extent, last) {
            KeyOf::Keyless => Some((None, None)),
            KeyOf::Known(key) => Some((Some(key), None)),
            KeyOf::Unknown => None,
            KeyOf::OfAddress { otherwise, .. } => {
                let domain = self.directory.card(id)?.domain;
                match self.addresses.spot(domain, asked.access.start) {
                    Some((spot, key)) => Some((Some(key), Some(spot))),
                    None => Some((Some(otherwise?), None)),
                }
            }
        }
    }

    /// Whether nothing at its client or its server queue pair keeps a request waiting.
    #[inline]
    fn goes_at_once(&self, id: ClientId, target: ServerQpId, kind: Kind) -> bool {
        let (Some(client), Some(server)) = (self.clients.get(id), self.servers.get(target)) else {
            return false;
        };
        let depth = self.directory.card(target.owner()).map_or(0, |card| card.depth);
        (client.queue.is_empty() || client.target == target)
            && !self.directory.places.have_moved()
            && server.takes_at_once()
            && (kind == Kind::Plain || server.open_reads < depth)
            && (!server.exclusive || target == id.own_server_qp())
            && server.open_packets < self.config.server_window_max
            && self.fits_span(server, 1)
            && !self.servers.slots.is_full()
    }

    /// What an accepted request shows of keys.
    #[inline]
    fn note(&mut self, id: ClientId, asked: &Asked, route: &Route) {
        self.counters.keyed += u64::from(route.key.is_some());
        if let (Some(spot), Some(card)) = (route.spot, self.directory.card(id)) {
            self.addresses.use_spot(card.domain, spot);
            self.counters.address_hits += 1;
        }
        if let (Some(key), Kind::Plain) = (route.key, asked.kind) {
            if let Some(client) = self.clients.get_mut(id) {
                client.last_key = Some(key);
            }
            self.note_address(id, asked.access.start, key);
        }
        if let Some(state) = route.place.and_then(|place| self.directory.places.get_mut(place)) {
            state.issued += 1;
        }
    }

    /// Gives a request its slots and its PSN.
    #[inline]
    fn bind_usual(
        &mut self,
        now: Nanos,
        id: ClientId,
        (asked, route): (&Asked, &Route),
        unverified: bool,
        frame: &Frame<'_>,
        layout: &Layout,
    ) -> Option<(u32, ServerPsn)> {
        let (psn, target) = (ClientPsn::from_wire(layout.psn), route.target);
        let way = route.place.map_or(Way::Own, Way::Place);
        let client = self.clients.states.get_mut(id.index())?;
        client.expected = psn.add(1);
        client.gap = Gap::None;
        client.accepted_msn = client.accepted_msn.add(1);
        client.open += 1;
        client.target = target;
        self.counters.requests += 1;
        let (msn, key, floor) = (client.accepted_msn, client.last_key, client.completed_end);
        let slot = self.clients.slots.insert(ClientSlot {
            psn,
            packets: 1,
            msn,
            kind: asked.kind,
            opcode: layout.opcode,
            ends_message: true,
            way,
            target,
            exclusive: false,
            access: Some(asked.access),
            operands: asked.operands,
            of_key: route.key,
            reads_mapped: self.choices.map == Map::All,
            state: State::Issued,
            key,
            original: 0,
            parts: 0,
            held: Queue::EMPTY,
        })?;
        self.clients.slots.push_back(&mut client.queue, slot);
        let request = Request {
            client: id,
            slot: self.clients.slots.reference(slot),
            server_qp: target,
            kind: asked.kind,
            packets: 1,
            starts_message: true,
            ends_message: true,
            exclusive: false,
            alone: false,
            mapped: route.place.is_some(),
            parts: 0,
            access: Some(asked.access),
            operands: asked.operands,
            key: route.key,
            origin: Origin { psn, msn, opcode: layout.opcode, floor, way, again: false, key },
        };
        self.servers.arrivals += 1;
        let psn = self.servers.get(target)?.next;
        let slot = self.servers.slots.insert(ServerSlot {
            request,
            psn,
            token: frame.token(),
            source: Source::Frame,
            unverified,
            payload_len: layout.payload_len,
            parts: 0,
            done: false,
            arrival: self.servers.arrivals,
        })?;
        self.note_bound(now, slot, psn, request.access, layout.ecn);
        Some((slot, psn))
    }

    /// Makes a frame one of its server queue pair's.
    #[inline]
    fn put_request(
        &self,
        id: ClientId,
        target: ServerQpId,
        psn: ServerPsn,
        frame: &mut Frame<'_>,
        layout: &Layout,
    ) {
        let (own, host) = (self.directory.card(id), self.directory.card(target.owner()));
        if let (Some(own), Some(host)) = (own, host) {
            let new = Renewed { psn: psn.to_wire(), ack_request: true, aeth: None };
            let at = layout.icrc.into();
            host.request.put(&own.request, &self.icrc, frame.bytes_mut(), at, &new);
        }
    }
}
