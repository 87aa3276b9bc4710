//! Frames that the network brings to one worker and that are another's.

use std::mem::take;
use std::sync::Arc;

use qpmux_engine::{BURST_MAX, Nanos, Side};
use rtrb::{Consumer, Producer, RingBuffer};

use super::Shares;
use crate::driver::{Burst, Driver, Held, PortCounters, index};

/// Frames that may wait for a worker, from all others together. One that falls so far behind loses
/// what comes last, as it does at its own ports.
const WAITING_MAX: usize = 2_048;

/// Frames that may wait between two of `workers`, each way.
const fn waiting_max(workers: usize) -> usize {
    if workers < 2 { 0 } else { WAITING_MAX / (workers - 1) }
}

/// Buffers that rings between `workers` hold at most: each way as many as wait, and one that was
/// taken out.
#[must_use]
pub const fn held_max(workers: usize) -> usize {
    workers * workers.saturating_sub(1) * (waiting_max(workers) + 1)
}

/// A frame on its way.
struct Passed<B> {
    /// Where it came in.
    side: Side,
    /// When, if frames tell.
    time: Option<Nanos>,
    held: Held<B>,
}

/// What comes from another worker.
struct Ring<B> {
    frames: Consumer<Passed<B>>,
    /// Taken out, but of another side than what was before it.
    next: Option<Passed<B>>,
}

/// A worker's driver: its own ports, and what others hand over. With one worker it does nothing.
pub struct HandOver<D: Driver> {
    driver: D,
    shares: Arc<Shares>,
    /// To each other worker; `None` is this one's place.
    to: Vec<Option<Producer<Passed<D::Buffer>>>>,
    /// From each other worker.
    rings: Vec<Ring<D::Buffer>>,
    /// The ring that is asked next, once the ports of a round have been.
    asked: Option<usize>,
    /// Ports are captures: they can wait until others have room.
    patient: bool,
    handed: [u64; 2],
    lost: [u64; 2],
    /// Something came in that was another's.
    took: bool,
}

impl<D: Driver> HandOver<D> {
    /// The drivers of all workers, each with rings to all others. If `patient`, frames stay in the
    /// ports while a ring is full.
    #[must_use]
    pub fn join(drivers: Vec<D>, shares: Shares, patient: bool) -> Vec<HandOver<D>> {
        let shares = Arc::new(shares);
        let count = drivers.len();
        let mut joined: Vec<HandOver<D>> = Vec::with_capacity(count);
        for driver in drivers {
            let shares = Arc::clone(&shares);
            let (to, rings) = ((0..count).map(|_| None).collect(), Vec::with_capacity(count));
            let (handed, lost, took) = ([0; 2], [0; 2], false);
            let asked = None;
            joined.push(HandOver { driver, shares, to, rings, asked, patient, handed, lost, took });
        }
        for giver in 0..count {
            for taker in (0..count).filter(|taker| *taker != giver) {
                let (to, from) = RingBuffer::new(waiting_max(count));
                joined[giver].to[taker] = Some(to);
                joined[taker].rings.push(Ring { frames: from, next: None });
            }
        }
        joined
    }

    /// Hands over what is another's of a burst.
    fn sort(&mut self, side: Side, burst: &mut Burst<D::Buffer>) {
        let time = burst.time;
        for held in take(&mut burst.frames) {
            let owner = self.shares.owner(side, held.frame());
            let ring = owner.and_then(|owner| self.to.get_mut(owner)).and_then(Option::as_mut);
            let Some(ring) = ring else {
                burst.frames.push(held);
                continue;
            };
            self.took = true;
            burst.time = None;
            match ring.push(Passed { side, time, held }) {
                Ok(()) => self.handed[index(side)] += 1,
                Err(rtrb::PushError::Full(passed)) => {
                    self.lost[index(side)] += 1;
                    self.driver.release(passed.held.buffer);
                }
            }
        }
    }

    /// What waits in a ring: frames of one side, or one that tells its time.
    fn receive_handed(&mut self, at: usize, burst: &mut Burst<D::Buffer>) -> Option<Side> {
        let Ring { frames, next } = self.rings.get_mut(at)?;
        let mut side = None;
        while let Some(passed) = next.take().or_else(|| frames.pop().ok()) {
            let alone = passed.time.is_some() && side.is_some();
            if burst.frames.is_full() || alone || side.is_some_and(|side| side != passed.side) {
                *next = Some(passed);
                break;
            }
            side = Some(passed.side);
            burst.time = passed.time;
            burst.frames.push(passed.held);
        }
        side
    }

    /// Whether every other worker has room for a burst.
    fn has_room(&self) -> bool {
        self.to.iter().flatten().all(|ring| ring.slots() >= BURST_MAX)
    }
}

impl<D: Driver> Driver for HandOver<D> {
    type Buffer = D::Buffer;

    const TAKEN_MAX: usize = D::TAKEN_MAX;

    /// A round asks the ports first, then each ring once.
    fn receive(&mut self, burst: &mut Burst<D::Buffer>) -> Option<Side> {
        if self.rings.is_empty() {
            return self.driver.receive(burst);
        }
        if self.asked.is_none() {
            if (!self.patient || self.has_room())
                && let Some(side) = self.driver.receive(burst)
            {
                self.sort(side, burst);
                return Some(side);
            }
            self.asked = Some(0);
        }
        while let Some(at) = self.asked.filter(|at| *at < self.rings.len()) {
            self.asked = Some(at + 1);
            if let Some(side) = self.receive_handed(at, burst) {
                return Some(side);
            }
        }
        self.asked = None;
        None
    }

    fn took_more(&mut self) -> bool {
        take(&mut self.took) | self.driver.took_more()
    }

    fn send(&mut self, side: Side, frame: Held<D::Buffer>) {
        self.driver.send(side, frame);
    }

    fn send_kept(&mut self, side: Side, frame: &mut Held<D::Buffer>) {
        self.driver.send_kept(side, frame);
    }

    fn send_bytes(&mut self, side: Side, frame: &[u8]) {
        self.driver.send_bytes(side, frame);
    }

    fn make_exclusive(&mut self, frame: &mut Held<D::Buffer>) -> bool {
        self.driver.make_exclusive(frame)
    }

    fn release(&mut self, buffer: D::Buffer) {
        self.driver.release(buffer);
    }

    fn flush(&mut self) {
        self.driver.flush();
    }

    fn counters(&mut self, side: Side) -> (PortCounters, u64) {
        let (mut counters, missed) = self.driver.counters(side);
        counters.handed_over += self.handed[index(side)];
        counters.hand_over_full += self.lost[index(side)];
        (counters, missed)
    }
}
