//! A first look at all frames of a burst, so that the caches' misses overlap, and what is computed
//! of one packet does not wait for what is done with another: one after the other they would cost
//! more than all the rest.

use core::hint::black_box;

use super::{NOBODY, Seen};
use crate::engine::{BURST_MAX, Engine};
use crate::frame::{Frame, Side};
use crate::ids::ClientId;
use crate::mux::server::ServerSlot;
use crate::mux::server_qp::ServerQp;
use crate::policy::Map;
use crate::wire::{Opcode, usual};

/// Connections whose state stays in a core's own cache, so that looking at it first costs more than
/// it gains.
const FEW: usize = 512;
/// Bytes of a cache line.
const LINE: usize = 64;

/// The packets of a burst by what they are. That changes from packet to packet, and cannot be
/// predicted.
struct Groups {
    packets: [[u8; BURST_MAX]; GROUPS],
    counts: [u8; GROUPS],
}

/// Opcodes of which something is looked up or verified here, and one group for all others: a power
/// of two, so that masked numbers are in range.
const GROUPS: usize = 8;

/// The group of each opcode by its byte.
static GROUP_OF: [u8; 32] = {
    let mut groups = [0; 32];
    groups[Opcode::WriteOnly as usize] = 1;
    groups[Opcode::ReadRequest as usize] = 2;
    groups[Opcode::CompareSwap as usize] = 3;
    groups[Opcode::FetchAdd as usize] = 4;
    groups[Opcode::Acknowledge as usize] = 5;
    groups[Opcode::AtomicAcknowledge as usize] = 6;
    groups
};

impl Groups {
    #[inline(always)]
    fn of(burst: &[Seen]) -> Groups {
        let mut groups = Groups { packets: [[0; BURST_MAX]; GROUPS], counts: [0; GROUPS] };
        for (at, seen) in (0..).zip(burst) {
            if seen.connection == NOBODY {
                continue;
            }
            let group = Groups::group(seen.shape.opcode);
            let count = &mut groups.counts[group];
            groups.packets[group][usize::from(*count) % BURST_MAX] = at;
            *count += 1;
        }
        groups
    }

    #[inline(always)]
    fn group(opcode: Opcode) -> usize {
        // Masked, both are in range.
        usize::from(GROUP_OF[opcode as usize & 31]) & (GROUPS - 1)
    }

    #[inline(always)]
    fn with(&self, opcode: Opcode) -> &[u8] {
        let group = Groups::group(opcode);
        self.packets[group].get(..self.counts[group].into()).unwrap_or_default()
    }
}

impl Engine {
    /// Reads what the packets of a burst will need, and finds out which may be usual, if any can.
    /// In loops of their own: the less there is in one, the more of what it waits for overlaps.
    #[inline]
    pub(crate) fn look(&mut self, side: Side, verifies: bool, frames: &[Frame<'_>]) {
        self.burst.changes = self.flow_changes();
        touch_frames(frames);
        let many = self.directory.len() > FEW;
        if many {
            black_box(self.touch_flows(side, frames));
        }
        self.find(side, frames);
        if many {
            black_box(self.touch_connections(side, frames.len()));
        }
        self.parse(side, frames);
        let groups = Groups::of(self.burst.packets.get(..frames.len()).unwrap_or_default());
        if side == Side::Client {
            self.touch_addresses(frames, &groups);
        }
        if many && side == Side::Client && self.choices.map != Map::All {
            black_box(self.touch_own(&groups));
        }
        match side {
            _ if !verifies => {}
            Side::Client => {
                self.verify(side, frames, &groups, Opcode::ReadRequest);
                self.verify(side, frames, &groups, Opcode::CompareSwap);
                self.verify(side, frames, &groups, Opcode::FetchAdd);
            }
            Side::Server => {
                self.verify(side, frames, &groups, Opcode::Acknowledge);
                self.verify(side, frames, &groups, Opcode::AtomicAcknowledge);
            }
        }
        if many && side == Side::Server {
            black_box(self.touch_requests(frames.len(), &groups));
        }
    }

    /// Finds the connections of frames that have the usual shape, if they are packets at all.
    #[inline(always)]
    fn find(&mut self, side: Side, frames: &[Frame<'_>]) {
        let table = match side {
            Side::Client => &self.requests,
            Side::Server => &self.responses,
        };
        for (frame, seen) in frames.iter().zip(&mut self.burst.packets) {
            let found = usual::ends(frame.bytes()).and_then(|(ends, qp)| table.find_v4(ends, qp));
            seen.connection = found.unwrap_or(NOBODY);
        }
    }

    /// Finds out which packets have the usual shape and the headers of their connections.
    #[inline(always)]
    fn parse(&mut self, side: Side, frames: &[Frame<'_>]) {
        for (frame, seen) in frames.iter().zip(&mut self.burst.packets) {
            if seen.connection == NOBODY {
                continue;
            }
            let id = ClientId(seen.connection);
            if self.directory.card(id).is_none() {
                self.directory.make_card(id);
            }
            let card = self.directory.card(id);
            if !card.is_some_and(|card| seen.shape.read(frame.bytes(), card.facts(side))) {
                seen.connection = NOBODY;
            }
        }
    }

    /// Reads where the addresses of requests are remembered.
    #[inline(always)]
    fn touch_addresses(&self, frames: &[Frame<'_>], groups: &Groups) {
        let (mut sets, mut count) = ([0; BURST_MAX], 0);
        let mut add = |opcode| {
            for &at in groups.with(opcode) {
                let at = usize::from(at);
                let (Some(frame), Some(seen)) = (frames.get(at), self.burst.packets.get(at)) else {
                    continue;
                };
                let card = self.directory.card(ClientId(seen.connection));
                let address = usual::address(frame.bytes());
                if let (Some(card), Some(address)) = (card, address) {
                    sets[count % BURST_MAX] = self.addresses.set_of(card.domain, address);
                    count += 1;
                }
            }
        };
        add(Opcode::WriteOnly);
        add(Opcode::CompareSwap);
        add(Opcode::FetchAdd);
        // The key of a READ is only asked for where READs are mapped.
        if self.choices.map == Map::All {
            add(Opcode::ReadRequest);
        }
        black_box(self.addresses.touch(sets.get(..count).unwrap_or_default()));
    }

    /// Whoever has a wrong ICRC among the packets with this opcode, which have no payload, is not
    /// usual. For each opcode apart, and with a constant: what depends on it is predicted then, and
    /// one packet's ICRC is computed beside the next one's.
    #[inline(always)]
    fn verify(&mut self, side: Side, frames: &[Frame<'_>], groups: &Groups, opcode: Opcode) {
        for &at in groups.with(opcode) {
            let at = usize::from(at);
            let (Some(frame), Some(seen)) = (frames.get(at), self.burst.packets.get_mut(at)) else {
                continue;
            };
            let card = self.directory.card(ClientId(seen.connection));
            if !card.is_some_and(|card| card.facts(side).verify(frame.bytes(), opcode)) {
                seen.connection = NOBODY;
            }
        }
    }

    /// Reads where connections will be looked for.
    fn touch_flows(&self, side: Side, frames: &[Frame<'_>]) -> u32 {
        let table = match side {
            Side::Client => &self.requests,
            Side::Server => &self.responses,
        };
        let ends = frames.iter().filter_map(|frame| usual::ends(frame.bytes()));
        ends.fold(0, |seen, (ends, dest_qp)| seen ^ table.touch_v4(ends, dest_qp))
    }

    /// Reads what is known of connections: for requests also what makes them certain to be
    /// accepted, for answers whose credits they tell, and what is open.
    fn touch_connections(&self, side: Side, count: usize) -> u64 {
        let packets = self.burst.packets.get(..count).unwrap_or_default();
        packets.iter().filter_map(Seen::connection).fold(0, |seen, id| {
            let client = self.clients.get(id).map_or(0, |client| match side {
                Side::Client => u64::from(client.open) ^ client.last_key.unwrap_or(0),
                Side::Server => client.credits.into(),
            });
            let card = self.directory.card(id).map_or(0, |card| match side {
                Side::Client => card.touch(),
                Side::Server => 1,
            });
            let server = match side {
                Side::Client => 0,
                Side::Server => self.servers.get(id.own_server_qp()).map_or(0, ServerQp::touch),
            };
            seen ^ client ^ card ^ server
        })
    }

    /// Reads what READs change that are not mapped: they go to their clients' own server queue
    /// pairs.
    fn touch_own(&self, groups: &Groups) -> u64 {
        groups.with(Opcode::ReadRequest).iter().fold(0, |seen, at| {
            let packet = self.burst.packets.get(usize::from(*at));
            let Some(id) = packet.and_then(Seen::connection) else { return seen };
            let own = id.own_server_qp();
            let server = self.servers.get(own).map_or(0, ServerQp::touch);
            seen ^ server ^ self.servers.past_reads.touch(own)
        })
    }

    /// Reads what answers change: the oldest requests at their server queue pairs, then what these
    /// belong to, and at last how their clients are answered.
    fn touch_requests(&self, count: usize, groups: &Groups) -> u64 {
        let packets = self.burst.packets.get(..count).unwrap_or_default();
        let (mut requests, mut seen) = ([None::<&ServerSlot>; BURST_MAX], 0);
        for (id, request) in packets.iter().map(Seen::connection).zip(&mut requests) {
            let server = id.and_then(|id| self.servers.get(id.own_server_qp()));
            let oldest = server.and_then(|server| server.open.head());
            let Some(record) = oldest.and_then(|slot| self.servers.slots.get(slot)) else {
                continue;
            };
            *request = Some(record);
        }
        for record in requests.iter().flatten() {
            let (id, slot) = (record.request.client, record.request.slot.index);
            let client = self.clients.get(id).map_or(0, |client| client.open);
            seen ^= u64::from(client ^ self.clients.slots.get(slot).map_or(0, |slot| slot.parts));
            seen ^= u64::from(self.directory.card(id).is_some());
        }
        let asked = |at: &u8| requests.get(usize::from(*at)).copied().flatten();
        for record in groups.with(Opcode::AtomicAcknowledge).iter().filter_map(asked) {
            seen ^= record.request.operands.compare;
            seen ^= self.clients.results.touch(record.request.client);
        }
        seen
    }
}

/// Reads the first two lines of each frame, in which are the headers and the key, and the last one
/// with the ICRC, where that is by the frame's length.
#[inline]
fn touch_frames(frames: &[Frame<'_>]) {
    let mut seen = 0;
    for frame in frames {
        let bytes = frame.bytes();
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        seen ^= byte(0) ^ byte(LINE) ^ byte(bytes.len().wrapping_sub(1));
    }
    black_box(seen);
}
