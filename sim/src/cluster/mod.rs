//! Machines, adapters that cost something, and wires: what single verbs and applications run on.
//!
//! A request's way, and the file that has it:
//!
//! | where | what it meets | file |
//! |---|---|---|
//! | thread | its own other work, the queue pair's lock, a doorbell register's lock | `thread.rs` |
//! | adapter | the work request's fetch, the pipeline, the context, the payload | `send.rs` |
//! | adapter | the message rate and the port | `send.rs` |
//! | wire | one way, losses, the switch's port | `network.rs`, `port.rs` |
//! | other adapter | its message rate, context and translation, the word | `receive.rs` |
//! | back | host memory, the queue pair's answers, message rate, port, wire | `send.rs` |
//! | thread | the completion, when it polls | `thread.rs` |
//!
//! Frames are real, so are memory and the protocol's state machines ([`crate::rc`]): a
//! compare-and-swap fails because the value differs, a window is full because nobody has
//! answered. A resource that is reached after a time that differs from request to request is
//! reached by an event of its own, so all queues are served in the order of time.

mod adapter;
mod cores;
mod frames;
mod middle;
mod network;
#[cfg(test)]
mod network_tests;
mod op;
mod order;
mod pair;
mod port;
mod receive;
mod recorded;
mod send;
mod station;
#[cfg(test)]
mod tests;
mod thread;

use std::collections::VecDeque;

pub use adapter::CacheCounts;
pub(crate) use adapter::Machine;
pub use network::{Conditions, ConditionsError, NetworkCounts};
pub use op::Part;
pub(crate) use op::{Op, Ops, PARTS};
pub use pair::ConnectionSetup;
pub(crate) use receive::Arrival;
pub use recorded::RecordCounts;
pub use station::{BoxCounts, BoxParams};

use crate::event::{Ps, Queue};
use crate::memory::Memory;
use crate::nic::{Network, Params};
use crate::rc::{Region, ResponderStats, Verb, Violations};
use cores::CoreStep;
use frames::{FrameId, Frames};
use middle::Middle;
use network::Losses;
use pair::{FIRST_QPN, Pair};
use thread::{Step, Thread};

/// Payloads up to this many bytes travel with their work request.
const INLINE_BYTES: u64 = 64;

/// What is to happen. Eight bytes, if `N` has four: millions of them are moved in the queue.
#[derive(Clone, Copy, Debug)]
enum Event<N> {
    /// A thread goes on.
    Thread(u32, Step),
    /// A doorbell rings: so many work requests of a queue pair.
    Doorbell(u32, Count),
    /// The adapter has them.
    Wqes(u32, Count),
    /// A queue pair's pipeline is free.
    Issue(u32),
    /// A frame may be sent.
    Ready(FrameId),
    /// It is at the switch's port towards the other end.
    Egress(FrameId),
    /// It is at the switch's port towards the middlebox.
    BoxEgress(FrameId),
    /// It is at the other end.
    Arrive(FrameId),
    /// The adapter there takes it.
    Taken(FrameId),
    /// The adapter there knows all that it needs.
    Accept(FrameId),
    /// A queue pair's first request has had its word.
    Execute(u32),
    /// An operation's end can be seen.
    Complete(u32),
    /// A timer of a queue pair.
    Timer(u32),
    /// A core of the middlebox has done this.
    Core(u32, CoreStep),
    /// A frame comes to the middlebox.
    Middle(FrameId),
    /// What became of it is where it is sent.
    HandedOver(FrameId),
    /// A frame leaves the middlebox.
    Leave(FrameId),
    /// A timer of the middlebox.
    BoxTimer,
    Due(N),
}

const _: () = assert!(size_of::<Event<u32>>() == 8);

/// A number of work requests: those of a thread are at most 65,536.
#[derive(Clone, Copy, Debug)]
struct Count([u8; 3]);

impl Count {
    fn new(count: u32) -> Self {
        let [a, b, c, _] = count.to_le_bytes();
        Self([a, b, c])
    }

    fn get(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_le_bytes([a, b, c, 0])
    }
}

/// What an application is told. `A` is who posted, `N` what it had put off.
pub(crate) enum Happening<A, N> {
    /// A thread has seen that an operation has ended.
    Completed(Op<A>),
    /// Something came from the other end of a queue pair.
    Arrived(u32, Arrival),
    /// The time of this has come.
    Due(N),
}

/// What is to be told to an application.
enum Happened {
    /// An operation has ended; it is where it was.
    Completed(u32),
    Arrived(u32, Arrival),
}

/// All of it.
pub(crate) struct Cluster<A, N> {
    queue: Queue<Event<N>>,
    machines: Vec<Machine>,
    /// By connection, its two ends: the other end of a queue pair has the number `^ 1`.
    pairs: Vec<Pair>,
    threads: Vec<Thread>,
    /// What threads have been asked to post, in order.
    to_post: Vec<VecDeque<(Verb, u32)>>,
    ops: Ops<A>,
    frames: Frames,
    happened: VecDeque<Happened>,
    /// Payloads up to this many bytes travel with their work request.
    pub(crate) inline_bytes: u64,
    /// What all connections pass.
    middle: Option<Middle>,
    seed: u64,
    network: Network,
    losses: Losses,
    posted: u64,
    completed: u64,
}

impl<A: Copy, N: Copy> Cluster<A, N> {
    /// Machines with these adapters, and nothing between them yet.
    pub(crate) fn new(adapters: &[&Params], seed: u64) -> Self {
        let machines =
            (0..).zip(adapters).map(|(number, params)| Machine::new(params, seed, number));
        Self {
            queue: Queue::new(),
            machines: machines.collect(),
            pairs: Vec::new(),
            threads: Vec::new(),
            to_post: Vec::new(),
            ops: Ops::default(),
            frames: Frames::default(),
            happened: VecDeque::new(),
            inline_bytes: INLINE_BYTES,
            middle: None,
            seed,
            network: Network::default(),
            losses: Losses::new(seed),
            posted: 0,
            completed: 0,
        }
    }

    /// Connects two machines; both may ask. The number of the first one's queue pair, that of the
    /// second one's is one more.
    pub(crate) fn connect(
        &mut self,
        machines: [usize; 2],
        setup: &ConnectionSetup,
        regions: [&[Region]; 2],
    ) -> u32 {
        let first = self.pairs.len() as u32;
        let qpns = [first + FIRST_QPN, first + FIRST_QPN + 1];
        for end in 0..2 {
            let own = machines[end];
            let numbers = [qpns[end], qpns[1 - end]];
            let mut pair = Pair::new([own, machines[1 - end]], numbers, setup, regions[end]);
            pair.doorbell_register = self.machines[own].next_register();
            pair.rate = setup.dcqcn.then(|| self.machines[own].rate(&self.network));
            self.pairs.push(pair);
        }
        first
    }

    /// A thread more on a machine. Its number.
    pub(crate) fn add_thread(&mut self, machine: usize) -> u32 {
        self.threads.push(Thread::new(machine));
        self.to_post.push(VecDeque::new());
        self.threads.len() as u32 - 1
    }

    /// What others reach on this machine is the adapter's own memory.
    pub(crate) fn use_device_memory(&mut self, machine: usize) {
        self.machines[machine].in_device = true;
    }

    /// Software on a machine is told what others write and send to it.
    pub(crate) fn listen(&mut self, machine: usize) {
        self.machines[machine].has_software = true;
    }

    /// Pages of the memory that others reach on a machine.
    pub(crate) fn set_page_bytes(&mut self, machine: usize, bytes: u64) {
        self.machines[machine].page_bytes = bytes;
    }

    /// The memory of a machine.
    pub(crate) fn memory(&mut self, machine: usize) -> &mut Memory {
        &mut self.machines[machine].memory
    }

    /// Number of machines.
    pub(crate) fn machines(&self) -> usize {
        self.machines.len()
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
            match self.happened.pop_front() {
                Some(Happened::Completed(op)) => {
                    return self.ops.remove(op).map(Happening::Completed);
                }
                Some(Happened::Arrived(pair, arrival)) => {
                    return Some(Happening::Arrived(pair, arrival));
                }
                None => {}
            }
            match self.queue.pop()? {
                Event::Thread(thread, step) => self.on_thread(thread, step),
                Event::Doorbell(pair, count) => self.on_doorbell(pair, count.get()),
                Event::Wqes(pair, count) => self.on_wqes(pair, count.get()),
                Event::Issue(pair) => self.on_issue(pair),
                Event::Ready(frame) => self.on_ready(frame),
                Event::Egress(frame) => self.on_egress(frame),
                Event::BoxEgress(frame) => self.on_box_egress(frame),
                Event::Arrive(frame) => self.on_arrive(frame),
                Event::Taken(frame) => self.on_taken(frame),
                Event::Accept(frame) => self.on_accept(frame),
                Event::Execute(pair) => self.execute(pair, self.queue.now()),
                Event::Complete(op) => self.tell(op),
                Event::Timer(pair) => self.on_timer(pair),
                Event::Middle(frame) => self.on_middle(frame),
                Event::Core(core, step) => self.on_core(core, step),
                Event::HandedOver(frame) => self.on_handed_over(frame),
                Event::Leave(frame) => self.leave(frame),
                Event::BoxTimer => self.on_box_timer(),
                Event::Due(notice) => return Some(Happening::Due(notice)),
            }
        }
    }

    /// Operations posted, completed and under way, and frames on their way.
    pub(crate) fn open(&self) -> [u64; 4] {
        [self.posted, self.completed, self.ops.open() as u64, self.frames.open() as u64]
    }

    /// What a machine's adapter has counted.
    pub(crate) fn machine(&self, number: usize) -> &Machine {
        &self.machines[number]
    }

    /// Share of request packets that were the next of their queue pair where they arrived.
    pub(crate) fn in_sequence(&self) -> f64 {
        let mut all = ResponderStats::default();
        self.pairs.iter().for_each(|pair| all.add(&pair.responder.stats()));
        let came = all.accepted + all.duplicates + all.early;
        all.accepted as f64 / came.max(1) as f64
    }

    /// Rules of the transport that were broken.
    pub(crate) fn violations(&self) -> Violations {
        let mut all = Violations::new();
        for pair in &self.pairs {
            all.merge(pair.requester.violations());
            all.merge(pair.responder.violations());
        }
        all
    }
}
