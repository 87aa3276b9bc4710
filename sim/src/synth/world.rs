//! One clock for clients, wires and servers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use qpmux_traces::CaptureError;
use qpmux_workloads::clover::{
    self, CloverConfig, Finished, FinishedHow, Machine, MetadataPeer, MetadataServer, Peer,
    Request, Ticket,
};
use qpmux_workloads::keys::generator;
use rand::RngExt;

use super::drivers::Drivers;
use super::network::{Arrived, FIRST_CLIENT, METADATA_SERVER, Network};
use super::{SynthConfig, SynthError, SynthReport};
use crate::rc::{Outcome, Status, Verb};

/// Time of the first event, ns since 1970: any, but always the same.
const START_NS: u64 = 1_600_000_000_000_000_000;
/// One-way times from a host to the tap and from there on, ns: 2.5 us round trip with the
/// server's, as [`crate::replay::Latency`] has it.
const TO_TAP_NS: u64 = 500;
const FROM_TAP_NS: u64 = 500;
/// From request to answer inside an adapter, ns.
const EXECUTION_NS: u64 = 500;
/// Software of a client between a completion and what follows from it, ns: polling, deciding,
/// posting. The spread keeps threads from running in lock-step.
const THINK_NS: std::ops::Range<u64> = 150..650;
/// Software of the metadata server per message, ns.
const METADATA_NS: u64 = 1_000;
/// Time until slots that had run out are asked for again, ns.
const RETRY_NS: u64 = 10_000;
/// Frames of one packet fit.
const FRAME_BYTES: usize = 2_048;

/// Receives each frame that passes the tap, with its time in ns since 1970.
pub(super) type Tap<'a> = dyn FnMut(u64, &[u8]) -> Result<(), CaptureError> + 'a;

/// Who posted a verb.
#[derive(Clone, Copy)]
enum Asker {
    Client(Ticket),
    Metadata(u64),
}

/// What software is told, after the time it takes to notice.
enum Notice {
    /// The next operation of a worker may begin.
    Begin(u16),
    Completed(Ticket, clover::Outcome),
    Written(u64, Vec<u8>),
    Message(Vec<u8>),
}

enum Event {
    /// A frame passes the tap, towards the end of that index.
    AtTap(usize, usize, Vec<u8>),
    /// A frame arrives.
    Arrives(usize, usize, Vec<u8>),
    /// A client machine, from 0, notices something.
    Client(usize, Notice),
    /// The metadata server notices what came on this client connection.
    Metadata(usize, Notice),
    /// A verb of the metadata server is complete.
    MetadataCompleted(u64),
}

/// The whole run.
pub(super) struct World<'a> {
    network: Network<Asker>,
    machines: Vec<Machine>,
    metadata: MetadataServer,
    drivers: Drivers,
    rng: rand_pcg::Pcg64,
    /// By time, then in the order they were caused.
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    caused: u64,
    now: u64,
    tap: &'a mut Tap<'a>,
    buffer: Vec<u8>,
    first_packet: Option<u64>,
    report: SynthReport,
}

impl<'a> World<'a> {
    pub(super) fn new(
        config: &SynthConfig,
        clover: &CloverConfig,
        tap: &'a mut Tap<'a>,
    ) -> Result<Self, SynthError> {
        Ok(Self {
            network: Network::new(clover, config.metadata),
            machines: (1..=clover.machines).map(|id| Machine::new(clover, id)).collect(),
            metadata: MetadataServer::new(clover),
            drivers: Drivers::new(config)?,
            rng: generator(config.seed, 0),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            caused: 0,
            now: START_NS,
            tap,
            buffer: vec![0; FRAME_BYTES],
            first_packet: None,
            report: SynthReport::default(),
        })
    }

    /// Runs until nothing is left to happen.
    pub(super) fn run(mut self, progress: &mut dyn FnMut(u64)) -> Result<SynthReport, SynthError> {
        self.notice(0, Notice::Begin(0), 0);
        while let Some(Reverse((time, number))) = self.queue.pop() {
            self.now = time;
            let Some(event) = self.events.remove(&number) else { continue };
            self.step(event)?;
            if number.is_multiple_of(4_096) {
                progress(self.report.operations);
            }
        }
        self.finish()
    }

    fn step(&mut self, event: Event) -> Result<(), SynthError> {
        match event {
            Event::AtTap(connection, end, frame) => {
                let link = &mut self.network.connections[connection];
                if link.tapped {
                    link.seen = true;
                    (self.tap)(self.now, &frame)?;
                    self.report.packets += 1;
                    self.report.frame_bytes += frame.len() as u64;
                    let first = *self.first_packet.get_or_insert(self.now);
                    self.report.duration_ns = self.now - first;
                }
                self.after(FROM_TAP_NS, Event::Arrives(connection, end, frame));
            }
            Event::Arrives(connection, end, frame) => self.arrive(connection, end, &frame)?,
            Event::Client(machine, notice) => self.tell_client(machine, notice)?,
            Event::Metadata(connection, notice) => {
                let (machine, lane) = self.network.client_of(connection);
                let now = self.now - START_NS;
                match notice {
                    Notice::Message(data) => {
                        self.metadata.handle_message(now, machine as u16 + 1, lane, &data);
                    }
                    Notice::Written(address, data) => self.metadata.handle_write(address, &data),
                    Notice::Begin(_) | Notice::Completed(..) => {}
                }
                self.drive_metadata();
            }
            Event::MetadataCompleted(ticket) => {
                self.metadata.handle_completion(ticket);
                self.drive_metadata();
            }
        }
        Ok(())
    }

    /// A frame arrives at an adapter, which answers by itself and tells the software.
    fn arrive(&mut self, connection: usize, end: usize, frame: &[u8]) -> Result<(), SynthError> {
        let here = &mut self.network.connections[connection].ends[end];
        let host = here.host;
        let memory = &mut self.network.hosts[host].memory;
        let notice = match here.handle_frame(self.now, frame, memory) {
            Arrived::Write { address, data } => Some(Notice::Written(address, data)),
            Arrived::Message(data) => Some(Notice::Message(data)),
            Arrived::Nothing => None,
        };
        match (notice, host.checked_sub(FIRST_CLIENT)) {
            (Some(notice), Some(machine)) => self.notice(machine, notice, 0),
            (Some(notice), None) if host == METADATA_SERVER => {
                self.after(METADATA_NS, Event::Metadata(connection, notice));
            }
            // Nothing runs on the memory node.
            _ => {}
        }
        while let Some((asker, completion)) =
            self.network.connections[connection].ends[end].poll_completion()
        {
            if completion.status != Status::Success {
                return Err(SynthError::Models(format!("a verb ended as {:?}", completion.status)));
            }
            match asker {
                Asker::Client(ticket) => {
                    let notice = Notice::Completed(ticket, outcome(completion.outcome));
                    self.notice(host - FIRST_CLIENT, notice, 0);
                }
                Asker::Metadata(ticket) => {
                    self.after(METADATA_NS, Event::MetadataCompleted(ticket));
                }
            }
        }
        self.transmit(connection, end);
        Ok(())
    }

    fn tell_client(&mut self, index: usize, notice: Notice) -> Result<(), SynthError> {
        let machine = &mut self.machines[index];
        match notice {
            Notice::Begin(worker) => {
                // A worker that is busy has begun otherwise, after a retry.
                if machine.idle(worker) > 0
                    && let Some(request) = self.drivers.next(index, worker)
                {
                    machine.submit(worker, request);
                }
            }
            Notice::Completed(ticket, outcome) => machine.handle_completion(ticket, outcome),
            Notice::Written(address, data) => machine.handle_write(address, &data),
            Notice::Message(data) => machine.handle_message(&data),
        }
        self.drive_client(index)
    }

    /// Posts what the machine wants, and lets its threads go on.
    fn drive_client(&mut self, index: usize) -> Result<(), SynthError> {
        while let Some(post) = self.machines[index].poll_post() {
            let connection = self.network.of_client(index, post.to, post.lane);
            let end = &mut self.network.connections[connection].ends[0];
            end.post(Asker::Client(post.ticket), verb(post.verb));
            self.transmit(connection, 0);
        }
        while let Some(finished) = self.machines[index].poll_finished() {
            self.on_finished(index, &finished)?;
        }
        Ok(())
    }

    fn on_finished(&mut self, machine: usize, finished: &Finished) -> Result<(), SynthError> {
        let Finished { worker, request, how } = *finished;
        match (how, request) {
            (FinishedHow::Done, Request::Insert { .. }) => {
                self.report.keys_opened += 1;
                if self.drivers.on_opened() {
                    self.begin_all();
                    return Ok(());
                }
            }
            (FinishedHow::Done, Request::Read { .. }) => {
                self.report.operations += 1;
                self.report.reads += 1;
            }
            (FinishedHow::Done, Request::Update { .. }) => {
                self.report.operations += 1;
                self.report.updates += 1;
            }
            (FinishedHow::NoSpace, _) => {
                self.drivers.again(machine, worker, request);
                self.notice(machine, Notice::Begin(worker), RETRY_NS);
                return Ok(());
            }
            (FinishedHow::Missing | FinishedHow::Failed, _) => {
                return Err(SynthError::Models(format!("{request:?} ended as {how:?}")));
            }
        }
        self.notice(machine, Notice::Begin(worker), 0);
        Ok(())
    }

    /// All keys are open: every thread begins, with all the operations it runs at a time.
    fn begin_all(&mut self) {
        for (machine, worker) in self.drivers.places() {
            for _ in 0..self.machines[machine].idle(worker) {
                self.notice(machine, Notice::Begin(worker), 0);
            }
        }
    }

    fn drive_metadata(&mut self) {
        while let Some(post) = self.metadata.poll_post() {
            let (connection, end) = match post.to {
                MetadataPeer::Memory => (self.network.of_metadata(), 0),
                MetadataPeer::Client { machine, lane } => {
                    let machine = usize::from(machine).saturating_sub(1);
                    (self.network.of_client(machine, Peer::Metadata, lane), 1)
                }
            };
            let here = &mut self.network.connections[connection].ends[end];
            here.post(Asker::Metadata(post.ticket), verb(post.verb));
            self.transmit(connection, end);
        }
    }

    /// Sends what an adapter may send.
    fn transmit(&mut self, connection: usize, end: usize) {
        let here = &mut self.network.connections[connection].ends[end];
        let host = &mut self.network.hosts[here.host];
        let mut sent = Vec::new();
        while let Some(frame) = here.poll_transmit(self.now, host, &mut self.buffer) {
            sent.push(frame);
        }
        for (frame, is_answer) in sent {
            let delay = if is_answer { EXECUTION_NS + TO_TAP_NS } else { TO_TAP_NS };
            self.after(delay, Event::AtTap(connection, 1 - end, frame));
        }
    }

    /// Software of a client notices something, a while from now.
    fn notice(&mut self, machine: usize, notice: Notice, extra_ns: u64) {
        let think = self.rng.random_range(THINK_NS);
        self.after(think + extra_ns, Event::Client(machine, notice));
    }

    fn after(&mut self, delay_ns: u64, event: Event) {
        self.caused += 1;
        self.queue.push(Reverse((self.now + delay_ns, self.caused)));
        self.events.insert(self.caused, event);
    }

    fn finish(self) -> Result<SynthReport, SynthError> {
        for connection in &self.network.connections {
            if let Some(complaint) = connection.ends.iter().find_map(|end| end.complaints()) {
                return Err(SynthError::Models(complaint));
            }
        }
        if !self.machines.iter().all(Machine::is_idle) || !self.drivers.is_open() {
            return Err(SynthError::Models("a client waits for what never comes".to_owned()));
        }
        let mut report = self.report;
        report.connections = self.network.connections.iter().filter(|c| c.seen).count() as u64;
        for stats in self.machines.iter().map(Machine::stats) {
            report.commits += stats.commits;
            report.commits_lost += stats.commits_lost;
            report.hops += stats.hops;
            report.metadata_requests += stats.requests;
        }
        report.slots_recycled = self.metadata.stats().recycled;
        Ok(report)
    }
}

fn verb(verb: clover::Verb) -> Verb {
    match verb {
        clover::Verb::Write { address, rkey, data } => {
            Verb::Write { address, rkey, data, immediate: None }
        }
        clover::Verb::Read { address, rkey, length } => Verb::Read { address, rkey, length },
        clover::Verb::CompareSwap { address, rkey, compare, swap } => {
            Verb::CompareSwap { address, rkey, compare, swap }
        }
        clover::Verb::Send { data } => Verb::Send { data, immediate: None },
    }
}

fn outcome(outcome: Outcome) -> clover::Outcome {
    match outcome {
        Outcome::None => clover::Outcome::Done,
        Outcome::Read(data) => clover::Outcome::Read(data),
        Outcome::Atomic(before) => clover::Outcome::Atomic(before),
    }
}
