//! Requests that have come before.

use qpmux_engine::wire::{Opcode, Psn, RethRepr};

use super::answers::{Body, ReadData};
use super::{Done, DuplicateAck, DuplicateAckPsn, Request, Responder};
use crate::memory::{Access, digest};

impl Responder {
    /// Answers a duplicate without doing it again (IBTA vol. 1, C9-105).
    pub(super) fn repeat(&mut self, request: &mut Request<'_>) {
        self.stats.duplicates += 1;
        let layout = request.layout;
        if layout.opcode == Opcode::ReadRequest {
            match layout.reth(request.frame) {
                Some(reth) => self.repeat_read(request, reth),
                None => self.forget(request),
            }
        } else if layout.opcode.is_atomic() {
            self.repeat_atomic(request);
        } else {
            self.acknowledge_again(request.now, layout.ack_request);
        }
    }

    /// The ACK for a duplicate names the newest request, not the duplicate.
    fn acknowledge_again(&mut self, now: u64, requested: bool) {
        if self.config.duplicate_ack == DuplicateAck::IfRequested && !requested {
            return;
        }
        let newest = match self.config.duplicate_ack_psn {
            DuplicateAckPsn::NewestWrite => self.newest_write,
            DuplicateAckPsn::NewestNonRead => self.newest_non_read,
        };
        if let Some(psn) = newest {
            self.answers.cover();
            self.answer(now, psn, Body::Ack);
        }
    }

    /// An atomic is answered from its record, never executed again.
    fn repeat_atomic(&mut self, request: &Request<'_>) {
        let (psn, opcode) = (request.layout.psn, request.layout.opcode);
        let address = request.layout.atomic_eth(request.frame).map(|eth| eth.virtual_address);
        let original = self.records.iter().rev().find_map(|record| match record.done {
            Done::Atomic { opcode: o, address: a, original }
                if record.psn == psn && o == opcode && Some(a) == address =>
            {
                Some(original)
            }
            _ => None,
        });
        match original {
            Some(original) => self.answer(request.now, psn, Body::Atomic(original)),
            None => self.forget(request),
        }
    }

    /// A READ is executed again, from any of its PSNs on.
    fn repeat_read(&mut self, request: &mut Request<'_>, reth: RethRepr) {
        let psn = request.layout.psn;
        let Some(index) = self.find_read(psn, reth) else {
            self.forget(request);
            return;
        };
        let record = &mut self.records[index];
        let continues = record.psn != psn;
        if continues && self.config.narrow_reads {
            record.psns -= psn.offset_from(record.psn);
            record.psn = psn;
            let (address, rkey, length) = (reth.virtual_address, reth.remote_key, reth.dma_length);
            record.done = Done::Read { address, rkey, length };
        }
        let address = reth.virtual_address;
        let data = request.memory.read_vec(address, reth.dma_length as usize);
        let length = reth.dma_length;
        self.note(request, address, true, || Access::Read { length, digest: digest(&data) });
        self.answer(request.now, psn, Body::Read(ReadData { data, sent: 0, continues }));
    }

    /// Place of the record of which `reth` asks for the rest from `psn` on.
    fn find_read(&self, psn: Psn, reth: RethRepr) -> Option<usize> {
        let pmtu = self.config.link.pmtu as u32;
        self.records.iter().position(|record| {
            let Done::Read { address, rkey, length } = record.done else { return false };
            let offset = psn.offset_from(record.psn);
            if offset >= record.psns {
                return false;
            }
            // Below `psns`, so no more than the length.
            let done = offset * pmtu;
            reth.virtual_address == address.wrapping_add(u64::from(done))
                && reth.remote_key == rkey
                && reth.dma_length == length - done
        })
    }

    /// Silence: the record is gone, or there never was one.
    fn forget(&mut self, request: &Request<'_>) {
        self.stats.forgotten += 1;
        // Where frames can come twice it may be the network that sent it again.
        if !self.config.link.wire.may_reorder {
            let (psn, name) = (request.layout.psn, request.layout.opcode.name());
            let text = || format!("duplicate {name} at PSN {psn} has no record");
            self.violations.record("I-S8", request.now, text);
        }
    }
}
