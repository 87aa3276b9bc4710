//! The client's end of a connection.

mod answers;
mod config;
pub(super) mod flight;
mod judge;
mod transmit;

use std::collections::VecDeque;

use qpmux_engine::wire::{Msn, Psn, Qpn};

use super::link::Admission;
use super::verb::{Completion, Outcome, Status, Verb, VerbId};
use super::violations::Violations;
pub use config::{AckRequest, RequesterConfig};
use flight::{Flight, Kind};
use judge::Past;

/// What a requester has sent and seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequesterStats {
    /// Requests sent.
    pub sent: u64,
    /// Of these, sent before.
    pub sent_again: u64,
    /// Timeouts.
    pub timeouts: u64,
    /// Sequence NAKs taken.
    pub sequence_naks: u64,
    /// Answers that passed over a READ or atomic.
    pub implied_naks: u64,
    /// Receiver-not-ready NAKs taken.
    pub rnr_naks: u64,
    /// Answers to what was complete already.
    pub late: u64,
    /// Requests of the other end, which this model does not serve.
    pub foreign_requests: u64,
    /// READs asked for again from the middle.
    pub resumed_reads: u64,
    /// Parts of READs dropped because one before was missing.
    pub holes_waited: u64,
    /// Answers whose MSN was lower than one before, after which everything was sent again.
    pub lower_msns: u64,
    /// Times that a request waited for credits.
    pub credit_waits: u64,
}

impl RequesterStats {
    /// Adds those of another requester.
    pub fn add(&mut self, other: &RequesterStats) {
        self.sent += other.sent;
        self.sent_again += other.sent_again;
        self.timeouts += other.timeouts;
        self.sequence_naks += other.sequence_naks;
        self.implied_naks += other.implied_naks;
        self.rnr_naks += other.rnr_naks;
        self.late += other.late;
        self.foreign_requests += other.foreign_requests;
        self.resumed_reads += other.resumed_reads;
        self.holes_waited += other.holes_waited;
        self.lower_msns += other.lower_msns;
        self.credit_waits += other.credit_waits;
    }
}

/// A requester for one queue pair of a client (IBTA vol. 1, 9.7).
///
/// It is strict: an answer that breaks a rule is recorded and not believed.
#[derive(Clone, Debug)]
pub struct Requester {
    config: RequesterConfig,
    admission: Admission,
    posted: VecDeque<(VerbId, Verb)>,
    posted_count: u64,
    /// Verbs sent and not completed, in order.
    flights: VecDeque<Flight>,
    /// Flight and offset of the packet to send next.
    cursor: (usize, u32),
    /// PSN of the next new verb.
    next_psn: Psn,
    /// PSN after the last one ever sent.
    sent_end: Psn,
    /// PSNs of completed verbs.
    completed_psns: u64,
    messages_begun: u32,
    /// Messages sent to their end.
    messages_sent: u32,
    last_msn: Msn,
    last_gap_nak: Option<Psn>,
    /// Messages that credits allow to be sent, from the first; `None` is any number.
    allowed: Option<u32>,
    /// Packets since the last that asked for an ACK.
    unrequested: u32,
    history: VecDeque<Past>,
    completions: VecDeque<Completion>,
    /// Something is being sent again since the last progress; further NAKs are ignored.
    retrying: bool,
    retries: u32,
    rnr_retries: u32,
    wait_until: Option<u64>,
    deadline: Option<u64>,
    dead: bool,
    identification: u16,
    violations: Violations,
    stats: RequesterStats,
}

impl Requester {
    /// A requester with nothing posted.
    pub fn new(config: RequesterConfig) -> Self {
        Self {
            admission: Admission::new(&config.link, "A5"),
            posted: VecDeque::new(),
            posted_count: 0,
            flights: VecDeque::new(),
            cursor: (0, 0),
            next_psn: config.start_psn,
            sent_end: config.start_psn,
            completed_psns: 0,
            messages_begun: 0,
            messages_sent: 0,
            last_msn: config.msn_start,
            last_gap_nak: None,
            allowed: None,
            unrequested: 0,
            history: VecDeque::new(),
            completions: VecDeque::new(),
            retrying: false,
            retries: 0,
            rnr_retries: 0,
            wait_until: None,
            deadline: None,
            dead: false,
            identification: 0,
            violations: Violations::new(),
            stats: RequesterStats::default(),
            config,
        }
    }

    /// Posts a verb, to be sent after all posted before.
    pub fn post(&mut self, verb: Verb) -> VerbId {
        let id = VerbId(self.posted_count);
        self.posted_count += 1;
        self.posted.push_back((id, verb));
        id
    }

    /// The next completion; they come in the order of posting.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        if self.dead && self.completions.is_empty() {
            // Whatever is posted after the end.
            self.flush(0);
        }
        self.completions.pop_front()
    }

    /// Number of this queue pair.
    pub fn qpn(&self) -> Qpn {
        self.config.link.qpn
    }

    /// Verbs posted and not completed.
    pub fn pending(&self) -> usize {
        self.posted.len() + self.flights.len()
    }

    /// PSN of the next new request.
    pub fn next_psn(&self) -> Psn {
        self.next_psn
    }

    /// Whether the queue pair is in the error state.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// The wire is one that may lose frames, from now on.
    pub fn expect_loss(&mut self) {
        self.config.link.wire.may_lose = true;
    }

    /// Rules that the answers have broken.
    pub fn violations(&self) -> &Violations {
        &self.violations
    }

    /// What has been sent and seen.
    pub fn stats(&self) -> RequesterStats {
        self.stats
    }

    /// When there will be something to do, ns; `None` if nothing waits.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.wait_until.into_iter().chain(self.deadline).min()
    }

    /// Does what was due by `now`.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.wait_until.is_some_and(|until| until <= now) {
            self.wait_until = None;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.stats.timeouts += 1;
            self.retrying = false;
            self.retry_from(now, 0);
        }
    }

    /// PSN of the oldest packet without an answer.
    fn oldest_unanswered(&self) -> Psn {
        self.flights.front().map_or(self.next_psn, |flight| flight.psn.add(flight.answered))
    }

    fn restart_timer(&mut self, now: u64) {
        let waits = !self.flights.is_empty();
        self.deadline = self.config.timeout_ns().filter(|_| waits).map(|timeout| now + timeout);
    }

    /// Something was completed: budgets and timer start again.
    fn progress(&mut self, now: u64) {
        self.retrying = false;
        self.retries = 0;
        self.rnr_retries = 0;
        self.restart_timer(now);
    }

    fn complete_front(&mut self, now: u64) {
        let Some(flight) = self.flights.pop_front() else { return };
        self.cursor = match self.cursor {
            (0, _) => (0, 0),
            (index, offset) => (index - 1, offset),
        };
        self.completed_psns += u64::from(flight.psns);
        self.remember(flight.psn, flight.psns, flight.kind, flight.number);
        self.push_completion(now, flight, Status::Success);
        self.progress(now);
    }

    fn push_completion(&mut self, now: u64, flight: Flight, status: Status) {
        let (id, psn, sent_at) = (flight.id, Some(flight.psn), Some(flight.sent_at));
        let outcome = if status == Status::Success { flight.outcome() } else { Outcome::None };
        self.completions.push_back(Completion {
            id,
            psn,
            status,
            outcome,
            sent_at,
            completed_at: now,
        });
    }

    /// Sends again from the flight at `index` on, unless that is being done.
    fn retry_from(&mut self, now: u64, index: usize) {
        if self.retrying {
            return;
        }
        self.retrying = true;
        self.retries += 1;
        if self.retries > self.config.retry_count {
            self.fail(now, Status::RetryExceeded);
            return;
        }
        self.go_back(index);
        self.restart_timer(now);
    }

    /// Sends next what is missing of the flight at `index`, then everything after it.
    fn go_back(&mut self, index: usize) {
        if self.config.restart_reads {
            let reads = self.flights.iter_mut().skip(index).filter(|f| f.kind == Kind::Read);
            for flight in reads.filter(|flight| !flight.is_done()) {
                flight.discarded = flight.discarded.max(flight.answered);
                flight.answered = 0;
                flight.data.clear();
            }
        }
        let answered = self.flights.get(index).map_or(0, |flight| flight.answered);
        self.cursor = (index, answered);
    }

    /// Ends the oldest verb with `status`, and all others unsuccessfully.
    fn fail(&mut self, now: u64, status: Status) {
        self.dead = true;
        self.deadline = None;
        self.wait_until = None;
        if let Some(flight) = self.flights.pop_front() {
            self.push_completion(now, flight, status);
        }
        self.flush(now);
    }

    fn flush(&mut self, now: u64) {
        while let Some(flight) = self.flights.pop_front() {
            self.push_completion(now, flight, Status::Flushed);
        }
        while let Some((id, _)) = self.posted.pop_front() {
            self.completions.push_back(Completion {
                id,
                psn: None,
                status: Status::Flushed,
                outcome: Outcome::None,
                sent_at: None,
                completed_at: now,
            });
        }
    }
}
