//! The server's end of a connection.

mod accept;
mod answers;
mod config;
pub(super) mod content;
mod duplicate;

use std::collections::VecDeque;

use qpmux_engine::wire::{Layout, Msn, NakCode, Opcode, Psn, Qpn};

use super::link::Admission;
use super::violations::Violations;
use crate::memory::{Access, Effect, EffectLog, Memory};
use answers::{Answers, Body};
pub use config::{
    DuplicateAck, DuplicateAckPsn, End, Ending, OverDepth, Region, ResponderConfig, ResumeForm,
};
use content::Contents;

/// What a responder has seen and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponderStats {
    /// Requests in sequence, of which each was executed or refused.
    pub accepted: u64,
    /// Requests seen before.
    pub duplicates: u64,
    /// Requests ahead of the expected one, dropped.
    pub early: u64,
    /// Duplicate READs and atomics without a record, met with silence.
    pub forgotten: u64,
    /// Requests that came after a fatal NAK, met with silence.
    pub after_error: u64,
    /// Answers of the other end to requests of this one, which this model never sends.
    pub foreign_answers: u64,
    /// Sequence NAKs given.
    pub sequence_naks: u64,
    /// Receiver-not-ready NAKs given.
    pub rnr_naks: u64,
    /// Frames sent.
    pub sent: u64,
    /// Receive buffers used by SEND and immediate data.
    pub receives: u64,
}

impl ResponderStats {
    /// Adds those of another responder.
    pub fn add(&mut self, other: &ResponderStats) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.early += other.early;
        self.forgotten += other.forgotten;
        self.after_error += other.after_error;
        self.foreign_answers += other.foreign_answers;
        self.sequence_naks += other.sequence_naks;
        self.rnr_naks += other.rnr_naks;
        self.sent += other.sent;
        self.receives += other.receives;
    }
}

/// A message of which FIRST has come and LAST has not.
#[derive(Clone, Copy, Debug)]
struct OpenMessage {
    /// WRITE; otherwise SEND.
    write: bool,
    /// Where the next byte of a WRITE goes.
    address: u64,
    /// Bytes of a WRITE that are still to come; of a SEND, the most that may.
    left: u32,
}

/// A READ or atomic that was executed, kept to answer its duplicates.
#[derive(Clone, Copy, Debug)]
struct Record {
    psn: Psn,
    psns: u32,
    done: Done,
}

#[derive(Clone, Copy, Debug)]
enum Done {
    Read { address: u64, rkey: u32, length: u32 },
    Atomic { opcode: Opcode, address: u64, original: u64 },
}

/// Everything that is at hand while one request is handled.
struct Request<'a> {
    now: u64,
    frame: &'a [u8],
    layout: &'a Layout,
    memory: &'a mut Memory,
    log: &'a mut EffectLog,
}

/// A responder for one queue pair of a server (IBTA vol. 1, 9.7).
#[derive(Clone, Debug)]
pub struct Responder {
    config: ResponderConfig,
    admission: Admission,
    /// PSN that is expected next.
    expected: Psn,
    /// PSNs accepted since the start.
    accepted_psns: u64,
    /// Messages completed.
    msn: Msn,
    /// Messages that have begun, for the refusals by configuration.
    messages_begun: u64,
    open: Option<OpenMessage>,
    newest_write: Option<Psn>,
    newest_non_read: Option<Psn>,
    records: VecDeque<Record>,
    answers: Answers,
    /// The sequence NAK for `expected` has been sent.
    gap_nak_sent: bool,
    /// A receiver-not-ready NAK for `expected` has been sent.
    rnr_nak_sent: bool,
    receives_left: Option<u64>,
    dead: bool,
    identification: u16,
    contents: Contents,
    violations: Violations,
    stats: ResponderStats,
}

impl Responder {
    /// A responder that waits for its first request.
    pub fn new(config: ResponderConfig) -> Self {
        Self {
            admission: Admission::new(&config.link, "I-S15"),
            expected: config.start_psn,
            accepted_psns: 0,
            msn: config.msn_start,
            messages_begun: 0,
            open: None,
            newest_write: None,
            newest_non_read: None,
            records: VecDeque::new(),
            answers: Answers::default(),
            gap_nak_sent: false,
            rnr_nak_sent: false,
            receives_left: config.receives,
            dead: false,
            identification: 0,
            contents: Contents::new(config.content_window, config.link.pmtu),
            violations: Violations::new(),
            stats: ResponderStats::default(),
            config,
        }
    }

    /// Number of this queue pair.
    pub fn qpn(&self) -> Qpn {
        self.config.link.qpn
    }

    /// PSN that is expected next.
    pub fn expected_psn(&self) -> Psn {
        self.expected
    }

    /// Messages completed, modulo 2^24.
    pub fn msn(&self) -> Msn {
        self.msn
    }

    /// Whether a fatal NAK has put the queue pair into the error state.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether the end that is configured has come.
    pub fn has_ended(&self) -> bool {
        self.config.ending.is_some_and(|ending| match ending.how {
            End::Refuses => self.stats.accepted > ending.after,
            End::FallsSilent | End::IsUnheard => self.stats.accepted >= ending.after,
        })
    }

    /// Whether it says nothing more.
    fn is_unheard(&self) -> bool {
        self.config.ending.is_some_and(|ending| ending.how != End::Refuses) && self.has_ended()
    }

    /// Whether it executes nothing more.
    fn is_silent(&self) -> bool {
        self.config.ending.is_some_and(|ending| ending.how == End::FallsSilent) && self.has_ended()
    }

    /// Whether everything that came has been answered.
    pub fn is_idle(&self) -> bool {
        self.answers.is_empty() && self.open.is_none()
    }

    /// The wire is one that may lose frames, from now on.
    pub fn expect_loss(&mut self) {
        self.config.link.wire.may_lose = true;
    }

    /// Rules that the requests have broken.
    pub fn violations(&self) -> &Violations {
        &self.violations
    }

    /// What has been seen and done.
    pub fn stats(&self) -> ResponderStats {
        self.stats
    }

    /// Posts receive buffers, if they are limited.
    pub fn post_receives(&mut self, count: u64) {
        if let Some(left) = &mut self.receives_left {
            *left = left.saturating_add(count);
        }
    }

    /// Takes one frame that has arrived.
    pub fn handle_frame(
        &mut self,
        now: u64,
        frame: &[u8],
        memory: &mut Memory,
        log: &mut EffectLog,
    ) {
        let link = &self.config.link;
        let Some(layout) = self.admission.admit(link, now, frame, &mut self.violations) else {
            return;
        };
        self.take_frame(&mut Request { now, frame, layout: &layout, memory, log });
    }

    /// Takes one frame that has arrived as the other end has written it, whose link is this one as
    /// it is seen from there.
    pub(crate) fn handle_own(
        &mut self,
        now: u64,
        frame: &[u8],
        layout: &Layout,
        memory: &mut Memory,
        log: &mut EffectLog,
    ) {
        let migration_request = layout.bth(frame).migration_request;
        self.admission.admit_own(now, layout, migration_request, &mut self.violations);
        self.take_frame(&mut Request { now, frame, layout, memory, log });
    }

    fn take_frame(&mut self, request: &mut Request<'_>) {
        let Request { now, frame, layout, .. } = *request;
        if layout.opcode.is_response() {
            self.stats.foreign_answers += 1;
        } else if self.dead || self.is_silent() {
            self.stats.after_error += 1;
        } else {
            self.judge(now, frame, layout);
            self.handle_request(request);
        }
    }

    /// Writes the next frame to send to `out`; its length in bytes. `None` if there is none yet,
    /// or `out` is too small.
    pub fn poll_transmit(&mut self, now: u64, out: &mut [u8]) -> Option<usize> {
        self.handle_timeout(now);
        if self.is_unheard() {
            return None;
        }
        let (link, credits) = (&self.config.link, self.config.credits);
        let (identification, resume) = (self.identification, self.config.resume);
        let length = self.answers.emit(now, link, credits, identification, resume, out)?;
        self.identification = self.identification.wrapping_add(1);
        self.stats.sent += 1;
        Some(length)
    }

    /// When there will be something to do, ns; `None` if nothing waits.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.answers.next_time().filter(|_| !self.is_unheard())
    }

    /// Does what was due by `now`.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.answers.owed_due().is_some_and(|due| due <= now) {
            self.flush_owed(now);
        }
    }

    /// Looks for broken rules that do not depend on what the request asks for.
    fn judge(&mut self, now: u64, frame: &[u8], layout: &Layout) {
        let psn = layout.psn;
        if let Some(known) = self.contents.conflict(layout, frame) {
            let name = layout.opcode.name();
            let text = || format!("PSN {psn} is {name}, was {known:?}");
            self.violations.record("I-S2", now, text);
        }
        let ahead = psn.signed_offset_from(self.expected);
        if (0..self.config.content_window as i32).contains(&ahead) {
            self.contents.bind(layout, frame);
        }
        let behind = u64::from(ahead.unsigned_abs());
        if ahead < 0 && behind > self.accepted_psns {
            let expected = self.expected;
            let text = || format!("PSN {psn} is before the first, {expected} is expected");
            self.violations.record("I-S10", now, text);
        }
        // What follows a request that was refused for now is already on its way.
        let wire = self.config.link.wire;
        if ahead > 0 && !wire.may_lose && !wire.may_reorder && !self.rnr_nak_sent {
            let expected = self.expected;
            self.violations.record("I-S1", now, || format!("PSN {psn} after a hole at {expected}"));
        }
        let silent = layout.opcode.ends_message() && !layout.ack_request;
        if silent && self.config.require_ack_request {
            self.violations.record("I-S9", now, || format!("PSN {psn} asks for no ACK"));
        }
    }

    /// Tells apart the expected request, earlier and later ones (IBTA vol. 1, 9.7.3).
    fn handle_request(&mut self, request: &mut Request<'_>) {
        match request.layout.psn.signed_offset_from(self.expected) {
            0 => self.accept(request),
            ..0 => self.repeat(request),
            _ => self.report_gap(request.now),
        }
    }

    /// One sequence NAK until the missing request comes (IBTA vol. 1, 9.7.5).
    fn report_gap(&mut self, now: u64) {
        self.stats.early += 1;
        let waiting = self.rnr_nak_sent && !self.config.nak_during_rnr;
        if self.gap_nak_sent || waiting {
            return;
        }
        self.gap_nak_sent = true;
        self.stats.sequence_naks += 1;
        self.answer(now, self.expected, Body::Nak(NakCode::PsnSequence));
    }

    /// Sends an answer that also covers the ACK held back.
    fn answer(&mut self, now: u64, psn: Psn, body: Body) {
        self.settle_owed(now);
        self.answers.push(now + self.config.answer_delay, psn, self.msn, body);
    }

    fn settle_owed(&mut self, now: u64) {
        if self.config.swallow_acks {
            self.answers.cover();
        } else {
            self.flush_owed(now);
        }
    }

    fn flush_owed(&mut self, now: u64) {
        if let Some(psn) = self.answers.take_owed() {
            self.answers.push(now + self.config.answer_delay, psn, self.msn, Body::Ack);
        }
    }

    /// Gives up the queue pair (IBTA vol. 1, 9.7.5: fatal NAKs).
    fn refuse(&mut self, now: u64, psn: Psn, code: NakCode, rule: &'static str, why: String) {
        self.violations.record(rule, now, || format!("PSN {psn}: {why}"));
        self.answer(now, psn, Body::Nak(code));
        self.dead = true;
    }

    /// Notes what was done, if anybody wants to know.
    fn note(
        &self,
        request: &mut Request<'_>,
        address: u64,
        again: bool,
        access: impl FnOnce() -> Access,
    ) {
        if request.log.is_kept() {
            let (server_qp, psn) = (self.config.link.qpn.value(), request.layout.psn.value());
            let (time, access) = (request.now, access());
            request.log.push(Effect { time, server_qp, psn, address, again, access });
        }
    }
}
