//! A driver whose ports are rings in memory: finite, and what comes when one is full is lost and
//! counted, as a network card does. As with a card, what is kept is sent from where it lies.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use qpmux_engine::{BURST_MAX, Side};
use qpmux_live::driver::{
    Buffer, Burst, Driver, Held, PortCounters, ROOM_AFTER, ROOM_BEFORE, index,
};

/// A frame and its memory.
pub(crate) type Packet = Held<Shared>;

/// Longest frame.
pub(crate) const FRAME_LEN_MAX: usize = 1_518;

/// Memory of a frame, which the host may keep while what it sent of it is on its way.
pub(crate) struct Shared(Rc<[u8]>);

impl Buffer for Shared {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Nothing while there is another owner: no frame fits in there.
    fn bytes_mut(&mut self) -> &mut [u8] {
        Rc::get_mut(&mut self.0).unwrap_or_default()
    }
}

/// The order of a round, as that of the other drivers: answers give buffers back.
const ROUND: [Side; 2] = [Side::Server, Side::Client];

struct Wires {
    waiting: [VecDeque<Packet>; 2],
    missed: [u64; 2],
    counters: [PortCounters; 2],
    sent: Vec<(Side, Packet)>,
    spare: Vec<Shared>,
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
            wires.put_back(packet.buffer);
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

    /// Memory for a frame, that nobody else has.
    pub(crate) fn blank(&self) -> Shared {
        self.wires.borrow_mut().blank()
    }

    /// Takes one owner's memory back.
    pub(crate) fn put_back(&self, buffer: Shared) {
        self.wires.borrow_mut().put_back(buffer);
    }
}

impl Wires {
    fn blank(&mut self) -> Shared {
        let len = ROOM_BEFORE + FRAME_LEN_MAX + ROOM_AFTER;
        self.spare.pop().unwrap_or_else(|| Shared(vec![0; len].into()))
    }

    /// It is spare once its last owner has given it up.
    fn put_back(&mut self, buffer: Shared) {
        if Rc::strong_count(&buffer.0) == 1 {
            self.spare.push(buffer);
        }
    }

    fn send(&mut self, side: Side, packet: Packet) {
        self.counters[index(side)].sent += 1;
        self.sent.push((side, packet));
    }
}

impl Driver for Rings {
    type Buffer = Shared;

    fn receive(&mut self, burst: &mut Burst<Shared>) -> Option<Side> {
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

    fn send_kept(&mut self, side: Side, frame: &mut Packet) {
        let buffer = Shared(Rc::clone(&frame.buffer.0));
        self.send(side, frame.in_buffer(buffer));
    }

    fn send_bytes(&mut self, side: Side, frame: &[u8]) {
        let wires = &mut *self.wires.borrow_mut();
        let mut packet = Held::new(wires.blank(), ROOM_BEFORE, frame.len());
        packet.frame_mut().copy_from_slice(frame);
        wires.send(side, packet);
    }

    fn make_exclusive(&mut self, held: &mut Packet) -> bool {
        if Rc::strong_count(&held.buffer.0) > 1 {
            let mut copy = held.in_buffer(self.blank());
            copy.frame_mut().copy_from_slice(held.frame());
            self.put_back(std::mem::replace(held, copy).buffer);
        }
        true
    }

    fn release(&mut self, buffer: Shared) {
        self.put_back(buffer);
    }

    /// Everything is sent at once.
    fn flush(&mut self) {}

    fn counters(&mut self, side: Side) -> (PortCounters, u64) {
        let wires = self.wires.borrow();
        (wires.counters[index(side)], wires.missed[index(side)])
    }
}
