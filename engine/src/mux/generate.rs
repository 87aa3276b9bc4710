//! Packets that the engine makes: answers to a client, congestion notifications, and requests to a
//! server.

use crate::counters::Counters;
use crate::journal::{Binding, Operands};
use crate::out::{GENERATED_MAX, Out};
use crate::policy::{Card, Connection, Directory, Endpoint, PathFacts};
use crate::wire::{
    AethRepr, AtomicAckEthRepr, AtomicEthRepr, BthRepr, ClientPsn, Extension, Msn, Opcode, Path,
    Psn, RethRepr, ServerPsn, Syndrome, build, build_cnp, insert_tag, usual,
};
use crate::{ClientId, GeneratedKind, Side};

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

/// Adds the answer, as the client's own server queue pair would have sent it, and counts it.
#[inline(always)]
pub(crate) fn tell(
    directory: &Directory,
    counters: &mut Counters,
    id: ClientId,
    answer: &Answer,
    out: &mut Out,
) {
    let added = match (directory.card(id), directory.client(id)) {
        (Some(card), _) => usual_answer(out, card, answer),
        (None, Some(connection)) => any_answer(out, connection, answer),
        (None, None) => false,
    };
    if added {
        counters.generated.count(answer.kind() as usize);
    }
}

fn any_answer(out: &mut Out, connection: &Connection, answer: &Answer) -> bool {
    out.push_generated(Side::Client, |buffer| write(buffer, connection, answer))
}

/// Where packets have the usual shape.
#[inline(always)]
fn usual_answer(out: &mut Out, card: &Card, answer: &Answer) -> bool {
    let aeth = usual::aeth_bytes(&AethRepr { syndrome: answer.syndrome, msn: answer.msn });
    out.push_generated(Side::Client, |buffer| {
        card.response.write_answer(answer.psn.to_wire(), aeth, answer.original, buffer)
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

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::policy::Start;
    use crate::wire::Qpn;
    use crate::{DomainId, ShardId};

    fn endpoint() -> impl Strategy<Value = Endpoint> {
        any::<([u8; 6], u32, u32)>().prop_map(|(mac, ip, qpn)| Endpoint {
            mac,
            ip: IpAddr::V4(Ipv4Addr::from_bits(ip)),
            qpn: Qpn::new(qpn),
        })
    }

    fn connection() -> impl Strategy<Value = Connection> {
        let facts = any::<(u16, u8, u8, bool, u16)>();
        (endpoint(), endpoint(), facts).prop_map(|(client, server, facts)| {
            let (source_port, traffic_class, hop_limit, migration_request, partition_key) = facts;
            let response = PathFacts {
                source_port,
                traffic_class,
                hop_limit,
                migration_request,
                partition_key,
                tag: None,
            };
            Connection {
                client,
                server,
                request: response,
                response,
                start: Start { psn: ClientPsn::new(0), msn: Msn::new(0), credits: 0 },
                path_mtu: 1024,
                depth: 16,
                domain: DomainId(0),
                shard: ShardId(0),
            }
        })
    }

    proptest! {
        #[test]
        fn a_usual_answer_is_what_any_would_be(
            connection in connection(),
            psn: u32,
            msn: u32,
            syndrome: u8,
            original: Option<u64>,
        ) {
            let (psn, msn) = (ClientPsn::new(psn), Msn::new(msn));
            let syndrome = Syndrome::from_byte(syndrome);
            let answer = Answer { psn, msn, syndrome, original };
            let (mut usual, mut any) = (Out::new(16), Out::new(16));
            let card = Card::new(&connection).unwrap();
            prop_assert!(usual_answer(&mut usual, &card, &answer));
            prop_assert!(any_answer(&mut any, &connection, &answer));
            prop_assert_eq!(usual.generated(0), any.generated(0));
        }
    }
}
