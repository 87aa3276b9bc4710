//! Calls: requests that software on the server answers, over unreliable datagrams or the kernel's
//! TCP, through the same adapters and wires as verbs.
//!
//! A request's way, and the file that has it; the answer's is the same:
//!
//! | where | what it meets | file |
//! |---|---|---|
//! | thread | its core, a call into library or kernel, a copy, each packet | `software.rs` |
//! | protocol | windows, acknowledgements, timeouts | `datagram.rs`, `tcp.rs` |
//! | adapter | doorbell, context, pipeline, payload, message rate, port | `network.rs` |
//! | wire | one way, losses, the switch's port | `network.rs` |
//! | other adapter | its message rate and context | `network.rs` |
//! | other thread | a descriptor, an interrupt or a poll, its core, its own work | `software.rs` |
//!
//! Packets have lengths and no bytes: nothing here depends on contents. Adapters, ports and
//! accounts of time are those of [`crate::cluster`].

mod datagram;
mod flow;
mod network;
mod packet;
mod params;
mod software;
mod tcp;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use params::SoftwareParams;

use crate::cluster::{Conditions, Happening, Machine, NetworkCounts, Op, Ops};
use crate::dice::Dice;
use crate::event::{Ps, Queue};
use crate::nic::{Params, Server};
use flow::{Flow, Slot};
use packet::{Packet, Side};

/// Streams of chance that losses have.
const LOSSES: u64 = 21;

/// How calls are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Unreliable datagrams; software repairs what is lost.
    Datagrams,
    /// The kernel's TCP.
    Tcp,
}

/// Software of clients and server, and its protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Software {
    /// How calls are carried.
    pub protocol: Protocol,
    /// What clients' software costs.
    pub client: SoftwareParams,
    /// What the server's costs.
    pub server: SoftwareParams,
    /// Threads of the server, each on a core of its own, `1..=1024`.
    pub server_cores: usize,
    /// The server's adapter serves by itself, reading memory over PCIe.
    pub adapter_serves: bool,
    /// Packets of a message (datagrams), or of a connection's direction (TCP), that may be on
    /// their way, `1..=1000000`.
    pub window: u32,
    /// Time without progress until something is sent again (datagrams), or the least such time
    /// (TCP), ns.
    pub timeout_ns: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event<N> {
    /// A thread's core has done this.
    Done(u32, Task),
    /// The adapter is told of so many descriptors of a thread.
    Rung(u32, u32),
    /// The adapter has a packet's descriptor.
    Posted(Packet),
    /// A packet may be sent.
    Ready(Packet),
    /// It is at the switch's port towards the other end.
    Egress(Packet),
    /// It is at the other adapter.
    Arrive(Packet),
    /// That takes it.
    Taken(Packet),
    /// Its descriptor is used: software can see it.
    Delivered(Packet),
    /// An adapter interrupts a thread's core, for as many packets as wait.
    Interrupt(u32),
    /// The adapter that serves by itself takes a packet.
    Accepted(Packet),
    /// The adapter has read one of the places that an operation needs.
    Touched(u32, u32),
    /// A timer of a flow's end.
    Timer(u32, Side),
    Due(N),
}

/// What a core does. It does one thing after the other, and what follows from one before all else.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// The protocol gets a client's request.
    Call(u32),
    /// So many packets' descriptors are written, and the adapter is told of them.
    Post(u32),
    /// A packet interrupts.
    Interrupt,
    /// The protocol takes a packet.
    Receive(Packet),
    /// The server's thread takes a request, does its work, and the protocol gets the answer.
    Serve(u32),
    /// The client's thread takes an answer.
    Take(u32),
}

/// A thread with its core, its queue pair or ring, and what waits there.
#[derive(Debug)]
struct Endpoint {
    machine: usize,
    side: Side,
    /// What its core has to do, the first one first.
    tasks: VecDeque<Task>,
    is_busy: bool,
    /// Packets whose descriptors are to be written, and those that are.
    outbox: VecDeque<Packet>,
    written: VecDeque<Packet>,
    /// Its pipeline in the adapter.
    issue: Server,
    /// Packets leave in their order, no sooner than this.
    order: Ps,
    /// Packets come in their order, no sooner than this.
    arrivals: Ps,
    /// Descriptors in use.
    waiting: usize,
    /// What has come since the last interrupt.
    pending: VecDeque<Packet>,
    /// An interrupt is on its way.
    is_called: bool,
    /// Packets that its core has been told of and has not taken.
    told: usize,
    busy: Ps,
}

/// What an operation asks for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    route: u32,
    /// The flow that carries it.
    flow: u32,
    /// Bytes of request and answer.
    bytes: [u64; 2],
    /// Places in memory that the server looks at, one after the other.
    touches: u32,
}

/// All of it.
pub(crate) struct Calls<A, N> {
    queue: Queue<Event<N>>,
    machines: Vec<Machine>,
    endpoints: Vec<Endpoint>,
    /// The endpoints of each connection: client's and server's.
    routes: Vec<[u32; 2]>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    ops: Ops<A>,
    asked: Vec<Asked>,
    happened: VecDeque<u32>,
    software: Software,
    mtu: usize,
    inline_bytes: u64,
    loss: f64,
    dice: Dice,
    lost: u64,
    /// Packets that found no descriptor.
    refused: u64,
    repairs: [u64; 2],
    /// Packets between adapters and software.
    on_way: u64,
    posted: u64,
    completed: u64,
}

/// Payload of a packet, and up to how many bytes it travels with its descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) mtu: usize,
    pub(crate) inline_bytes: u64,
}

impl<A: Copy, N: Copy> Calls<A, N> {
    /// Machines with these adapters, the first one the server's.
    pub(crate) fn new(
        adapters: &[&Params],
        software: &Software,
        conditions: &Conditions,
        sizes: Sizes,
        seed: u64,
    ) -> Self {
        let machines = (0..).zip(adapters).map(|(n, params)| Machine::new(params, seed, n));
        let mut machines: Vec<Machine> = machines.collect();
        let network = &conditions.network;
        machines.iter_mut().for_each(|machine| machine.egress.set_network(network));
        let mut calls = Self {
            queue: Queue::new(),
            machines,
            endpoints: Vec::new(),
            routes: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            ops: Ops::default(),
            asked: Vec::new(),
            happened: VecDeque::new(),
            software: software.clone(),
            mtu: sizes.mtu,
            inline_bytes: sizes.inline_bytes,
            loss: conditions.loss,
            dice: Dice::new(seed, LOSSES, 0),
            lost: 0,
            refused: 0,
            repairs: [0; 2],
            on_way: 0,
            posted: 0,
            completed: 0,
        };
        for _ in 0..software.server_cores {
            calls.add(0, Side::Server);
        }
        calls
    }

    /// A client's thread more. Its number.
    pub(crate) fn add_thread(&mut self, machine: usize) -> u32 {
        self.add(machine, Side::Client)
    }

    fn add(&mut self, machine: usize, side: Side) -> u32 {
        self.endpoints.push(Endpoint {
            machine,
            side,
            tasks: VecDeque::new(),
            outbox: VecDeque::new(),
            written: VecDeque::new(),
            is_busy: false,
            issue: Server::default(),
            order: 0,
            arrivals: 0,
            waiting: 0,
            pending: VecDeque::new(),
            is_called: false,
            told: 0,
            busy: 0,
        });
        self.endpoints.len() as u32 - 1
    }

    /// Connects a client's thread with the next of the server's, in turn. The connection's number.
    pub(crate) fn connect(&mut self, thread: u32) -> u32 {
        let route = self.routes.len() as u32;
        self.routes.push([thread, route % self.software.server_cores as u32]);
        if self.software.protocol == Protocol::Tcp {
            let connection = tcp::Connection::new(self.tcp_form());
            self.slots.push(Slot::new(route, Flow::Connection(Box::new(connection))));
        }
        route
    }

    /// A thread calls: to read or write so many bytes, at the server with so many looks at memory.
    pub(crate) fn call(&mut self, asker: A, route: u32, verb: (u64, bool), touches: u32) {
        let now = self.queue.now();
        let thread = self.routes[route as usize][0];
        let op = self.ops.insert(Op::new(asker, thread, now));
        let bytes = self.software.client.call_bytes(verb.0, verb.1);
        let asked = Asked { route, flow: route, bytes, touches };
        match self.asked.get_mut(op as usize) {
            Some(place) => *place = asked,
            None => self.asked.push(asked),
        }
        self.posted += 1;
        self.give(thread, Task::Call(op));
    }

    /// Simulated time, ps.
    pub(crate) fn now(&self) -> Ps {
        self.queue.now()
    }

    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        self.queue.happened()
    }

    /// Says which events happened when.
    pub(crate) fn run_hash(&self) -> u64 {
        self.queue.run_hash()
    }

    /// Puts something off until `time`, ps.
    pub(crate) fn at(&mut self, time: Ps, notice: N) {
        self.queue.at(time, Event::Due(notice));
    }

    /// The next thing that the application has to know; `None` if nothing is left to happen.
    pub(crate) fn next(&mut self) -> Option<Happening<A, N>> {
        loop {
            if let Some(op) = self.happened.pop_front() {
                return self.ops.remove(op).map(Happening::Completed);
            }
            match self.queue.pop()? {
                Event::Done(endpoint, task) => self.on_done(endpoint, task),
                Event::Rung(endpoint, count) => self.on_rung(endpoint, count),
                Event::Posted(packet) => self.on_posted(packet),
                Event::Ready(packet) => self.on_ready(packet),
                Event::Egress(packet) => self.on_egress(packet),
                Event::Arrive(packet) => self.on_arrive(packet),
                Event::Taken(packet) => self.on_taken(packet),
                Event::Delivered(packet) => self.on_delivered(packet),
                Event::Interrupt(endpoint) => self.on_interrupt(endpoint),
                Event::Accepted(packet) => self.on_received(packet),
                Event::Touched(op, left) => self.touch(op, left),
                Event::Timer(flow, side) => self.on_timer(flow, side),
                Event::Due(notice) => return Some(Happening::Due(notice)),
            }
        }
    }

    /// Operations posted, completed and under way, and packets on their way.
    pub(crate) fn open(&self) -> [u64; 4] {
        [self.posted, self.completed, self.ops.open() as u64, self.on_way]
    }

    /// Number of machines.
    pub(crate) fn machines(&self) -> usize {
        self.machines.len()
    }

    /// What a machine's adapter has counted.
    pub(crate) fn machine(&self, number: usize) -> &Machine {
        &self.machines[number]
    }

    /// Time that cores of clients and of the server have worked, ps.
    pub(crate) fn busy(&self) -> [Ps; 2] {
        [Side::Client, Side::Server].map(|side| {
            let all = self.endpoints.iter().filter(|endpoint| endpoint.side == side);
            all.map(|endpoint| endpoint.busy).sum()
        })
    }

    /// What became of packets.
    pub(crate) fn network_counts(&self) -> NetworkCounts {
        let mut all = NetworkCounts { lost: self.lost, ..NetworkCounts::default() };
        for machine in &self.machines {
            all.sent += machine.sent_packets;
            all.add_port(&machine.egress.counts);
        }
        let repairs = self.slots.iter().filter_map(|slot| Some(slot.flow.as_ref()?.repairs()));
        let [again, timeouts] =
            repairs.fold(self.repairs, |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
        (all.sent_again, all.timeouts, all.rnr_naks) = (again, timeouts, self.refused);
        all
    }
}
