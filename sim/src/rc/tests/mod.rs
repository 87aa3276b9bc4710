//! Requester and responder against each other, over a wire that does as it is told.

mod faults;
mod fuzz;
mod measured;
mod oracles;
mod requests;
mod verbs;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use qpmux_engine::wire::Psn;

use super::{
    AckRequest, AnswerAudit, AnswerAuditConfig, Completion, Link, Region, RequestAudit,
    RequestAuditConfig, Requester, RequesterConfig, Responder, ResponderConfig, Verb,
};
use crate::memory::{Access, EffectLog, Memory, check};

pub(super) const RKEY: u32 = 0x1234;
pub(super) const BASE: u64 = 0x10_0000;
pub(super) const LENGTH: u64 = 0x10_0000;
/// One way, ns.
const LATENCY: u64 = 1_000;

/// The client's and the server's side of one connection.
pub(super) fn configs(start_psn: u32) -> (RequesterConfig, ResponderConfig) {
    let link = Link::new(Ipv4Addr::new(10, 0, 0, 1), 0x11, Ipv4Addr::new(10, 0, 0, 9), 0xabc);
    let server = link.reversed();
    let start = Psn::new(start_psn);
    let regions = vec![Region::new(RKEY, BASE, LENGTH)];
    (
        RequesterConfig { timeout: 6, retry_count: 1000, ..RequesterConfig::new(link, start) },
        ResponderConfig::new(server, start, regions),
    )
}

/// What the wire does to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Deliver,
    Drop,
    /// Again after so many ns.
    Double(u64),
    /// Late by so many ns.
    Delay(u64),
    /// With this bit changed, counted from the frame's first.
    Corrupt(usize),
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Server,
    Client,
}

/// One connection, its wire and a virtual clock.
pub(super) struct Pair<F: FnMut(To, u64) -> Fate> {
    pub(super) client: Requester,
    pub(super) server: Responder,
    /// Sees the requests as they are sent and the answers as they come.
    pub(super) audit: RequestAudit,
    /// Sees the requests as they come and the answers as they are sent.
    pub(super) answer_audit: AnswerAudit,
    pub(super) initial: Memory,
    pub(super) memory: Memory,
    pub(super) log: EffectLog,
    pub(super) now: u64,
    pub(super) completions: Vec<Completion>,
    /// The fate of the n-th frame in a direction.
    fate: F,
    frames: [u64; 2],
    flying: BTreeMap<(u64, u64), (To, Vec<u8>)>,
    sequence: u64,
}

impl<F: FnMut(To, u64) -> Fate> Pair<F> {
    pub(super) fn new(client: RequesterConfig, server: ResponderConfig, fate: F) -> Self {
        let mut initial = Memory::new();
        let bytes: Vec<u8> = (0..LENGTH).map(|n| (n * 7 + (n >> 8)) as u8).collect();
        initial.write(BASE, &bytes);
        let depth = client.max_rd_atomic;
        let audit = RequestAuditConfig {
            max_rd_atomic: depth,
            require_ack_request: client.ack_request == AckRequest::EveryMessage,
            ..RequestAuditConfig::new(server.link.clone(), client.start_psn)
        };
        Self {
            audit: RequestAudit::new(audit),
            answer_audit: AnswerAudit::new(AnswerAuditConfig {
                msn_start: client.msn_start,
                explicit_acks: !server.swallow_acks && server.ack_every == 1,
                ..AnswerAuditConfig::new(client.link.clone(), client.start_psn)
            }),
            client: Requester::new(client),
            server: Responder::new(server),
            memory: initial.clone(),
            initial,
            log: EffectLog::new(),
            now: 0,
            completions: Vec::new(),
            fate,
            frames: [0; 2],
            flying: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Runs until everything is complete and nothing flies, or for `limit` events.
    pub(super) fn run(&mut self, limit: usize) {
        for _ in 0..limit {
            self.transmit();
            while let Some(completion) = self.client.poll_completion() {
                self.completions.push(completion);
            }
            let timers = [self.client.poll_timeout(), self.server.poll_timeout()];
            let arrival = self.flying.keys().next().map(|(time, _)| *time);
            let Some(next) = timers.into_iter().flatten().chain(arrival).min() else { return };
            self.now = self.now.max(next);
            self.arrive();
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        panic!("still busy at {} ns: {:?}", self.now, self.client.stats());
    }

    fn arrive(&mut self) {
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            let (to, frame) = entry.remove();
            match to {
                To::Client => {
                    self.audit.observe_answer(self.now, &frame);
                    self.client.handle_frame(self.now, &frame);
                }
                To::Server => {
                    self.answer_audit.observe_request(self.now, &frame);
                    self.server.handle_frame(self.now, &frame, &mut self.memory, &mut self.log);
                }
            }
        }
    }

    fn transmit(&mut self) {
        let mut buffer = [0; 5000];
        while let Some(length) = self.client.poll_transmit(self.now, &mut buffer) {
            self.audit.observe_request(self.now, &buffer[..length]);
            self.put(To::Server, buffer[..length].to_vec());
        }
        while let Some(length) = self.server.poll_transmit(self.now, &mut buffer) {
            self.answer_audit.observe_answer(self.now, &buffer[..length]);
            self.put(To::Client, buffer[..length].to_vec());
        }
    }

    fn put(&mut self, to: To, mut frame: Vec<u8>) {
        let count = &mut self.frames[to as usize];
        let fate = (self.fate)(to, *count);
        *count += 1;
        let mut fly = |time: u64, frame: Vec<u8>| {
            self.sequence += 1;
            self.flying.insert((time, self.sequence), (to, frame));
        };
        let time = self.now + LATENCY;
        match fate {
            Fate::Deliver => fly(time, frame),
            Fate::Drop => {}
            Fate::Double(later) => {
                fly(time, frame.clone());
                fly(time + later, frame);
            }
            Fate::Delay(later) => fly(time + later, frame),
            Fate::Corrupt(bit) => {
                let at = bit / 8 % frame.len();
                frame[at] ^= 1 << (bit % 8);
                fly(time, frame);
            }
        }
    }

    /// Everything completed in order, with the right results, was done once, and broke no rule.
    pub(super) fn assert_right(&self, verbs: &[Verb]) {
        assert!(self.client.violations().is_empty(), "client: {}", self.client.violations());
        assert!(self.server.violations().is_empty(), "server: {}", self.server.violations());
        let answers = self.answer_audit.violations();
        assert!(answers.is_empty(), "answers: {answers}");
        assert!(self.audit.violations().is_empty(), "audit: {}", self.audit.violations());
        assert_eq!(self.completions.len(), verbs.len());
        for (index, completion) in self.completions.iter().enumerate() {
            assert_eq!(completion.id.0, index as u64);
            assert_eq!(completion.status, super::Status::Success);
        }
        assert_eq!(check(&self.initial, &self.log, &self.memory), Ok(()));
        self.assert_once(verbs);
        assert!(self.server.is_idle());
    }

    /// Each change was made once, in the order of posting.
    fn assert_once(&self, verbs: &[Verb]) {
        let changes: Vec<_> = self
            .log
            .effects()
            .iter()
            .filter(|effect| !matches!(effect.access, Access::Read { .. }))
            .map(|effect| effect.psn)
            .collect();
        let mut expected = Vec::new();
        for (verb, completion) in verbs.iter().zip(&self.completions) {
            let first = completion.psn.unwrap();
            let packets = match verb {
                Verb::Write { data, .. } => data.len().div_ceil(self.pmtu()) as u32,
                Verb::CompareSwap { .. } | Verb::FetchAdd { .. } => 1,
                _ => 0,
            };
            expected.extend((0..packets).map(|n| first.add(n).value()));
        }
        assert_eq!(changes, expected);
    }

    fn pmtu(&self) -> usize {
        1024
    }

    /// The results are those of executing the verbs one after the other. READs are compared if
    /// nothing writes where they read, or if `reads` says that none was executed again.
    pub(super) fn assert_results(&self, verbs: &[Verb], reads: bool) {
        let mut memory = self.initial.clone();
        for (verb, completion) in verbs.iter().zip(&self.completions) {
            let expected = execute(&mut memory, verb);
            if reads || !matches!(verb, Verb::Read { .. }) {
                assert_eq!(completion.outcome, expected, "{verb:?}");
            }
        }
        assert_eq!(memory, self.memory);
    }
}

/// Executes a verb directly.
pub(super) fn execute(memory: &mut Memory, verb: &Verb) -> super::Outcome {
    match verb {
        Verb::Write { address, data, .. } => {
            memory.write(*address, data);
            super::Outcome::None
        }
        Verb::Read { address, length, .. } => {
            super::Outcome::Read(memory.read_vec(*address, *length as usize))
        }
        Verb::CompareSwap { address, compare, swap, .. } => {
            super::Outcome::Atomic(memory.compare_swap(*address, *compare, *swap))
        }
        Verb::FetchAdd { address, add, .. } => {
            super::Outcome::Atomic(memory.fetch_add(*address, *add))
        }
        Verb::Send { .. } => super::Outcome::None,
    }
}

pub(super) fn read(offset: u64, length: u32) -> Verb {
    Verb::Read { address: BASE + offset, rkey: RKEY, length }
}

pub(super) fn write(offset: u64, length: usize, seed: u8) -> Verb {
    let data: Vec<u8> = (0..length).map(|n| (n as u8).wrapping_mul(seed | 1) ^ seed).collect();
    Verb::write(BASE + offset, RKEY, &data)
}

pub(super) fn add(offset: u64, value: u64) -> Verb {
    Verb::FetchAdd { address: BASE + offset, rkey: RKEY, add: value }
}

pub(super) fn swap(offset: u64, compare: u64, value: u64) -> Verb {
    Verb::CompareSwap { address: BASE + offset, rkey: RKEY, compare, swap: value }
}

pub(super) fn send(length: usize) -> Verb {
    Verb::Send { data: vec![7; length], immediate: None }
}
