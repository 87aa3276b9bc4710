//! Sending: new requests within the window, and old ones again.

use super::flight::{Flight, Kind};
use super::{AckRequest, Requester, Verb};

impl Requester {
    /// Writes the next request to `out`; its length in bytes. `None` if nothing may be sent now,
    /// or `out` is too small.
    pub fn poll_transmit(&mut self, now: u64, out: &mut [u8]) -> Option<usize> {
        if self.dead || self.wait_until.is_some_and(|until| until > now) {
            return None;
        }
        let (index, offset) = self.next_packet(now)?;
        let ack_request = self.asks_for_ack(index, offset);
        let flight = &self.flights[index];
        let packet = flight.packet(offset, self.config.link.pmtu, ack_request);
        let length = self.config.link.emit(&packet, self.identification, out)?;
        self.identification = self.identification.wrapping_add(1);
        self.note_sent(index, offset, ack_request);
        if self.deadline.is_none() {
            self.restart_timer(now);
        }
        Some(length)
    }

    /// Flight and offset of the packet at the cursor, or after it where that needs no sending.
    fn next_packet(&mut self, now: u64) -> Option<(usize, u32)> {
        loop {
            let (index, offset) = self.cursor;
            if index >= self.flights.len() {
                self.start_flight(now)?;
            }
            let oldest = self.oldest_unanswered();
            let flight = &self.flights[index];
            // One that asks for the whole of a READ again never asks for a part of it, also if its
            // beginning has come meanwhile.
            let whole = self.config.restart_reads && flight.kind == Kind::Read;
            let offset = if whole { offset } else { offset.max(flight.answered) };
            let answerable = flight.kind == Kind::Acknowledged;
            if flight.is_done() || (answerable && offset >= flight.psns) {
                self.cursor = (index + 1, 0);
                continue;
            }
            // Of a READ or atomic the window was checked when it was started.
            let end = flight.psn.add(offset + 1).offset_from(oldest);
            return (!answerable || end <= self.config.window).then_some((index, offset));
        }
    }

    /// Puts the next posted verb into flight, if the limits allow it.
    fn start_flight(&mut self, now: u64) -> Option<()> {
        let (_, verb) = self.posted.front()?;
        let pmtu = self.config.link.pmtu;
        if !self.flights.is_empty() && !self.has_room(verb) {
            return None;
        }
        if !self.flights.is_empty() && self.lacks_credit(verb) {
            self.stats.credit_waits += 1;
            return None;
        }
        let (id, verb) = self.posted.pop_front()?;
        let number = self.messages_begun;
        let flight = Flight::new(id, verb, self.next_psn, pmtu, number, now);
        self.messages_begun = self.messages_begun.wrapping_add(1);
        self.next_psn = self.next_psn.add(flight.psns);
        self.flights.push_back(flight);
        Some(())
    }

    /// Whether window and depth leave room to begin this verb. A WRITE or SEND longer than the
    /// window goes packet by packet.
    fn has_room(&self, verb: &Verb) -> bool {
        let used = self.next_psn.offset_from(self.oldest_unanswered());
        if !verb.is_read_or_atomic() {
            return used < self.config.window;
        }
        let waiting = |flight: &&Flight| flight.kind != Kind::Acknowledged && !flight.is_done();
        let depth = self.flights.iter().filter(waiting).count();
        let psns = verb.psns(self.config.link.pmtu);
        depth < self.config.max_rd_atomic && used.saturating_add(psns) <= self.config.window
    }

    /// Whether the verb uses up a receive buffer, and no ACK has promised one. Alone it may be
    /// tried.
    fn lacks_credit(&self, verb: &Verb) -> bool {
        let consumes = matches!(verb, Verb::Send { .. } | Verb::Write { immediate: Some(_), .. });
        consumes && self.allowed.is_some_and(|allowed| self.messages_begun >= allowed)
    }

    fn asks_for_ack(&self, index: usize, offset: u32) -> bool {
        let flight = &self.flights[index];
        let ends = offset + 1 >= flight.packets() || flight.kind != Kind::Acknowledged;
        let after = flight.psn.add(offset + 1);
        let again = after.offset_from(self.sent_end) != 1;
        let full = after.offset_from(self.oldest_unanswered()) >= self.config.window;
        let policy = match self.config.ack_request {
            AckRequest::EveryMessage => ends,
            AckRequest::EveryPackets(every) => ends || self.unrequested + 1 >= every,
            AckRequest::LastOfBatch => {
                ends && (self.posted.is_empty() || flight.kind != Kind::Acknowledged)
            }
        };
        policy || full || (again && ends)
    }

    /// Moves the cursor behind a packet just written.
    fn note_sent(&mut self, index: usize, offset: u32, ack_request: bool) {
        let flight = &mut self.flights[index];
        self.stats.resumed_reads += u64::from(flight.kind == Kind::Read && offset > 0);
        if flight.kind == Kind::Read {
            flight.ask_from(offset);
        }
        let end = flight.psn.add(offset + flight.span(offset));
        self.stats.sent += 1;
        if end.is_after(self.sent_end) {
            self.sent_end = end;
            if offset + flight.span(offset) == flight.psns {
                self.messages_sent = flight.number.wrapping_add(1);
            }
        } else {
            self.stats.sent_again += 1;
        }
        self.unrequested = if ack_request { 0 } else { self.unrequested + 1 };
        let last = offset + 1 >= flight.packets() || flight.kind != Kind::Acknowledged;
        self.cursor = if last { (index + 1, 0) } else { (index, offset + 1) };
    }
}
