//! What is to happen, in the order of its time.
//!
//! Time is in picoseconds: an adapter that sends 118 million messages per second takes 8.48 ns for
//! one, and what is rounded once per message adds up.

mod wheel;

use std::collections::VecDeque;

use wheel::Wheel;

/// Simulated time, ps from the start of a run; 2^64 ps are 213 days.
pub type Ps = u64;

/// Picoseconds in a nanosecond.
pub const NS: Ps = 1_000;

/// A time in ns, which is 0 or more, in ps.
#[must_use]
pub(crate) fn ps(ns: f64) -> Ps {
    (ns * NS as f64).round() as Ps
}

/// Events by their time, and those of one time in the order they were caused.
///
/// What is to happen now goes into a queue of its own: whatever else has this time was caused
/// before. The rest is in a wheel of short spans of time, each sorted when it begins
/// (`event/wheel.rs`). Alone it does a fifth more than a binary heap with up to a thousand pending
/// events, and a seventh less with a hundred thousand (`qpmux bench events`); in simulations, where
/// caches are full of other things, it gains more. Nothing is allocated once the queue has been as
/// long as it gets.
#[derive(Debug)]
pub struct Queue<E> {
    /// What happens now, with its number.
    soon: VecDeque<(u64, E)>,
    wheel: Wheel<E>,
    caused: u64,
    now: Ps,
    hash: u64,
}

impl<E: Copy> Default for Queue<E> {
    fn default() -> Self {
        let hash = 0xcbf2_9ce4_8422_2325;
        Self { soon: VecDeque::new(), wheel: Wheel::new(), caused: 0, now: 0, hash }
    }
}

impl<E: Copy> Queue<E> {
    /// Nothing is to happen; it is 0 ps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Time of the last event, ps.
    #[must_use]
    pub fn now(&self) -> Ps {
        self.now
    }

    /// Events that have happened.
    #[must_use]
    pub fn happened(&self) -> u64 {
        self.caused - self.len() as u64
    }

    /// Events that are to happen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.soon.len() + self.wheel.len()
    }

    /// Whether nothing is to happen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says which events happened when: equal for equal runs.
    #[must_use]
    pub fn run_hash(&self) -> u64 {
        self.hash
    }

    /// Something is to happen at `time`, ps; if that is over, now.
    pub fn at(&mut self, time: Ps, event: E) {
        self.caused += 1;
        if time <= self.now {
            self.soon.push_back((self.caused, event));
        } else {
            self.wheel.push(time, self.caused, event);
        }
    }

    /// Something is to happen in `delay`, ps.
    pub fn after(&mut self, delay: Ps, event: E) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// The next event; its time is now.
    pub fn pop(&mut self) -> Option<E> {
        // What was to happen now before it was now comes first.
        let (number, event) = if !self.soon.is_empty() && self.wheel.next_time() != Some(self.now) {
            self.soon.pop_front()?
        } else {
            let (time, number, event) = self.wheel.pop()?;
            self.now = time;
            (number, event)
        };
        // Number and time of each event: other events, or another order, and the hash is another.
        let word = self.now.rotate_left(20) ^ number;
        self.hash = (self.hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(17);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn events_come_by_time_and_then_by_cause(
            times in prop::collection::vec(0u64..50, 1..400),
        ) {
            let mut queue = Queue::new();
            let mut expected: Vec<_> =
                times.iter().copied().enumerate().map(|(n, t)| (t, n)).collect();
            for (number, time) in times.iter().enumerate() {
                queue.at(*time, number);
            }
            expected.sort_unstable();
            let mut come = Vec::new();
            while let Some(number) = queue.pop() {
                come.push((queue.now(), number));
            }
            prop_assert_eq!(come, expected);
        }

        #[test]
        fn what_is_caused_on_the_way_is_in_order_too(
            delays in prop::collection::vec(0u64..9, 1..200),
        ) {
            let mut queue = Queue::new();
            queue.after(0, 0);
            let mut caused = 0;
            let mut last = None;
            while let Some(number) = queue.pop() {
                let come = Some((queue.now(), number));
                prop_assert!(last < come);
                last = come;
                for delay in delays.iter().skip(2 * number).take(2) {
                    caused += 1;
                    queue.after(*delay, caused);
                }
            }
            prop_assert_eq!(queue.happened(), queue.caused);
        }
    }

    #[test]
    fn the_hash_tells_orders_apart() {
        let hash = |times: [u64; 2]| {
            let mut queue = Queue::new();
            times.into_iter().for_each(|time| queue.at(time, ()));
            while queue.pop().is_some() {}
            queue.run_hash()
        };
        assert_ne!(hash([1, 2]), hash([2, 1]));
        assert_eq!(hash([1, 2]), hash([1, 2]));
    }

    #[test]
    fn nothing_is_allocated_where_as_much_is_pending_as_before() {
        let mut queue = Queue::new();
        (0..1_000).for_each(|event| queue.at(event * 7 % 100, event));
        let go_on = |queue: &mut Queue<u64>| {
            for _ in 0..30_000 {
                let event = queue.pop().unwrap();
                queue.after(event % 13 * 1_000, event);
            }
            queue.wheel.capacity()
        };
        let capacity = go_on(&mut queue);
        assert_eq!(go_on(&mut queue), capacity);
    }
}
