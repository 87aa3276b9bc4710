//! Messages of the communication manager (CM), by which most applications set up and tear down
//! their connections (IBTA vol. 1, chapter 12; fields as in Linux' `ibta_vol1_c12.h`).
//!
//! A message is a management datagram (MAD) of 256 bytes to queue pair 1: a common header of 24
//! bytes, then the message. Private data of the application fills its end.
//!
//! **Direction.** The starting PSN in a message is the one that its sender expects to *receive*.
//! Requests from client to server begin at the starting PSN of the server's REP, requests from
//! server to client at that of the client's REQ.

use core::net::{IpAddr, Ipv6Addr};

use super::error::{Error, Header};
use super::fields::{header_repr, packed_repr};
use super::psn::{Psn, Qpn};

/// Bytes of a management datagram (IBTA vol. 1, 13.4.2).
pub const MAD_LEN: usize = 256;
/// The queue pair of the general services, which the communication manager is one of.
pub const GENERAL_SERVICES_QP: Qpn = Qpn::new(1);
/// The Q_Key of that queue pair (IBTA vol. 1, 10.2.5).
pub const GENERAL_SERVICES_QUEUE_KEY: u32 = 0x8001_0000;
/// Management class of the communication manager (IBTA vol. 1, 16.7.1).
pub(super) const CLASS: u8 = 0x07;
/// Offset of the class in a MAD.
pub(super) const CLASS_AT: usize = 1;

const BASE_VERSION: u8 = 1;
const CLASS_VERSION: u8 = 2;
/// The only method that the communication manager uses (IBTA vol. 1, 16.7.2).
const METHOD_SEND: u8 = 0x03;

header_repr! {
    /// View of the common header of management datagrams (IBTA vol. 1, 13.4.3).
    Mad,
    /// The common header's content.
    MadRepr, Mad, 24;
    /// Version of the format: 1.
    base_version, set_base_version: u8 = 0;
    /// Management class.
    class, set_class: u8 = CLASS_AT;
    /// Version of the class: 2 for the communication manager.
    class_version, set_class_version: u8 = 2;
    /// What is to be done.
    method, set_method: u8 = 3;
    /// Status.
    status, set_status: u16 = 4;
    /// The same in a message and its retransmissions.
    transaction_id, set_transaction_id: u64 = 8;
    /// Which message it is.
    attribute_id, set_attribute_id: u16 = 16;
    /// Modifies the attribute.
    attribute_modifier, set_attribute_modifier: u32 = 20;
}

packed_repr! {
    /// View of a REQ, which asks for a connection (table 106). Its sender is the client.
    CmReq,
    /// A REQ's content, without alternate path.
    CmReqRepr, CmReq, 140;
    /// The client's name for the connection.
    local_comm_id, set_local_comm_id: u32 = 0;
    /// What the client wants to be connected to.
    service_id, set_service_id: u64 = 8;
    /// Which adapter the client has.
    local_ca_guid, set_local_ca_guid: u64 = 16;
    /// The client's queue pair.
    local_qpn, set_local_qpn: Qpn = 32;
    /// READs and atomics that the client can have under way as a responder.
    responder_resources, set_responder_resources: u8 = 35;
    /// READs and atomics that the client wants to have under way as a requester.
    initiator_depth, set_initiator_depth: u8 = 39;
    /// PSN of the first request *from the server*; see the [module](self).
    starting_psn, set_starting_psn: Psn = 44;
    /// Partition key.
    partition_key, set_partition_key: u16 = 48;
    /// The client's address (primary local port GID).
    local_gid, set_local_gid: Ipv6Addr = 56;
    /// The server's address (primary remote port GID).
    remote_gid, set_remote_gid: Ipv6Addr = 72;
    /// Traffic class.
    traffic_class, set_traffic_class: u8 = 92;
    /// Hop limit.
    hop_limit, set_hop_limit: u8 = 93;
    @bits
    /// Transport service type: 0 is RC.
    transport, set_transport = 43, 0x06;
    /// Whether receivers count their credits (1) or not (0).
    flow_control, set_flow_control = 43, 0x01;
    /// How often a requester repeats a request.
    retry_count, set_retry_count = 47, 0x07;
    /// Path MTU as a code; see [`path_mtu_bytes`].
    path_mtu, set_path_mtu = 50, 0xf0;
    /// How often a requester repeats a request after an RNR NAK; 7 is for ever.
    rnr_retry_count, set_rnr_retry_count = 50, 0x07;
    /// Whether the client's queue pair has a shared receive queue.
    shared_receive_queue, set_shared_receive_queue = 51, 0x08;
    /// Local ACK timeout of the primary path: 4.096 us times two to this power; 0 is none.
    local_ack_timeout, set_local_ack_timeout = 95, 0xf8;
}

packed_repr! {
    /// View of an MRA: the answer will take longer (table 107).
    CmMra,
    /// An MRA's content.
    CmMraRepr, CmMra, 10;
    /// The sender's name for the connection.
    local_comm_id, set_local_comm_id: u32 = 0;
    /// The receiver's name for it.
    remote_comm_id, set_remote_comm_id: u32 = 4;
    @bits
    /// What is being worked on: 0 a REQ, 1 a REP, 2 a LAP.
    message, set_message = 8, 0xc0;
    /// How long the answer will take: 4.096 us times two to this power.
    service_timeout, set_service_timeout = 9, 0xf8;
}

packed_repr! {
    /// View of a REJ: there will be no connection (table 108).
    CmRej,
    /// A REJ's content.
    CmRejRepr, CmRej, 12;
    /// The sender's name for the connection; 0 if it has none.
    local_comm_id, set_local_comm_id: u32 = 0;
    /// The receiver's name for it.
    remote_comm_id, set_remote_comm_id: u32 = 4;
    /// Why (table 109).
    reason, set_reason: u16 = 10;
    @bits
    /// What is rejected: 0 a REQ, 1 a REP, 2 something else.
    message, set_message = 8, 0xc0;
}

packed_repr! {
    /// View of a REP, which agrees to a REQ (table 110). Its sender is the server.
    CmRep,
    /// A REP's content.
    CmRepRepr, CmRep, 36;
    /// The server's name for the connection.
    local_comm_id, set_local_comm_id: u32 = 0;
    /// The client's name for it.
    remote_comm_id, set_remote_comm_id: u32 = 4;
    /// The server's queue pair.
    local_qpn, set_local_qpn: Qpn = 12;
    /// PSN of the first request *from the client*; see the [module](self).
    starting_psn, set_starting_psn: Psn = 20;
    /// READs and atomics that the server will have under way as a responder.
    responder_resources, set_responder_resources: u8 = 24;
    /// READs and atomics that the server will have under way as a requester.
    initiator_depth, set_initiator_depth: u8 = 25;
    /// Which adapter the server has.
    local_ca_guid, set_local_ca_guid: u64 = 28;
    @bits
    /// How long the server takes to acknowledge: 4.096 us times two to this power.
    target_ack_delay, set_target_ack_delay = 26, 0xf8;
    /// Whether receivers count their credits (1) or not (0).
    flow_control, set_flow_control = 26, 0x01;
    /// How often the client is to repeat a request after an RNR NAK; 7 is for ever.
    rnr_retry_count, set_rnr_retry_count = 27, 0xe0;
    /// Whether the server's queue pair has a shared receive queue.
    shared_receive_queue, set_shared_receive_queue = 27, 0x10;
}

/// Defines a message that consists of the two names of a connection.
macro_rules! names_only {
    ($(#[$view_attr:meta])* $view:ident, $(#[$repr_attr:meta])* $repr:ident;) => {
        header_repr! {
            $(#[$view_attr])*
            $view,
            $(#[$repr_attr])*
            $repr, $view, 8;
            /// The sender's name for the connection.
            local_comm_id, set_local_comm_id: u32 = 0;
            /// The receiver's name for it.
            remote_comm_id, set_remote_comm_id: u32 = 4;
        }
    };
}

names_only! {
    /// View of an RTU: the client has seen the REP and is ready (table 111).
    CmRtu,
    /// An RTU's content.
    CmRtuRepr;
}

header_repr! {
    /// View of a DREQ, which ends a connection (table 112). Either end may send it.
    CmDreq,
    /// A DREQ's content.
    CmDreqRepr, CmDreq, 12;
    /// The sender's name for the connection.
    local_comm_id, set_local_comm_id: u32 = 0;
    /// The receiver's name for it.
    remote_comm_id, set_remote_comm_id: u32 = 4;
    /// The receiver's queue pair.
    remote_qpn, set_remote_qpn: Qpn = 8;
}

names_only! {
    /// View of a DREP, which answers a DREQ (table 113).
    CmDrep,
    /// A DREP's content.
    CmDrepRepr;
}

/// Bytes of payload that a code of the path MTU stands for, `256..=4096`; `None` for codes that
/// do not exist (IBTA vol. 1, 12.7.22).
pub const fn path_mtu_bytes(code: u8) -> Option<u16> {
    match code {
        1..=5 => Some(128 << code),
        _ => None,
    }
}

/// The IP address that a GID stands for in RoCEv2: IPv4 is mapped into IPv6 (RoCEv2 annex A17).
pub fn address_of_gid(gid: Ipv6Addr) -> IpAddr {
    gid.to_ipv4_mapped().map_or(IpAddr::V6(gid), IpAddr::V4)
}

/// The GID of an IP address, [`address_of_gid`] reversed.
pub fn gid_of_address(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// A message of the communication manager in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CmMad {
    /// The same in a message and its retransmissions.
    pub transaction_id: u64,
    /// What it says.
    pub message: CmMessage,
}

/// Defines the messages with their attribute IDs and their layout.
macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $variant:ident($repr:ident by $view:ident) = $id:literal, $name:literal;
    )*) => {
        /// What the communication manager says.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum CmMessage {
            $($(#[$doc])* $variant($repr),)*
            /// A message that tells nothing about where a connection is: LAP, APR, SIDR_REQ, ...,
            /// by its attribute ID.
            Other(u16),
        }

        impl CmMessage {
            /// Which message it is (IBTA vol. 1, table 105).
            pub const fn attribute_id(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $id,)*
                    Self::Other(id) => *id,
                }
            }

            /// The name in the standard, such as `REQ`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Other(_) => "OTHER",
                }
            }

            fn parse(attribute_id: u16, body: &[u8]) -> Result<Self, Error> {
                Ok(match attribute_id {
                    $($id => Self::$variant($repr::parse(&$view::new_checked(body)?)?),)*
                    other => Self::Other(other),
                })
            }

            fn emit(&self, body: &mut [u8]) -> Result<(), Error> {
                match self {
                    $(Self::$variant(repr) => repr.emit(&mut $view::new_checked(body)?),)*
                    Self::Other(_) => {}
                }
                Ok(())
            }
        }
    };
}

messages! {
    /// Asks for a connection.
    Req(CmReqRepr by CmReq) = 0x10, "REQ";
    /// The answer will take longer.
    Mra(CmMraRepr by CmMra) = 0x11, "MRA";
    /// There will be no connection.
    Rej(CmRejRepr by CmRej) = 0x12, "REJ";
    /// Agrees to a REQ.
    Rep(CmRepRepr by CmRep) = 0x13, "REP";
    /// The client is ready.
    Rtu(CmRtuRepr by CmRtu) = 0x14, "RTU";
    /// Ends a connection.
    Dreq(CmDreqRepr by CmDreq) = 0x15, "DREQ";
    /// Answers a DREQ.
    Drep(CmDrepRepr by CmDrep) = 0x16, "DREP";
}

impl CmMad {
    /// Reads a datagram from its header on. Refuses other classes, versions and methods.
    pub fn parse(mad: &[u8]) -> Result<Self, Error> {
        let view = Mad::new_checked(mad)?;
        let header = MadRepr::parse(&view)?;
        for (field, found, expected, text) in [
            ("base version", header.base_version, BASE_VERSION, "1"),
            ("class", header.class, CLASS, "7, communication manager"),
            ("class version", header.class_version, CLASS_VERSION, "2"),
            ("method", header.method, METHOD_SEND, "3, send"),
        ] {
            if found != expected {
                return Err(Error::unexpected(Header::Mad, field, found.into(), text));
            }
        }
        let body = mad.get(MadRepr::LEN..).unwrap_or_default();
        let message = CmMessage::parse(header.attribute_id, body)?;
        Ok(Self { transaction_id: header.transaction_id, message })
    }

    /// The whole datagram, with zeros in all that this does not hold.
    pub fn to_bytes(&self) -> [u8; MAD_LEN] {
        let header = MadRepr {
            base_version: BASE_VERSION,
            class: CLASS,
            class_version: CLASS_VERSION,
            method: METHOD_SEND,
            status: 0,
            transaction_id: self.transaction_id,
            attribute_id: self.message.attribute_id(),
            attribute_modifier: 0,
        };
        let mut bytes = [0; MAD_LEN];
        let (head, body) = bytes.split_at_mut(MadRepr::LEN);
        if let Ok(mut view) = Mad::new_checked(head) {
            header.emit(&mut view);
        }
        let written = self.message.emit(body);
        debug_assert!(written.is_ok(), "every message is shorter than a datagram");
        bytes
    }
}
