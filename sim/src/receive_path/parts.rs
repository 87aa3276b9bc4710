//! Parts of the way: the cache that packets are written to, a socket's lock, and its queue.

use std::collections::VecDeque;

use super::params::HostParams;
use super::plan::Overload;
use crate::event::{Ps, ps};

/// Bytes of a line of a cache.
const LINE: u64 = 64;
/// Lines of a packet that drivers and protocols read.
const HEADER_LINES: u64 = 2;

/// A packet on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// Number of its request.
    pub(super) number: u64,
    /// When it came from the wire.
    pub(super) came: Ps,
    pub(super) flow: u64,
    /// How many packets had been written to memory before it.
    pub(super) written: u64,
    /// The core that put it into a socket.
    pub(super) by: usize,
}

/// The part of the last-level cache that an adapter writes to.
///
/// Buffers are used in turn, so the cache has those that were written last, as many as there is
/// room for. A packet that waits while more than that are written has to come from memory again.
#[derive(Debug)]
pub(super) struct Landing {
    /// Packets that there is room for.
    room: u64,
    /// Buffers of all rings.
    buffers: u64,
    written: u64,
    /// Lines of a packet.
    lines: u64,
    /// More for a line from memory.
    miss: Ps,
    /// More for a line of another node.
    remote: Ps,
    overlap: u64,
    pub(super) reads: u64,
    pub(super) misses: u64,
}

impl Landing {
    pub(super) fn new(host: &HostParams, packet_bytes: u32, rings: usize, is_remote: bool) -> Self {
        let lines = u64::from(packet_bytes).div_ceil(LINE);
        let share = host.llc_bytes * host.ddio_ways_count / host.llc_ways_count;
        Self {
            room: share as u64 / (lines * LINE),
            buffers: rings as u64 * host.ring_count as u64,
            written: 0,
            lines,
            miss: ps((host.dram_ns - host.llc_ns).max(0.0)),
            remote: if is_remote { ps(host.remote_ns) } else { 0 },
            overlap: host.overlap_count as u64,
            reads: 0,
            misses: 0,
        }
    }

    /// A packet is written; its number among those that were.
    pub(super) fn write(&mut self) -> u64 {
        self.written += 1;
        self.written
    }

    /// More time for the headers of a packet than if they were in the cache of its core's node. It
    /// is counted, if `counts`.
    pub(super) fn headers(&mut self, written: u64, counts: bool) -> Ps {
        let has_left = self.has_left(written);
        self.reads += u64::from(counts);
        self.misses += u64::from(counts && has_left);
        HEADER_LINES.min(self.lines) * self.line(has_left)
    }

    /// The same for what comes behind the headers, of which several lines are read at a time.
    pub(super) fn payload(&self, written: u64) -> Ps {
        let lines = self.lines.saturating_sub(HEADER_LINES);
        lines.div_ceil(self.overlap) * self.line(self.has_left(written))
    }

    /// Whether a packet is not in the cache any more.
    fn has_left(&self, written: u64) -> bool {
        (self.written - written).min(self.buffers) >= self.room
    }

    fn line(&self, is_miss: bool) -> Ps {
        self.remote + if is_miss { self.miss } else { 0 }
    }
}

/// A lock that cores spin on. They come in the order of time, so the times at which those before
/// give it back say everything about it.
#[derive(Debug, Default)]
pub(super) struct SpinLock {
    ends: VecDeque<Ps>,
}

impl SpinLock {
    /// When who comes `now` gives it back.
    pub(super) fn take(&mut self, now: Ps, host: &HostParams) -> Ps {
        while self.ends.front().is_some_and(|end| *end <= now) {
            self.ends.pop_front();
        }
        let waiting = self.ends.len() as f64;
        let handed = match self.ends.back() {
            Some(end) => end + ps(host.lock_handoff_ns + host.lock_waiter_ns * waiting),
            None => now,
        };
        let end = handed + ps(host.lock_ns);
        self.ends.push_back(end);
        end
    }
}

/// What became of a packet that was to be put into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It waits.
    In,
    /// It, or the one that waited longest, is dropped.
    Dropped,
}

/// Packets that wait for the application.
#[derive(Debug, Default)]
pub(super) struct Queue {
    packets: VecDeque<Packet>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How long its oldest packet has been on its way.
    pub(super) fn age(&self, now: Ps) -> Ps {
        self.packets.front().map_or(0, |packet| now.saturating_sub(packet.came))
    }

    pub(super) fn put(&mut self, packet: Packet, limit: usize, overload: Overload) -> Put {
        if self.packets.len() < limit {
            self.packets.push_back(packet);
            return Put::In;
        }
        if overload == Overload::Oldest {
            self.packets.pop_front();
            self.packets.push_back(packet);
        }
        Put::Dropped
    }

    pub(super) fn take(&mut self) -> Option<Packet> {
        self.packets.pop_front()
    }
}
