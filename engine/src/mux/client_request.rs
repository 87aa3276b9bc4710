//! A client's packet comes in: next, repeated or after a gap; where it goes, and whether now.

use super::client::{ClientSlot, Gap, Service, State, Way};
use super::generate;
use super::slab::Queue;
use crate::counters::{DeclineReason, DropReason};
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ClientId;
use crate::mail::{Kind, Mail, Request};
use crate::out::{Action, Out};
use crate::policy::{Access, Fit, KeyMap, KeyOf, Order, Rights, TrustBy};
use crate::time::Nanos;
use crate::wire::{ClientPsn, Layout, NakCode, Opcode, Syndrome};

/// Longest READ in response packets: a quarter of the sequence space, so that it always fits
/// the window of half the space in which PSNs can be told apart (IBTA vol. 1, 9.7.2).
const READ_PACKETS_MAX: u32 = 1 << 22;

/// A request's way.
#[derive(Clone, Copy)]
struct Route {
    way: Way,
    key: KeyOf,
    /// Why it stays on its client's own server queue pair although it has a key.
    declined: Option<DeclineReason>,
}

/// A request's size and kind, as its headers say.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) packets: u32,
    /// Bytes of server memory, zero for what has no RETH and no AtomicETH.
    pub(super) access: Option<Access>,
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
            Service::Stopped => return self.drop_frame(frame, DropReason::OutOfService, out),
            Service::Active => {}
        }
        let psn = ClientPsn::from_wire(layout.psn);
        if psn == client.expected {
            self.on_next(now, id, frame, layout, out);
        } else if psn.is_after(client.expected) {
            self.on_gap(id, frame, out);
        } else if psn.is_before(client.completed_end) {
            self.on_repeat(now, id, frame, layout, out);
        } else {
            self.drop_frame(frame, DropReason::DuplicateInProgress, out);
        }
    }

    /// One before it was lost. The client is told once, and only when all before the gap is
    /// complete: a NAK acknowledges everything before its PSN.
    fn on_gap(&mut self, id: ClientId, frame: &mut Frame<'_>, out: &mut Out) {
        self.drop_frame(frame, DropReason::RequestGap, out);
        if let Some(client) = self.clients.get_mut(id)
            && client.gap == Gap::None
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
        let Some(shape) = self.shape(id, frame, layout) else {
            return self.drop_frame(frame, DropReason::Malformed, out);
        };
        let window = self.config.client_window_max;
        if self.clients.get(id).is_none_or(|client| client.open >= window) {
            return self.drop_frame(frame, DropReason::ClientWindow, out);
        }
        let route = self.route(id, frame, layout, &shape);
        let Some(slot) = self.open_slot(id, layout, &shape, route.way) else {
            return self.drop_frame(frame, DropReason::TableFull, out);
        };
        self.count_route(id, &route, shape.kind);
        let Some(client) = self.clients.states.get_mut(id.index()) else { return };
        let out_of_message = layout.opcode.starts_message() == client.in_message;
        client.expected = client.expected.add(shape.packets);
        client.gap = Gap::None;
        client.in_message = !layout.opcode.ends_message();
        if layout.opcode.ends_message() {
            client.accepted_msn = client.accepted_msn.add(1);
            self.counters.requests += 1;
        }
        if let Some(record) = self.clients.slots.get_mut(slot) {
            record.msn = client.accepted_msn;
        }
        client.open += 1;
        self.clients.slots.push_back(&mut client.queue, slot);
        if out_of_message {
            return self.refuse(id, slot, frame, out);
        }
        self.issue_or_hold(now, id, slot, frame, layout, out);
    }

    /// Refuses a request as its responder would (IBTA vol. 1, 9.7.4.1.2: messages neither
    /// interleave nor begin in the middle), in its turn, without a word to the server.
    fn refuse(&mut self, id: ClientId, slot: u32, frame: &Frame<'_>, out: &mut Out) {
        self.drop_frame(frame, DropReason::Malformed, out);
        if let Some(record) = self.clients.slots.get_mut(slot) {
            record.state = State::Refused(NakCode::InvalidRequest);
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
            let read = Shape { kind: Kind::Read, packets, access: Some(access) };
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
            return Some(Shape { kind: Kind::Atomic, packets: 1, access: Some(access) });
        }
        Some(Shape { kind: Kind::Plain, packets: 1, access: reth(Rights::WRITE) })
    }

    /// Which server queue pair the request goes to, and what the policy says about it.
    fn route(&mut self, id: ClientId, frame: &Frame<'_>, layout: &Layout, shape: &Shape) -> Route {
        let own = Route { way: Way::Own, key: KeyOf::Keyless, declined: None };
        let Some(&client) = self.clients.get(id) else { return own };
        let key = self.policy.profile.key_of(layout, frame.bytes(), client.last_key);
        let own = Route { key, ..own };
        let declined = |reason| Route { declined: Some(reason), ..own };
        let place_of = match key {
            KeyOf::Known(key) => key,
            _ if self.policy.key_map == KeyMap::ByConnection => 0,
            KeyOf::Unknown => return declined(DeclineReason::NoKey),
            KeyOf::Keyless => return own,
        };
        let access = shape.access.filter(|_| {
            is_mappable(layout.opcode)
                && !client.in_message
                && shape.packets <= self.policy.message_packets_max
        });
        let Some(access) = access else { return declined(DeclineReason::TooLong) };
        if self.is_declined(id, key) {
            return declined(DeclineReason::KeyDeclined);
        }
        let Some(place) = self.directory.place_of(self.policy.key_map, id, place_of) else {
            return declined(DeclineReason::NoPlace);
        };
        let Some(host) = self.host_of(place, id) else {
            return declined(DeclineReason::NoPlace);
        };
        let fit = self.directory.fit(id, host, &access, shape.packets);
        let alone = self.policy.trust == TrustBy::Observation;
        match fit {
            Fit::Certain if is_sound(&access, layout) => Route { way: Way::Place(place), ..own },
            Fit::Never(reason) => declined(reason),
            Fit::Certain | Fit::NotTrusted if alone => Route { way: Way::Alone(place), ..own },
            Fit::Certain | Fit::NotTrusted => {
                self.decline_key(id, key);
                declined(DeclineReason::NotTrusted)
            }
        }
    }

    fn is_declined(&self, id: ClientId, key: KeyOf) -> bool {
        let domain = self.directory.client(id).map(|connection| connection.domain);
        match (domain, key) {
            (Some(domain), KeyOf::Known(key)) => self.declined.contains(domain, key),
            _ => false,
        }
    }

    /// What the configured regions do not cover declines the key, not the request: its requests
    /// would else run on two server queue pairs.
    fn decline_key(&mut self, id: ClientId, key: KeyOf) {
        let domain = self.directory.client(id).map(|connection| connection.domain);
        if let (TrustBy::Configuration, Some(domain), KeyOf::Known(key)) =
            (self.policy.trust, domain, key)
        {
            self.declined.insert(domain, key);
        }
    }

    /// Counts an accepted request's way, and remembers a written key for the atomic behind it.
    fn count_route(&mut self, id: ClientId, route: &Route, kind: Kind) {
        if let (KeyOf::Known(key), Kind::Plain, Some(client)) =
            (route.key, kind, self.clients.get_mut(id))
        {
            client.last_key = Some(key);
        }
        let keyed = route.key != KeyOf::Keyless;
        self.counters.keyed += u64::from(keyed);
        match (route.way, route.declined) {
            (Way::Place(_), _) => self.counters.mapped += 1,
            (Way::Alone(_), _) => self.counters.alone += 1,
            (Way::Own, Some(reason)) if keyed => self.counters.declined.count(reason as usize),
            (Way::Own, _) => {}
        }
    }

    /// Whether the owner's request may only be on its server queue pair while no guest is: it
    /// consumes a receive buffer, is long, or is not certain to be accepted. The rest of a
    /// message that has begun follows its first packet.
    fn is_exclusive(&self, id: ClientId, layout: &Layout, shape: &Shape) -> bool {
        let Some(connection) = self.directory.client(id) else { return false };
        if !layout.opcode.starts_message() {
            return false;
        }
        let certain = shape.access.is_some_and(|access| {
            is_mappable(layout.opcode)
                && is_sound(&access, layout)
                && (self.directory.trust.is_configured(connection.server.ip, &access)
                    || self.directory.trust.allows(connection.domain, id.own_server_qp(), &access))
        });
        !certain
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
            exclusive: way == Way::Own && self.is_exclusive(id, layout, shape),
            access: shape.access,
            state: State::Issued,
            original: 0,
            parts: 0,
            held: Queue::EMPTY,
        })
    }

    /// Hands the newest request of a client over, or holds it until its turn.
    fn issue_or_hold(
        &mut self,
        now: Nanos,
        id: ClientId,
        slot: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let behind = self.clients.get(id).is_some_and(|client| client.first_held.is_some());
        if !behind && self.may_issue(id, slot) {
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
    fn may_issue(&mut self, id: ClientId, slot: u32) -> bool {
        if self.watches.is_draining(id) {
            return false;
        }
        self.resolve(id, slot);
        let (Some(client), Some(record)) = (self.clients.get(id), self.clients.slots.get(slot))
        else {
            return false;
        };
        let (oldest, target) = (client.queue.head() == Some(slot), client.target);
        let record = *record;
        let in_order = match self.policy.order {
            _ if oldest => true,
            _ if record.exclusive && self.is_host(id.own_server_qp()) => false,
            _ if matches!(record.way, Way::Alone(_)) => false,
            Order::Fenced => record.target == target,
            Order::Keyed => {
                record.target == target || record.kind != Kind::Read || record.packets == 1
            }
        };
        in_order && self.may_enter(id, &record)
    }

    /// The message that hands a request over; its slot is then [`State::Issued`].
    fn request_of(&mut self, id: ClientId, slot: u32) -> Option<Request> {
        let name = self.clients.slots.reference(slot);
        let hosts = self.is_host(id.own_server_qp());
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
            exclusive: record.exclusive && hosts,
            access: record.access,
        };
        let way = record.way;
        self.enter(way);
        self.clients.get_mut(id)?.target = request.server_qp;
        Some(request)
    }

    /// Gives a request in hand to the owner of its server queue pair.
    fn hand_over(
        &mut self,
        now: Nanos,
        request: Request,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        match self.shard_of(request.server_qp.owner()) {
            Some(shard) if shard != self.shard => {
                out.push(Action::Mail(shard, Mail::Request(request), Some(frame.token())));
            }
            _ => self.on_request(now, request, frame, layout, out),
        }
    }

    /// The first held request behind this one.
    pub(super) fn next_held(&self, slot: u32) -> Option<u32> {
        let mut next = self.clients.slots.next(slot);
        while let Some(index) = next {
            let record = self.clients.slots.get(index)?;
            if matches!(record.state, State::Held(_)) {
                break;
            }
            next = self.clients.slots.next(index);
        }
        next
    }

    /// Hands over held requests whose turn has come. One step; `false` if there is none.
    pub(crate) fn issue_held(&mut self, id: ClientId, out: &mut Out) -> bool {
        let Some(slot) = self.clients.get(id).and_then(|client| client.first_held) else {
            return false;
        };
        let Some(&ClientSlot { state: State::Held(token), .. }) = self.clients.slots.get(slot)
        else {
            debug_assert!(false, "first_held is held");
            return false;
        };
        if !self.may_issue(id, slot) {
            return false;
        }
        let next = self.next_held(slot);
        let Some(request) = self.request_of(id, slot) else { return false };
        if let Some(client) = self.clients.get_mut(id) {
            client.first_held = next;
        }
        match self.shard_of(request.server_qp.owner()) {
            Some(shard) if shard != self.shard => {
                out.push(Action::Mail(shard, Mail::Request(request), Some(token)));
            }
            _ => self.on_held_request(request, token, out),
        }
        true
    }

    /// A request that was answered before: its answer was lost on the way to the client.
    fn on_repeat(
        &mut self,
        now: Nanos,
        id: ClientId,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        if layout.opcode == Opcode::ReadRequest {
            return self.on_repeated_read(now, id, frame, layout, out);
        }
        if layout.opcode.is_atomic() {
            return self.on_repeated_atomic(id, frame, layout, out);
        }
        self.drop_frame(frame, DropReason::DuplicateAnswered, out);
        let Some(client) = self.clients.states.get_mut(id.index()) else { return };
        if !layout.ack_request {
            return;
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
        let found = self.clients.result(id, psn).filter(|result| result.opcode == layout.opcode);
        let Some(result) = found else {
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
        let shape = Shape { kind: Kind::Atomic, packets: 1, access: None };
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
        if self.is_being_repeated(id, ClientPsn::from_wire(layout.psn), shape.packets) {
            return self.drop_frame(frame, DropReason::DuplicateInProgress, out);
        }
        let window = self.config.client_window_max;
        if self.clients.get(id).is_none_or(|client| client.open >= window) {
            return self.drop_frame(frame, DropReason::ClientWindow, out);
        }
        // To its own server queue pair: what it reads was complete when it was answered first.
        let Some(slot) = self.open_slot(id, layout, &shape, Way::Own) else {
            return self.drop_frame(frame, DropReason::TableFull, out);
        };
        self.counters.read_repeats += 1;
        self.queue_repeat(id, slot);
        let target = self.clients.get(id).map(|client| client.target);
        let Some(request) = self.request_of(id, slot) else { return };
        // It is no part of the client's order.
        if let (Some(client), Some(target)) = (self.clients.get_mut(id), target) {
            client.target = target;
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
        let mut slot = self.clients.get(id).and_then(|client| client.repeats.head());
        while let Some(index) = slot {
            let Some(record) = self.clients.slots.get(index) else { return false };
            let offset = psn.offset_from(record.psn);
            if record.kind == Kind::Read && offset.saturating_add(packets) <= record.packets {
                return true;
            }
            slot = self.clients.slots.next(index);
        }
        false
    }

    /// A generated answer on its way to a client.
    pub(crate) fn answer(&mut self, id: ClientId, answer: &generate::Answer, out: &mut Out) {
        let Some(connection) = self.directory.client(id) else { return };
        if generate::answer(out, connection, answer) {
            self.counters.generated.count(answer.kind() as usize);
        }
    }

    /// The client is served no longer: what it holds is given up, what is bound is finished.
    pub(crate) fn stop_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.service == Service::Active {
            client.service = Service::Stopped;
            self.counters.out_of_service += 1;
            self.clients.work.push(id.0);
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

/// What a host takes from others: it consumes no receive buffer and is one packet long.
fn is_mappable(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::WriteOnly | Opcode::ReadRequest | Opcode::CompareSwap | Opcode::FetchAdd
    )
}

/// Whether headers and payload agree, as every responder checks (rxe_resp.c): else the host
/// would be refused.
fn is_sound(access: &Access, layout: &Layout) -> bool {
    match layout.opcode {
        Opcode::WriteOnly => access.len == u32::from(layout.payload_len),
        Opcode::CompareSwap | Opcode::FetchAdd => access.start.is_multiple_of(8),
        _ => true,
    }
}
