//! The usual answer: one packet, to the oldest request of its server queue pair, which is its
//! client's oldest as well. The request is finished and its client told.

use crate::config::Config;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::{Frame, Side, Token};
use crate::ids::{ClientId, ServerQpId};
use crate::mail::Kind;
use crate::mux::client::{ClientSlot, Gap, Service, State, Way};
use crate::mux::server::Source;
use crate::out::{Action, Out};
use crate::policy::{Access, PlaceId};
use crate::time::Nanos;
use crate::wire::facts::Renewed;
use crate::wire::{AethRepr, ClientPsn, Layout, Msn, Opcode, ServerPsn, Syndrome, icrc, usual};

/// The request that is answered.
struct Answered {
    at_server: u32,
    at_client: u32,
    client: ClientId,
    token: Token,
    access: Option<Access>,
    /// To its client.
    psn: ClientPsn,
    msn: Msn,
    place: Option<PlaceId>,
}

impl Engine {
    /// Takes an answer, if it is a usual one. `false`, and nothing is done, if it is not.
    #[inline]
    pub(super) fn take_answer(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) -> bool {
        let kind = match layout.opcode {
            Opcode::Acknowledge => Kind::Plain,
            Opcode::ReadResponseOnly => Kind::Read,
            Opcode::AtomicAcknowledge => Kind::Atomic,
            _ => return false,
        };
        let bytes = frame.bytes();
        let Some(credits) = self.usual_credits(id, bytes, layout) else { return false };
        let Some(answered) = self.answered_by(id, kind, layout) else { return false };
        if let Some(owner) = self.clients.get_mut(id.owner()) {
            owner.credits = credits;
        }
        if kind == Kind::Read {
            self.put_response(id, &answered, frame, layout);
            out.push(Action::Forward(frame.token(), Side::Client));
        } else {
            self.drop_frame(frame, DropReason::Consumed, out);
        }
        if let Some(ack) = layout.atomic_ack(frame.bytes()) {
            self.note_original(id, &answered, ack.original, out);
        }
        self.finish_usual(now, id, &answered);
        out.push(Action::Release(answered.token));
        if kind == Kind::Atomic {
            self.answer_atomic(answered.client, answered.at_client, false, out);
        }
        let rests = self.close_usual(&answered, kind == Kind::Plain);
        if rests && kind == Kind::Plain {
            self.acknowledge(answered.client, out);
        }
        if !rests {
            // The next one was answered before this one.
            self.clients.work.push(answered.client.0);
        }
        true
    }

    /// The credits that a packet tells, if it has the headers of its connection, is intact, where
    /// that has to be looked at, and says that what was asked for is done.
    #[inline]
    fn usual_credits(&self, id: ServerQpId, bytes: &[u8], layout: &Layout) -> Option<u8> {
        let card = self.directory.card(id.owner())?;
        let head: &[u8; usual::HEADERS + 4] = bytes.first_chunk()?;
        let intact = || match layout.payload_len {
            0 => card.response.verify(bytes, layout.opcode),
            _ => self.trusts_data() || icrc::verify(bytes, layout),
        };
        let right = card.response.are_of(head, layout.opcode)
            && self.clients.is_active(id.owner())
            && intact();
        match Syndrome::from_byte(head[usual::HEADERS]) {
            Syndrome::Ack { credits } if right => Some(credits),
            _ => None,
        }
    }

    /// The request that a packet answers, if it is the oldest there and at its client, and nothing
    /// else is to be done for either.
    #[inline]
    fn answered_by(&self, id: ServerQpId, kind: Kind, layout: &Layout) -> Option<Answered> {
        let server = self.servers.get(id)?;
        let at_server = server.open.head()?;
        let bound = self.servers.slots.get(at_server)?;
        let (psn, request) = (bound.psn, &bound.request);
        let fits = request.kind == kind
            && psn == ServerPsn::from_wire(layout.psn)
            && request.packets == 1
            && bound.parts == 0
            && !bound.done
            && bound.source == Source::Frame
            && !server.acknowledged.is_after(psn)
            && !server.seen.is_after(psn)
            && !server.exclusive
            && server.not_ready_until.is_none()
            && self.parked.is_empty()
            && server.only_finishes();
        let at_client = self.clients.slots.resolve(request.slot).filter(|_| fits)?;
        let client = self.clients.get(request.client)?;
        let record = self.clients.slots.get(at_client)?;
        let place = match record.way {
            Way::Own => None,
            Way::Place(place) => Some(place),
            Way::Alone(_) => return None,
        };
        let oldest = client.queue.head() == Some(at_client)
            && client.service == Service::Active
            && client.repeats.is_empty()
            && client.first_held.is_none()
            && client.assembly.is_none()
            && client.not_ready.is_none()
            && client.gap == Gap::None
            && !client.ack_due
            && !self.watches.may_speak(request.client)
            && record.state == State::Issued
            && record.packets == 1
            && record.parts == 0
            && !record.psn.is_before(client.completed_end);
        oldest.then_some(Answered {
            at_server,
            at_client,
            client: request.client,
            token: bound.token,
            access: request.access,
            psn: record.psn,
            msn: record.msn,
            place,
        })
    }

    /// Makes the response of a READ its client's.
    #[inline]
    fn put_response(
        &self,
        id: ServerQpId,
        answered: &Answered,
        frame: &mut Frame<'_>,
        layout: &Layout,
    ) {
        let Answered { client, psn, msn, .. } = *answered;
        let (from, to) = (self.directory.card(id.owner()), self.directory.card(client));
        if let (Some(from), Some(to), Some(state)) = (from, to, self.clients.get(client)) {
            let aeth = AethRepr { syndrome: Syndrome::Ack { credits: state.credits }, msn };
            let new = Renewed { psn: psn.to_wire(), ack_request: false, aeth: Some(aeth) };
            let at = layout.icrc.into();
            to.response.put(&from.response, &self.icrc, frame.bytes_mut(), at, &new);
        }
    }

    /// Takes note of what an atomic's word held before.
    fn note_original(&mut self, id: ServerQpId, answered: &Answered, original: u64, out: &mut Out) {
        let original = self.on_atomic_answered(id, answered.at_server, original);
        if let Some(record) = self.servers.slots.get(answered.at_server) {
            self.record_value(&record.request, original, out);
        }
        if let Some(record) = self.clients.slots.get_mut(answered.at_client) {
            record.original = original;
        }
    }

    /// The request is done at its server queue pair, and in its place.
    #[inline]
    fn finish_usual(&mut self, now: Nanos, id: ServerQpId, answered: &Answered) {
        let Some(server) = self.servers.states.get_mut(id.index()) else { return };
        self.servers.slots.pop_front(&mut server.open);
        let Some(record) = self.servers.slots.get(answered.at_server) else { return };
        let end = record.psn.add(1);
        (server.acknowledged, server.seen) = (end, end);
        server.uncount_open(id, &record.request);
        server.round_trip.on_answered(record.psn, now);
        server.retries = 0;
        server.deadline = match server.open.is_empty() {
            true => Nanos::NEVER,
            false => {
                let Config { server_timeout_ns, server_timeout_max_ns, .. } = self.config;
                now.after(server.round_trip.timeout_ns(server_timeout_ns, server_timeout_max_ns, 0))
            }
        };
        self.earliest = self.earliest.min(server.deadline);
        self.servers.slots.remove(answered.at_server);
        self.observe_access(answered.client, id, answered.access);
        if let Some(state) = answered.place.and_then(|place| self.directory.places.get_mut(place)) {
            state.issued = state.issued.saturating_sub(1);
        }
    }

    /// The request is done for its client as well, which is owed an acknowledgement for a WRITE.
    /// Whether the client's oldest request, if there is one, waits for its answer.
    #[inline]
    fn close_usual(&mut self, answered: &Answered, owes: bool) -> bool {
        let Answered { at_client, client: id, psn, msn, place, .. } = *answered;
        let Some(client) = self.clients.states.get_mut(id.index()) else { return true };
        self.clients.slots.pop_front(&mut client.queue);
        let target = self.clients.slots.get(at_client).map(|record| record.target);
        self.clients.slots.remove(at_client);
        client.open = client.open.saturating_sub(1);
        client.completed_end = psn.add(1);
        client.completed_msn = msn;
        let way = place.map_or(Way::Own, Way::Place);
        client.released = (way, target.unwrap_or(id.own_server_qp()));
        self.counters.completed += 1;
        self.counters.mapped += u64::from(place.is_some());
        if owes {
            client.ack_due = true;
            client.last_plain = Some(psn);
        }
        let head = client.queue.head().and_then(|slot| self.clients.slots.get(slot));
        head.is_none_or(|record| {
            matches!(record, ClientSlot { state: State::Issued, held, .. } if held.is_empty())
        })
    }
}
