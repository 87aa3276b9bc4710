//! A first look at all frames of a burst, so that the caches' misses overlap: one after the other
//! they would cost more than all the rest.

use core::hint::black_box;

use super::{Found, NOBODY};
use crate::engine::{BURST_MAX, Engine};
use crate::frame::{Frame, Side};
use crate::ids::ClientId;
use crate::mux::server_qp::ServerQp;
use crate::policy::Map;
use crate::wire::usual;

/// Connections whose state stays in a core's own cache, so that looking at it first costs more than
/// it gains.
const FEW: usize = 512;
/// Bytes of a cache line.
const LINE: usize = 64;

impl Engine {
    /// Reads what will be needed of each frame: the first two lines, in which are the headers and
    /// the key, and the last one with the ICRC, where that is by the frame's length. Then finds out
    /// whose it is, if it has the usual shape, and reads what a request is going to be looked up
    /// by.
    #[inline]
    pub(crate) fn touch(&mut self, side: Side, frames: &[Frame<'_>]) -> Found {
        let mut seen = 0;
        for frame in frames {
            let bytes = frame.bytes();
            let used = [bytes.first(), bytes.get(LINE), bytes.last()];
            seen ^= used.into_iter().flatten().fold(0, |seen, byte| seen ^ byte);
        }
        black_box(seen);
        let mut found = Found { connections: [NOBODY; BURST_MAX], changes: self.flow_changes() };
        let table = match side {
            Side::Client => &self.requests,
            Side::Server => &self.responses,
        };
        let all = self.choices.map == Map::All;
        let (mut sets, mut count) = ([0; BURST_MAX], 0);
        let mut seen = 0;
        for (frame, connection) in frames.iter().zip(&mut found.connections) {
            let Some(glance) = usual::glance(frame.bytes()) else { continue };
            let found = table.find_v4(glance.ends, glance.dest_qp);
            let Some(id) = found.map(ClientId) else { continue };
            *connection = id.0;
            seen ^= match side {
                Side::Client => self.clients.get(id).map_or(0, |client| client.open),
                Side::Server => {
                    self.servers.get(id.own_server_qp()).map_or(0, |qp| qp.open_packets)
                }
            };
            match self.directory.card(id) {
                None => self.directory.make_card(id),
                // The key of a READ is only asked for where READs are mapped.
                Some(card) if side == Side::Client && (all || !glance.reads) => {
                    if let Some(set) = sets.get_mut(count) {
                        *set = self.addresses.set_of(card.domain, glance.address);
                        count += 1;
                    }
                }
                Some(_) => {}
            }
        }
        black_box(seen);
        // A loop of its own: the less there is between these reads, the more of them overlap.
        black_box(self.addresses.touch(sets.get(..count).unwrap_or_default()));
        if self.directory.len() > FEW {
            let connections = found.connections.get(..frames.len()).unwrap_or_default();
            black_box(match side {
                Side::Client => self.touch_for_requests(connections),
                Side::Server => self.touch_for_answers(connections),
            });
        }
        found
    }

    /// Reads what binding requests changes, and what makes them certain to be accepted.
    fn touch_for_requests(&self, connections: &[u32]) -> u64 {
        connections.iter().filter(|id| **id != NOBODY).fold(0, |seen, id| {
            let id = ClientId(*id);
            let card = self.directory.card(id).map_or(0, |card| card.touch());
            let server = self.servers.get(id.own_server_qp()).map_or(0, ServerQp::touch);
            seen ^ card ^ server ^ self.servers.past_reads.touch(id.own_server_qp())
        })
    }

    /// Reads what answers change: first at their server queue pairs, then the oldest requests
    /// there, then what these belong to.
    fn touch_for_answers(&self, connections: &[u32]) -> u64 {
        let (mut oldest, mut count) = ([0; BURST_MAX], 0);
        let mut seen = 0;
        for id in connections.iter().filter(|id| **id != NOBODY) {
            let id = ClientId(*id);
            seen ^= self.directory.card(id).map_or(0, |card| card.touch());
            // Whose credits the answer tells.
            seen ^= self.clients.get(id).map_or(0, |client| client.credits.into());
            let Some(server) = self.servers.get(id.own_server_qp()) else { continue };
            seen ^= server.touch();
            if let (Some(slot), Some(place)) = (server.open.head(), oldest.get_mut(count)) {
                *place = slot;
                count += 1;
            }
        }
        let (mut requests, mut known) = ([(ClientId(0), 0); BURST_MAX], 0);
        for slot in oldest.get(..count).unwrap_or_default() {
            let record = self.servers.slots.get(*slot);
            if let (Some(record), Some(place)) = (record, requests.get_mut(known)) {
                *place = (record.request.client, record.request.slot.index);
                seen ^= record.arrival;
                known += 1;
            }
        }
        requests.get(..known).unwrap_or_default().iter().fold(seen, |seen, (id, slot)| {
            let client = self.clients.get(*id).map_or(0, |client| client.open.into());
            let record = self.clients.slots.get(*slot).map_or(0, |record| record.parts.into());
            let answer = self.directory.touch_answer(*id);
            seen ^ client ^ record ^ answer ^ self.clients.results.touch(*id)
        })
    }
}
