//! Software: threads on their cores, interrupts, the server's work, and timers.

use super::datagram::{Call, Form};
use super::flow::{Flow, Slot};
use super::packet::{Packet, Side};
use super::params::SoftwareParams;
use super::{Calls, Event, Protocol, Task, tcp};
use crate::cluster::Part;
use crate::event::{NS, Ps, ps};

/// Bytes that an adapter reads of a place in memory.
const LINE: u64 = 64;

impl<A: Copy, N: Copy> Calls<A, N> {
    fn host(&self, side: Side) -> &SoftwareParams {
        match side {
            Side::Client => &self.software.client,
            Side::Server => &self.software.server,
        }
    }

    /// A core has something more to do.
    pub(super) fn give(&mut self, number: u32, task: Task) {
        self.endpoints[number as usize].tasks.push_back(task);
        self.start(number);
    }

    /// A core begins with what it has to do first, if it does nothing.
    fn start(&mut self, number: u32) {
        let endpoint = &mut self.endpoints[number as usize];
        if endpoint.is_busy {
            return;
        }
        let Some(task) = self.next_task(number) else { return };
        self.endpoints[number as usize].is_busy = true;
        let time = self.time(number, task);
        self.endpoints[number as usize].busy += time;
        self.queue.after(time, Event::Done(number, task));
    }

    /// What a core does next: packets go out when there are enough of them, or nothing else to do.
    fn next_task(&mut self, number: u32) -> Option<Task> {
        let most = self.host(self.endpoints[number as usize].side).batch_count as usize;
        let endpoint = &mut self.endpoints[number as usize];
        let ready = endpoint.outbox.len().min(most);
        match ready == most || endpoint.tasks.is_empty() {
            true if ready > 0 => Some(Task::Post(ready as u32)),
            _ => endpoint.tasks.pop_front(),
        }
    }

    /// How long a core takes.
    fn time(&self, number: u32, task: Task) -> Ps {
        let endpoint = &self.endpoints[number as usize];
        let times = self.machines[endpoint.machine].times;
        let host = self.host(endpoint.side);
        let asked = |op: u32| self.asked[op as usize].bytes;
        // A thread that has nothing else to do has slept, unless it polls.
        let wake = if endpoint.tasks.is_empty() { ps(host.wake_ns) } else { 0 };
        match task {
            Task::Call(op) => host.send_message(asked(op)[0]),
            Task::Post(count) => {
                let each = ps(host.send_packet_ns) + times.post;
                each * Ps::from(count) + ps(host.doorbell_ns)
            }
            Task::Interrupt => ps(host.interrupt_ns),
            Task::Receive(_) => ps(host.receive_packet_ns) + times.poll,
            Task::Serve(op) => {
                let [request, answer] = asked(op);
                let touches = f64::from(self.asked[op as usize].touches);
                let own = ps(host.serve_ns + host.access_ns * touches);
                wake + host.take_message(request) + own + host.send_message(answer)
            }
            Task::Take(op) => wake + host.take_message(asked(op)[1]),
        }
    }

    /// A core has done something. What it has to do because of that comes first.
    pub(super) fn on_done(&mut self, number: u32, task: Task) {
        let endpoint = &mut self.endpoints[number as usize];
        let others = std::mem::take(&mut endpoint.tasks);
        match task {
            Task::Call(op) => self.on_begun(op),
            Task::Post(count) => self.on_written(number, count),
            Task::Interrupt => {}
            Task::Receive(packet) => self.on_received(packet),
            Task::Serve(op) => self.on_served(op),
            Task::Take(op) => self.on_answered(op),
        }
        let endpoint = &mut self.endpoints[number as usize];
        endpoint.tasks.extend(others);
        endpoint.is_busy = false;
        self.start(number);
    }

    /// Packets' descriptors are written, and a doorbell is on its way to the adapter.
    fn on_written(&mut self, number: u32, count: u32) {
        let now = self.queue.now();
        let endpoint = &mut self.endpoints[number as usize];
        let doorbell = self.machines[endpoint.machine].times.doorbell;
        for packet in endpoint.outbox.drain(..count as usize) {
            let part = if packet.to == Side::Server { Part::Posting } else { Part::Server };
            if packet.op != u32::MAX {
                self.ops.mark(Some(packet.op), part, now);
            }
            endpoint.written.push_back(packet);
        }
        self.queue.at(now + doorbell, Event::Rung(number, count));
    }

    pub(super) fn tcp_form(&self) -> tcp::Form {
        let timeout = self.software.timeout_ns * NS;
        tcp::Form { mtu: self.mtu, window: self.software.window, timeout }
    }

    /// A client's thread has handed a request to the protocol.
    pub(super) fn on_begun(&mut self, op: u32) {
        let now = self.queue.now();
        self.ops.mark(Some(op), Part::Posting, now);
        let asked = self.asked[op as usize];
        let flow = match self.software.protocol {
            Protocol::Tcp => {
                if let Some(Flow::Connection(one)) = &mut self.slots[asked.flow as usize].flow {
                    one.send(Side::Client, op, asked.bytes[0]);
                }
                asked.flow
            }
            Protocol::Datagrams => self.begin_call(now, op),
        };
        self.pump(flow, Side::Client);
    }

    fn begin_call(&mut self, now: Ps, op: u32) -> u32 {
        let asked = self.asked[op as usize];
        let form = Form {
            bytes: asked.bytes,
            mtu: self.mtu,
            window: self.software.window,
            timeout: self.software.timeout_ns * NS,
        };
        let flow = Flow::Call(Box::new(Call::new(now, op, form)));
        let number = match self.free.pop() {
            Some(number) => {
                let slot = &mut self.slots[number as usize];
                (slot.route, slot.flow) = (asked.route, Some(flow));
                number
            }
            None => {
                self.slots.push(Slot::new(asked.route, flow));
                self.slots.len() as u32 - 1
            }
        };
        self.asked[op as usize].flow = number;
        number
    }

    /// A flow's end sends all that it may.
    fn pump(&mut self, flow: u32, from: Side) {
        let now = self.queue.now();
        loop {
            let slot = &mut self.slots[flow as usize];
            let (generation, route) = (slot.generation, slot.route);
            let next = slot.flow.as_mut().and_then(|known| known.poll_transmit(now, from));
            let Some(packet) = next else { break };
            let packet = Packet { route, flow, generation, ..packet };
            let number = self.routes[route as usize][from as usize];
            self.on_way += 1;
            match self.is_adapter(from) {
                true => self.queue.at(now, Event::Posted(packet)),
                false => self.endpoints[number as usize].outbox.push_back(packet),
            }
        }
        let number = self.routes[self.slots[flow as usize].route as usize][from as usize];
        self.start(number);
        self.set_timer(flow, from);
    }

    fn set_timer(&mut self, flow: u32, side: Side) {
        let slot = &mut self.slots[flow as usize];
        let due = slot.flow.as_ref().and_then(|known| known.deadline(side));
        let wake = &mut slot.wakes[side as usize];
        if let Some(due) = due
            && due < *wake
        {
            *wake = due;
            self.queue.at(due, Event::Timer(flow, side));
        }
    }

    /// A timer of a flow's end.
    pub(super) fn on_timer(&mut self, flow: u32, side: Side) {
        let now = self.queue.now();
        let slot = &mut self.slots[flow as usize];
        if slot.wakes[side as usize] != now {
            return;
        }
        slot.wakes[side as usize] = Ps::MAX;
        let Some(known) = &mut slot.flow else { return };
        if known.deadline(side).is_some_and(|due| due <= now) {
            let waits = known.handle_timeout(now, side);
            if waits.is_some() {
                self.ops.mark(waits, Part::Repair, now);
            }
        }
        self.pump(flow, side);
    }

    /// Software can see a packet, if it had a descriptor for it.
    pub(super) fn on_delivered(&mut self, packet: Packet) {
        let now = self.queue.now();
        let number = self.endpoint(&packet, packet.to);
        let host = self.host(packet.to);
        let (most, frames) = (host.receive_count as usize, host.interrupt_frames_count as usize);
        let (delay, is_interrupted) = (ps(host.interrupt_delay_ns), host.is_interrupted());
        let endpoint = &mut self.endpoints[number as usize];
        if endpoint.waiting >= most {
            self.refused += 1;
            self.on_way -= 1;
            return;
        }
        endpoint.waiting += 1;
        if !is_interrupted || endpoint.told > 0 {
            self.receive(number, packet);
            return;
        }
        endpoint.pending.push_back(packet);
        let is_enough = endpoint.pending.len() == frames;
        if !std::mem::replace(&mut endpoint.is_called, true) {
            self.queue.at(now + delay, Event::Interrupt(number));
        }
        if is_enough {
            self.queue.at(now, Event::Interrupt(number));
        }
    }

    /// A core is told of a packet.
    fn receive(&mut self, number: u32, packet: Packet) {
        self.endpoints[number as usize].told += 1;
        self.give(number, Task::Receive(packet));
    }

    /// An adapter interrupts a core.
    pub(super) fn on_interrupt(&mut self, number: u32) {
        let endpoint = &mut self.endpoints[number as usize];
        let pending = std::mem::take(&mut endpoint.pending);
        if pending.is_empty() {
            // The interrupt of a full batch came before that of the delay.
            return;
        }
        endpoint.is_called = false;
        self.give(number, Task::Interrupt);
        pending.into_iter().for_each(|packet| self.receive(number, packet));
    }

    /// The protocol has taken a packet.
    pub(super) fn on_received(&mut self, packet: Packet) {
        let now = self.queue.now();
        self.on_way -= 1;
        let (number, side) = (self.endpoint(&packet, packet.to), packet.to);
        if !self.is_adapter(side) {
            let endpoint = &mut self.endpoints[number as usize];
            endpoint.waiting -= 1;
            endpoint.told -= 1;
        }
        let slot = &mut self.slots[packet.flow as usize];
        if slot.generation != packet.generation {
            // Of a call that has ended.
            return;
        }
        if packet.op != u32::MAX {
            let part = if side == Side::Client { Part::Completion } else { Part::Server };
            self.ops.mark(Some(packet.op), part, now);
        }
        let Some(flow) = &mut slot.flow else { return };
        let whole = flow.handle(now, &packet);
        for op in whole {
            match side {
                Side::Server => self.serve(number, op),
                Side::Client => self.take_answer(number, op),
            }
        }
        self.pump(packet.flow, side);
    }

    /// The server has a request.
    fn serve(&mut self, number: u32, op: u32) {
        match self.is_adapter(Side::Server) {
            true => self.touch(op, self.asked[op as usize].touches),
            false => self.give(number, Task::Serve(op)),
        }
    }

    /// The server's adapter reads one place after the other, and the value.
    pub(super) fn touch(&mut self, op: u32, left: u32) {
        let now = self.queue.now();
        let Some(left) = left.checked_sub(1) else {
            self.ops.mark(Some(op), Part::Memory, now);
            self.on_served(op);
            return;
        };
        let bytes = if left == 0 { self.asked[op as usize].bytes[1] } else { LINE };
        let there = self.machines[0].pcie.read(now, bytes);
        self.queue.at(there, Event::Touched(op, left));
    }

    /// The server has an answer.
    pub(super) fn on_served(&mut self, op: u32) {
        let now = self.queue.now();
        self.ops.mark(Some(op), Part::Server, now);
        let asked = self.asked[op as usize];
        if let Some(flow) = &mut self.slots[asked.flow as usize].flow {
            flow.answer(op, asked.bytes[1]);
        }
        self.pump(asked.flow, Side::Server);
    }

    /// A client has all of an answer.
    fn take_answer(&mut self, number: u32, op: u32) {
        let asked = self.asked[op as usize];
        self.give(number, Task::Take(op));
        let slot = &mut self.slots[asked.flow as usize];
        if let Some(Flow::Call(call)) = &slot.flow {
            self.repairs[0] += call.sent_again;
            self.repairs[1] += call.timeouts;
            slot.flow = None;
            slot.wakes = [Ps::MAX; 2];
            slot.generation += 1;
            self.free.push(asked.flow);
        }
    }

    /// A client's thread has an answer.
    pub(super) fn on_answered(&mut self, op: u32) {
        self.ops.mark(Some(op), Part::Completion, self.queue.now());
        self.completed += 1;
        self.happened.push_back(op);
    }
}
