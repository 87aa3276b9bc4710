//! The learner's outside: frames in, events out.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use core::net::IpAddr;

use super::config::Config;
use super::event::{Connection, ConnectionId, Counters, EndReason, Event, Evidence};
use super::flow::{Flow, Kind, Requests};
use super::handshakes::Handshakes;
use super::list::Free;
use super::store::Store;
use super::table::{NONE, Table};
use super::told::hash_of_comm_ids;
use crate::wire::{Layout, Psn, Qpn};

/// Idle connections are looked for among so many at a time, so that no frame pays for all.
const IDLE_SEARCH: usize = 16;

/// A connection's place.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// `None` where the place is free.
    pub(super) connection: Option<Connection>,
    generation: u32,
    /// The flows from the client and from the server.
    pub(super) flows: [u32; 2],
}

/// To which connection a frame belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The connection.
    pub connection: ConnectionId,
    /// Whether the client sent the frame.
    pub from_client: bool,
}

/// A flow that is not known to belong to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnpairedFlow {
    /// IP source address.
    pub source: IpAddr,
    /// IP destination address.
    pub destination: IpAddr,
    /// The queue pair that its packets are for.
    pub dest_qp: Qpn,
    /// UDP source port.
    pub source_port: u16,
    /// When its last frame was seen, in the caller's nanoseconds.
    pub last_seen_ns: u64,
}

/// Learns connections by watching frames; see the [module](super)'s description.
///
/// Deterministic: equal frames at equal times give equal events. Memory is allocated by
/// [`Learner::new`] only, and no input makes it panic. A frame of a connection that is known
/// costs one lookup; an answer of an unpaired flow is compared with the unpaired flows the other
/// way, at most [`Config::candidates_max`].
pub struct Learner {
    pub(super) config: Config,
    pub(super) store: Store,
    slots: Box<[Slot]>,
    slots_free: Free,
    pub(super) handshakes: Handshakes,
    /// Connections by the names that the connection manager gave them.
    pub(super) by_comm_ids: Table,
    /// Where the search for an idle connection goes on.
    cursor: usize,
    events: VecDeque<Event>,
    events_max: usize,
    pub(super) counters: Counters,
    /// Up to this time, flows were seen that could not be recorded.
    pub(super) blind_until_ns: u64,
}

impl Learner {
    /// A learner that knows nothing yet. This is the only place that allocates.
    pub fn new(config: Config) -> Self {
        let config = config.checked();
        let free = Slot { connection: None, generation: 0, flows: [NONE; 2] };
        // Room for the learning and the ending of every connection.
        let events_max = 2 * config.connections_max as usize + 1;
        Self {
            config,
            store: Store::new(config.flows_max, config.recent_requests),
            slots: vec![free; config.connections_max as usize].into_boxed_slice(),
            slots_free: Free::new(config.connections_max),
            handshakes: Handshakes::new(config.handshakes_max, config.handshake_timeout_ns),
            by_comm_ids: Table::new(config.connections_max),
            cursor: 0,
            events: VecDeque::with_capacity(events_max),
            events_max,
            counters: Counters::default(),
            blind_until_ns: 0,
        }
    }

    /// Watches a frame. It must have been checked: `layout` describes it, and its ICRC is right,
    /// as one corrupt PSN could end a connection. `now_ns` must not go back.
    ///
    /// Says which connection the frame belongs to, if that is known by now.
    pub fn observe(&mut self, now_ns: u64, layout: &Layout, frame: &[u8]) -> Option<Sighting> {
        self.counters.frames += 1;
        if self.handshakes.any_waits() {
            self.confirm_handshake(now_ns, layout);
        }
        let index = self.flow_of(now_ns, layout, frame)?;
        self.store.touch(index, now_ns);
        if self.flow(index).source_port == 0 {
            self.complete_flow(index, layout, frame);
        }
        if layout.opcode.is_response() {
            let kind = Kind::of_answer(layout.opcode, layout.aeth(frame));
            if let Some(kind) = kind {
                self.on_answer(now_ns, index, layout, kind);
            }
        } else {
            self.on_request(index, layout, Requests::span(layout, frame));
        }
        self.sighting(index)
    }

    /// Whether any connection waits for its first packet.
    #[inline]
    pub(crate) fn any_waits(&self) -> bool {
        self.handshakes.any_waits()
    }

    /// Whether this may be the first packet of a connection whose RTU has not been seen.
    #[inline]
    pub(crate) fn may_confirm(&self, layout: &Layout) -> bool {
        self.handshakes.any_waits()
            && self.handshakes.of_packet(layout, self.config.far_psns).is_some()
    }

    /// The connection of frames from `source` to that queue pair of `destination`.
    pub fn lookup(&self, source: IpAddr, destination: IpAddr, dest_qp: Qpn) -> Option<Sighting> {
        self.sighting(self.store.find(source, destination, dest_qp)?)
    }

    /// The PSN of the newest request that went this way, if any did.
    pub(crate) fn newest_request(
        &self,
        source: IpAddr,
        destination: IpAddr,
        dest_qp: Qpn,
    ) -> Option<Psn> {
        let index = self.store.find(source, destination, dest_qp)?;
        self.store.flows.get(index as usize)?.requests.newest()
    }

    /// What has been found out since, oldest first; `None` when there is no more. While nobody
    /// asks, no connection is learnt beyond the room for its events.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All connections known, by place.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(|slot| slot.connection.as_ref())
    }

    /// The connection of that name, while it lives.
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.slots.get(id.index as usize)?.connection.as_ref().filter(|known| known.id == id)
    }

    /// Keeps a connection from being given up when it is idle, or allows that again. It still
    /// ends when its queue pair numbers are used for another one.
    pub fn pin(&mut self, id: ConnectionId, pinned: bool) {
        let slot = self.slots.get_mut(id.index as usize);
        if let Some(connection) = slot.and_then(|slot| slot.connection.as_mut())
            && connection.id == id
        {
            connection.pinned = pinned;
        }
    }

    /// Flows that belong to no known connection, the longest idle one first.
    pub fn unpaired_flows(&self) -> impl Iterator<Item = UnpairedFlow> {
        self.store.unpaired().map(|flow| UnpairedFlow {
            source: flow.source,
            destination: flow.destination,
            dest_qp: flow.dest_qp,
            source_port: flow.source_port,
            last_seen_ns: flow.last_seen_ns,
        })
    }

    /// Counts of what happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn sighting(&self, index: u32) -> Option<Sighting> {
        let slot = self.slots.get(self.store.flows[index as usize].connection as usize)?;
        let connection = slot.connection.as_ref()?;
        Some(Sighting { connection: connection.id, from_client: slot.flows[0] == index })
    }

    pub(super) fn flow(&mut self, index: u32) -> &mut Flow {
        // Indices come from the store only.
        &mut self.store.flows[index as usize]
    }

    /// The place of the connection that a flow belongs to.
    pub(super) fn slot_of(&self, index: u32) -> Option<&Slot> {
        self.slot_at(self.store.flows[index as usize].connection)
    }

    /// The place of that index.
    pub(super) fn slot_at(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)
    }

    /// The connection at that place.
    pub(super) fn connection_at(&mut self, index: u32) -> Option<&mut Connection> {
        self.slots.get_mut(index as usize)?.connection.as_mut()
    }

    pub(super) fn count_learnt(&mut self, evidence: Evidence) {
        match evidence {
            Evidence::Psn => self.counters.learnt_by_psn += 1,
            Evidence::SourcePort => self.counters.learnt_by_source_port += 1,
            Evidence::Cm => self.counters.learnt_by_cm += 1,
            Evidence::Configured => self.counters.configured += 1,
        }
    }

    /// The frame's flow, new or known; `None` if it is new and there is no place.
    fn flow_of(&mut self, now_ns: u64, layout: &Layout, frame: &[u8]) -> Option<u32> {
        let (source, destination, qp) = (layout.source, layout.destination, layout.dest_qp);
        if let Some(index) = self.store.find(source, destination, qp) {
            return Some(index);
        }
        let index = self.new_flow(now_ns, source, destination, qp)?;
        let flow = self.flow(index);
        flow.source_port = layout.source_port;
        flow.source_mac = mac_of(frame);
        Some(index)
    }

    /// A new flow, of which no packet was seen; `None` if there is no place.
    pub(super) fn new_flow(
        &mut self,
        now_ns: u64,
        source: IpAddr,
        destination: IpAddr,
        dest_qp: Qpn,
    ) -> Option<u32> {
        self.make_room(now_ns);
        let Some(index) = self.store.add(source, destination, dest_qp) else {
            self.counters.flows_overflow += 1;
            self.blind_until_ns = now_ns.saturating_add(self.config.flow_idle_ns);
            return None;
        };
        // A place that was used before has another flow's.
        let flow = self.flow(index);
        (flow.source_port, flow.source_mac) = (0, [0; 6]);
        self.store.touch(index, now_ns);
        Some(index)
    }

    /// Gives up an idle flow or connection if there is no place for another flow.
    fn make_room(&mut self, now_ns: u64) {
        if !self.store.is_full() {
            return;
        }
        let idle_ns = self.config.flow_idle_ns;
        if let Some(oldest) = self.store.longest_idle()
            && now_ns.saturating_sub(self.store.flows[oldest as usize].last_seen_ns) >= idle_ns
        {
            self.store.remove(oldest);
            self.counters.flows_evicted += 1;
        } else {
            self.evict_connection(now_ns);
        }
    }

    /// Gives up a connection that has been idle for long, if one is found soon.
    fn evict_connection(&mut self, now_ns: u64) {
        for _ in 0..IDLE_SEARCH.min(self.slots.len()) {
            self.cursor = (self.cursor + 1) % self.slots.len();
            let Slot { connection: Some(connection), flows, .. } = self.slots[self.cursor] else {
                continue;
            };
            let last_seen = flows.map(|flow| self.store.flows[flow as usize].last_seen_ns);
            let idle_ns = now_ns.saturating_sub(last_seen[0].max(last_seen[1]));
            if !connection.pinned && idle_ns >= self.config.connection_idle_ns {
                self.counters.connections_evicted += 1;
                self.end(self.cursor as u32, EndReason::Idle);
                for flow in flows {
                    self.store.remove(flow);
                }
                return;
            }
        }
    }

    /// Makes a connection of two flows, if there is a place. `make` gets its name.
    pub(super) fn begin(
        &mut self,
        now_ns: u64,
        flows: [u32; 2],
        make: impl FnOnce(ConnectionId) -> Connection,
    ) -> bool {
        if self.slots_free.taken() == self.slots.len() {
            self.evict_connection(now_ns);
        }
        // Every connection must also find room for its end.
        let events_left = self.events_max - self.events.len();
        let place = match events_left > self.slots_free.taken() + 1 {
            true => self.slots_free.take(),
            false => None,
        };
        let Some(index) = place else {
            self.counters.connections_overflow += 1;
            return false;
        };
        for flow in flows {
            self.store.unlist(flow);
            self.flow(flow).connection = index;
        }
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let connection = make(ConnectionId { index, generation: slot.generation });
        (slot.connection, slot.flows) = (Some(connection), flows);
        if let Some(hash) = hash_of_comm_ids(&connection) {
            self.by_comm_ids.insert(hash, index);
        }
        self.events.push_back(Event::ConnectionLearnt(connection));
        true
    }

    /// Ends a connection. Its flows are unpaired afterwards and know nothing.
    pub(super) fn end(&mut self, index: u32, reason: EndReason) {
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return;
        };
        let Some(connection) = slot.connection.take() else {
            return;
        };
        for flow in slot.flows {
            self.store.flows[flow as usize].restart();
            self.store.list(flow);
        }
        if let Some(hash) = hash_of_comm_ids(&connection) {
            self.by_comm_ids.remove(hash, index);
        }
        self.slots_free.give(index);
        self.events.push_back(Event::ConnectionEnded { connection, reason });
    }
}

/// A frame's source MAC address.
pub(super) fn mac_of(frame: &[u8]) -> [u8; 6] {
    frame.get(6..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default()
}
