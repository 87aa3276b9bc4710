//! A first look at all frames of a burst, so that the caches' misses overlap: one after the other
//! they would cost more than all the rest.

use core::hint::black_box;

use super::{Found, NOBODY};
use crate::engine::{BURST_MAX, Engine};
use crate::frame::{Frame, Side};
use crate::ids::ClientId;
use crate::policy::Map;
use crate::wire::usual;

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
        found
    }
}
