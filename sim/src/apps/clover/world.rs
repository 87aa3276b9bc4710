//! Clover's software on its hosts: who is told what, when, and what follows.

use qpmux_traces::CaptureError;
use qpmux_workloads::clover::{
    self, CloverConfig, Finished, FinishedHow, Machine, MachineStats, MetadataPeer, MetadataServer,
    Peer, Request, Ticket,
};
use qpmux_workloads::keys::{KeyError, Ycsb, generator};
use rand::RngExt;

use super::drivers::Drivers;
use super::judge::{Asked, Judge};
use super::meddler::Meddler;
use super::network::{FIRST_CLIENT, Lanes, MEMORY_NODE, METADATA_SERVER};
use crate::apps::phases::{Done, Phases};
use crate::apps::{Latencies, Load, Patience};
use crate::clover_verbs::told;
use crate::fabric::{Arrived, Fabric, Happening};
use crate::memory::Memory;
use crate::rc::{Completion, Status, Verb};

/// Software of a client between a completion and what follows from it, ns: polling, deciding,
/// posting. The spread keeps threads from running in lock-step.
const THINK_NS: std::ops::Range<u64> = 150..650;
/// Software of the metadata server per message, ns.
const METADATA_NS: u64 = 1_000;
/// Time until slots that had run out are asked for again, ns.
const RETRY_NS: u64 = 10_000;

/// Who posted a verb.
#[derive(Clone, Copy)]
pub(crate) enum Asker {
    Client(Ticket, Option<Asked>),
    Metadata(u64),
}

/// What software is told, after the time it takes to notice.
pub(crate) enum Notice {
    /// A client machine, from 0: the next operation of a worker may begin.
    Begin(usize, u16),
    /// A client machine, from 0: a verb has ended.
    Completed(usize, Ticket, Option<Asked>, Told),
    /// A client machine, from 0: something was written or sent to it.
    Client(usize, Arrived),
    /// The same for the metadata server, on this client connection.
    Metadata(usize, Arrived),
    /// A verb of the metadata server is complete.
    MetadataCompleted(u64),
    /// The memory node changes something by itself.
    Meddle,
}

/// What a client is told of a verb.
pub(crate) struct Told {
    outcome: clover::Outcome,
    /// When its adapter knew, ns.
    at: u64,
}

/// What a run counts.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) keys_opened: u64,
    pub(crate) reads: u64,
    pub(crate) updates: u64,
    pub(crate) given_up: u64,
    /// Times that there was no slot left.
    pub(crate) no_space: u64,
    /// Reads, and updates, that a first try was enough for.
    pub(crate) first_reads: u64,
    pub(crate) first_updates: u64,
    /// When all keys were open, and when the last operation ended, ns.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) latencies: Latencies,
}

impl Tally {
    /// Operations done, opening keys aside.
    pub(crate) fn operations(&self) -> u64 {
        self.reads + self.updates
    }

    /// What is done so far.
    pub(super) fn done(&self, at: u64) -> Done {
        let tries = [
            ("compare_swap", self.first_updates, self.updates),
            ("read", self.first_reads, self.reads),
        ];
        Done { operations: self.operations(), tries, at }
    }
}

/// The whole run.
pub(crate) struct World<'a> {
    pub(crate) fabric: Fabric<'a, Asker, Notice>,
    lanes: Lanes,
    pub(super) machines: Vec<Machine>,
    pub(super) metadata: MetadataServer,
    pub(super) drivers: Drivers,
    load: Load,
    rng: rand_pcg::Pcg64,
    /// When the operation of each thread began, ns.
    began: Vec<u64>,
    pub(crate) tally: Tally,
    /// What did not end as it must.
    complaint: Option<String>,
    /// Somebody went round for ever, and may.
    pub(super) goes_round: bool,
    pub(super) judge: Option<Judge>,
    pub(super) meddler: Option<Meddler>,
    pub(super) phases: Phases,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        clover: &CloverConfig,
        load: &Load,
        workload: Ycsb,
        seed: u64,
        fabric: Fabric<'a, Asker, Notice>,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            fabric,
            lanes: Lanes::new(clover),
            machines: (1..=clover.machines).map(|id| Machine::new(clover, id)).collect(),
            metadata: MetadataServer::new(clover),
            drivers: Drivers::new(load, workload, clover.variant, seed)?,
            load: *load,
            rng: generator(seed, 0),
            began: vec![0; usize::from(load.threads)],
            tally: Tally::default(),
            complaint: None,
            goes_round: false,
            judge: None,
            meddler: None,
            phases: Phases::default(),
        })
    }

    /// Runs until nothing is left to happen, or it turns in a circle. `progress` is told
    /// operations done.
    pub(crate) fn run(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), CaptureError> {
        let mut patience = Patience::new();
        let mut rounds = 0_u64;
        self.switch(0);
        self.notice(Notice::Begin(0, 0), 0);
        while let Some(happening) = self.fabric.next() {
            self.step(happening);
            if self.judge.as_ref().is_some_and(|judge| judge.ring) {
                self.goes_round = true;
                break;
            }
            rounds += 1;
            if rounds.is_multiple_of(4_096) {
                let done = self.tally.operations();
                progress(done);
                if patience.is_over(done + self.tally.keys_opened, self.fabric.events()) {
                    self.goes_round = self.judge.as_ref().is_some_and(|j| j.may_go_round);
                    let recycled = self.recycled();
                    let slots = format!("{recycled} slots were taken back so far");
                    let complaint = match self.tally.no_space {
                        0 => "busy without end".to_owned(),
                        n => format!("no slot was left, {n} times: {slots}"),
                    };
                    self.complaint.get_or_insert(complaint);
                    break;
                }
            }
        }
        match self.fabric.take_broken() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn step(&mut self, happening: Happening<Asker, Notice>) {
        match happening {
            Happening::Executed(effect) => {
                if let Some(judge) = &mut self.judge {
                    judge.on_effect(&effect);
                }
            }
            Happening::Arrived(connection, end, what) => self.on_arrived(connection, end, what),
            Happening::Completed(connection, asker, completion) => {
                self.on_completed(connection, asker, completion);
            }
            Happening::Due(notice) => self.on_notice(notice),
        }
    }

    fn on_arrived(&mut self, connection: usize, end: usize, what: Arrived) {
        let (machine, _) = self.lanes.client_of(connection);
        if connection == self.lanes.of_metadata() || connection.is_multiple_of(2) {
            // Nothing runs on the memory node.
            return;
        }
        if end == 0 {
            self.notice(Notice::Client(machine, what), 0);
        } else {
            self.fabric.after(METADATA_NS, Notice::Metadata(connection, what));
        }
    }

    fn on_completed(&mut self, connection: usize, asker: Asker, completion: Completion) {
        let at = completion.completed_at;
        if completion.status != Status::Success && self.judge.is_none() {
            let text = format!("a verb ended as {:?}", completion.status);
            self.complaint.get_or_insert(text);
        }
        match asker {
            Asker::Client(ticket, asked) => {
                let (machine, _) = self.lanes.client_of(connection);
                let mut outcome = told(completion.status, completion.outcome);
                if let clover::Outcome::Read(data) = &mut outcome {
                    turn_word(self.fabric.memory(MEMORY_NODE), data);
                }
                let told = Told { outcome, at };
                self.notice(Notice::Completed(machine, ticket, asked, told), 0);
            }
            Asker::Metadata(ticket) => {
                self.fabric.after(METADATA_NS, Notice::MetadataCompleted(ticket));
            }
        }
    }

    fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Begin(machine, worker) => self.begin(machine, worker),
            Notice::Completed(machine, ticket, asked, told) => {
                if let (Some(judge), Some(asked)) = (&mut self.judge, &asked) {
                    judge.on_told(told.at, asked, &told.outcome);
                }
                self.machines[machine].handle_completion(ticket, told.outcome);
                self.drive_client(machine);
            }
            Notice::Client(machine, what) => {
                match what {
                    Arrived::Write { address, data } => {
                        self.machines[machine].handle_write(address, &data);
                    }
                    Arrived::Message(data) => self.machines[machine].handle_message(&data),
                }
                self.drive_client(machine);
            }
            Notice::Metadata(connection, what) => {
                let (machine, lane) = self.lanes.client_of(connection);
                let now = self.fabric.now();
                match what {
                    Arrived::Message(data) => {
                        if let Some(judge) = &mut self.judge {
                            judge.on_message(&data);
                        }
                        self.metadata.handle_message(now, machine as u16 + 1, lane, &data);
                    }
                    Arrived::Write { address, data } => self.metadata.handle_write(address, &data),
                }
                self.drive_metadata();
            }
            Notice::MetadataCompleted(ticket) => {
                self.metadata.handle_completion(ticket);
                self.drive_metadata();
            }
            Notice::Meddle => self.meddle(),
        }
    }

    /// A worker may begin its next operation.
    fn begin(&mut self, machine: usize, worker: u16) {
        // A worker that is busy has begun otherwise, after a retry.
        if self.machines[machine].idle(worker) > 0
            && let Some(request) = self.drivers.next(machine, worker)
        {
            let thread = self.load.thread(machine, worker);
            self.began[usize::from(thread)] = self.fabric.now();
            self.machines[machine].submit(worker, request);
        }
        self.drive_client(machine);
    }

    /// Posts what the machine wants, and lets its threads go on.
    fn drive_client(&mut self, index: usize) {
        while let Some(post) = self.machines[index].poll_post() {
            let connection = self.lanes.of_client(index, post.to, post.lane);
            let now = self.fabric.now();
            let judge = self.judge.as_mut().filter(|_| post.to == Peer::Memory);
            let asked = judge.and_then(|judge| judge.on_post(now, connection, &post.verb));
            let asker = Asker::Client(post.ticket, asked);
            let verb = self.verb(post.verb, post.to == Peer::Memory);
            self.fabric.post(connection, 0, asker, verb);
        }
        while let Some(finished) = self.machines[index].poll_finished() {
            self.on_finished(index, finished);
        }
    }

    fn on_finished(&mut self, machine: usize, finished: Finished) {
        let (worker, request, how) = (finished.worker, finished.request, finished.how);
        let thread = usize::from(self.load.thread(machine, worker));
        let now = self.fabric.now();
        match how {
            FinishedHow::Done => {
                if let Some(judge) = &mut self.judge {
                    judge.on_finished(now, self.began[thread], &finished);
                }
                if matches!(request, Request::Insert { .. }) {
                    self.tally.keys_opened += 1;
                    if self.drivers.on_opened() {
                        return self.begin_all();
                    }
                } else {
                    self.count(now, thread, &finished);
                }
            }
            FinishedHow::NoSpace => {
                self.tally.no_space += 1;
                self.drivers.again(machine, worker, request);
                return self.notice(Notice::Begin(machine, worker), RETRY_NS);
            }
            FinishedHow::Failed if self.fabric.given_up() > 0 && self.judge.is_some() => {
                // Its queue pair is no more.
                self.tally.given_up += 1 + self.drivers.retire(machine, worker);
                return;
            }
            FinishedHow::Missing | FinishedHow::Failed => {
                self.complaint.get_or_insert_with(|| format!("{request:?} ended as {how:?}"));
                return;
            }
        }
        self.notice(Notice::Begin(machine, worker), 0);
    }

    /// An operation is done.
    fn count(&mut self, now: u64, thread: usize, finished: &Finished) {
        let tally = &mut self.tally;
        let first = u64::from(finished.tries == 1);
        let name = if matches!(finished.request, Request::Read { .. }) {
            tally.reads += 1;
            tally.first_reads += first;
            "read"
        } else {
            tally.updates += 1;
            tally.first_updates += first;
            "update"
        };
        tally.end = now;
        tally.latencies.record(name, now - self.began[thread]);
        self.switch(now);
    }

    /// Switches the engine, if that is due.
    fn switch(&mut self, now: u64) {
        if self.phases.is_due(self.tally.operations()) {
            self.phases.switch(self.tally.done(now), &mut self.fabric);
        }
    }

    /// All keys are open: every thread begins, with all the operations it runs at a time.
    fn begin_all(&mut self) {
        self.tally.begin = self.fabric.now();
        self.phases.begin(self.tally.done(self.tally.begin));
        for (machine, worker) in self.drivers.places() {
            for _ in 0..self.machines[machine].idle(worker) {
                self.notice(Notice::Begin(machine, worker), 0);
            }
        }
        if let Some(meddler) = &mut self.meddler {
            self.fabric.after(meddler.pause(), Notice::Meddle);
        }
    }

    fn meddle(&mut self) {
        let left = self.load.operations > self.tally.operations() + self.tally.given_up;
        let (Some(meddler), Some(judge)) = (&mut self.meddler, &mut self.judge) else { return };
        if left {
            meddler.append(&mut self.fabric, judge);
            self.fabric.after(meddler.pause(), Notice::Meddle);
        }
    }

    fn drive_metadata(&mut self) {
        while let Some(post) = self.metadata.poll_post() {
            let (connection, end) = match post.to {
                MetadataPeer::Memory => (self.lanes.of_metadata(), 0),
                MetadataPeer::Client { machine, lane } => {
                    let machine = usize::from(machine).saturating_sub(1);
                    (self.lanes.of_client(machine, Peer::Metadata, lane), 1)
                }
            };
            let verb = self.verb(post.verb, matches!(post.to, MetadataPeer::Memory));
            self.fabric.post(connection, end, Asker::Metadata(post.ticket), verb);
        }
    }

    /// A verb as adapters have it. All that is written to the memory node begins with a word.
    fn verb(&mut self, mut verb: clover::Verb, to_memory: bool) -> Verb {
        if let clover::Verb::Write { data, .. } = &mut verb
            && to_memory
        {
            turn_word(self.fabric.memory(MEMORY_NODE), data);
        }
        verb.into()
    }

    /// Software of a client notices something, a while from now.
    fn notice(&mut self, notice: Notice, extra_ns: u64) {
        let think = self.rng.random_range(THINK_NS);
        self.fabric.after(think + extra_ns, notice);
    }

    /// What did not end as it must, if anything; who gave up aside.
    pub(crate) fn complaint(&self) -> Option<String> {
        let at_rest = self.tally.given_up > 0 || self.machines.iter().all(Machine::is_idle);
        let waits = || "a client waits for what never comes".to_owned();
        let complaint = self.complaint.clone();
        complaint.or_else(|| (!at_rest || !self.drivers.is_open()).then(waits))
    }

    /// What all machines have done.
    pub(crate) fn stats(&self) -> MachineStats {
        let add = |sum: MachineStats, each: MachineStats| MachineStats {
            commits: sum.commits + each.commits,
            commits_lost: sum.commits_lost + each.commits_lost,
            hops: sum.hops + each.hops,
            requests: sum.requests + each.requests,
        };
        self.machines.iter().map(Machine::stats).fold(MachineStats::default(), add)
    }

    /// Slots that the metadata server has taken back.
    pub(crate) fn recycled(&self) -> u64 {
        self.metadata.stats().recycled
    }
}

const _: () = assert!(METADATA_SERVER < FIRST_CLIENT);

/// Turns the word that data begins with from little-endian order, which Clover's models have, to
/// that of a memory, or back.
pub(super) fn turn_word(memory: &Memory, data: &mut [u8]) {
    if let Some(word) = data.first_chunk_mut() {
        *word = memory.words().bytes(u64::from_le_bytes(*word));
    }
}
