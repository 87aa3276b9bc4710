//! Requests to a server, before any loss.

use std::collections::VecDeque;

use qpmux_engine::wire::{Layout, NakCode, Opcode, Psn, Syndrome, rnr_delay_ns};

use super::super::link::{Admission, Link, Wire};
use super::super::responder::content::Contents;
use super::super::violations::Violations;

/// READs and atomics that are remembered after their answer.
const HISTORY: usize = 1024;
/// Half of the PSNs: what is further ahead counts as behind (IBTA vol. 1, 9.7.3).
const HALF: u32 = 1 << 23;

/// Further ahead than any request that is sent: a question.
const FAR: i32 = 1 << 21;

/// What the stream is held to.
#[derive(Clone, Debug)]
pub struct RequestAuditConfig {
    /// Addresses and numbers, seen from the server.
    pub link: Link,
    /// PSN of the first request.
    pub start_psn: Psn,
    /// READs and atomics that may be unanswered.
    pub max_rd_atomic: usize,
    /// Every message's last packet must ask for an ACK.
    pub require_ack_request: bool,
    /// PSNs whose content is remembered.
    pub content_window: u32,
    /// Parts of READs' responses may be refused for want of room, and are left to a timer: to the
    /// engine the READ, which this audit takes for answered, is then still the oldest one open, and
    /// hides what is lost behind it.
    pub may_refuse_parts: bool,
}

impl RequestAuditConfig {
    /// All rules, with 16 READs and atomics.
    pub fn new(link: Link, start_psn: Psn) -> Self {
        Self {
            link,
            start_psn,
            max_rd_atomic: 16,
            require_ack_request: true,
            content_window: 8192,
            may_refuse_parts: false,
        }
    }
}

/// A READ or atomic that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    psn: Psn,
    psns: u32,
    answered: bool,
    /// Furthest offset in PSNs from which it was asked for.
    resumed: u32,
    /// Parts of its answer that came in order.
    parts: u32,
    /// When a later answer said first that its own was lost, and it was not yet sent again.
    lost: Lost,
}

/// What later answers have said of an answer (IBTA vol. 1, 9.7.5.1.2: an implied NAK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Unknown,
    /// Since this time.
    Since(u64),
    /// It was sent again; whatever else is lost is up to timers.
    Repaired,
}

/// Receiver not ready: nothing from `psn` on before `until` ns.
#[derive(Clone, Copy, Debug)]
struct Pause {
    psn: Psn,
    until: u64,
}

/// A judge of one server queue pair's requests: I-S1 to I-S3, I-S5, I-S7 to I-S11, I-S13, I-S15.
#[derive(Clone, Debug)]
pub struct RequestAudit {
    config: RequestAuditConfig,
    requests: Admission,
    /// PSN of the next new request.
    next: Psn,
    /// PSNs sent.
    sent_psns: u64,
    /// PSN after the newest one that an answer has claimed to be done.
    answered: Psn,
    /// The message between FIRST and LAST: whether it is a WRITE.
    open: Option<bool>,
    sent: VecDeque<Sent>,
    pause: Option<Pause>,
    implied_repairs: u64,
    dead: bool,
    has_fillers: bool,
    contents: Contents,
    violations: Violations,
}

impl RequestAudit {
    /// A judge of a stream that has not begun.
    pub fn new(mut config: RequestAuditConfig) -> Self {
        config.link.wire = Wire::FAITHFUL;
        Self {
            requests: Admission::new(&config.link, "I-S15"),
            next: config.start_psn,
            sent_psns: 0,
            answered: config.start_psn,
            open: None,
            sent: VecDeque::new(),
            pause: None,
            implied_repairs: 0,
            dead: false,
            has_fillers: false,
            contents: Contents::new(config.content_window, config.link.pmtu),
            violations: Violations::new(),
            config,
        }
    }

    /// Rules that were broken.
    pub fn violations(&self) -> &Violations {
        &self.violations
    }

    /// READs and atomics sent again after a later answer showed theirs to be lost.
    pub fn implied_repairs(&self) -> u64 {
        self.implied_repairs
    }

    /// Takes a frame as it is sent to the server.
    pub fn observe_request(&mut self, now: u64, frame: &[u8]) {
        let link = &self.config.link;
        let Some(layout) = self.requests.admit(link, now, frame, &mut self.violations) else {
            return;
        };
        if layout.opcode.is_response() {
            return;
        }
        if self.take_filler(&layout, frame) {
            return;
        }
        self.judge_repair(now, &layout);
        self.judge_any(now, &layout);
        if let Some(known) = self.contents.conflict(&layout, frame) {
            let name = layout.opcode.name();
            self.broken("I-S2", now, &layout, || format!("is {name}, was {known:?}"));
        }
        let ahead = layout.psn.signed_offset_from(self.next);
        if ahead < 0 {
            self.judge_again(now, &layout, ahead.unsigned_abs());
            return;
        }
        if ahead > 0 {
            let next = self.next;
            self.broken("I-S1", now, &layout, || format!("leaves a hole at {next}"));
            self.step(ahead.unsigned_abs());
        }
        self.contents.bind(&layout, frame);
        self.judge_new(now, &layout, frame);
    }

    /// A request was damaged before it was sent. Once that is known, a WRITE of nothing may take
    /// its place and those behind it, or stand far ahead, to ask how far the server is.
    pub fn expect_fillers(&mut self) {
        self.has_fillers = true;
    }

    /// Whether a packet is a filler or a question. No answer is owed to what a filler replaces.
    fn take_filler(&mut self, layout: &Layout, frame: &[u8]) -> bool {
        let empty = layout.reth(frame).is_some_and(|reth| reth.dma_length == 0);
        if !self.has_fillers || layout.opcode != Opcode::WriteOnly || !empty {
            return false;
        }
        let psn = layout.psn;
        match psn.signed_offset_from(self.next) {
            FAR.. => true,
            ..0 if self.contents.conflict(layout, frame).is_some() => {
                self.sent.retain(|sent| psn.offset_from(sent.psn) >= sent.psns);
                true
            }
            _ => false,
        }
    }

    /// Takes a frame as it came from the server.
    pub fn observe_answer(&mut self, now: u64, frame: &[u8]) {
        // The server's answers are not judged here, only understood: a damaged or foreign one
        // says nothing.
        let link = self.config.link.reversed();
        let mut ignored = Violations::new();
        let mut admission = Admission::new(&link, "A5");
        let Some(layout) = admission.admit(&link, now, frame, &mut ignored) else { return };
        if !layout.opcode.is_response() || layout.psn.signed_offset_from(self.next) >= 0 {
            return;
        }
        self.note_lost(now, &layout);
        match layout.opcode {
            Opcode::Acknowledge => self.take_ack(now, &layout, frame),
            Opcode::ReadResponseFirst | Opcode::ReadResponseMiddle => {}
            _ => {
                let psn = layout.psn;
                self.done_below(psn.add(1));
                let last = |sent: &&mut Sent| sent.psn.add(sent.psns - 1) == psn;
                if let Some(sent) = self.sent.iter_mut().find(last) {
                    sent.answered = true;
                }
            }
        }
    }

    /// An answer beyond the oldest READ or atomic without one, or beyond the next part of its.
    fn note_lost(&mut self, now: u64, layout: &Layout) {
        let nak = layout.opcode == Opcode::Acknowledge;
        let Some(sent) = self.sent.iter_mut().find(|sent| sent.parts < sent.psns) else { return };
        let ahead = layout.psn.signed_offset_from(sent.psn.add(sent.parts));
        match ahead {
            0 if !nak => sent.parts += 1,
            1.. if sent.lost == Lost::Unknown => sent.lost = Lost::Since(now),
            _ => {}
        }
    }

    /// What a later answer showed to be lost is sent again before time goes on.
    fn judge_repair(&mut self, now: u64, layout: &Layout) {
        let paused = self.pause.is_some_and(|pause| pause.until >= now);
        let Some(sent) = self.sent.iter_mut().find(|sent| sent.parts < sent.psns) else { return };
        let Lost::Since(since) = sent.lost else { return };
        let repaired = layout.psn.offset_from(sent.psn) < sent.psns;
        // One before it is sent again: its answer came here, but out of order, and was not taken.
        if paused || layout.psn.is_before(sent.psn) {
            sent.lost = Lost::Repaired;
        } else if since < now && !repaired && !self.config.may_refuse_parts {
            sent.lost = Lost::Repaired;
            let psn = sent.psn;
            self.broken("I-S11", now, layout, || format!("{psn} was lost since {since} ns"));
        }
    }

    fn take_ack(&mut self, now: u64, layout: &Layout, frame: &[u8]) {
        let psn = layout.psn;
        match layout.aeth(frame).map(|aeth| aeth.syndrome) {
            Some(Syndrome::Ack { .. }) => self.done_below(psn.add(1)),
            Some(Syndrome::RnrNak { timer }) => {
                // One for what was accepted since then has come late.
                if !psn.is_before(self.answered) {
                    let until = now.saturating_add(rnr_delay_ns(timer));
                    self.pause = Some(Pause { psn, until });
                }
                self.done_below(psn);
            }
            Some(Syndrome::Nak(code)) => {
                // One that passes over a READ or atomic is first of all an implied NAK for that.
                let owed = |sent: &Sent| sent.parts < sent.psns && sent.psn.is_before(psn);
                self.dead |= code != NakCode::PsnSequence && !self.sent.iter().any(owed);
                self.done_below(psn);
            }
            _ => {}
        }
    }

    fn done_below(&mut self, psn: Psn) {
        if psn.is_after(self.answered) {
            self.answered = psn;
        }
    }

    fn judge_any(&mut self, now: u64, layout: &Layout) {
        if self.dead {
            self.broken("I-S15", now, layout, || "after a fatal NAK".into());
        }
        if layout.opcode.ends_message() && !layout.ack_request && self.config.require_ack_request {
            self.broken("I-S9", now, layout, || "asks for no ACK".into());
        }
        if let Some(Pause { psn, until }) = self.pause.filter(|pause| pause.until > now)
            && !layout.psn.is_before(psn)
        {
            let left = until - now;
            self.broken("I-S13", now, layout, || format!("{left} ns before the server is ready"));
        }
    }

    fn judge_new(&mut self, now: u64, layout: &Layout, frame: &[u8]) {
        let opcode = layout.opcode;
        let fits = match self.open {
            None => opcode.starts_message(),
            Some(write) => !opcode.starts_message() && opcode.is_write() == write,
        };
        if !fits {
            self.broken("I-S5", now, layout, || format!("{} does not follow", opcode.name()));
        }
        self.open = (!opcode.ends_message()).then(|| opcode.is_write());
        let mut psns = 1;
        if opcode == Opcode::ReadRequest || opcode.is_atomic() {
            let length = layout.reth(frame).map_or(0, |reth| reth.dma_length);
            psns = length.div_ceil(self.config.link.pmtu.max(1) as u32).max(1);
            self.judge_depth(now, layout, psns);
        }
        self.step(psns);
        let open = self.next.offset_from(self.answered);
        if open >= HALF {
            self.broken("I-S10", now, layout, || format!("{open} PSNs are unanswered"));
        }
    }

    fn judge_depth(&mut self, now: u64, layout: &Layout, psns: u32) {
        let depth = self.config.max_rd_atomic;
        let waiting = self.sent.iter().filter(|sent| !sent.answered).count();
        if waiting >= depth {
            self.broken("I-S7", now, layout, || format!("{waiting} READs and atomics wait"));
        }
        self.sent.push_back(Sent {
            psn: layout.psn,
            psns,
            answered: false,
            resumed: 0,
            parts: 0,
            lost: Lost::Unknown,
        });
        if self.sent.len() > HISTORY.max(2 * depth) {
            self.sent.pop_front();
        }
    }

    /// A request sent before.
    fn judge_again(&mut self, now: u64, layout: &Layout, behind: u32) {
        if u64::from(behind) > self.sent_psns {
            self.broken("I-S10", now, layout, || "is before the first".into());
        }
        let psn = layout.psn;
        let holds = |sent: &Sent| psn.offset_from(sent.psn) < sent.psns;
        let Some(index) = self.sent.iter().position(holds) else { return };
        let newer = self.sent.len() - 1 - index;
        let (depth, sent) = (self.config.max_rd_atomic, &mut self.sent[index]);
        let (offset, furthest) = (psn.offset_from(sent.psn), sent.resumed);
        sent.resumed = furthest.max(offset);
        self.implied_repairs += u64::from(matches!(sent.lost, Lost::Since(_)));
        sent.lost = Lost::Repaired;
        if offset < furthest {
            self.broken("I-S3", now, layout, || format!("offset {offset} after {furthest}"));
        }
        if newer >= depth {
            self.broken("I-S8", now, layout, || format!("{newer} READs and atomics were newer"));
        }
    }

    fn step(&mut self, psns: u32) {
        self.contents.advance(self.next, psns);
        self.next = self.next.add(psns);
        self.sent_psns += u64::from(psns);
    }

    fn broken(
        &mut self,
        id: &'static str,
        now: u64,
        layout: &Layout,
        text: impl FnOnce() -> String,
    ) {
        let psn = layout.psn;
        self.violations.record(id, now, || format!("PSN {psn}: {}", text()));
    }
}
