//! The usual answer: one packet, to the oldest request of its server queue pair, which is its
//! client's oldest as well, where nothing else is left to do for either. The request is finished
//! and its client told in one go. All other answers go step by step (`server_response.rs`,
//! `client_answer.rs`); what becomes of them is the same.

use super::client::{ClientSlot, State};
use super::closing::Hosting;
use super::server::Source;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, ServerQpId};
use crate::mail::{Kind, Request};
use crate::out::{Action, Out};
use crate::time::Nanos;
use crate::wire::{AethRepr, Layout, Opcode, ServerPsn, Syndrome};

/// The slots of a request that is answered, at its server queue pair and at its client.
struct Answered {
    at_server: u32,
    client: ClientId,
    at_client: u32,
}

impl Engine {
    /// Takes an answer, if it is a usual one. `false`, and nothing is done, if it is not.
    pub(super) fn take_usual_answer(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) -> bool {
        let Some(answered) = self.usual_request_of(id, layout) else { return false };
        let aeth = layout.aeth(frame.bytes()).map(|aeth| aeth.syndrome);
        match aeth {
            Some(Syndrome::Ack { credits }) => {
                if let Some(owner) = self.clients.get_mut(id.owner()) {
                    owner.credits = credits;
                }
            }
            // A NAK, or a response that says something else of receive buffers.
            _ => return false,
        }
        let Answered { client, at_client, .. } = answered;
        if layout.opcode == Opcode::ReadResponseOnly {
            self.note_progress(now, id);
            self.forward_response(&answered, frame, layout, out);
            self.finish_usual(now, id, &answered, out);
            self.close_slot(client, at_client, false);
        } else {
            self.drop_frame(frame, DropReason::Consumed, out);
            if let Some(ack) = layout.atomic_ack(frame.bytes()) {
                self.note_progress(now, id);
                self.note_original(id, &answered, ack.original, out);
                self.finish_usual(now, id, &answered, out);
                self.answer_atomic(client, at_client, false, out);
                self.close_slot(client, at_client, false);
            } else {
                self.finish_usual(now, id, &answered, out);
                self.owe_acknowledgement(&answered);
                self.close_slot(client, at_client, false);
                if self.is_next_unanswered(client) {
                    self.acknowledge(client, out);
                }
            }
        }
        if !self.is_next_unanswered(client) {
            // It was answered before this one.
            self.clients.work.push(client.0);
        }
        true
    }

    /// Whether there is nothing to do for a server queue pair but to finish what is complete: the
    /// usual case, in which none of the other steps would do anything.
    fn only_finishes(&self, id: ServerQpId) -> bool {
        self.resumes.is_settled()
            && self.servers.get(id).is_some_and(|server| {
                server.waiting_own.is_empty()
                    && server.waiting_guests.is_empty()
                    && server.waiting_rest.is_empty()
                    && server.again.is_empty()
                    && server.hosting == Hosting::Open
                    && server.loss.is_none()
                    && server.repair.is_none()
                    && server.recalled.is_none()
                    && server.blocked_since.is_none()
                    && server.stalled_until == Nanos::NEVER
            })
    }

    /// Finishes what is complete for a server queue pair, as long as there is nothing else to do.
    /// Whether nothing is left; if not, there is more to do, or `out` has no room left.
    pub(super) fn finish_only(&mut self, now: Nanos, id: ServerQpId, out: &mut Out) -> bool {
        while out.has_room() && self.only_finishes(id) {
            if !self.finish_step(now, id, out) {
                // It may have found that something has to be sent again.
                return self.only_finishes(id);
            }
        }
        false
    }

    /// The request that a packet answers, if it is a usual answer to it.
    fn usual_request_of(&self, id: ServerQpId, layout: &Layout) -> Option<Answered> {
        let server = self.servers.get(id)?;
        let at_server = server.open.head()?;
        let record = self.servers.slots.get(at_server)?;
        let Request { kind, client, slot, packets, .. } = record.request;
        let psn = record.psn;
        let fits = match layout.opcode {
            Opcode::Acknowledge => kind == Kind::Plain,
            Opcode::AtomicAcknowledge => kind == Kind::Atomic,
            Opcode::ReadResponseOnly => kind == Kind::Read,
            _ => false,
        };
        let usual = fits
            && self.is_usual()
            && psn == ServerPsn::from_wire(layout.psn)
            && packets == 1
            && record.parts == 0
            && !record.done
            && record.source == Source::Frame
            && !server.acknowledged.is_after(psn)
            && !server.seen.is_after(psn)
            && !server.exclusive
            && server.not_ready_until.is_none()
            && self.parked.is_empty()
            && self.only_finishes(id)
            && self.only_releases(client);
        let at_client = self.clients.slots.resolve(slot).filter(|_| usual)?;
        let (state, record) = (self.clients.get(client)?, self.clients.slots.get(at_client)?);
        let oldest = state.queue.head() == Some(at_client)
            && !state.ack_due
            && record.state == State::Issued
            && record.packets == 1
            && record.parts == 0
            && !record.psn.is_before(state.completed_end);
        oldest.then_some(Answered { at_server, client, at_client })
    }

    /// Sends the response of a READ on to its client.
    fn forward_response(
        &mut self,
        answered: &Answered,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let (Some(state), Some(record)) =
            (self.clients.get(answered.client), self.clients.slots.get(answered.at_client))
        else {
            return;
        };
        let (psn, msn) = (record.psn, record.msn);
        let aeth = AethRepr { syndrome: Syndrome::Ack { credits: state.credits }, msn };
        self.rewrite_response(answered.client, psn, Some(aeth), frame, layout);
        out.push(Action::Forward(frame.token(), Side::Client));
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
    fn finish_usual(&mut self, now: Nanos, id: ServerQpId, answered: &Answered, out: &mut Out) {
        let Some(record) = self.servers.slots.get(answered.at_server) else { return };
        let (psn, token) = (record.psn, record.token);
        let Request { client, access, .. } = record.request;
        self.close_server_slot(id, answered.at_server);
        if let Some(server) = self.servers.get_mut(id) {
            server.round_trip.on_answered(psn, now);
        }
        self.observe_access(client, id, access);
        self.note_progress(now, id);
        out.push(Action::Release(token));
        self.leave_slot(client, answered.at_client);
    }

    /// A WRITE is done: its client is owed an acknowledgement.
    fn owe_acknowledgement(&mut self, answered: &Answered) {
        let psn = self.clients.slots.get(answered.at_client).map(|record| record.psn);
        if let Some(client) = self.clients.get_mut(answered.client) {
            client.ack_due = true;
            client.last_plain = psn;
        }
    }

    /// Whether the oldest request of a client, if there is one, waits for its answer.
    fn is_next_unanswered(&self, id: ClientId) -> bool {
        let head = self.clients.get(id).and_then(|client| client.queue.head());
        let record = head.and_then(|slot| self.clients.slots.get(slot));
        record.is_none_or(|record| {
            matches!(record, ClientSlot { state: State::Issued, held, .. } if held.is_empty())
        })
    }
}
