//! Events that are not due yet.
//!
//! Time is cut into spans of equal length. Of the present span, events are sorted; those of the
//! next few thousand spans are in lists, one for each span; all that is later is in a heap. When a
//! span is over, the next one that has events is sorted. Spans are as long as to have an event or
//! two each, and are cut anew when that is no longer so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Ps;

/// Logarithm of a span's length at first, in ps: 16 ns.
const SHIFT: u32 = 14;
/// Spans that have lists, at least and at most: powers of two and multiples of 64.
const SPANS: (usize, usize) = (256, 1 << 16);
/// Events after which is looked whether spans are as long as they should be.
const TRIAL: u32 = 1 << 13;
/// No list, or the end of one.
const NONE: u32 = u32::MAX;

/// An event, by its time and its number.
#[derive(Clone, Copy, Debug)]
struct Entry<E> {
    time: Ps,
    number: u64,
    event: E,
}

impl<E> Entry<E> {
    fn key(&self) -> (Ps, u64) {
        (self.time, self.number)
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

/// An event in a list.
#[derive(Clone, Copy, Debug)]
struct Node<E> {
    entry: Entry<E>,
    next: u32,
}

/// Events by time and number; time and number come with them.
#[derive(Debug)]
pub(super) struct Wheel<E> {
    /// Those of the present span, the next one last.
    present: Vec<Entry<E>>,
    /// Number of the present span, from the beginning of time.
    span: u64,
    /// Logarithm of a span's length.
    shift: u32,
    /// First event of each span that has a list, by its number modulo their number.
    lists: Vec<u32>,
    /// A bit for each list that has events.
    occupied: Vec<u64>,
    /// Events in lists, and what is left of those that have gone.
    nodes: Vec<Node<E>>,
    /// The first of what is left.
    free: u32,
    listed: usize,
    /// What comes after all spans that have lists.
    later: BinaryHeap<Reverse<Entry<E>>>,
    /// Events until spans are looked at, and when that began.
    trial: u32,
    trial_began: Ps,
}

impl<E: Copy> Wheel<E> {
    pub(super) fn new() -> Self {
        Self {
            present: Vec::new(),
            span: 0,
            shift: SHIFT,
            lists: vec![NONE; SPANS.0],
            occupied: vec![0; SPANS.0 / 64],
            nodes: Vec::new(),
            free: NONE,
            listed: 0,
            later: BinaryHeap::new(),
            trial: TRIAL,
            trial_began: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.present.len() + self.listed + self.later.len()
    }

    /// Events that it has room for without allocating, beside those of the present span.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.nodes.capacity() + self.later.capacity()
    }

    /// The time of the next event, if that is in the present span.
    pub(super) fn next_time(&self) -> Option<Ps> {
        self.present.last().map(|entry| entry.time)
    }

    /// Adds an event, whose time is later than that of the last one that was taken, and whose
    /// number is higher than all before.
    pub(super) fn push(&mut self, time: Ps, number: u64, event: E) {
        self.insert(Entry { time, number, event });
    }

    fn insert(&mut self, entry: Entry<E>) {
        let span = entry.time >> self.shift;
        if span <= self.span {
            let after = self.present.partition_point(|other| other.key() > entry.key());
            self.present.insert(after, entry);
        } else if span - self.span < self.lists.len() as u64 {
            self.list(span, entry);
        } else {
            self.later.push(Reverse(entry));
        }
    }

    fn list(&mut self, span: u64, entry: Entry<E>) {
        let place = span as usize & (self.lists.len() - 1);
        let node = Node { entry, next: self.lists[place] };
        let number = self.free;
        match self.nodes.get_mut(number as usize) {
            Some(free) => {
                self.free = free.next;
                *free = node;
                self.lists[place] = number;
            }
            None => {
                self.lists[place] = self.nodes.len() as u32;
                self.nodes.push(node);
            }
        }
        self.occupied[place / 64] |= 1 << (place % 64);
        self.listed += 1;
    }

    /// Takes the next event.
    pub(super) fn pop(&mut self) -> Option<(Ps, u64, E)> {
        if self.present.is_empty() {
            self.advance()?;
        }
        let Entry { time, number, event } = self.present.pop()?;
        self.trial -= 1;
        if self.trial == 0 {
            self.judge(time);
        }
        Some((time, number, event))
    }

    /// Goes on to the next span that has events; `None` if there is none.
    fn advance(&mut self) -> Option<()> {
        let listed = self.next_listed();
        let later = self.later.peek().map(|Reverse(entry)| entry.time >> self.shift);
        self.span = [listed, later].into_iter().flatten().min()?;
        if listed == Some(self.span) {
            self.take_list();
        }
        while let Some(Reverse(entry)) = self.later.peek()
            && entry.time >> self.shift == self.span
        {
            self.present.extend(self.later.pop().map(|Reverse(entry)| entry));
        }
        if self.present.len() > 1 {
            self.present.sort_unstable_by_key(|entry| Reverse(entry.key()));
        }
        Some(())
    }

    /// Makes the list of the present span empty.
    fn take_list(&mut self) {
        let place = self.span as usize & (self.lists.len() - 1);
        self.occupied[place / 64] &= !(1 << (place % 64));
        let mut number = std::mem::replace(&mut self.lists[place], NONE);
        while let Some(node) = self.nodes.get_mut(number as usize) {
            self.present.push(node.entry);
            self.listed -= 1;
            let next = std::mem::replace(&mut node.next, self.free);
            self.free = number;
            number = next;
        }
    }

    /// The next span whose list has events.
    fn next_listed(&self) -> Option<u64> {
        if self.listed == 0 {
            return None;
        }
        let mask = self.lists.len() - 1;
        let first = (self.span as usize + 1) & mask;
        // The first word is looked at twice: from the first place on, and up to it.
        let words = self.occupied.len();
        let mut bits = self.occupied[first / 64] & (!0 << (first % 64));
        let mut word = first / 64;
        for _ in 0..=words {
            if bits != 0 {
                let place = word * 64 + bits.trailing_zeros() as usize;
                return Some(self.span + 1 + ((place.wrapping_sub(first)) & mask) as u64);
            }
            word = (word + 1) % words;
            bits = self.occupied[word];
        }
        None
    }

    /// Cuts time anew if spans have become too long or too short.
    #[cold]
    fn judge(&mut self, now: Ps) {
        let gap = (now - self.trial_began) / Ps::from(TRIAL);
        self.trial = TRIAL;
        self.trial_began = now;
        let shift = (2 * gap).max(1).ilog2();
        let spans = (2 * self.len()).next_power_of_two().clamp(SPANS.0, SPANS.1);
        if shift.abs_diff(self.shift) > 1 || spans > self.lists.len() {
            self.cut(now, shift, spans.max(self.lists.len()));
        }
    }

    fn cut(&mut self, now: Ps, shift: u32, spans: usize) {
        let mut all = std::mem::take(&mut self.present);
        while self.listed > 0 {
            let Some(span) = self.next_listed() else { break };
            self.span = span;
            self.take_list();
            all.append(&mut self.present);
        }
        all.extend(self.later.drain().map(|Reverse(entry)| entry));
        self.shift = shift;
        self.span = now >> shift;
        self.lists.resize(spans, NONE);
        self.occupied.resize(spans / 64, 0);
        all.into_iter().for_each(|entry| self.insert(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::{TRIAL, Wheel};
    use crate::dice::Dice;

    /// Delays of all lengths, among them equal ones and such as no list is long enough for.
    fn delay(dice: &mut Dice, round: u64) -> u64 {
        let most = [1, 3, 40_000, 1 << 33][dice.below(4) as usize];
        1 + dice.below(most << (round % 9))
    }

    #[test]
    fn it_gives_what_a_sorted_map_would_give() {
        let mut dice = Dice::new(1, 0, 0);
        let mut wheel = Wheel::new();
        let mut map = std::collections::BTreeMap::new();
        let (mut now, mut number) = (0, 0);
        for round in 0..9 {
            for step in 0..3 * u64::from(TRIAL) {
                // It grows and shrinks; in the end it is empty.
                let more = if round == 8 { 0 } else { [2, 1, 0][(step / 4_096) as usize % 3] };
                for _ in 0..more {
                    number += 1;
                    let time = now + delay(&mut dice, round);
                    wheel.push(time, number, number);
                    map.insert((time, number), number);
                }
                let expected = map.pop_first().map(|((time, number), event)| (time, number, event));
                assert_eq!(wheel.pop(), expected);
                now = expected.map_or(now, |(time, ..)| time);
                assert_eq!(wheel.len(), map.len());
            }
        }
        assert!(number > 100_000 && wheel.len() == 0);
    }
}
