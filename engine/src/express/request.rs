//! The usual request: one packet, the next of its client, certain to be accepted where it goes,
//! where nothing keeps it waiting. It is accepted, bound and sent.

use super::asked::{Asked, Found};
use super::{Asks, Seen};
use crate::config::Config;
use crate::engine::Engine;
use crate::frame::{Frame, Side, Token};
use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::mail::{Kind, Origin, Request, SlotRef};
use crate::mux::client::{Client, ClientSlot, State, Way};
use crate::mux::server::{ServerSlot, Source};
use crate::mux::server_qp::{SPAN_MAX, ServerQp};
use crate::mux::slab::{Queue, Slab};
use crate::out::{Action, Out};
use crate::policy::{Addresses, Card, DeclinedKeys, Directory, KeyMap, Map, PlaceId, Policy};
use crate::time::Nanos;
use crate::wire::facts::Renewed;
use crate::wire::{ClientPsn, ServerPsn, usual};

/// Where a request goes.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) target: ServerQpId,
    pub(super) place: Option<PlaceId>,
}

/// A request that its client's half has accepted.
pub(super) struct Accepted {
    client: ClientId,
    slot: SlotRef,
    origin: Origin,
    target: ServerQpId,
    key: Option<u64>,
}

impl Engine {
    /// Accepts a request, binds it and sends it on, or holds it, if it is a usual one. `false`, and
    /// nothing is done, if it is not.
    // One function by itself has its values in registers.
    #[inline(never)]
    pub(super) fn take_request<K: Asks>(
        &mut self,
        now: Nanos,
        seen: &Seen,
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> bool {
        let id = ClientId(seen.connection);
        let asked = Asked::read::<K>(frame.bytes(), seen, frame.token());
        let Some(asked) = asked else { return false };
        if self.minds {
            return self.bind_minding::<K>((now, id), &asked, frame, out).is_some()
                || self.hold_usual::<K>(id, &asked, frame, out).is_some();
        }
        let bound = self.bind_usual::<K>((now, id), &asked, seen, frame);
        let Some(slot) = bound else {
            return self.hold_usual::<K>(id, &asked, frame, out).is_some();
        };
        if self.config.records {
            self.record_usual(slot, frame, out);
        }
        out.push(Action::ForwardAndRetain(asked.token, Side::Server));
        true
    }

    /// Accepts a request, binds it, and makes its frame one of its server queue pair's. The record
    /// there; `None`, and nothing is done, if it is not a usual one.
    // Each table is looked into once; what stands there is at hand from then on.
    #[inline(always)]
    fn bind_usual<K: Asks>(
        &mut self,
        (now, id): (Nanos, ClientId),
        asked: &Asked,
        seen: &Seen,
        frame: &mut Frame<'_>,
    ) -> Option<u32> {
        let unverified = asked.payload_len > 0 && self.trusts_data();
        let Engine { clients, servers, directory, config, counters, .. } = self;
        let room = clients.slots.free().min(config.client_window_max as usize);
        let client = clients.states.usual(id.index())?;
        let own = directory.card(id)?;
        let intact = asked.payload_len == 0 || unverified || super::is_intact(frame.bytes());
        if !asked.is_next_of(client, own, room) || !intact {
            return None;
        }
        let knows = (&self.policy, self.choices.map);
        let found = asked.find_key(knows, &self.addresses, (client, own), frame)?;
        let route = find_route(&self.policy, directory, &self.declined, (id, own), found.key)?;
        let server = servers.states.usual(route.target.index())?;
        let host = directory.card(route.target.owner())?;
        if !goes_at_once::<K>(client, (route.target, server), host, config)
            || directory.places.have_moved()
            || servers.slots.is_full()
        {
            return None;
        }
        let guest = route.target != id.own_server_qp();
        let (own, host) = match own.is_certain(host, guest, &asked.access) {
            true => (own, host),
            false => directory.find_certain(id, route.target, &asked.access)?,
        };
        counters.requests += 1;
        counters.keyed += u64::from(found.key.is_some());
        counters.address_hits += u64::from(found.spot.is_some());
        let evicted = note_address(&mut self.addresses, own.domain, asked, &found);
        counters.address_evictions += u64::from(evicted);
        // Both halves have room for it: that was asked before anything was changed.
        let reads_mapped = self.choices.map == Map::All;
        let slots = &mut clients.slots;
        let accepted = accept::<K>((id, client), slots, asked, (&route, found.key), reads_mapped)?;
        servers.arrivals += 1;
        let psn = server.next;
        let alone = server.open.is_empty();
        let (slot, record) = servers.slots.append(&mut server.open)?;
        *record = bound(&accepted, (asked, unverified), psn, servers.arrivals);
        if K::KIND != Kind::Plain {
            servers.past_reads.note_bound(&record.request, Some(asked.access), psn);
        }
        server.on_bound((now, alone), psn, &record.request, asked.ecn, config);
        if alone {
            self.deadlines.note(route.target.0, server.deadline);
        }
        let new = Renewed { psn: psn.to_wire(), ack_request: true, aeth: None };
        let at = seen.shape.icrc.into();
        host.request.put(&own.request, &self.icrc, frame.bytes_mut(), at, &new);
        directory.places.note_issued(route.place);
        Some(slot.index)
    }

    /// Records that a request was bound.
    #[cold]
    fn record_usual(&mut self, slot: u32, frame: &Frame<'_>, out: &mut Out) {
        if let Some(layout) = usual::layout(frame.bytes()) {
            self.record_binding(slot, frame, &layout, out);
        }
    }
}

/// Where a request goes.
#[inline(always)]
pub(super) fn find_route(
    policy: &Policy,
    directory: &Directory,
    declined: &DeclinedKeys,
    (id, own): (ClientId, &Card),
    key: Option<u64>,
) -> Option<Route> {
    let by_connection = policy.key_map == KeyMap::ByConnection;
    let Some(key) = key.or(by_connection.then_some(0)) else {
        return Some(Route { target: id.own_server_qp(), place: None });
    };
    if policy.message_packets_max == 0 || declined.contains(own.domain, key) {
        return None;
    }
    let place = directory.places.of_key(policy.key_map, own.domain, key, id)?;
    let state = directory.places.get(place)?;
    Some(Route { target: state.open_host()?, place: Some(place) })
}

/// Whether nothing at its client or its server queue pair keeps a request waiting.
#[inline(always)]
pub(super) fn goes_at_once<K: Asks>(
    client: &Client,
    (target, server): (ServerQpId, &ServerQp),
    host: &Card,
    config: &Config,
) -> bool {
    (client.queue.is_empty() || client.target == target)
        && (K::KIND == Kind::Plain || server.open_reads < host.depth)
        && server.open_packets < config.server_window_max
        && server.open_span < SPAN_MAX
}

/// Takes note of the key at a request's address, which it uses or writes.
#[inline(always)]
pub(super) fn note_address(
    addresses: &mut Addresses,
    domain: DomainId,
    asked: &Asked,
    found: &Found,
) -> bool {
    if let Some(spot) = found.spot {
        addresses.note_use(spot);
    }
    match (found.key, asked.kind) {
        (Some(key), Kind::Plain) => addresses.insert(domain, asked.access.start, key),
        _ => false,
    }
}

/// Accepts a request that goes at once: its slot at its client, and what it is to that.
#[inline(always)]
pub(super) fn accept<K: Asks>(
    (id, client): (ClientId, &mut Client),
    slots: &mut Slab<ClientSlot>,
    asked: &Asked,
    (route, of_key): (&Route, Option<u64>),
    reads_mapped: bool,
) -> Option<Accepted> {
    let target = route.target;
    client.target = target;
    let state = (State::Issued, reads_mapped);
    let (slot, way) = enqueue::<K>(client, slots, asked, (route, of_key), state)?;
    let &Asked { psn, opcode, .. } = asked;
    let (msn, key, floor) = (client.accepted_msn, client.last_key, client.completed_end);
    let origin = Origin { psn, msn, opcode, floor, way, again: false, key };
    Some(Accepted { client: id, slot, origin, target, key: of_key })
}

/// A request gets its slot at its client, in this state.
#[inline(always)]
pub(super) fn enqueue<K: Asks>(
    client: &mut Client,
    slots: &mut Slab<ClientSlot>,
    asked: &Asked,
    (route, of_key): (&Route, Option<u64>),
    (state, reads_mapped): (State, bool),
) -> Option<(SlotRef, Way)> {
    let &Asked { access, operands, psn, opcode, .. } = asked;
    let (target, way) = (route.target, route.place.map_or(Way::Own, Way::Place));
    let (slot, record) = slots.append(&mut client.queue)?;
    client.expected = psn.add(1);
    client.accepted_msn = client.accepted_msn.add(1);
    client.open += 1;
    if of_key.is_some() && K::KIND == Kind::Plain {
        client.last_key = of_key;
    }
    *record = ClientSlot {
        psn,
        packets: 1,
        msn: client.accepted_msn,
        kind: K::KIND,
        opcode,
        ends_message: true,
        way,
        target,
        exclusive: false,
        access: Some(access),
        operands,
        of_key,
        reads_mapped,
        state,
        key: client.last_key,
        original: 0,
        parts: 0,
        held: Queue::EMPTY,
    };
    Some((slot, way))
}

/// The record of a request at its server queue pair that was held, and waits there for its frame.
#[inline(always)]
pub(super) fn of_held(
    record: &ClientSlot,
    (client, slot): (ClientId, SlotRef),
    floor: ClientPsn,
    token: Token,
    arrival: u64,
) -> ServerSlot {
    let &ClientSlot { psn, msn, kind, opcode, way, key, .. } = record;
    ServerSlot {
        request: Request {
            client,
            slot,
            server_qp: record.target,
            kind,
            packets: 1,
            starts_message: true,
            ends_message: true,
            exclusive: false,
            alone: false,
            mapped: way.place().is_some(),
            parts: 0,
            access: record.access,
            operands: record.operands,
            key: record.of_key,
            origin: Origin { psn, msn, opcode, floor, way, again: false, key },
        },
        psn: ServerPsn::default(),
        token,
        source: Source::Frame,
        unverified: false,
        payload_len: 0,
        parts: 0,
        done: false,
        arrival,
    }
}

/// The record of a request at its server queue pair, where it gets a PSN.
#[inline(always)]
pub(super) fn bound(
    accepted: &Accepted,
    (asked, unverified): (&Asked, bool),
    psn: ServerPsn,
    arrival: u64,
) -> ServerSlot {
    let &Asked { kind, access, operands, payload_len, token, .. } = asked;
    let &Accepted { client, slot, origin, target, key } = accepted;
    ServerSlot {
        request: Request {
            client,
            slot,
            server_qp: target,
            kind,
            packets: 1,
            starts_message: true,
            ends_message: true,
            exclusive: false,
            alone: false,
            mapped: !matches!(origin.way, Way::Own),
            parts: 0,
            access: Some(access),
            operands,
            key,
            origin,
        },
        psn,
        token,
        source: Source::Frame,
        unverified,
        payload_len,
        parts: 0,
        done: false,
        arrival,
    }
}
