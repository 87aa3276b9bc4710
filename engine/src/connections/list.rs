//! Doubly linked lists through indices: no allocation, and removal from the middle.

use alloc::boxed::Box;
use alloc::vec;

use super::table::NONE;

/// An element's neighbours.
#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
}

/// The links of all elements of one kind of list; an element is in at most one such list.
pub(super) struct Links(Box<[Link]>);

/// One list's ends.
#[derive(Clone, Copy)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    /// The first element, or [`NONE`].
    pub(super) const fn first(&self) -> u32 {
        self.first
    }
}

impl Links {
    /// Links for the elements `0..count`.
    pub(super) fn new(count: u32) -> Self {
        Self(vec![Link { previous: NONE, next: NONE }; count as usize].into_boxed_slice())
    }

    /// The element after `element`, or [`NONE`].
    #[inline]
    pub(super) fn next(&self, element: u32) -> u32 {
        self.0.get(element as usize).map_or(NONE, |link| link.next)
    }

    /// Appends `element`, which must be in no list of this kind.
    pub(super) fn push(&mut self, list: &mut List, element: u32) {
        let last = list.last;
        if let Some(link) = self.0.get_mut(element as usize) {
            *link = Link { previous: last, next: NONE };
        }
        match self.0.get_mut(last as usize) {
            Some(link) => link.next = element,
            None => list.first = element,
        }
        list.last = element;
    }

    /// Takes `element` out of the list that it is in.
    pub(super) fn remove(&mut self, list: &mut List, element: u32) {
        let Some(&Link { previous, next }) = self.0.get(element as usize) else {
            return;
        };
        match self.0.get_mut(previous as usize) {
            Some(link) => link.next = next,
            None => list.first = next,
        }
        match self.0.get_mut(next as usize) {
            Some(link) => link.previous = previous,
            None => list.last = previous,
        }
    }
}

/// The free indices of an array, handed out again last in, first out.
pub(super) struct Free {
    indices: Box<[u32]>,
    count: usize,
}

impl Free {
    /// All of `0..count` are free, and handed out in that order.
    pub(super) fn new(count: u32) -> Self {
        Self { indices: (0..count).rev().collect(), count: count as usize }
    }

    /// Takes a free index.
    pub(super) fn take(&mut self) -> Option<u32> {
        self.count = self.count.checked_sub(1)?;
        self.indices.get(self.count).copied()
    }

    /// Gives back an index that was taken.
    pub(super) fn give(&mut self, index: u32) {
        if let Some(place) = self.indices.get_mut(self.count) {
            *place = index;
            self.count += 1;
        }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.indices.len() - self.count
    }
}
