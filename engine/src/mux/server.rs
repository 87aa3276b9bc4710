//! The server half: state of the requester that a server queue pair sees. Requests wait here for
//! room, get their PSN, and stay until they are complete.

use alloc::vec;

use super::client::Way;
use super::closing::{Hosting, Loss};
use super::congestion::Marked;
use super::read_again::PastReads;
use super::rewrite::{Become, rewrite};
use super::rows::{Rows, Usual};
use super::slab::{Queue, Slab};
use super::turn::Turn;
use super::work::WorkRing;
use crate::Config;
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::{Frame, Side, Token};
use crate::ids::{ClientId, ServerQpId};
use crate::journal::Operands;
use crate::mail::{Completion, Kind, Mail, Origin, Outcome, Request};
use crate::out::{Action, Out};
use crate::policy::Connection;
use crate::recovery::rtt::RoundTrip;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Ecn, Layout, Msn, Opcode, ServerPsn};

/// PSNs between the oldest open and the next: half the sequence space, less one
/// (IBTA vol. 1, 9.7.2).
pub(crate) const SPAN_MAX: u32 = (1 << 23) - 1;

/// A client's word that it ends its connection, kept back.
#[derive(Clone, Copy)]
pub(crate) struct Teardown {
    pub(crate) token: Token,
    /// Of its message: one that comes again has the same.
    pub(crate) transaction_id: u64,
}

/// One server queue pair, seen as a responder. What a usual packet needs is in the first two cache
/// lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct ServerQp {
    /// Bound requests, in PSN order.
    pub(crate) open: Queue,
    /// The PSN of the next request.
    pub(crate) next: ServerPsn,
    /// One past the newest PSN that the server said is done. Not before the oldest open request.
    pub(crate) acknowledged: ServerPsn,
    /// The newest PSN of a response packet with data, or of what is complete.
    pub(crate) seen: ServerPsn,
    pub(crate) open_packets: u32,
    pub(crate) open_span: u32,
    /// READs and atomics among them.
    pub(crate) open_reads: u32,
    /// Those that a place brought here, and those of others than the owner.
    pub(crate) open_mapped: u32,
    pub(crate) open_guests: u32,
    /// When the oldest open request is sent again.
    pub(crate) deadline: Nanos,
    pub(crate) retries: u32,
    pub(crate) carried: bool,
    pub(crate) hosted: bool,
    /// The connection is translated.
    pub(crate) started: bool,
    /// A request of the owner that guests must not share the queue pair with waits or is open.
    pub(crate) exclusive: bool,
    pub(crate) round_trip: RoundTrip,
    /// When the READs are given up that wait for the end of their client's own message, unless it
    /// goes on. `Nanos::NEVER` if there are none.
    pub(crate) stalled_until: Nanos,
    /// The client whose message is bound without its last packet. Nobody else may be bound:
    /// messages do not interleave (IBTA vol. 1, 9.7.4.1.2).
    pub(crate) in_message: Option<ClientId>,
    /// Requests that are not bound yet: the owner's, those of others, and packets that continue a
    /// message, which wait for nothing but their first one.
    pub(crate) waiting_own: Queue,
    pub(crate) waiting_guests: Queue,
    pub(crate) waiting_rest: Queue,
    /// READs that were sent under a PSN that they had before; none of them is open.
    pub(crate) again: Queue,
    /// When they are given up.
    pub(crate) again_until: Nanos,
    /// The waiting request whose frame was recalled.
    pub(crate) recalled: Option<u32>,
    /// The next request to send again.
    pub(crate) repair: Option<u32>,
    /// The oldest open request when repair began on implied evidence: begun once per progress.
    pub(crate) repaired_at: Option<ServerPsn>,
    /// End of the wait that the server asked for.
    pub(crate) not_ready_until: Option<Nanos>,
    /// Exclusive requests so far; beyond the limit the queue pair hosts no more.
    pub(crate) disturbances: u32,
    /// Whether it hosts, and whether it stopped only because its owner was busy.
    pub(crate) hosting: Hosting,
    pub(crate) busy: bool,
    /// Since when guests wait for a request of the owner.
    pub(crate) blocked_since: Option<Nanos>,
    /// Whose packets came with a congestion mark.
    pub(crate) marked: Marked,
    /// The end of its connection, announced: goes out when the guests have left.
    pub(crate) teardown: Option<Teardown>,
    /// It was given up.
    pub(crate) loss: Option<Loss>,
    /// The log says so.
    pub(crate) loss_recorded: bool,
    /// The client of the bound message that was given back last.
    pub(crate) message_returned: Option<ClientId>,
    /// A message of several packets that writes is on its way.
    pub(crate) writes_long: bool,
}

impl ServerQp {
    fn new() -> ServerQp {
        let psn = ServerPsn::new(0);
        ServerQp {
            next: psn,
            acknowledged: psn,
            seen: psn,
            open: Queue::EMPTY,
            open_packets: 0,
            open_span: 0,
            open_reads: 0,
            open_mapped: 0,
            open_guests: 0,
            waiting_own: Queue::EMPTY,
            waiting_guests: Queue::EMPTY,
            waiting_rest: Queue::EMPTY,
            again: Queue::EMPTY,
            again_until: Nanos::NEVER,
            stalled_until: Nanos::NEVER,
            in_message: None,
            recalled: None,
            repair: None,
            repaired_at: None,
            not_ready_until: None,
            deadline: Nanos::NEVER,
            retries: 0,
            round_trip: RoundTrip::default(),
            started: false,
            exclusive: false,
            disturbances: 0,
            hosting: Hosting::Open,
            busy: false,
            blocked_since: None,
            marked: Marked::default(),
            teardown: None,
            loss: None,
            loss_recorded: false,
            message_returned: None,
            carried: false,
            hosted: false,
            writes_long: false,
        }
    }

    /// The connection is translated from here on. Both sides start with the same number: they
    /// differ from the first guest on.
    pub(crate) fn start(&mut self, psn: ClientPsn) {
        let psn = ServerPsn::from_wire(psn.to_wire());
        self.next = psn;
        self.acknowledged = psn;
        self.seen = psn;
        self.started = true;
    }

    /// Whether it has nothing open, nothing waiting, and nothing to tell.
    pub(crate) fn is_idle(&self) -> bool {
        let queues = [self.open, self.waiting_own, self.waiting_guests, self.waiting_rest];
        queues.iter().all(Queue::is_empty)
            && self.recalled.is_none()
            && self.teardown.is_none()
            && matches!(self.hosting, Hosting::Open | Hosting::Gone)
    }

    /// Whether there is nothing to do but to finish what is complete, when no other engine has left
    /// anything behind.
    #[inline]
    pub(super) fn only_finishes(&self) -> bool {
        self.waiting_own.is_empty()
            && self.waiting_guests.is_empty()
            && self.waiting_rest.is_empty()
            && self.again.is_empty()
            && self.hosting == Hosting::Open
            && self.loss.is_none()
            && self.repair.is_none()
            && self.recalled.is_none()
            && self.blocked_since.is_none()
            && self.stalled_until == Nanos::NEVER
    }

    /// Counts a request in that is bound.
    #[inline]
    pub(super) fn count_open(&mut self, id: ServerQpId, request: &Request) {
        self.open_packets += 1;
        self.open_span += request.packets;
        self.open_reads += u32::from(request.kind != Kind::Plain);
        self.open_mapped += u32::from(request.mapped);
        self.open_guests += u32::from(request.client != id.owner());
    }

    /// Counts it out.
    #[inline]
    pub(crate) fn uncount_open(&mut self, id: ServerQpId, request: &Request) {
        let Request { kind, packets, mapped, client, .. } = *request;
        self.open_packets = self.open_packets.saturating_sub(1);
        self.open_span = self.open_span.saturating_sub(packets);
        self.open_reads = self.open_reads.saturating_sub(u32::from(kind != Kind::Plain));
        self.open_mapped = self.open_mapped.saturating_sub(u32::from(mapped));
        self.open_guests = self.open_guests.saturating_sub(u32::from(client != id.owner()));
    }

    /// A request gets its PSN, before it is put among the open ones.
    #[inline]
    pub(crate) fn on_bound(
        &mut self,
        now: Nanos,
        psn: ServerPsn,
        request: &Request,
        ecn: Ecn,
        config: &Config,
    ) {
        if self.open.is_empty() {
            self.acknowledged = psn;
            let (floor, cap) = (config.server_timeout_ns, config.server_timeout_max_ns);
            self.deadline = now.after(self.round_trip.timeout_ns(floor, cap, 0));
        }
        self.round_trip.on_sent(psn, now);
        let hole = u32::from(!config.keeps(Rule::PsnsAreDense));
        self.next = psn.add(request.packets + hole);
        let id = request.server_qp;
        self.count_open(id, request);
        self.in_message = (!request.ends_message).then_some(request.client);
        self.stalled_until = Nanos::NEVER;
        self.carried = true;
        self.hosted |= request.client != id.owner();
        if ecn == Ecn::Ce {
            self.marked.add(request.client);
        }
    }

    /// Where a request waits that cannot be bound yet.
    pub(super) fn waiting_queue(&mut self, id: ServerQpId, request: &Request) -> &mut Queue {
        match request.starts_message {
            false => &mut self.waiting_rest,
            true if request.client == id.owner() => &mut self.waiting_own,
            true => &mut self.waiting_guests,
        }
    }
}

impl Usual for ServerQp {
    /// Requests are bound as they come, and there is nothing to do but to finish what is complete.
    fn is_usual(&self) -> bool {
        self.started
            && self.only_finishes()
            && self.in_message.is_none()
            && self.not_ready_until.is_none()
            && !self.exclusive
    }
}

/// One request packet on its way to a server. What its answer needs is first.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ServerSlot {
    pub(crate) psn: ServerPsn,
    pub(crate) token: Token,
    pub(crate) source: Source,
    /// READ response packets that have come, in order.
    pub(crate) parts: u32,
    pub(crate) payload_len: u16,
    /// Its ICRC was not verified when it came: see [`crate::config::Verify::Headers`].
    pub(crate) unverified: bool,
    /// An atomic whose answer has come, a READ whose whole response has.
    pub(crate) done: bool,
    pub(crate) request: Request,
    /// Order of arrival among the waiting.
    pub(crate) arrival: u64,
}

/// The number of what was not restored: its frame was damaged.
pub(crate) const DAMAGED: u32 = u32::MAX;

/// Where the bytes of a request come from when it is sent again. The numbers are those of what was
/// restored: see [`super::resume::Resumes::binding`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// The host keeps its frame.
    Frame,
    /// They are made anew: a READ or an atomic.
    Made(u32),
    /// A zero-length WRITE has its place.
    Filler,
    /// They are gone; the client is to send them again. [`DAMAGED`]: they were damaged.
    Missing(u32),
    /// It is a READ that went out under the PSN that it had, though its client did not ask for so
    /// many packets before the rest.
    Again {
        /// Packets that are not taken.
        skipped: u32,
    },
    /// They are gone for good.
    Void(u32),
}

/// All server queue pairs of one shard, and what is on its way to them.
pub(crate) struct Servers {
    pub(crate) states: Rows<ServerQp>,
    pub(crate) slots: Slab<ServerSlot>,
    pub(crate) work: WorkRing,
    pub(crate) past_reads: PastReads,
    pub(crate) arrivals: u64,
}

impl Servers {
    /// For the connections known from the start and those learnt later, so many in all.
    pub(crate) fn new(
        config: &Config,
        connections: &[Connection],
        connections_max: usize,
        shards: u32,
    ) -> Servers {
        let mut states = vec![ServerQp::new(); connections_max];
        for (state, connection) in states.iter_mut().zip(connections) {
            state.start(connection.start.psn);
        }
        let blank = ServerSlot {
            request: Request {
                client: ClientId(0),
                slot: crate::mail::SlotRef { index: 0, generation: 0 },
                server_qp: ServerQpId(0),
                kind: Kind::Plain,
                packets: 0,
                starts_message: true,
                ends_message: true,
                exclusive: false,
                alone: false,
                mapped: false,
                parts: 0,
                access: None,
                operands: Operands::default(),
                key: None,
                origin: Origin {
                    psn: ClientPsn::new(0),
                    msn: Msn::new(0),
                    opcode: Opcode::SendOnly,
                    floor: ClientPsn::new(0),
                    way: Way::Own,
                    again: false,
                    key: None,
                },
            },
            psn: ServerPsn::default(),
            token: Token(0),
            source: Source::Frame,
            unverified: false,
            payload_len: 0,
            parts: 0,
            done: false,
            arrival: 0,
        };
        Servers {
            states: states.into_iter().collect(),
            // Everything that is open anywhere may be meant for this shard's queue pairs.
            slots: Slab::new(config.requests_max.saturating_mul(shards), blank),
            work: WorkRing::new(connections_max),
            past_reads: PastReads::new(connections_max),
            arrivals: 0,
        }
    }

    /// Forgets a server queue pair.
    pub(crate) fn reset(&mut self, id: ServerQpId) {
        if let Some(server) = self.states.get_mut(id.index()) {
            // Their client never asked again.
            while let Some(slot) = self.slots.pop_front(&mut server.again) {
                self.slots.remove(slot);
            }
            *server = ServerQp::new();
        }
        self.past_reads.reset(id);
    }

    pub(crate) fn get(&self, id: ServerQpId) -> Option<&ServerQp> {
        self.states.get(id.index())
    }

    pub(crate) fn get_mut(&mut self, id: ServerQpId) -> Option<&mut ServerQp> {
        self.states.get_mut(id.index())
    }
}

impl Engine {
    /// A request in hand for a server queue pair owned here.
    pub(crate) fn on_request(
        &mut self,
        now: Nanos,
        request: Request,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let id = request.server_qp;
        if request.origin.again {
            return self.attach(&request, frame, layout, out);
        }
        let Some(server) = self.servers.get(id) else { return };
        if !self.takes(id, &request) {
            out.push(Action::Hold(frame.token()));
            return self.turn_away(&request, frame.token(), out);
        }
        // The rest of a message that has begun does not wait behind others: they wait for it.
        let waiting = match request.starts_message {
            true => !server.waiting_own.is_empty() || !server.waiting_guests.is_empty(),
            false => !server.waiting_rest.is_empty(),
        };
        if request.exclusive {
            self.note_exclusive(id, &request);
        }
        let Some(slot) = self.open_server_slot(request, frame.token()) else {
            self.drop_frame(frame, DropReason::TableFull, out);
            return self.complete(&request, Outcome::Lost, out);
        };
        if !waiting && self.may_bind(id, &request) {
            return self.bind(now, slot, frame, layout, out);
        }
        out.push(Action::Hold(frame.token()));
        self.wait(id, slot);
    }

    /// A request for a server queue pair owned here, whose frame the host keeps.
    pub(crate) fn on_held_request(&mut self, request: Request, token: Token, out: &mut Out) {
        let id = request.server_qp;
        if !self.takes(id, &request) {
            return self.turn_away(&request, token, out);
        }
        if request.exclusive {
            self.note_exclusive(id, &request);
        }
        match self.open_server_slot(request, token) {
            Some(slot) => self.wait(id, slot),
            None => {
                out.push(Action::Release(token));
                self.complete(&request, Outcome::Lost, out);
            }
        }
    }

    /// Guests are bound no more until the owner's request is complete.
    fn note_exclusive(&mut self, id: ServerQpId, request: &Request) {
        let Some(server) = self.servers.get_mut(id) else { return };
        server.exclusive = true;
        let guests = server.open_guests > 0 || !server.waiting_guests.is_empty();
        if !request.alone && (guests || self.is_host(id)) {
            self.note_disturbance(id);
        }
    }

    fn open_server_slot(&mut self, request: Request, token: Token) -> Option<u32> {
        self.servers.arrivals += 1;
        let slot = self.servers.slots.insert(ServerSlot {
            request,
            psn: ServerPsn::default(),
            token,
            source: Source::Frame,
            unverified: false,
            payload_len: 0,
            parts: request.parts,
            done: false,
            arrival: self.servers.arrivals,
        })?;
        // What its place was used for before has no part in it: not everything is bound anew.
        self.turns.set(slot, Turn::default());
        Some(slot)
    }

    fn wait(&mut self, id: ServerQpId, slot: u32) {
        let Some(&record) = self.servers.slots.get(slot) else { return };
        let Some(server) = self.servers.states.get_mut(id.index()) else { return };
        self.servers.slots.push_back(server.waiting_queue(id, &record.request), slot);
        self.counters.server_waits += 1;
        self.note_wait(id, &record.request);
        self.servers.work.push(id.0);
    }

    /// Whether the server queue pair takes this request now.
    pub(super) fn may_bind(&self, id: ServerQpId, request: &Request) -> bool {
        let (Some(server), Some(connection)) = (self.servers.get(id), self.directory.server_qp(id))
        else {
            return false;
        };
        let again = self.is_read_again(id, request);
        let in_turn = match server.in_message {
            _ if !self.config.keeps(Rule::NoInterleaving) => true,
            // Its client may repeat a READ in the middle of its message.
            Some(client) => client == request.client && (!request.starts_message || again),
            None => request.starts_message,
        };
        let depth = u32::from(connection.depth.max(1));
        let fits_depth = request.kind == Kind::Plain
            || again
            || server.open_reads < depth && !self.asks_for_value(id)
            || !self.config.keeps(Rule::DepthOfResponder);
        // What has begun is ended: everybody waits for that.
        let guest = request.client != id.owner() && request.starts_message;
        let alone =
            if guest { !server.exclusive } else { !request.exclusive || server.open_guests == 0 };
        self.may_stay(id, request)
            && !self.waits_for_list(id, request)
            && !self.waits_for_word(id, request)
            && (alone || !self.config.keeps(Rule::GuestsMakeRoom))
            && !self.is_asking(id)
            && server.repair.is_none()
            && server.not_ready_until.is_none()
            && in_turn
            && fits_depth
            && server.open_packets < self.config.server_window_max
            && self.fits_span(server, request.packets)
    }

    /// Whether the PSNs that are open then can be told apart.
    pub(crate) fn fits_span(&self, server: &ServerQp, packets: u32) -> bool {
        server.open_span + packets <= SPAN_MAX || !self.config.keeps(Rule::SpanBelowHalf)
    }

    /// Gives the request its PSN for ever, makes its frame one of this queue pair's, and sends it.
    pub(super) fn bind(
        &mut self,
        now: Nanos,
        slot: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let Some(&ServerSlot { request, .. }) = self.servers.slots.get(slot) else { return };
        let id = request.server_qp;
        if self.is_read_again(id, &request) {
            return self.send_read_again(now, slot, frame, layout, out);
        }
        let Some(psn) = self.servers.get(id).map(|server| server.next) else { return };
        let (unverified, len) = (self.trusts_link(layout), layout.payload_len);
        let Some(record) = self.servers.slots.get_mut(slot) else { return };
        (record.psn, record.unverified, record.payload_len) = (psn, unverified, len);
        let turned = self.turn(now, slot, psn, frame, layout);
        let layout = turned.as_ref().unwrap_or(layout);
        self.send_bound(now, slot, psn, frame, layout, out);
    }

    /// Sends a request that has just got its PSN.
    pub(super) fn send_bound(
        &mut self,
        now: Nanos,
        slot: u32,
        psn: ServerPsn,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let Some(request) = self.servers.slots.get(slot).map(|record| record.request) else {
            return;
        };
        let id = request.server_qp;
        // One that was steered cannot be asked for again as its client asked for it.
        let access = request.access.filter(|_| !self.is_steered(slot));
        if request.kind != Kind::Plain {
            self.servers.past_reads.note_bound(&request, access, psn);
        }
        let Some(server) = self.servers.states.get_mut(id.index()) else { return };
        server.on_bound(now, psn, &request, layout.ecn, &self.config);
        self.earliest = self.earliest.min(server.deadline);
        self.servers.slots.push_back(&mut server.open, slot);
        let recorded = self.config.keeps(Rule::BindingBeforePacket);
        if recorded {
            self.record_binding(slot, frame, layout, out);
        }
        let Some(connection) = self.directory.server_qp(id) else { return };
        let (from, card) = (self.directory.card(request.client), self.directory.card(id.owner()));
        let to = Become {
            facts: from.zip(card).map(|(from, to)| (&from.request, &to.request)),
            source: &connection.client,
            destination: &connection.server,
            path: &connection.request,
            dest_qp: connection.server.qpn,
            psn: psn.to_wire(),
            // Each packet asks: an answer that its client asks for later may come from another
            // queue pair, and a gap can be told only when all before it is acknowledged.
            ack_request: layout.ack_request || self.config.keeps(Rule::AckIsRequested),
            aeth: None,
            keeps_mark: self.config.keeps(Rule::MarksAreCarried),
        };
        rewrite(&self.icrc, frame.bytes_mut(), layout, &to);
        out.push(Action::ForwardAndRetain(frame.token(), Side::Server));
        if !recorded {
            self.record_binding(slot, frame, layout, out);
        }
    }

    /// Tells the request's client what became of it.
    pub(crate) fn complete(&mut self, request: &Request, outcome: Outcome, out: &mut Out) {
        let completion = Completion { client: request.client, slot: request.slot, outcome };
        match self.shard_of(request.client) {
            Some(shard) if shard != self.shard => {
                out.push_mail(shard, Mail::Completion(completion), None);
            }
            _ => self.on_completion(&completion),
        }
    }

    /// Does what is left to do for a server queue pair: finishes what is complete, sends again
    /// what must be, binds what waits. `false` if `out` has no room left.
    pub(crate) fn run_server(&mut self, now: Nanos, id: ServerQpId, out: &mut Out) -> bool {
        loop {
            if self.finish_only(now, id, out) {
                return true;
            }
            if !out.has_room() {
                return false;
            }
            let lost = self.servers.get(id).is_none_or(|server| server.loss.is_some());
            let more = if self.is_asking(id) {
                self.ask_server_step(now, id, out)
            } else if lost {
                self.record_loss(id, out) || self.abandon_step(id, out)
            } else {
                self.fill_step(now, id, out)
                    || self.give_up_again_step(now, id, out)
                    || self.end_late_step(now, id, out)
                    || self.finish_step(now, id, out)
                    || self.check_step(id, out)
                    || self.repair_step(id, out)
                    || self.return_step(id, out)
                    || self.recall_step(id, out)
            };
            if !more && !self.gone_step(now, id, out) {
                if let Some(until) = self.check_guests(now, id) {
                    self.earliest = self.earliest.min(until);
                }
                return true;
            }
        }
    }
}
