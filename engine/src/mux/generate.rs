//! Packets that the engine makes: answers to a client.

use crate::out::{GENERATED_MAX, Out};
use crate::policy::Connection;
use crate::wire::{
    AethRepr, AtomicAckEthRepr, BthRepr, ClientPsn, Extension, Msn, Opcode, Path, Syndrome, build,
};
use crate::{GeneratedKind, Side};

/// An answer without payload.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) psn: ClientPsn,
    pub(crate) msn: Msn,
    pub(crate) syndrome: Syndrome,
    /// The value that an atomic's word had before.
    pub(crate) original: Option<u64>,
}

impl Answer {
    pub(crate) fn kind(&self) -> GeneratedKind {
        match (self.syndrome, self.original) {
            (Syndrome::Ack { .. }, None) => GeneratedKind::Ack,
            (Syndrome::Ack { .. }, Some(_)) => GeneratedKind::AtomicAck,
            _ => GeneratedKind::Nak,
        }
    }
}

/// Adds the answer, as the client's own server queue pair would have sent it.
pub(crate) fn answer(out: &mut Out, connection: &Connection, answer: &Answer) -> bool {
    out.push_generated(Side::Client, |buffer| write(buffer, connection, answer))
}

fn write(
    buffer: &mut [u8; GENERATED_MAX],
    connection: &Connection,
    answer: &Answer,
) -> Option<usize> {
    let facts = &connection.response;
    let path = Path {
        source_mac: connection.server.mac,
        destination_mac: connection.client.mac,
        source: connection.server.ip,
        destination: connection.client.ip,
        source_port: facts.source_port,
        traffic_class: facts.traffic_class,
        hop_limit: facts.hop_limit,
        identification: 0,
    };
    let aeth = AethRepr { syndrome: answer.syndrome, msn: answer.msn };
    let (opcode, extension) = match answer.original {
        None => (Opcode::Acknowledge, Extension::Aeth(aeth)),
        Some(original) => {
            (Opcode::AtomicAcknowledge, Extension::AtomicAck(aeth, AtomicAckEthRepr { original }))
        }
    };
    let bth = BthRepr {
        opcode,
        solicited: false,
        migration_request: facts.migration_request,
        pad_count: 0,
        partition_key: facts.partition_key,
        fecn: false,
        becn: false,
        dest_qp: connection.client.qpn,
        ack_request: false,
        psn: answer.psn.to_wire(),
    };
    build(&path, &bth, &extension, &[], buffer)
}
