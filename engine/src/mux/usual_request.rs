//! The usual request: one packet, the next of its client, certain to be accepted where it goes,
//! where nothing keeps it waiting. It is accepted and bound in one go. With whatever else there
//! may be about a request it goes step by step (`client_request.rs`, `server.rs`); what becomes of
//! it is the same.

use super::client::{ClientSlot, State, Way};
use super::client_request::Shape;
use super::closing::Hosting;
use super::record::origin_of;
use super::route::Route;
use super::server::{ServerSlot, Source};
use super::slab::Queue;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::{ClientId, ServerQpId};
use crate::mail::{Kind, Request};
use crate::out::Out;
use crate::policy::Map;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Layout};

impl Engine {
    /// Whether there can be usual requests, and answers, at all: on one shard, while requests go
    /// out as they come in, and no other engine has left anything behind.
    #[inline]
    pub(super) fn is_usual(&self) -> bool {
        self.plain && self.resumes.is_settled()
    }

    /// Accepts and binds a request that is the next of its client, if it is a usual one. `false`,
    /// and nothing is done, if it is not.
    pub(super) fn take_usual(
        &mut self,
        now: Nanos,
        id: ClientId,
        (shape, route): (&Shape, &Route),
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) -> bool {
        let target = match (route.way, route.host) {
            (Way::Own, _) => id.own_server_qp(),
            (Way::Place(_), Some(host)) => host,
            _ => return false,
        };
        let one_packet = layout.opcode.starts_message() && layout.opcode.ends_message();
        if !one_packet
            || !self.is_usual()
            || !self.goes_at_once(id, route.way, target)
            || !self.binds_at_once(id, target, shape)
            || route.way == Way::Own && self.is_exclusive(id, layout, shape)
        {
            return false;
        }
        self.count_route(id, route, shape);
        self.note_request(id, route, shape, frame, layout);
        self.enter(route.way);
        if let Some((slot, psn)) = self.bind_usual(id, target, (shape, route), frame, layout) {
            self.send_bound(now, slot, psn, frame, layout, out);
        }
        true
    }

    /// Whether nothing of its client's or its place's keeps a request from being handed over.
    fn goes_at_once(&self, id: ClientId, way: Way, target: ServerQpId) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        let in_turn = client.queue.is_empty() || client.target == target;
        let place = match way {
            Way::Place(place) => self.directory.places.get(place),
            Way::Own | Way::Alone(_) => None,
        };
        let free = place
            .is_none_or(|place| place.alone.is_none() && !place.leaving && !place.alone_before);
        in_turn
            && free
            && !client.in_message
            && client.assembly.is_none()
            && client.first_held.is_none()
            && client.halted.is_none()
            && !self.directory.places.have_moved()
            && !self.watches.is_draining(id)
            && !self.watches.is_starting(id)
            && !self.clients.slots.is_full()
    }

    /// Whether nothing at its server queue pair keeps a request from being bound.
    fn binds_at_once(&self, id: ClientId, target: ServerQpId, shape: &Shape) -> bool {
        let (Some(server), Some(connection)) =
            (self.servers.get(target), self.directory.server_qp(target))
        else {
            return false;
        };
        let depth = u32::from(connection.depth.max(1));
        server.waiting_own.is_empty()
            && server.waiting_guests.is_empty()
            && server.waiting_rest.is_empty()
            && (shape.kind == Kind::Plain || server.open_reads < depth)
            && (!server.exclusive || target == id.own_server_qp())
            && server.in_message.is_none()
            && server.repair.is_none()
            && server.not_ready_until.is_none()
            && server.loss.is_none()
            && server.hosting == Hosting::Open
            && server.open_packets < self.config.server_window_max
            && self.fits_span(server, shape.packets)
            && !self.servers.slots.is_full()
    }

    /// Gives a request its slots and its PSN.
    fn bind_usual(
        &mut self,
        id: ClientId,
        target: ServerQpId,
        (shape, route): (&Shape, &Route),
        frame: &Frame<'_>,
        layout: &Layout,
    ) -> Option<(u32, crate::wire::ServerPsn)> {
        let client = self.clients.states.get_mut(id.index())?;
        client.expected = client.expected.add(shape.packets);
        client.gap = super::client::Gap::None;
        client.accepted_msn = client.accepted_msn.add(1);
        client.open += 1;
        client.target = target;
        self.counters.requests += 1;
        let record = ClientSlot {
            psn: ClientPsn::from_wire(layout.psn),
            packets: shape.packets,
            msn: client.accepted_msn,
            kind: shape.kind,
            opcode: layout.opcode,
            ends_message: true,
            way: route.way,
            target,
            exclusive: false,
            access: shape.access,
            operands: shape.operands,
            of_key: route.key.known(),
            reads_mapped: self.choices.map == Map::All,
            state: State::Issued,
            key: client.last_key,
            original: 0,
            parts: 0,
            held: Queue::EMPTY,
        };
        let origin = origin_of(&record, client.completed_end);
        let slot = self.clients.slots.insert(record)?;
        self.clients.slots.push_back(&mut client.queue, slot);
        let request = Request {
            client: id,
            slot: self.clients.slots.reference(slot),
            server_qp: target,
            kind: shape.kind,
            packets: shape.packets,
            starts_message: true,
            ends_message: true,
            exclusive: false,
            alone: false,
            mapped: matches!(route.way, Way::Place(_)),
            parts: 0,
            access: shape.access,
            operands: shape.operands,
            key: route.key.known(),
            origin,
        };
        self.servers.arrivals += 1;
        let psn = self.servers.get(target)?.next;
        let slot = self.servers.slots.insert(ServerSlot {
            request,
            psn,
            token: frame.token(),
            source: Source::Frame,
            unverified: self.trusts_link(layout),
            payload_len: layout.payload_len,
            parts: 0,
            done: false,
            arrival: self.servers.arrivals,
        })?;
        Some((slot, psn))
    }
}
