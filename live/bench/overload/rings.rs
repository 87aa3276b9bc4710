//! A driver whose ports are rings in memory: finite, and what comes when one is full is lost and
//! counted, as a network card does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use qpmux_engine::{BURST_MAX, Side};
use qpmux_live::driver::{Burst, Driver, Held, PortCounters, ROOM_AFTER, ROOM_BEFORE, index};

/// A frame and its memory.
pub(crate) type Packet = Held<Box<[u8]>>;

/// Longest frame.
pub(crate) const FRAME_LEN_MAX: usize = 1_518;

/// The order of a round, as that of the other drivers: answers give buffers back.
const ROUND: [Side; 2] = [Side::Server, Side::Client];

struct Wires {
    waiting: [VecDeque<Packet>; 2],
    missed: [u64; 2],
    counters: [PortCounters; 2],
    sent: Vec<(Side, Packet)>,
    spare: Vec<Box<[u8]>>,
}

/// Both ports. Clones are the same ports: one is the host's, one the world's around it.
#[derive(Clone)]
pub(crate) struct Rings {
    wires: Rc<RefCell<Wires>>,
    /// Frames that wait at each port, at most.
    size: usize,
    asked: usize,
}

impl Rings {
    pub(crate) fn new(size: usize) -> Rings {
        let waiting = [(); 2].map(|()| VecDeque::with_capacity(size));
        let wires = Wires {
            waiting,
            missed: [0; 2],
            counters: [PortCounters::default(); 2],
            sent: Vec::new(),
            spare: Vec::new(),
        };
        Rings { wires: Rc::new(RefCell::new(wires)), size, asked: 0 }
    }

    /// A frame comes in.
    pub(crate) fn put(&self, side: Side, packet: Packet) {
        let wires = &mut *self.wires.borrow_mut();
        if wires.waiting[index(side)].len() < self.size {
            wires.waiting[index(side)].push_back(packet);
        } else {
            wires.missed[index(side)] += 1;
            wires.spare.push(packet.buffer);
        }
    }

    /// Whether no frame waits.
    pub(crate) fn are_empty(&self) -> bool {
        self.wires.borrow().waiting.iter().all(VecDeque::is_empty)
    }

    /// Moves what was sent to the end of `into`.
    pub(crate) fn take_sent(&self, into: &mut Vec<(Side, Packet)>) {
        into.append(&mut self.wires.borrow_mut().sent);
    }

    /// Memory for a frame.
    pub(crate) fn blank(&self) -> Box<[u8]> {
        self.wires.borrow_mut().blank()
    }

    /// Takes memory back.
    pub(crate) fn put_back(&self, buffer: Box<[u8]>) {
        self.wires.borrow_mut().spare.push(buffer);
    }
}

impl Wires {
    fn blank(&mut self) -> Box<[u8]> {
        let len = ROOM_BEFORE + FRAME_LEN_MAX + ROOM_AFTER;
        self.spare.pop().unwrap_or_else(|| vec![0; len].into())
    }

    fn send(&mut self, side: Side, packet: Packet) {
        self.counters[index(side)].sent += 1;
        self.sent.push((side, packet));
    }
}

impl Driver for Rings {
    type Buffer = Box<[u8]>;

    fn receive(&mut self, burst: &mut Burst<Box<[u8]>>) -> Option<Side> {
        let Some(&side) = ROUND.get(self.asked) else {
            self.asked = 0;
            return None;
        };
        self.asked += 1;
        let wires = &mut *self.wires.borrow_mut();
        let ring = &mut wires.waiting[index(side)];
        let taken = ring.len().min(BURST_MAX);
        burst.frames.extend(ring.drain(..taken));
        wires.counters[index(side)].received += taken as u64;
        Some(side)
    }

    fn send(&mut self, side: Side, frame: Packet) {
        self.wires.borrow_mut().send(side, frame);
    }

    /// A copy goes out. A card would read the same buffer: this costs the loop a little more.
    fn send_kept(&mut self, side: Side, frame: &mut Packet) {
        self.send_bytes(side, frame.frame());
    }

    fn send_bytes(&mut self, side: Side, frame: &[u8]) {
        let wires = &mut *self.wires.borrow_mut();
        let mut buffer = wires.blank();
        buffer[ROOM_BEFORE..ROOM_BEFORE + frame.len()].copy_from_slice(frame);
        wires.send(side, Held::new(buffer, ROOM_BEFORE, frame.len()));
    }

    fn make_exclusive(&mut self, _: &mut Packet) -> bool {
        true
    }

    fn release(&mut self, buffer: Box<[u8]>) {
        self.put_back(buffer);
    }

    /// Everything is sent at once.
    fn flush(&mut self) {}

    fn counters(&mut self, side: Side) -> (PortCounters, u64) {
        let wires = self.wires.borrow();
        (wires.counters[index(side)], wires.missed[index(side)])
    }
}
