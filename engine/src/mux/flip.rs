//! The flip: a connection that was only watched is translated from its next request on, and what
//! its client asks again from before is answered as before.

use super::client::{Service, State};
use super::results::AtomicResult;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::ClientId;
use crate::journal::Record;
use crate::mail::Kind;
use crate::out::{Action, Out};
use crate::policy::Start;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Layout};

/// Answers seen in order before a connection may flip: what was outstanding when watching began
/// has then been answered as well.
const ANSWERS_MIN: u32 = 4;

impl Engine {
    /// Whether all that the flip needs is known. What passed beyond a gap has a PSN that is given
    /// out anew after the flip, and may reach the server late, in the place of the new one.
    fn is_flippable(&self, now: Nanos, id: ClientId, layout: &Layout) -> bool {
        let watch = self.watches.get(id);
        let psn = ClientPsn::from_wire(layout.psn);
        let mtu = self.known_mtu(&watch).next_power_of_two();
        let alone = now >= self.flips_from || !self.config.keeps(Rule::FlipAfterCrash);
        alone
            && watch.request_seen
            && watch.response_seen
            && !watch.dead
            && (watch.passed.is_none_or(|passed| psn.is_after(passed))
                || !self.config.keeps(Rule::FlipBehindWhatPassed))
            && watch.ended.is_none()
            && (watch.answers >= ANSWERS_MIN || !self.config.keeps(Rule::FlipAfterAnswers))
            && self.exact_mtu(&watch).is_some()
            && (256..=4096).contains(&mtu)
            && layout.opcode.starts_message()
            && self.clients.get(id).is_some_and(|client| !client.in_message)
    }

    /// Whether the connection flips with this request, which nothing is outstanding before.
    pub(super) fn may_flip(&mut self, now: Nanos, id: ClientId, layout: &Layout) -> bool {
        if !self.is_flippable(now, id, layout) {
            return false;
        }
        let quiet = self.clients.get(id).is_some_and(|client| client.queue.is_empty());
        if !quiet && let Some(watch) = self.watches.get_mut(id) {
            watch.ready_at.get_or_insert(now);
        }
        quiet && self.has_settled(id) || !self.config.keeps(Rule::FlipWaitsForQuiet)
    }

    /// Whether all that passed is answered. Of an atomic that was lost sight of, whose answer never
    /// came here, only its server knows what it found, and guests will make that forget it: the
    /// client asks again before long, and then the answer passes.
    pub(super) fn has_settled(&self, id: ClientId) -> bool {
        let lost = self.clients.results.count_awaited(id) > 0;
        self.passed_head(id).is_none() && !(lost && self.config.keeps(Rule::FlipAfterAtomics))
    }

    /// Whether atomics are unanswered that are not among the requests outstanding.
    fn has_lost_atomics(&self, id: ClientId) -> bool {
        let mut known = 0;
        let mut slot = self.clients.get(id).and_then(|client| client.queue.head());
        while let Some(index) = slot {
            let record = self.clients.slots.get(index);
            known += usize::from(record.is_some_and(|record| record.kind == Kind::Atomic));
            slot = self.clients.slots.next(index);
        }
        self.clients.results.count_awaited(id) > known
    }

    /// Whether to hold requests until all before them are answered: the client never pauses. Only
    /// behind a request that must be answered, else the answer may never come.
    pub(super) fn should_drain(&self, now: Nanos, id: ClientId, layout: &Layout) -> bool {
        let watch = self.watches.get(id);
        let patience = self.config.flip_wait_ns;
        watch.must_answer
            && watch.ready_at.is_some_and(|since| now >= since.after(patience))
            && self.is_flippable(now, id, layout)
            && !self.has_lost_atomics(id)
    }

    /// Nothing is outstanding on the connection: from now on it is translated.
    pub(super) fn flip(&mut self, id: ClientId) {
        let watch = self.watches.get(id);
        let mtu = self.known_mtu(&watch).next_power_of_two();
        let depth = self.config.depth.unwrap_or(watch.reads_max);
        if let Some(connection) = self.directory.client_mut(id) {
            if let Some(watch) = self.watches.get_mut(id) {
                watch.depth_is_least = connection.depth == 0 && self.config.depth.is_none();
            }
            connection.path_mtu = mtu;
            connection.depth = connection.depth.max(depth);
        }
        self.servers.past_reads.tell_path_mtu(id.own_server_qp(), mtu);
        let Some(client) = self.clients.states.get_mut(id.index()) else { return };
        client.service = Service::Active;
        // What was held meanwhile was counted from an older number.
        let first = match client.queue.head() {
            Some(slot) => self.clients.slots.get(slot).map_or(client.expected, |r| r.psn),
            None => client.expected,
        };
        client.accepted_msn = client.completed_msn;
        let mut slot = client.queue.head();
        while let Some(index) = slot {
            let Some(record) = self.clients.slots.get_mut(index) else { break };
            client.accepted_msn = client.accepted_msn.add(u32::from(record.ends_message));
            record.msn = client.accepted_msn;
            slot = self.clients.slots.next(index);
        }
        client.completed_end = first;
        if let Some(server) = self.servers.get_mut(id.own_server_qp()) {
            server.start(first);
        }
        let start = Start { psn: first, msn: client.completed_msn, credits: client.credits };
        if let Some(connection) = self.directory.client_mut(id) {
            connection.start = start;
        }
        let records = self.config.records && self.config.keeps(Rule::StartIsRecorded);
        if let Some(watch) = self.watches.get_mut(id) {
            watch.draining_since = None;
            watch.start = Some(first);
            watch.starting = records.then_some(0);
        }
        if records {
            self.clients.work.push(id.0);
        }
        self.counters.flips += 1;
        self.keep_learnt(id);
        self.take_share(id.own_server_qp());
    }

    /// Writes one record of the start of a connection: what its client may ask for again from
    /// before, then the start itself. `false` if there is none to be written. Until then nothing of
    /// it is bound: an engine that goes on from less lets the connection pass.
    pub(super) fn start_step(&mut self, id: ClientId, out: &mut Out) -> bool {
        if !self.watches.is_starting(id) {
            return false;
        }
        let Some(watch) = self.watches.get_mut(id) else { return false };
        let Some(written) = watch.starting else { return false };
        let name = watch.learnt;
        let keeps = self.config.keeps(Rule::PastIsRecorded);
        let server_qp = id.own_server_qp();
        let reads = self.servers.past_reads.known(server_qp);
        let reads = reads.map(|past| Record::PastRead { server_qp, past });
        let values =
            self.clients.results.known(id).map(|AtomicResult { psn, opcode, original }| {
                Record::Value { client: id, psn, opcode, original }
            });
        let past = reads.chain(values).filter(|_| keeps);
        let next = core::iter::once(Record::Vacant { client: id }).chain(past);
        if let Some(record) = next.into_iter().nth(usize::from(written)) {
            out.push_record(&record);
            watch.starting = Some(written + 1);
            return true;
        }
        watch.starting = None;
        let cm = name.and_then(|name| self.learner.as_ref()?.cm_facts(name));
        if let Some(&connection) = self.directory.client(id) {
            out.push_record(&Record::Start { client: id, connection, cm });
        }
        self.take_share(server_qp);
        true
    }

    /// A client repeats an atomic that nobody here has seen the answer of. From before the flip,
    /// its server is asked again under the same PSN. Whether it was.
    pub(super) fn ask_again(
        &mut self,
        id: ClientId,
        frame: &Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) -> bool {
        let psn = ClientPsn::from_wire(layout.psn);
        if !self.is_from_before(id, psn) {
            return false;
        }
        self.clients.results.expect(id, psn, layout.opcode, false);
        self.pass(frame, out);
        true
    }

    /// A server answers an atomic from before the flip: what it found is kept, and told when the
    /// client asks for it the next time, behind whatever is told by then. Whether it was one.
    pub(super) fn take_old_answer(
        &mut self,
        id: ClientId,
        frame: &Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) -> bool {
        let psn = ClientPsn::from_wire(layout.psn);
        let Some(ack) = layout.atomic_ack(frame.bytes()) else { return false };
        if !self.is_from_before(id, psn) || !self.clients.results.fulfil(id, psn, ack.original) {
            return false;
        }
        if let Some(result) = self.clients.results.get(id, psn) {
            self.record_result(id, &result, out);
        }
        self.drop_frame(frame, DropReason::Consumed, out);
        true
    }

    /// Whether a PSN is from before the flip: then it is the same for client and server.
    fn is_from_before(&self, id: ClientId, psn: ClientPsn) -> bool {
        self.watches.get(id).start.is_some_and(|start| psn.is_before(start))
    }

    /// Gives up draining after the configured time: what was held passes, in order. One step.
    pub(crate) fn undrain_step(&mut self, now: Nanos, id: ClientId, out: &mut Out) -> bool {
        let deadline = self.watches.drain_deadline(id, self.config.flip_wait_ns);
        if deadline.is_none_or(|deadline| now < deadline) {
            return false;
        }
        let held = self.clients.get(id).and_then(|client| client.first_held);
        let Some(slot) = held else {
            if let Some(watch) = self.watches.get_mut(id) {
                watch.draining_since = None;
                watch.ready_at = None;
            }
            return false;
        };
        let next = self.next_held(slot);
        if let Some(record) = self.clients.slots.get_mut(slot)
            && let State::Held(token) = record.state
        {
            record.state = State::Passed;
            if record.kind == Kind::Atomic {
                self.clients.results.expect(id, record.psn, record.opcode, true);
            }
            let (psn, kind, access) = (record.psn, record.kind, record.access);
            self.note_passed_read(id, psn, kind, access);
            out.push(Action::Send(token, Side::Server));
            out.push(Action::Release(token));
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.first_held = next;
            client.assembly = None;
        }
        true
    }
}
