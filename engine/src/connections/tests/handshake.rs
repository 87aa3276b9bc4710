//! A connection manager for the tests: makes the messages of a handshake.

use super::*;
use crate::wire::cm::*;
use crate::wire::{CmMad, CmMessage, build_cm};

/// A connection that is set up by the connection manager.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shake {
    pub(super) pair: Pair,
    /// What client and server call the connection.
    pub(super) ids: [u32; 2],
    /// PSN of the server's first request.
    pub(super) server_psn: u32,
}

impl Shake {
    /// The client's first request will be `pair.psn`.
    pub(super) fn new(pair: Pair) -> Self {
        Self { pair, ids: [0xc11e_0000 | pair.client_qpn, 0x5e50_0000], server_psn: 0x70_0000 }
    }

    pub(super) fn req_repr(&self) -> CmReqRepr {
        CmReqRepr {
            local_comm_id: self.ids[0],
            service_id: 0x0106_0001,
            local_ca_guid: 1,
            local_qpn: Qpn::new(self.pair.client_qpn),
            responder_resources: 3,
            initiator_depth: 16,
            starting_psn: Psn::new(self.server_psn),
            partition_key: 0x8001,
            local_gid: gid_of_address(ip(self.pair.client_ip)),
            remote_gid: gid_of_address(ip(SERVER_IP)),
            traffic_class: 0,
            hop_limit: 64,
            transport: 0,
            flow_control: 0,
            retry_count: 7,
            path_mtu: 4,
            rnr_retry_count: 6,
            shared_receive_queue: 0,
            local_ack_timeout: 14,
        }
    }

    pub(super) fn rep_repr(&self) -> CmRepRepr {
        CmRepRepr {
            local_comm_id: self.ids[1],
            remote_comm_id: self.ids[0],
            local_qpn: Qpn::new(self.pair.server_qpn),
            starting_psn: Psn::new(self.pair.psn),
            responder_resources: 8,
            initiator_depth: 2,
            local_ca_guid: 2,
            target_ack_delay: 15,
            flow_control: 0,
            rnr_retry_count: 5,
            shared_receive_queue: 0,
        }
    }

    pub(super) fn req(&self) -> Vec<u8> {
        self.letter(true, CmMessage::Req(self.req_repr()))
    }

    pub(super) fn rep(&self) -> Vec<u8> {
        self.letter(false, CmMessage::Rep(self.rep_repr()))
    }

    /// From the client, or from the server.
    pub(super) fn names(&self, from_client: bool) -> (u32, u32) {
        let [client, server] = self.ids;
        if from_client { (client, server) } else { (server, client) }
    }

    pub(super) fn rtu(&self) -> Vec<u8> {
        let (local_comm_id, remote_comm_id) = self.names(true);
        self.letter(true, CmMessage::Rtu(CmRtuRepr { local_comm_id, remote_comm_id }))
    }

    pub(super) fn rej(&self, from_client: bool) -> Vec<u8> {
        let (local_comm_id, remote_comm_id) = self.names(from_client);
        let message = u8::from(from_client);
        let rej = CmRejRepr { local_comm_id, remote_comm_id, reason: 28, message };
        self.letter(from_client, CmMessage::Rej(rej))
    }

    pub(super) fn mra(&self, from_client: bool) -> Vec<u8> {
        let (local_comm_id, remote_comm_id) = self.names(from_client);
        let (message, service_timeout) = (u8::from(from_client), 24);
        let mra = CmMraRepr { local_comm_id, remote_comm_id, message, service_timeout };
        self.letter(from_client, CmMessage::Mra(mra))
    }

    pub(super) fn dreq(&self, from_client: bool) -> Vec<u8> {
        let (local_comm_id, remote_comm_id) = self.names(from_client);
        let ends = [self.pair.client_qpn, self.pair.server_qpn];
        let remote_qpn = Qpn::new(ends[usize::from(from_client)]);
        let dreq = CmDreqRepr { local_comm_id, remote_comm_id, remote_qpn };
        self.letter(from_client, CmMessage::Dreq(dreq))
    }

    pub(super) fn drep(&self, from_client: bool) -> Vec<u8> {
        let (local_comm_id, remote_comm_id) = self.names(from_client);
        self.letter(from_client, CmMessage::Drep(CmDrepRepr { local_comm_id, remote_comm_id }))
    }

    /// A frame with any message.
    pub(super) fn letter(&self, from_client: bool, message: CmMessage) -> Vec<u8> {
        let mad = CmMad { transaction_id: u64::from(self.ids[0]), message };
        let mut bytes = vec![0; 400];
        let length = build_cm(&self.pair.path(from_client), Psn::new(0), &mad, &mut bytes);
        bytes.truncate(length.expect("it fits"));
        bytes
    }
}
