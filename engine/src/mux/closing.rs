//! A server queue pair hosts no more: it is lost, its owner is gone, or its owner keeps the guests
//! waiting. What was mapped to it and did not run goes back to its client's half, which hands it
//! over again when the place has a new host.
//!
//! The shard of the server queue pair decides. It takes nothing mapped any more, finishes or
//! gives back what it has, and only then says [`Mail::Gone`] to all shards: from then on nothing of
//! the place's keys can run on the old host, so another one takes over (every shard finds
//! the same one by itself).

use super::client::{State, Way};
use super::server::{ServerSlot, Source};
use super::server_qp::{ServerQp, Teardown};
use crate::engine::Engine;
use crate::frame::Side;
use crate::ids::{ClientId, ServerQpId, ShardId};
use crate::mail::{Completion, Kind, Mail, Outcome, Request, Resumed, SlotRef};
use crate::out::{Action, Out};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::ServerPsn;

/// Whether a server queue pair takes requests that places bring to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hosting {
    /// It does.
    Open,
    /// No more. What it has is finished or given back.
    Closing,
    /// Nothing mapped is left; shards below this one know.
    Telling(u8),
    /// All shards know.
    Gone,
}

/// What is known of a server queue pair that is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// It is in the error state, or inside a message whose rest nobody has: what is not
    /// acknowledged has not run and never will.
    Refusing,
    /// It does not answer: what is bound may have run.
    Silent {
        /// When the last packet sent to it has left the network for certain.
        until: Nanos,
    },
}

impl Engine {
    /// The server queue pair hosts no more.
    pub(crate) fn close_host(&mut self, id: ServerQpId) {
        let Some(server) = self.servers.get_mut(id) else { return };
        if server.hosting != Hosting::Open {
            return;
        }
        server.hosting = Hosting::Closing;
        self.directory.places.set_leaving(id);
        self.servers.work.push(id.0);
    }

    /// Whether a request that is not bound may still become so.
    pub(crate) fn takes(&self, id: ServerQpId, request: &Request) -> bool {
        let Some(server) = self.servers.get(id) else { return false };
        // The rest of a message that is bound belongs to it.
        let continues = !request.starts_message && server.in_message == Some(request.client);
        let rest_of_owner = !request.starts_message && request.client == id.owner();
        let open = server.hosting == Hosting::Open || !request.mapped;
        server.loss.is_none() && (open || continues || rest_of_owner)
    }

    /// Whether a request that waits may go on doing so. The owner's own stand in one queue with
    /// what is not mapped, and would be overtaken by it.
    pub(crate) fn may_stay(&self, id: ServerQpId, request: &Request) -> bool {
        let lost = self.servers.get(id).is_none_or(|server| server.loss.is_some());
        self.takes(id, request) || !lost && request.client == id.owner()
    }

    /// Whether a mapped request of the owner waits.
    fn has_mapped_waiting(&self, id: ServerQpId) -> bool {
        let Some(server) = self.servers.get(id) else { return false };
        let mut queues = [server.waiting_own, server.waiting_rest].into_iter();
        queues.any(|queue| {
            let mapped = self.servers.slots.find_from(queue.head(), |record| record.request.mapped);
            mapped.is_some()
        })
    }

    /// Gives one waiting request back that may not be bound any more. `false` if there is none.
    pub(crate) fn return_step(&mut self, id: ServerQpId, out: &mut Out) -> bool {
        let Some(server) = self.servers.get(id) else { return false };
        // A frame that was recalled is on its way here, and cannot be given back before.
        if server.hosting == Hosting::Open || server.recalled.is_some() {
            return false;
        }
        let queues = [server.waiting_guests, server.waiting_own, server.waiting_rest];
        for (which, queue) in queues.into_iter().enumerate() {
            let mut slot = queue.head();
            while let Some(index) = slot {
                let Some(&record) = self.servers.slots.get(index) else { break };
                if self.may_stay(id, &record.request) {
                    slot = self.servers.slots.next(index);
                    continue;
                }
                let Some(server) = self.servers.states.get_mut(id.index()) else { return false };
                let queue = match which {
                    0 => &mut server.waiting_guests,
                    1 => &mut server.waiting_own,
                    _ => &mut server.waiting_rest,
                };
                self.servers.slots.unlink(queue, index);
                self.servers.slots.remove(index);
                self.give_back(&record.request, record.token, out);
                return true;
            }
        }
        false
    }

    /// Hands a request that did not run back to its client's half, with its frame.
    fn give_back(&mut self, request: &Request, token: crate::Token, out: &mut Out) {
        let completion =
            Completion { client: request.client, slot: request.slot, outcome: Outcome::Returned };
        match self.shard_of(request.client) {
            Some(shard) if shard != self.shard => {
                out.push_mail(shard, Mail::Completion(completion), Some(token));
            }
            _ => self.on_returned(request.client, request.slot, token, out),
        }
    }

    /// Gives back, or declares lost, a request that cannot be bound. Its frame is kept.
    pub(crate) fn turn_away(&mut self, request: &Request, token: crate::Token, out: &mut Out) {
        if request.mapped {
            return self.give_back(request, token, out);
        }
        out.push(Action::Release(token));
        self.complete(request, Outcome::Lost, out);
    }

    /// A request comes back, with its kept frame: its place will have another host.
    pub(crate) fn on_returned(
        &mut self,
        id: ClientId,
        slot: SlotRef,
        token: crate::Token,
        out: &mut Out,
    ) {
        let Some(slot) = self.clients.slots.resolve(slot) else {
            return out.push(Action::Release(token));
        };
        self.leave_slot(id, slot);
        self.counters.returned += 1;
        let floor = self.clients.get(id).map(|client| client.completed_end);
        let Some(record) = self.clients.slots.get_mut(slot) else { return };
        if floor.is_some_and(|floor| record.psn.is_before(floor)) {
            // A repeated READ: its client asks again, if it still wants it.
            record.state = State::Ready;
            self.counters.repeats_returned += 1;
            self.clients.work.push(id.0);
            return out.push(Action::Release(token));
        }
        let (old, starts) = (record.target, record.opcode.starts_message());
        record.state = State::Held(token);
        if matches!(record.way, Way::Place(_)) {
            self.directory.places.set_leaving(old);
        }
        if !starts && !self.follows_returned(id, slot) {
            return self.cut_off(id, slot, token, out);
        }
        self.hold_again(id);
    }

    /// A request comes back that is to be made another time.
    pub(super) fn take_back(
        &mut self,
        id: ClientId,
        slot: SlotRef,
        token: crate::Token,
        out: &mut Out,
    ) {
        let Some(slot) = self.clients.slots.resolve(slot) else {
            return out.push(Action::Release(token));
        };
        self.leave_slot(id, slot);
        if let Some(record) = self.clients.slots.get_mut(slot) {
            record.state = State::Held(token);
        }
        self.hold_again(id);
    }

    /// One of the requests that were handed over is held again.
    pub(super) fn hold_again(&mut self, id: ClientId) {
        let Some(&client) = self.clients.get(id) else { return };
        let head = client.queue.head();
        let first = self.clients.slots.find_from(head, |record| record.state.is_held());
        if let Some(client) = self.clients.get_mut(id) {
            client.first_held = first;
            client.returned = true;
        }
        self.clients.work.push(id.0);
    }

    /// Whether the first packet of the message that `slot` belongs to came back as well.
    fn follows_returned(&self, id: ClientId, slot: u32) -> bool {
        let mut returned = false;
        let mut at = self.clients.get(id).and_then(|client| client.queue.head());
        while let Some(index) = at
            && index != slot
            && let Some(record) = self.clients.slots.get(index)
        {
            if record.opcode.starts_message() {
                returned = record.state.is_held();
            }
            at = self.clients.slots.next(index);
        }
        returned
    }

    /// The beginning of its message may have run: the rest runs nowhere.
    fn cut_off(&mut self, id: ClientId, slot: u32, token: crate::Token, out: &mut Out) {
        out.push(Action::Release(token));
        let Some(record) = self.clients.slots.get_mut(slot) else { return };
        record.state = State::Lost;
        let psn = record.psn;
        self.halt(id, psn);
        self.clients.work.push(id.0);
    }

    /// Whether an earlier request of the same place is on its way to a former host.
    pub(super) fn is_split(&self, id: ClientId, slot: u32, way: Way, target: ServerQpId) -> bool {
        if !self.directory.places.have_moved() || !matches!(way, Way::Place(_)) {
            return false;
        }
        let mut before = self.clients.get(id).and_then(|client| client.queue.head());
        while let Some(index) = before
            && index != slot
            && let Some(record) = self.clients.slots.get(index)
        {
            if record.state.is_out() && record.way == way && record.target != target {
                return true;
            }
            before = self.clients.slots.next(index);
        }
        false
    }

    /// Tells one shard that a closed host has nothing mapped any more. `false` if there is nothing
    /// to tell, or not yet.
    pub(crate) fn gone_step(&mut self, now: Nanos, id: ServerQpId, out: &mut Out) -> bool {
        let (shards, mine) = (self.shards, self.shard);
        let waits = self.has_mapped_waiting(id);
        let Some(server) = self.servers.get_mut(id) else { return false };
        if server.recalled.is_some() {
            return false;
        }
        match server.hosting {
            Hosting::Open | Hosting::Gone => false,
            Hosting::Closing => {
                let settled = match server.loss {
                    Some(Loss::Silent { until }) if until > now => {
                        server.deadline = until;
                        self.deadlines.note(id.0, until);
                        false
                    }
                    _ => {
                        server.open_mapped == 0 && !waits
                            || !self.config.keeps(Rule::PlaceMovesEmpty)
                    }
                };
                if settled {
                    server.hosting = Hosting::Telling(0);
                    self.record_gone(id, out);
                }
                settled
            }
            Hosting::Telling(shard) if shard >= shards => {
                server.hosting = Hosting::Gone;
                if let Some(Teardown { token, .. }) = server.teardown.take() {
                    self.record_point(id, out);
                    // Only now the server hears of it, and falls silent.
                    self.watches.end(id.owner(), now.after(self.config.packet_lifetime_ns));
                    out.push(Action::Send(token, Side::Server));
                    out.push(Action::Release(token));
                }
                self.counters.hosts_closed += 1;
                true
            }
            Hosting::Telling(shard) => {
                server.hosting = Hosting::Telling(shard + 1);
                if shard == mine.0 {
                    self.on_gone(id);
                } else {
                    out.push_mail(ShardId(shard), Mail::Gone(id), None);
                }
                true
            }
        }
    }

    /// A host has nothing mapped any more: its places get another one.
    pub(crate) fn on_gone(&mut self, id: ServerQpId) {
        self.directory.give_up_host(id, &self.policy);
        while let Some(client) = self.parked.pop() {
            self.clients.work.push(client);
        }
    }

    /// A host that was only busy hosts again, where places are given out as they are needed.
    pub(crate) fn reopen(&mut self, id: ServerQpId) {
        if let Some(server) = self.servers.get_mut(id)
            && server.hosting == Hosting::Gone
            && server.busy
        {
            server.hosting = Hosting::Open;
            server.busy = false;
        }
    }

    /// Guests wait for a request of the owner that may never end: an owner that died in the middle
    /// of a message, or whose server has no receive buffer. When they have waited for long enough
    /// they leave. Returns when that will be.
    pub(crate) fn check_guests(&mut self, now: Nanos, id: ServerQpId) -> Option<Nanos> {
        let wait = self.config.guest_wait_ns;
        let learns = self.policy.trust.learns();
        let server = self.servers.get(id)?;
        if server.waiting_guests.is_empty() && server.blocked_since.is_none() {
            return None;
        }
        let server = self.servers.get_mut(id)?;
        let by_owner = server.exclusive || server.in_message == Some(id.owner());
        let blocked = by_owner
            && self.config.keeps(Rule::GuestsLeave)
            && server.hosting == Hosting::Open
            && server.loss.is_none()
            && !server.waiting_guests.is_empty();
        if !blocked {
            server.blocked_since = None;
            return None;
        }
        let until = server.blocked_since.get_or_insert(now).after(wait);
        if until > now {
            return Some(until);
        }
        server.busy = learns;
        self.close_host(id);
        None
    }

    /// The server queue pair is in the error state, or does not answer.
    pub(crate) fn lose_server(&mut self, id: ServerQpId, loss: Loss) {
        let Some(server) = self.servers.get_mut(id) else { return };
        if server.loss.is_some() {
            return;
        }
        server.loss = Some(loss);
        server.deadline = Nanos::NEVER;
        server.repair = None;
        server.message_returned = None;
        self.counters.server_qps_lost += 1;
        self.forget_contents(id);
        self.servers.work.push(id.0);
        self.close_host(id);
    }

    /// Gives up one request of a lost server queue pair. `false` if there is none left.
    ///
    /// What provably did not run goes back to its client; what may have run ends as it would
    /// without an answer: in its client's retry limit.
    pub(crate) fn abandon_step(&mut self, id: ServerQpId, out: &mut Out) -> bool {
        let Some(server) = self.servers.states.get_mut(id.index()) else { return false };
        if server.recalled.is_some() {
            // Some request's frame is on its way here, and cannot be given up before.
            return false;
        }
        let slots = &mut self.servers.slots;
        if let Some(slot) = slots.pop_front(&mut server.again) {
            let request = slots.get(slot).map(|record| record.request);
            slots.remove(slot);
            if let Some(request) = request {
                self.complete(&request, Outcome::Lost, out);
            }
            return true;
        }
        match slots.pop_front(&mut server.open) {
            Some(slot) => self.abandon_bound(id, slot, out),
            None => self.abandon_waiting_step(id, out),
        }
    }

    /// The same for one that is not bound yet.
    fn abandon_waiting_step(&mut self, id: ServerQpId, out: &mut Out) -> bool {
        let Some(server) = self.servers.states.get_mut(id.index()) else { return false };
        let slots = &mut self.servers.slots;
        // The rest of a message that waits as a whole goes back behind its first packet.
        let slot = slots
            .pop_front(&mut server.waiting_own)
            .or_else(|| slots.pop_front(&mut server.waiting_guests))
            .or_else(|| slots.pop_front(&mut server.waiting_rest));
        let Some(slot) = slot else { return false };
        let Some(&record) = slots.get(slot) else { return false };
        slots.remove(slot);
        let request = record.request;
        // The rest of a message follows its first packet.
        let cut = server.in_message == Some(request.client)
            && server.message_returned != Some(request.client);
        if request.starts_message || !cut {
            self.turn_away(&request, record.token, out);
            return true;
        }
        out.push(Action::Release(record.token));
        self.complete(&request, Outcome::Lost, out);
        true
    }

    fn abandon_bound(&mut self, id: ServerQpId, slot: u32, out: &mut Out) -> bool {
        self.end_write(id, slot);
        let Some(&record) = self.servers.slots.get(slot) else { return false };
        self.servers.slots.remove(slot);
        let (request, told) = (record.request, self.acknowledged(slot));
        let Some(server) = self.servers.states.get_mut(id.index()) else { return false };
        server.open_mapped = server.open_mapped.saturating_sub(u32::from(request.mapped));
        let mut fate = bound_fate(server, &request, record.psn, record.done);
        if fate == Some(Outcome::Lost)
            && request.mapped
            && !self.config.keeps(Rule::MaybeRunIsNotReturned)
            || fate == Some(Outcome::Returned) && !self.config.keeps(Rule::UnrunIsReturned)
        {
            fate = fate.map(|fate| match fate {
                Outcome::Lost => Outcome::Returned,
                _ => Outcome::Lost,
            });
        }
        if record.source != Source::Frame && fate == Some(Outcome::Returned) {
            fate = Some(fate_without_bytes(server, &record));
        }
        if request.starts_message {
            let unrun = [Outcome::Returned, Outcome::Resumed(Resumed::Unbound)];
            let returned = fate.is_some_and(|fate| unrun.contains(&fate));
            server.message_returned = returned.then_some(request.client);
        }
        if fate == Some(Outcome::Returned) {
            self.give_back(&request, record.token, out);
            return true;
        }
        self.release_bytes(&record, out);
        if let Some(outcome) = fate {
            let outcome = if outcome == Outcome::Acknowledged { told } else { outcome };
            self.complete(&request, outcome, out);
        }
        true
    }
}

/// What becomes of a bound request of a lost server queue pair. `None` if its client was told
/// already.
fn bound_fate(server: &ServerQp, request: &Request, psn: ServerPsn, done: bool) -> Option<Outcome> {
    if done {
        return None;
    }
    let acknowledged = !psn.add(request.packets).is_after(server.acknowledged);
    let never_ran = server.loss == Some(Loss::Refusing) && !psn.is_before(server.acknowledged);
    let first_returned = request.starts_message || server.message_returned == Some(request.client);
    Some(match request.kind {
        Kind::Plain if acknowledged => Outcome::Acknowledged,
        // Reading again changes nothing.
        Kind::Read if request.mapped => Outcome::Returned,
        _ if request.mapped && never_ran && first_returned => Outcome::Returned,
        _ => Outcome::Lost,
    })
}

/// What becomes of one that could go elsewhere, but whose frame went with an engine: its client
/// sends it again if it has not run. A READ may have been answered in part.
fn fate_without_bytes(server: &ServerQp, record: &ServerSlot) -> Outcome {
    let known = matches!(record.source, Source::Made(_) | Source::Missing(_));
    let never_ran =
        server.loss == Some(Loss::Refusing) && !record.psn.is_before(server.acknowledged);
    match known && never_ran {
        true => Outcome::Resumed(Resumed::Unbound),
        false => Outcome::Lost,
    }
}
