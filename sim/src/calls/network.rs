//! From a doorbell to the other end's software: adapters and wires.

use super::packet::{Packet, Side};
use super::{Calls, Event};
use crate::cluster::Part;
use crate::event::Ps;

/// Ethernet, IPv4 and UDP headers.
const HEADERS: u64 = 42;

impl<A: Copy, N: Copy> Calls<A, N> {
    /// The number of an endpoint that a packet is for.
    pub(super) fn endpoint(&self, packet: &Packet, side: Side) -> u32 {
        self.routes[packet.route as usize][side as usize]
    }

    /// Whether an end is an adapter that serves by itself.
    pub(super) fn is_adapter(&self, side: Side) -> bool {
        side == Side::Server && self.software.adapter_serves
    }

    fn mark(&mut self, packet: &Packet, part: Part, now: Ps) {
        if packet.op != u32::MAX {
            self.ops.mark(Some(packet.op), part, now);
        }
    }

    /// A doorbell has reached the adapter: a single descriptor comes with it, others are fetched.
    pub(super) fn on_rung(&mut self, number: u32, count: u32) {
        let now = self.queue.now();
        let endpoint = &mut self.endpoints[number as usize];
        let there = self.machines[endpoint.machine].fetch_wqes(now, u64::from(count));
        for packet in endpoint.written.drain(..count as usize) {
            self.queue.at(there, Event::Posted(packet));
        }
    }

    /// The adapter has a packet's descriptor, and gets its context and payload.
    pub(super) fn on_posted(&mut self, packet: Packet) {
        let now = self.queue.now();
        self.mark(&packet, Part::Doorbell, now);
        let from = packet.to.peer();
        let is_adapter = self.is_adapter(from);
        let number = self.endpoint(&packet, from);
        let endpoint = &mut self.endpoints[number as usize];
        let machine = &mut self.machines[endpoint.machine];
        let known = machine.context(now, number);
        endpoint.issue.hold_until(known);
        // What serves by itself needs no queue pair's pipeline.
        let issue = if is_adapter { 0 } else { machine.times.issue };
        let issued = endpoint.issue.reserve(now, issue);
        let is_gathered = u64::from(packet.bytes) > self.inline_bytes && !is_adapter;
        let gathered = match is_gathered {
            true => machine.pcie.read(now, u64::from(packet.bytes)),
            false => now,
        };
        endpoint.order = endpoint.order.max(issued.max(gathered) + machine.times.tx);
        self.queue.at(endpoint.order, Event::Ready(packet));
    }

    /// A packet is ready to be sent.
    pub(super) fn on_ready(&mut self, packet: Packet) {
        let now = self.queue.now();
        let host = match packet.to {
            Side::Server => &self.software.client,
            Side::Client => &self.software.server,
        };
        let len = HEADERS + host.header_bytes as u64 + u64::from(packet.bytes);
        let number = self.endpoint(&packet, packet.to.peer());
        let machine = &mut self.machines[self.endpoints[number as usize].machine];
        let (left, there) = machine.send(now, len as usize);
        self.mark(&packet, Part::QueuePair, now);
        self.mark(&packet, Part::Port, left);
        self.mark(&packet, Part::Wire, there);
        self.queue.at(there, Event::Egress(packet));
    }

    /// A packet is at the switch's port towards its machine: its last bit would arrive now.
    pub(super) fn on_egress(&mut self, packet: Packet) {
        let now = self.queue.now();
        if self.loss > 0.0 && self.dice.has_share(self.loss) {
            self.lost += 1;
            self.on_way -= 1;
            return;
        }
        let host = match packet.to {
            Side::Server => &self.software.client,
            Side::Client => &self.software.server,
        };
        let len = HEADERS + host.header_bytes as u64 + u64::from(packet.bytes);
        let number = self.endpoint(&packet, packet.to);
        let machine = &mut self.machines[self.endpoints[number as usize].machine];
        let bytes = machine.wire_bytes(len as usize);
        let Some(passage) = machine.egress.pass(now, bytes, false) else {
            self.on_way -= 1;
            return;
        };
        self.mark(&packet, Part::Wire, passage.leaves);
        self.queue.at(passage.leaves, Event::Arrive(packet));
    }

    /// A packet is at an adapter.
    pub(super) fn on_arrive(&mut self, packet: Packet) {
        let number = self.endpoint(&packet, packet.to);
        let machine = &mut self.machines[self.endpoints[number as usize].machine];
        let taken = machine.rx.reserve(self.queue.now(), machine.times.inbound);
        self.queue.at(taken, Event::Taken(packet));
    }

    /// It is its turn there.
    pub(super) fn on_taken(&mut self, packet: Packet) {
        let now = self.queue.now();
        let is_adapter = self.is_adapter(packet.to);
        let number = self.endpoint(&packet, packet.to);
        let endpoint = &mut self.endpoints[number as usize];
        let machine = &mut self.machines[endpoint.machine];
        let known = machine.context(now, number) + machine.times.rx;
        endpoint.arrivals = endpoint.arrivals.max(known);
        let accepted = endpoint.arrivals;
        let completion = machine.times.completion;
        self.mark(&packet, Part::Responder, accepted);
        match is_adapter {
            true => self.queue.at(accepted, Event::Accepted(packet)),
            false => {
                self.mark(&packet, Part::Completion, accepted + completion);
                self.queue.at(accepted + completion, Event::Delivered(packet));
            }
        }
    }
}
