//! The driver over ports of DPDK: nothing is copied, what is kept is sent from where it lies.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use qpmux_engine::{BURST_MAX, Nanos, Side};
use tracing::warn;

use super::eal::Timestamps;
use super::queue::{Queue, Raw};
use super::stick::Stick;
use super::{Mbuf, Pool};
use crate::driver::{Buffer, Burst, Driver, Held, PortCounters, ROOM_AFTER, ROOM_BEFORE, index};

/// Frames that are taken at a time. What a turn touches of twice as many does not stay in a core's
/// nearest cache.
const TAKEN_MAX: usize = BURST_MAX / 2;

/// Frames that wait for a port to take them. A port that takes nothing for longer loses what comes
/// last, so that what it has is in order.
pub(super) const WAITING_MAX: usize = 4 * BURST_MAX;

/// The order of a round. Answers first: they give buffers back.
const ROUND: [Side; 2] = [Side::Server, Side::Client];

/// What frames tell of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketClock {
    /// Nanoseconds of one unit of the driver's receive times.
    pub unit_ns: u64,
}

impl PacketClock {
    fn nanos(self, time: u64) -> Nanos {
        Nanos(time.saturating_mul(self.unit_ns))
    }
}

/// A queue of one port, with what waits for it.
#[derive(Debug)]
struct Line<'p> {
    queue: Queue<'p>,
    waiting: ArrayVec<Held<Mbuf<'p>>, WAITING_MAX>,
    counters: PortCounters,
}

/// What makes frames of what queues bring.
struct Intake<'p> {
    pool: Pool<'p>,
    timestamps: Timestamps,
    clock: Option<PacketClock>,
    frame_len_max: usize,
}

/// A worker's queues of the ports, and the pool of all buffers.
pub struct Dpdk<'p> {
    /// The clients', then the servers'; or one.
    lines: ArrayVec<Line<'p>, 2>,
    /// Of a line that both sides share.
    stick: Option<Stick>,
    /// What came in there and is not handed over yet.
    mixed: VecDeque<(Side, Option<Nanos>, Held<Mbuf<'p>>)>,
    intake: Intake<'p>,
    asked: usize,
}

impl<'p> Dpdk<'p> {
    /// The driver of one worker, with a queue of each port: the clients' and the servers', or one
    /// that both sides share, with its `stick`.
    pub(super) fn new(
        queues: impl Iterator<Item = Queue<'p>>,
        stick: Option<Stick>,
        pool: Pool<'p>,
        clock: Option<(PacketClock, Timestamps)>,
        frame_len_max: usize,
    ) -> Dpdk<'p> {
        let line =
            |queue| Line { queue, waiting: ArrayVec::new(), counters: PortCounters::default() };
        let lines = queues.take(2).map(line).collect();
        let mixed = VecDeque::with_capacity(BURST_MAX);
        let none = Timestamps { offset: 0, flag: 0 };
        let timestamps = clock.map_or(none, |(_, timestamps)| timestamps);
        let clock = clock.map(|(clock, _)| clock);
        let intake = Intake { pool, timestamps, clock, frame_len_max };
        Dpdk { lines, stick, mixed, intake, asked: 0 }
    }

    fn line(&mut self, side: Side) -> &mut Line<'p> {
        let at = if self.stick.is_some() { 0 } else { index(side) };
        &mut self.lines[at]
    }

    /// Takes frames in at the port of `side`, and gives them to `put`.
    fn take(&mut self, side: Side, mut put: impl FnMut(Option<Nanos>, Held<Mbuf<'p>>)) {
        let at = if self.stick.is_some() { 0 } else { index(side) };
        let (intake, Line { queue, counters, .. }) = (&self.intake, &mut self.lines[at]);
        let most = if intake.clock.is_some() { 1 } else { TAKEN_MAX };
        queue.receive(intake.timestamps, most, |raw| {
            let time = raw.timestamp.zip(intake.clock).map(|(time, clock)| clock.nanos(time));
            if let Some(held) = intake.settle(side, raw, time.is_some(), counters) {
                put(time, held);
            }
        });
    }

    /// A round of a port that both sides share: everything in the order in which it came in, cut
    /// where the side changes.
    fn receive_mixed(&mut self, burst: &mut Burst<Mbuf<'p>>) -> Option<Side> {
        if self.asked == 0 {
            self.asked = 1;
            let mut all = ArrayVec::<_, BURST_MAX>::new();
            self.take(Side::Client, |time, held| all.push((time, held)));
            for (time, held) in all {
                let own = self.lines[0].queue.address();
                let side = self.stick.as_ref().and_then(|s| s.side(own, held.frame()));
                match side {
                    Some(side) => self.mixed.push_back((side, time, held)),
                    None => self.lines[0].counters.receive_not_ours += 1,
                }
            }
        }
        let Some(&(side, ..)) = self.mixed.front() else {
            self.asked = 0;
            return None;
        };
        while let Some((_, time, held)) = self.mixed.pop_front_if(|(next, ..)| *next == side) {
            burst.time = time;
            burst.frames.push(held);
        }
        Some(side)
    }

    /// Addresses a frame to the next station. Whether it can be sent.
    fn address(&mut self, frame: &mut Held<Mbuf<'p>>) -> bool {
        let Some(stick) = &self.stick else { return true };
        let own = self.lines[0].queue.address();
        let Some(hop) = stick.next_hop(own, frame.frame()) else {
            self.lines[0].counters.send_no_neighbour += 1;
            return false;
        };
        if frame.frame().starts_with(&hop) {
            return true;
        }
        if !self.make_exclusive(frame) {
            self.lines[0].counters.pool_exhausted += 1;
            return false;
        }
        if let Some(place) = frame.frame_mut().get_mut(..hop.len()) {
            place.copy_from_slice(&hop);
        }
        true
    }
}

impl<'p> Intake<'p> {
    /// A frame in one buffer that is its own, with room around it; `None`, and counted, if that is
    /// not possible.
    #[inline(always)]
    fn settle(
        &self,
        side: Side,
        raw: Raw<'p>,
        timed: bool,
        counters: &mut PortCounters,
    ) -> Option<Held<Mbuf<'p>>> {
        let Raw { held, whole, .. } = raw;
        let (start, len) = held.span();
        if self.clock.is_some() && !timed {
            counters.receive_errors += 1;
            if counters.receive_errors == 1 {
                warn!("{side:?} side: clock.source is packets, but this driver tells no time");
            }
            return None;
        }
        if len > self.frame_len_max {
            counters.receive_too_long += 1;
            if counters.receive_too_long == 1 {
                warn!("{side:?} side: a frame is longer than limits.frame_len_max");
            }
            return None;
        }
        counters.received += 1;
        let end = start + len + ROOM_AFTER;
        if whole && start >= ROOM_BEFORE && end <= held.buffer.bytes().len() {
            return Some(held);
        }
        let Some((buffer, start, len)) = self.pool.copy(&held.buffer) else {
            counters.pool_exhausted += 1;
            return None;
        };
        Some(Held::new(buffer, start, len))
    }
}

impl<'p> Line<'p> {
    fn send(&mut self, held: Held<Mbuf<'p>>) {
        if self.waiting.is_full() {
            self.flush();
        }
        if self.waiting.try_push(held).is_err() {
            self.counters.send_queue_full += 1;
        }
    }

    fn flush(&mut self) {
        if !self.waiting.is_empty() {
            self.counters.sent += self.queue.send(&mut self.waiting) as u64;
        }
    }
}

impl<'p> Driver for Dpdk<'p> {
    type Buffer = Mbuf<'p>;

    const TAKEN_MAX: usize = TAKEN_MAX;

    fn receive(&mut self, burst: &mut Burst<Mbuf<'p>>) -> Option<Side> {
        if self.stick.is_some() {
            return self.receive_mixed(burst);
        }
        let Some(&side) = ROUND.get(self.asked) else {
            self.asked = 0;
            return None;
        };
        self.asked += 1;
        self.take(side, |time, held| {
            burst.time = time;
            burst.frames.push(held);
        });
        Some(side)
    }

    fn send(&mut self, side: Side, mut frame: Held<Mbuf<'p>>) {
        if self.address(&mut frame) {
            self.line(side).send(frame);
        }
    }

    fn send_kept(&mut self, side: Side, frame: &mut Held<Mbuf<'p>>) {
        if self.address(frame) {
            let buffer = frame.buffer.share();
            self.line(side).send(frame.in_buffer(buffer));
        }
    }

    fn send_bytes(&mut self, side: Side, frame: &[u8]) {
        let Some((mut buffer, start)) = self.intake.pool.alloc() else {
            self.line(side).counters.pool_exhausted += 1;
            return;
        };
        let Some(place) = buffer.bytes_mut().get_mut(start..start + frame.len()) else { return };
        place.copy_from_slice(frame);
        self.send(side, Held::new(buffer, start, frame.len()));
    }

    fn make_exclusive(&mut self, held: &mut Held<Mbuf<'p>>) -> bool {
        if held.buffer.is_exclusive() {
            return true;
        }
        let Some((copy, _)) = self.intake.pool.alloc() else { return false };
        let mut copy = held.in_buffer(copy);
        if copy.frame_mut().len() != held.frame().len() {
            return false;
        }
        copy.frame_mut().copy_from_slice(held.frame());
        *held = copy;
        true
    }

    fn release(&mut self, _: Mbuf<'p>) {}

    fn flush(&mut self) {
        self.lines.iter_mut().for_each(Line::flush);
    }

    /// Of a port that both sides share, what it did stands with the clients' side.
    fn counters(&mut self, side: Side) -> (PortCounters, u64) {
        if self.stick.is_some() && side == Side::Server {
            return (PortCounters::default(), 0);
        }
        let line = self.line(side);
        (line.counters, line.queue.missed())
    }
}
