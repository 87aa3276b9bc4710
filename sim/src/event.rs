//! What is to happen, in the order of its time.
//!
//! Time is in picoseconds: an adapter that sends 118 million messages per second takes 8.48 ns for
//! one, and what is rounded once per message adds up.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Simulated time, ps from the start of a run; 2^64 ps are 213 days.
pub type Ps = u64;

/// Picoseconds in a nanosecond.
pub const NS: Ps = 1_000;

/// A time in ns, which is 0 or more, in ps.
#[must_use]
pub(crate) fn ps(ns: f64) -> Ps {
    whole(ns * NS as f64)
}

/// A number that is 0 or more, to the nearest whole one; halves go up. As `round`, but in place:
/// that is a call of another library, where the processor has no instruction for it.
#[inline]
#[must_use]
pub(crate) fn whole(number: f64) -> u64 {
    let below = number as u64;
    below.saturating_add(u64::from(number - below as f64 >= 0.5))
}

/// Events by their time, and those of one time in the order they were caused.
///
/// The standard heap: of those tried on delays as adapters have them, it is the fastest up to ten
/// thousand pending events (heaps of two, four and eight children, sinking from the top or from the
/// bottom, are 5 to 30 % slower). What has happened keeps its place until it is known what comes
/// next: nearly every event causes one, which takes that place, and the heap is put in order once
/// instead of twice. What is to happen at once needs no order: all that the heap has of that time
/// was caused before it. Nothing is allocated once the queue has been as long as it gets.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    /// The first of the heap has happened.
    first_is_past: bool,
    /// What is to happen now, in order, with the number of each.
    at_once: VecDeque<(u64, E)>,
    caused: u64,
    now: Ps,
    hash: u64,
}

/// An event. Time and number are not one number of 128 bits, as that would be aligned to 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry<E> {
    time: Ps,
    number: u64,
    event: E,
}

impl<E> Entry<E> {
    #[inline]
    fn key(&self) -> u128 {
        u128::from(self.time) << 64 | u128::from(self.number)
    }
}

impl<E> Ord for Entry<E> {
    /// The earliest is the greatest: so the heap gives it first.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<E> PartialOrd for Entry<E> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    #[inline]
    fn lt(&self, other: &Self) -> bool {
        self.key() > other.key()
    }

    #[inline]
    fn le(&self, other: &Self) -> bool {
        self.key() >= other.key()
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            first_is_past: false,
            at_once: VecDeque::new(),
            caused: 0,
            now: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        }
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
        self.heap.len() - usize::from(self.first_is_past) + self.at_once.len()
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
    #[inline]
    pub fn at(&mut self, time: Ps, event: E) {
        self.caused += 1;
        if time <= self.now {
            self.at_once.push_back((self.caused, event));
            return;
        }
        let entry = Entry { time, number: self.caused, event };
        if std::mem::take(&mut self.first_is_past)
            && let Some(mut past) = self.heap.peek_mut()
        {
            *past = entry;
            return;
        }
        self.heap.push(entry);
    }

    /// Something is to happen in `delay`, ps.
    #[inline]
    pub fn after(&mut self, delay: Ps, event: E) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// The next event; its time is now.
    #[inline]
    pub fn pop(&mut self) -> Option<E> {
        if !self.at_once.is_empty()
            && !self.heap_has_now()
            && let Some((number, event)) = self.at_once.pop_front()
        {
            self.note(number);
            return Some(event);
        }
        if self.first_is_past {
            self.heap.pop();
        }
        let next = self.heap.peek().copied();
        self.first_is_past = next.is_some();
        let Entry { time, number, event } = next?;
        self.now = time;
        self.note(number);
        Some(event)
    }

    /// Whether something of the heap is to happen now: what is below the first, if that is past. In
    /// the standard library's heap, which has two children a node, these are the second and third.
    #[inline]
    fn heap_has_now(&self) -> bool {
        let all = self.heap.as_slice();
        let next = match self.first_is_past {
            true => all.get(1..all.len().min(3)),
            false => all.get(..1),
        };
        next.is_some_and(|next| next.iter().any(|entry| entry.time == self.now))
    }

    /// Number and time of each event: other events, or another order, and the hash is another.
    #[inline]
    fn note(&mut self, number: u64) {
        let word = self.now.rotate_left(20) ^ number;
        self.hash = (self.hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(17);
    }
}

#[cfg(test)]
mod tests {
    use super::{Queue, whole};
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
    fn whole_is_what_round_is() {
        let below_half = 0.5_f64.next_down();
        let far = [2.0_f64.powi(52) + 1.0, 2.0_f64.powi(63), 1e300, f64::INFINITY, f64::NAN, -0.7];
        for number in
            [0.0, below_half, 0.5, 1.5, 2.5, 2.5_f64.next_down(), 1e9 + 0.49].into_iter().chain(far)
        {
            assert_eq!(whole(number), number.round() as u64, "{number}");
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
        let capacity = queue.heap.capacity();
        for _ in 0..10_000 {
            let event = queue.pop().unwrap();
            queue.after(event % 13, event);
        }
        assert_eq!(queue.heap.capacity(), capacity);
    }
}
