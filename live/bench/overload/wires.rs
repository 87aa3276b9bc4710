//! Frames on their way between the ends and the host.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use qpmux_engine::Side;

use crate::rings::Packet;

/// A frame on its way.
pub(crate) struct Flight {
    at: u64,
    number: u64,
    /// To the host.
    pub(crate) inwards: bool,
    /// The host's side where it arrives, or was sent.
    pub(crate) side: Side,
    pub(crate) packet: Packet,
}

impl Flight {
    fn order(&self) -> (u64, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Flight) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Flight) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Flight) -> Ordering {
        self.order().cmp(&other.order())
    }
}

/// All frames on their way. Those that arrive at one time do so in the order in which they were
/// sent.
#[derive(Default)]
pub(crate) struct Wires {
    flights: BinaryHeap<Reverse<Flight>>,
    sent: u64,
}

impl Wires {
    /// Sends a frame that arrives then.
    pub(crate) fn put(&mut self, at: u64, inwards: bool, side: Side, packet: Packet) {
        self.sent += 1;
        let number = self.sent;
        self.flights.push(Reverse(Flight { at, number, inwards, side, packet }));
    }

    /// When the next one arrives.
    pub(crate) fn next(&self) -> Option<u64> {
        self.flights.peek().map(|Reverse(flight)| flight.at)
    }

    /// The next one that has arrived by then.
    pub(crate) fn take(&mut self, by: u64) -> Option<Flight> {
        self.next().filter(|at| *at <= by)?;
        self.flights.pop().map(|Reverse(flight)| flight)
    }
}
