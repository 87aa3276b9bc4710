//! The bytes are messages of the connection manager with few names and numbers, so that they
//! meet, and packets between them.

use qpmux_engine::wire::cm::{
    CmDrepRepr, CmDreqRepr, CmMraRepr, CmRejRepr, CmRepRepr, CmReqRepr, CmRtuRepr, gid_of_address,
};
use qpmux_engine::wire::{CmMad, CmMessage, Opcode, Psn, Qpn};

use super::bytes::Bytes;
use super::learner::Watched;
use super::traffic::{CLIENTS, Packet, SERVER, cm_frame, host_of, qpns_of};

/// Messages of one input.
const STEPS_MAX: usize = 400;

/// Shows handshakes to a learner.
pub fn handshakes(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut watched = Watched::new();
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            return;
        }
        watched.wait(bytes.pause_ns());
        let frame = step(&mut bytes);
        watched.see(&frame);
    }
}

/// One message or packet.
fn step(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let (what, who, names) = (bytes.byte(), bytes.byte(), bytes.byte());
    let client = usize::from(who) % CLIENTS;
    let from_client = who & 0x80 == 0;
    let (mine, yours) = (u32::from(names & 3), u32::from(names >> 4 & 3));
    let mut qpns = qpns_of(client);
    if who & 0x40 != 0 {
        // Queue pair numbers that are not this connection's.
        qpns = qpns.map(|qpn| Qpn::new(qpn.value() ^ u32::from(names >> 6)));
    }
    let message = match what % 10 {
        0 | 1 => req(client, from_client, mine, qpns[0], bytes),
        2 | 3 => rep(mine, yours, qpns[1], bytes),
        4 => CmMessage::Rtu(CmRtuRepr { local_comm_id: mine, remote_comm_id: yours }),
        5 => CmMessage::Rej(CmRejRepr {
            local_comm_id: mine,
            remote_comm_id: yours,
            reason: u16::from(names),
            message: names & 3,
        }),
        6 => CmMessage::Mra(CmMraRepr {
            local_comm_id: mine,
            remote_comm_id: yours,
            message: names & 3,
            service_timeout: names >> 3,
        }),
        7 => CmMessage::Dreq(CmDreqRepr {
            local_comm_id: mine,
            remote_comm_id: yours,
            remote_qpn: qpns[usize::from(from_client)],
        }),
        8 => CmMessage::Drep(CmDrepRepr { local_comm_id: mine, remote_comm_id: yours }),
        _ => return packet(client, from_client, names, bytes),
    };
    let mad = CmMad { transaction_id: u64::from(mine), message };
    let mut frame = cm_frame(client, from_client, &mad);
    if what >= 0xf0 {
        // Other bytes in place of some of the message.
        let (at, other) = (usize::from(bytes.byte()), bytes.take(usize::from(what & 15)));
        for (place, byte) in frame.iter_mut().skip(62 + at).zip(other) {
            *place = *byte;
        }
    }
    frame
}

fn req(
    client: usize,
    from_client: bool,
    local_comm_id: u32,
    local_qpn: Qpn,
    bytes: &mut Bytes<'_>,
) -> CmMessage {
    let (here, there) = match from_client {
        true => (host_of(client), SERVER),
        false => (SERVER, host_of(client)),
    };
    CmMessage::Req(CmReqRepr {
        local_comm_id,
        service_id: 1,
        local_ca_guid: 1,
        local_qpn,
        responder_resources: 1,
        initiator_depth: 1,
        starting_psn: Psn::new(u32::from(bytes.byte()) * 1000),
        partition_key: 0xffff,
        local_gid: gid_of_address(here),
        remote_gid: gid_of_address(there),
        traffic_class: 0,
        hop_limit: 64,
        transport: 0,
        flow_control: 0,
        retry_count: 7,
        path_mtu: 1 + bytes.byte() % 6,
        rnr_retry_count: 7,
        shared_receive_queue: 0,
        local_ack_timeout: 14,
    })
}

fn rep(
    local_comm_id: u32,
    remote_comm_id: u32,
    local_qpn: Qpn,
    bytes: &mut Bytes<'_>,
) -> CmMessage {
    CmMessage::Rep(CmRepRepr {
        local_comm_id,
        remote_comm_id,
        local_qpn,
        starting_psn: Psn::new(u32::from(bytes.byte()) * 1000),
        responder_resources: 1,
        initiator_depth: 1,
        local_ca_guid: 2,
        target_ack_delay: 0,
        flow_control: 0,
        rnr_retry_count: 7,
        shared_receive_queue: 0,
    })
}

fn packet(client: usize, from_client: bool, names: u8, bytes: &mut Bytes<'_>) -> Vec<u8> {
    let opcode = [Opcode::WriteOnly, Opcode::SendOnly, Opcode::Acknowledge, Opcode::CompareSwap];
    let packet = Packet {
        opcode: opcode[usize::from(names & 3)],
        psn: u32::from(bytes.byte()) * 1000 + u32::from(names >> 4),
        ack_request: true,
        address: 0,
        length: 8,
        remote_key: 7,
        syndrome: 0x1f,
        msn: 1,
        payload: &[0; 8],
    };
    packet.frame(client, from_client)
}
