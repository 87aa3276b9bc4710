//! A verb that has been sent and not completed, and its packets.

use qpmux_engine::wire::{AtomicEthRepr, Extension, Opcode, Psn, RethRepr};

use super::super::link::Packet;
use super::super::verb::{Outcome, Verb, VerbId};

/// What answers a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// An ACK: WRITE or SEND.
    Acknowledged,
    /// READ responses.
    Read,
    /// An ATOMIC ACK.
    Atomic,
}

impl Kind {
    pub(super) fn of(verb: &Verb) -> Self {
        match verb {
            Verb::Write { .. } | Verb::Send { .. } => Self::Acknowledged,
            Verb::Read { .. } => Self::Read,
            Verb::CompareSwap { .. } | Verb::FetchAdd { .. } => Self::Atomic,
        }
    }
}

/// A verb in flight.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) id: VerbId,
    pub(super) verb: Verb,
    pub(super) kind: Kind,
    /// First PSN.
    pub(super) psn: Psn,
    /// PSNs taken.
    pub(super) psns: u32,
    /// Messages before it on this connection.
    pub(super) number: u32,
    /// When its first packet was sent, ns.
    pub(super) sent_at: u64,
    /// PSNs answered: packets acknowledged or READ packets received.
    pub(super) answered: u32,
    /// READ packets that had been received when it was asked for anew from its start, at most.
    pub(super) discarded: u32,
    /// A READ was asked for from its beginning.
    pub(super) asked_whole: bool,
    /// Other offsets in PSNs from which it was asked for.
    pub(super) asked: Vec<u32>,
    /// What has been received of a READ.
    pub(super) data: Vec<u8>,
    /// The value of an atomic.
    pub(super) original: u64,
}

impl Flight {
    pub(super) fn new(
        id: VerbId,
        verb: Verb,
        psn: Psn,
        pmtu: usize,
        number: u32,
        now: u64,
    ) -> Self {
        Self {
            id,
            kind: Kind::of(&verb),
            psns: verb.psns(pmtu),
            verb,
            psn,
            number,
            sent_at: now,
            answered: 0,
            discarded: 0,
            asked_whole: false,
            asked: Vec::new(),
            data: Vec::new(),
            original: 0,
        }
    }

    /// Whether a READ was asked for from this offset on.
    pub(super) fn is_asked_from(&self, offset: u32) -> bool {
        if offset == 0 { self.asked_whole } else { self.asked.contains(&offset) }
    }

    /// Notes that it is asked for from this offset on.
    pub(super) fn ask_from(&mut self, offset: u32) {
        if offset == 0 {
            self.asked_whole = true;
        } else if !self.asked.contains(&offset) {
            self.asked.push(offset);
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.answered >= self.psns
    }

    pub(super) fn outcome(self) -> Outcome {
        match self.kind {
            Kind::Acknowledged => Outcome::None,
            Kind::Read => Outcome::Read(self.data),
            Kind::Atomic => Outcome::Atomic(self.original),
        }
    }

    /// Packets that ask for it.
    pub(super) fn packets(&self) -> u32 {
        if self.kind == Kind::Acknowledged { self.psns } else { 1 }
    }

    /// PSNs taken by its packet at `offset`.
    pub(super) fn span(&self, offset: u32) -> u32 {
        if self.kind == Kind::Acknowledged { 1 } else { self.psns - offset }
    }

    /// The packet at `offset`; of a READ, the request of all from there on.
    pub(super) fn packet(&self, offset: u32, pmtu: usize, ack_request: bool) -> Packet<'_> {
        let (opcode, extension, payload) = match &self.verb {
            Verb::Write { address, rkey, data, immediate } => {
                let length = data.len() as u32;
                let reth = reth(*address, *rkey, length);
                let (opcode, extension) =
                    self.segment(offset, Some(reth), *immediate, &WRITE_OPCODES);
                (opcode, extension, piece(data, offset, pmtu))
            }
            Verb::Send { data, immediate } => {
                let (opcode, extension) = self.segment(offset, None, *immediate, &SEND_OPCODES);
                (opcode, extension, piece(data, offset, pmtu))
            }
            Verb::Read { address, rkey, length } => {
                let done = offset * pmtu as u32;
                let rest = reth(address.wrapping_add(u64::from(done)), *rkey, length - done);
                (Opcode::ReadRequest, Extension::Reth(rest), &[][..])
            }
            Verb::CompareSwap { address, rkey, compare, swap } => {
                let eth = atomic(*address, *rkey, *swap, *compare);
                (Opcode::CompareSwap, Extension::AtomicEth(eth), &[][..])
            }
            Verb::FetchAdd { address, rkey, add } => {
                let eth = atomic(*address, *rkey, *add, 0);
                (Opcode::FetchAdd, Extension::AtomicEth(eth), &[][..])
            }
        };
        Packet { opcode, psn: self.psn.add(offset), ack_request, extension, payload }
    }

    /// Opcode and header of a packet of a message that is cut into several.
    fn segment(
        &self,
        offset: u32,
        reth: Option<RethRepr>,
        immediate: Option<u32>,
        opcodes: &[Opcode; 6],
    ) -> (Opcode, Extension) {
        let [first, middle, last, last_imm, only, only_imm] = *opcodes;
        let begin = reth.map_or(Extension::None, Extension::Reth);
        match (offset == 0, offset + 1 == self.psns, immediate) {
            (true, false, _) => (first, begin),
            (false, false, _) => (middle, Extension::None),
            (false, true, None) => (last, Extension::None),
            (false, true, Some(value)) => (last_imm, Extension::Imm(value)),
            (true, true, None) => (only, begin),
            (true, true, Some(value)) => match reth {
                Some(reth) => (only_imm, Extension::RethImm(reth, value)),
                None => (only_imm, Extension::Imm(value)),
            },
        }
    }
}

const WRITE_OPCODES: [Opcode; 6] = [
    Opcode::WriteFirst,
    Opcode::WriteMiddle,
    Opcode::WriteLast,
    Opcode::WriteLastImm,
    Opcode::WriteOnly,
    Opcode::WriteOnlyImm,
];

const SEND_OPCODES: [Opcode; 6] = [
    Opcode::SendFirst,
    Opcode::SendMiddle,
    Opcode::SendLast,
    Opcode::SendLastImm,
    Opcode::SendOnly,
    Opcode::SendOnlyImm,
];

fn reth(virtual_address: u64, remote_key: u32, dma_length: u32) -> RethRepr {
    RethRepr { virtual_address, remote_key, dma_length }
}

fn atomic(virtual_address: u64, remote_key: u32, swap_or_add: u64, compare: u64) -> AtomicEthRepr {
    AtomicEthRepr { virtual_address, remote_key, swap_or_add, compare }
}

fn piece(data: &[u8], offset: u32, pmtu: usize) -> &[u8] {
    let start = (offset as usize * pmtu).min(data.len());
    &data[start..(start + pmtu).min(data.len())]
}
