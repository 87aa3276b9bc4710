//! The bytes decide what clients ask for, and which packets between them, the engine and the
//! servers come, are lost, doubled, late or damaged.
//!
//! Both ends are the strict models of [`qpmux_sim::rc`], so that conversations go on whatever
//! happens, and reach what random packets do not: connections that flip, guests, repairs. After
//! the last byte nothing is lost any more, and everything has to come to its end.

mod judge;
mod legs;
mod plan;

use std::collections::HashSet;

use qpmux_engine::wire::{Classified, Opcode, classify, icrc};
use qpmux_engine::{Counters, Nanos, Side};
use qpmux_sim::host::{Guard, Host};
use qpmux_sim::memory::{EffectLog, Memory};
use qpmux_sim::rc::{
    AnswerAudit, AnswerAuditConfig, Completion, RequestAudit, RequestAuditConfig, Requester,
    Responder, Verb,
};

use super::bytes::Bytes;
use super::traffic::{CLIENTS, Packet, REMOTE_KEY};
use legs::{Leg, Legs};
use plan::Plan;

/// Things that happen in one input.
const STEPS_MAX: usize = 400;
/// Requests that a client has outstanding at most.
const PENDING_MAX: usize = 8;
/// Packets in one go, and times that a clock runs out until all is done.
const PACKETS_MAX: usize = 20_000;
const CALM_MAX: usize = 600;
/// Time that a packet takes, ns.
const PACKET_NS: u64 = 200;

/// Has the conversation that the bytes say, and judges it. What the engine has counted.
pub(super) fn conversation(choice: u8, more: u8, bytes: &mut Bytes<'_>, guard: Guard) -> Counters {
    let Some(plan) = Plan::new(choice, more, bytes) else { return Counters::default() };
    let mut talk = Conversation::new(&plan, guard);
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        talk.step(bytes);
    }
    let done = talk.calm_down();
    judge::judge(&talk, done);
    talk.host.counters()
}

/// A request of a client, and how it ended.
struct Asked {
    verb: Verb,
    /// Whether its server takes it.
    good: bool,
    /// What a READ of the client's own memory finds there, or what was written later.
    expected: Option<Vec<u8>>,
    end: Option<Completion>,
}

/// A connection: both ends, and the judges of what the engine sends to them.
struct Ends {
    requester: Requester,
    responder: Responder,
    requests: RequestAudit,
    answers: AnswerAudit,
    asked: Vec<Asked>,
    /// The client says nothing and hears nothing any more.
    gone: bool,
}

struct Conversation<'a> {
    plan: &'a Plan,
    host: Host,
    ends: Vec<Ends>,
    legs: Legs,
    /// Frames that are damaged or none: such may go out as they came in.
    odd: HashSet<Vec<u8>>,
    memory: Memory,
    log: EffectLog,
    /// What the clients' own memory holds once all that was posted is done.
    posted: Memory,
    now: u64,
    buffer: Vec<u8>,
}

impl<'a> Conversation<'a> {
    fn new(plan: &'a Plan, guard: Guard) -> Self {
        let host = Host::new(&plan.engine, &plan.policy, &plan.directory, plan.shards)
            .expect("every plan's limits are possible")
            .with_out_capacity(plan.out_capacity)
            .with_guard(guard);
        Self {
            plan,
            host,
            ends: plan.ends.iter().map(Ends::new).collect(),
            legs: Legs::default(),
            odd: HashSet::new(),
            memory: Memory::new(),
            log: EffectLog::new(),
            posted: Memory::new(),
            now: 1_000_000,
            buffer: vec![0; 1024],
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let (what, who) = (bytes.byte(), bytes.byte());
        let client = usize::from(who) % CLIENTS;
        match what % 16 {
            0..=4 => {
                for _ in 0..=what >> 6 {
                    self.post(client, who >> 2, bytes.byte());
                }
            }
            5..=7 => self.deliver_all(),
            8 | 9 => (0..=who >> 4).for_each(|_| self.deliver_round()),
            10 => {
                if let Some(at) = self.legs.filled(who) {
                    self.deliver(at);
                }
            }
            11 => drop(self.legs.take(who)),
            12 => self.legs.double(who),
            13 => self.legs.swap(who),
            14 if who & 1 == 0 => {
                let pause = bytes.pause_ns();
                self.pass_time(pause.min(1 << 22));
            }
            14 => _ = self.wait(),
            _ => self.mischief(client, who, bytes),
        }
    }

    /// What a good network and a good client do not do.
    fn mischief(&mut self, client: usize, who: u8, bytes: &mut Bytes<'_>) {
        match who >> 2 & 7 {
            0 => self.ends[client].gone = true,
            1 | 2 if self.plan.hostile => {
                let length = usize::from(bytes.byte());
                let side = if who & 0x80 == 0 { Side::Client } else { Side::Server };
                let frame = bytes.take(length).to_vec();
                self.odd.insert(frame.clone());
                self.offer(client, side, &frame);
            }
            3..=5 if self.plan.hostile => {
                let (frame, side) = forged(&self.ends[client], client, who, bytes);
                self.offer(client, side, &frame);
            }
            _ => {
                let (at, change) = (usize::from(bytes.number()), bytes.byte());
                let damaged = self.legs.damage(who, at, change);
                self.odd.extend(damaged);
            }
        }
    }

    fn post(&mut self, client: usize, kind: u8, what: u8) {
        let ends = &mut self.ends[client];
        if ends.gone || ends.requester.pending() >= PENDING_MAX {
            return;
        }
        let (verb, good) = self.plan.verb(client, ends.asked.len() as u32, kind, what);
        let mut expected = None;
        match &verb {
            Verb::Write { address, data, .. } if good => self.posted.write(*address, data),
            Verb::Read { address, length, .. } if plan::is_own(client, *address) => {
                expected = Some(self.posted.read_vec(*address, *length as usize));
            }
            _ => {}
        }
        ends.requester.post(verb.clone());
        ends.asked.push(Asked { verb, good, expected, end: None });
        self.drive(client);
    }

    /// Sends what both ends of a connection have to send, and takes what is complete.
    fn drive(&mut self, client: usize) {
        let ends = &mut self.ends[client];
        while let Some(end) = ends.requester.poll_completion() {
            ends.asked[end.id.0 as usize].end = Some(end.clone());
        }
        while !ends.gone
            && let Some(len) = ends.requester.poll_transmit(self.now, &mut self.buffer)
        {
            self.legs.send(Leg::ClientToBox, client, self.buffer[..len].to_vec());
        }
        while let Some(len) = ends.responder.poll_transmit(self.now, &mut self.buffer) {
            self.legs.send(Leg::ServerToBox, client, self.buffer[..len].to_vec());
        }
    }

    /// The first packet on a leg arrives.
    fn deliver(&mut self, (leg, client): (Leg, usize)) {
        self.pass_time(PACKET_NS);
        let Some(frame) = self.legs.pop(leg, client) else { return };
        let (now, ends) = (self.now, &mut self.ends[client]);
        match leg {
            Leg::ClientToBox => {
                ends.answers.observe_request(now, &frame);
                self.offer(client, Side::Client, &frame);
            }
            Leg::BoxToServer => {
                ends.responder.handle_frame(now, &frame, &mut self.memory, &mut self.log);
            }
            Leg::ServerToBox => {
                ends.requests.observe_answer(now, &frame);
                self.offer(client, Side::Server, &frame);
            }
            Leg::BoxToClient if ends.gone => {}
            Leg::BoxToClient => ends.requester.handle_frame(now, &frame),
        }
        self.drive(client);
    }

    /// One packet from every leg that has one.
    fn deliver_round(&mut self) {
        for at in Legs::all() {
            if self.legs.has(at) {
                self.deliver(at);
            }
        }
    }

    /// Everything arrives, and what is said in answer to it.
    fn deliver_all(&mut self) {
        for _ in 0..PACKETS_MAX {
            if let Some(at) = self.legs.filled(0) {
                self.deliver(at);
                self.deliver_round();
                continue;
            }
            let due = self.ends.iter().filter_map(|ends| ends.responder.poll_timeout()).min();
            let Some(due) = due else { return };
            self.pass_time(due.saturating_sub(self.now));
        }
        panic!("there is no end of packets: {:?}", self.host.counters());
    }

    /// Hands a frame to the engine.
    fn offer(&mut self, client: usize, side: Side, frame: &[u8]) {
        // Requests and answers of one connection may arrive at different shards.
        let shard = (client as u8 + u8::from(side == Side::Server)) % self.plan.shards;
        let mut sent = Vec::new();
        let emit = &mut |side: Side, frame: &[u8]| sent.push((side, frame.to_vec()));
        self.host.offer(shard, side, Nanos(self.now), frame, emit);
        self.dispatch(sent);
    }

    /// Judges what the engine sent, and sends it on.
    fn dispatch(&mut self, sent: Vec<(Side, Vec<u8>)>) {
        for (side, frame) in sent {
            if !is_right(&frame) {
                assert!(self.odd.contains(&frame), "the engine made a frame that is none");
                continue;
            }
            let Ok(Classified::Rc(layout)) = classify(&frame) else { continue };
            let found = legs::addressee(side, &layout);
            let Some((leg, client)) = found else {
                assert!(self.plan.hostile, "a packet for nobody was sent");
                continue;
            };
            let ends = &mut self.ends[client];
            match side {
                Side::Client => ends.answers.observe_answer(self.now, &frame),
                Side::Server => ends.requests.observe_request(self.now, &frame),
            }
            self.legs.send(leg, client, frame);
        }
    }

    /// Time passes, and whoever has to do something does it.
    fn pass_time(&mut self, by: u64) {
        self.now += by;
        for client in 0..CLIENTS {
            let ends = &mut self.ends[client];
            if !ends.gone {
                ends.requester.handle_timeout(self.now);
            }
            ends.responder.handle_timeout(self.now);
            self.drive(client);
        }
        let now = Nanos(self.now);
        if self.host.next_deadline(now).is_some_and(|due| due <= now) {
            let mut sent = Vec::new();
            let emit = &mut |side: Side, frame: &[u8]| sent.push((side, frame.to_vec()));
            self.host.timeout(now, emit);
            self.dispatch(sent);
        }
    }

    /// Waits for the next time at which somebody does something of himself. Whether there is one.
    fn wait(&mut self) -> bool {
        let of = |ends: &Ends| {
            let client = ends.requester.poll_timeout().filter(|_| !ends.gone);
            client.into_iter().chain(ends.responder.poll_timeout()).min()
        };
        let ends = self.ends.iter().filter_map(of);
        let engine = self.host.next_deadline(Nanos(self.now)).map(|Nanos(due)| due);
        let Some(due) = ends.chain(engine).min() else { return false };
        self.pass_time(due.saturating_sub(self.now));
        true
    }

    /// Nothing is lost any more. Whether everybody came to rest.
    fn calm_down(&mut self) -> bool {
        for _ in 0..CALM_MAX {
            self.deliver_all();
            if !self.wait() {
                return true;
            }
        }
        false
    }
}

impl Ends {
    fn new(
        (requester, responder): &(qpmux_sim::rc::RequesterConfig, qpmux_sim::rc::ResponderConfig),
    ) -> Self {
        let requests = RequestAuditConfig {
            max_rd_atomic: responder.max_dest_rd_atomic,
            ..RequestAuditConfig::new(responder.link.clone(), responder.start_psn)
        };
        let answers = AnswerAuditConfig {
            msn_start: requester.msn_start,
            explicit_acks: true,
            ..AnswerAuditConfig::new(requester.link.clone(), requester.start_psn)
        };
        Self {
            requester: Requester::new(requester.clone()),
            responder: Responder::new(responder.clone()),
            requests: RequestAudit::new(requests),
            answers: AnswerAudit::new(answers),
            asked: Vec::new(),
            gone: false,
        }
    }
}

/// Whether it is a packet with a right ICRC.
fn is_right(frame: &[u8]) -> bool {
    matches!(classify(frame), Ok(Classified::Rc(layout)) if icrc::verify(frame, &layout))
}

/// A packet that neither end has sent: an answer or a request near to what they say now.
fn forged(ends: &Ends, client: usize, who: u8, bytes: &mut Bytes<'_>) -> (Vec<u8>, Side) {
    let (opcode, offset, syndrome) = (bytes.byte(), bytes.byte(), bytes.byte());
    let is_request = who & 0x80 == 0;
    let opcode = Opcode::from_byte(opcode % 0x18).unwrap_or(Opcode::Acknowledge);
    let near = ends.responder.expected_psn().value();
    let packet = Packet {
        opcode,
        psn: near.wrapping_add(u32::from(offset & 31)).wrapping_sub(16) & 0xff_ffff,
        ack_request: offset & 0x20 != 0,
        address: u64::from(offset) * 16,
        length: u32::from(syndrome) * 8,
        remote_key: REMOTE_KEY + u32::from(offset >> 7),
        syndrome,
        msn: u32::from(syndrome),
        payload: &[offset; plan::PATH_MTU][..if offset & 0x40 == 0 { 16 } else { 256 }],
    };
    let side = if is_request { Side::Client } else { Side::Server };
    (packet.frame(client, is_request), side)
}
