//! When something is to be done next, by blocks of connections: with tens of thousands of them,
//! looking at all at once would keep packets waiting.

use alloc::boxed::Box;
use alloc::vec;
use core::ops::Range;

use crate::time::Nanos;

/// Connections of a block.
const BLOCK: usize = 64;
/// Blocks that are looked through in one call.
const BLOCKS_MAX: usize = 16;

/// Deadlines of connections. One that is given here is never late, but may be early: an answer
/// moves a deadline without looking at the others of its block.
pub(crate) struct Deadlines {
    /// No deadline of a block is before this.
    blocks: Box<[Nanos]>,
    /// Nor is that of any block, or of clients that are to send again what an engine before this
    /// one had.
    earliest: Nanos,
    resumed: Nanos,
    /// The block that is looked at first next time.
    first: usize,
}

impl Deadlines {
    /// For so many connections.
    pub(crate) fn new(connections_max: usize) -> Deadlines {
        let blocks = vec![Nanos::NEVER; connections_max.div_ceil(BLOCK)].into();
        Deadlines { blocks, earliest: Nanos::NEVER, resumed: Nanos::NEVER, first: 0 }
    }

    /// The next one of all.
    #[inline]
    pub(crate) fn earliest(&self) -> Nanos {
        self.earliest
    }

    /// A connection has one, perhaps before those that it had.
    #[inline]
    pub(crate) fn note(&mut self, connection: u32, at: Nanos) {
        if let Some(block) = self.blocks.get_mut(connection as usize / BLOCK) {
            *block = at.min(*block);
        }
        self.earliest = at.min(self.earliest);
    }

    /// A client has to send something again until then.
    pub(crate) fn note_resumed(&mut self, at: Nanos) {
        (self.resumed, self.earliest) = (at.min(self.resumed), at.min(self.earliest));
    }

    /// All are to be looked at.
    pub(crate) fn note_all(&mut self, at: Nanos) {
        self.blocks.fill(at);
        (self.resumed, self.earliest) = (at, at);
    }

    /// The blocks to look through now, at most so many that packets need not wait; none of them has
    /// a deadline any more until it is noted again.
    pub(crate) fn take_due(&mut self, now: Nanos) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.blocks.len();
        let mut due = [0; BLOCKS_MAX];
        let mut found = 0;
        for at in (self.first..count).chain(0..self.first) {
            let (Some(block), Some(place)) = (self.blocks.get_mut(at), due.get_mut(found)) else {
                self.first = at;
                break;
            };
            if *block <= now {
                (*block, *place) = (Nanos::NEVER, at);
                found += 1;
            }
        }
        due.into_iter().take(found).map(|at| at * BLOCK..(at + 1) * BLOCK)
    }

    /// Whether clients are to be looked at that have something to send again; if so, they have no
    /// deadline any more.
    pub(crate) fn take_resumed(&mut self, now: Nanos) -> bool {
        let is_due = self.resumed <= now;
        if is_due {
            self.resumed = Nanos::NEVER;
        }
        is_due
    }

    /// Finds out when there is something to do next.
    pub(crate) fn settle(&mut self) {
        let blocks = self.blocks.iter().copied();
        self.earliest = blocks.fold(self.resumed, Nanos::min);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn every_deadline_is_found_in_time_and_few_at_once() {
        let connections = 40 * BLOCK + 1;
        let mut deadlines = Deadlines::new(connections);
        let mut left: Vec<u64> = (0..connections as u64).map(|at| 1 + at * 7_919 % 1_000).collect();
        for (connection, at) in (0..).zip(&left) {
            deadlines.note(connection, Nanos(*at));
        }
        let mut now = 0;
        while left.iter().any(|at| *at != u64::MAX) {
            let next = deadlines.earliest().0;
            assert!(left.iter().all(|at| *at >= next), "never late");
            // Whoever calls is late now and then: more is due than is looked at in one call.
            now = next.max(now) + if now % 3 == 0 { 100 } else { 0 };
            let blocks: Vec<_> = deadlines.take_due(Nanos(now)).collect();
            assert!((1..=BLOCKS_MAX).contains(&blocks.len()));
            for connection in blocks.into_iter().flatten().filter(|at| *at < connections) {
                match left[connection] {
                    due if due <= now => left[connection] = u64::MAX,
                    later => deadlines.note(connection as u32, Nanos(later)),
                }
            }
            deadlines.settle();
        }
        assert_eq!(deadlines.earliest(), Nanos::NEVER);
    }
}
