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

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}
