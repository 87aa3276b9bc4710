//! The usual request that has to wait for others of its client: it is accepted, and the host keeps
//! its frame until its turn comes.

use super::Asks;
use super::asked::{Asked, Found};
use super::request::{Route, enqueue, find_route, note_address};
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ClientId;
use crate::mail::Kind;
use crate::mux::client::State;
use crate::out::{Action, Out};
use crate::policy::{Map, Order};
use crate::wire::usual;

impl Engine {
    /// Accepts a request and holds it, if it is a usual one but for what it waits for. `None`, and
    /// nothing is done, if it is not.
    #[inline(never)]
    pub(super) fn hold_usual<K: Asks>(
        &mut self,
        id: ClientId,
        asked: &Asked,
        frame: &Frame<'_>,
        out: &mut Out,
    ) -> Option<()> {
        let fenced = self.policy.order == Order::Fenced;
        let (client, behind) = self.clients.states.usual_or_waiting(id.index())?;
        if !behind && (!fenced || client.queue.is_empty()) {
            return None;
        }
        let before = client.target;
        let (found, mut route) = self.find_usual::<K>(id, asked, frame)?;
        if behind {
            // Where it goes is settled when those before it have gone.
            route.target = id.own_server_qp();
        } else if route.target == before {
            return None;
        }
        self.count_usual(id, asked, &found, frame)?;
        let reads_mapped = self.choices.map == Map::All;
        let held = (State::Held(asked.token), reads_mapped);
        let client = self.clients.states.get_same(id.index())?;
        let slots = &mut self.clients.slots;
        let (slot, _) = enqueue::<K>(client, slots, asked, (&route, found.key), held)?;
        if !behind && let Some(client) = self.clients.get_mut(id) {
            client.first_held = Some(slot.index);
        }
        self.counters.fence_waits += 1;
        out.push(Action::Hold(asked.token));
        Some(())
    }

    /// The key of the next request of a usual client, and where it goes now: certain to be accepted
    /// there, if it need not wait.
    #[inline(always)]
    pub(super) fn find_usual<K: Asks>(
        &mut self,
        id: ClientId,
        asked: &Asked,
        frame: &Frame<'_>,
    ) -> Option<(Found, Route)> {
        let trusted = asked.payload_len == 0 || self.trusts_data();
        let Engine { clients, directory, config, .. } = self;
        let room = clients.slots.free().min(config.client_window_max as usize);
        let (client, _) = clients.states.usual_or_waiting(id.index())?;
        let own = directory.card(id)?;
        let next = asked.is_next_of(client, own, room) && !directory.places.have_moved();
        if !next || !(trusted || super::is_intact(frame.bytes())) {
            return None;
        }
        let knows = (&self.policy, self.choices.map);
        let found = asked.find_key(knows, &self.addresses, (client, own), frame)?;
        let route = find_route(&self.policy, directory, &self.declined, (id, own), found.key)?;
        let host = directory.card(route.target.owner())?;
        let guest = route.target != id.own_server_qp();
        if !own.is_certain(host, guest, &asked.access) {
            directory.find_certain(id, route.target, &asked.access)?;
        }
        Some((found, route))
    }

    /// Counts a request in that is accepted, and takes note of what it shows of keys and lists.
    #[inline(always)]
    pub(super) fn count_usual(
        &mut self,
        id: ClientId,
        asked: &Asked,
        found: &Found,
        frame: &Frame<'_>,
    ) -> Option<()> {
        let domain = self.directory.card(id)?.domain;
        let layout = if self.minds { Some(usual::layout(frame.bytes())?) } else { None };
        self.counters.requests += 1;
        self.counters.keyed += u64::from(found.key.is_some());
        self.counters.address_hits += u64::from(found.spot.is_some());
        self.counters.address_misses += u64::from(found.missed);
        let evicted = note_address(&mut self.addresses, domain, asked, found);
        self.counters.address_evictions += u64::from(evicted);
        if let Some(layout) = layout.filter(|_| asked.kind == Kind::Plain) {
            self.note_written(id, found.key, &asked.access, frame, &layout);
        }
        Some(())
    }
}
