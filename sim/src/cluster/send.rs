//! From the doorbell to the wire.

use qpmux_engine::wire::Opcode;

use super::frames::FrameId;
use super::op::Part;
use super::{Cluster, Count, Event};
use crate::event::{NS, Ps};

impl<A: Copy, N: Copy> Cluster<A, N> {
    /// The adapter is told that there are so many more work requests.
    pub(super) fn on_doorbell(&mut self, pair: u32, count: u32) {
        let now = self.queue.now();
        let machine = self.pairs[pair as usize].machine;
        let there = self.machines[machine].fetch_wqes(now, u64::from(count));
        if there == now {
            self.on_wqes(pair, count);
        } else {
            self.queue.at(there, Event::Wqes(pair, Count::new(count)));
        }
    }

    /// The adapter has work requests of a queue pair.
    pub(super) fn on_wqes(&mut self, pair: u32, count: u32) {
        let now = self.queue.now();
        for _ in 0..count {
            let op = self.pairs[pair as usize].take_wqe();
            self.ops.mark(op, Part::Doorbell, now);
        }
        self.machines[self.pairs[pair as usize].machine].outstanding += count as usize;
        if self.pairs[pair as usize].requester.is_dead() {
            self.take_completions(pair);
        }
        self.wake_pair(pair);
    }

    /// A queue pair may have something to send.
    pub(super) fn wake_pair(&mut self, pair: u32) {
        let here = &mut self.pairs[pair as usize];
        if !here.is_sending {
            here.is_sending = true;
            self.queue.at(here.issue.free(), Event::Issue(pair));
        }
    }

    /// A queue pair's pipeline is free for its next request packet.
    pub(super) fn on_issue(&mut self, pair: u32) {
        let now = self.queue.now();
        let here = &mut self.pairs[pair as usize];
        let requester = &mut here.requester;
        let frame = self.frames.write(pair ^ 1, None, |out| requester.poll_transmit(now / NS, out));
        let Some(id) = frame else {
            here.is_sending = false;
            self.set_timer(pair);
            return;
        };
        let frame = self.frames.get_mut(id);
        let layout = frame.layout.as_ref();
        let payload = layout.map_or(0, |layout| u64::from(layout.payload_len));
        frame.op = layout.and_then(|layout| here.op_of(layout.psn));
        let machine = &mut self.machines[here.machine];
        let wqe = machine.wqe(now);
        let context = machine.context(now, pair);
        let starts = now.max(wqe).max(context);
        here.issue.hold_until(starts);
        let issued = here.issue.reserve(starts, machine.times.issue);
        if let Some(rate) = &mut here.rate {
            rate.admit(now, starts, machine.wire_bytes(self.frames.get(id).bytes().len()));
            here.issue.hold_until(rate.next());
        }
        // The pipeline goes on while the payload is fetched.
        let gathered = match payload > self.inline_bytes {
            true => machine.pcie.read(now, payload),
            false => now,
        };
        let ready = issued.max(gathered) + machine.times.tx;
        here.request_order = here.request_order.max(ready);
        let ready = here.request_order;
        self.queue.at(here.issue.free(), Event::Issue(pair));
        self.queue.at(ready, Event::Ready(id));
    }

    /// A frame is ready to be sent.
    pub(super) fn on_ready(&mut self, id: FrameId) {
        let now = self.queue.now();
        let frame = self.frames.get(id);
        let (to, op, len) = (frame.to, frame.op, frame.bytes().len());
        let is_answer = frame.is_answer();
        let here = &mut self.pairs[to as usize ^ 1];
        if here.last_ack == Some(id) {
            here.last_ack = None;
        }
        let (left, there) = self.machines[here.machine].send(now, len);
        if !is_answer {
            self.ops.mark(op, Part::QueuePair, now);
        }
        self.ops.mark(op, Part::Port, left);
        let is_between = self.middle.is_some() && here.passes_middlebox;
        // Half the way to a middlebox, the other half from there on.
        let (event, there) = match is_between {
            true => (Event::BoxEgress(id), left + (there - left) / 2),
            false => (Event::Egress(id), there),
        };
        self.ops.mark(op, Part::Wire, there);
        self.queue.at(there, event);
    }

    /// Hands over the answers that a queue pair has, which the last request was executed for.
    pub(super) fn answer(&mut self, pair: u32, op: Option<u32>, ready: Ps) {
        let now = self.queue.now();
        loop {
            let here = &mut self.pairs[pair as usize];
            let responder = &mut here.responder;
            let frame =
                self.frames.write(pair ^ 1, op, |out| responder.poll_transmit(now / NS, out));
            let Some(id) = frame else { break };
            let machine = &mut self.machines[here.machine];
            let Some(layout) = &self.frames.get(id).layout else { continue };
            let bytes = u64::from(layout.payload_len);
            let is_ack = layout.opcode == Opcode::Acknowledge;
            let mut out = ready;
            if bytes > 0 {
                let start = here.answers.reserve(now, machine.times.issue);
                let read = if machine.in_device { start } else { machine.pcie.read(now, bytes) };
                out = out.max(start).max(read);
                if let Some(rate) = &mut here.rate {
                    let len = self.frames.get(id).bytes().len();
                    out = rate.admit(now, out, machine.wire_bytes(len));
                }
                self.ops.mark(op, Part::Memory, read);
            }
            if is_ack && let Some(before) = here.last_ack.take() {
                // It has not left: one packet tells both.
                machine.coalesced += 1;
                self.replace(before, id);
                continue;
            }
            here.answer_order = here.answer_order.max(out);
            let out = here.answer_order + machine.times.tx;
            here.last_ack = is_ack.then_some(id);
            self.ops.mark(op, Part::Responder, out);
            self.queue.at(out, Event::Ready(id));
        }
        self.set_timer(pair);
    }

    /// A frame that waits to be sent gets the contents of a later one.
    fn replace(&mut self, waiting: FrameId, later: FrameId) {
        self.frames.swap(waiting, later);
        let pair = self.frames.get(waiting).to ^ 1;
        self.pairs[pair as usize].last_ack = Some(waiting);
        self.frames.give_back(later);
    }

    /// Wakes a queue pair when it has something to do by itself.
    pub(super) fn set_timer(&mut self, pair: u32) {
        let now = self.queue.now();
        let here = &mut self.pairs[pair as usize];
        let Some(due) = here.poll_timeout() else { return };
        let due = (due * NS).max(now + NS);
        if due < here.wake {
            here.wake = due;
            self.queue.at(due, Event::Timer(pair));
        }
    }

    /// A timer of a queue pair.
    pub(super) fn on_timer(&mut self, pair: u32) {
        let now = self.queue.now();
        let here = &mut self.pairs[pair as usize];
        if here.wake != now {
            return;
        }
        here.wake = Ps::MAX;
        here.requester.handle_timeout(now / NS);
        here.responder.handle_timeout(now / NS);
        self.take_completions(pair);
        self.answer(pair, None, now);
        self.wake_pair(pair);
    }
}
