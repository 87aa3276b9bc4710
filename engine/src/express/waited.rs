//! The usual request that has waited ([`super::hold`]): it is handed over when its turn has come,
//! its frame is asked for when it is its server queue pair's turn, and with that it is bound.

use super::Asks;
use super::asked::{Asked, Found};
use super::request::{Route, accept, bound, of_held};
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, ServerQpId};
use crate::mail::{Kind, SlotRef};
use crate::mux::client::{ClientSlot, State, Way};
use crate::mux::recall::fits;
use crate::mux::server::ServerSlot;
use crate::mux::server_qp::ServerQp;
use crate::mux::slab::{Queue, Slab};
use crate::out::{Action, Out};
use crate::policy::{Directory, Map, Order};
use crate::time::Nanos;
use crate::wire::facts::Renewed;
use crate::wire::{ServerPsn, usual};

impl Engine {
    /// Whether requests that wait take the short way: what depends on memory does not.
    #[inline]
    fn waits_short(&self) -> bool {
        self.goes_short && !self.minds && self.resumes.is_settled()
    }

    /// Hands the first held request of a client over, if it is a usual one and its turn has come.
    /// `Some(false)` if it is a usual one that has to go on waiting for others of its client;
    /// `None`, and nothing is done, if it is not.
    pub(crate) fn issue_usual(&mut self, id: ClientId, out: &mut Out) -> Option<bool> {
        if !self.waits_short() || self.watches.may_speak(id) {
            return None;
        }
        let Engine { clients, servers, directory, counters, .. } = self;
        let (client, waits) = clients.states.usual_or_waiting(id.index())?;
        if !waits {
            return Some(false);
        }
        let first = client.first_held.filter(|_| !directory.places.have_moved())?;
        let record = clients.slots.get(first)?;
        let State::Held(token) = record.state else { return None };
        let target = goes_to(record, id, directory)?;
        if client.queue.head() != Some(first) && client.target != target {
            return (self.policy.order == Order::Fenced).then_some(false);
        }
        let (_, waited) = servers.states.usual_or_waiting(target.index())?;
        if servers.slots.is_full() {
            return None;
        }
        let behind = clients.slots.next(first);
        let behind = clients.slots.find_from(behind, |record| record.state.is_held());
        let name = clients.slots.reference(first);
        let record = clients.slots.get_mut(first)?;
        (record.state, record.target) = (State::Issued, target);
        servers.arrivals += 1;
        // It may have been usual, and is no more.
        let server = servers.states.get_mut(target.index())?;
        let queue = waiting(server, target == id.own_server_qp());
        let (SlotRef { index: slot, .. }, place) = servers.slots.append(queue)?;
        *place = of_held(record, (id, name), client.completed_end, token, servers.arrivals);
        if let Some(state) = record.way.place().and_then(|place| directory.places.get_mut(place)) {
            state.issued += 1;
        }
        if let Some(client) = clients.states.get_mut(id.index()) {
            (client.target, client.first_held) = (target, behind);
        }
        counters.server_waits += 1;
        if !self.ask_newest(target, slot, out) && !waited {
            self.servers.work.push(target.0);
        }
        Some(true)
    }

    /// Accepts a request that waits for nothing of its client's, and lets it wait behind others at
    /// its server queue pair. `None`, and nothing is done, if nothing waits there.
    pub(super) fn wait_usual<K: Asks>(
        &mut self,
        id: ClientId,
        asked: &Asked,
        (found, route): (&Found, &Route),
        frame: &Frame<'_>,
        out: &mut Out,
    ) -> Option<()> {
        let target = route.target;
        let (_, waited) = self.servers.states.usual_or_waiting(target.index())?;
        if !waited || !self.waits_short() || self.servers.slots.is_full() {
            return None;
        }
        self.count_usual(id, asked, found, frame)?;
        let Engine { clients, servers, directory, counters, choices, .. } = self;
        let client = clients.states.get_same(id.index())?;
        let (key, reads_mapped) = (found.key, choices.map == Map::All);
        let accepted =
            accept::<K>((id, client), &mut clients.slots, asked, (route, key), reads_mapped)?;
        if let Some(state) = route.place.and_then(|place| directory.places.get_mut(place)) {
            state.issued += 1;
        }
        servers.arrivals += 1;
        let server = servers.states.get_same(target.index())?;
        let queue = waiting(server, target == id.own_server_qp());
        let (SlotRef { index: slot, .. }, place) = servers.slots.append(queue)?;
        *place = bound(&accepted, (asked, false), ServerPsn::default(), servers.arrivals);
        counters.server_waits += 1;
        out.push(Action::Hold(asked.token));
        self.ask_newest(target, slot, out);
        Some(())
    }

    /// Hands over what waits for a usual client that an answer has just been given to, and to which
    /// nothing else is to be said.
    pub(super) fn wake_usual(&mut self, id: ClientId, out: &mut Out) {
        while out.has_room() {
            match self.issue_usual(id, out) {
                Some(true) => {}
                Some(false) => return,
                None => break,
            }
        }
        self.clients.owe(id, false);
    }

    /// Binds the request whose frame was asked for, and is in hand, and sends it on. `None`, and
    /// nothing is done, if it is not a usual one whose turn it still is.
    pub(crate) fn bind_recalled(
        &mut self,
        now: Nanos,
        (id, slot): (ServerQpId, u32),
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> Option<()> {
        if !self.waits_short() {
            return None;
        }
        let trusted = self.trusts_data();
        let Engine { servers, directory, config, .. } = self;
        let (server, _) = servers.states.usual_or_waiting(id.index())?;
        let (oldest, record) = oldest_waiting(server, &servers.slots)?;
        let whose = record.request.client;
        let (own, host) = (directory.card(whose)?, directory.card(id.owner())?);
        let layout = usual::layout(frame.bytes())?;
        let mine = slot == oldest
            && record.token == frame.token()
            && !record.unverified
            && own.request.are_all_of(frame.bytes().first_chunk()?, layout.opcode);
        if !mine || !fits(server, record, 0, (host.depth, config.server_window_max)) {
            return None;
        }
        let server = servers.states.get_mut(id.index())?;
        server.asked = server.asked.saturating_sub(1);
        servers.slots.unlink(waiting(server, whose == id.owner()), slot);
        let (psn, alone) = (server.next, server.open.is_empty());
        servers.slots.push_back(&mut server.open, slot);
        let record = servers.slots.get_mut(slot)?;
        record.asked = false;
        record.unverified = layout.payload_len > 0 && trusted;
        (record.psn, record.payload_len) = (psn, layout.payload_len);
        let request = &record.request;
        if request.kind != Kind::Plain {
            servers.past_reads.note_bound(request, request.access, psn);
        }
        server.on_bound((now, alone), psn, request, layout.ecn, config);
        if alone {
            self.deadlines.note(id.0, server.deadline);
        }
        let more = server.asked == 0 && server.has_waiting();
        let new = Renewed { psn: psn.to_wire(), ack_request: true, aeth: None };
        let at = layout.icrc.into();
        host.request.put(&own.request, &self.icrc, frame.bytes_mut(), at, &new);
        self.record_binding(slot, frame, &layout, out);
        out.push(Action::ForwardAndRetain(frame.token(), Side::Server));
        if more {
            self.servers.work.push(id.0);
        }
        Some(())
    }
}

/// Where the owner's requests wait, or those of others.
#[inline(always)]
fn waiting(server: &mut ServerQp, owners: bool) -> &mut Queue {
    if owners { &mut server.waiting_own } else { &mut server.waiting_guests }
}

/// Where a held request goes, if it is a usual one that its place's host is certain to accept.
#[inline(always)]
fn goes_to(record: &ClientSlot, id: ClientId, directory: &Directory) -> Option<ServerQpId> {
    let own = id.own_server_qp();
    let access = record.access?;
    let single = record.opcode.starts_message() && record.ends_message && record.packets == 1;
    if !single || record.exclusive || record.parts != 0 {
        return None;
    }
    let target = match record.way {
        Way::Own => return Some(own),
        Way::Place(place) => directory.places.get(place)?.open_host()?,
        Way::Alone(_) => return None,
    };
    directory.is_known_certain(id, target, &access).then_some(target)
}

/// The oldest of those that wait at a server queue pair.
#[inline(always)]
fn oldest_waiting<'a>(
    server: &ServerQp,
    slots: &'a Slab<ServerSlot>,
) -> Option<(u32, &'a ServerSlot)> {
    let first = |slot: Option<u32>| slot.and_then(|slot| Some((slot, slots.get(slot)?)));
    let own = first(server.waiting_own.head());
    let guest = first(server.waiting_guests.head());
    match (own, guest) {
        (Some(own), Some(guest)) if own.1.arrival < guest.1.arrival => Some(own),
        (own, guest) => guest.or(own),
    }
}
