//! What a middlebox's cores do, one step after the other.
//!
//! A core takes a burst of frames from its ring. It works on each in turn, steers it under the lock
//! that all cores share, has the engine translate it, and changes the state of its server queue
//! pair under that one's lock. Then it keeps what it has made until the burst's end and sends it,
//! or hands it to the cores that send.

use super::frames::FrameId;
use super::{Cluster, Event};

/// What a core has done with the frame that it has before it.
#[derive(Clone, Copy, Debug)]
pub(super) enum CoreStep {
    /// All that needs no lock.
    Worked,
    /// It has been steered: the lock around that is free.
    Steered,
    /// Its server queue pair's state has been changed, and is free.
    Changed,
}

impl<A: Copy, N: Copy> Cluster<A, N> {
    /// A frame comes to the middlebox.
    pub(super) fn on_middle(&mut self, id: FrameId) {
        let frame = self.frames.get(id);
        let Some(middle) = &mut self.middle else { return };
        middle.station.counts.received += 1;
        middle.station.counts.received_bytes += frame.bytes().len() as u64;
        match middle.station.receive(frame.to as usize / 2, id) {
            Ok(Some(core)) => self.take_burst(core as u32),
            Ok(None) => {}
            Err(()) => self.lose(id),
        }
    }

    /// A core has done all that it took, and takes what has come since.
    fn take_burst(&mut self, core: u32) {
        let Some(middle) = &mut self.middle else { return };
        if middle.station.take_burst(core as usize) {
            self.take_frame(core);
        }
    }

    /// A core begins with its next frame, or sends what it has made of a burst.
    fn take_frame(&mut self, core: u32) {
        let Some(middle) = &mut self.middle else { return };
        let own = &mut middle.station.cores[core as usize];
        if let Some(&id) = own.burst.front() {
            let work = middle.station.work(self.frames.get(id).bytes().len());
            self.queue.after(work, Event::Core(core, CoreStep::Worked));
            return;
        }
        let mut out = std::mem::take(&mut own.out);
        out.drain(..).for_each(|frame| self.on_handed_over(frame));
        if let Some(middle) = &mut self.middle {
            middle.station.cores[core as usize].out = out;
        }
        self.take_burst(core);
    }

    /// A core has done a step.
    pub(super) fn on_core(&mut self, core: u32, step: CoreStep) {
        match step {
            CoreStep::Worked => self.lock_steering(core),
            CoreStep::Steered => {
                self.unlock_steering();
                self.change_state(core);
            }
            CoreStep::Changed => {
                self.unlock_state(core);
                self.end_frame(core);
            }
        }
    }

    /// A core has done all that needs no lock.
    fn lock_steering(&mut self, core: u32) {
        let Some(middle) = &mut self.middle else { return };
        let Some(&id) = middle.station.cores[core as usize].burst.front() else { return };
        if !middle.steers(self.frames.get(id)) {
            self.change_state(core);
        } else if middle.station.steering.acquire(core) {
            let time = middle.station.steering_work();
            self.queue.after(time, Event::Core(core, CoreStep::Steered));
        }
    }

    fn unlock_steering(&mut self) {
        let Some(middle) = &mut self.middle else { return };
        let station = &mut middle.station;
        if let Some((next, cost)) = station.steering.release(station.hand_off) {
            let time = cost + station.steering_work();
            self.queue.after(time, Event::Core(next, CoreStep::Steered));
        }
    }

    /// A core translates its frame, and wants the lock of the state that this changes. All cores'
    /// work on the engine's own state is in the order in which they come here.
    fn change_state(&mut self, core: u32) {
        let Some(middle) = &mut self.middle else { return };
        let Some(id) = middle.station.cores[core as usize].burst.pop_front() else { return };
        let connection = self.translate(id, core as usize);
        self.set_box_timer();
        let Some(middle) = &mut self.middle else { return };
        middle.station.cores[core as usize].connection = connection;
        if !middle.station.locks_states() {
            self.end_frame(core);
        } else if middle.station.states[connection].acquire(core) {
            let time = middle.station.state_work();
            self.queue.after(time, Event::Core(core, CoreStep::Changed));
        }
    }

    fn unlock_state(&mut self, core: u32) {
        let Some(middle) = &mut self.middle else { return };
        let station = &mut middle.station;
        let connection = station.cores[core as usize].connection;
        if let Some((next, cost)) = station.states[connection].release(station.hand_off) {
            let time = cost + station.state_work();
            self.queue.after(time, Event::Core(next, CoreStep::Changed));
        }
    }

    /// A core has done a frame.
    fn end_frame(&mut self, core: u32) {
        let Some(middle) = &mut self.middle else { return };
        let hand_over = middle.station.hand_over();
        let own = &mut middle.station.cores[core as usize];
        match hand_over {
            None => own.out.append(&mut own.made),
            Some(time) => {
                let made = own.made.drain(..);
                made.for_each(|frame| self.queue.after(time, Event::HandedOver(frame)));
            }
        }
        self.take_frame(core);
    }

    /// A frame that the middlebox has made is to be sent, as soon as all before it are.
    pub(super) fn on_handed_over(&mut self, id: FrameId) {
        let now = self.queue.now();
        let to = self.frames.get(id).to;
        if let Some(middle) = &mut self.middle {
            middle.station.order.done(to, id);
        }
        while let Some(middle) = &mut self.middle
            && let Some(id) = middle.station.order.next(to)
        {
            let bytes = self.frames.get(id).bytes().len();
            match middle.station.sent_by_core(now, to, bytes) {
                Some(sent) => self.queue.at(sent, Event::Leave(id)),
                None => self.leave(id),
            }
        }
    }
}
