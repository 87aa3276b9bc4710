//! A server's packet comes in: which requests it answers, wholly or in part.

use super::closing::Loss;
use super::record::record_value;
use super::server::{ServerSlot, Source};
use super::server_qp::ServerQp;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ServerQpId;
use crate::mail::{Completion, Kind, Mail, Outcome, Request};
use crate::out::Out;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{Layout, NakCode, Opcode, ServerPsn, Syndrome, rnr_delay_ns};

/// Times that the timer has to run out without progress before a READ response is taken that
/// cannot be held.
const PARTS_REFUSED: u32 = 2;

impl Engine {
    /// A checked response from the server queue pair `id`, owned here.
    pub(crate) fn on_server_packet(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let Some(server) = self.servers.get(id) else { return self.pass(frame, out) };
        if !server.started {
            return self.on_watched_response(id.owner(), frame, layout, out);
        }
        if server.loss.is_some() {
            return self.drop_frame(frame, DropReason::OutOfService, out);
        }
        if self.is_asking(id) {
            return self.on_early_response(now, id, frame, layout, out);
        }
        let psn = ServerPsn::from_wire(layout.psn);
        let Some(slot) = self.find_open(id, psn) else {
            if let Some(slot) = self.find_again(id, psn) {
                return self.on_answer_again(now, id, slot, frame, layout, out);
            }
            if self.take_old_answer(id.owner(), frame, layout, out) {
                return;
            }
            return self.drop_frame(frame, DropReason::ResponseNotOpen, out);
        };
        self.note_credits(id, slot, frame, layout);
        if layout.opcode == Opcode::Acknowledge {
            let syndrome = layout.aeth(frame.bytes()).map(|aeth| aeth.syndrome);
            self.drop_frame(frame, DropReason::Consumed, out);
            return self.on_acknowledge(now, id, slot, psn, syndrome, out);
        }
        self.on_data(now, id, slot, frame, layout, out);
    }

    /// Whether there is nothing to do for a server queue pair but to finish what is complete: the
    /// usual case, in which none of the other steps would do anything.
    fn only_finishes(&self, id: ServerQpId) -> bool {
        self.resumes.is_settled() && self.servers.get(id).is_some_and(ServerQp::only_finishes)
    }

    /// Whether there is nothing to do for it but to finish what is complete and to bind what waits.
    pub(super) fn finishes_or_binds(&self, id: ServerQpId) -> bool {
        !self.config.step_by_step
            && self.resumes.is_settled()
            && self.servers.get(id).is_some_and(|server| {
                server.finishes_or_binds() && server.in_message.is_none() && !server.exclusive
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

    /// The bound request whose PSNs include this one. The search is bounded by the window.
    pub(super) fn find_open(&self, id: ServerQpId, psn: ServerPsn) -> Option<u32> {
        let first = self.servers.get(id)?.open.head();
        let found = self.servers.slots.find_from(first, |record| record.includes(psn));
        found.or_else(|| first.filter(|_| !self.config.keeps(Rule::LateAnswerFindsNothing)))
    }

    /// Credits are told to the owner's client alone, whose receive buffers they count.
    fn note_credits(&mut self, id: ServerQpId, slot: u32, frame: &Frame<'_>, layout: &Layout) {
        let client = match self.servers.slots.get(slot) {
            Some(record) if !self.config.keeps(Rule::CreditsOfOwnQueuePair) => {
                record.request.client
            }
            _ => id.owner(),
        };
        let aeth = layout.aeth(frame.bytes());
        if let Some(Syndrome::Ack { credits }) = aeth.map(|aeth| aeth.syndrome) {
            self.clients.tell_credits(client, credits);
        }
    }

    fn on_acknowledge(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        slot: u32,
        psn: ServerPsn,
        syndrome: Option<Syndrome>,
        out: &mut Out,
    ) {
        match syndrome {
            Some(Syndrome::Ack { .. }) => self.advance(id, psn.add(1)),
            Some(Syndrome::Nak(NakCode::PsnSequence))
                if self.config.keeps(Rule::SequenceNakEndsHere) =>
            {
                self.counters.server_naks += 1;
                self.advance(id, psn);
                self.run_server(now, id, out);
                self.repair_from_oldest(now, id);
            }
            Some(Syndrome::RnrNak { timer }) => {
                self.counters.server_naks += 1;
                self.advance(id, psn);
                self.on_receiver_not_ready(now, id, slot, timer, out);
            }
            Some(Syndrome::Nak(code)) => self.on_refusal(now, id, slot, psn, code, out),
            Some(Syndrome::Reserved(_)) | None => {}
        }
        self.servers.work.push(id.0);
    }

    /// The server says that everything before `end` is done.
    fn advance(&mut self, id: ServerQpId, end: ServerPsn) {
        if let Some(server) = self.servers.get_mut(id)
            && end.is_after(server.acknowledged)
        {
            server.acknowledged = end;
        }
    }

    /// A READ response packet or an atomic's answer.
    fn on_data(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        slot: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let psn = ServerPsn::from_wire(layout.psn);
        let Some(&record) = self.servers.slots.get(slot) else { return };
        // It says that all before its request is done; those go out first.
        self.advance(id, record.psn);
        if let Some(server) = self.servers.get_mut(id)
            && psn.is_after(server.seen)
        {
            server.seen = psn;
        }
        self.run_server(now, id, out);
        self.servers.work.push(id.0);
        let oldest = self.servers.get(id).and_then(|server| server.open.head()) == Some(slot);
        let fits = match record.request.kind {
            Kind::Read => {
                layout.opcode.is_read_response() && self.is_next_part(id, slot, psn, layout)
            }
            Kind::Atomic => layout.opcode == Opcode::AtomicAcknowledge,
            Kind::Plain => false,
        };
        // An answer to a later request implies that the one to the oldest was lost; so does a
        // later part of a READ's response. It is not taken: it comes again after repair.
        let missing = record.psn.add(record.parts);
        if oldest && !record.done && psn.is_after(missing) {
            self.repair_implied(now, id, missing);
        }
        if !fits || record.done || !oldest {
            return self.drop_frame(frame, DropReason::ResponseUnfit, out);
        }
        if record.request.kind == Kind::Atomic {
            self.note_progress(now, id);
            let original = layout.atomic_ack(frame.bytes()).map_or(0, |ack| ack.original);
            self.drop_frame(frame, DropReason::Consumed, out);
            self.mark_done(slot, 1);
            let original = self.on_atomic_answered(id, slot, original);
            record_value(&self.config, &record.request, original, out);
            return self.complete(&record.request, Outcome::Atomic(original), out);
        }
        self.on_next_part(now, id, slot, frame, layout, out);
    }

    /// The next packet of the response of the oldest READ.
    pub(super) fn on_next_part(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        slot: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let Some(&ServerSlot { request, parts, source, .. }) = self.servers.slots.get(slot) else {
            return;
        };
        let skipped = if let Source::Again { skipped } = source { skipped } else { 0 };
        let index = parts - skipped;
        let Request { client, slot: name, packets, .. } = request;
        let outcome = Outcome::ReadPart { index };
        let completion = Completion { client, slot: name, outcome };
        let elsewhere = self.shard_of(client).filter(|shard| *shard != self.shard);
        // Two that wait for each other would be asked for again for ever.
        let insists = self.servers.get(id).is_some_and(|server| server.retries > PARTS_REFUSED);
        if elsewhere.is_none() && !insists && !self.takes_part(&completion) {
            return self.drop_frame(frame, DropReason::HeldFull, out);
        }
        self.note_progress(now, id);
        if index == 0 && self.follows_memory() && !self.turn_answer(id, slot, frame, layout) {
            return self.steer_back(id, slot, frame, out);
        }
        self.mark_done(slot, packets);
        match elsewhere {
            Some(shard) => {
                let mail = Mail::Completion(completion);
                out.push_mail(shard, mail, Some(frame.token()));
            }
            None => self.on_read_part(now, &completion, index, frame, layout, out),
        }
    }

    /// Whether this is the packet of the READ's response that is missing, and of the right size.
    /// A response that starts again in the middle may be in the form of a whole one or of a
    /// tail; both are taken (qib_rc.c sends the first, rxe_resp.c the second).
    pub(super) fn is_next_part(
        &self,
        id: ServerQpId,
        slot: u32,
        psn: ServerPsn,
        layout: &Layout,
    ) -> bool {
        let (Some(record), Some(connection)) =
            (self.servers.slots.get(slot), self.directory.server_qp(id))
        else {
            return false;
        };
        let last = record.parts + 1 == record.request.packets;
        let full = layout.payload_len == connection.path_mtu;
        let next =
            psn.offset_from(record.psn) == record.parts || !self.config.keeps(Rule::PartsInOrder);
        next && (last || full)
    }

    /// Counts one more response packet of the request.
    fn mark_done(&mut self, slot: u32, packets: u32) {
        if let Some(record) = self.servers.slots.get_mut(slot) {
            record.parts += 1;
            record.done = record.parts >= packets;
        }
    }

    fn on_receiver_not_ready(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        slot: u32,
        timer: u8,
        out: &mut Out,
    ) {
        if let Some(server) = self.servers.get_mut(id) {
            let asked = match self.config.keeps(Rule::NotReadyIsWaitedFor) {
                true => rnr_delay_ns(timer),
                false => 1,
            };
            let until = now.after(asked).max(server.not_ready_until.unwrap_or(now));
            server.not_ready_until = Some(until);
            server.deadline = until;
            server.repair = None;
            self.deadlines.note(id.0, until);
        }
        // A READ before it whose answer was lost waits as well: what is repeated for it would
        // take the refused request along.
        self.run_server(now, id, out);
        // A READ whose response has begun was accepted: the NAK is late, or the repeat's.
        let Some(record) = self.servers.slots.get(slot).filter(|record| record.parts == 0) else {
            return;
        };
        let request = record.request;
        self.complete(&request, Outcome::NotReady { timer }, out);
    }

    /// NAK 61 to 64: the request is refused, all before it is done, and the server queue pair is
    /// in the error state: it executes nothing more.
    pub(super) fn on_refusal(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        slot: u32,
        psn: ServerPsn,
        code: NakCode,
        out: &mut Out,
    ) {
        self.advance(id, psn);
        // Nothing is asked for again that was lost of the answers before: it hears nothing more.
        while out.has_room() && self.finish_step(now, id, out) {}
        if let Some(record) = self.servers.slots.get(slot) {
            let request = record.request;
            let part = psn.offset_from(record.psn);
            self.mark_done(slot, 0);
            self.complete(&request, Outcome::Refused { code, part }, out);
        }
        self.lose_server(id, Loss::Refusing);
    }

    /// Finishes the oldest request if it is complete. `false` if it is not.
    pub(crate) fn finish_step(&mut self, now: Nanos, id: ServerQpId, out: &mut Out) -> bool {
        let Some(server) = self.servers.get(id) else { return false };
        let Some(slot) = server.open.head() else { return false };
        let Some(record) = self.servers.slots.get(slot) else { return false };
        let end = record.psn.add(record.request.packets);
        let plain =
            record.request.kind == Kind::Plain || !self.config.keeps(Rule::PlainAckIsNoData);
        let acknowledged = !end.is_after(server.acknowledged);
        if !(record.done || plain && acknowledged) {
            // A plain acknowledgement never completes a READ or an atomic: it implies that their
            // answer was lost (IBTA vol. 1, 9.7.5.1.2).
            // So does a later part of the response, or of another.
            let missing = record.psn.add(record.parts);
            let passed = server.acknowledged.is_after(record.psn) || server.seen.is_after(missing);
            if passed && !plain {
                self.repair_implied(now, id, missing);
            }
            return false;
        }
        if self.is_checked(id, slot) {
            // Its frame is on its way here, and cannot be given up before.
            return false;
        }
        let record = *record;
        let outcome = self.acknowledged(slot);
        self.close_server_slot(id, slot);
        if let Some(server) = self.servers.get_mut(id) {
            server.round_trip.on_answered(record.psn, now);
        }
        self.observe_access(record.request.client, id, record.request.access);
        self.note_progress(now, id);
        if self.config.keeps(Rule::FramesAreGivenUp) {
            self.release_bytes(&record, out);
        }
        if plain {
            if let Outcome::Atomic(original) = outcome {
                record_value(&self.config, &record.request, original, out);
            }
            self.complete(&record.request, outcome, out);
        }
        true
    }

    /// Takes the oldest bound request out of the window.
    pub(crate) fn close_server_slot(&mut self, id: ServerQpId, slot: u32) {
        let Some(server) = self.servers.states.get_mut(id.index()) else { return };
        let popped = self.servers.slots.pop_front(&mut server.open);
        debug_assert_eq!(popped, Some(slot));
        let Some(record) = self.servers.slots.get(slot) else { return };
        let end = record.psn.add(record.request.packets);
        if end.is_after(server.acknowledged) {
            server.acknowledged = end;
        }
        if end.is_after(server.seen) {
            server.seen = end;
        }
        if server.repair == Some(slot) {
            server.repair = server.open.head();
        }
        server.uncount_open(id, &record.request);
        self.end_write(id, slot);
        let Some(server) = self.servers.states.get_mut(id.index()) else { return };
        let finished = server.open.is_empty() && server.waiting_own.is_empty();
        if server.exclusive && finished && server.in_message.is_none() {
            server.exclusive = false;
            self.reopen(id);
        }
        self.servers.slots.remove(slot);
    }
}
