//! The usual request that has waited ([`super::hold`]): it is handed over when its turn has come,
//! its frame is asked for when it is its server queue pair's turn, and with that it is bound.

use super::request::of_held;
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, ServerQpId};
use crate::mail::Kind;
use crate::mux::client::{ClientSlot, State, Way};
use crate::mux::server::ServerSlot;
use crate::mux::server_qp::{SPAN_MAX, ServerQp};
use crate::mux::slab::{Queue, Slab};
use crate::out::{Action, Out};
use crate::policy::{Card, Directory, Order};
use crate::time::Nanos;
use crate::wire::facts::Renewed;
use crate::wire::usual;

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
        // Where somebody waits for a place, many are asked in vain: that costs as little as it can.
        if !self.parked.is_empty() || !self.waits_short() || self.watches.may_speak(id) {
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
        let (server, busy) = servers.states.usual_or_waiting(target.index())?;
        if servers.slots.is_full() {
            return None;
        }
        let behind = clients.slots.next(first);
        let behind = clients.slots.find_from(behind, |record| record.state.is_held());
        let name = clients.slots.reference(first);
        let record = clients.slots.get_mut(first)?;
        (record.state, record.target) = (State::Issued, target);
        servers.arrivals += 1;
        let queue = waiting(server, target == id.own_server_qp());
        let (_, place) = servers.slots.append(queue)?;
        *place = of_held(record, (id, name), client.completed_end, token, servers.arrivals);
        directory.places.note_issued(record.way.place());
        if let Some(client) = clients.states.get_mut(id.index()) {
            (client.target, client.first_held) = (target, behind);
        }
        counters.server_waits += 1;
        if !busy {
            // Known to be usual, it has nothing else to do than to ask for the frame.
            self.recall_usual(target, out);
        }
        Some(true)
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

    /// Asks for the frame of the next waiting request of a server queue pair for which nothing else
    /// is to be done.
    fn recall_usual(&mut self, id: ServerQpId, out: &mut Out) {
        let Engine { servers, directory, config, .. } = self;
        let next = || {
            let (server, host) = (servers.states.get(id.index())?, directory.card(id.owner())?);
            let (slot, record) = oldest_waiting(server, &servers.slots)?;
            let fits = fits(server, record, host, config.server_window_max);
            fits.then_some((slot, record.token))
        };
        // Else it would come before what others have to do, or what its client goes on with would
        // come after that of others.
        let next = next().filter(|_| servers.work.is_empty() && out.has_more_room());
        let Some(server) = servers.states.get_mut(id.index()) else { return };
        match next {
            Some((slot, token)) => {
                server.recalled = Some(slot);
                self.recalls.push(id.0);
                out.push(Action::Recall(token));
            }
            None => servers.work.push(id.0),
        }
    }

    /// Binds the request whose frame was asked for, and is in hand, and sends it on. `None`, and
    /// nothing is done, if it is not a usual one whose turn it still is.
    pub(crate) fn bind_recalled(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> Option<()> {
        if !self.waits_short() {
            return None;
        }
        let trusted = self.trusts_data();
        let Engine { servers, directory, config, .. } = self;
        let (server, _) = servers.states.usual_or_waiting(id.index())?;
        let recalled = server.recalled?;
        let (slot, record) = oldest_waiting(server, &servers.slots)?;
        let whose = record.request.client;
        let (own, host) = (directory.card(whose)?, directory.card(id.owner())?);
        let layout = usual::layout(frame.bytes())?;
        let mine = slot == recalled
            && record.token == frame.token()
            && !record.unverified
            && own.request.are_all_of(frame.bytes().first_chunk()?, layout.opcode);
        if !mine || !fits(server, record, host, config.server_window_max) {
            return None;
        }
        let server = servers.states.get_mut(id.index())?;
        server.recalled = None;
        servers.slots.unlink(waiting(server, whose == id.owner()), slot);
        let (psn, alone) = (server.next, server.open.is_empty());
        servers.slots.push_back(&mut server.open, slot);
        let record = servers.slots.get_mut(slot)?;
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
        let more = !server.waiting_own.is_empty() || !server.waiting_guests.is_empty();
        let new = Renewed { psn: psn.to_wire(), ack_request: true, aeth: None };
        let at = layout.icrc.into();
        host.request.put(&own.request, &self.icrc, frame.bytes_mut(), at, &new);
        self.record_binding(slot, frame, &layout, out);
        out.push(Action::ForwardAndRetain(frame.token(), Side::Server));
        if more {
            self.recall_usual(id, out);
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

/// Whether a waiting request is a message by itself that shares its server queue pair with others,
/// and there is room for it.
#[inline(always)]
fn fits(server: &ServerQp, record: &ServerSlot, host: &Card, window_max: u32) -> bool {
    let request = &record.request;
    request.starts_message
        && request.ends_message
        && request.packets == 1
        && !request.exclusive
        && (request.kind == Kind::Plain || server.open_reads < host.depth)
        && server.open_packets < window_max
        && server.open_span < SPAN_MAX
}
