//! What is to happen, in the order of its time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Events by their time in ns, and those of one time in the order they were caused.
pub(super) struct Clock<E> {
    queue: BinaryHeap<Scheduled<E>>,
    caused: u64,
    now: u64,
}

struct Scheduled<E> {
    time: u64,
    number: u64,
    event: E,
}

impl<E> Clock<E> {
    /// Nothing is to happen; it is 0 ns.
    pub(super) fn new() -> Self {
        Self { queue: BinaryHeap::new(), caused: 0, now: 0 }
    }

    /// Time of the last event, ns.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Events so far.
    pub(super) fn happened(&self) -> u64 {
        self.caused - self.queue.len() as u64
    }

    pub(super) fn after(&mut self, delay_ns: u64, event: E) {
        self.caused += 1;
        let time = self.now.saturating_add(delay_ns);
        self.queue.push(Scheduled { time, number: self.caused, event });
    }

    pub(super) fn pop(&mut self) -> Option<E> {
        let next = self.queue.pop()?;
        self.now = next.time;
        Some(next.event)
    }
}

impl<E> Scheduled<E> {
    fn order(&self) -> (u64, u64) {
        (self.time, self.number)
    }
}

impl<E> Ord for Scheduled<E> {
    /// The earliest is the greatest: so the heap gives it first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.order().cmp(&self.order())
    }
}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl<E> Eq for Scheduled<E> {}
