//! Packets that the engine makes: answers to a client, congestion notifications, and requests to a
//! server.

use super::answer_form::AnswerForm;
use crate::journal::{Binding, Operands};
use crate::out::{GENERATED_MAX, Out};
use crate::policy::{Connection, Endpoint, PathFacts};
use crate::wire::{
    AethRepr, AtomicAckEthRepr, AtomicEthRepr, BthRepr, ClientPsn, Extension, Msn, Opcode, Path,
    Psn, RethRepr, ServerPsn, Syndrome, build, build_cnp, insert_tag,
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
#[inline]
pub(crate) fn answer(
    out: &mut Out,
    connection: &Connection,
    form: &mut AnswerForm,
    answer: &Answer,
) -> bool {
    out.push_generated(Side::Client, |buffer| {
        form.write(connection, answer, buffer).or_else(|| write(buffer, connection, answer))
    })
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
    let len = build_cnp(&path(from, to, facts), &bth, buffer)?;
    tagged(buffer, len, facts)
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

pub(super) fn write(
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
    let len = build(&path(server, client, response), &bth, &extension, &[], buffer)?;
    tagged(buffer, len, response)
}

/// Adds a READ or an atomic, as it was first sent.
pub(crate) fn request(out: &mut Out, connection: &Connection, binding: &Binding) -> bool {
    let Some(extent) = binding.extent else { return false };
    let (virtual_address, remote_key) = (extent.start, extent.remote_key);
    let extension = if binding.opcode.is_atomic() {
        let Operands { swap_or_add, compare } = binding.operands;
        Extension::AtomicEth(AtomicEthRepr { virtual_address, remote_key, swap_or_add, compare })
    } else {
        Extension::Reth(RethRepr { virtual_address, remote_key, dma_length: extent.len })
    };
    send(out, connection, binding.opcode, binding.server_psn, &extension)
}

/// Adds a READ of the owner.
pub(crate) fn read(out: &mut Out, to: &Connection, psn: ServerPsn, reth: RethRepr) -> bool {
    send(out, to, Opcode::ReadRequest, psn, &Extension::Reth(reth))
}

/// Adds a zero-length WRITE. It needs no memory key (rxe_resp.c, qib_rc.c).
pub(crate) fn filler(out: &mut Out, connection: &Connection, psn: ServerPsn) -> bool {
    let nothing = RethRepr { virtual_address: 0, remote_key: 0, dma_length: 0 };
    send(out, connection, Opcode::WriteOnly, psn, &Extension::Reth(nothing))
}

/// Adds a request without payload, as the owner of the server queue pair would have sent it.
fn send(
    out: &mut Out,
    connection: &Connection,
    opcode: Opcode,
    psn: ServerPsn,
    extension: &Extension,
) -> bool {
    let facts = &connection.request;
    let (from, to) = (&connection.client, &connection.server);
    let bth = BthRepr { ack_request: true, ..header(opcode, to, facts, psn.to_wire()) };
    out.push_generated(Side::Server, |buffer| {
        let len = build(&path(from, to, facts), &bth, extension, &[], buffer)?;
        tagged(buffer, len, facts)
    })
}

/// Gives a frame of `len` bytes the tag of its direction. Returns its length then.
fn tagged(buffer: &mut [u8; GENERATED_MAX], len: usize, facts: &PathFacts) -> Option<usize> {
    match facts.tag {
        Some(tag) => insert_tag(buffer, len, tag),
        None => Some(len),
    }
}
