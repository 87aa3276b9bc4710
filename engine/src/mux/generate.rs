//! Packets that the engine makes: answers to a client, congestion notifications.

use crate::out::{GENERATED_MAX, Out};
use crate::policy::{Connection, Endpoint, PathFacts};
use crate::wire::{
    AethRepr, AtomicAckEthRepr, BthRepr, ClientPsn, Extension, Msn, Opcode, Path, Psn, Syndrome,
    build, build_cnp,
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

/// Adds a congestion notification for the client.
pub(crate) fn notify_client(out: &mut Out, connection: &Connection) -> bool {
    let Connection { client, server, response, .. } = connection;
    out.push_generated(Side::Client, |buffer| notify(buffer, server, client, response))
}

/// Adds a congestion notification for the client's own server queue pair.
pub(crate) fn notify_server(out: &mut Out, connection: &Connection) -> bool {
    let Connection { client, server, request, .. } = connection;
    out.push_generated(Side::Server, |buffer| notify(buffer, client, server, request))
}

fn notify(
    buffer: &mut [u8; GENERATED_MAX],
    from: &Endpoint,
    to: &Endpoint,
    facts: &PathFacts,
) -> Option<usize> {
    let bth = BthRepr { becn: true, ..header(Opcode::SendOnly, to, facts, Psn::new(0)) };
    build_cnp(&path(from, to, facts), &bth, buffer)
}

fn path(from: &Endpoint, to: &Endpoint, facts: &PathFacts) -> Path {
    Path {
        source_mac: from.mac,
        destination_mac: to.mac,
        source: from.ip,
        destination: to.ip,
        source_port: facts.source_port,
        traffic_class: facts.traffic_class,
        hop_limit: facts.hop_limit,
        identification: 0,
    }
}

fn header(opcode: Opcode, to: &Endpoint, facts: &PathFacts, psn: Psn) -> BthRepr {
    BthRepr {
        opcode,
        solicited: false,
        migration_request: facts.migration_request,
        pad_count: 0,
        partition_key: facts.partition_key,
        fecn: false,
        becn: false,
        dest_qp: to.qpn,
        ack_request: false,
        psn,
    }
}

fn write(
    buffer: &mut [u8; GENERATED_MAX],
    connection: &Connection,
    answer: &Answer,
) -> Option<usize> {
    let Connection { client, server, response, .. } = connection;
    let aeth = AethRepr { syndrome: answer.syndrome, msn: answer.msn };
    let (opcode, extension) = match answer.original {
        None => (Opcode::Acknowledge, Extension::Aeth(aeth)),
        Some(original) => {
            (Opcode::AtomicAcknowledge, Extension::AtomicAck(aeth, AtomicAckEthRepr { original }))
        }
    };
    let bth = header(opcode, client, response, answer.psn.to_wire());
    build(&path(server, client, response), &bth, &extension, &[], buffer)
}
