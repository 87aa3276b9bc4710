//! Resources that serve in the order of arrival. Callers come in the order of time, so the time
//! at which a resource is free next says everything about its queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::event::Ps;

/// Serves one at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Server {
    free: Ps,
    /// Time that it has served, ps.
    pub(crate) busy: Ps,
}

impl Server {
    /// When `service` is over for who comes `now`.
    pub(crate) fn reserve(&mut self, now: Ps, service: Ps) -> Ps {
        self.free = self.free.max(now) + service;
        self.busy += service;
        self.free
    }

    /// When it is free.
    pub(crate) fn free(&self) -> Ps {
        self.free
    }

    /// It is free no sooner than this.
    pub(crate) fn hold_until(&mut self, time: Ps) {
        self.free = self.free.max(time);
    }
}

/// Serves a number of customers at a time.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    free: BinaryHeap<Reverse<Ps>>,
}

impl Slots {
    /// All of `count`, at least one, are free.
    pub(crate) fn new(count: usize) -> Self {
        Self { free: (0..count.max(1)).map(|_| Reverse(0)).collect() }
    }

    /// When `service` is over for who comes `now`, and takes the slot that is free first.
    pub(crate) fn reserve(&mut self, now: Ps, service: Ps) -> Ps {
        let Some(mut first) = self.free.peek_mut() else { return now + service };
        first.0 = first.0.max(now) + service;
        first.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Server, Slots};

    #[test]
    fn one_after_the_other() {
        let mut server = Server::default();
        assert_eq!(
            [server.reserve(10, 5), server.reserve(11, 5), server.reserve(40, 5)],
            [15, 20, 45]
        );
        assert_eq!(server.busy, 15);
    }

    #[test]
    fn two_at_a_time() {
        let mut slots = Slots::new(2);
        let ends = [0, 0, 0, 1].map(|now| slots.reserve(now, 10));
        assert_eq!(ends, [10, 10, 20, 20]);
    }
}
