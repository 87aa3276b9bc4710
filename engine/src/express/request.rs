//! The usual request: one packet, the next of its client, certain to be accepted where it goes,
//! where nothing keeps it waiting. It is accepted, bound and sent.

use super::{Asks, Seen};
use crate::engine::Engine;
use crate::frame::{Frame, Side, Token};
use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::journal::Operands;
use crate::mail::{Kind, Origin, Request, SlotRef};
use crate::mux::client::{ClientSlot, State, Way};
use crate::mux::server::{ServerSlot, Source};
use crate::mux::server_qp::SPAN_MAX;
use crate::mux::slab::Queue;
use crate::out::{Action, Out};
use crate::policy::{Access, KeyMap, KeyOf, Map, PlaceId, Rights, Spot};
use crate::time::Nanos;
use crate::wire::facts::Renewed;
use crate::wire::{ClientPsn, Ecn, Opcode, ServerPsn, usual};

/// What a request asks for, and what else is to be kept of it.
struct Asked {
    kind: Kind,
    access: Access,
    operands: Operands,
    psn: ClientPsn,
    opcode: Opcode,
    payload_len: u16,
    ecn: Ecn,
    token: Token,
}

/// Where it goes.
struct Route {
    target: ServerQpId,
    place: Option<PlaceId>,
    key: Option<u64>,
    domain: DomainId,
    /// Where its address is known, if it was looked up.
    spot: Option<Spot>,
}

impl Asked {
    #[inline(always)]
    fn read<K: Asks>(frame: &[u8], seen: &Seen, token: Token) -> Option<Asked> {
        const AT: usize = usual::HEADERS;
        let head: &[u8; AT + 16] = frame.first_chunk()?;
        let (words, _) = head[AT..].as_chunks::<4>();
        let [first, second, remote_key, len] = words else { return None };
        let [first, second, remote_key, len] =
            [first, second, remote_key, len].map(|word| u32::from_be_bytes(*word));
        let start = u64::from(first) << 32 | u64::from(second);
        let (right, len, operands) = match K::KIND {
            Kind::Plain => (Rights::WRITE, len, Operands::default()),
            Kind::Read => (Rights::READ, len, Operands::default()),
            Kind::Atomic => {
                let (longs, _) = frame.get(AT + 12..)?.as_chunks::<8>();
                let [swap_or_add, compare, ..] = longs else { return None };
                let swap_or_add = u64::from_be_bytes(*swap_or_add);
                let compare = u64::from_be_bytes(*compare);
                (Rights::ATOMIC, 8, Operands { swap_or_add, compare })
            }
        };
        Some(Asked {
            kind: K::KIND,
            access: Access { remote_key, right, start, len },
            operands,
            psn: ClientPsn::from_wire(seen.shape.psn),
            opcode: match K::KIND {
                Kind::Plain => Opcode::WriteOnly,
                Kind::Read => Opcode::ReadRequest,
                Kind::Atomic => seen.shape.opcode,
            },
            payload_len: if K::KIND == Kind::Plain { seen.shape.payload_len } else { 0 },
            ecn: Ecn::from_traffic_class(seen.shape.traffic_class),
            token,
        })
    }

    /// The payload of a WRITE.
    #[inline(always)]
    fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usual::HEADERS + self.opcode.headers_len();
        bytes.get(start..start + usize::from(self.payload_len)).unwrap_or_default()
    }

    /// Whether headers and payload agree, as every responder checks (rxe_resp.c).
    #[inline(always)]
    fn is_sound(&self) -> bool {
        match self.kind {
            Kind::Plain => self.access.len == u32::from(self.payload_len),
            Kind::Atomic => self.access.start.is_multiple_of(8),
            Kind::Read => true,
        }
    }
}

impl Engine {
    /// Accepts a request, binds it and sends it on, if it is a usual one. `false`, and nothing is
    /// done, if it is not.
    // One function by itself has its values in registers.
    #[inline(never)]
    pub(super) fn take_request<K: Asks>(
        &mut self,
        now: Nanos,
        seen: &Seen,
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> bool {
        let (id, bytes) = (ClientId(seen.connection), frame.bytes());
        let Some(asked) = Asked::read::<K>(bytes, seen, frame.token()) else { return false };
        if !asked.is_sound() || !self.is_usual_request(id, &asked, bytes) {
            return false;
        }
        let Some(route) = self.find_route(id, &asked, bytes) else { return false };
        if !self.goes_at_once(id, route.target, asked.kind) {
            return false;
        }
        self.note(&asked, &route);
        if let Some((slot, psn)) = self.bind_usual::<K>((now, id), &asked, &route) {
            if self.config.records {
                self.record_usual(slot, frame, out);
            }
            self.put_request(id, route.target, psn, frame, seen);
            out.push(Action::ForwardAndRetain(asked.token, Side::Server));
        }
        true
    }

    /// Whether a packet is the next of a client of which nothing is kept back, takes one packet
    /// each way, and is intact, where that has to be looked at.
    #[inline(always)]
    fn is_usual_request(&mut self, id: ClientId, asked: &Asked, bytes: &[u8]) -> bool {
        let room = self.clients.slots.free();
        let Some(client) = self.clients.states.usual(id.index()) else { return false };
        let Some(card) = self.directory.card(id) else { return false };
        let next = client.expected == asked.psn
            && client.open < self.config.client_window_max
            // Else it is crowded: see `client_request.rs`.
            && (client.open as usize) < room;
        let short = asked.kind != Kind::Read || asked.access.len <= card.path_mtu;
        let intact = asked.payload_len == 0 || self.trusts_usual_data() || super::is_intact(bytes);
        next && short && intact
    }

    /// Where a request goes, if it is certain to be accepted there.
    #[inline(always)]
    fn find_route(&mut self, id: ClientId, asked: &Asked, bytes: &[u8]) -> Option<Route> {
        let domain = self.directory.card(id)?.domain;
        let (key, spot) = self.find_key((id, domain), asked, bytes)?;
        let by_connection = self.policy.key_map == KeyMap::ByConnection;
        let own = Route { target: id.own_server_qp(), place: None, key, domain, spot };
        let route = match key.or(by_connection.then_some(0)) {
            None => own,
            Some(key) => {
                if self.policy.message_packets_max == 0 || self.declined.contains(domain, key) {
                    return None;
                }
                let place = self.directory.places.of_key(self.policy.key_map, domain, key, id)?;
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
    #[inline(always)]
    fn find_key(
        &self,
        (id, domain): (ClientId, DomainId),
        asked: &Asked,
        bytes: &[u8],
    ) -> Option<(Option<u64>, Option<Spot>)> {
        if asked.kind == Kind::Read && self.choices.map != Map::All {
            return Some((None, None));
        }
        let last = self.clients.get(id)?.last_key;
        let extent = Some((asked.access.start, asked.access.len));
        match self.policy.profile.key_of(asked.opcode, asked.payload(bytes), extent, last) {
            KeyOf::Keyless => Some((None, None)),
            KeyOf::Known(key) => Some((Some(key), None)),
            KeyOf::Unknown => None,
            KeyOf::OfAddress { otherwise, .. } => {
                match self.addresses.find(domain, asked.access.start) {
                    Some((spot, key)) => Some((Some(key), Some(spot))),
                    None => Some((Some(otherwise?), None)),
                }
            }
        }
    }

    /// Whether nothing at its client or its server queue pair keeps a request waiting.
    #[inline(always)]
    fn goes_at_once(&mut self, id: ClientId, target: ServerQpId, kind: Kind) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        let Some(server) = self.servers.states.usual(target.index()) else { return false };
        let depth = || self.directory.card(target.owner()).map_or(0, |card| card.depth);
        (client.queue.is_empty() || client.target == target)
            && (kind == Kind::Plain || server.open_reads < depth())
            && server.open_packets < self.config.server_window_max
            && server.open_span < SPAN_MAX
            && !self.directory.places.have_moved()
            && !self.servers.slots.is_full()
    }

    /// What an accepted request shows of keys.
    #[inline(always)]
    fn note(&mut self, asked: &Asked, route: &Route) {
        self.counters.requests += 1;
        self.counters.keyed += u64::from(route.key.is_some());
        if let Some(spot) = route.spot {
            self.addresses.note_use(spot);
            self.counters.address_hits += 1;
        }
        if let (Some(key), Kind::Plain) = (route.key, asked.kind) {
            let evicted = self.addresses.insert(route.domain, asked.access.start, key);
            self.counters.address_evictions += u64::from(evicted);
        }
        if let Some(state) = route.place.and_then(|place| self.directory.places.get_mut(place)) {
            state.issued += 1;
        }
    }

    /// Accepts a request: its slot at its client, and what it is to that.
    #[inline(always)]
    fn accept_usual<K: Asks>(
        &mut self,
        id: ClientId,
        asked: &Asked,
        route: &Route,
    ) -> Option<(SlotRef, Origin)> {
        let &Asked { access, operands, psn, opcode, .. } = asked;
        let kind = K::KIND;
        let (target, way) = (route.target, route.place.map_or(Way::Own, Way::Place));
        let reads_mapped = self.choices.map == Map::All;
        let client = self.clients.states.get_same(id.index())?;
        client.expected = psn.add(1);
        client.accepted_msn = client.accepted_msn.add(1);
        client.open += 1;
        client.target = target;
        if route.key.is_some() && kind == Kind::Plain {
            client.last_key = route.key;
        }
        let (msn, key, floor) = (client.accepted_msn, client.last_key, client.completed_end);
        let (slot, record) = self.clients.slots.place()?;
        *record = ClientSlot {
            psn,
            packets: 1,
            msn,
            kind,
            opcode,
            ends_message: true,
            way,
            target,
            exclusive: false,
            access: Some(access),
            operands,
            of_key: route.key,
            reads_mapped,
            state: State::Issued,
            key,
            original: 0,
            parts: 0,
            held: Queue::EMPTY,
        };
        self.clients.slots.push_back(&mut client.queue, slot.index);
        Some((slot, Origin { psn, msn, opcode, floor, way, again: false, key }))
    }

    /// Gives a request its slots and its PSN.
    #[inline(always)]
    fn bind_usual<K: Asks>(
        &mut self,
        (now, id): (Nanos, ClientId),
        asked: &Asked,
        route: &Route,
    ) -> Option<(u32, ServerPsn)> {
        let (at_client, origin) = self.accept_usual::<K>(id, asked, route)?;
        let &Asked { access, operands, payload_len, ecn, token, .. } = asked;
        let kind = K::KIND;
        let unverified = payload_len > 0 && self.trusts_usual_data();
        self.servers.arrivals += 1;
        let server = self.servers.states.get_same(route.target.index())?;
        let psn = server.next;
        let (slot, record) = self.servers.slots.place()?;
        *record = ServerSlot {
            request: Request {
                client: id,
                slot: at_client,
                server_qp: route.target,
                kind,
                packets: 1,
                starts_message: true,
                ends_message: true,
                exclusive: false,
                alone: false,
                mapped: route.place.is_some(),
                parts: 0,
                access: Some(access),
                operands,
                key: route.key,
                origin,
            },
            psn,
            token,
            source: Source::Frame,
            unverified,
            payload_len,
            parts: 0,
            done: false,
            arrival: self.servers.arrivals,
        };
        if kind != Kind::Plain {
            self.servers.past_reads.note_bound(&record.request, Some(access), psn);
        }
        let was_empty = server.open.is_empty();
        server.on_bound(now, psn, &record.request, ecn, &self.config);
        if was_empty {
            self.deadlines.note(route.target.0, server.deadline);
        }
        self.servers.slots.push_back(&mut server.open, slot.index);
        Some((slot.index, psn))
    }

    /// Records that a request was bound.
    #[cold]
    fn record_usual(&mut self, slot: u32, frame: &Frame<'_>, out: &mut Out) {
        if let Some(layout) = usual::layout(frame.bytes()) {
            self.record_binding(slot, frame, &layout, out);
        }
    }

    /// Makes a frame one of its server queue pair's.
    #[inline(always)]
    fn put_request(
        &self,
        id: ClientId,
        target: ServerQpId,
        psn: ServerPsn,
        frame: &mut Frame<'_>,
        seen: &Seen,
    ) {
        let (own, host) = (self.directory.card(id), self.directory.card(target.owner()));
        if let (Some(own), Some(host)) = (own, host) {
            let new = Renewed { psn: psn.to_wire(), ack_request: true, aeth: None };
            let at = seen.shape.icrc.into();
            host.request.put(&own.request, &self.icrc, frame.bytes_mut(), at, &new);
        } else {
            debug_assert!(false, "both are known");
        }
    }
}
