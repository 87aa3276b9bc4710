//! Answers that wait to be sent.

use std::collections::VecDeque;

use qpmux_engine::wire::{
    AethRepr, AtomicAckEthRepr, Extension, Msn, NakCode, Opcode, Psn, Syndrome,
};

use super::super::link::{Link, Packet};
use super::ResumeForm;

/// The data of a READ on its way out.
#[derive(Clone, Debug)]
pub(super) struct ReadData {
    pub(super) data: Vec<u8>,
    /// Packets already sent.
    pub(super) sent: u32,
    /// The first packet continues an earlier answer.
    pub(super) continues: bool,
}

/// What an answer says.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Ack,
    Nak(NakCode),
    RnrNak(u8),
    Atomic(u64),
    Read(ReadData),
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    ready_at: u64,
    psn: Psn,
    msn: Msn,
    /// Occupies one of the places for READs and atomics in flight.
    in_flight: bool,
    body: Body,
}

/// An ACK held back for others to join it.
#[derive(Clone, Copy, Debug)]
struct Owed {
    psn: Psn,
    requests: u32,
    due: u64,
}

/// Answers in the order they were given, each sent no sooner than it is ready.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    queue: VecDeque<Answer>,
    owed: Option<Owed>,
    /// What the last READ was answered from, to be used again.
    buffer: Vec<u8>,
}

impl Answers {
    /// Room for the data of a READ.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn push(&mut self, ready_at: u64, psn: Psn, msn: Msn, body: Body) {
        self.queue.push_back(Answer { ready_at, psn, msn, in_flight: false, body });
    }

    /// Like `push`, for the first answer to a READ or atomic.
    pub(super) fn push_in_flight(&mut self, ready_at: u64, psn: Psn, msn: Msn, body: Body) {
        self.queue.push_back(Answer { ready_at, psn, msn, in_flight: true, body });
    }

    /// READs and atomics that have not been answered completely.
    pub(super) fn in_flight(&self) -> usize {
        self.queue.iter().filter(|answer| answer.in_flight).count()
    }

    /// Owes an ACK for `psn`, to be sent at `due` at the latest. Whether `every` requests wait.
    pub(super) fn owe(&mut self, psn: Psn, due: u64, every: u32) -> bool {
        let owed = self.owed.get_or_insert(Owed { psn, requests: 0, due });
        owed.psn = psn;
        owed.requests += 1;
        owed.requests >= every
    }

    /// Forgets the owed ACK: another answer covers it.
    pub(super) fn cover(&mut self) {
        self.owed = None;
    }

    /// Takes the PSN of the owed ACK.
    pub(super) fn take_owed(&mut self) -> Option<Psn> {
        self.owed.take().map(|owed| owed.psn)
    }

    /// When the owed ACK is due, ns.
    pub(super) fn owed_due(&self) -> Option<u64> {
        self.owed.map(|owed| owed.due)
    }

    /// When there is something to send, ns.
    pub(super) fn next_time(&self) -> Option<u64> {
        let ready = self.queue.front().map(|answer| answer.ready_at);
        ready.into_iter().chain(self.owed_due()).min()
    }

    /// Whether nothing is left to say.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.owed.is_none()
    }

    /// Writes the next packet that is ready to `out`.
    pub(super) fn emit(
        &mut self,
        now: u64,
        link: &Link,
        credits: u8,
        identification: u16,
        resume: ResumeForm,
        out: &mut [u8],
    ) -> Option<usize> {
        let answer = self.queue.front_mut().filter(|answer| answer.ready_at <= now)?;
        let (opcode, psn, extension, payload) = answer.packet(link.pmtu, credits, resume);
        let packet = Packet { opcode, psn, ack_request: false, extension, payload };
        let length = link.emit(&packet, identification, out)?;
        if answer.advance(link.pmtu)
            && let Some(Answer { body: Body::Read(read), .. }) = self.queue.pop_front()
        {
            self.buffer = read.data;
        }
        Some(length)
    }
}

impl Answer {
    fn packet(
        &self,
        pmtu: usize,
        credits: u8,
        resume: ResumeForm,
    ) -> (Opcode, Psn, Extension, &[u8]) {
        let aeth = |syndrome| AethRepr { syndrome, msn: self.msn };
        let ack = aeth(Syndrome::Ack { credits });
        match &self.body {
            Body::Ack => (Opcode::Acknowledge, self.psn, Extension::Aeth(ack), &[]),
            Body::Nak(code) => {
                (Opcode::Acknowledge, self.psn, Extension::Aeth(aeth(Syndrome::Nak(*code))), &[])
            }
            Body::RnrNak(timer) => {
                let aeth = aeth(Syndrome::RnrNak { timer: *timer });
                (Opcode::Acknowledge, self.psn, Extension::Aeth(aeth), &[])
            }
            Body::Atomic(original) => {
                let original = AtomicAckEthRepr { original: *original };
                (Opcode::AtomicAcknowledge, self.psn, Extension::AtomicAck(ack, original), &[])
            }
            Body::Read(read) => {
                let (opcode, payload) = read.packet(pmtu, resume);
                let middle = opcode == Opcode::ReadResponseMiddle;
                let extension = if middle { Extension::None } else { Extension::Aeth(ack) };
                (opcode, self.psn.add(read.sent), extension, payload)
            }
        }
    }

    /// Notes that one packet is sent; whether it was the last.
    fn advance(&mut self, pmtu: usize) -> bool {
        let Body::Read(read) = &mut self.body else { return true };
        read.sent += 1;
        read.sent as usize * pmtu >= read.data.len()
    }
}

impl ReadData {
    fn packet(&self, pmtu: usize, resume: ResumeForm) -> (Opcode, &[u8]) {
        let start = (self.sent as usize * pmtu).min(self.data.len());
        let end = (start + pmtu).min(self.data.len());
        let begins = self.sent == 0 && !(self.continues && resume == ResumeForm::Middle);
        let opcode = match (begins, end == self.data.len()) {
            (true, true) => Opcode::ReadResponseOnly,
            (true, false) => Opcode::ReadResponseFirst,
            (false, false) => Opcode::ReadResponseMiddle,
            (false, true) => Opcode::ReadResponseLast,
        };
        (opcode, &self.data[start..end])
    }
}
