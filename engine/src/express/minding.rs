//! The usual packet where something depends on what memory holds. The steps are those of
//! `request.rs` and `answer.rs`; between them requests become what `mux/turn.rs` makes of them, and
//! answers say what `mux/turned.rs` makes of that again.

use super::answer::{Said, is_oldest, may_go_early, oldest};
use super::asked::{Asked, Found};
use super::request::{Route, accept, bound, goes_at_once};
use super::{Asks, Seen};
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ClientId;
use crate::mail::Kind;
use crate::mux::turn::Told;
use crate::out::Out;
use crate::policy::Map;
use crate::time::Nanos;
use crate::wire::{ServerPsn, usual};

impl Engine {
    /// Accepts a request, decides what it becomes, and sends that. `None`, and nothing is done, if
    /// it is not a usual one.
    pub(super) fn bind_minding<K: Asks>(
        &mut self,
        (now, id): (Nanos, ClientId),
        asked: &Asked,
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> Option<()> {
        let (found, route) = self.check_minding::<K>(id, asked, frame)?;
        let kind = (K::KIND, route.place.is_some());
        if self.is_list_awaited(route.target, kind, found.key)
            || self.is_word_awaited(route.target, asked.access)
        {
            return None;
        }
        // Both halves have room for it: that was asked before anything is changed.
        let layout = usual::layout(frame.bytes())?;
        self.count_usual(id, asked, &found, frame)?;
        let reads_mapped = self.choices.map == Map::All;
        let client = self.clients.states.get_same(id.index())?;
        let slots = &mut self.clients.slots;
        let accepted = accept::<K>((id, client), slots, asked, (&route, found.key), reads_mapped)?;
        self.directory.places.note_issued(route.place);
        let servers = &mut self.servers;
        servers.arrivals += 1;
        let record = bound(&accepted, (asked, false), ServerPsn::default(), servers.arrivals);
        let slot = servers.slots.insert(record)?;
        self.bind(now, slot, frame, &layout, out);
        // Timers look at no more than a line of what is known to be usual.
        let _ = self.servers.states.usual(route.target.index());
        Some(())
    }

    /// Where a request goes, and its key, if it is a usual one.
    #[inline(always)]
    fn check_minding<K: Asks>(
        &mut self,
        id: ClientId,
        asked: &Asked,
        frame: &Frame<'_>,
    ) -> Option<(Found, Route)> {
        self.clients.states.usual(id.index())?;
        let (found, route) = self.find_usual::<K>(id, asked, frame)?;
        let Engine { clients, servers, directory, config, .. } = self;
        let client = clients.states.usual(id.index())?;
        let server = servers.states.usual(route.target.index())?;
        let host = directory.card(route.target.owner())?;
        let goes = goes_at_once::<K>(client, (route.target, server), host, config);
        (goes && !servers.slots.is_full()).then_some((found, route))
    }

    /// Whether the oldest request of the server queue pair that answers is a WRITE in the place of
    /// an atomic.
    #[inline]
    pub(super) fn is_replaced(&self, seen: &Seen) -> bool {
        let id = ClientId(seen.connection).own_server_qp();
        let oldest = self.servers.get(id).and_then(|server| server.open.head());
        oldest.is_some_and(|slot| matches!(self.turns.get(slot).told, Told::Had(_)))
    }

    /// Takes note of what an answer says of memory, and makes it the one that its client waits for.
    /// `None`, and nothing is done, if it is not a usual one.
    pub(super) fn mind_answer<K: Asks>(
        &mut self,
        owner: ClientId,
        said: &mut Said,
        seen: &Seen,
        frame: &mut Frame<'_>,
    ) -> Option<()> {
        let id = owner.own_server_qp();
        let (server, _) = self.servers.states.usual_or_waiting(id.index())?;
        let slot = server.open.head()?;
        let request = oldest::<K>(server, &self.servers.slots, seen)?.request;
        let (client, holds) = self.clients.states.usual_or_waiting(request.client.index())?;
        let (record, _) = self.clients.slots.named(request.slot)?;
        if self.watches.may_speak(request.client)
            || !is_oldest(client, request.slot.index, record)
            || holds && may_go_early::<K>(&self.directory)
        {
            return None;
        }
        let turn = self.turns.get(slot);
        if matches!(turn.told, Told::Had(_)) && !self.word_waiters.is_empty() {
            // Others may go on once it has ended, and do so before its client is told.
            return None;
        }
        match (K::TOLD, turn.told) {
            (Kind::Atomic, Told::Had(original)) => said.original = Some(original),
            (Kind::Atomic, _) => {
                let original = self.on_atomic_answered(id, slot, said.original?);
                said.original = Some(original);
            }
            (Kind::Read, _) => {
                self.directory.card(owner)?;
                self.directory.card(request.client)?;
                let layout = usual::layout(frame.bytes())?;
                let word = layout.payload(frame.bytes()).get(..8);
                let order = self.directory.byte_order(id);
                if word.is_some_and(|word| !self.is_node_found(&turn, order.number(word))) {
                    return None;
                }
                self.turn_answer(id, slot, frame, &layout);
            }
            (Kind::Plain, _) => {}
        }
        self.end_write(id, slot);
        Some(())
    }
}
