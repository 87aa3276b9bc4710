//! Clover's processes on their machines: who is told what, when, and what follows.

use qpmux_workloads::clover::{
    self, Finished, FinishedHow, Machine, MachineStats, MetadataPeer, MetadataServer, Peer,
    Request, Ticket,
};

use super::load::Load;
use super::measure::Tally;
use super::network::{FIRST_CLIENT, METADATA_THREADS, Network, is_server_end};
use super::plan::{StoreError, StorePlan};
use crate::clover_verbs::told;
use crate::cluster::{Arrival, Cluster, Happening, Op};
use crate::dice::Dice;
use crate::event::{NS, Ps, ps};
use crate::rc::Status;

/// Streams of chance that the library has.
const LIBRARY: u64 = 30;
/// Time until slots that had run out are asked for again.
const RETRY: Ps = 10_000 * NS;
/// Events without an operation's end, or a key more that is known, after which a run counts as one
/// that never ends.
const EVENTS_PATIENCE: u64 = 20_000_000;

/// Who posted a verb.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    /// A process; whether it goes to the memory node.
    Client(usize, Ticket, bool),
    Metadata(u64),
}

/// What software is told after the time that it takes to notice. One number, of four bytes: a
/// thread's, whose next operation may begin, or go on; or, with the highest bit, that under which
/// something is written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice(u32);

impl Notice {
    const TOLD: u32 = 1 << 31;

    fn begin(thread: usize) -> Self {
        Self(thread as u32)
    }

    fn told(number: usize) -> Self {
        Self(Self::TOLD | number as u32)
    }
}

/// Something that software is told later.
enum Told {
    Completed(usize, Ticket, clover::Outcome),
    Reply(usize, Arrival),
    Metadata(usize, u16, Arrival),
}

/// The whole run.
pub(super) struct World<'a> {
    plan: &'a StorePlan,
    pub(super) cluster: Cluster<Asker, Notice>,
    network: Network,
    processes: Vec<Machine>,
    /// By machine: how much longer the library takes for its number of threads.
    slow: Vec<f64>,
    /// By process and context: verbs under way to the memory node.
    under_way: Vec<Vec<u8>>,
    metadata: MetadataServer,
    /// When each of the metadata server's threads is free.
    metadata_free: [Ps; METADATA_THREADS],
    load: Load,
    dice: Dice,
    told: Vec<Option<Told>>,
    free: Vec<usize>,
    is_open: bool,
    pub(super) tally: Tally,
    complaint: Option<String>,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a StorePlan, seed: u64) -> Result<Self, StoreError> {
        plan.check()?;
        let clover = plan.clover()?;
        let adapters = vec![&plan.adapter; FIRST_CLIENT + plan.machines];
        let mut cluster = Cluster::new(&adapters, seed);
        let network = Network::new(plan, &clover, &mut cluster)?;
        let processes: Vec<Machine> =
            (1..=plan.processes() as u16).map(|id| Machine::new(&clover, id)).collect();
        let slow = (0..plan.machines).map(|n| plan.library.slow_down(plan.threads_of(n)));
        Ok(Self {
            slow: slow.collect(),
            under_way: vec![Vec::new(); processes.len()],
            processes,
            network,
            metadata: MetadataServer::new(&clover),
            metadata_free: [0; METADATA_THREADS],
            load: Load::new(plan, seed)?,
            dice: Dice::new(seed, LIBRARY, 0),
            told: Vec::new(),
            free: Vec::new(),
            is_open: false,
            tally: Tally::new(plan),
            complaint: None,
            cluster,
            plan,
        })
    }

    /// Makes all keys known, warms up, and runs until enough operations have been measured.
    pub(super) fn run(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        self.load.open_all(self.plan.keys);
        self.cluster.at(0, Notice::begin(0));
        let (mut done, mut moved, mut since) = (0, 0, 0);
        while let Some(happening) = self.cluster.next() {
            match happening {
                Happening::Completed(op) => self.on_completed(op),
                Happening::Arrived(pair, arrival) => self.on_arrived(pair, arrival),
                Happening::Due(Notice(number)) => match number & Notice::TOLD {
                    0 => self.begin(number as usize),
                    _ => self.on_told((number ^ Notice::TOLD) as usize),
                },
            }
            if self.tally.done() + self.load.known() != moved {
                moved = self.tally.done() + self.load.known();
                since = self.cluster.events();
            }
            if self.tally.done() != done {
                done = self.tally.done();
                progress(done);
            }
            if self.tally.is_over() && self.complaint.is_none() {
                return Ok(());
            }
            if self.complaint.is_some() || self.cluster.events() - since > EVENTS_PATIENCE {
                break;
            }
        }
        let why = self.complaint.take().unwrap_or_else(|| "clients walk in circles".to_owned());
        Err(StoreError::Stuck { done, why })
    }

    /// Time of the library of a process's threads.
    fn library(&mut self, process: usize, base_ns: f64) -> Ps {
        let library = &self.plan.library;
        let slow = self.slow[self.plan.machine(process)];
        let random = self.dice.exponential(library.random);
        ps(base_ns * slow * (1.0 - library.random + random))
    }

    fn later(&mut self, time: Ps, told: Told) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.told.push(None);
            self.told.len() - 1
        });
        self.told[number] = Some(told);
        self.cluster.at(time, Notice::told(number));
    }

    fn on_completed(&mut self, op: Op<Asker>) {
        let Some(completion) = op.completion else { return };
        if completion.status != Status::Success {
            self.complain(format!("a verb ended as {:?}", completion.status));
        }
        match op.asker {
            Asker::Metadata(ticket) => {
                self.metadata.handle_completion(ticket);
                self.drive_metadata();
            }
            Asker::Client(process, ticket, to_memory) => {
                let outcome = told(completion.status, completion.outcome);
                let told = Told::Completed(process, ticket, outcome);
                let open = &mut self.under_way[process][usize::from(ticket.context())];
                *open -= u8::from(to_memory);
                // What ends a round is acted upon; the rest is only noted.
                if to_memory && *open == 0 {
                    let pause = self.library(process, self.plan.library.round_ns);
                    self.later(self.cluster.now() + pause, told);
                } else {
                    self.tell(told);
                }
            }
        }
    }

    fn on_arrived(&mut self, pair: u32, arrival: Arrival) {
        let Some((process, lane)) = self.network.owner(pair) else { return };
        let now = self.cluster.now();
        if is_server_end(pair) {
            let free = self.metadata_free.iter_mut().min_by_key(|free| **free);
            let Some(free) = free else { return };
            *free = now.max(*free) + ps(self.plan.metadata_ns);
            let done = *free;
            self.later(done, Told::Metadata(process, lane, arrival));
        } else {
            let pause = self.library(process, self.plan.library.round_ns);
            self.later(now + pause, Told::Reply(process, arrival));
        }
    }

    fn on_told(&mut self, number: usize) {
        if let Some(told) = self.told[number].take() {
            self.free.push(number);
            self.tell(told);
        }
    }

    fn tell(&mut self, told: Told) {
        match told {
            Told::Completed(process, ticket, outcome) => {
                self.processes[process].handle_completion(ticket, outcome);
                self.drive(process);
            }
            Told::Reply(process, Arrival::Write { address, data }) => {
                self.processes[process].handle_write(address, &data);
                self.drive(process);
            }
            Told::Reply(process, Arrival::Message(data)) => {
                self.processes[process].handle_message(&data);
                self.drive(process);
            }
            Told::Metadata(process, lane, Arrival::Message(data)) => {
                let now_ns = self.cluster.now() / NS;
                self.metadata.handle_message(now_ns, process as u16 + 1, lane, &data);
                self.drive_metadata();
            }
            Told::Metadata(_, _, Arrival::Write { address, data }) => {
                self.metadata.handle_write(address, &data);
                self.drive_metadata();
            }
        }
    }

    /// A thread goes on with its operation, or begins the next.
    fn begin(&mut self, thread: usize) {
        let (process, worker) = self.plan.place(thread);
        let now = self.cluster.now();
        let rest = self.load.rest(thread);
        let request = match (rest, self.is_open) {
            (None, true) => self.load.begin(thread, now),
            (rest, _) => rest,
        };
        if let Some(request) = request {
            self.processes[process].submit(worker, request);
            self.drive(process);
        }
    }

    /// Posts what a process wants, and lets its threads go on.
    fn drive(&mut self, process: usize) {
        while let Some(post) = self.processes[process].poll_post() {
            let place = self.network.of_client(process, post.to, post.lane);
            let Some((thread, pair)) = place else { continue };
            let to_memory = post.to == Peer::Memory;
            let context = usize::from(post.ticket.context());
            let open = &mut self.under_way[process];
            if open.len() <= context {
                open.resize(context + 1, 0);
            }
            open[context] += u8::from(to_memory);
            let asker = Asker::Client(process, post.ticket, to_memory);
            self.cluster.post(thread, pair, [(asker, post.verb.into())]);
        }
        while let Some(finished) = self.processes[process].poll_finished() {
            self.on_finished(process, &finished);
        }
    }

    fn on_finished(&mut self, process: usize, finished: &Finished) {
        let thread = self.plan.thread(process, finished.worker);
        let mut pause = self.library(process, self.plan.library.operation_ns);
        match finished.how {
            FinishedHow::Done => self.on_done(thread, finished),
            FinishedHow::NoSpace => {
                self.load.again(thread, finished.request);
                pause += RETRY;
            }
            how => self.complain(format!("{:?} ended as {how:?}", finished.request)),
        }
        self.cluster.at(self.cluster.now() + pause, Notice::begin(thread));
    }

    fn on_done(&mut self, thread: usize, finished: &Finished) {
        if let Request::Insert { key } = finished.request {
            let known = self.load.on_opened(key);
            if !self.is_open {
                if known == self.plan.keys {
                    self.open();
                }
                return;
            }
        }
        self.load.tried(thread, finished.tries);
        if let Some(current) = self.load.end(thread) {
            let processes = &self.processes;
            self.tally.add(&self.cluster, &current, || stats(processes));
        }
    }

    /// All keys are known: all other threads begin, not at the same picosecond.
    fn open(&mut self) {
        self.is_open = true;
        for thread in 1..self.plan.threads {
            let offset = self.dice.below(10_000 * NS);
            self.cluster.at(self.cluster.now() + offset, Notice::begin(thread));
        }
    }

    fn drive_metadata(&mut self) {
        while let Some(post) = self.metadata.poll_post() {
            let (pair, lane) = match post.to {
                MetadataPeer::Memory => (Some(self.network.metadata), 0),
                MetadataPeer::Client { machine, lane } => {
                    let process = usize::from(machine).saturating_sub(1);
                    let place = self.network.of_client(process, Peer::Metadata, lane);
                    (place.map(|(_, pair)| pair ^ 1), lane)
                }
            };
            let thread = self.network.metadata_threads[usize::from(lane) % METADATA_THREADS];
            if let Some(pair) = pair {
                let asker = Asker::Metadata(post.ticket);
                self.cluster.post(thread, pair, [(asker, post.verb.into())]);
            }
        }
    }

    fn complain(&mut self, text: String) {
        self.complaint.get_or_insert(text);
    }
}

/// What all processes have done.
fn stats(processes: &[Machine]) -> MachineStats {
    let mut sum = MachineStats::default();
    for each in processes.iter().map(Machine::stats) {
        sum.commits += each.commits;
        sum.commits_lost += each.commits_lost;
        sum.hops += each.hops;
        sum.requests += each.requests;
    }
    sum
}
