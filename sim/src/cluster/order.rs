//! The order in which a middlebox's frames leave.
//!
//! Cores translate frames one after the other, but end with what they have made in another order:
//! they wait for locks and send in bursts. To one queue pair, frames leave in the order in which
//! the engine has made them: what is done too early waits, as in the published prototype.

use std::collections::VecDeque;

use super::frames::FrameId;

/// Frames that have been made and have not left, by the queue pair that they are for.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Each frame, and whether it is done.
    waiting: Vec<VecDeque<(FrameId, bool)>>,
}

impl Order {
    pub(super) fn new(pairs: usize) -> Self {
        Self { waiting: vec![VecDeque::new(); pairs] }
    }

    /// A frame for this queue pair has been made.
    pub(super) fn made(&mut self, to: u32, id: FrameId) {
        self.waiting[to as usize].push_back((id, false));
    }

    /// It is done: it leaves when all before it have.
    pub(super) fn done(&mut self, to: u32, id: FrameId) {
        if let Some((_, done)) = self.waiting[to as usize].iter_mut().find(|(of, _)| *of == id) {
            *done = true;
        }
    }

    /// The next frame for this queue pair, if it is done.
    pub(super) fn next(&mut self, to: u32) -> Option<FrameId> {
        self.waiting[to as usize].pop_front_if(|(_, done)| *done).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::Order;
    use crate::cluster::frames::Frames;

    #[test]
    fn what_is_done_early_waits_for_what_was_made_before_it() {
        let mut frames = Frames::default();
        let mut order = Order::new(2);
        let ids = [1, 1, 0, 1].map(|to| {
            let id = frames.write(to, None, |_| Some(64)).unwrap();
            order.made(to, id);
            id
        });
        order.done(1, ids[1]);
        order.done(0, ids[2]);
        assert_eq!((order.next(1), order.next(0)), (None, Some(ids[2])));
        order.done(1, ids[0]);
        assert_eq!(
            [order.next(1), order.next(1), order.next(1)],
            [Some(ids[0]), Some(ids[1]), None]
        );
    }
}
