//! Packets of clients that write records, and of servers that acknowledge.

use qpmux_engine::wire::{AethRepr, Extension, Msn, Opcode, Psn, RethRepr, Syndrome};
use qpmux_sim::rc::Packet;

/// Key of the memory that all of them are for.
pub(crate) const KEY: u32 = 0x1234;
pub(crate) const ACK: Syndrome = Syndrome::Ack { credits: 31 };

/// A WRITE of a record, always to the same address.
pub(crate) fn write(psn: Psn, record: &[u8]) -> Packet<'_> {
    let dma_length = record.len() as u32;
    let reth = RethRepr { virtual_address: 64, remote_key: KEY, dma_length };
    let (opcode, extension) = (Opcode::WriteOnly, Extension::Reth(reth));
    Packet { opcode, psn, ack_request: true, extension, payload: record }
}

/// An answer without data.
pub(crate) fn answer(psn: Psn, syndrome: Syndrome, msn: u32) -> Packet<'static> {
    let aeth = AethRepr { syndrome, msn: Msn::new(msn) };
    let (opcode, extension) = (Opcode::Acknowledge, Extension::Aeth(aeth));
    Packet { opcode, psn, ack_request: false, extension, payload: &[] }
}
