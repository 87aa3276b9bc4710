//! A client repeats a READ in the middle of its own message. A new READ cannot go out before the
//! message has ended (messages do not interleave: IBTA vol. 1, 9.7.4.1.2), and the client may wait
//! for the READ before it sends the rest: rxe has at most 128 packets unacknowledged (rxe_param.h,
//! RXE_MAX_UNACKED_PSNS). So the READ goes out under the PSN that it had, as a repeat, which a
//! responder answers at any time if the READ is among the last that it remembers
//! (IBTA vol. 1, 9.7.5.1.1).
//!
//! That is the last resort: a READ that is repeated in time goes out before the message begins,
//! and where another server queue pair is certain to accept it, it goes there ([`super::route`]).
//! Guests may have made the client's own forget it. The engine does not send such a READ again: it
//! gives it up, and its client asks again if it still wants it.

use super::generate;
use super::past_reads::{own_read, packets_of, skipped};
use super::server::{ServerSlot, Source};
use super::server_qp::ServerQp;
use crate::counters::{DropReason, GeneratedKind};
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::{ClientId, ServerQpId};
use crate::journal::{Extent, OwnRead, PastRead};
use crate::mail::{Kind, Outcome, Request};
use crate::out::{Action, Out};
use crate::policy::Access;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Ecn, Layout, NakCode, Opcode, RethRepr, ServerPsn, Syndrome};

/// Whether its client has asked for it before, and it was answered then.
fn is_repeated_read(request: &Request) -> bool {
    request.kind == Kind::Read && request.origin.psn.is_before(request.origin.floor)
}

impl Engine {
    /// A READ or an atomic passes before the connection is translated, perhaps not for the first
    /// time: its PSN is the same at both ends.
    pub(super) fn note_passed_read(
        &mut self,
        id: ClientId,
        psn: ClientPsn,
        kind: Kind,
        access: Option<Access>,
    ) {
        if kind == Kind::Plain {
            return;
        }
        let path_mtu = self.exact_mtu(&self.watches.get(id));
        let past_reads = &mut self.servers.past_reads;
        if let Some(path_mtu) = path_mtu {
            past_reads.tell_path_mtu(id.own_server_qp(), path_mtu);
        }
        // While it is not known, a READ takes at least one.
        let packets = |len: u32| path_mtu.map_or(1, |mtu| packets_of(len, mtu));
        let read = access.filter(|_| kind == Kind::Read);
        let read = read.map(|access| own_read(psn, packets(access.len), &access));
        let server_psn = ServerPsn::from_wire(psn.to_wire());
        past_reads.note_passed(id.own_server_qp(), PastRead { server_psn, read });
    }

    /// A request passes that is not the next.
    pub(super) fn note_passed_again(&mut self, id: ClientId, frame: &Frame<'_>, layout: &Layout) {
        if let Some(shape) = self.shape(id, frame, layout) {
            let psn = ClientPsn::from_wire(layout.psn);
            self.note_passed_read(id, psn, shape.kind, shape.access);
        }
    }

    /// Gives up a repeated READ that waits for the end of its client's own message. `false` if
    /// there is none, or it may still be wanted.
    ///
    /// One that is a late copy: its client may wait for what is behind it before it ends the
    /// message, and a responder with so little depth would not answer it either (IBTA vol. 1,
    /// 9.7.5.1.1). And one for which the message has not gone on for a time: what is behind it is
    /// then answered, which tells a client that still wants it to ask again (IBTA vol. 1, 9.7.5).
    pub(super) fn end_late_step(&mut self, now: Nanos, id: ServerQpId, out: &mut Out) -> bool {
        if !self.config.keeps(Rule::LateReadIsGivenUp) {
            return false;
        }
        let stalled = self.stalled_reads(id).next();
        let late = self.stalled_reads(id).find(|(_, request)| self.is_late(id, request));
        let (floor, cap) = (self.config.server_timeout_ns, self.config.server_timeout_max_ns);
        let Some(server) = self.servers.states.get_mut(id.index()) else { return false };
        if stalled.is_none() {
            server.stalled_until = Nanos::NEVER;
        } else if server.stalled_until == Nanos::NEVER {
            server.stalled_until = now.after(server.round_trip.timeout_ns(floor, cap, 0));
            self.deadlines.note(id.0, server.stalled_until);
        }
        let over = stalled.filter(|_| server.stalled_until <= now);
        let Some((slot, request)) = late.or(over) else { return false };
        self.servers.slots.unlink(&mut server.waiting_own, slot);
        let token = self.servers.slots.get(slot).map(|record| record.token);
        self.servers.slots.remove(slot);
        self.counters.repeats_returned += 1;
        if let Some(token) = token {
            out.push(Action::Release(token));
        }
        self.complete(&request, Outcome::Unanswered, out);
        true
    }

    /// The repeated READs that wait for the end of their client's own message, by slot.
    fn stalled_reads(&self, id: ServerQpId) -> impl Iterator<Item = (u32, Request)> {
        let server = self.servers.get(id).filter(|server| server.in_message == Some(id.owner()));
        let mut next = server.and_then(|server| server.waiting_own.head());
        let recalled = server.and_then(|server| server.recalled);
        let waiting = core::iter::from_fn(move || {
            let slot = next?;
            next = self.servers.slots.next(slot);
            Some((slot, self.servers.slots.get(slot)?.request))
        });
        waiting.filter(move |(slot, request)| {
            let stays = recalled != Some(*slot) && !self.is_read_again(id, request);
            is_repeated_read(request) && stays
        })
    }

    fn is_late(&self, id: ServerQpId, request: &Request) -> bool {
        let depth = self.directory.server_qp(id).map_or(0, |connection| connection.depth);
        let end = request.origin.psn.add(request.packets);
        let may_be_more = self.watches.depth_is_least(id.owner());
        !may_be_more && self.servers.past_reads.is_past(id, end, usize::from(depth))
    }

    /// Whether the client repeats this inside its own message, and the server remembers it.
    pub(super) fn is_read_again(&self, id: ServerQpId, request: &Request) -> bool {
        self.past_read(id, request).is_some()
    }

    fn past_read(&self, id: ServerQpId, request: &Request) -> Option<(ServerPsn, OwnRead)> {
        let server = self.servers.get(id)?;
        let inside = server.in_message == Some(request.client) && request.client == id.owner();
        let passes = self.config.keeps(Rule::ReadsPassMessages);
        if !inside || !is_repeated_read(request) || !passes {
            return None;
        }
        // It has taken this one, at least.
        let connection = self.directory.server_qp(id)?;
        let mut depth = usize::from(connection.depth).max(1);
        if self.watches.depth_is_least(id.owner()) {
            // A client that waits for this one has asked for so many at a time.
            let end = request.origin.psn.add(request.packets);
            depth = depth.max(self.servers.past_reads.count_behind(id, end) + 1);
        }
        self.servers.past_reads.find(request, depth, connection.path_mtu)
    }

    /// The first READ that waits for the end of its client's message and need not.
    pub(super) fn next_read_again(&self, id: ServerQpId, server: &ServerQp) -> Option<u32> {
        let repeats = |record: &ServerSlot| self.is_read_again(id, &record.request);
        self.servers.slots.find_from(server.waiting_own.head(), repeats)
    }

    /// The first READ that the client of this request repeats, if the request begins a message
    /// that it ends later. Inside the message that READ could not be bound, and guests may have
    /// made the server forget it. It waits for nothing: what it reads was complete when it was
    /// answered first.
    pub(super) fn read_before_message(&self, server: &ServerQp, slot: u32) -> Option<u32> {
        let first = &self.servers.slots.get(slot)?.request;
        if first.ends_message || !self.config.keeps(Rule::ReadsPassMessages) {
            return None;
        }
        self.servers.slots.find_from(server.waiting_own.head(), |record| {
            record.request.client == first.client && is_repeated_read(&record.request)
        })
    }

    /// Sends a READ, its frame in hand, under the PSN that it had. Always the whole of it: some
    /// responders forget what a narrower repeat leaves out.
    pub(super) fn send_read_again(
        &mut self,
        now: Nanos,
        slot: u32,
        frame: &Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        self.drop_frame(frame, DropReason::Consumed, out);
        let Some(&ServerSlot { request, .. }) = self.servers.slots.get(slot) else { return };
        let id = request.server_qp;
        let Some((psn, read)) = self.past_read(id, &request) else { return };
        // The answer to both is the same, and would be taken for the first one's.
        while let Some(old) = self.find_again(id, psn)
            && let Some(&ServerSlot { request, .. }) = self.servers.slots.get(old)
        {
            self.end_read_again(id, old);
            self.complete(&request, Outcome::Unanswered, out);
        }
        let skipped = skipped(&read, request.origin.psn);
        let Some(record) = self.servers.slots.get_mut(slot) else { return };
        record.psn = psn;
        record.source = Source::Again { skipped };
        record.request.packets += skipped;
        record.parts = skipped;
        let Some(server) = self.servers.states.get_mut(id.index()) else { return };
        self.servers.slots.push_back(&mut server.again, slot);
        self.counters.reads_inside_messages += 1;
        self.make_read(id, psn, &read.extent, layout.ecn, out);
        self.wait_for_answer_again(now, id);
    }

    /// The READ as it was first sent, with the congestion mark of the packet that stands for it.
    fn make_read(
        &mut self,
        id: ServerQpId,
        psn: ServerPsn,
        extent: &Extent,
        ecn: Ecn,
        out: &mut Out,
    ) {
        let Some(mut connection) = self.directory.server_qp(id).copied() else { return };
        if ecn == Ecn::Ce {
            connection.request.traffic_class |= Ecn::Ce.to_bits();
        }
        let Extent { remote_key, start, len } = *extent;
        let reth = RethRepr { virtual_address: start, remote_key, dma_length: len };
        if generate::read(out, &connection, psn, reth) {
            self.counters.generated.count(GeneratedKind::Repair as usize);
        }
    }

    /// Time is up for what is not answered: its client asks again, if it still wants it.
    fn wait_for_answer_again(&mut self, now: Nanos, id: ServerQpId) {
        let (floor, cap) = (self.config.server_timeout_ns, self.config.server_timeout_max_ns);
        let Some(server) = self.servers.get_mut(id) else { return };
        server.again_until = now.after(server.round_trip.timeout_ns(floor, cap, 0));
        self.deadlines.note(id.0, server.again_until);
    }

    /// When a READ that a client repeated inside its own message is given up; `None` if there is
    /// none.
    pub(crate) fn again_deadline(&self, id: ServerQpId) -> Option<Nanos> {
        let server = self.servers.get(id)?;
        let again = (!server.again.is_empty()).then_some(server.again_until);
        let stalled = Some(server.stalled_until).filter(|until| *until != Nanos::NEVER);
        again.into_iter().chain(stalled).min()
    }

    /// Gives one up that was not answered in time. `false` if there is none.
    pub(super) fn give_up_again_step(&mut self, now: Nanos, id: ServerQpId, out: &mut Out) -> bool {
        let due = self.servers.get(id).filter(|server| server.again_until <= now);
        let Some(slot) = due.and_then(|server| server.again.head()) else { return false };
        let Some(&ServerSlot { request, .. }) = self.servers.slots.get(slot) else { return false };
        self.end_read_again(id, slot);
        self.complete(&request, Outcome::Unanswered, out);
        true
    }

    /// The READ that was sent under its old PSN and that this PSN belongs to.
    pub(super) fn find_again(&self, id: ServerQpId, psn: ServerPsn) -> Option<u32> {
        let first = self.servers.get(id)?.again.head();
        self.servers.slots.find_from(first, |record| record.includes(psn))
    }

    /// The server answers a READ that was sent under its old PSN.
    pub(super) fn on_answer_again(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        slot: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let psn = ServerPsn::from_wire(layout.psn);
        if layout.opcode == Opcode::Acknowledge {
            let syndrome = layout.aeth(frame.bytes()).map(|aeth| aeth.syndrome);
            self.drop_frame(frame, DropReason::Consumed, out);
            match syndrome {
                Some(Syndrome::Nak(code)) if code != NakCode::PsnSequence => {
                    self.on_refusal(now, id, slot, psn, code, out);
                }
                _ => {}
            }
            return;
        }
        if !layout.opcode.is_read_response() || !self.is_next_part(id, slot, psn, layout) {
            return self.drop_frame(frame, DropReason::ResponseUnfit, out);
        }
        self.on_next_part(now, id, slot, frame, layout, out);
        self.wait_for_answer_again(now, id);
        if self.servers.slots.get(slot).is_some_and(|record| record.done) {
            self.end_read_again(id, slot);
        }
    }

    pub(super) fn end_read_again(&mut self, id: ServerQpId, slot: u32) {
        let Some(server) = self.servers.states.get_mut(id.index()) else { return };
        self.servers.slots.unlink(&mut server.again, slot);
        self.servers.slots.remove(slot);
    }
}
