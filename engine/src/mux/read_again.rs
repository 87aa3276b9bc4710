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

use alloc::boxed::Box;
use alloc::vec;

use super::generate;
use super::server::{ServerSlot, Source};
use super::server_qp::ServerQp;
use crate::counters::{DropReason, GeneratedKind};
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::{ClientId, ServerQpId};
use crate::journal::{Extent, OwnRead, PAST_READS, PastRead};
use crate::mail::{Kind, Outcome, Request};
use crate::out::{Action, Out};
use crate::policy::Access;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Ecn, Layout, NakCode, Opcode, RethRepr, ServerPsn, Syndrome};

/// The last READs and atomics of each server queue pair, in the order of their PSNs.
pub(crate) struct PastReads {
    rings: Box<[[Option<Past>; PAST_READS]]>,
    /// Where in each ring the next one goes: apart, since the rings are large.
    next: Box<[u8]>,
}

/// A READ or an atomic that was bound.
#[derive(Clone, Copy)]
struct Past {
    known: PastRead,
    /// Of one of the owner's, the PSN behind it.
    end: Option<ClientPsn>,
}

impl PastReads {
    pub(super) fn new(connections_max: usize) -> PastReads {
        PastReads {
            rings: vec![[None; PAST_READS]; connections_max].into(),
            next: vec![0; connections_max].into(),
        }
    }

    /// A READ or an atomic gets its PSN. A READ may be asked for again with this access.
    // Where it is called, what kind it is and its access are in registers.
    #[inline(always)]
    pub(crate) fn note_bound(
        &mut self,
        request: &Request,
        access: Option<Access>,
        server_psn: ServerPsn,
    ) {
        let owners = request.client == request.server_qp.owner();
        let read = access.filter(|_| owners && request.kind == Kind::Read);
        let read = read.map(|access| own_read(request.origin.psn, request.packets, &access));
        let end = owners.then_some(request.origin.psn.add(request.packets));
        self.note(request.server_qp, PastRead { server_psn, read }, end);
    }

    /// A READ or an atomic was bound.
    #[inline(always)]
    pub(super) fn note(&mut self, id: ServerQpId, known: PastRead, end: Option<ClientPsn>) {
        let (ring, next) = (self.rings.get_mut(id.index()), self.next.get_mut(id.index()));
        if let (Some(ring), Some(next)) = (ring, next)
            && let Some(oldest) = ring.get_mut(usize::from(*next) % PAST_READS)
        {
            *oldest = Some(Past { known, end });
            *next = (*next + 1) % PAST_READS as u8;
        }
    }

    /// Reads a little of where the next one goes, which may be in two lines.
    #[inline]
    pub(crate) fn touch(&self, id: ServerQpId) -> u64 {
        let Some((ring, next)) = self.ring(id) else { return 0 };
        let behind = (next + 1) % PAST_READS;
        [next, behind].iter().filter_map(|at| ring.get(*at)).flatten().count() as u64
    }

    /// All of a server queue pair, oldest first.
    pub(super) fn known(&self, id: ServerQpId) -> impl Iterator<Item = PastRead> {
        let one = self.ring(id).into_iter();
        one.flat_map(|(ring, next)| {
            let (newer, older) = ring.split_at_checked(next).unwrap_or((ring, &[]));
            older.iter().chain(newer).flatten().map(|past| past.known)
        })
    }

    pub(super) fn reset(&mut self, id: ServerQpId) {
        let (ring, next) = (self.rings.get_mut(id.index()), self.next.get_mut(id.index()));
        if let (Some(ring), Some(next)) = (ring, next) {
            (*ring, *next) = ([None; PAST_READS], 0);
        }
    }

    /// A ring, and where in it the next one goes, which is less than [`PAST_READS`].
    #[inline]
    fn ring(&self, id: ServerQpId) -> Option<(&[Option<Past>; PAST_READS], usize)> {
        let next = usize::from(*self.next.get(id.index())?);
        Some((self.rings.get(id.index())?, next % PAST_READS))
    }

    /// A READ or an atomic passed before the translation. One that is known keeps its place,
    /// whatever passed since; of a READ that is asked for again from a later packet on, some
    /// responders forget what is before that.
    fn note_passed(&mut self, id: ServerQpId, passed: PastRead) {
        let Some(ring) = self.rings.get_mut(id.index()) else { return };
        for known in ring.iter_mut().flatten().map(|past| &mut past.known) {
            if let (Some(read), Some(asked)) = (known.read.as_mut(), passed.read)
                && skipped(read, asked.psn) < read.packets
            {
                *known = PastRead { server_psn: passed.server_psn, read: Some(asked) };
                return;
            }
            if known.server_psn == passed.server_psn {
                return;
            }
        }
        let packets = passed.read.map_or(1, |read| read.packets);
        let psn = ClientPsn::from_wire(passed.server_psn.to_wire());
        self.note(id, passed, Some(psn.add(packets)));
        self.sink_newest(id);
    }

    /// Puts what was noted last where its PSN belongs: its client may have asked for it before the
    /// connection was watched.
    fn sink_newest(&mut self, id: ServerQpId) {
        let Some((_, next)) = self.ring(id) else { return };
        let Some(ring) = self.rings.get_mut(id.index()) else { return };
        let place = |back: usize| (next + PAST_READS - back) % PAST_READS;
        let psn = |past: &Option<Past>| past.as_ref().map(|past| past.known.server_psn);
        for (newer, older) in (1..PAST_READS).map(|back| (place(back), place(back + 1))) {
            let (this, before) = (ring.get(newer).and_then(psn), ring.get(older).and_then(psn));
            let (Some(this), Some(before)) = (this, before) else { return };
            if !before.is_after(this) {
                return;
            }
            ring.swap(newer, older);
        }
    }

    /// The path MTU is known now, and with it how many PSNs each READ takes that has passed.
    pub(super) fn tell_path_mtu(&mut self, id: ServerQpId, path_mtu: u16) {
        let Some(ring) = self.rings.get_mut(id.index()) else { return };
        for past in ring.iter_mut().flatten() {
            if let Some(read) = &mut past.known.read {
                read.packets = packets_of(read.extent.len, path_mtu);
                past.end = Some(read.psn.add(read.packets));
            }
        }
    }

    /// Whether the owner has had so many READs and atomics done behind this PSN that it cannot wait
    /// for the one before it: it has at most `depth` outstanding. One that it repeated counts once,
    /// wherever the repeat began.
    fn is_past(&self, id: ServerQpId, end: ClientPsn, depth: usize) -> bool {
        depth > 0 && self.count_behind(id, end) >= depth
    }

    /// READs and atomics of the owner behind this PSN.
    fn count_behind(&self, id: ServerQpId, end: ClientPsn) -> usize {
        let Some((ring, _)) = self.ring(id) else { return 0 };
        let ends =
            || ring.iter().filter_map(|past| past.as_ref()?.end).filter(|one| one.is_after(end));
        let is_new = |(i, one): &(usize, ClientPsn)| !ends().take(*i).any(|other| other == *one);
        ends().enumerate().filter(is_new).count()
    }

    /// The READ among the last `depth` that this one repeats, wholly or from a later packet of
    /// `path_mtu` bytes on. Of one that was steered the log has another address.
    fn find(&self, request: &Request, depth: usize, path_mtu: u16) -> Option<(ServerPsn, OwnRead)> {
        let access = request.access?;
        let (ring, next) = self.ring(request.server_qp)?;
        let newest_first = (1..=depth.min(PAST_READS)).map(|back| next + PAST_READS - back);
        let mut newest_first = newest_first.filter_map(|at| *ring.get(at % PAST_READS)?);
        newest_first.find_map(|Past { known: PastRead { server_psn, read }, .. }| {
            let read = read?;
            let skipped = skipped(&read, request.origin.psn);
            let start = read.extent.start.wrapping_add(u64::from(skipped) * u64::from(path_mtu));
            let same = (start, read.extent.remote_key) == (access.start, access.remote_key);
            let covers = same && skipped + request.packets <= read.packets;
            covers.then_some((server_psn, read))
        })
    }
}

fn own_read(psn: ClientPsn, packets: u32, access: &Access) -> OwnRead {
    let Access { remote_key, start, len, .. } = *access;
    OwnRead { psn, packets, extent: Extent { remote_key, start, len } }
}

/// Whether its client has asked for it before, and it was answered then.
fn is_repeated_read(request: &Request) -> bool {
    request.kind == Kind::Read && request.origin.psn.is_before(request.origin.floor)
}

/// Packets of a READ's response of so many bytes.
fn packets_of(len: u32, path_mtu: u16) -> u32 {
    len.div_ceil(u32::from(path_mtu).max(1)).max(1)
}

/// Packets before those that the client asks for. Less than 2^24.
fn skipped(read: &OwnRead, psn: ClientPsn) -> u32 {
    psn.offset_from(read.psn)
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

    /// The first READ that the client of this request repeats, if the request begins a message
    /// that it ends later. Inside the message that READ could not be bound, and guests may have
    /// made the server forget it. It waits for nothing: what it reads was complete when it was
    /// answered first.
    pub(super) fn read_before_message(&self, server: &ServerQp, slot: u32) -> Option<u32> {
        let first = &self.servers.slots.get(slot)?.request;
        if first.ends_message || !self.config.keeps(Rule::ReadsPassMessages) {
            return None;
        }
        let mut slot = server.waiting_own.head();
        while let Some(index) = slot {
            let request = &self.servers.slots.get(index)?.request;
            if request.client == first.client && is_repeated_read(request) {
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
            connection.request.traffic_class |= Ecn::Ce as u8;
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
