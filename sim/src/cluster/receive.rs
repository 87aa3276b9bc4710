//! From the wire to memory, and back to the thread that had asked.

use qpmux_engine::wire::{Layout, Opcode};

use super::frames::FrameId;
use super::op::Part;
use super::{Cluster, Event, Happened};
use crate::event::{NS, Ps};
use crate::memory::EffectLog;
use crate::nic::WordKind;

impl<A: Copy, N: Copy> Cluster<A, N> {
    /// A frame arrives at an adapter.
    pub(super) fn on_arrive(&mut self, id: FrameId) {
        let pair = self.frames.get(id).to;
        let machine = &mut self.machines[self.pairs[pair as usize].machine];
        let taken = machine.rx.reserve(self.queue.now(), machine.times.inbound);
        self.queue.at(taken, Event::Taken(id));
    }

    /// It is its turn there.
    pub(super) fn on_taken(&mut self, id: FrameId) {
        let now = self.queue.now();
        let frame = self.frames.get(id);
        let pair = frame.to;
        let machine = &mut self.machines[self.pairs[pair as usize].machine];
        let Some(layout) = frame.layout else {
            self.take_notice(id);
            return;
        };
        let mut known = machine.context(now, pair);
        if let Some((rkey, address)) = target(&layout, frame.bytes()) {
            known = known.max(machine.translate(now, rkey, address));
        }
        // Packets of one queue pair stay in order, whatever each had to wait for.
        let order = &mut self.pairs[pair as usize].arrival_order;
        *order = (*order).max(known + machine.times.rx);
        self.queue.at(*order, Event::Accept(id));
        self.notify(pair, &layout);
    }

    /// An adapter knows all that it needs for a frame.
    pub(super) fn on_accept(&mut self, id: FrameId) {
        let now = self.queue.now();
        let frame = self.frames.get(id);
        let (pair, op) = (frame.to, frame.op);
        self.ops.mark(op, Part::Responder, now);
        if frame.is_answer() {
            let here = &mut self.pairs[pair as usize];
            match frame.intact() {
                Some(layout) => here.requester.handle_own(now / NS, frame.bytes(), layout),
                None => here.requester.handle_frame(now / NS, frame.bytes()),
            }
            self.frames.give_back(id);
            self.take_completions(pair);
            self.wake_pair(pair);
            return;
        }
        self.pairs[pair as usize].inbox.push_back(id);
        self.execute_next(pair);
    }

    /// A queue pair executes its requests in their order. An atomic keeps it until its word has
    /// been written: what comes behind it must not run before.
    fn execute_next(&mut self, pair: u32) {
        let now = self.queue.now();
        let here = &mut self.pairs[pair as usize];
        if here.is_executing {
            return;
        }
        let Some(&id) = here.inbox.front() else { return };
        here.is_executing = true;
        let frame = self.frames.get(id);
        let machine = &mut self.machines[here.machine];
        let word = frame.layout.as_ref().and_then(|layout| {
            let (_, address) = target(layout, frame.bytes())?;
            Some((word_kind(layout.opcode)?, address))
        });
        let (begin, end) = match word {
            Some((kind, address)) => machine.words.reserve(now, kind, address, machine.in_device),
            None => (now, now),
        };
        match word {
            Some((WordKind::CompareSwap | WordKind::FetchAdd, _)) => {
                self.ops.mark(frame.op, Part::Word, end);
                self.queue.at(end, Event::Execute(pair));
            }
            // READs overlap with what comes behind them; only the answer waits.
            _ => {
                self.ops.mark(frame.op, Part::Word, begin);
                self.execute(pair, begin);
            }
        }
    }

    /// The first request of a queue pair's inbox is executed. Its answer is ready no sooner than
    /// `ready`.
    pub(super) fn execute(&mut self, pair: u32, mut ready: Ps) {
        let now = self.queue.now();
        let here = &mut self.pairs[pair as usize];
        let Some(id) = here.inbox.pop_front() else { return };
        here.is_executing = false;
        let frame = self.frames.get(id);
        let op = frame.op;
        let machine = &mut self.machines[here.machine];
        let (bytes, memory, mut log) = (frame.bytes(), &mut machine.memory, EffectLog::unread());
        let responder = &mut here.responder;
        let expected = responder.expected_psn();
        match frame.intact() {
            Some(layout) => responder.handle_own(now / NS, bytes, layout, memory, &mut log),
            None => responder.handle_frame(now / NS, bytes, memory, &mut log),
        }
        if machine.has_software
            && here.responder.expected_psn() != expected
            && let Some(layout) = &frame.layout
            && let Some(arrival) = Arrival::of(layout, frame.bytes())
        {
            self.happened.push_back(Happened::Arrived(pair, arrival));
        }
        if let Some(layout) = &frame.layout
            && layout.opcode == Opcode::ReadRequest
            && let Some(reth) = layout.reth(frame.bytes())
        {
            let last = reth.virtual_address + u64::from(reth.dma_length).saturating_sub(1);
            machine.more_lines += last / 64 - reth.virtual_address / 64;
        }
        if frame.layout.as_ref().is_some_and(|layout| layout.opcode.is_write()) {
            ready += machine.times.write_ack;
        }
        self.frames.give_back(id);
        self.answer(pair, op, ready);
        self.execute_next(pair);
    }

    /// Tells threads of operations that have ended.
    pub(super) fn take_completions(&mut self, pair: u32) {
        let now = self.queue.now();
        let here = &mut self.pairs[pair as usize];
        while let Some(completion) = here.requester.poll_completion() {
            let Some(op) = here.end_flight() else { break };
            if self.middle.is_some() {
                // Its answer came out of the middlebox without having gone in as such.
                self.ops.mark(Some(op), Part::Middlebox, now);
            }
            let machine = &mut self.machines[here.machine];
            machine.outstanding = machine.outstanding.saturating_sub(1);
            if let Some(op) = self.ops.get_mut(op) {
                op.completion = Some(completion);
            }
            self.queue.at(now + machine.times.completion, Event::Complete(op));
        }
    }
}

/// What came from the other end, as software that polls its memory sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Memory was written.
    Write {
        /// Its first address.
        address: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// A message of one packet.
    Message(Vec<u8>),
}

impl Arrival {
    fn of(layout: &Layout, frame: &[u8]) -> Option<Self> {
        let data = || layout.payload(frame).to_vec();
        match (layout.opcode, layout.reth(frame)) {
            (Opcode::WriteOnly, Some(reth)) => {
                Some(Self::Write { address: reth.virtual_address, data: data() })
            }
            (Opcode::SendOnly, _) => Some(Self::Message(data())),
            _ => None,
        }
    }
}

/// Remote key and address of a request that names them.
fn target(layout: &Layout, frame: &[u8]) -> Option<(u32, u64)> {
    if let Some(reth) = layout.reth(frame) {
        return Some((reth.remote_key, reth.virtual_address));
    }
    layout.atomic_eth(frame).map(|atomic| (atomic.remote_key, atomic.virtual_address))
}

fn word_kind(opcode: Opcode) -> Option<WordKind> {
    match opcode {
        Opcode::ReadRequest => Some(WordKind::Read),
        Opcode::CompareSwap => Some(WordKind::CompareSwap),
        Opcode::FetchAdd => Some(WordKind::FetchAdd),
        opcode if opcode.is_write() => Some(WordKind::Write),
        _ => None,
    }
}
