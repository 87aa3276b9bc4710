//! The usual answer: one packet, to the oldest request of its server queue pair, which is its
//! client's oldest as well. The request is finished and its client told.

use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::{Frame, Side, Token};
use crate::ids::{ClientId, ServerQpId};
use crate::mail::Kind;
use crate::mux::client::{State, Way};
use crate::mux::generate::Answer;
use crate::mux::results::AtomicResult;
use crate::mux::server::Source;
use crate::out::{Action, Out};
use crate::policy::PlaceId;
use crate::time::Nanos;
use crate::wire::facts::Renewed;
use crate::wire::{AethRepr, ClientPsn, Layout, Msn, Opcode, ServerPsn, Syndrome, usual};

/// The request that is answered.
struct Answered {
    client: ClientId,
    /// To its client.
    psn: ClientPsn,
    msn: Msn,
    token: Token,
    place: Option<PlaceId>,
    target: ServerQpId,
    opcode: Opcode,
    ends_message: bool,
    /// The client's oldest request then, if there is one, waits for its answer.
    rests: bool,
}

impl Engine {
    /// Takes an answer, if it is a usual one. `false`, and nothing is done, if it is not.
    // One function by itself has its values in registers.
    #[inline(never)]
    pub(super) fn take_answer(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> bool {
        let Some(layout) = &usual::layout(frame.bytes()) else { return false };
        let kind = match layout.opcode {
            Opcode::Acknowledge => Kind::Plain,
            Opcode::ReadResponseOnly => Kind::Read,
            Opcode::AtomicAcknowledge => Kind::Atomic,
            _ => return false,
        };
        let Some(credits) = self.usual_credits(id, frame.bytes(), layout) else { return false };
        let Some(answered) = self.answered_by(id, kind, layout) else { return false };
        self.tell_credits(id.owner(), credits);
        if kind == Kind::Read {
            self.put_response(id, &answered, frame, layout);
            out.push(Action::Forward(frame.token(), Side::Client));
        } else {
            self.drop_frame(frame, DropReason::Consumed, out);
        }
        let original = layout.atomic_ack(frame.bytes()).map(|ack| ack.original);
        let original = original.map(|original| self.note_original(id, original, out));
        self.finish_usual(now, id, &answered);
        out.push(Action::Release(answered.token));
        self.close_usual(&answered, original, kind, out);
        true
    }

    /// The credits that a packet tells, if it has the headers of its connection, is intact, where
    /// that has to be looked at, and says that what was asked for is done.
    #[inline(always)]
    fn usual_credits(&mut self, id: ServerQpId, bytes: &[u8], layout: &Layout) -> Option<u8> {
        let card = self.directory.card(id.owner())?;
        let head: &[u8; usual::HEADERS + 4] = bytes.first_chunk()?;
        let Syndrome::Ack { credits } = Syndrome::from_byte(head[usual::HEADERS]) else {
            return None;
        };
        let intact = match layout.payload_len {
            0 => card.response.verify(bytes, layout.opcode),
            _ if self.trusts_usual_data() => self.clients.is_active(id.owner()),
            _ => super::is_intact(bytes),
        };
        (intact && card.response.are_of(head, layout.opcode)).then_some(credits)
    }

    /// The request that a packet answers, if it is the oldest there and at its client, and nothing
    /// else is to be done for either.
    #[inline(always)]
    fn answered_by(&mut self, id: ServerQpId, kind: Kind, layout: &Layout) -> Option<Answered> {
        let server = self.servers.states.usual(id.index())?;
        let bound = self.servers.slots.get(server.open.head()?)?;
        let (psn, request) = (bound.psn, &bound.request);
        let fits = request.kind == kind
            && psn == ServerPsn::from_wire(layout.psn)
            && request.packets == 1
            && bound.parts == 0
            && !bound.done
            && bound.source == Source::Frame
            && !server.acknowledged.is_after(psn)
            && !server.seen.is_after(psn)
            && self.parked.is_empty()
            && !self.watches.may_speak(request.client);
        if !fits {
            return None;
        }
        let client = self.clients.states.usual(request.client.index())?;
        let at_client = self.clients.slots.resolve(request.slot)?;
        let record = self.clients.slots.get(at_client)?;
        let place = match record.way {
            Way::Own => None,
            Way::Place(place) => Some(place),
            Way::Alone(_) => return None,
        };
        let oldest = client.queue.head() == Some(at_client)
            && record.state == State::Issued
            && record.packets == 1
            && record.parts == 0
            && !record.psn.is_before(client.completed_end);
        let next = self.clients.slots.next(at_client);
        let next = next.and_then(|next| self.clients.slots.get(next));
        oldest.then_some(Answered {
            client: request.client,
            psn: record.psn,
            msn: record.msn,
            token: bound.token,
            place,
            target: id,
            opcode: record.opcode,
            ends_message: record.ends_message,
            rests: next.is_none_or(|next| next.state == State::Issued && next.held.is_empty()),
        })
    }

    /// Credits are told to the owner's client alone, whose receive buffers they count.
    #[inline(always)]
    fn tell_credits(&mut self, owner: ClientId, credits: u8) {
        if self.clients.get(owner).is_some_and(|owner| owner.credits != credits)
            && let Some(owner) = self.clients.get_mut(owner)
        {
            owner.credits = credits;
        }
    }

    /// Makes the response of a READ its client's.
    #[inline(always)]
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

    /// Takes note of what an atomic's word held before: what its client is told.
    #[inline(always)]
    fn note_original(&mut self, id: ServerQpId, original: u64, out: &mut Out) -> u64 {
        let at_server = self.servers.get(id).and_then(|server| server.open.head());
        let Some(at_server) = at_server else { return original };
        let told = self.on_atomic_answered(id, at_server, original);
        if self.config.records
            && let Some(record) = self.servers.slots.get(at_server)
        {
            self.record_value(&record.request, told, out);
        }
        told
    }

    /// The request is done at its server queue pair, and in its place.
    #[inline(always)]
    fn finish_usual(&mut self, now: Nanos, id: ServerQpId, answered: &Answered) {
        let Some(server) = self.servers.states.usual(id.index()) else { return };
        let Some(at_server) = server.open.head() else { return };
        let Some(record) = self.servers.slots.get(at_server) else { return };
        let (request, psn) = (&record.request, record.psn);
        (server.acknowledged, server.seen) = (psn.add(1), psn.add(1));
        server.uncount_open(id, request);
        server.round_trip.on_answered(psn, now);
        server.retries = 0;
        let access = request.access;
        self.servers.slots.remove_front(&mut server.open);
        server.deadline = match server.open.is_empty() {
            true => Nanos::NEVER,
            false => {
                let (floor, cap) =
                    (self.config.server_timeout_ns, self.config.server_timeout_max_ns);
                now.after(server.round_trip.timeout_ns(floor, cap, 0))
            }
        };
        self.deadlines.note(id.0, server.deadline);
        self.observe_access(answered.client, id, access);
        if let Some(state) = answered.place.and_then(|place| self.directory.places.get_mut(place)) {
            state.issued = state.issued.saturating_sub(1);
        }
    }

    /// The request is done for its client as well, which is told of a WRITE or an atomic now. If
    /// its next request was answered before this one, there is more to tell.
    #[inline(always)]
    fn close_usual(
        &mut self,
        answered: &Answered,
        original: Option<u64>,
        kind: Kind,
        out: &mut Out,
    ) {
        let Answered { client: id, psn, msn, place, target, opcode, ends_message, rests, .. } =
            *answered;
        let Some(client) = self.clients.states.usual(id.index()) else { return };
        self.clients.slots.remove_front(&mut client.queue);
        client.open = client.open.saturating_sub(1);
        client.completed_end = psn.add(1);
        client.completed_msn = msn;
        client.released = (place.map_or(Way::Own, Way::Place), target);
        self.counters.completed += u64::from(ends_message);
        self.counters.mapped += u64::from(ends_message && place.is_some());
        let answer =
            Answer { psn, msn, syndrome: Syndrome::Ack { credits: client.credits }, original };
        match (kind, original) {
            (Kind::Plain, _) => {
                client.last_plain = Some(psn);
                if rests {
                    self.answer(id, &answer, out);
                }
            }
            (Kind::Atomic, Some(original)) => {
                self.answer(id, &answer, out);
                self.clients.results.keep_next(id, AtomicResult { psn, opcode, original });
            }
            _ => {}
        }
        if !rests {
            if let Some(client) = self.clients.get_mut(id) {
                client.ack_due = kind == Kind::Plain;
            }
            self.clients.work.push(id.0);
        }
    }
}
