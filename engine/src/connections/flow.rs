//! One flow: what was asked in this direction and what was answered.

use core::net::{IpAddr, Ipv4Addr};

use super::table::NONE;
use crate::wire::{AethRepr, Layout, Opcode, Psn, Qpn, Syndrome};

/// The smallest path MTU in bytes. A READ takes at most one PSN for so many bytes; the true MTU
/// is not known here.
const PATH_MTU_MIN: u32 = 256;
/// READs that a requester has outstanding at most, for the distance that PSNs can go back; 16 is
/// the usual limit of adapters (`max_rd_atomic`).
const READS_OUTSTANDING: u32 = 16;
/// No READ counts for more PSNs than this, so that serial arithmetic stays unambiguous.
const SPAN_MAX: u32 = 1 << 18;

/// How a request is answered, or what an answer answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// SEND or WRITE; a positive acknowledgement.
    Plain = 1,
    /// READ; the first packet of its response.
    Read = 2,
    /// Compare and swap, or fetch and add; the original value.
    Atomic = 3,
}

impl Kind {
    /// How a request with this opcode will be answered.
    pub(super) fn of_request(opcode: Opcode) -> Self {
        match opcode {
            Opcode::ReadRequest => Self::Read,
            Opcode::CompareSwap | Opcode::FetchAdd => Self::Atomic,
            _ => Self::Plain,
        }
    }

    /// What a response answers at exactly its PSN. NAKs and later packets of a READ response do
    /// not say: their PSN need not be that of a request packet.
    pub(super) fn of_answer(opcode: Opcode, aeth: Option<AethRepr>) -> Option<Self> {
        match opcode {
            Opcode::ReadResponseFirst | Opcode::ReadResponseOnly => Some(Self::Read),
            Opcode::AtomicAcknowledge => Some(Self::Atomic),
            Opcode::Acknowledge => match aeth?.syndrome {
                Syndrome::Ack { .. } => Some(Self::Plain),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether an answer can be one to a flow's requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Asked for, and of the right kind.
    Fits,
    /// Never asked for, or asked for something else.
    Contradicts,
    /// Too long ago to know.
    Unknown,
}

/// The request packets that a flow has sent. The last ones are kept in a ring of words outside,
/// each a PSN with the kind in its top byte, 0 where nothing is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requests {
    any: bool,
    /// The newest request's PSN.
    pub(super) newest: Psn,
    /// No PSN after this one has been used.
    upper: Psn,
    /// Most PSNs that one READ took.
    span: u32,
    /// Where the next word goes in the ring.
    head: u32,
}

impl Requests {
    const NONE: Self =
        Self { any: false, newest: Psn::new(0), upper: Psn::new(0), span: 1, head: 0 };

    /// Nothing yet, but the first request will have this PSN.
    pub(super) fn expecting(psn: Psn) -> Self {
        let before = psn.sub(1);
        Self { any: true, newest: before, upper: before, ..Self::NONE }
    }

    /// The newest request's PSN, once there was one or its number was agreed upon.
    pub(super) fn newest(&self) -> Option<Psn> {
        self.any.then_some(self.newest)
    }

    /// Most PSNs that a READ of `length` bytes takes.
    pub(super) fn span_of(length: u32) -> u32 {
        length.div_ceil(PATH_MTU_MIN).clamp(1, SPAN_MAX)
    }

    /// Most PSNs that a packet takes which is a request.
    #[inline]
    pub(super) fn span(layout: &Layout, frame: &[u8]) -> u32 {
        let asked = layout.reth(frame).filter(|_| !layout.opcode.has_payload());
        asked.map_or(1, |reth| Self::span_of(reth.dma_length))
    }

    /// Whether `psn` is too distant to belong to the same connection as the requests so far.
    #[inline]
    pub(super) fn is_far(&self, psn: Psn, far: u32) -> bool {
        let reach = (far + READS_OUTSTANDING * self.span).min(1 << 22) as i32;
        self.any
            && (psn.signed_offset_from(self.upper) > reach
                || psn.signed_offset_from(self.newest) < -reach)
    }

    /// Notes a request of at most `span` PSNs, without remembering it in the ring. Says whether
    /// it is beyond all before.
    #[inline]
    pub(super) fn advance(&mut self, psn: Psn, span: u32) -> bool {
        let is_new = !self.any || psn.is_after(self.newest);
        self.span = self.span.max(span);
        if is_new {
            // PSNs follow each other, so the newest request is also the one that ends last.
            (self.any, self.newest, self.upper) = (true, psn, psn.add(span - 1));
        }
        is_new
    }

    /// Notes and remembers a request.
    pub(super) fn record(&mut self, ring: &mut [u32], psn: Psn, kind: Kind, span: u32) {
        if !self.any {
            ring.fill(0);
        }
        let is_new = self.advance(psn, span);
        // A retransmission is there already, unless it has been forgotten or never been seen.
        if !is_new && find(ring, psn).is_some() {
            return;
        }
        let at = self.head as usize % ring.len().max(1);
        if let Some(word) = ring.get_mut(at) {
            *word = psn.value() | (kind as u32) << 24;
        }
        self.head = at as u32 + 1;
    }

    /// Whether a response of this kind at `psn` can answer one of these requests.
    pub(super) fn judge(&self, ring: &[u32], psn: Psn, kind: Kind) -> Verdict {
        if !self.any || psn.is_after(self.upper) {
            return Verdict::Contradicts;
        }
        if let Some(found) = find(ring, psn) {
            let fits = found == kind as u32;
            return if fits { Verdict::Fits } else { Verdict::Contradicts };
        }
        // Not there. Then the last request before it decides: none means that it is too old to
        // know, and a READ may take this PSN for one of its own.
        let before = ring
            .iter()
            .filter(|&&word| word != 0)
            .map(|&word| (psn.signed_offset_from(Psn::new(word)), word >> 24))
            .filter(|&(distance, _)| distance > 0)
            .min();
        match before {
            Some((_, asked)) if asked != Kind::Read as u32 => Verdict::Contradicts,
            _ => Verdict::Unknown,
        }
    }
}

/// The kind of the request with this PSN in a ring.
#[inline]
fn find(ring: &[u32], psn: Psn) -> Option<u32> {
    ring.iter().find(|&&word| word & 0xff_ffff == psn.value() && word != 0).map(|word| word >> 24)
}

/// The answers that a flow has carried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    any: bool,
    newest: Psn,
}

impl Answers {
    const NONE: Self = Self { any: false, newest: Psn::new(0) };

    /// Notes a positive answer; says whether it is beyond all before. One that is far away is the
    /// first of a new connection.
    #[inline]
    pub(super) fn advance(&mut self, psn: Psn, far: u32) -> bool {
        let distance = psn.signed_offset_from(self.newest);
        let is_new = !self.any || distance > 0 || distance < -(far as i32);
        if is_new {
            *self = Self { any: true, newest: psn };
        }
        is_new
    }
}

/// A flow that may be the other direction of this one, and how often it fitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vote {
    /// The flow that sent the requests, or [`NONE`].
    pub(super) flow: u32,
    generation: u32,
    count: u8,
    /// The requester's newest PSN when the last match was counted.
    horizon: Psn,
}

impl Vote {
    pub(super) const NONE: Self =
        Self { flow: NONE, generation: 0, count: 0, horizon: Psn::new(0) };

    /// Whether this is a vote for that flow, and the flow is still what it was.
    pub(super) fn is_for(&self, flow: u32, generation: u32) -> bool {
        self.flow == flow && self.generation == generation
    }

    /// Counts a match at `psn` with `flow`, whose newest request is `newest`, if it is another
    /// round trip than the last one. Gives the number of round trips.
    pub(super) fn cast(&mut self, flow: u32, generation: u32, psn: Psn, newest: Psn) -> u8 {
        if !self.is_for(flow, generation) {
            *self = Self { flow, generation, count: 1, horizon: newest };
        } else if psn.is_after(self.horizon) {
            self.count = self.count.saturating_add(1);
            self.horizon = newest;
        }
        self.count
    }
}

/// Packets that seem to belong to a new connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    count: u8,
    newest: Psn,
    /// The UDP source port of these packets.
    pub(super) source_port: u16,
}

impl Suspicion {
    pub(super) const NONE: Self = Self { count: 0, newest: Psn::new(0), source_port: 0 };

    /// Whether there is any.
    pub(super) fn exists(&self) -> bool {
        self.count != 0
    }

    /// Adds a packet; gives the number of those that go forward together.
    pub(super) fn add(&mut self, psn: Psn, source_port: u16, far: u32) -> u8 {
        let distance = psn.signed_offset_from(self.newest);
        if self.count == 0 || distance.unsigned_abs() > far || source_port != self.source_port {
            *self = Self { count: 1, newest: psn, source_port };
        } else if distance > 0 {
            self.count = self.count.saturating_add(1);
            self.newest = psn;
        }
        self.count
    }
}

/// A direction: everything from one host to one queue pair of another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) dest_qp: Qpn,
    /// 0 while it was told of but no packet was seen.
    pub(super) source_port: u16,
    pub(super) source_mac: [u8; 6],
    /// The pair of hosts, and which way: 0 or 1.
    pub(super) hosts: u32,
    pub(super) way: usize,
    /// Changes whenever what was known of the flow no longer holds.
    pub(super) generation: u32,
    /// Connections that have ended on this queue pair number.
    pub(super) epoch: u32,
    /// The connection that it belongs to, or [`NONE`].
    pub(super) connection: u32,
    pub(super) last_seen_ns: u64,
    /// Running number of the frame that was its first request; `u64::MAX` before.
    pub(super) first_request: u64,
    pub(super) requests: Requests,
    pub(super) answers: Answers,
    pub(super) by_port: Vote,
    pub(super) by_psn: Vote,
    /// The flow that seems to carry the answers to this one's requests, by PSN, and up to which
    /// PSN it did.
    pub(super) claimant: u32,
    pub(super) claimed_to: Psn,
    pub(super) suspicion: Suspicion,
}

impl Flow {
    /// A place that is not in use.
    pub(super) const UNUSED: Self = Self {
        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        dest_qp: Qpn::new(0),
        source_port: 0,
        source_mac: [0; 6],
        hosts: NONE,
        way: 0,
        generation: 0,
        epoch: 0,
        connection: NONE,
        last_seen_ns: 0,
        first_request: u64::MAX,
        requests: Requests::NONE,
        answers: Answers::NONE,
        by_port: Vote::NONE,
        by_psn: Vote::NONE,
        claimant: NONE,
        claimed_to: Psn::new(0),
        suspicion: Suspicion::NONE,
    };

    /// Forgets all but whose flow it is.
    pub(super) fn restart(&mut self) {
        *self = Self {
            source: self.source,
            destination: self.destination,
            dest_qp: self.dest_qp,
            source_port: self.source_port,
            source_mac: self.source_mac,
            hosts: self.hosts,
            way: self.way,
            generation: self.generation.wrapping_add(1),
            epoch: self.epoch,
            last_seen_ns: self.last_seen_ns,
            ..Self::UNUSED
        };
    }

    /// Whether flows the other way may be paired with it.
    pub(super) fn is_unpaired(&self) -> bool {
        self.connection == NONE
    }
}
