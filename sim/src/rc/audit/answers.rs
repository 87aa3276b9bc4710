//! Answers to a client, before any loss.

use std::collections::VecDeque;

use qpmux_engine::wire::{AethRepr, Layout, Msn, NakCode, Opcode, Psn, Syndrome};

use super::super::link::{Admission, Link, Wire};
use super::super::requester::flight::Kind;
use super::super::violations::Violations;

/// Request packets that are remembered after their answer.
const HISTORY: usize = 512;
/// Half of the PSNs: what is further ahead counts as behind (IBTA vol. 1, 9.7.3).
const HALF: u64 = 1 << 23;

/// What the answers are held to.
#[derive(Clone, Debug)]
pub struct AnswerAuditConfig {
    /// Addresses and numbers, seen from the client.
    pub link: Link,
    /// PSN of the first request.
    pub start_psn: Psn,
    /// MSN before the first message.
    pub msn_start: Msn,
    /// WRITEs and SENDs must be acknowledged before a later READ or atomic is answered (I-C6).
    pub explicit_acks: bool,
    /// Parts of a READ's response may be left out, as if they had been lost on the way: the next
    /// answer behind them is an implied NAK (qib_rc.c), and the client asks again. They are
    /// counted.
    pub may_leave_out: bool,
}

impl AnswerAuditConfig {
    /// All rules but the explicit ACKs, on a fresh connection.
    pub fn new(link: Link, start_psn: Psn) -> Self {
        Self { link, start_psn, msn_start: Msn::new(0), explicit_acks: false, may_leave_out: false }
    }
}

/// A request packet that has come.
#[derive(Clone, Debug)]
struct Slot {
    psn: Psn,
    psns: u32,
    kind: Kind,
    /// Messages that ended before it.
    number: u32,
    /// It ends its message.
    ends: bool,
    /// Bytes of a READ.
    length: u32,
    /// Offsets in PSNs from which a READ was asked for.
    asked: Vec<u32>,
    /// Offset after the last part of a READ's answer.
    next: u32,
    /// PSNs that have been answered once.
    answered: u32,
    /// What an atomic was answered.
    original: Option<u64>,
}

impl Slot {
    /// Whether a later answer would pass over it.
    fn is_owed(&self) -> bool {
        self.kind != Kind::Acknowledged && self.answered < self.psns
    }
}

/// A judge of one client queue pair's answers: I-C1 to I-C7, I-C10, I-C13, I-C15 and A5.
#[derive(Clone, Debug)]
pub struct AnswerAudit {
    config: AnswerAuditConfig,
    answers: Admission,
    /// PSN after the requests that came in order.
    expected: Psn,
    /// PSNs that came in order.
    accepted_psns: u64,
    /// Messages that came in order.
    messages: u32,
    /// Something beyond `expected` has come.
    gap: bool,
    gap_nak: Option<Psn>,
    slots: VecDeque<Slot>,
    /// PSN after the newest explicit ACK.
    acknowledged: Psn,
    last_msn: Msn,
    /// Parts of READs' responses that were left out.
    left_out: u64,
    violations: Violations,
}

impl AnswerAudit {
    /// A judge of a connection without requests so far.
    pub fn new(mut config: AnswerAuditConfig) -> Self {
        config.link.wire = Wire::FAITHFUL;
        Self {
            answers: Admission::new(&config.link, "A5"),
            expected: config.start_psn,
            accepted_psns: 0,
            messages: 0,
            gap: false,
            gap_nak: None,
            slots: VecDeque::new(),
            acknowledged: config.start_psn,
            last_msn: config.msn_start,
            left_out: 0,
            violations: Violations::new(),
            config,
        }
    }

    /// Rules that were broken.
    pub fn violations(&self) -> &Violations {
        &self.violations
    }

    /// Parts of READs' responses that answers behind them have passed over.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// From `start` on, after so many messages, somebody else answers; all requests before have
    /// been answered, and he answers their repeats.
    pub fn begin(&mut self, start: Psn, msn: Msn) {
        self.config.msn_start = msn;
        self.expected = start;
        self.accepted_psns = HALF;
        self.messages = 0;
        (self.gap, self.gap_nak) = (false, None);
        self.slots.clear();
        self.acknowledged = start;
        self.last_msn = msn;
        self.violations = Violations::new();
    }

    /// Takes a frame as it came from the client.
    pub fn observe_request(&mut self, now: u64, frame: &[u8]) {
        // The client is not judged here: a damaged or foreign frame says nothing.
        let link = self.config.link.reversed();
        let mut admission = Admission::new(&link, "I-S15");
        let Some(layout) = admission.admit(&link, now, frame, &mut Violations::new()) else {
            return;
        };
        if layout.opcode.is_response() {
            return;
        }
        if self.gap_nak == Some(layout.psn) {
            self.gap_nak = None;
        }
        match layout.psn.signed_offset_from(self.expected) {
            0 => self.accept(&layout, frame),
            ..0 => self.ask_again(layout.psn),
            _ => self.gap = true,
        }
    }

    fn accept(&mut self, layout: &Layout, frame: &[u8]) {
        let opcode = layout.opcode;
        let (kind, length) = match opcode {
            Opcode::ReadRequest => {
                (Kind::Read, layout.reth(frame).map_or(0, |reth| reth.dma_length))
            }
            _ if opcode.is_atomic() => (Kind::Atomic, 0),
            _ => (Kind::Acknowledged, 0),
        };
        let slot = Slot {
            psn: layout.psn,
            psns: length.div_ceil(self.config.link.pmtu.max(1) as u32).max(1),
            kind,
            number: self.messages,
            ends: opcode.ends_message(),
            length,
            asked: vec![0],
            next: 0,
            answered: 0,
            original: None,
        };
        self.gap = false;
        self.expected = self.expected.add(slot.psns);
        self.accepted_psns += u64::from(slot.psns);
        self.messages = self.messages.wrapping_add(u32::from(slot.ends));
        self.slots.push_back(slot);
        if self.slots.len() > HISTORY && self.slots.front().is_some_and(|slot| !slot.is_owed()) {
            self.slots.pop_front();
        }
    }

    fn ask_again(&mut self, psn: Psn) {
        if let Some(slot) = self.find(psn).and_then(|index| self.slots.get_mut(index)) {
            let offset = psn.offset_from(slot.psn);
            if !slot.asked.contains(&offset) {
                slot.asked.push(offset);
            }
        }
    }

    fn find(&self, psn: Psn) -> Option<usize> {
        self.slots.iter().rposition(|slot| psn.offset_from(slot.psn) < slot.psns)
    }

    /// Takes a frame as it is sent to the client.
    pub fn observe_answer(&mut self, now: u64, frame: &[u8]) {
        let link = &self.config.link;
        let Some(layout) = self.answers.admit(link, now, frame, &mut self.violations) else {
            return;
        };
        if layout.opcode.is_request() {
            return;
        }
        let bth = layout.bth(frame);
        if bth.ack_request || bth.solicited {
            self.broken("A5", now, &layout, || "has A or SE set".into());
        }
        let aeth = layout.aeth(frame);
        let index = self.find(layout.psn);
        self.judge_range(now, &layout, aeth);
        if let Some(aeth) = aeth {
            self.judge_msn(now, &layout, aeth, index);
        }
        match (layout.opcode, aeth.map(|aeth| aeth.syndrome)) {
            (Opcode::Acknowledge, Some(Syndrome::Ack { .. })) => {
                self.judge_ack(now, &layout, index);
            }
            (Opcode::Acknowledge, Some(Syndrome::Reserved(byte))) => {
                self.broken("O9", now, &layout, || format!("reserved syndrome {byte:#x}"));
            }
            (Opcode::Acknowledge, Some(syndrome)) => self.judge_nak(now, &layout, syndrome, index),
            _ => self.judge_response(now, &layout, frame, index),
        }
    }

    /// Only what has come is answered; what is missing may be named by a sequence NAK.
    fn judge_range(&mut self, now: u64, layout: &Layout, aeth: Option<AethRepr>) {
        let behind = self.expected.signed_offset_from(layout.psn);
        let nak = aeth.map(|aeth| aeth.syndrome) == Some(Syndrome::Nak(NakCode::PsnSequence));
        let missing = behind == 0 && nak && self.gap;
        let came = behind > 0 && u64::from(behind.unsigned_abs()) <= self.accepted_psns;
        if !missing && !came {
            let expected = self.expected;
            self.broken("I-C5", now, layout, || format!("is answered, {expected} is expected"));
        }
    }

    fn judge_msn(&mut self, now: u64, layout: &Layout, aeth: AethRepr, index: Option<usize>) {
        let refuses = matches!(aeth.syndrome, Syndrome::Nak(_) | Syndrome::RnrNak { .. });
        let slot = index.map(|index| &self.slots[index]);
        let number = slot.map(|slot| slot.number);
        let done = slot.is_some_and(|slot| slot.ends && !refuses);
        let least = number.map_or(0, |number| number.wrapping_add(u32::from(done)));
        // A READ that was answered and is asked for again is executed anew, and may be refused
        // then: it was counted, and so was what came behind it.
        let told = slot.is_some_and(|slot| slot.kind == Kind::Read && slot.answered > 0);
        let exact = refuses && !told && slot.is_some_and(|slot| slot.psn == layout.psn);
        let most = if exact { least } else { self.messages };
        let base = self.config.msn_start.add(least);
        let outside = aeth.msn.offset_from(base) > most.wrapping_sub(least);
        if (slot.is_some() && outside) || aeth.msn.is_before(self.last_msn) {
            let (msn, last) = (aeth.msn.value(), self.last_msn.value());
            let (low, high) = (base.value(), self.config.msn_start.add(most).value());
            let text = || format!("MSN {msn} after {last}, can be {low} to {high}");
            self.broken("I-C15", now, layout, text);
        }
        self.last_msn = aeth.msn;
    }

    /// A READ or atomic before `index` that has not been answered completely.
    fn owed_before(&self, index: usize) -> Option<Psn> {
        self.slots.iter().take(index).find(|slot| slot.is_owed()).map(|slot| slot.psn)
    }

    /// READs before `index` whose response is not complete are asked for again.
    fn leave_out_before(&mut self, index: usize) {
        for slot in self.slots.iter_mut().take(index) {
            if slot.kind == Kind::Read && slot.is_owed() {
                self.left_out += u64::from(slot.psns - slot.answered);
                slot.answered = slot.psns;
            }
        }
    }

    fn judge_passing(&mut self, now: u64, layout: &Layout, index: usize, rule: &'static str) {
        if self.config.may_leave_out {
            self.leave_out_before(index);
        }
        if let Some(psn) = self.owed_before(index) {
            self.broken(rule, now, layout, || format!("PSN {psn} has not been answered"));
        }
    }

    fn judge_ack(&mut self, now: u64, layout: &Layout, index: Option<usize>) {
        let Some(index) = index else { return };
        if self.slots[index].kind != Kind::Acknowledged {
            let kind = self.slots[index].kind;
            self.broken("I-C4", now, layout, || format!("is a plain ACK inside {kind:?}"));
        }
        self.judge_passing(now, layout, index, "I-C2");
        self.acknowledge_below(layout.psn.add(1));
    }

    fn acknowledge_below(&mut self, psn: Psn) {
        if psn.is_after(self.acknowledged) {
            self.acknowledged = psn;
        }
    }

    fn judge_nak(&mut self, now: u64, layout: &Layout, syndrome: Syndrome, index: Option<usize>) {
        let psn = layout.psn;
        self.judge_passing(now, layout, index.unwrap_or(self.slots.len()), "I-C3");
        self.acknowledge_below(psn);
        if syndrome == Syndrome::Nak(NakCode::PsnSequence) {
            if self.gap_nak == Some(psn) {
                self.broken("I-C13", now, layout, || "is NAKed again".into());
            }
            self.gap_nak = Some(psn);
        } else {
            // What was not ready may be missed again.
            self.gap_nak = None;
        }
    }

    fn judge_response(&mut self, now: u64, layout: &Layout, frame: &[u8], index: Option<usize>) {
        let Some(index) = index else { return };
        let acknowledged = layout.opcode == Opcode::ReadResponseMiddle
            || matches!(layout.aeth(frame).map(|a| a.syndrome), Some(Syndrome::Ack { .. }));
        if !acknowledged || !form_fits(&self.slots[index], layout, self.config.link.pmtu) {
            let (name, length) = (layout.opcode.name(), layout.payload_len);
            self.broken("I-C7", now, layout, || format!("{name} of {length} bytes"));
            return;
        }
        self.judge_passing(now, layout, index, "I-C2");
        self.judge_explicit(now, layout, index);
        let slot = &mut self.slots[index];
        let offset = layout.psn.offset_from(slot.psn);
        let mut follows = offset == slot.next || slot.asked.contains(&offset);
        if !follows && self.config.may_leave_out && offset > slot.next {
            self.left_out += u64::from(offset - slot.next);
            follows = true;
        }
        slot.next = offset + 1;
        slot.answered = slot.answered.max(offset + 1);
        let value = layout.atomic_ack(frame).map(|eth| eth.original);
        let changed = slot.original.is_some() && slot.original != value;
        slot.original = slot.original.or(value);
        if !follows {
            self.broken("I-C1", now, layout, || format!("offset {offset} does not follow"));
        }
        if changed {
            self.broken("I-C10", now, layout, || format!("answers {value:?} this time"));
        }
    }

    fn judge_explicit(&mut self, now: u64, layout: &Layout, index: usize) {
        let waits = |slot: &&Slot| {
            slot.kind == Kind::Acknowledged && !slot.psn.is_before(self.acknowledged)
        };
        let silent = self.slots.iter().take(index).find(waits).map(|slot| slot.psn);
        if let Some(psn) = silent.filter(|_| self.config.explicit_acks) {
            self.broken("I-C6", now, layout, || format!("no ACK for PSN {psn} before it"));
        }
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

/// Whether opcode and length are those of the answer to `slot` at this PSN.
fn form_fits(slot: &Slot, layout: &Layout, pmtu: usize) -> bool {
    if layout.opcode == Opcode::AtomicAcknowledge {
        return slot.kind == Kind::Atomic;
    }
    let offset = layout.psn.offset_from(slot.psn);
    let begins = slot.asked.contains(&offset);
    let last = offset + 1 == slot.psns;
    let opcode_fits = match layout.opcode {
        Opcode::ReadResponseOnly => begins && last,
        Opcode::ReadResponseFirst => begins && !last,
        Opcode::ReadResponseMiddle => offset > 0 && !last,
        _ => offset > 0 && last,
    };
    let length = (slot.length as usize).saturating_sub(offset as usize * pmtu).min(pmtu);
    slot.kind == Kind::Read && opcode_fits && usize::from(layout.payload_len) == length
}
