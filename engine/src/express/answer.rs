//! The usual answer: one packet, to the oldest request of its server queue pair, which is its
//! client's oldest as well. The request is finished and its client told.

use super::{Asks, Seen};
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
use crate::policy::{PlaceId, TrustBy};
use crate::time::Nanos;
use crate::wire::facts::Renewed;
use crate::wire::{AethRepr, ClientPsn, Msn, Opcode, ServerPsn, Syndrome, usual};

/// The request that is answered.
struct Answered {
    client: ClientId,
    /// Its records at its server queue pair and at its client.
    at_server: u32,
    at_client: u32,
    server_psn: ServerPsn,
    /// To its client.
    psn: ClientPsn,
    msn: Msn,
    token: Token,
    place: Option<PlaceId>,
    opcode: Opcode,
    ends_message: bool,
    /// The client's oldest request then, if there is one, waits for its answer.
    rests: bool,
}

/// What an atomic's answer says that its word held before.
#[inline(always)]
fn original_of(bytes: &[u8]) -> Option<u64> {
    let original: &[u8; 8] = bytes.get(usual::HEADERS + AethRepr::LEN..)?.first_chunk()?;
    Some(u64::from_be_bytes(*original))
}

impl Engine {
    /// Takes an answer, if it is a usual one. `false`, and nothing is done, if it is not.
    // One function by itself has its values in registers.
    #[inline(never)]
    pub(super) fn take_answer<K: Asks>(
        &mut self,
        now: Nanos,
        seen: &Seen,
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> bool {
        let id = ClientId(seen.connection).own_server_qp();
        let Some(credits) = self.usual_credits(id, frame.bytes(), seen) else { return false };
        let Some(answered) = self.answered_by::<K>(id, seen) else { return false };
        // What a response becomes may have changed since it was looked at, or since it was asked.
        let is_known = |of| self.directory.card(of).is_some();
        if K::KIND == Kind::Read && !(is_known(id.owner()) && is_known(answered.client)) {
            return false;
        }
        self.tell_credits(id.owner(), credits);
        if K::KIND == Kind::Read {
            self.put_response(id, &answered, frame, seen);
            out.push(Action::Forward(frame.token(), Side::Client));
        } else {
            self.drop_frame(frame, DropReason::Consumed, out);
        }
        let original = match K::KIND {
            Kind::Atomic => original_of(frame.bytes()),
            Kind::Plain | Kind::Read => None,
        };
        if let Some(original) = original {
            self.note_original(answered.at_server, original, out);
        }
        self.finish_usual::<K>(now, id, &answered);
        out.push(Action::Release(answered.token));
        self.close_usual::<K>(id, &answered, original, out);
        true
    }

    /// The credits that a packet tells, if it is intact, where that has to be looked at, and says
    /// that what was asked for is done.
    #[inline(always)]
    fn usual_credits(&mut self, id: ServerQpId, bytes: &[u8], seen: &Seen) -> Option<u8> {
        let Syndrome::Ack { credits } = Syndrome::from_byte(*bytes.get(usual::HEADERS)?) else {
            return None;
        };
        let intact = match seen.shape.payload_len {
            0 => true,
            _ if self.trusts_usual_data() => self.clients.is_active(id.owner()),
            _ => super::is_intact(bytes),
        };
        intact.then_some(credits)
    }

    /// The request that a packet answers, if it is the oldest there and at its client, and nothing
    /// else is to be done for either.
    #[inline(always)]
    fn answered_by<K: Asks>(&mut self, id: ServerQpId, seen: &Seen) -> Option<Answered> {
        let server = self.servers.states.usual(id.index())?;
        let at_server = server.open.head()?;
        let bound = self.servers.slots.get(at_server)?;
        let (psn, request) = (bound.psn, &bound.request);
        let fits = request.kind == K::KIND
            && psn == ServerPsn::from_wire(seen.shape.psn)
            && request.packets == 1
            && bound.parts == 0
            && !bound.done
            && bound.source == Source::Frame
            && !server.acknowledged.is_after(psn)
            && !server.seen.is_after(psn)
            && !self.watches.may_speak(request.client);
        if !fits {
            return None;
        }
        let client = self.clients.states.usual(request.client.index())?;
        let at_client = request.slot.index;
        let (record, next) = self.clients.slots.named(request.slot)?;
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
        let next = next.and_then(|next| self.clients.slots.get(next));
        oldest.then_some(Answered {
            client: request.client,
            at_server,
            at_client,
            server_psn: psn,
            psn: record.psn,
            msn: record.msn,
            token: bound.token,
            place,
            opcode: record.opcode,
            ends_message: record.ends_message,
            rests: next.is_none_or(|next| next.state == State::Issued && next.held.is_empty()),
        })
    }

    /// Credits are told to the owner's client alone, whose receive buffers they count.
    #[inline(always)]
    fn tell_credits(&mut self, owner: ClientId, credits: u8) {
        if let Some(owner) = self.clients.states.get_same(owner.index()) {
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
        seen: &Seen,
    ) {
        let Answered { client, psn, msn, .. } = *answered;
        let (from, to) = (self.directory.card(id.owner()), self.directory.card(client));
        if let (Some(from), Some(to), Some(state)) = (from, to, self.clients.get(client)) {
            let aeth = AethRepr { syndrome: Syndrome::Ack { credits: state.credits }, msn };
            let new = Renewed { psn: psn.to_wire(), ack_request: false, aeth: Some(aeth) };
            let at = seen.shape.icrc.into();
            to.response.put(&from.response, &self.icrc, frame.bytes_mut(), at, &new);
        } else {
            debug_assert!(false, "both are known");
        }
    }

    /// Takes note of what an atomic's word held before: what its client is told.
    #[inline(always)]
    fn note_original(&mut self, at_server: u32, original: u64, out: &mut Out) {
        let Some(record) = self.servers.slots.get(at_server) else { return };
        let request = &record.request;
        if self.config.records {
            self.record_value(request, original, out);
        }
        // Nothing follows what memory holds where there is anything usual.
        if request.origin.opcode == Opcode::CompareSwap {
            let succeeded = original == request.operands.compare;
            self.count_swap(succeeded);
        }
    }

    /// The request is done at its server queue pair, and in its place.
    #[inline(always)]
    fn finish_usual<K: Asks>(&mut self, now: Nanos, id: ServerQpId, answered: &Answered) {
        let Some(server) = self.servers.states.get_same(id.index()) else { return };
        let end = answered.server_psn.add(1);
        (server.acknowledged, server.seen, server.retries) = (end, end, 0);
        let mapped = answered.place.is_some();
        server.uncount(K::KIND, 1, mapped, answered.client != id.owner());
        server.round_trip.on_answered(answered.server_psn, now);
        self.servers.slots.remove_front(&mut server.open);
        let before = server.deadline;
        server.deadline = Nanos::NEVER;
        if !server.open.is_empty() {
            let (floor, cap) = (self.config.server_timeout_ns, self.config.server_timeout_max_ns);
            server.deadline = now.after(server.round_trip.timeout_ns(floor, cap, 0));
            // Else what is noted is early enough.
            if server.deadline < before {
                self.deadlines.note(id.0, server.deadline);
            }
        }
        if self.policy.trust == TrustBy::Observation {
            let access = self.clients.slots.get(answered.at_client).and_then(|slot| slot.access);
            self.observe_access(answered.client, id, access);
        }
        if let Some(state) = answered.place.and_then(|place| self.directory.places.get_mut(place)) {
            state.issued = state.issued.saturating_sub(1);
        }
    }

    /// The request is done for its client as well, which is told of a WRITE or an atomic now. If
    /// its next request was answered before this one, there is more to tell.
    #[inline(always)]
    fn close_usual<K: Asks>(
        &mut self,
        target: ServerQpId,
        answered: &Answered,
        original: Option<u64>,
        out: &mut Out,
    ) {
        let Answered { client: id, psn, msn, place, opcode, ends_message, rests, .. } = *answered;
        let Some(client) = self.clients.states.get_same(id.index()) else { return };
        self.clients.slots.remove_front(&mut client.queue);
        client.open = client.open.saturating_sub(1);
        client.completed_end = psn.add(1);
        client.completed_msn = msn;
        client.released = (place.map_or(Way::Own, Way::Place), target);
        self.counters.completed += u64::from(ends_message);
        self.counters.mapped += u64::from(ends_message && place.is_some());
        let answer =
            Answer { psn, msn, syndrome: Syndrome::Ack { credits: client.credits }, original };
        match (K::KIND, original) {
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
                client.ack_due = K::KIND == Kind::Plain;
            }
            self.clients.work.push(id.0);
        }
    }
}
