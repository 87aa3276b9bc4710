//! Clients, middlebox and servers around one clock, with faults on the legs between them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::IpAddr;

use qpmux_engine::wire::{Classified, Layout, Syndrome, classify, icrc};
use qpmux_engine::{Counters, Nanos, Side};

use super::dice::Dice;
use super::faults::{Fate, Faults, Leg};
use super::judge::{self, Asked};
use super::plan::{Plan, PlannedConnection, shard_of};
use super::trace::Trace;
use super::workload::{Workload, initial_memory};
use crate::host::Host;
use crate::memory::{DIGEST_START, EffectLog, Memory, digest_more};
use crate::rc::{
    AnswerAudit, AnswerAuditConfig, RequestAudit, RequestAuditConfig, Requester, Responder,
    Violations,
};

/// What happens next, and to whom. Ties in time are broken by the order here, then by
/// connection, so that the order is the same for any number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A packet comes to the end of a leg of this connection.
    End(Leg, u32),
    WakeServer(u32),
    WakeClient(u32),
    WakeBox,
}

/// One connection: both ends, those who judge its packets, and the faults on its legs.
pub(super) struct Connection {
    pub(super) requester: Requester,
    pub(super) responder: Responder,
    pub(super) workload: Workload,
    pub(super) outstanding: usize,
    /// What was posted, and how it ended.
    pub(super) asked: Vec<Asked>,
    requests: RequestAudit,
    answers: AnswerAudit,
    credits: u8,
    faults: [Faults; 4],
    /// Digest of time and bytes of everything sent on each leg.
    streams: [u64; 4],
    wake: [u64; 2],
}

/// The whole run.
pub(super) struct World<'a> {
    pub(super) plan: &'a Plan,
    shards: u8,
    host: Host,
    pub(super) connections: Vec<Connection>,
    by_client: BTreeMap<(IpAddr, u32), u32>,
    by_server: BTreeMap<(IpAddr, u32), u32>,
    pub(super) initial: Memory,
    pub(super) memory: Memory,
    pub(super) log: EffectLog,
    queue: BinaryHeap<Reverse<(u64, Place, u64)>>,
    /// Frames on their way, by number.
    frames: BTreeMap<u64, Vec<u8>>,
    sequence: BTreeMap<Place, u64>,
    box_wake: u64,
    pub(super) now: u64,
    pub(super) events: u64,
    pub(super) faults: u64,
    /// Damaged packets that passed.
    pub(super) passed: u64,
    /// Time of the last fault.
    last_fault: u64,
    pub(super) trace: Trace,
    pub(super) violations: Violations,
    buffer: Vec<u8>,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, shards: u8) -> Result<Self, String> {
        let directory = plan.directory(shards).map_err(|error| error.to_string())?;
        let host = Host::new(&plan.engine, &plan.policy, &directory, shards)
            .map_err(|error| error.to_string())?
            .with_out_capacity(plan.out_capacity);
        let clients = plan.connections.len() as u32;
        let connections: Vec<Connection> = (0..)
            .zip(&plan.connections)
            .map(|(i, planned)| Connection::new(plan.seed, i, clients, planned))
            .collect();
        let link = |i: u32| &plan.connections[i as usize].requester.link;
        let memory = initial_memory();
        Ok(World {
            plan,
            shards,
            host,
            connections,
            by_client: (0..clients)
                .map(|i| ((link(i).path.source, link(i).qpn.value()), i))
                .collect(),
            by_server: (0..clients)
                .map(|i| ((link(i).path.destination, link(i).peer_qpn.value()), i))
                .collect(),
            initial: memory.clone(),
            memory,
            log: EffectLog::new(),
            queue: BinaryHeap::new(),
            frames: BTreeMap::new(),
            sequence: BTreeMap::new(),
            box_wake: u64::MAX,
            now: 0,
            events: 0,
            faults: 0,
            passed: 0,
            last_fault: 0,
            trace: Trace::default(),
            violations: Violations::new(),
            buffer: vec![0; 4096],
        })
    }

    /// Runs until nothing is left to happen, or for longer than it may take.
    pub(super) fn run(&mut self) {
        for i in 0..self.connections.len() as u32 {
            self.drive_client(i);
        }
        while let Some(Reverse((time, place, number))) = self.queue.pop() {
            self.now = time;
            self.events += 1;
            if time > self.last_fault + self.patience() {
                self.violations.record("O7", time, || "not done in time".into());
                break;
            }
            self.step(place, number);
        }
        judge::judge(self);
    }

    /// Time within which everything is done after the last fault, ns.
    fn patience(&self) -> u64 {
        let requests: u64 = self.plan.connections.iter().map(|c| u64::from(c.requests)).sum();
        20 * self.plan.client_timeout_max() + requests * 50_000
    }

    /// What each connection's legs have carried.
    pub(super) fn streams(&self) -> Vec<[u64; 4]> {
        self.connections.iter().map(|connection| connection.streams).collect()
    }

    pub(super) fn counters(&self) -> Counters {
        self.host.counters()
    }

    /// Buffers, client requests and server requests that are still open.
    pub(super) fn open(&self) -> (usize, usize, usize) {
        self.host.open()
    }

    fn step(&mut self, place: Place, number: u64) {
        match place {
            Place::End(leg, i) => {
                let frame = self.frames.remove(&number).unwrap_or_default();
                self.arrive(leg, i, &frame);
            }
            Place::WakeServer(i) => {
                let connection = &mut self.connections[i as usize];
                if connection.wake[1] == self.now {
                    connection.wake[1] = u64::MAX;
                    connection.responder.handle_timeout(self.now);
                    self.drive_server(i);
                }
            }
            Place::WakeClient(i) => {
                let connection = &mut self.connections[i as usize];
                if connection.wake[0] == self.now {
                    connection.wake[0] = u64::MAX;
                    connection.requester.handle_timeout(self.now);
                    self.drive_client(i);
                }
            }
            Place::WakeBox => {
                if self.box_wake == self.now {
                    self.box_wake = u64::MAX;
                    let mut sent = Vec::new();
                    let now = Nanos(self.now);
                    self.host.timeout(now, &mut |side, frame| sent.push((side, frame.to_vec())));
                    self.dispatch(sent, &[]);
                }
            }
        }
    }

    fn arrive(&mut self, leg: Leg, i: u32, frame: &[u8]) {
        let now = self.now;
        let connection = &mut self.connections[i as usize];
        match leg {
            Leg::ClientToBox => {
                connection.answers.observe_request(now, frame);
                self.offer(i, Side::Client, frame);
            }
            Leg::BoxToServer => {
                connection.responder.handle_frame(now, frame, &mut self.memory, &mut self.log);
                self.drive_server(i);
            }
            Leg::ServerToBox => {
                connection.requests.observe_answer(now, frame);
                self.offer(i, Side::Server, frame);
            }
            Leg::BoxToClient => {
                connection.requester.handle_frame(now, frame);
                self.drive_client(i);
            }
        }
    }

    fn offer(&mut self, i: u32, side: Side, frame: &[u8]) {
        let elsewhere = u8::from(self.plan.asymmetric && side == Side::Server);
        let shard = shard_of(i, self.shards) + elsewhere;
        let mut sent = Vec::new();
        let emit = &mut |side, frame: &[u8]| sent.push((side, frame.to_vec()));
        self.host.offer(shard, side, Nanos(self.now), frame, emit);
        self.dispatch(sent, frame);
    }

    /// What the middlebox sent travels on. `came` is what came in.
    fn dispatch(&mut self, sent: Vec<(Side, Vec<u8>)>, came: &[u8]) {
        for (side, frame) in sent {
            let layout = match classify(&frame) {
                Ok(Classified::Rc(layout)) => Some(layout),
                _ => None,
            };
            let intact = layout.as_ref().is_some_and(|layout| icrc::verify(&frame, layout));
            if !intact && frame == came {
                // A packet that is not what it was passes, and nobody will believe it.
                self.passed += 1;
                continue;
            }
            self.emit(side, &frame, layout);
        }
        if let Some(Nanos(deadline)) = self.host.next_deadline(Nanos(self.now))
            && deadline < self.box_wake
        {
            self.box_wake = deadline.max(self.now + 1);
            self.queue.push(Reverse((self.box_wake, Place::WakeBox, 0)));
        }
    }

    /// A packet of the middlebox goes out: judged first, then left to its fate.
    fn emit(&mut self, side: Side, frame: &[u8], layout: Option<Layout>) {
        let found = layout.as_ref().and_then(|layout| {
            let to = (layout.destination, layout.dest_qp.value());
            match side {
                Side::Client => self.by_client.get(&to).map(|&i| (Leg::BoxToClient, i)),
                Side::Server => self.by_server.get(&to).map(|&i| (Leg::BoxToServer, i)),
            }
        });
        let (Some((leg, i)), Some(layout)) = (found, layout) else {
            self.violations.record("O9", self.now, || "a packet for nobody was sent".into());
            return;
        };
        let connection = &mut self.connections[i as usize];
        if side == Side::Client {
            connection.answers.observe_answer(self.now, frame);
            if let Some(Syndrome::Ack { credits }) = layout.aeth(frame).map(|aeth| aeth.syndrome)
                && credits != connection.credits
            {
                let text = || format!("client {i} was told the credits {credits} of another");
                self.violations.record("I-C16", self.now, text);
            }
        } else {
            connection.requests.observe_request(self.now, frame);
        }
        self.send(leg, i, frame.to_vec());
    }

    /// Posts what may be posted, sends what may be sent, takes what is complete.
    fn drive_client(&mut self, i: u32) {
        let connection = &mut self.connections[i as usize];
        connection.take_completions();
        connection.post();
        let mut packets = Vec::new();
        while let Some(len) = connection.requester.poll_transmit(self.now, &mut self.buffer) {
            packets.push(self.buffer[..len].to_vec());
        }
        let due = connection.requester.poll_timeout().map(|due| due.max(self.now + 1));
        self.wake(0, i, due, Place::WakeClient(i));
        for packet in packets {
            self.send(Leg::ClientToBox, i, packet);
        }
    }

    fn drive_server(&mut self, i: u32) {
        let connection = &mut self.connections[i as usize];
        let mut packets = Vec::new();
        while let Some(len) = connection.responder.poll_transmit(self.now, &mut self.buffer) {
            packets.push(self.buffer[..len].to_vec());
        }
        let due = connection.responder.poll_timeout().map(|due| due.max(self.now + 1));
        self.wake(1, i, due, Place::WakeServer(i));
        for packet in packets {
            self.send(Leg::ServerToBox, i, packet);
        }
    }

    fn wake(&mut self, end: usize, i: u32, due: Option<u64>, place: Place) {
        let wake = &mut self.connections[i as usize].wake[end];
        if let Some(due) = due.filter(|due| due < wake) {
            *wake = due;
            self.queue.push(Reverse((due, place, 0)));
        }
    }

    /// A packet sets out on a leg, and meets its fate.
    fn send(&mut self, leg: Leg, i: u32, mut frame: Vec<u8>) {
        let connection = &mut self.connections[i as usize];
        let fate = connection.faults[leg as usize].next();
        let stream = &mut connection.streams[leg as usize];
        *stream = digest_more(digest_more(*stream, &self.now.to_le_bytes()), &frame);
        self.trace.note(self.now, leg, i, fate, &frame);
        if fate != Fate::Deliver {
            self.faults += 1;
            self.last_fault = self.now;
        }
        let (client, server) = self.plan.latency;
        let delay = if leg.is_client_side() { client } else { server };
        match fate {
            Fate::Deliver => self.fly(delay, leg, i, frame),
            Fate::Drop => {}
            Fate::Double(later) => {
                self.fly(delay + later, leg, i, frame.clone());
                self.fly(delay, leg, i, frame);
            }
            Fate::Delay(by) => self.fly(delay + by, leg, i, frame),
            Fate::Corrupt(bit) => {
                let bits = (frame.len() - 14) as u64 * 8;
                let at = bit % bits;
                frame[14 + (at / 8) as usize] ^= 1 << (at % 8);
                self.fly(delay, leg, i, frame);
            }
        }
    }

    fn fly(&mut self, delay: u64, leg: Leg, i: u32, frame: Vec<u8>) {
        let place = Place::End(leg, i);
        let count = self.sequence.entry(place).or_default();
        *count += 1;
        // Unique, and in the order of sending among the packets of one leg.
        let number = *count << 16 | u64::from(i) << 2 | leg as u64;
        self.frames.insert(number, frame);
        self.queue.push(Reverse((self.now + delay, place, number)));
    }
}

impl Connection {
    fn new(seed: u64, i: u32, clients: u32, planned: &PlannedConnection) -> Connection {
        let (requester, responder) = (planned.requester.clone(), planned.responder.clone());
        let requests = RequestAuditConfig {
            max_rd_atomic: responder.max_dest_rd_atomic,
            ..RequestAuditConfig::new(responder.link.clone(), responder.start_psn)
        };
        let answers = AnswerAuditConfig {
            msn_start: requester.msn_start,
            explicit_acks: true,
            ..AnswerAuditConfig::new(requester.link.clone(), requester.start_psn)
        };
        let faults = |leg: Leg| {
            let dice = Dice::new(seed, 10 + leg as u64, u64::from(i));
            Faults::new(planned.rates[leg as usize], dice)
        };
        let dice = Dice::new(seed, 3, u64::from(i));
        Connection {
            credits: responder.credits,
            requester: Requester::new(requester),
            responder: Responder::new(responder),
            workload: Workload::new(i, clients, planned.requests, planned.mix, dice),
            outstanding: planned.outstanding,
            asked: Vec::new(),
            requests: RequestAudit::new(requests),
            answers: AnswerAudit::new(answers),
            faults: Leg::ALL.map(faults),
            streams: [DIGEST_START; 4],
            wake: [u64::MAX; 2],
        }
    }

    fn take_completions(&mut self) {
        while let Some(completion) = self.requester.poll_completion() {
            let Some(asked) = self.asked.get_mut(completion.id.0 as usize) else { continue };
            self.workload.learn(&asked.verb, completion.status, &completion.outcome);
            asked.end = Some(completion);
        }
    }

    fn post(&mut self) {
        while self.requester.pending() < self.outstanding {
            let Some(verb) = self.workload.next() else { return };
            self.requester.post(verb.clone());
            self.asked.push(Asked { verb, end: None });
        }
    }

    /// All rules of transport that were broken on this connection.
    pub(super) fn transport_violations(&self) -> Violations {
        let mut all = self.requester.violations().clone();
        all.merge(self.responder.violations());
        all.merge(self.requests.violations());
        all.merge(self.answers.violations());
        all
    }
}
