//! The driver over ports of DPDK: nothing is copied, what is kept is sent from where it lies.

use arrayvec::ArrayVec;
use qpmux_engine::{BURST_MAX, Nanos, Side};
use tracing::warn;

use super::eal::Timestamps;
use super::port::Raw;
use super::{DpdkError, Eal, EthPort, Mbuf, Pool, PortPlan};
use crate::driver::{
    Arrived, Buffer, Burst, Driver, Held, PortCounters, ROOM_AFTER, ROOM_BEFORE, index,
};

/// Frames that wait for a port to take them. A port that takes nothing for longer loses what comes
/// last, so that what it has is in order.
const WAITING_MAX: usize = 4 * BURST_MAX;

/// The order of a round. Answers first: they give buffers back.
const ROUND: [Side; 2] = [Side::Server, Side::Client];

/// What frames tell of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketClock {
    /// Nanoseconds of one unit of the driver's receive times.
    pub unit_ns: u64,
}

/// One port, with what waits for it.
#[derive(Debug)]
struct Line<'eal> {
    port: EthPort<'eal>,
    waiting: ArrayVec<Held<Mbuf<'eal>>, WAITING_MAX>,
    counters: PortCounters,
}

/// Two ports of DPDK and the pool of their buffers.
pub struct Dpdk<'eal> {
    /// The clients', then the servers'.
    lines: [Line<'eal>; 2],
    pool: Pool<'eal>,
    timestamps: Timestamps,
    clock: Option<PacketClock>,
    frame_len_max: usize,
    asked: usize,
}

impl<'eal> Dpdk<'eal> {
    /// Opens both ports, with a pool that cannot run out: buffers for `frames` that the host has,
    /// for what both ports hold, for what waits to be sent, and for what the core keeps at hand.
    ///
    /// # Errors
    /// What DPDK refuses.
    pub fn open(
        eal: &'eal Eal,
        plans: &[PortPlan; 2],
        frames: u32,
        clock: Option<PacketClock>,
    ) -> Result<Dpdk<'eal>, DpdkError> {
        let frame_len_max = plans.iter().map(|plan| plan.frame_len_max).max().unwrap_or(0);
        let held = |plan: &PortPlan| {
            u32::from(plan.receive_descriptors) + u32::from(plan.send_descriptors)
        };
        let count = frames + plans.iter().map(held).sum::<u32>() + 4 * WAITING_MAX as u32;
        let pool = Pool::new(eal, "frames", count, frame_len_max, ROOM_AFTER, -1)?;
        let line = |plan| {
            let port = EthPort::open(eal, plan, &pool)?;
            Ok(Line { port, waiting: ArrayVec::new(), counters: PortCounters::default() })
        };
        let lines = [line(&plans[0])?, line(&plans[1])?];
        // Known only once the driver is there.
        let timestamps = match clock {
            Some(_) => eal.timestamps()?,
            None => Timestamps { offset: 0, flag: 0 },
        };
        Ok(Dpdk { lines, pool, timestamps, clock, frame_len_max, asked: 0 })
    }

    /// A frame in one buffer that is its own, with room around it; `None`, and counted, if that is
    /// not possible.
    fn settle(&mut self, side: Side, raw: Raw<'eal>) -> Option<Arrived<Mbuf<'eal>>> {
        let time = self.time(raw.timestamp);
        let counters = &mut self.lines[index(side)].counters;
        let Raw { held, whole, .. } = raw;
        if held.len > self.frame_len_max {
            counters.receive_too_long += 1;
            if counters.receive_too_long == 1 {
                warn!("{side:?} side: a frame is longer than limits.frame_len_max");
            }
            return None;
        }
        let end = held.start + held.len + ROOM_AFTER;
        if whole && held.start >= ROOM_BEFORE && end <= held.buffer.bytes().len() {
            counters.received += 1;
            return Some(Arrived { held, time });
        }
        let Some((buffer, start, len)) = self.pool.copy(&held.buffer) else {
            counters.pool_exhausted += 1;
            return None;
        };
        counters.received += 1;
        Some(Arrived { held: Held { buffer, start, len }, time })
    }

    fn time(&self, timestamp: u64) -> Option<Nanos> {
        self.clock.map(|clock| Nanos(timestamp.saturating_mul(clock.unit_ns)))
    }
}

impl<'eal> Line<'eal> {
    fn send(&mut self, held: Held<Mbuf<'eal>>) {
        if self.waiting.is_full() {
            self.flush();
        }
        if self.waiting.try_push(held).is_err() {
            self.counters.send_queue_full += 1;
        }
    }

    fn flush(&mut self) {
        if !self.waiting.is_empty() {
            self.counters.sent += self.port.send(&mut self.waiting) as u64;
        }
    }
}

impl<'eal> Driver for Dpdk<'eal> {
    type Buffer = Mbuf<'eal>;

    fn receive(&mut self, burst: &mut Burst<Mbuf<'eal>>) -> Option<Side> {
        let Some(&side) = ROUND.get(self.asked) else {
            self.asked = 0;
            return None;
        };
        self.asked += 1;
        let most = if self.clock.is_some() { 1 } else { BURST_MAX };
        let mut raw = ArrayVec::<_, BURST_MAX>::new();
        let timestamps = self.timestamps;
        self.lines[index(side)].port.receive(timestamps, most, |frame| raw.push(frame));
        for frame in raw {
            if let Some(arrived) = self.settle(side, frame) {
                burst.push(arrived);
            }
        }
        Some(side)
    }

    fn send(&mut self, side: Side, frame: Held<Mbuf<'eal>>) {
        self.lines[index(side)].send(frame);
    }

    fn send_kept(&mut self, side: Side, frame: &mut Held<Mbuf<'eal>>) {
        let buffer = frame.buffer.share();
        self.lines[index(side)].send(Held { buffer, start: frame.start, len: frame.len });
    }

    fn send_bytes(&mut self, side: Side, frame: &[u8]) {
        let Some((mut buffer, start)) = self.pool.alloc() else {
            self.lines[index(side)].counters.pool_exhausted += 1;
            return;
        };
        let Some(place) = buffer.bytes_mut().get_mut(start..start + frame.len()) else { return };
        place.copy_from_slice(frame);
        self.lines[index(side)].send(Held { buffer, start, len: frame.len() });
    }

    fn make_exclusive(&mut self, held: &mut Held<Mbuf<'eal>>) -> bool {
        if held.buffer.is_exclusive() {
            return true;
        }
        let Some((mut copy, _)) = self.pool.alloc() else { return false };
        let place = copy.bytes_mut().get_mut(held.start..held.start + held.len);
        let Some(place) = place else { return false };
        place.copy_from_slice(held.frame());
        held.buffer = copy;
        true
    }

    fn release(&mut self, _: Mbuf<'eal>) {}

    fn flush(&mut self) {
        self.lines.iter_mut().for_each(Line::flush);
    }

    fn counters(&mut self, side: Side) -> (PortCounters, u64) {
        let line = &self.lines[index(side)];
        (line.counters, line.port.missed())
    }
}
