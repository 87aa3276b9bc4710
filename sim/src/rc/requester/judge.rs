//! Whether an answer may be believed.

use qpmux_engine::wire::{AethRepr, Layout, NakCode, Opcode, Psn, Syndrome};

use super::Requester;
use super::flight::Kind;

/// Completed verbs that are remembered, to judge late answers.
const HISTORY: usize = 512;

/// A verb that was completed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    psn: Psn,
    psns: u32,
    kind: Kind,
    number: u32,
}

/// What the PSN of an answer belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Index of the flight; `None` if it is over.
    pub(super) live: Option<usize>,
    pub(super) kind: Kind,
    /// PSNs from the verb's first.
    pub(super) offset: u32,
    psns: u32,
    number: u32,
}

impl Requester {
    /// Remembers a verb that is completed.
    pub(super) fn remember(&mut self, psn: Psn, psns: u32, kind: Kind, number: u32) {
        self.history.push_back(Past { psn, psns, kind, number });
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// What `psn` belongs to. `None` if that is not known, or if it was never sent.
    pub(super) fn locate(&mut self, now: u64, psn: Psn) -> Option<Place> {
        let oldest = self.flights.front().map_or(self.next_psn, |flight| flight.psn);
        let ahead = psn.signed_offset_from(oldest);
        let sent = self.sent_end.signed_offset_from(oldest);
        let behind = u64::from(ahead.unsigned_abs());
        if ahead >= sent.max(0) || (ahead < 0 && behind > self.completed_psns) {
            let end = self.sent_end;
            self.break_rule("I-C5", now, || format!("answer for PSN {psn}, sent is below {end}"));
            return None;
        }
        if ahead < 0 {
            return self.locate_past(psn);
        }
        let contains = |first: Psn, psns: u32| psn.offset_from(first) < psns;
        let index = self.flights.iter().position(|f| contains(f.psn, f.psns))?;
        let flight = &self.flights[index];
        let offset = psn.offset_from(flight.psn);
        let (kind, psns, number) = (flight.kind, flight.psns, flight.number);
        Some(Place { live: Some(index), kind, offset, psns, number })
    }

    fn locate_past(&self, psn: Psn) -> Option<Place> {
        let past = self.history.iter().rev().find(|p| psn.offset_from(p.psn) < p.psns)?;
        let offset = psn.offset_from(past.psn);
        let Past { kind, psns, number, .. } = *past;
        Some(Place { live: None, kind, offset, psns, number })
    }

    /// Whether the answer fits what it answers. What is wrong is recorded.
    pub(super) fn fits(&mut self, now: u64, layout: &Layout, frame: &[u8], place: Place) -> bool {
        let aeth = layout.aeth(frame);
        if aeth.is_some_and(|aeth| !self.msn_fits(now, layout, aeth, place)) {
            return false;
        }
        match layout.opcode {
            Opcode::Acknowledge => self.ack_fits(now, layout, aeth, place),
            Opcode::AtomicAcknowledge => {
                let fits = place.kind == Kind::Atomic && is_ack(aeth);
                self.demand_form(now, layout, place, fits)
            }
            _ => {
                let fits = self.read_fits(layout, place)
                    && (layout.opcode == Opcode::ReadResponseMiddle || is_ack(aeth));
                self.demand_form(now, layout, place, fits)
            }
        }
    }

    fn demand_form(&mut self, now: u64, layout: &Layout, place: Place, fits: bool) -> bool {
        if !fits {
            let (name, psn, length) = (layout.opcode.name(), layout.psn, layout.payload_len);
            let (kind, offset) = (place.kind, place.offset);
            self.break_rule("I-C7", now, || {
                format!("{name} of {length} bytes at PSN {psn}, offset {offset} of {kind:?}")
            });
        }
        fits
    }

    /// ACK inside a READ or atomic, and syndromes without meaning. An ACK of the former kind is
    /// still an implied NAK, so it is handed on.
    fn ack_fits(
        &mut self,
        now: u64,
        layout: &Layout,
        aeth: Option<AethRepr>,
        place: Place,
    ) -> bool {
        let psn = layout.psn;
        match aeth.map(|aeth| aeth.syndrome) {
            Some(Syndrome::Ack { .. }) if place.kind != Kind::Acknowledged => {
                let kind = place.kind;
                self.break_rule("I-C4", now, || format!("plain ACK at PSN {psn} inside {kind:?}"));
                true
            }
            Some(Syndrome::Reserved(byte)) => {
                self.break_rule("O9", now, || format!("reserved syndrome {byte:#x} at PSN {psn}"));
                false
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Opcode and length of a READ response at its place (IBTA vol. 1, 9.7.5). An answer
    /// begins where it was asked for; what continues may also do so after it was asked for again.
    fn read_fits(&self, layout: &Layout, place: Place) -> bool {
        if place.kind != Kind::Read {
            return false;
        }
        let Some(flight) = place.live.map(|index| &self.flights[index]) else { return true };
        let offset = place.offset;
        let begins = flight.is_asked_from(offset);
        let last = offset + 1 == place.psns;
        let opcode_fits = match layout.opcode {
            Opcode::ReadResponseOnly => begins && last,
            Opcode::ReadResponseFirst => begins && !last,
            Opcode::ReadResponseMiddle => offset > 0 && !last,
            _ => offset > 0 && last,
        };
        opcode_fits && usize::from(layout.payload_len) == self.read_length(place)
    }

    fn read_length(&self, place: Place) -> usize {
        let pmtu = self.config.link.pmtu;
        let total = match place.live.map(|index| &self.flights[index].verb) {
            Some(super::Verb::Read { length, .. }) => *length as usize,
            _ => 0,
        };
        total.saturating_sub(place.offset as usize * pmtu).min(pmtu)
    }

    /// MSN counts the messages completed in order: no fewer than the answer itself claims, no
    /// more than were sent, and exactly those before the refused one in a NAK.
    fn msn_fits(&mut self, now: u64, layout: &Layout, aeth: AethRepr, place: Place) -> bool {
        let is_read = place.kind == Kind::Read;
        let inside_read = is_read && place.offset > 0;
        let (least, most) = match aeth.syndrome {
            // Asked for again, or doubled on its way, a READ is executed anew, and may be refused
            // when it and what came behind it have been counted. Whether it was, the audit of
            // answers knows.
            Syndrome::Nak(code) if is_read && code != NakCode::PsnSequence => {
                (place.number, self.messages_sent)
            }
            Syndrome::Nak(_) | Syndrome::RnrNak { .. } => {
                (place.number, place.number.wrapping_add(u32::from(inside_read)))
            }
            _ => {
                let ends = place.offset + 1 == place.psns || place.kind == Kind::Read;
                (place.number.wrapping_add(u32::from(ends)), self.messages_sent)
            }
        };
        let base = self.config.msn_start;
        let slack = aeth.msn.offset_from(base.add(least));
        let fits = slack <= most.wrapping_sub(least);
        let (msn, psn) = (aeth.msn.value(), layout.psn);
        if !fits {
            let (least, most) = (base.add(least).value(), base.add(most).value());
            self.break_rule("I-C15", now, || {
                format!("MSN {msn} at PSN {psn}, can be {least} to {most}")
            });
            return false;
        }
        let back = !self.config.link.wire.may_reorder && aeth.msn.is_before(self.last_msn);
        if back {
            let last = self.last_msn.value();
            self.break_rule("I-C15", now, || format!("MSN {msn} at PSN {psn} after {last}"));
            return false;
        }
        true
    }

    /// Notes a sequence NAK; a second one for the same PSN breaks I-C13 where answers are neither
    /// lost nor doubled on their way.
    pub(super) fn repeats_gap_nak(&mut self, now: u64, psn: Psn) -> bool {
        let repeated = self.last_gap_nak == Some(psn) && self.answers_are_faithful();
        if repeated {
            self.break_rule("I-C13", now, || format!("second sequence NAK for PSN {psn}"));
        }
        self.last_gap_nak = Some(psn);
        repeated
    }

    /// Whether no answer can have been lost or overtaken.
    pub(super) fn answers_are_faithful(&self) -> bool {
        let wire = self.config.link.wire;
        !wire.may_lose && !wire.may_reorder
    }

    pub(super) fn break_rule(&mut self, id: &'static str, now: u64, text: impl FnOnce() -> String) {
        self.violations.record(id, now, text);
    }
}

fn is_ack(aeth: Option<AethRepr>) -> bool {
    aeth.is_some_and(|aeth| matches!(aeth.syndrome, Syndrome::Ack { .. }))
}

/// The completion status a fatal NAK brings.
pub(super) fn status_of(code: NakCode) -> super::Status {
    match code {
        NakCode::InvalidRequest => super::Status::RemoteInvalidRequest,
        NakCode::RemoteAccess => super::Status::RemoteAccess,
        _ => super::Status::RemoteOperational,
    }
}
