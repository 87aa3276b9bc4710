//! A client repeats what was answered before: its answer was lost on the way.

use super::client::{ClientSlot, State, Way};
use super::client_request::Shape;
use super::generate;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ClientId;
use crate::journal::Operands;
use crate::mail::Kind;
use crate::out::Out;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Layout, Opcode, Syndrome};

impl Engine {
    /// A request that was answered before: its answer was lost on the way to the client.
    pub(super) fn on_repeat(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let forgets = !self.config.keeps(Rule::RepeatedAtomicIsRemembered);
        if layout.opcode == Opcode::ReadRequest || layout.opcode.is_atomic() && forgets {
            return self.on_repeated_read(now, id, frame, layout, out);
        }
        if layout.opcode.is_atomic() {
            return self.on_repeated_atomic(id, frame, layout, out);
        }
        self.drop_frame(frame, DropReason::DuplicateAnswered, out);
        let Some(client) = self.clients.states.get_mut(id.index()) else { return };
        if !layout.ack_request || !self.config.keeps(Rule::RepeatedWriteIsAcknowledged) {
            return;
        }
        // One that passed while the connection was not followed, before it was translated.
        let psn = ClientPsn::from_wire(layout.psn);
        if client.last_plain.is_none_or(|last| psn.is_after(last)) {
            client.last_plain = Some(psn);
        }
        if client.repeats.is_empty() {
            client.ack_due = true;
        } else {
            client.repeat_ack_due = true;
        }
        self.clients.work.push(id.0);
    }

    fn on_repeated_atomic(
        &mut self,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let psn = ClientPsn::from_wire(layout.psn);
        let found =
            self.clients.results.get(id, psn).filter(|result| result.opcode == layout.opcode);
        let Some(result) = found else {
            if self.ask_again(id, frame, layout, out) {
                return;
            }
            return self.drop_frame(frame, DropReason::DuplicateUnknown, out);
        };
        self.drop_frame(frame, DropReason::DuplicateAnswered, out);
        let Some(client) = self.clients.get(id) else { return };
        if client.repeats.is_empty() {
            let answer = generate::Answer {
                psn,
                msn: client.completed_msn,
                syndrome: Syndrome::Ack { credits: client.credits },
                original: Some(result.original),
            };
            return self.answer(id, &answer, out);
        }
        // Behind the repeated READs: answering it first would tell the client that they failed.
        let operands = Operands::default();
        let shape = Shape { kind: Kind::Atomic, packets: 1, access: None, operands };
        let Some(slot) = self.open_slot(id, layout, &shape, Way::Own) else { return };
        if let Some(record) = self.clients.slots.get_mut(slot) {
            record.state = State::Ready;
            record.original = result.original;
        }
        self.queue_repeat(id, slot);
    }

    /// A READ is read again: memory may have changed, as it may have for a native responder.
    fn on_repeated_read(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let Some(shape) = self.shape(id, frame, layout) else {
            return self.drop_frame(frame, DropReason::Malformed, out);
        };
        let psn = ClientPsn::from_wire(layout.psn);
        if self.is_being_repeated(id, psn, shape.packets)
            || !self.config.keeps(Rule::RepeatedReadIsAnswered)
        {
            return self.drop_frame(frame, DropReason::DuplicateInProgress, out);
        }
        let window = self.config.client_window_max;
        if self.clients.get(id).is_none_or(|client| client.open >= window) {
            return self.drop_frame(frame, DropReason::ClientWindow, out);
        }
        // It waits for nothing: what it reads was complete when it was answered first.
        let (way, target) = self.route_repeat(id, &shape);
        let Some(slot) = self.open_slot(id, layout, &shape, way) else {
            return self.drop_frame(frame, DropReason::TableFull, out);
        };
        if let Some(record) = self.clients.slots.get_mut(slot) {
            record.target = target;
        }
        self.counters.read_repeats += 1;
        self.queue_repeat(id, slot);
        let before = self.clients.get(id).map(|client| client.target);
        let Some(request) = self.request_of(id, slot) else { return };
        // It is no part of the client's order.
        if let (Some(client), Some(before)) = (self.clients.get_mut(id), before) {
            client.target = before;
        }
        self.hand_over(now, request, frame, layout, out);
    }

    fn queue_repeat(&mut self, id: ClientId, slot: u32) {
        let Some(client) = self.clients.states.get_mut(id.index()) else { return };
        client.open += 1;
        self.clients.slots.push_back(&mut client.repeats, slot);
        self.clients.work.push(id.0);
    }

    /// Whether a repeated READ that covers these PSNs is on its way already.
    fn is_being_repeated(&self, id: ClientId, psn: ClientPsn, packets: u32) -> bool {
        let first = self.clients.get(id).and_then(|client| client.repeats.head());
        let covers = |record: &ClientSlot| {
            let offset = psn.offset_from(record.psn);
            record.kind == Kind::Read && offset.saturating_add(packets) <= record.packets
        };
        self.clients.slots.find_from(first, covers).is_some()
    }
}
