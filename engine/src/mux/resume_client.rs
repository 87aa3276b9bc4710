//! A client of an engine that goes on: what it asked for is complete, under way, or needs its
//! bytes again. Nothing is said to it before it is known how far it is: an answer must not carry
//! an older message count than one before.

use super::client::{ClientSlot, Gap, Service, State};
use super::client_request::Shape;
use super::generate::Answer;
use super::record::origin_of;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ClientId;
use crate::mail::{Kind, Mail, Origin, Request};
use crate::out::{Action, Out};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Layout, NakCode, Syndrome};

impl Engine {
    /// A packet of a client of which it is not known how far it is: only bytes are taken.
    pub(super) fn on_early_request(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let psn = ClientPsn::from_wire(layout.psn);
        let Some(client) = self.clients.get_mut(id) else { return };
        if !psn.is_before(client.expected) {
            // Told when everything before it is complete.
            client.gap = Gap::Due;
            return self.drop_frame(frame, DropReason::RequestGap, out);
        }
        self.on_in_progress(now, id, frame, layout, out);
    }

    /// A request that is on its way already. If the engine before had its bytes, they are taken.
    pub(super) fn on_in_progress(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let head = self.clients.get(id).and_then(|client| client.queue.head());
        let head = head.filter(|_| self.resumes.client(id).is_some());
        match self.find_wanting(head, ClientPsn::from_wire(layout.psn)) {
            Some(slot) => self.hand_over_bytes(now, id, slot, frame, layout, out),
            None => self.drop_frame(frame, DropReason::DuplicateInProgress, out),
        }
    }

    /// The slot from `slot` on that may want the bytes of this PSN.
    fn find_wanting(&self, slot: Option<u32>, psn: ClientPsn) -> Option<u32> {
        let found = self.clients.slots.find_from(slot, |record| record.psn == psn)?;
        let record = self.clients.slots.get(found)?;
        let missing = matches!(record.state, State::Missing | State::Unsettled);
        let wants = missing && record.kind == Kind::Plain;
        (wants || record.state == State::Wanted).then_some(found)
    }

    fn hand_over_bytes(
        &mut self,
        now: Nanos,
        id: ClientId,
        slot: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        if self.clients.slots.get(slot).is_some_and(|record| record.state == State::Wanted) {
            return self.take_returned(id, slot, frame, layout, out);
        }
        match self.bound_request(id, slot) {
            Some(request) => self.hand_over(now, request, frame, layout, out),
            None => self.drop_frame(frame, DropReason::DuplicateInProgress, out),
        }
    }

    /// A request that came back without its bytes has them again: it is handed over in its turn.
    fn take_returned(
        &mut self,
        id: ClientId,
        slot: u32,
        frame: &Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let shape = self.shape(id, frame, layout);
        let record = self.clients.slots.get_mut(slot).filter(|record| {
            let fits =
                |shape: &Shape| shape.packets == record.packets && shape.access == record.access;
            layout.opcode == record.opcode && shape.as_ref().is_some_and(fits)
        });
        let Some(record) = record else {
            return self.drop_frame(frame, DropReason::DuplicateInProgress, out);
        };
        let token = frame.token();
        record.state = State::Held(token);
        out.push(Action::Hold(token));
        self.clients.work.push(id.0);
    }

    /// Whether a packet of the message that begins with `slot` came back without its bytes and has
    /// not come again: what other server queue pairs are given is whole.
    pub(super) fn wants_bytes(&self, id: ClientId, slot: u32) -> bool {
        let mut next = Some(slot).filter(|_| self.resumes.client(id).is_some());
        while let Some(record) = next.and_then(|index| self.clients.slots.get(index)) {
            if record.state == State::Wanted || record.ends_message {
                return record.state == State::Wanted;
            }
            next = next.and_then(|index| self.clients.slots.next(index));
        }
        false
    }

    /// The message that names a request which is bound already.
    fn bound_request(&self, id: ClientId, slot: u32) -> Option<Request> {
        let name = self.clients.slots.reference(slot);
        let floor = self.clients.get(id)?.completed_end;
        let record = self.clients.slots.get(slot)?;
        Some(Request {
            client: id,
            slot: name,
            server_qp: record.target,
            kind: record.kind,
            packets: record.packets,
            starts_message: record.opcode.starts_message(),
            ends_message: record.ends_message,
            exclusive: record.exclusive,
            alone: false,
            mapped: false,
            parts: 0,
            access: record.access,
            operands: record.operands,
            key: record.of_key,
            origin: Origin { again: true, ..origin_of(record, floor) },
        })
    }

    /// Of one more request it is known whether it ran.
    pub(super) fn note_settled(&mut self, id: ClientId) {
        let Some(resumed) = self.resumes.client_mut(id) else { return };
        resumed.unsettled = resumed.unsettled.saturating_sub(1);
        let over = resumed.unsettled == 0;
        if let Some(client) = self.clients.get_mut(id)
            && client.service == Service::Resuming
            && over
        {
            client.service = Service::Active;
        }
        self.clients.work.push(id.0);
    }

    /// Closes a request that was complete before, without a word: its client may know. Who does
    /// not know asks again.
    pub(super) fn close_past(&mut self, id: ClientId, slot: u32, record: &ClientSlot) {
        if record.kind == Kind::Atomic {
            self.keep_atomic(id, record);
        }
        if let Some(client) = self.clients.get_mut(id).filter(|_| record.kind == Kind::Plain) {
            client.ack_due = true;
            client.last_plain = Some(record.psn);
        }
        self.close_slot(id, slot, false);
    }

    /// The next request was bound by the engine before, ahead of an earlier one. `false` if it was
    /// not, or has to be bound anew.
    pub(super) fn take_orphan(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) -> bool {
        if self.resumes.is_settled() {
            return false;
        }
        let Some(slot) = self.resumes.client(id).and_then(|resumed| resumed.orphans.head()) else {
            return false;
        };
        let Some(resumed) = self.resumes.client_mut(id) else { return false };
        if !self.config.keeps(Rule::BoundAheadIsFound) {
            return false;
        }
        let psn = ClientPsn::from_wire(layout.psn);
        let Some(&record) = self.clients.slots.get(slot).filter(|record| record.psn == psn) else {
            return false;
        };
        self.clients.slots.pop_front(&mut resumed.orphans);
        let Some(client) = self.clients.states.get_mut(id.index()) else { return false };
        if record.state == State::Past && record.kind == Kind::Read || record.state == State::Wanted
        {
            // Its data is gone; reading again changes nothing. Or it did not run.
            client.open = client.open.saturating_sub(1);
            self.clients.slots.remove(slot);
            return false;
        }
        client.expected = record.psn.add(record.packets);
        client.accepted_msn = record.msn;
        client.last_key = record.key;
        client.in_message = !record.ends_message;
        client.gap = Gap::None;
        self.counters.requests += u64::from(record.ends_message);
        self.clients.slots.push_back(&mut client.queue, slot);
        self.clients.work.push(id.0);
        if record.state == State::Missing {
            self.hand_over_bytes(now, id, slot, frame, layout, out);
            return true;
        }
        if let Some(record) = self.clients.slots.get_mut(slot)
            && record.state == State::Past
        {
            record.state = State::Ready;
        }
        self.drop_frame(frame, DropReason::DuplicateInProgress, out);
        true
    }

    /// Asks a client for bytes, when all before them is complete: the NAK says so. Once for each
    /// PSN. `false` if there is nothing to ask for.
    pub(super) fn ask_client_step(&mut self, now: Nanos, id: ClientId, out: &mut Out) -> bool {
        let Some(&resumed) = self.resumes.client(id) else { return false };
        let Some(&client) = self.clients.get(id) else { return false };
        if !client.repeats.is_empty() {
            return false;
        }
        let head = client.queue.head().and_then(|slot| self.clients.slots.get(slot)).copied();
        let psn = match head {
            Some(record) if record.state.awaits_client() => record.psn,
            None if !resumed.orphans.is_empty() => client.expected,
            _ => return false,
        };
        if resumed.asked == Some(psn) {
            return false;
        }
        let deadline = now.after(self.config.resume_wait_ns);
        self.deadlines.note_resumed(deadline);
        if let Some(resumed) = self.resumes.client_mut(id) {
            (resumed.asked, resumed.deadline) = (Some(psn), deadline);
        }
        if head.is_none() && client.gap == Gap::Told {
            // It was asked already.
            return true;
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.gap = Gap::Told;
        }
        let syndrome = Syndrome::Nak(NakCode::PsnSequence);
        let answer = Answer { psn, msn: client.completed_msn, syndrome, original: None };
        self.answer(id, &answer, out);
        true
    }

    /// Gives up clients that have not sent again what they were asked for.
    pub(crate) fn run_resume_deadlines(&mut self, now: Nanos) {
        for index in 0..self.resumes.clients.len() {
            let id = ClientId(index as u32);
            let Some(resumed) = self.resumes.client_mut(id) else { continue };
            if resumed.deadline > now {
                let deadline = resumed.deadline;
                self.deadlines.note_resumed(deadline);
                continue;
            }
            resumed.deadline = Nanos::NEVER;
            let resumed = *resumed;
            let Some(&client) = self.clients.get(id) else { continue };
            let head = client.queue.head().and_then(|slot| self.clients.slots.get(slot));
            let waits = match head {
                Some(record) => record.state.awaits_client() && resumed.asked == Some(record.psn),
                None => !resumed.orphans.is_empty() && resumed.asked == Some(client.expected),
            };
            if waits {
                self.stop_client(id);
            }
        }
    }

    /// A stopped client's bytes do not come any more. One step; `false` if none are waited for.
    pub(super) fn void_step(&mut self, id: ClientId, out: &mut Out) -> bool {
        let Some(resumed) = self.resumes.client_mut(id) else { return false };
        let Some(client) = self.clients.states.get_mut(id.index()) else { return false };
        if let Some(orphan) = self.clients.slots.pop_front(&mut resumed.orphans) {
            self.clients.slots.push_back(&mut client.queue, orphan);
            return true;
        }
        let mut slot = client.queue.head();
        while let Some(index) = slot {
            let Some(record) = self.clients.slots.get_mut(index) else { return false };
            if record.state == State::Missing {
                record.state = State::Issued;
                let Some(request) = self.bound_request(id, index) else { return false };
                match self.shard_of(request.server_qp.owner()) {
                    Some(shard) if shard != self.shard => {
                        out.push_mail(shard, Mail::Void(request), None);
                    }
                    _ => self.on_void(&request),
                }
                return true;
            }
            slot = self.clients.slots.next(index);
        }
        false
    }
}
