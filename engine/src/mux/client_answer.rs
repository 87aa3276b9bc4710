//! Answers leave in the client's order, whatever the order in which they came.

use super::client::{ClientSlot, Gap, Service, State, Way};
use super::generate::Answer;
use super::results::AtomicResult;
use super::rewrite::{Become, rewrite};
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, ServerQpId};
use crate::mail::{Completion, Kind, Outcome};
use crate::out::{Action, Out};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{AethRepr, ClientPsn, Layout, Msn, Syndrome};

impl Engine {
    /// News of a request whose answer carries no frame.
    pub(crate) fn on_completion(&mut self, completion: &Completion) {
        let Some(slot) = self.clients.slots.resolve(completion.slot) else { return };
        if let Outcome::Resumed(news) = completion.outcome {
            return self.on_resumed(completion, slot, news);
        }
        if !matches!(completion.outcome, Outcome::NotReady { .. }) {
            self.leave_slot(completion.client, slot);
        }
        let Some(record) = self.clients.slots.get_mut(slot) else { return };
        let unsettled = record.state == State::Unsettled;
        let way = record.way;
        match completion.outcome {
            // To the client the rest of the answer was lost on the way.
            Outcome::Acknowledged | Outcome::Unanswered => record.state = State::Ready,
            Outcome::Atomic(original) => {
                record.original = original;
                record.state = State::Ready;
            }
            Outcome::Refused { code, part } => {
                // The NAK's PSN is that of the response packet that it stands for.
                let psn = record.psn;
                record.psn = psn.add(part.max(record.parts));
                record.state = State::Refused(code);
                self.halt(completion.client, psn);
            }
            Outcome::NotReady { timer } => {
                return self.on_not_ready(completion.client, slot, timer);
            }
            Outcome::Lost if !self.config.keeps(Rule::UnknownIsNotSuccess) => {
                record.state = State::Ready;
            }
            Outcome::Lost => {
                record.state = State::Lost;
                let psn = record.psn;
                self.halt(completion.client, psn);
            }
            Outcome::ReadPart { .. } | Outcome::Returned | Outcome::Resumed(_) => {
                debug_assert!(false, "it comes with a frame");
                return;
            }
        }
        if matches!(completion.outcome, Outcome::Lost | Outcome::Refused { .. })
            && matches!(way, Way::Alone(_))
        {
            // The rest of its message is never handed over.
            self.leave(completion.client, way);
        }
        if unsettled {
            self.note_settled(completion.client);
        }
        self.clients.work.push(completion.client.0);
    }

    /// The server has no receive buffer for a SEND. The client is told if all before it is
    /// complete (the NAK would say so); the engine repeats the request by itself all the same.
    fn on_not_ready(&mut self, id: ClientId, slot: u32, timer: u8) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.queue.head() == Some(slot) && client.repeats.is_empty() {
            client.not_ready = Some(timer);
            self.clients.work.push(id.0);
        }
    }

    /// One packet of a READ's response, in order, in hand: rewritten now, sent now or held.
    pub(crate) fn on_read_part(
        &mut self,
        now: Nanos,
        completion: &Completion,
        index: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let id = completion.client;
        let Some(slot) = self.clients.slots.resolve(completion.slot) else {
            return self.drop_frame(frame, DropReason::OutOfService, out);
        };
        self.run_client(now, id, out);
        let (Some(client), Some(record)) = (self.clients.get(id), self.clients.slots.get(slot))
        else {
            return self.drop_frame(frame, DropReason::OutOfService, out);
        };
        if client.service == Service::Stopped {
            if record.parts + 1 == record.packets {
                self.leave_slot(id, slot);
            }
            record_part(self.clients.slots.get_mut(slot));
            self.clients.work.push(id.0);
            return self.drop_frame(frame, DropReason::OutOfService, out);
        }
        let last = record.parts + 1 == record.packets;
        debug_assert_eq!(index, record.parts, "parts come in order");
        // A repeated READ raises no count; everything before it is complete when it is sent.
        let repeated = record.psn.is_before(client.completed_end);
        let msn = if repeated { client.completed_msn } else { record.msn };
        let psn = record.psn.add(index);
        let syndrome = Syndrome::Ack { credits: client.credits };
        let aeth = layout.opcode.has_aeth().then_some(AethRepr { syndrome, msn });
        self.rewrite_response((id, record.target), psn, aeth, frame, layout);
        let in_turn = self.is_in_turn(id, slot);
        if last {
            self.leave_slot(id, slot);
        }
        let complete = record_part(self.clients.slots.get_mut(slot));
        let token = frame.token();
        if in_turn || !self.config.keeps(Rule::AnswersInOrder) {
            out.push(Action::Forward(token, Side::Client));
            self.note_told(id, msn, repeated);
        } else if self.hold_part(slot, token) {
            out.push(Action::Hold(token));
        } else {
            // To the client it was lost on the way: it asks again when an answer behind it comes.
            self.drop_frame(frame, DropReason::HeldFull, out);
        }
        if complete {
            self.clients.work.push(id.0);
        }
    }

    /// Whether a response packet of this READ can go out at once.
    fn is_in_turn(&self, id: ClientId, slot: u32) -> bool {
        let client = self.clients.get(id);
        client_head(client) == Some(slot)
            && self.clients.slots.get(slot).is_some_and(|record| record.held.is_empty())
            && client.is_some_and(|client| !client.ack_due)
    }

    /// Whether a response packet is to be taken from its server, which is asked again for one that
    /// is not. There is room for it, or it need not be held. One that waits behind a repeated READ
    /// is taken and given up: that READ may be behind it at the server, and then neither would
    /// ever go on.
    pub(super) fn takes_part(&self, completion: &Completion) -> bool {
        if !self.clients.held.is_full() {
            return true;
        }
        let id = completion.client;
        let given_up = self
            .clients
            .get(id)
            .is_some_and(|client| client.service == Service::Stopped || !client.repeats.is_empty());
        let slot = self.clients.slots.resolve(completion.slot);
        given_up || slot.is_none_or(|slot| self.is_in_turn(id, slot))
    }

    fn hold_part(&mut self, slot: u32, token: crate::Token) -> bool {
        let Some(part) = self.clients.held.insert(token) else { return false };
        let Some(record) = self.clients.slots.get_mut(slot) else { return false };
        self.clients.held.push_back(&mut record.held, part);
        true
    }

    /// A READ's response has begun: the count that it carries never goes back, whatever is
    /// repeated before the response ends.
    fn note_told(&mut self, id: ClientId, msn: Msn, repeated: bool) {
        if let Some(client) = self.clients.get_mut(id)
            && !repeated
        {
            client.completed_msn = msn;
        }
    }

    fn rewrite_response(
        &mut self,
        (id, from): (ClientId, ServerQpId),
        psn: ClientPsn,
        aeth: Option<AethRepr>,
        frame: &mut Frame<'_>,
        layout: &Layout,
    ) {
        let Some(connection) = self.directory.client(id) else { return };
        let (from, card) = (self.directory.card(from.owner()), self.directory.card(id));
        let to = Become {
            facts: from.zip(card).map(|(from, to)| (&from.response, &to.response)),
            source: &connection.server,
            destination: &connection.client,
            path: &connection.response,
            dest_qp: connection.client.qpn,
            psn: psn.to_wire(),
            ack_request: false,
            aeth,
            keeps_mark: self.config.keeps(Rule::MarksAreCarried),
        };
        rewrite(&self.icrc, frame.bytes_mut(), layout, &to);
    }

    /// Whether there is nothing to do for a client but to release what is complete, and to hand
    /// over what waited for that: the usual case, in which none of the other steps would do
    /// anything.
    pub(super) fn releases_or_issues(&self, id: ClientId) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        let usual = !self.config.step_by_step
            && client.service == Service::Active
            && client.repeats.is_empty()
            && (!client.returned || client.first_held.is_none())
            && client.assembly.is_none()
            && client.not_ready.is_none()
            && client.gap == Gap::None
            && self.resumes.is_settled()
            && !self.watches.is_starting(id);
        let head = client.queue.head().and_then(|slot| self.clients.slots.get(slot));
        let goes = |state| matches!(state, State::Issued | State::Ready | State::Held(_));
        usual && head.is_none_or(|record| goes(record.state))
    }

    /// Releases what is complete, in order; then hands over what waited for that.
    /// `false` if `out` has no room left.
    pub(crate) fn run_client(&mut self, now: Nanos, id: ClientId, out: &mut Out) -> bool {
        loop {
            if !out.has_room() {
                return false;
            }
            if self.releases_or_issues(id) {
                if self.release_step(id, out)
                    || self.acknowledge(id, out)
                    || self.issue_held(id, out)
                {
                    continue;
                }
                return true;
            }
            let Some(client) = self.clients.get(id) else { return true };
            let more = match client.service {
                Service::Stopped => {
                    self.record_stop(id, out) || self.void_step(id, out) || self.clear_step(id, out)
                }
                Service::Resuming => false,
                Service::Watching => self.undrain_step(now, id, out),
                Service::Active => {
                    self.start_step(id, out)
                        || self.expire_step(now, id, out)
                        || self.release_step(id, out)
                        || self.acknowledge(id, out)
                        || self.refuse_step(id, out)
                        || self.ask_client_step(now, id, out)
                        || self.issue_held(id, out)
                }
            };
            if !more {
                return true;
            }
        }
    }

    /// Releases the answer of the oldest request, or a part of it. `false` if it is not there.
    fn release_step(&mut self, id: ClientId, out: &mut Out) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        let Some(slot) = client_head(Some(client)) else { return false };
        let repeated = !client.repeats.is_empty();
        let Some(record) = self.clients.slots.get(slot) else { return false };
        let has_answer = match record.kind {
            _ if record.state == State::Past => true,
            Kind::Plain => record.state == State::Ready,
            Kind::Read | Kind::Atomic => !record.held.is_empty() || record.state == State::Ready,
        };
        if !has_answer {
            return false;
        }
        let record = *record;
        if record.state == State::Past {
            self.close_past(id, slot, &record);
            return true;
        }
        if record.kind == Kind::Plain {
            // Acknowledged together with the ones behind it that are complete as well.
            if let Some(client) = self.clients.get_mut(id) {
                client.ack_due = true;
                client.last_plain = Some(record.psn);
            }
            self.close_slot(id, slot, repeated);
            return true;
        }
        // Some requesters do not take a READ's or an atomic's response as acknowledgement of
        // the WRITEs before it, so these get their own (qib_rc.c, rvt_rc_rcv_resp).
        if self.config.keeps(Rule::AckBeforeData) && self.acknowledge(id, out) {
            return true;
        }
        if let Some(part) = self.pop_part(slot) {
            out.push(Action::Send(part, Side::Client));
            out.push(Action::Release(part));
            self.note_told(id, record.msn, repeated);
            return true;
        }
        if record.kind == Kind::Atomic {
            self.answer_atomic(id, slot, repeated, out);
        }
        self.close_slot(id, slot, repeated);
        true
    }

    fn pop_part(&mut self, slot: u32) -> Option<crate::Token> {
        let record = self.clients.slots.get_mut(slot)?;
        let part = self.clients.held.pop_front(&mut record.held)?;
        let token = self.clients.held.get(part).copied();
        self.clients.held.remove(part);
        token
    }

    pub(super) fn answer_atomic(&mut self, id: ClientId, slot: u32, repeated: bool, out: &mut Out) {
        let (Some(client), Some(record)) = (self.clients.get(id), self.clients.slots.get(slot))
        else {
            return;
        };
        let ClientSlot { psn, opcode, original, .. } = *record;
        let answer = Answer {
            psn,
            msn: if repeated { client.completed_msn } else { record.msn },
            syndrome: Syndrome::Ack { credits: client.credits },
            original: Some(original),
        };
        self.answer(id, &answer, out);
        if !repeated {
            self.clients.results.keep(id, AtomicResult { psn, opcode, original });
        }
    }

    pub(super) fn keep_atomic(&mut self, id: ClientId, record: &ClientSlot) {
        let ClientSlot { psn, opcode, original, .. } = *record;
        self.clients.results.keep(id, AtomicResult { psn, opcode, original });
    }

    /// The answer is on its way: the request is complete.
    pub(super) fn close_slot(&mut self, id: ClientId, slot: u32, repeated: bool) {
        let Some(client) = self.clients.states.get_mut(id.index()) else { return };
        let queue = if repeated { &mut client.repeats } else { &mut client.queue };
        let popped = self.clients.slots.pop_front(queue);
        debug_assert_eq!(popped, Some(slot));
        let Some(record) = self.clients.slots.get(slot) else { return };
        let ClientSlot { psn, packets, msn, way, target, ends_message, .. } = *record;
        self.clients.slots.remove(slot);
        client.open = client.open.saturating_sub(1);
        if !repeated {
            client.completed_end = psn.add(packets);
            client.completed_msn = msn;
            client.released = (way, target);
            let message = u64::from(ends_message);
            self.counters.completed += message;
            // Only now is it certain: what a lost host gives back may have to go another way.
            match way {
                Way::Place(_) => self.counters.mapped += message,
                Way::Alone(_) => self.counters.alone += message,
                Way::Own => {}
            }
        } else if client.repeats.is_empty() {
            client.ack_due |= core::mem::take(&mut client.repeat_ack_due);
        }
    }

    /// Sends the acknowledgement that is due. `false` if none is.
    pub(super) fn acknowledge(&mut self, id: ClientId, out: &mut Out) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        let due = core::mem::take(&mut client.ack_due);
        let Some(mut psn) = client.last_plain.filter(|_| due) else { return false };
        if !self.config.keeps(Rule::NoPlainAckOnData) {
            psn = client.completed_end.sub(1);
        }
        let answer = Answer {
            psn,
            msn: client.completed_msn,
            syndrome: Syndrome::Ack { credits: client.credits },
            original: None,
        };
        self.answer(id, &answer, out);
        true
    }

    /// Sends the NAK that is due: a gap, a receiver that is not ready, or the server's refusal of
    /// the oldest request, after which the client's queue pair is in the error state. If the
    /// outcome of the oldest request is unknown, there is nothing to say any more.
    fn refuse_step(&mut self, id: ClientId, out: &mut Out) -> bool {
        let Some(client) = self.clients.states.get_mut(id.index()) else { return false };
        let head = client_head(Some(client)).and_then(|slot| self.clients.slots.get(slot)).copied();
        if matches!(head, Some(ClientSlot { state: State::Lost, .. })) {
            self.stop_client(id);
            return true;
        }
        let told_not_ready = client.not_ready.take();
        let (psn, syndrome) = match (head, told_not_ready) {
            (Some(ClientSlot { state: State::Refused(code), psn, .. }), _) => {
                (psn, Syndrome::Nak(code))
            }
            (Some(record), Some(timer)) => (record.psn, Syndrome::RnrNak { timer }),
            (None, _) | (Some(_), None)
                if client.gap == Gap::Due
                    && (head.is_none() || !self.config.keeps(Rule::NakSaysDone)) =>
            {
                client.gap = Gap::Told;
                (client.expected, Syndrome::Nak(crate::wire::NakCode::PsnSequence))
            }
            _ => return false,
        };
        let answer = Answer { psn, msn: client.completed_msn, syndrome, original: None };
        self.answer(id, &answer, out);
        if matches!(head, Some(ClientSlot { state: State::Refused(_), .. })) {
            self.stop_client(id);
        }
        true
    }

    /// Gives up one thing that a stopped client still holds. `false` if there is none.
    fn clear_step(&mut self, id: ClientId, out: &mut Out) -> bool {
        let Some(client) = self.clients.states.get_mut(id.index()) else { return false };
        client.first_held = None;
        let slot = match client.repeats.head() {
            Some(slot) => slot,
            None => match client.queue.head() {
                Some(slot) => slot,
                None => return false,
            },
        };
        if let Some(part) = self.pop_part(slot) {
            out.push(Action::Release(part));
            return true;
        }
        let Some(&record) = self.clients.slots.get(slot) else { return false };
        match record.state {
            // What is bound is finished first.
            state if state.is_out() && self.config.keeps(Rule::BoundIsFinished) => return false,
            State::Held(token) => {
                out.push(Action::Release(token));
                // It may have reserved its place for itself, but it has not entered it.
                if matches!(record.way, Way::Alone(_)) {
                    self.leave(id, record.way);
                }
            }
            _ => {}
        }
        let Some(client) = self.clients.states.get_mut(id.index()) else { return false };
        let queue = if client.repeats.is_empty() { &mut client.queue } else { &mut client.repeats };
        self.clients.slots.pop_front(queue);
        self.clients.slots.remove(slot);
        client.open = client.open.saturating_sub(1);
        true
    }
}

/// The request whose answer goes out next: repeated READs first, then the client's order.
fn client_head(client: Option<&super::client::Client>) -> Option<u32> {
    let client = client?;
    client.repeats.head().or_else(|| client.queue.head())
}

/// Counts a part of a READ's response in; whether it was the last one.
fn record_part(record: Option<&mut ClientSlot>) -> bool {
    let Some(record) = record else { return false };
    record.parts += 1;
    let complete = record.parts == record.packets;
    if complete {
        record.state = State::Ready;
    }
    complete
}
