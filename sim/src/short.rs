//! Queues that are nearly always empty.

use std::collections::VecDeque;

/// Takes the first. A queue that is empty then begins again at its first place: thousands of queues
/// of one or two entries each do not wander through all the memory that they have, and stay in the
/// processor's cache.
#[inline]
pub(crate) fn take_first<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() {
        queue.clear();
    }
    first
}
