//! A server queue pair of an engine that goes on: how far it is, and what it is sent again.
//!
//! It is asked with a zero-length WRITE far ahead of what it expects: its NAK names the PSN that it
//! expects, and executes nothing (IBTA vol. 1, 9.7.5.1.3; rxe_resp.c). One that has sent its one
//! NAK already is silent; then a zero-length WRITE behind what it expects, which it takes for a
//! duplicate, makes it acknowledge the newest that it has (C9-105). Answers to what the engine
//! before has sent say as much.

use super::client::State;
use super::closing::Loss;
use super::generate;
use super::resume::{Cut, Phase};
use super::rewrite::{Become, rewrite};
use super::server::{ServerSlot, Source};
use crate::counters::{DropReason, GeneratedKind};
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, ServerQpId};
use crate::journal::{Extent, Record};
use crate::mail::{Completion, Kind, Outcome, Request, Resumed, SlotRef};
use crate::out::{Action, Out};
use crate::policy::{Access, KeyOf};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{Layout, NakCode, Opcode, ServerPsn, Syndrome, icrc, rnr_delay_ns};

/// PSNs between the next one and that of the question: none of them is in use for long, and the
/// question is still in the half of the sequence space that is ahead (IBTA vol. 1, 9.7.2).
const AHEAD: u32 = 1 << 22;

/// Questions after which a lower bound is taken for the truth, if there was an answer at all.
const ROUNDS_MAX: u32 = 4;

impl Engine {
    /// Whether the server queue pair has not said yet how far it is.
    pub(super) fn is_asking(&self, id: ServerQpId) -> bool {
        !self.resumes.is_settled()
            && self.resumes.server(id).is_some_and(|resumed| resumed.phase != Phase::Over)
    }

    /// A response of a server queue pair that was not settled yet, whoever asked for it. Its data
    /// is not taken: where it begins may have been told by the engine before.
    pub(super) fn on_early_response(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        self.drop_frame(frame, DropReason::Consumed, out);
        let psn = ServerPsn::from_wire(layout.psn);
        let syndrome = layout.aeth(frame.bytes()).map(|aeth| aeth.syndrome);
        let whole = self.find_open(id, psn).and_then(|slot| self.servers.slots.get(slot));
        let end = whole.map_or(psn.add(1), |record| record.psn.add(record.request.packets));
        let (end, exact) = match syndrome {
            Some(Syndrome::Ack { .. }) | None => (end, false),
            Some(Syndrome::Nak(_) | Syndrome::RnrNak { .. }) => (psn, true),
            Some(Syndrome::Reserved(_)) => return,
        };
        let Some(&server) = self.servers.get(id) else { return };
        let Some(resumed) = self.resumes.server_mut(id) else { return };
        if resumed.phase != Phase::Asking {
            return;
        }
        // What answers an earlier transmission says less than the answer to the question behind.
        let asked = resumed.rounds > 1 && layout.opcode == Opcode::Acknowledge;
        resumed.heard |= asked;
        let ahead = end.offset_from(resumed.done);
        if ahead > server.next.offset_from(resumed.done) {
            // Older than what is known.
            return;
        }
        resumed.done = end;
        if exact {
            resumed.phase = Phase::Settling { end, exact };
        }
        match syndrome {
            Some(Syndrome::RnrNak { timer }) => {
                if let Some(server) = self.servers.get_mut(id) {
                    server.not_ready_until = Some(now.after(rnr_delay_ns(timer)));
                }
            }
            Some(Syndrome::Nak(code)) if code != NakCode::PsnSequence => {
                if let Some(server) = self.servers.get_mut(id) {
                    server.acknowledged = end;
                }
                self.lose_server(id, Loss::Refusing);
            }
            _ => {}
        }
        self.servers.work.push(id.0);
    }

    /// The server queue pair did not answer in time.
    pub(crate) fn on_silence(&mut self, now: Nanos, id: ServerQpId) -> bool {
        if !self.is_asking(id) {
            return false;
        }
        let deadline = now.after(self.config.server_timeout_ns);
        if let (Some(server), Some(resumed)) =
            (self.servers.get_mut(id), self.resumes.server_mut(id))
        {
            server.deadline = deadline;
            resumed.due = true;
            self.servers.work.push(id.0);
        }
        true
    }

    /// Asks, or settles one request. `false` if there is nothing to do but wait.
    pub(super) fn ask_server_step(&mut self, now: Nanos, id: ServerQpId, out: &mut Out) -> bool {
        let Some(&server) = self.servers.get(id) else { return false };
        let Some(resumed) = self.resumes.server_mut(id) else { return false };
        match resumed.phase {
            Phase::Over => return false,
            Phase::Settling { end, exact } => return self.settle_step(now, id, end, exact, out),
            Phase::Asking => {}
        }
        let end = resumed.done;
        let patience = resumed.rounds >= ROUNDS_MAX && resumed.heard || now >= resumed.until;
        if end == server.next || patience || !self.config.keeps(Rule::ServerIsAsked) {
            let exact = end == server.next || resumed.heard && resumed.cut == Cut::Asked;
            resumed.phase = Phase::Settling { end, exact };
            return true;
        }
        if !core::mem::take(&mut resumed.due) {
            return false;
        }
        let round = resumed.rounds;
        resumed.rounds += 1;
        let oldest = self.oldest_unsettled(id, end);
        let question = match round % 3 {
            0 => server.next.add(AHEAD),
            1 => end.sub(1),
            // What is expected, if it is here.
            _ if oldest.is_some_and(|record| self.transmit(id, &record, out)) => return true,
            _ => server.next.add(AHEAD),
        };
        self.send_filler(id, question, out);
        true
    }

    /// The oldest request that is not known to be done.
    fn oldest_unsettled(&self, id: ServerQpId, done: ServerPsn) -> Option<ServerSlot> {
        let first = self.servers.get(id)?.open.head();
        let found = self.servers.slots.find_from(first, |record| !record.psn.is_before(done))?;
        self.servers.slots.get(found).copied()
    }

    /// Decides about the oldest request that is not settled; then goes on as usual.
    fn settle_step(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        end: ServerPsn,
        exact: bool,
        out: &mut Out,
    ) -> bool {
        let Some(server) = self.servers.states.get_mut(id.index()) else { return false };
        let Some(slot) = self.servers.slots.pop_front(&mut server.open) else {
            self.finish_settling(now, id, end, exact);
            return true;
        };
        let Some(record) = self.servers.slots.get_mut(slot) else { return true };
        let ran = !record.psn.add(record.request.packets).is_after(end);
        let answered = core::mem::take(&mut record.done);
        let over = ran && (record.request.kind != Kind::Atomic || answered);
        let (request, source) = (record.request, record.source);
        if !over && !exact && request.kind == Kind::Read {
            // Its response may have begun: the client asks for the rest if it misses it.
            record.request.slot = SlotRef { index: u32::MAX, generation: 0 };
        }
        let record = *record;
        if over {
            server.uncount_open(id, &request);
            self.servers.slots.remove(slot);
            self.release_bytes(&record, out);
        } else if let Some(resumed) = self.resumes.server_mut(id) {
            self.servers.slots.push_back(&mut resumed.kept, slot);
        }
        let news = match (over, source) {
            (true, _) => Resumed::Done,
            (false, _) if !exact && request.kind == Kind::Read => Resumed::Done,
            (false, Source::Missing(_) | Source::Void(_)) => Resumed::Wanted,
            _ => Resumed::Sent,
        };
        self.complete(&request, Outcome::Resumed(news), out);
        true
    }

    fn finish_settling(&mut self, now: Nanos, id: ServerQpId, end: ServerPsn, exact: bool) {
        self.servers.work.push(id.0);
        let (Some(server), Some(resumed)) = (self.servers.get_mut(id), self.resumes.server_mut(id))
        else {
            return;
        };
        resumed.phase = Phase::Over;
        resumed.done = end;
        if resumed.cut == Cut::Asked {
            resumed.cut = Cut::Found { end, exact };
        }
        server.open = core::mem::replace(&mut resumed.kept, super::slab::Queue::EMPTY);
        server.acknowledged = end;
        server.deadline = Nanos::NEVER;
        if server.loss.is_some() {
            return;
        }
        server.exclusive &= !server.open.is_empty();
        match server.not_ready_until {
            Some(until) => {
                server.deadline = until;
                self.deadlines.note(id.0, until);
            }
            None => self.repair_from_oldest(now, id),
        }
        // What is behind it is known to be done, which does not mean that it was lost.
        let oldest = self.servers.get(id).and_then(|server| server.open.head());
        let oldest = oldest.and_then(|slot| self.servers.slots.get(slot)).map(|r| r.psn);
        if let Some(server) = self.servers.get_mut(id) {
            server.repaired_at = oldest;
        }
    }

    /// Whether the oldest request is an atomic that ran, and whose value is asked for. What was
    /// accepted behind it has used up its room at the responder, though it is not open any more:
    /// one more READ or atomic, and the value may be forgotten (IBTA vol. 1, 9.7.5.1.1).
    pub(super) fn asks_for_value(&self, id: ServerQpId) -> bool {
        if self.resumes.is_settled() {
            return false;
        }
        let Some(resumed) = self.resumes.server(id) else { return false };
        let head = self.servers.get(id).and_then(|server| server.open.head());
        head.and_then(|slot| self.servers.slots.get(slot)).is_some_and(|record| {
            matches!(record.source, Source::Made(_)) && record.psn.is_before(resumed.done)
        })
    }

    /// Bytes that a client has sent again, for a request that was bound before: they are sent
    /// under its PSN, whether it ran or not.
    pub(super) fn attach(
        &mut self,
        request: &Request,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let id = request.server_qp;
        let found = self.find_bound(id, request);
        let record = found.and_then(|slot| self.servers.slots.get(slot)).copied();
        let (Some(slot), Some(record)) = (found, record) else {
            return self.drop_frame(frame, DropReason::DuplicateInProgress, out);
        };
        // What comes again is sent again, so it is verified whatever is trusted.
        if self.trusts_link(layout) && !icrc::verify(frame.bytes(), layout) {
            return self.drop_frame(frame, DropReason::IcrcBad, out);
        }
        let same = self.is_same(&record, frame, layout);
        let takes = matches!(record.source, Source::Missing(_))
            && (same || !self.config.keeps(Rule::ReturnedBytesMatch));
        let Some(connection) = self.directory.server_qp(id).filter(|_| takes) else {
            return self.drop_frame(frame, DropReason::DuplicateInProgress, out);
        };
        let to = Become {
            facts: None,
            source: &connection.client,
            destination: &connection.server,
            path: &connection.request,
            dest_qp: connection.server.qpn,
            psn: record.psn.to_wire(),
            ack_request: true,
            aeth: None,
            keeps_mark: self.config.keeps(Rule::MarksAreCarried),
        };
        rewrite(&self.icrc, frame.bytes_mut(), layout, &to);
        out.push(Action::Hold(frame.token()));
        if let Some(record) = self.servers.slots.get_mut(slot) {
            (record.token, record.source) = (frame.token(), Source::Frame);
            record.unverified = false;
        }
        // Whether it ran is still to be found out.
        if !self.is_asking(id) {
            self.complete(request, Outcome::Resumed(Resumed::Sent), out);
        }
        self.servers.work.push(id.0);
    }

    /// Whether a client's packet is what it was that was bound, as far as that is known.
    fn is_same(&self, record: &ServerSlot, frame: &Frame<'_>, layout: &Layout) -> bool {
        let extent = layout.reth(frame.bytes()).map(|reth| Extent {
            remote_key: reth.remote_key,
            start: reth.virtual_address,
            len: reth.dma_length,
        });
        let found = (layout.opcode, layout.payload_len, extent);
        if let Some(binding) = self.resumes.binding(record.source) {
            return found == (binding.opcode, binding.payload_len, binding.extent);
        }
        // It was damaged. Where its key was, it went elsewhere than its key does.
        let Request { access, key, origin, .. } = &record.request;
        let span = extent.map(|extent| (extent.start, extent.len));
        let payload = layout.payload(frame.bytes());
        let same_key = match self.policy.profile.key_of(layout.opcode, payload, span, None) {
            KeyOf::Known(found) => *key == Some(found),
            _ => true,
        };
        let before =
            access.map(|Access { remote_key, start, len, .. }| Extent { remote_key, start, len });
        same_key && found == (origin.opcode, record.payload_len, before)
    }

    /// The bound request of a client's slot. The search is bounded by the window.
    fn find_bound(&self, id: ServerQpId, request: &Request) -> Option<u32> {
        let first = self.servers.get(id)?.open.head();
        self.servers.slots.find_from(first, |record| {
            (record.request.client, record.request.slot) == (request.client, request.slot)
        })
    }

    /// The bytes of a request do not come again.
    pub(crate) fn on_void(&mut self, request: &Request) {
        let id = request.server_qp;
        let Some(slot) = self.find_bound(id, request) else { return };
        self.make_void(id, slot);
    }

    fn make_void(&mut self, id: ServerQpId, slot: u32) {
        let Some(record) = self.servers.slots.get_mut(slot) else { return };
        if let (Source::Missing(index), Some(resumed)) =
            (record.source, self.resumes.server_mut(id))
        {
            record.source = Source::Void(index);
            resumed.voids += 1;
            self.servers.work.push(id.0);
        }
    }

    /// Lets a zero-length WRITE take the place of a request whose bytes are gone: it is safe
    /// whether the request ran or not, since nothing else is ever sent for it. `false` if there is
    /// none. Inside a message that has begun nothing may take its place (IBTA vol. 1, 9.7.4.1.2).
    pub(super) fn fill_step(&mut self, now: Nanos, id: ServerQpId, out: &mut Out) -> bool {
        if self.resumes.server(id).is_none_or(|resumed| resumed.voids == 0)
            || !self.config.keeps(Rule::HolesAreFilled)
        {
            return false;
        }
        let (mut before, mut slot) = (None, self.servers.get(id).and_then(|s| s.open.head()));
        while let Some(index) = slot {
            let Some(&record) = self.servers.slots.get(index) else { return false };
            if matches!(record.source, Source::Void(_)) {
                return self.fill(now, id, index, before, out);
            }
            before = Some(record);
            slot = self.servers.slots.next(index);
        }
        false
    }

    fn fill(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        slot: u32,
        before: Option<ServerSlot>,
        out: &mut Out,
    ) -> bool {
        let behind = self.servers.slots.next(slot);
        let Some(record) = self.servers.slots.get_mut(slot) else { return false };
        let request = record.request;
        let has_begun = !request.starts_message
            && before.is_none_or(|before| {
                before.source != Source::Filler
                    || before.psn.add(before.request.packets) != record.psn
            });
        if has_begun {
            let psn = record.psn;
            return before.is_none() && self.give_up_cut(now, id, psn);
        }
        if let Some(resumed) = self.resumes.server_mut(id) {
            resumed.voids = resumed.voids.saturating_sub(1);
        }
        let Some(record) = self.servers.slots.get_mut(slot) else { return false };
        record.source = Source::Filler;
        // A plain acknowledgement completes it now.
        record.request.kind = Kind::Plain;
        // That shows nothing of what would have been accepted.
        record.request.access = None;
        if request.kind != Kind::Plain
            && let Some(server) = self.servers.states.get_mut(id.index())
        {
            server.open_reads = server.open_reads.saturating_sub(1);
        }
        let (server_qp, psn) = (id, record.psn);
        if self.config.records && self.config.keeps(Rule::FillIsRecorded) {
            out.push_record(&Record::Fill { server_qp, psn });
        }
        self.complete(&request, Outcome::Lost, out);
        if let Some(server) = self.servers.get_mut(id)
            && server.in_message == Some(request.client)
            && behind.is_none()
        {
            server.in_message = None;
        }
        // What its client asked for behind it goes with it, even what has come again or could be
        // made anew: it would run though what was before it did not.
        let next = behind.and_then(|behind| self.next_of(behind, request.client));
        if let Some(next) = next.filter(|_| self.config.keeps(Rule::FillTakesTheRest)) {
            self.cut(id, next, out);
        }
        true
    }

    /// The server queue pair is inside a message whose rest, from `psn` on, nobody has: nothing may
    /// take its place, so nothing behind it can run. `false` if that is still to be waited for.
    ///
    /// An engine before may have sent the rest and what follows it, and late copies may run as long
    /// as they are in the network. This one has sent nothing from `psn` on: its bytes are not here,
    /// and nothing behind it is sent before it. So once all copies are gone, a server queue pair
    /// that expects `psn` expects it for ever, and what is bound behind it can go elsewhere:
    /// whatever is left of that arrives out of sequence and is not executed (IBTA vol. 1,
    /// 9.7.5.1.3). Copies are gone one lifetime of a packet after this engine began, and another
    /// one later so is every answer from before that time. It is asked then, and what it says is
    /// for good: a NAK names what it expects, an acknowledgement of a duplicate the newest WRITE or
    /// SEND that it has done (C9-105), and `psn` is one. One that says nothing may have run it all.
    fn give_up_cut(&mut self, now: Nanos, id: ServerQpId, psn: ServerPsn) -> bool {
        if !self.config.keeps(Rule::CutMessageIsGivenUp) {
            return false;
        }
        let (timeout, patience) = (self.config.server_timeout_ns, self.config.resume_wait_ns);
        let until = now.after(self.config.packet_lifetime_ns);
        let (Some(server), Some(resumed)) = (self.servers.get_mut(id), self.resumes.server_mut(id))
        else {
            return false;
        };
        match resumed.cut {
            Cut::Found { end, exact } if end == psn => {
                let loss = if exact { Loss::Refusing } else { Loss::Silent { until } };
                self.lose_server(id, loss);
            }
            _ if now < resumed.quiet_from => {
                server.deadline = server.deadline.min(resumed.quiet_from);
                self.deadlines.note(id.0, server.deadline);
                return false;
            }
            _ => {
                resumed.cut = Cut::Asked;
                resumed.phase = Phase::Asking;
                (resumed.done, resumed.heard) = (psn, false);
                (resumed.rounds, resumed.due) = (0, true);
                resumed.until = now.after(patience);
                server.deadline = now.after(timeout);
                self.deadlines.note(id.0, server.deadline);
            }
        }
        true
    }

    /// The first request of a client from `slot` on that changes memory and is not filled.
    fn next_of(&self, slot: u32, client: ClientId) -> Option<u32> {
        self.servers.slots.find_from(Some(slot), |record| {
            let ServerSlot { request, source, done, .. } = record;
            let left = !matches!(source, Source::Filler | Source::Void(_)) && !done;
            request.client == client && request.kind != Kind::Read && left
        })
    }

    /// Something before it has been given up.
    fn cut(&mut self, id: ServerQpId, slot: u32, out: &mut Out) {
        let Some(&record) = self.servers.slots.get(slot) else { return };
        if record.source == Source::Frame {
            self.release_bytes(&record, out);
        }
        if let Some(record) = self.servers.slots.get_mut(slot) {
            record.source = Source::Missing(0);
        }
        self.make_void(id, slot);
    }

    /// Whether the oldest open request waits for its client.
    pub(crate) fn awaits_bytes(&self, id: ServerQpId) -> bool {
        let head = self.servers.get(id).and_then(|server| server.open.head());
        let source = head.and_then(|slot| self.servers.slots.get(slot)).map(|r| r.source);
        matches!(source, Some(Source::Missing(_) | Source::Void(_)))
    }

    /// Sends a bound request, from its frame or made anew. `false` if its bytes are not here.
    pub(crate) fn transmit(&mut self, id: ServerQpId, record: &ServerSlot, out: &mut Out) -> bool {
        match record.source {
            Source::Frame if self.config.keeps(Rule::ResendsAreTheSame) => {
                out.push(Action::Send(record.token, Side::Server));
            }
            Source::Frame | Source::Filler => self.send_filler(id, record.psn, out),
            Source::Missing(_) | Source::Void(_) | Source::Again { .. } => return false,
            Source::Made(_) => {
                if let (Some(connection), Some(binding)) =
                    (self.directory.server_qp(id), self.resumes.binding(record.source))
                {
                    generate::request(out, connection, binding);
                }
            }
        }
        self.counters.generated.count(GeneratedKind::Repair as usize);
        true
    }

    fn send_filler(&mut self, id: ServerQpId, psn: ServerPsn, out: &mut Out) {
        if let Some(connection) = self.directory.server_qp(id) {
            generate::filler(out, connection, psn);
            self.counters.generated.count(GeneratedKind::Filler as usize);
        }
    }

    /// Gives up the frame of a request, if it has one.
    pub(crate) fn release_bytes(&self, record: &ServerSlot, out: &mut Out) {
        if record.source == Source::Frame {
            out.push(Action::Release(record.token));
        }
    }

    /// News of a request that was restored.
    pub(super) fn on_resumed(&mut self, completion: &Completion, slot: u32, news: Resumed) {
        let id = completion.client;
        if matches!(news, Resumed::Done | Resumed::Unbound) {
            self.leave_slot(id, slot);
        }
        let Some(record) = self.clients.slots.get_mut(slot) else { return };
        let settled = record.state == State::Unsettled;
        record.state = match news {
            Resumed::Done => State::Past,
            Resumed::Wanted => State::Missing,
            Resumed::Sent => State::Issued,
            Resumed::Unbound => State::Wanted,
        };
        let old = record.target;
        if news == Resumed::Unbound {
            self.counters.returned += 1;
            self.directory.places.set_leaving(old);
            self.hold_again(id);
        }
        if settled {
            self.note_settled(id);
        }
        self.clients.work.push(id.0);
    }
}
