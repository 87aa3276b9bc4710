//! Records in one boxed slice, linked into queues by index.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::mail::SlotRef;

const NIL: u32 = u32::MAX;

/// A first-in first-out queue of records of one [`Slab`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    head: u32,
    tail: u32,
}

impl Queue {
    pub(crate) const EMPTY: Queue = Queue { head: NIL, tail: NIL };

    pub(crate) fn head(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == NIL
    }
}

/// It begins with a cache line of its own, in which the record's first fields are as well.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Entry<T> {
    /// In its queue; of an unused record, the next unused one.
    next: u32,
    previous: u32,
    generation: u32,
    used: bool,
    value: T,
}

/// A fixed number of records. A record is in at most one queue at a time.
pub(crate) struct Slab<T> {
    entries: Box<[Entry<T>]>,
    free: u32,
    used: usize,
}

impl<T: Copy> Slab<T> {
    /// Room for `capacity` records; `blank` fills the unused ones.
    pub(crate) fn new(capacity: u32, blank: T) -> Slab<T> {
        let entry = |i: u32| Entry {
            value: blank,
            next: if i + 1 == capacity { NIL } else { i + 1 },
            previous: NIL,
            generation: 0,
            used: false,
        };
        let entries: Vec<_> = (0..capacity).map(entry).collect();
        Slab { entries: entries.into(), free: if capacity == 0 { NIL } else { 0 }, used: 0 }
    }

    /// Number of records in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Records that are not in use.
    pub(crate) fn free(&self) -> usize {
        self.entries.len() - self.used
    }

    /// Whether all records are in use.
    pub(crate) fn is_full(&self) -> bool {
        self.used == self.entries.len()
    }

    /// A new record, or `None` when all are in use.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        let (slot, place) = self.place()?;
        *place = value;
        Some(slot.index)
    }

    /// The place of a new record, to be filled in, or `None` when all are in use.
    fn place(&mut self) -> Option<(SlotRef, &mut T)> {
        let index = self.free;
        let entry = self.entries.get_mut(index as usize)?;
        self.free = entry.next;
        self.used += 1;
        (entry.next, entry.previous) = (NIL, NIL);
        entry.used = true;
        Some((SlotRef { index, generation: entry.generation }, &mut entry.value))
    }

    /// The place of a new record at the end of a queue, to be filled in, or `None` when all are in
    /// use.
    #[inline(always)]
    pub(crate) fn append(&mut self, queue: &mut Queue) -> Option<(SlotRef, &mut T)> {
        let index = self.free;
        if index as usize >= self.entries.len() {
            return None;
        }
        match self.entries.get_mut(queue.tail as usize) {
            Some(tail) => tail.next = index,
            None => queue.head = index,
        }
        let entry = self.entries.get_mut(index as usize)?;
        self.free = entry.next;
        self.used += 1;
        (entry.next, entry.previous) = (NIL, queue.tail);
        entry.used = true;
        queue.tail = index;
        Some((SlotRef { index, generation: entry.generation }, &mut entry.value))
    }

    /// Gives a record up. The most recently used one is taken again first: it is still in cache.
    pub(crate) fn remove(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        debug_assert!(entry.used, "a record is given up once");
        if !entry.used {
            return;
        }
        entry.used = false;
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.used -= 1;
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize).filter(|e| e.used).map(|e| &e.value)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize).filter(|e| e.used).map(|e| &mut e.value)
    }

    /// A name for the record that is not mistaken for a later record in its place.
    pub(crate) fn reference(&self, index: u32) -> SlotRef {
        let generation = self.entries.get(index as usize).map_or(0, |e| e.generation);
        SlotRef { index, generation }
    }

    /// The record that the name was made for, if it is still in use.
    pub(crate) fn resolve(&self, slot: SlotRef) -> Option<u32> {
        let entry = self.entries.get(slot.index as usize)?;
        (entry.used && entry.generation == slot.generation).then_some(slot.index)
    }

    /// The record that the name was made for, if it is still in use, and the one behind it in its
    /// queue.
    #[inline]
    pub(crate) fn named(&self, slot: SlotRef) -> Option<(&T, Option<u32>)> {
        let entry = self.entries.get(slot.index as usize)?;
        let next = (entry.next != NIL).then_some(entry.next);
        (entry.used && entry.generation == slot.generation).then_some((&entry.value, next))
    }

    /// The record behind this one in its queue.
    pub(crate) fn next(&self, index: u32) -> Option<u32> {
        self.entries.get(index as usize).map(|e| e.next).filter(|next| *next != NIL)
    }

    /// A record of a queue and those behind it.
    pub(crate) fn iter_from(&self, first: u32) -> impl Iterator<Item = &T> + Clone {
        let mut next = Some(first);
        core::iter::from_fn(move || {
            let index = next?;
            next = self.next(index);
            self.get(index)
        })
    }

    /// The first record of which `fits` says so, from `first` on in its queue.
    pub(crate) fn find_from(
        &self,
        first: Option<u32>,
        mut fits: impl FnMut(&T) -> bool,
    ) -> Option<u32> {
        let mut next = first;
        while let Some(index) = next {
            if fits(self.get(index)?) {
                return Some(index);
            }
            next = self.next(index);
        }
        None
    }

    /// The record before this one in its queue.
    pub(crate) fn previous(&self, index: u32) -> Option<u32> {
        self.entries.get(index as usize).map(|e| e.previous).filter(|previous| *previous != NIL)
    }

    pub(crate) fn push_back(&mut self, queue: &mut Queue, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        (entry.next, entry.previous) = (NIL, queue.tail);
        match self.entries.get_mut(queue.tail as usize) {
            Some(tail) => tail.next = index,
            None => queue.head = index,
        }
        queue.tail = index;
    }

    /// Takes a record out of its queue.
    pub(crate) fn unlink(&mut self, queue: &mut Queue, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let (next, previous) = (entry.next, entry.previous);
        (entry.next, entry.previous) = (NIL, NIL);
        match self.entries.get_mut(previous as usize) {
            Some(entry) => entry.next = next,
            None => queue.head = next,
        }
        match self.entries.get_mut(next as usize) {
            Some(entry) => entry.previous = previous,
            None => queue.tail = previous,
        }
    }

    /// Takes the first record out of its queue and gives it up.
    #[inline(always)]
    pub(crate) fn remove_front(&mut self, queue: &mut Queue) {
        let index = queue.head;
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let next = entry.next;
        entry.used = false;
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.used -= 1;
        queue.head = next;
        match self.entries.get_mut(next as usize) {
            Some(entry) => entry.previous = NIL,
            None => queue.tail = NIL,
        }
    }

    pub(crate) fn pop_front(&mut self, queue: &mut Queue) -> Option<u32> {
        let index = queue.head()?;
        self.unlink(queue, index);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_keep_order_and_records_are_reused() {
        let mut slab = Slab::new(3, 0u8);
        let mut queue = Queue::EMPTY;
        for round in 0..10u8 {
            for i in 0..3 {
                if round % 3 == 0 {
                    let index = slab.insert(round + i).unwrap();
                    slab.push_back(&mut queue, index);
                } else {
                    *slab.append(&mut queue).unwrap().1 = round + i;
                }
            }
            assert_eq!(slab.insert(0), None);
            assert!(slab.append(&mut queue).is_none());
            for i in 0..3 {
                let index = queue.head().unwrap();
                assert_eq!(slab.get(index), Some(&(round + i)));
                assert_eq!(slab.previous(index), None);
                match round % 2 {
                    0 => assert_eq!(slab.pop_front(&mut queue).map(|at| slab.remove(at)), Some(())),
                    _ => slab.remove_front(&mut queue),
                }
                assert_eq!(slab.get(index), None);
            }
            assert!(queue.is_empty() && slab.used() == 0);
        }
    }

    #[test]
    fn a_record_leaves_the_middle_of_a_queue() {
        for taken in 0..4 {
            let mut slab = Slab::new(5, 0u8);
            let mut queue = Queue::EMPTY;
            let mut add = |value: u8| {
                if value % 2 == 1 {
                    let (slot, place) = slab.append(&mut queue).unwrap();
                    *place = value;
                    return slot.index;
                }
                let index = slab.insert(value).unwrap();
                slab.push_back(&mut queue, index);
                index
            };
            let indices: Vec<_> = (0..4).map(&mut add).collect();
            slab.unlink(&mut queue, indices[taken]);
            let last = slab.insert(4).unwrap();
            slab.push_back(&mut queue, last);
            let before = |index: &u32| slab.previous(*index).map(|i| *slab.get(i).unwrap());
            let expected: Vec<_> = (0..4).filter(|value| usize::from(*value) != taken).collect();
            assert_eq!(before(&last), expected.last().copied());
            assert_eq!(before(&indices[usize::from(expected[0])]), None);
            let left: Vec<_> = core::iter::from_fn(|| slab.pop_front(&mut queue)).collect();
            let values: Vec<_> = left.iter().map(|index| *slab.get(*index).unwrap()).collect();
            let expected: Vec<_> = (0..5).filter(|value| usize::from(*value) != taken).collect();
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn an_old_name_does_not_resolve() {
        let mut slab = Slab::new(1, 0u8);
        let first = slab.insert(1).unwrap();
        let name = slab.reference(first);
        assert_eq!(slab.resolve(name), Some(first));
        slab.remove(first);
        assert_eq!(slab.resolve(name), None);
        slab.insert(2).unwrap();
        assert_eq!(slab.resolve(name), None);
    }
}
