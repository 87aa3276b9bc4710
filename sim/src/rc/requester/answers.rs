//! Answers: what they complete, and what has to be sent again.

use qpmux_engine::wire::{Layout, Msn, NakCode, Opcode, Psn, Syndrome, rnr_delay_ns};

use super::flight::Kind;
use super::judge::{Place, status_of};
use super::{Requester, Status};

impl Requester {
    /// Takes one frame that has arrived.
    pub fn handle_frame(&mut self, now: u64, frame: &[u8]) {
        let link = &self.config.link;
        let Some(layout) = self.admission.admit(link, now, frame, &mut self.violations) else {
            return;
        };
        self.take_frame(now, frame, &layout);
    }

    /// Takes one frame that has arrived as the other end has written it, whose link is this one as
    /// it is seen from there.
    pub(crate) fn handle_own(&mut self, now: u64, frame: &[u8], layout: &Layout) {
        let migration_request = layout.bth(frame).migration_request;
        self.admission.admit_own(now, layout, migration_request, &mut self.violations);
        self.take_frame(now, frame, layout);
    }

    fn take_frame(&mut self, now: u64, frame: &[u8], layout: &Layout) {
        if layout.opcode.is_request() {
            self.stats.foreign_requests += 1;
            return;
        }
        if self.dead {
            return;
        }
        let bth = layout.bth(frame);
        if bth.ack_request || bth.solicited {
            self.break_rule("A5", now, || format!("answer {} with A or SE set", layout.psn));
        }
        let Some(place) = self.locate(now, layout.psn) else { return };
        if !self.fits(now, layout, frame, place) {
            return;
        }
        let lower = layout.aeth(frame).is_some_and(|aeth| aeth.msn.is_before(self.last_msn));
        if lower && self.config.resends_at_lower_msn && place.live.is_some() {
            self.stats.lower_msns += 1;
            self.retry_from(now, 0);
        }
        if let Some(aeth) = layout.aeth(frame) {
            self.last_msn = aeth.msn;
        }
        match place.live {
            Some(index) => {
                self.take_answer(now, frame, layout, place, index);
                self.complete_done(now);
            }
            None => self.stats.late += 1,
        }
    }

    fn take_answer(&mut self, now: u64, frame: &[u8], layout: &Layout, place: Place, index: usize) {
        match layout.opcode {
            Opcode::AtomicAcknowledge => {
                let original = layout.atomic_ack(frame).map_or(0, |eth| eth.original);
                self.take_atomic(now, index, original);
            }
            Opcode::Acknowledge => {
                let Some(aeth) = layout.aeth(frame) else { return };
                match aeth.syndrome {
                    Syndrome::Ack { credits } => {
                        self.take_credits(aeth.msn, credits);
                        self.take_ack(now, index, place.offset);
                    }
                    Syndrome::RnrNak { timer } => self.take_rnr(now, index, place.offset, timer),
                    Syndrome::Nak(NakCode::PsnSequence) => {
                        self.take_gap_nak(now, layout.psn, index, place.offset);
                    }
                    Syndrome::Nak(code) => self.take_fatal(now, index, code),
                    Syndrome::Reserved(_) => {}
                }
            }
            _ => self.take_read(now, index, place.offset, layout.payload(frame)),
        }
    }

    /// Completes everything before the flight at `index`, as any answer to that one claims. False
    /// if a READ or atomic is in the way: then the answer is an implied NAK for it
    /// (IBTA vol. 1, 9.7.5).
    fn complete_before(&mut self, now: u64, index: usize, rule: &'static str) -> bool {
        for _ in 0..index {
            let Some(front) = self.flights.front() else { return true };
            if front.kind != Kind::Acknowledged && !front.is_done() {
                self.imply_nak(now, rule);
                return false;
            }
            self.complete_front(now);
        }
        true
    }

    /// Whether the READ or atomic at `index` may take its answer: everything before it is done,
    /// or, for a requester that waits for explicit ACKs, at least every READ and atomic.
    fn clear_before(&mut self, now: u64, index: usize) -> Option<usize> {
        if self.config.responses_acknowledge {
            return self.complete_before(now, index, "I-C2").then_some(0);
        }
        let unacknowledged = self.flights.iter().take(index).find(|f| !f.is_done());
        if let Some(psn) = unacknowledged.map(|f| f.psn).filter(|_| self.answers_are_faithful()) {
            self.break_rule("I-C6", now, || format!("no ACK for PSN {psn} before a response"));
        }
        let waits = |f: &super::Flight| f.kind != Kind::Acknowledged && !f.is_done();
        match self.flights.iter().take(index).position(waits) {
            Some(blocking) => {
                self.retry_from(now, blocking);
                None
            }
            None => Some(index),
        }
    }

    fn take_ack(&mut self, now: u64, index: usize, offset: u32) {
        if !self.complete_before(now, index, "I-C2") {
            return;
        }
        let Some(front) = self.flights.front_mut() else { return };
        if front.kind != Kind::Acknowledged {
            // I-C4 has been recorded. It is never believed: the response has to be fetched.
            if !front.is_done() {
                self.retry_from(now, 0);
            }
        } else if offset + 1 == front.psns {
            self.complete_front(now);
        } else if offset >= front.answered {
            front.answered = offset + 1;
            self.progress(now);
        }
    }

    fn take_atomic(&mut self, now: u64, index: usize, original: u64) {
        let Some(index) = self.clear_before(now, index) else { return };
        let flight = &mut self.flights[index];
        if !flight.is_done() {
            flight.original = original;
            flight.answered = 1;
            self.progress(now);
        }
    }

    fn take_read(&mut self, now: u64, index: usize, offset: u32, payload: &[u8]) {
        let Some(index) = self.clear_before(now, index) else { return };
        let flight = &mut self.flights[index];
        if offset > flight.answered {
            // An answer that was under way when its beginning was thrown away goes on where it was.
            if flight.discarded == 0 || offset < flight.discarded {
                self.break_faithful("I-C1", now, offset);
            }
            if self.config.waits_at_holes {
                self.stats.holes_waited += 1;
            } else {
                self.retry_from(now, index);
            }
        } else if offset == flight.answered {
            flight.data.extend_from_slice(payload);
            flight.answered += 1;
            self.progress(now);
        } else {
            self.stats.late += 1;
        }
    }

    /// The newest ACK says how many more messages have a receive buffer.
    fn take_credits(&mut self, msn: Msn, credits: u8) {
        if self.config.honours_credits {
            let done = msn.offset_from(self.config.msn_start);
            self.allowed = credits_of(credits).map(|credits| done.saturating_add(credits));
        }
    }

    fn break_faithful(&mut self, rule: &'static str, now: u64, offset: u32) {
        if self.answers_are_faithful() {
            self.break_rule(rule, now, || format!("answer {offset} of a READ before the last one"));
        }
    }

    /// Completes READs and atomics at the front that have all of their answer.
    fn complete_done(&mut self, now: u64) {
        while self.flights.front().is_some_and(|flight| flight.is_done()) {
            self.complete_front(now);
        }
    }

    /// Waits, whatever else the answer says, and sends again from there on
    /// (IBTA vol. 1, 9.7.5).
    fn take_rnr(&mut self, now: u64, index: usize, offset: u32, timer: u8) {
        let until = now + rnr_delay_ns(timer);
        self.wait_until = Some(self.wait_until.map_or(until, |other| other.max(until)));
        self.last_gap_nak = None;
        self.stats.rnr_naks += 1;
        if !self.complete_before(now, index, "I-C3") {
            return;
        }
        self.acknowledge_below(now, offset);
        self.rnr_retries += 1;
        if self.config.rnr_retry < 7 && self.rnr_retries > self.config.rnr_retry {
            self.fail(now, Status::RnrRetryExceeded);
            return;
        }
        self.go_back(0);
        self.deadline = self.config.timeout_ns().map(|timeout| until + timeout);
    }

    fn take_gap_nak(&mut self, now: u64, psn: Psn, index: usize, offset: u32) {
        if self.repeats_gap_nak(now, psn) || !self.complete_before(now, index, "I-C3") {
            return;
        }
        self.stats.sequence_naks += 1;
        self.acknowledge_below(now, offset);
        self.retry_from(now, 0);
    }

    /// Takes a NAK inside a message for an ACK of the packets before (I-C3).
    fn acknowledge_below(&mut self, now: u64, offset: u32) {
        let Some(front) = self.flights.front_mut() else { return };
        if front.kind == Kind::Acknowledged && offset > front.answered {
            front.answered = offset;
            self.progress(now);
        }
    }

    fn take_fatal(&mut self, now: u64, index: usize, code: NakCode) {
        if self.complete_before(now, index, "I-C3") {
            self.fail(now, status_of(code));
        }
    }

    fn imply_nak(&mut self, now: u64, rule: &'static str) {
        // One that threw away what it had may be told of what follows.
        let discarded = self.flights.front().is_some_and(|flight| flight.discarded > 0);
        if self.answers_are_faithful() && !discarded {
            let psn = self.flights.front().map_or(self.next_psn, |flight| flight.psn);
            self.break_rule(rule, now, || format!("PSN {psn} was passed over"));
        }
        self.stats.implied_naks += 1;
        self.retry_from(now, 0);
    }
}

/// Credits of a code: 0, 1, 2, 3, 4, 6, 8, 12 and so on; 31 says that they do not count (IBTA
/// vol. 1, table 46).
fn credits_of(code: u8) -> Option<u32> {
    match code {
        31.. => None,
        0..2 => Some(code.into()),
        _ => Some((2 + u32::from(code % 2)) << (code / 2 - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_codes_grow_by_halves() {
        let all = (0..12).map(credits_of).collect::<Option<Vec<_>>>();
        assert_eq!(all, Some(vec![0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]));
        assert_eq!((credits_of(30), credits_of(31)), (Some(32_768), None));
    }
}
