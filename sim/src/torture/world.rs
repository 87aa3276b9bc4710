//! Clients, middlebox and servers around one clock, with faults on the legs between them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::IpAddr;

use qpmux_engine::wire::{Classified, Layout, Syndrome, classify, icrc};
use qpmux_engine::{Counters, DropReason, Nanos, Side};

use super::connection::{Connection, request_audit};
use super::crash::{Contents, Outlet};
use super::hosts;
use super::judge;
use super::marks::Marks;
use super::noise;
use super::notices::Notices;
use super::plan::{Plan, shard_of};
use super::tally::{Seen, Tally};
use super::trace::Trace;
use super::workload::initial_memory;
use crate::faults::{Fate, Fault, Leg, damage, damage_data, mark, mended};
use crate::host::Host;
use crate::memory::{EffectLog, Memory, digest_more};
use crate::rc::Violations;

/// Things that may happen in a run before it counts as one that never ends.
const EVENTS_MIN: u64 = 20_000;
const EVENTS_PER_REQUEST: u64 = 1_000;

/// What happens next, and to whom. Ties in time are broken by the order here, then by
/// connection, so that the order is the same for any number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A packet comes to the end of a leg of this connection.
    End(Leg, u32),
    /// So does what is none of its packets.
    Noise(Leg, u32, Option<DropReason>),
    WakeServer(u32),
    WakeClient(u32),
    /// It asks for the end of its connection again.
    AskForEnd(u32),
    WakeBox,
}

/// The whole run.
pub(super) struct World<'a> {
    pub(super) plan: &'a Plan,
    pub(super) shards: u8,
    /// Packets that still pass before the engine sees any.
    unseen: u64,
    pub(super) host: Host,
    pub(super) outlet: Outlet,
    contents: Contents,
    pub(super) notices: Notices,
    /// Engines that have crashed, and what they had counted.
    pub(super) crashes: usize,
    pub(super) past: Counters,
    pub(super) connections: Vec<Connection>,
    by_client: BTreeMap<(IpAddr, u32), u32>,
    by_server: BTreeMap<(IpAddr, u32), u32>,
    pub(super) initial: Memory,
    pub(super) memory: Memory,
    pub(super) log: EffectLog,
    queue: BinaryHeap<Reverse<(u64, Place, u64)>>,
    /// Frames on their way, by number.
    pub(super) frames: BTreeMap<u64, Vec<u8>>,
    sequence: BTreeMap<(Leg, u32), u64>,
    box_wake: u64,
    pub(super) now: u64,
    /// Things that have happened so far.
    pub(super) events: u64,
    /// The faults that have happened, in their order.
    pub(super) faults: Vec<Fault>,
    /// All packets, in the order of sending.
    pub(super) sent: Vec<(Leg, u32)>,
    /// How many of them there were when a connection went over into translation.
    pub(super) flipped_at: Vec<usize>,
    /// Damaged packets, and notifications, that passed.
    pub(super) passed: u64,
    /// Time of the last fault.
    pub(super) last_fault: u64,
    /// Kept only on demand: it costs more than the rest of a small run.
    pub(super) trace: Option<Trace>,
    pub(super) seen: Seen,
    marks: Marks,
    pub(super) violations: Violations,
    buffer: Vec<u8>,
}

impl<'a> World<'a> {
    /// The run of a plan, before its first event.
    pub(super) fn new(plan: &'a Plan) -> Result<Self, String> {
        let directory = plan.directory().map_err(|error| error.to_string())?;
        let (config, policy) = (plan.config(), plan.policy());
        let host = Host::new(&config, &policy, &directory, plan.shards())
            .map_err(|error| error.to_string())?
            .with_out_capacity(plan.out_capacity);
        let outlet = Outlet::default();
        outlet.begin(plan.crashes.first());
        let host = if plan.crashes.is_empty() { host } else { host.with_records(outlet.sink()) };
        let clients = plan.clients.len() as u32;
        let connections: Vec<Connection> = (0..clients).map(|i| Connection::new(plan, i)).collect();
        let links: Vec<_> = (0..clients).map(|i| plan.link(i)).collect();
        let link = |i: u32| &links[i as usize];
        let memory = initial_memory();
        Ok(World {
            plan,
            shards: plan.shards(),
            unseen: plan.learning.map_or(0, |learning| learning.unseen),
            host,
            outlet,
            contents: Contents::default(),
            notices: Notices::default(),
            crashes: 0,
            past: Counters::default(),
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
            faults: Vec::new(),
            sent: Vec::new(),
            flipped_at: Vec::new(),
            passed: 0,
            last_fault: 0,
            trace: None,
            seen: Seen::default(),
            marks: Marks::default(),
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
            if time > self.last_fault + hosts::patience(self.plan) {
                // A timer for what may come later does no harm.
                if !self.is_done() {
                    self.violations.record("O7", time, || "not done in time".into());
                }
                break;
            }
            if self.events > EVENTS_MIN + EVENTS_PER_REQUEST * self.plan.requests() {
                self.violations.record("O7", time, || "busy without end".into());
                break;
            }
            self.step(place, number);
        }
        judge::judge(self);
    }

    /// Whether every client that lives has an end of all that it asks for.
    fn is_done(&self) -> bool {
        let done = |c: &Connection| c.is_forsaken() || (c.is_done() && c.requester.pending() == 0);
        let done = |c: &Connection| done(c) && (c.left == c.answered || c.has_stopped());
        self.connections.iter().all(done)
    }

    /// What each connection's legs have carried.
    pub(super) fn streams(&self) -> Vec<[u64; 4]> {
        self.connections.iter().map(|connection| connection.streams).collect()
    }

    /// Connections that have gone over into translation.
    fn flips(&self) -> u64 {
        if self.plan.learning.is_some() { self.host.counters().flips } else { 0 }
    }

    /// What all engines have counted.
    pub(super) fn counters(&self) -> Counters {
        let mut sum = self.past.clone();
        sum.merge(&self.host.counters());
        sum
    }

    /// Buffers, client requests and server requests that are still open.
    pub(super) fn open(&self) -> (usize, usize, usize) {
        self.host.open()
    }

    /// What the run adds to all runs.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally { seen: self.seen, counters: self.counters(), ..Tally::default() };
        tally.seen.marks_carried += self.marks.carried;
        tally.requests = self.connections.iter().map(|c| c.asked.len() as u64).sum();
        for fault in &self.faults {
            tally.faults[fault.what as usize] += 1;
        }
        for (planned, connection) in self.plan.clients.iter().zip(&self.connections) {
            tally.requester.add(&connection.requester.stats());
            tally.responder.add(&connection.responder.stats());
            tally.seen.servers_ended += u64::from(connection.responder.has_ended());
            tally.implied_repairs += connection.requests.implied_repairs();
            for (sum, faults) in tally.packets.iter_mut().zip(&connection.faults) {
                *sum += faults.packets;
            }
            let wraps = |from: u32, to: u32| u64::from(to < from);
            let (client, server) = (&connection.requester, &connection.responder);
            tally.seen.client_psn_wraps += wraps(planned.psn, client.next_psn().value());
            tally.seen.server_psn_wraps += wraps(planned.psn, server.expected_psn().value());
            tally.seen.msn_wraps += wraps(planned.msn, server.msn().value());
        }
        tally
    }

    fn step(&mut self, place: Place, number: u64) {
        match place {
            Place::End(leg, i) => {
                // A crash may have taken it along.
                if let Some(frame) = self.frames.remove(&number) {
                    self.arrive(leg, i, &frame);
                }
            }
            Place::Noise(leg, i, reason) => {
                if let Some(frame) = self.frames.remove(&number) {
                    self.offer_noise(leg, i, &frame, reason);
                }
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
                    if self.now < connection.deaf_until {
                        let due = Some(connection.deaf_until);
                        return self.wake(0, i, due, Place::WakeClient(i));
                    }
                    connection.requester.handle_timeout(self.now);
                    self.drive_client(i);
                }
            }
            Place::AskForEnd(i) => self.ask_for_end(i),
            Place::WakeBox => {
                if self.box_wake == self.now {
                    self.box_wake = u64::MAX;
                    let sent = self.with_host(|host, now, emit| _ = host.timeout(now, emit));
                    self.dispatch(sent, &[]);
                    self.crash_if_due();
                }
            }
        }
    }

    fn arrive(&mut self, leg: Leg, i: u32, frame: &[u8]) {
        let now = self.now;
        let connection = &self.connections[i as usize];
        let deaf = connection.has_stopped() || now < connection.deaf_until;
        if leg == Leg::BoxToClient && deaf {
            return;
        }
        if matches!(leg, Leg::BoxToServer | Leg::BoxToClient) {
            self.notify(leg, i, frame);
        }
        if self.plan.learning.is_some() && self.is_past(leg, i, frame) {
            return;
        }
        let connection = &mut self.connections[i as usize];
        match leg {
            Leg::ClientToBox => {
                self.offer(i, Side::Client, frame);
                self.leave_if_done(i);
            }
            Leg::BoxToServer => {
                let before = connection.responder.has_ended();
                connection.responder.handle_frame(now, frame, &mut self.memory, &mut self.log);
                if connection.responder.has_ended() && !before {
                    self.last_fault = now;
                }
                self.drive_server(i);
            }
            Leg::ServerToBox => {
                if let Some(witness) = &mut connection.witness {
                    witness.note_answer(frame);
                }
                self.offer(i, Side::Server, frame);
            }
            Leg::BoxToClient => {
                connection.requester.handle_frame(now, frame);
                self.drive_client(i);
            }
        }
    }

    fn offer(&mut self, i: u32, side: Side, frame: &[u8]) {
        if self.plan.notifies {
            if self.offer_notice(i, side, frame) {
                return;
            }
            if side == Side::Client {
                self.notices.note_asked(i, frame);
            }
        }
        let elsewhere = u8::from(self.plan.asymmetric && side == Side::Server);
        let shard = shard_of(i, self.shards) + elsewhere;
        let mut sent = Vec::new();
        if self.unseen > 0 {
            self.unseen -= 1;
            sent.push((side.opposite(), frame.to_vec()));
        } else {
            let flips = self.flips();
            sent = self.with_host(|host, now, emit| host.offer(shard, side, now, frame, emit));
            if self.flips() > flips {
                self.begin_translation(i, side, frame);
            }
        }
        let was = self.plan.trusts_link().then(|| mended(frame)).flatten();
        let frame = was.as_deref().unwrap_or(frame);
        let connection = &mut self.connections[i as usize];
        match side {
            Side::Client if connection.audited => {
                connection.answers.observe_request(self.now, frame);
            }
            Side::Server if connection.audited => {
                connection.requests.observe_answer(self.now, frame);
            }
            Side::Client if connection.learnt && sent.is_empty() => {
                connection.held.push(frame.to_vec())
            }
            _ => {}
        }
        self.seen.note(side, frame, &sent);
        if let Some(lost) = self.marks.note(side, frame, &sent) {
            self.violations.record("ECN", self.now, || lost);
        }
        self.dispatch(sent, frame);
        self.crash_if_due();
    }

    /// A connection has gone over into translation with this frame: the next request, or the last
    /// answer to those before. Its server has done all that was asked before, and nothing else.
    fn begin_translation(&mut self, i: u32, side: Side, frame: &[u8]) {
        self.flipped_at.push(self.sent.len());
        let Ok(Classified::Rc(layout)) = classify(frame) else { return };
        let start = if side == Side::Client { layout.psn } else { layout.psn.add(1) };
        let responder = self.plan.responder(i);
        let connection = &mut self.connections[i as usize];
        let expected = connection.responder.expected_psn();
        if expected != start {
            let text =
                || format!("connection {i} flips at PSN {start}, its server is at {expected}");
            self.violations.record("F27", self.now, text);
        }
        (connection.audited, connection.start) = (true, start);
        connection.requests = request_audit(self.plan, &responder, start);
        connection.answers.begin(start, connection.responder.msn());
        for frame in std::mem::take(&mut connection.held) {
            let psn = match classify(&frame) {
                Ok(Classified::Rc(layout)) => layout.psn,
                _ => continue,
            };
            if !psn.is_before(start) {
                connection.answers.observe_request(self.now, &frame);
            }
        }
    }

    /// What the middlebox sent travels on. `came` is what came in.
    pub(super) fn dispatch(&mut self, sent: Vec<(Side, Vec<u8>)>, came: &[u8]) {
        for (side, frame) in sent {
            if self.plan.learning.is_some() && self.dispatch_message(side, &frame) {
                continue;
            }
            let layout = match classify(&frame) {
                Ok(Classified::Rc(layout)) => Some(layout),
                _ => None,
            };
            let intact = layout.as_ref().is_some_and(|layout| icrc::verify(&frame, layout));
            let trusted = self.plan.trusts_link() && layout.is_some();
            if !intact && frame == came && !trusted {
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

    /// The connection whose end on this side has this address and queue pair number.
    pub(super) fn end_of(&self, side: Side, to: (IpAddr, u32)) -> Option<u32> {
        match side {
            Side::Client => self.by_client.get(&to).copied(),
            Side::Server => self.by_server.get(&to).copied(),
        }
    }

    /// A packet of the middlebox goes out: judged first, then left to its fate. One that was
    /// damaged before, by a link that is trusted, is judged by what it was.
    fn emit(&mut self, side: Side, frame: &[u8], layout: Option<Layout>) {
        let was = self.plan.trusts_link().then(|| mended(frame)).flatten();
        let (sent, frame) = (frame, was.as_deref().unwrap_or(frame));
        let found = layout.as_ref().and_then(|layout| {
            let to = (layout.destination, layout.dest_qp.value());
            let leg = if side == Side::Client { Leg::BoxToClient } else { Leg::BoxToServer };
            self.end_of(side, to).map(|i| (leg, i))
        });
        let (Some((leg, i)), Some(layout)) = (found, layout) else {
            self.violations.record("O9", self.now, || "a packet for nobody was sent".into());
            return;
        };
        if side == Side::Server && self.has_crashes() && !self.contents.fits(i, &layout, frame) {
            let text = || format!("server queue pair {i}: PSN {} is something else", layout.psn);
            self.violations.record("I-S2", self.now, text);
        }
        if side == Side::Server {
            self.judge_released(i, &layout, frame);
        }
        if side == Side::Server && self.plan.notifies {
            self.notices.note_sent(i, &layout, frame);
        }
        let connection = &mut self.connections[i as usize];
        if side == Side::Server && was.is_some() {
            connection.requests.expect_fillers();
        }
        if side == Side::Client {
            if connection.audited {
                connection.answers.observe_answer(self.now, frame);
            }
            if let Some(Syndrome::Ack { credits }) = layout.aeth(frame).map(|aeth| aeth.syndrome)
                && credits != connection.credits
            {
                let text = || format!("client {i} was told the credits {credits} of another");
                self.violations.record("I-C16", self.now, text);
            }
        } else if connection.is_judged(&layout) {
            connection.requests.observe_request(self.now, frame);
            if let Some(witness) = &mut connection.witness {
                witness.note_request(frame, &layout);
            }
        }
        self.send(leg, i, sent.to_vec());
    }

    /// Posts what may be posted, sends what may be sent, takes what is complete.
    fn drive_client(&mut self, i: u32) {
        let connection = &mut self.connections[i as usize];
        connection.take_completions();
        connection.post();
        let mut packets = Vec::new();
        while !connection.has_stopped()
            && self.now >= connection.deaf_until
            && let Some(len) = connection.requester.poll_transmit(self.now, &mut self.buffer)
        {
            packets.push(self.buffer[..len].to_vec());
            connection.life = connection.life.map(|left| left - 1);
        }
        if connection.has_stopped() {
            self.last_fault = self.last_fault.max(self.now);
        }
        let due = connection.requester.poll_timeout().map(|due| due.max(self.now + 1));
        let due = due.filter(|_| !connection.has_stopped());
        self.wake(0, i, due, Place::WakeClient(i));
        for packet in packets {
            self.send(Leg::ClientToBox, i, packet);
        }
        self.leave_if_done(i);
    }

    fn has_crashes(&self) -> bool {
        !self.plan.crashes.is_empty()
    }

    /// A client says and hears nothing any more, for good or for so long, ns.
    pub(super) fn silence(&mut self, i: u32, silence_ns: Option<u64>) {
        let until = silence_ns.map_or(u64::MAX, |silence| self.now + silence);
        let connection = &mut self.connections[i as usize];
        connection.deaf_until = until;
        if until == u64::MAX {
            connection.life = Some(0);
        }
        self.last_fault = self.last_fault.max(silence_ns.map_or(0, |_| until));
        self.wake(0, i, silence_ns.map(|_| until), Place::WakeClient(i));
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
    pub(super) fn send(&mut self, leg: Leg, i: u32, mut frame: Vec<u8>) {
        let connection = &mut self.connections[i as usize];
        let fate = connection.faults[leg as usize].next();
        self.sent.push((leg, i));
        let stream = &mut connection.streams[leg as usize];
        *stream = digest_more(digest_more(*stream, &self.now.to_le_bytes()), &frame);
        if let Some(trace) = &mut self.trace {
            trace.note(self.now, leg, i, fate, &frame);
        }
        if let Some((what, by)) = fate.fault() {
            let packet = connection.faults[leg as usize].packets - 1;
            self.faults.push(Fault { leg, connection: i, packet, what, by });
            self.last_fault = self.now;
        }
        let Plan { client_latency_ns, server_latency_ns, .. } = self.plan;
        let delay = if leg.is_client_side() { *client_latency_ns } else { *server_latency_ns };
        match fate {
            Fate::Deliver => self.fly(delay, leg, i, frame),
            Fate::Drop => {}
            Fate::Double(later) => {
                self.fly(delay + later, leg, i, frame.clone());
                self.fly(delay, leg, i, frame);
            }
            Fate::Delay(by) => self.fly(delay + by, leg, i, frame),
            Fate::Corrupt(bit) => {
                match self.plan.trusts_link() {
                    true => damage_data(&mut frame, bit),
                    false => damage(&mut frame, bit),
                }
                self.fly(delay, leg, i, frame);
            }
            Fate::Mark => {
                mark(&mut frame);
                self.fly(delay, leg, i, frame);
            }
            Fate::Noise(number) => {
                if let Some((noise, reason)) = noise::beside(self.plan, leg, i, &frame, number) {
                    self.fly_to(Place::Noise(leg, i, reason), delay, (leg, i), noise);
                }
                self.fly(delay, leg, i, frame);
            }
        }
    }

    pub(super) fn ask_for_end_after(&mut self, delay: u64, i: u32) {
        self.queue.push(Reverse((self.now + delay, Place::AskForEnd(i), 0)));
    }

    fn fly(&mut self, delay: u64, leg: Leg, i: u32, frame: Vec<u8>) {
        self.fly_to(Place::End(leg, i), delay, (leg, i), frame);
    }

    fn fly_to(&mut self, place: Place, delay: u64, (leg, i): (Leg, u32), frame: Vec<u8>) {
        let count = self.sequence.entry((leg, i)).or_default();
        *count += 1;
        // Unique, and in the order of sending among the packets of one leg.
        let number = *count << 16 | u64::from(i) << 2 | leg as u64;
        self.frames.insert(number, frame);
        self.queue.push(Reverse((self.now + delay, place, number)));
    }
}
