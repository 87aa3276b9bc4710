//! Which halves have something left to do.

use alloc::boxed::Box;
use alloc::vec;

/// A queue of indices in which each stands at most once, so that it never overflows.
pub(crate) struct WorkRing {
    ring: Box<[u32]>,
    queued: Box<[bool]>,
    head: usize,
    len: usize,
}

impl WorkRing {
    /// For indices below `indices`.
    pub(crate) fn new(indices: usize) -> WorkRing {
        WorkRing {
            ring: vec![0; indices].into(),
            queued: vec![false; indices].into(),
            head: 0,
            len: 0,
        }
    }

    /// Adds an index at the end, unless it is there already.
    pub(crate) fn push(&mut self, index: u32) {
        let Some(queued) = self.queued.get_mut(index as usize) else { return };
        if core::mem::replace(queued, true) {
            return;
        }
        let end = self.head + self.len;
        let at = if end < self.ring.len() { end } else { end - self.ring.len() };
        if let Some(cell) = self.ring.get_mut(at) {
            *cell = index;
            self.len += 1;
        }
    }

    /// The first index; it stays.
    pub(crate) fn first(&self) -> Option<u32> {
        if self.len == 0 { None } else { self.ring.get(self.head).copied() }
    }

    /// Takes the first index away.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let index = self.first()?;
        if let Some(queued) = self.queued.get_mut(index as usize) {
            *queued = false;
        }
        self.head = if self.head + 1 < self.ring.len() { self.head + 1 } else { 0 };
        self.len -= 1;
        Some(index)
    }

    /// The indices, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        let (wrapped, first) = self.ring.split_at(self.head.min(self.ring.len()));
        first.iter().chain(wrapped).copied().take(self.len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_stand_once_and_in_their_order() {
        let mut ring = WorkRing::new(4);
        for index in [2, 0, 2, 3] {
            ring.push(index);
        }
        assert!(ring.iter().eq([2, 0, 3]));
        assert_eq!([ring.pop(), ring.pop()], [Some(2), Some(0)]);
        for index in [1, 3, 2] {
            ring.push(index);
        }
        // It goes on at the beginning.
        assert!(ring.iter().eq([3, 1, 2]));
        assert_eq!([ring.first(), ring.pop(), ring.pop(), ring.pop()], [3, 3, 1, 2].map(Some));
        assert!(ring.is_empty() && ring.iter().next().is_none() && ring.pop().is_none());
    }
}
