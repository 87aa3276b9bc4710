//! A client's packet comes in: next, repeated or after a gap; where it goes, and whether now.

use super::client::{ClientSlot, Gap, Service, State, Way};
use super::generate::{self, Answer};
use super::record::origin_of;
use super::slab::Queue;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::{ClientId, ServerQpId};
use crate::journal::Operands;
use crate::mail::{Kind, Mail, Request};
use crate::out::{Action, Out};
use crate::policy::{Access, Map, Order, Rights};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Layout, NakCode, Opcode};

/// Longest READ in response packets: a quarter of the sequence space, so that it always fits
/// the window of half the space in which PSNs can be told apart (IBTA vol. 1, 9.7.2).
const READ_PACKETS_MAX: u32 = 1 << 22;

/// A request's size and kind, as its headers say.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) packets: u32,
    /// Bytes of server memory, zero for what has no RETH and no AtomicETH.
    pub(super) access: Option<Access>,
    /// Of an atomic.
    pub(super) operands: Operands,
}

impl Engine {
    /// A checked packet from the client side that belongs to connection `id`, owned here.
    pub(crate) fn on_client_packet(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let Some(client) = self.clients.get(id) else { return self.pass(frame, out) };
        match client.service {
            Service::Watching => return self.on_watched_request(now, id, frame, layout, out),
            Service::Stopped if !self.config.keeps(Rule::AllIsTranslated) => {
                return self.pass(frame, out);
            }
            Service::Stopped => return self.drop_frame(frame, DropReason::OutOfService, out),
            Service::Resuming => return self.on_early_request(now, id, frame, layout, out),
            Service::Active => {}
        }
        let psn = ClientPsn::from_wire(layout.psn);
        if psn == client.expected {
            if !self.take_orphan(now, id, frame, layout, out) {
                self.on_next(now, id, frame, layout, out);
            }
        } else if psn.is_after(client.expected) {
            if !self.config.keeps(Rule::GapIsNotTaken) {
                return self.on_next(now, id, frame, layout, out);
            }
            self.on_gap(id, frame, out);
        } else if psn.is_before(client.completed_end)
            || !self.config.keeps(Rule::DuplicateIsAbsorbed)
        {
            self.on_repeat(now, id, frame, layout, out);
        } else {
            self.on_in_progress(now, id, frame, layout, out);
        }
    }

    /// One before it was lost. The client is told once, and only when all before the gap is
    /// complete: a NAK acknowledges everything before its PSN.
    fn on_gap(&mut self, id: ClientId, frame: &mut Frame<'_>, out: &mut Out) {
        self.drop_frame(frame, DropReason::RequestGap, out);
        if let Some(client) = self.clients.get_mut(id)
            && (client.gap == Gap::None || !self.config.keeps(Rule::OneNakPerGap))
        {
            client.gap = Gap::Due;
            self.clients.work.push(id.0);
        }
    }

    pub(super) fn on_next(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        if self.clients.get(id).is_some_and(|client| client.halted.is_some())
            && self.config.keeps(Rule::RefusalHalts)
        {
            return self.drop_frame(frame, DropReason::OutOfService, out);
        }
        let Some(shape) = self.shape(id, frame, layout) else {
            return self.drop_frame(frame, DropReason::Malformed, out);
        };
        let window = self.config.client_window_max;
        if self.clients.get(id).is_none_or(|client| client.open >= window) {
            return self.drop_frame(frame, DropReason::ClientWindow, out);
        }
        if self.is_crowded(id, layout) {
            return self.drop_frame(frame, DropReason::TableFull, out);
        }
        let route = self.route(id, frame, layout, &shape);
        let Some(slot) = self.open_slot(id, layout, &shape, route.way) else {
            self.drop_frame(frame, DropReason::TableFull, out);
            return self.shed_assembly(out);
        };
        self.count_route(id, &route, &shape);
        self.note_request(id, &route, &shape, frame, layout);
        let Some(client) = self.clients.states.get_mut(id.index()) else { return };
        let out_of_message = layout.opcode.starts_message() == client.in_message;
        client.expected = client.expected.add(shape.packets);
        client.gap = Gap::None;
        client.in_message = !layout.opcode.ends_message();
        if layout.opcode.ends_message() || !self.config.keeps(Rule::MsnCountsMessages) {
            client.accepted_msn = client.accepted_msn.add(1);
            self.counters.requests += 1;
        }
        if let Some(record) = self.clients.slots.get_mut(slot) {
            record.msn = client.accepted_msn;
            record.key = client.last_key;
            record.of_key = route.key.known();
        }
        client.open += 1;
        self.clients.slots.push_back(&mut client.queue, slot);
        if out_of_message {
            return self.refuse(id, slot, frame, out);
        }
        if !self.assemble(id, slot, now, layout, out) {
            return self.refuse(id, slot, frame, out);
        }
        let own = (route.way == Way::Own).then_some(id.own_server_qp());
        let target = route.host.or(own).filter(|_| layout.opcode.starts_message());
        self.issue_or_hold(now, id, (slot, target), frame, layout, out);
    }

    /// Whether the table has no room for another message of this client: it has as many requests
    /// open as are free. Else those who came first would keep a full table to themselves, since
    /// they send again as soon as they are answered, and others would get nothing until they give
    /// up. With n such clients each has a share of one in n + 1; one alone has half.
    fn is_crowded(&self, id: ClientId, layout: &Layout) -> bool {
        let free = self.clients.slots.free();
        let open = self.clients.get(id).map_or(0, |client| client.open as usize);
        open >= free && free > 0 && layout.opcode.starts_message()
    }

    /// Refuses a request as its responder would (IBTA vol. 1, 9.7.4.1.2: messages neither
    /// interleave nor begin in the middle), in its turn, without a word to the server.
    fn refuse(&mut self, id: ClientId, slot: u32, frame: &Frame<'_>, out: &mut Out) {
        self.drop_frame(frame, DropReason::Malformed, out);
        if let Some(record) = self.clients.slots.get_mut(slot) {
            record.state = State::Refused(NakCode::InvalidRequest);
            let psn = record.psn;
            self.halt(id, psn);
        }
        self.clients.work.push(id.0);
    }

    /// What kind of request this is and how many PSNs it takes; `None` if its headers cannot be.
    pub(super) fn shape(&self, id: ClientId, frame: &Frame<'_>, layout: &Layout) -> Option<Shape> {
        let bytes = frame.bytes();
        let path_mtu = u32::from(self.directory.client(id)?.path_mtu);
        let reth = |right| {
            layout.reth(bytes).map(|reth| Access {
                remote_key: reth.remote_key,
                right,
                start: reth.virtual_address,
                len: reth.dma_length,
            })
        };
        let opcode = layout.opcode;
        if opcode == Opcode::ReadRequest {
            let access = reth(Rights::READ)?;
            let packets = access.len.div_ceil(path_mtu).max(1);
            let (kind, operands) = (Kind::Read, Operands::default());
            let read = Shape { kind, packets, access: Some(access), operands };
            return (packets <= READ_PACKETS_MAX).then_some(read);
        }
        if opcode.is_atomic() {
            let atomic = layout.atomic_eth(bytes)?;
            let access = Access {
                remote_key: atomic.remote_key,
                right: Rights::ATOMIC,
                start: atomic.virtual_address,
                len: 8,
            };
            let (swap_or_add, compare) = (atomic.swap_or_add, atomic.compare);
            let operands = Operands { swap_or_add, compare };
            return Some(Shape { kind: Kind::Atomic, packets: 1, access: Some(access), operands });
        }
        let (kind, operands) = (Kind::Plain, Operands::default());
        Some(Shape { kind, packets: 1, access: reth(Rights::WRITE), operands })
    }

    pub(super) fn open_slot(
        &mut self,
        id: ClientId,
        layout: &Layout,
        shape: &Shape,
        way: Way,
    ) -> Option<u32> {
        let client = self.clients.get(id)?;
        self.clients.slots.insert(ClientSlot {
            psn: ClientPsn::from_wire(layout.psn),
            packets: shape.packets,
            msn: client.completed_msn,
            kind: shape.kind,
            opcode: layout.opcode,
            ends_message: layout.opcode.ends_message(),
            way,
            target: id.own_server_qp(),
            exclusive: !matches!(way, Way::Place(_)) && self.is_exclusive(id, layout, shape),
            access: shape.access,
            operands: shape.operands,
            of_key: None,
            reads_mapped: self.choices.map == Map::All,
            state: State::Issued,
            key: client.last_key,
            original: 0,
            parts: 0,
            held: Queue::EMPTY,
        })
    }

    /// Hands the newest request of a client over, or holds it until its turn. If it is settled
    /// already which server queue pair it would go to now, that is `target`.
    fn issue_or_hold(
        &mut self,
        now: Nanos,
        id: ClientId,
        (slot, target): (u32, Option<ServerQpId>),
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let behind = self.clients.get(id).is_some_and(|client| client.first_held.is_some());
        if (!behind || self.is_begun(slot)) && self.may_issue(id, slot, target) {
            let Some(request) = self.request_of(id, slot) else { return };
            return self.hand_over(now, request, frame, layout, out);
        }
        let token = frame.token();
        out.push(Action::Hold(token));
        self.counters.fence_waits += 1;
        if let Some(record) = self.clients.slots.get_mut(slot) {
            record.state = State::Held(token);
        }
        if let Some(client) = self.clients.get_mut(id)
            && client.first_held.is_none()
        {
            client.first_held = Some(slot);
        }
    }

    /// Whether a request may go to its server queue pair now, all before it having gone.
    ///
    /// One client's requests for one server queue pair are executed in order there. Where the
    /// target changes, or a READ's response is long (what comes early must be held), it waits
    /// until it is the client's oldest. So does a request that the guests of its own server
    /// queue pair have to leave for, and one that must run alone.
    fn may_issue(&mut self, id: ClientId, slot: u32, target: Option<ServerQpId>) -> bool {
        let starts = self.watches.is_draining(id) || self.watches.is_starting(id);
        if starts || !self.is_free(id, slot) {
            return false;
        }
        match (target, self.clients.slots.get_mut(slot)) {
            (Some(target), Some(record)) => record.target = target,
            _ => self.resolve(id, slot),
        }
        let (Some(client), Some(record)) = (self.clients.get(id), self.clients.slots.get(slot))
        else {
            return false;
        };
        if !record.opcode.starts_message() {
            return true;
        }
        let (oldest, target) = (client.queue.head() == Some(slot), client.target);
        let record = *record;
        let in_order = match self.policy.order {
            _ if oldest || !self.config.keeps(Rule::FenceBetweenQueuePairs) => true,
            _ if record.exclusive && self.is_host(id.own_server_qp()) => false,
            _ if matches!(record.way, Way::Alone(_)) => false,
            Order::Fenced => record.target == target,
            Order::Keyed if !record.ends_message && record.way == Way::Own => {
                !self.has_elsewhere(id, slot)
            }
            Order::Keyed => {
                // Of a READ without a key nobody knows what it must not overtake.
                let stray = record.reads_mapped && record.of_key.is_none();
                record.target == target
                    || record.kind != Kind::Read
                    || record.packets == 1 && !stray
            }
        };
        in_order
            && !self.is_split(id, slot, record.way, record.target)
            && self.may_enter(id, &record)
    }

    /// Whether a request before this one is on its way to another server queue pair than its
    /// client's own. If it came back, it would have to go to that one as well, where it cannot go
    /// into a message that has begun; and the client may wait for it before it sends the rest.
    fn has_elsewhere(&self, id: ClientId, slot: u32) -> bool {
        let mut before = self.clients.get(id).and_then(|client| client.queue.head());
        while let Some(index) = before.filter(|index| *index != slot) {
            let target = self.clients.slots.get(index).map(|record| record.target);
            if target != Some(id.own_server_qp()) {
                return self.config.keeps(Rule::MessageBeginsAlone);
            }
            before = self.clients.slots.next(index);
        }
        false
    }

    /// Whether nothing about a request itself speaks against handing it over: its message is
    /// whole, and nothing before it was refused.
    fn is_free(&self, id: ClientId, slot: u32) -> bool {
        let (Some(client), Some(record)) = (self.clients.get(id), self.clients.slots.get(slot))
        else {
            return false;
        };
        let whole = client.assembly.is_none_or(|assembly| assembly.first != slot)
            || !self.config.keeps(Rule::MessageIsWhole);
        let whole = whole && !self.wants_bytes(id, slot);
        let halted = client.halted.is_some_and(|halted| !record.psn.is_before(halted));
        whole && !(halted && self.config.keeps(Rule::RefusalHalts))
    }

    /// Nothing at or beyond a request of this client is taken or handed over any more.
    pub(super) fn halt(&mut self, id: ClientId, psn: ClientPsn) {
        if let Some(client) = self.clients.get_mut(id)
            && client.halted.is_none_or(|halted| psn.is_before(halted))
        {
            client.halted = Some(psn);
        }
    }

    /// The message that hands a request over; its slot is then [`State::Issued`].
    pub(super) fn request_of(&mut self, id: ClientId, slot: u32) -> Option<Request> {
        let name = self.clients.slots.reference(slot);
        let floor = self.clients.get(id)?.completed_end;
        let record = self.clients.slots.get_mut(slot)?;
        record.state = State::Issued;
        let request = Request {
            client: id,
            slot: name,
            server_qp: record.target,
            kind: record.kind,
            packets: record.packets,
            starts_message: record.opcode.starts_message(),
            ends_message: record.ends_message,
            exclusive: record.exclusive,
            alone: matches!(record.way, Way::Alone(_)),
            mapped: matches!(record.way, Way::Place(_)),
            parts: record.parts,
            access: record.access,
            operands: record.operands,
            key: record.of_key,
            origin: origin_of(record, floor),
        };
        let way = record.way;
        self.enter(way);
        let client = self.clients.get_mut(id)?;
        client.target = request.server_qp;
        Some(request)
    }

    /// Gives a request in hand to the owner of its server queue pair.
    pub(super) fn hand_over(
        &mut self,
        now: Nanos,
        request: Request,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        match self.shard_of(request.server_qp.owner()) {
            Some(shard) if shard != self.shard => {
                out.push_mail(shard, Mail::Request(request), Some(frame.token()));
            }
            _ => self.on_request(now, request, frame, layout, out),
        }
    }

    /// Whether this continues a message that was handed over so far. What it waits behind came back
    /// from a lost host, and may itself wait for the message's end.
    fn is_begun(&self, slot: u32) -> bool {
        let previous = self.clients.slots.previous(slot);
        let previous = previous.and_then(|previous| self.clients.slots.get(previous));
        self.clients.slots.get(slot).is_some_and(|record| !record.opcode.starts_message())
            && previous.is_none_or(|previous| !previous.state.is_held())
    }

    /// The held packet behind this one that continues a message that was handed over so far.
    fn begun_behind(&self, slot: u32) -> Option<u32> {
        let mut next = self.next_held(slot);
        while let Some(index) = next
            && !self.is_begun(index)
        {
            next = self.next_held(index);
        }
        next
    }

    /// The first held request behind this one.
    pub(super) fn next_held(&self, slot: u32) -> Option<u32> {
        let behind = self.clients.slots.next(slot);
        self.clients.slots.find_from(behind, |record| record.state.is_held())
    }

    /// Hands over held requests whose turn has come. One step; `false` if there is none.
    pub(crate) fn issue_held(&mut self, id: ClientId, out: &mut Out) -> bool {
        if let Some(issued) = self.issue_usual(id, out) {
            return issued;
        }
        let Some(client) = self.clients.get(id) else { return false };
        let (Some(first), returned) = (client.first_held, client.returned) else { return false };
        let slot = match self.may_issue(id, first, None) {
            true => Some(first),
            false if returned => self.begun_behind(first),
            false => None,
        };
        let Some(slot) = slot.filter(|slot| *slot == first || self.may_issue(id, *slot, None))
        else {
            return false;
        };
        let Some(&ClientSlot { state: State::Held(token), .. }) = self.clients.slots.get(slot)
        else {
            debug_assert!(false, "first_held is held");
            return false;
        };
        let first = if slot == first { self.next_held(slot) } else { Some(first) };
        let Some(request) = self.request_of(id, slot) else { return false };
        if let Some(client) = self.clients.get_mut(id) {
            client.first_held = first;
            client.returned &= first.is_some();
        }
        match self.shard_of(request.server_qp.owner()) {
            Some(shard) if shard != self.shard => {
                out.push_mail(shard, Mail::Request(request), Some(token));
            }
            _ => self.on_held_request(request, token, out),
        }
        true
    }

    /// A generated answer on its way to a client.
    #[inline]
    pub(crate) fn answer(&mut self, id: ClientId, answer: &Answer, out: &mut Out) {
        generate::tell(&self.directory, &mut self.counters, id, answer, out);
    }

    /// The client is served no longer: what it holds is given up, what is bound is finished.
    pub(crate) fn stop_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if matches!(client.service, Service::Active | Service::Resuming) {
            client.service = Service::Stopped;
            self.counters.out_of_service += 1;
            self.clients.work.push(id.0);
            // Others may have waited for the rest of its message.
            while let Some(parked) = self.parked.pop() {
                self.clients.work.push(parked);
            }
        }
    }

    pub(crate) fn drop_frame(&mut self, frame: &Frame<'_>, reason: DropReason, out: &mut Out) {
        self.counters.drops.count(reason as usize);
        out.push(Action::Drop(frame.token(), reason));
    }

    pub(crate) fn pass(&mut self, frame: &Frame<'_>, out: &mut Out) {
        self.counters.passed += 1;
        out.push(Action::Pass(frame.token()));
    }
}
