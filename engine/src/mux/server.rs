//! The server half: state of the requester that a server queue pair sees. Requests wait here for
//! room, get their PSN, and stay until they are complete.

use alloc::vec;

use super::client::Way;
use super::past_reads::PastReads;
use super::rewrite::{Become, rewrite};
use super::rows::Rows;
use super::server_qp::{SPAN_MAX, ServerQp};
use super::slab::Slab;
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
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Layout, Msn, Opcode, ServerPsn};

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

impl ServerSlot {
    /// Whether this PSN is one of those that the request takes.
    pub(super) fn includes(&self, psn: ServerPsn) -> bool {
        psn.offset_from(self.psn) < self.request.packets
    }
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
        let Servers { states, slots, work, .. } = &mut self.servers;
        let (Some(record), Some(server)) = (slots.get(slot), states.get_mut(id.index())) else {
            return;
        };
        slots.push_back(server.waiting_queue(id, &record.request), slot);
        self.counters.server_waits += 1;
        work.push(id.0);
        self.note_wait(id, slot);
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
            && !(self.minds && self.waits_for_memory(id, request))
            && (alone || !self.config.keeps(Rule::GuestsMakeRoom))
            && !self.is_asking(id)
            // A repair may wait for bytes that the client sends again only when it has the READ.
            && (again || server.repair.is_none())
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
    pub(crate) fn bind(
        &mut self,
        now: Nanos,
        slot: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        let Some(ServerSlot { request, .. }) = self.servers.slots.get(slot) else { return };
        let id = request.server_qp;
        if self.is_read_again(id, request) {
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
        server.on_bound((now, server.open.is_empty()), psn, &request, layout.ecn, &self.config);
        self.deadlines.note(id.0, server.deadline);
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
            if self.finishes_or_binds(id) {
                if self.finish_step(now, id, out) {
                    continue;
                }
                // It may have found that something has to be sent again.
                if self.finishes_or_binds(id) {
                    if self.recall_step(id, out) {
                        continue;
                    }
                    return true;
                }
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
                    self.deadlines.note(id.0, until);
                }
                return true;
            }
        }
    }
}
