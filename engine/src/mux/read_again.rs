//! A client repeats a READ in the middle of its own message. A new READ cannot go out before the
//! message has ended (messages do not interleave: IBTA vol. 1, 9.7.4.1.2), and the client may wait
//! for the READ before it sends the rest: rxe has at most 128 packets unacknowledged (rxe_param.h,
//! RXE_MAX_UNACKED_PSNS). So the READ goes out under the PSN that it had, as a repeat, which a
//! responder answers at any time if the READ is among the last that it remembers
//! (IBTA vol. 1, 9.7.5.1.1).
//!
//! That is the last resort: where another server queue pair is certain to accept the READ, it goes
//! there ([`super::route`]). Guests may have made the client's own forget it. The engine does not
//! send such a READ again: it gives it up, and its client asks again if it still wants it.

use alloc::boxed::Box;
use alloc::vec;

use super::generate;
use super::server::{ServerQp, ServerSlot, Source};
use crate::counters::{DropReason, GeneratedKind};
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ServerQpId;
use crate::mail::{Kind, Outcome, Request};
use crate::out::{Action, Out};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Ecn, Layout, NakCode, Opcode, RethRepr, ServerPsn, Syndrome};

/// READs and atomics of a server queue pair that are kept, at most: what responders remember
/// (ConnectX: 16).
const KEPT: usize = 16;

/// A READ or atomic that was bound.
#[derive(Clone, Copy)]
struct Past {
    server_psn: ServerPsn,
    /// Of a READ of the owner, its first PSN there; how many it has is 0 for all others.
    psn: ClientPsn,
    packets: u32,
    /// Of a READ or an atomic of the owner, the PSN behind it there.
    end: Option<ClientPsn>,
    read: RethRepr,
}

impl Past {
    const NONE: Past = Past {
        server_psn: ServerPsn::new(0),
        psn: ClientPsn::new(0),
        packets: 0,
        end: None,
        read: RethRepr { virtual_address: 0, remote_key: 0, dma_length: 0 },
    };
}

/// The last READs and atomics of each server queue pair, in the order of their PSNs.
pub(crate) struct PastReads(Box<[([Past; KEPT], usize)]>);

impl PastReads {
    pub(super) fn new(connections_max: usize) -> PastReads {
        PastReads(vec![([Past::NONE; KEPT], 0); connections_max].into())
    }

    /// A READ or an atomic was bound.
    pub(super) fn note(&mut self, request: &Request, server_psn: ServerPsn) {
        let id = request.server_qp;
        let owners = request.client == id.owner();
        let psn = request.origin.psn;
        let end = owners.then_some(psn.add(request.packets));
        let mut past = Past { server_psn, psn, end, ..Past::NONE };
        if let Some(access) = request.access.filter(|_| owners && request.kind == Kind::Read) {
            past.packets = request.packets;
            past.read = RethRepr {
                virtual_address: access.start,
                remote_key: access.remote_key,
                dma_length: access.len,
            };
        }
        if let Some((ring, next)) = self.0.get_mut(id.index())
            && let Some(oldest) = ring.get_mut(*next % KEPT)
        {
            *oldest = past;
            *next = (*next + 1) % KEPT;
        }
    }

    pub(super) fn reset(&mut self, id: ServerQpId) {
        if let Some(one) = self.0.get_mut(id.index()) {
            *one = ([Past::NONE; KEPT], 0);
        }
    }

    /// Whether the owner has had so many READs and atomics done behind this PSN that it cannot wait
    /// for the one before it: it has at most `depth` outstanding. One that it repeated counts once,
    /// wherever the repeat began.
    fn is_past(&self, id: ServerQpId, end: ClientPsn, depth: usize) -> bool {
        let Some((ring, _)) = self.0.get(id.index()) else { return false };
        let ends = || ring.iter().filter_map(|past| past.end).filter(|one| one.is_after(end));
        let is_new = |(i, one): &(usize, ClientPsn)| !ends().take(*i).any(|other| other == *one);
        depth > 0 && ends().enumerate().filter(is_new).count() >= depth
    }

    /// The READ among the last `depth` that this one repeats, wholly or from a later packet on.
    fn find(&self, request: &Request, depth: usize) -> Option<Past> {
        let (ring, next) = self.0.get(request.server_qp.index())?;
        let newest_first = (1..=depth.min(KEPT)).map(|back| (*next + KEPT - back) % KEPT);
        let mut newest_first = newest_first.filter_map(|at| ring.get(at));
        newest_first.find(|past| skipped(past, request) + request.packets <= past.packets).copied()
    }
}

/// Packets before those that the client asks for. Less than 2^24.
fn skipped(past: &Past, request: &Request) -> u32 {
    request.origin.psn.offset_from(past.psn)
}

impl Engine {
    /// Gives up a repeated READ that waits for the end of its client's own message and is a late
    /// copy: its client may wait for what is behind it before it ends the message, and a responder
    /// with so little depth would not answer it either (IBTA vol. 1, 9.7.5.1.1). `false` if there is
    /// none.
    pub(super) fn end_late_step(&mut self, id: ServerQpId, out: &mut Out) -> bool {
        let Some(&server) = self.servers.get(id) else { return false };
        let depth = self.directory.server_qp(id).map_or(0, |connection| connection.depth);
        let inside = server.in_message == Some(id.owner());
        let mut slot = server.waiting_own.head().filter(|_| inside);
        while let Some(index) = slot
            && let Some(&ServerSlot { request, token, .. }) = self.servers.slots.get(index)
        {
            let end = request.origin.psn.add(request.packets);
            let repeated = request.origin.psn.is_before(request.origin.floor);
            let late = request.kind == Kind::Read
                && repeated
                && server.recalled != Some(index)
                && !self.is_read_again(id, &request)
                && self.servers.past_reads.is_past(id, end, usize::from(depth));
            if late && let Some(server) = self.servers.states.get_mut(id.index()) {
                self.servers.slots.unlink(&mut server.waiting_own, index);
                self.servers.slots.remove(index);
                self.counters.repeats_returned += 1;
                out.push(Action::Release(token));
                self.complete(&request, Outcome::Unanswered, out);
                return true;
            }
            slot = self.servers.slots.next(index);
        }
        false
    }

    /// Whether the client repeats this inside its own message, and the server remembers it.
    pub(super) fn is_read_again(&self, id: ServerQpId, request: &Request) -> bool {
        self.past_read(id, request).is_some()
    }

    fn past_read(&self, id: ServerQpId, request: &Request) -> Option<Past> {
        let server = self.servers.get(id)?;
        let repeated = request.origin.psn.is_before(request.origin.floor);
        let inside = server.in_message == Some(request.client) && request.client == id.owner();
        let passes = self.config.keeps(Rule::ReadsPassMessages);
        if !repeated || !inside || request.kind != Kind::Read || !passes {
            return None;
        }
        let depth = usize::from(self.directory.server_qp(id)?.depth);
        self.servers.past_reads.find(request, depth)
    }

    /// The first READ that waits for the end of its client's message and need not.
    pub(super) fn next_read_again(&self, id: ServerQpId, server: &ServerQp) -> Option<u32> {
        let mut slot = server.waiting_own.head();
        while let Some(index) = slot {
            let record = self.servers.slots.get(index)?;
            if self.is_read_again(id, &record.request) {
                return Some(index);
            }
            slot = self.servers.slots.next(index);
        }
        None
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
        let Some(past) = self.past_read(id, &request) else { return };
        while let Some(old) = self.find_again(id, past.server_psn) {
            self.end_read_again(id, old);
        }
        let skipped = skipped(&past, &request);
        let Some(record) = self.servers.slots.get_mut(slot) else { return };
        record.psn = past.server_psn;
        record.source = Source::Again { skipped };
        record.request.packets += skipped;
        record.parts = skipped;
        let Some(server) = self.servers.states.get_mut(id.index()) else { return };
        self.servers.slots.push_back(&mut server.again, slot);
        self.counters.reads_inside_messages += 1;
        self.make_read(id, &past, layout.ecn, out);
        self.wait_for_answer_again(now, id);
    }

    /// The READ as it was first sent, with the congestion mark of the packet that stands for it.
    fn make_read(&mut self, id: ServerQpId, past: &Past, ecn: Ecn, out: &mut Out) {
        let Some(mut connection) = self.directory.server_qp(id).copied() else { return };
        if ecn == Ecn::Ce {
            connection.request.traffic_class |= Ecn::Ce as u8;
        }
        if generate::read(out, &connection, past.server_psn, past.read) {
            self.counters.generated.count(GeneratedKind::Repair as usize);
        }
    }

    /// Time is up for what is not answered: its client asks again, if it still wants it.
    fn wait_for_answer_again(&mut self, now: Nanos, id: ServerQpId) {
        let (floor, cap) = (self.config.server_timeout_ns, self.config.server_timeout_max_ns);
        let Some(server) = self.servers.get_mut(id) else { return };
        server.again_until = now.after(server.round_trip.timeout_ns(floor, cap, 0));
        self.earliest = self.earliest.min(server.again_until);
    }

    /// When a READ that was sent under its old PSN is given up; `None` if there is none.
    pub(crate) fn again_deadline(&self, id: ServerQpId) -> Option<Nanos> {
        let server = self.servers.get(id)?;
        (!server.again.is_empty()).then_some(server.again_until)
    }

    /// Gives one up that was not answered in time. `false` if there is none.
    pub(super) fn give_up_again_step(&mut self, now: Nanos, id: ServerQpId, out: &mut Out) -> bool {
        if self.again_deadline(id).is_none_or(|until| now < until) {
            return false;
        }
        let slot = self.servers.get(id).and_then(|server| server.again.head());
        let Some(slot) = slot else { return false };
        let Some(&ServerSlot { request, .. }) = self.servers.slots.get(slot) else { return false };
        self.end_read_again(id, slot);
        self.complete(&request, Outcome::Unanswered, out);
        true
    }

    /// The READ that was sent under its old PSN and that this PSN belongs to.
    pub(super) fn find_again(&self, id: ServerQpId, psn: ServerPsn) -> Option<u32> {
        let mut slot = self.servers.get(id)?.again.head();
        while let Some(index) = slot {
            let record = self.servers.slots.get(index)?;
            if psn.offset_from(record.psn) < record.request.packets {
                return Some(index);
            }
            slot = self.servers.slots.next(index);
        }
        None
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
