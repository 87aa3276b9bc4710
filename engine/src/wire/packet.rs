//! What a frame is, and what is where in it.

use core::net::IpAddr;

use super::aeth::{Aeth, AethRepr};
use super::atomic::{AtomicAckEth, AtomicAckEthRepr, AtomicEth, AtomicEthRepr};
use super::bth::{Bth, BthRepr};
pub use super::classify::classify;
use super::immediate::{Ieth, IethRepr, ImmDt, ImmDtRepr};
use super::opcode::Opcode;
use super::psn::{Psn, Qpn};
use super::reth::{Reth, RethRepr};

/// Opcode of an unreliable datagram of one packet (IBTA vol. 1, table 38): what the communication
/// manager's messages are.
pub const UD_SEND_ONLY: u8 = 0x64;
/// Opcode of a congestion notification (RoCEv2 annex A17.9.3).
pub const CNP: u8 = 0x81;

/// Explicit congestion notification in the IP header (RFC 3168).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Ecn {
    /// The sender does not take part.
    NotEct,
    /// ECN-capable transport (0).
    Ect0,
    /// ECN-capable transport (1).
    Ect1,
    /// Congestion experienced.
    Ce,
}

impl Ecn {
    /// Reads the low two bits of the traffic class.
    #[inline]
    pub const fn from_traffic_class(traffic_class: u8) -> Self {
        match traffic_class & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// Those two bits.
    #[inline]
    pub const fn to_bits(self) -> u8 {
        match self {
            Self::NotEct => 0,
            Self::Ect1 => 1,
            Self::Ect0 => 2,
            Self::Ce => 3,
        }
    }
}

/// Where the IP header is in a frame without VLAN tag.
const UNTAGGED_IP: u16 = 14;

/// Where everything is in one checked RC frame, and what forwarding needs to know of it.
///
/// These are numbers only, so the frame can be rewritten in place while they are held. Offsets
/// count from the frame's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Offset of the IP header: 14, or 18 in a tagged frame.
    pub ip: u16,
    /// 4 or 6.
    pub ip_version: u8,
    /// Offset of the UDP header.
    pub udp: u16,
    /// Offset of the base transport header.
    pub bth: u16,
    /// Offset of the payload, behind all headers.
    pub payload: u16,
    /// Bytes of payload, without pad.
    pub payload_len: u16,
    /// Bytes of pad, `0..=3`.
    pub pad: u8,
    /// Offset of the four bytes of ICRC.
    pub icrc: u16,
    /// Offset of what follows the ICRC: the frame's end, or Ethernet padding.
    pub end: u16,
    /// What the packet does.
    pub opcode: Opcode,
    /// IP source address.
    pub source: IpAddr,
    /// IP destination address.
    pub destination: IpAddr,
    /// UDP source port.
    pub source_port: u16,
    /// The queue pair that the packet is for.
    pub dest_qp: Qpn,
    /// Packet sequence number.
    pub psn: Psn,
    /// The requester asks for an acknowledgement.
    pub ack_request: bool,
    /// Congestion notification.
    pub ecn: Ecn,
}

/// Defines accessors of headers that only some opcodes have; `$before` is what lies between the
/// BTH and that header.
macro_rules! extension_headers {
    ($($(#[$doc:meta])* $name:ident -> $repr:ident by $view:ident, $has:ident, $before:expr;)*) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name(&self, frame: &[u8]) -> Option<$repr> {
                if !self.opcode.$has() {
                    return None;
                }
                let before: fn(Opcode) -> usize = $before;
                let at = usize::from(self.bth) + BthRepr::LEN + before(self.opcode);
                $repr::parse(&$view::new_checked(frame.get(at..)?).ok()?).ok()
            }
        )*
    };
}

impl Layout {
    /// Whether the frame has a VLAN tag.
    #[must_use]
    pub fn is_tagged(&self) -> bool {
        self.ip != UNTAGGED_IP
    }

    extension_headers! {
        /// The RETH, if the opcode has one. `frame` is the frame that this layout describes.
        reth -> RethRepr by Reth, has_reth, |_| 0;
        /// The AETH, if the opcode has one. `frame` is the frame that this layout describes.
        aeth -> AethRepr by Aeth, has_aeth, |_| 0;
        /// The AtomicETH, if the opcode has one. `frame` is the frame that this layout describes.
        atomic_eth -> AtomicEthRepr by AtomicEth, has_atomic_eth, |_| 0;
        /// The AtomicAckETH, if the opcode has one. `frame` is the frame that this layout
        /// describes.
        atomic_ack -> AtomicAckEthRepr by AtomicAckEth, has_atomic_ack_eth, |_| AethRepr::LEN;
        /// The immediate data, if the opcode has some. `frame` is the frame that this layout
        /// describes.
        immediate -> ImmDtRepr by ImmDt, has_immediate,
            |opcode| if opcode.has_reth() { RethRepr::LEN } else { 0 };
        /// The IETH, if the opcode has one. `frame` is the frame that this layout describes.
        ieth -> IethRepr by Ieth, has_ieth, |_| 0;
    }

    /// The payload without pad; empty if `frame` is shorter than the frame described.
    #[inline]
    pub fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.payload);
        frame.get(start..start + usize::from(self.payload_len)).unwrap_or_default()
    }

    /// The base transport header. Should `frame` not be the frame described, and hold none
    /// there, then the fields that the layout does not know are 0.
    pub fn bth(&self, frame: &[u8]) -> BthRepr {
        frame
            .get(usize::from(self.bth)..)
            .and_then(|bytes| Bth::new_checked(bytes).ok())
            .and_then(|view| BthRepr::parse(&view).ok())
            .unwrap_or(BthRepr {
                opcode: self.opcode,
                solicited: false,
                migration_request: false,
                pad_count: self.pad,
                partition_key: 0,
                fecn: false,
                becn: false,
                dest_qp: self.dest_qp,
                ack_request: self.ack_request,
                psn: self.psn,
            })
    }
}

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Classified {
    /// A well-formed RC packet.
    Rc(Layout),
    /// Something else, to be passed on untouched.
    Other(NotRc),
}

/// Why a frame is no RC packet that can be handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum NotRc {
    /// Neither IPv4 nor IPv6 behind at most one VLAN tag.
    NotIp,
    /// IP, but not directly UDP.
    NotUdp,
    /// A part of a fragmented IP packet.
    Fragment,
    /// UDP to another port than 4791.
    OtherPort,
    /// A datagram of the communication manager, to queue pair 1.
    Cm(CmLayout),
    /// A congestion notification (CNP) for this queue pair: it is to send more slowly.
    Cnp(CnpLayout),
    /// RoCEv2 of another transport: unreliable datagram, extended reliable connected, ...
    OtherTransport {
        /// The opcode's byte.
        opcode: u8,
    },
    /// RC, but an opcode that is reserved or not handled (FLUSH, ATOMIC WRITE): nobody here can
    /// tell how many PSNs it takes.
    UnknownRcOpcode {
        /// The opcode's byte.
        opcode: u8,
        /// Where it goes.
        target: Target,
    },
}

/// A congestion notification: where it goes, and what its ICRC covers. Offsets count from the
/// frame's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct CnpLayout {
    /// Offset of the IP header: 14, or 18 in a tagged frame.
    pub ip: u16,
    /// 4 or 6.
    pub ip_version: u8,
    /// Offset of the four bytes of ICRC, which end the packet.
    pub icrc: u16,
    /// Where it goes.
    pub target: Target,
}

/// Where a RoCEv2 packet goes that is no RC packet that can be handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Target {
    /// IP source address.
    pub source: IpAddr,
    /// IP destination address.
    pub destination: IpAddr,
    /// UDP source port.
    pub source_port: u16,
    /// The queue pair that the packet is for.
    pub dest_qp: Qpn,
}

/// Where everything is in one frame with a datagram of the communication manager. Offsets count
/// from the frame's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct CmLayout {
    /// Offset of the IP header: 14, or 18 in a tagged frame.
    pub ip: u16,
    /// 4 or 6.
    pub ip_version: u8,
    /// Offset of the management datagram, of [`MAD_LEN`](super::cm::MAD_LEN) bytes.
    pub mad: u16,
    /// Offset of the four bytes of ICRC, which end the packet.
    pub icrc: u16,
    /// IP source address.
    pub source: IpAddr,
    /// IP destination address.
    pub destination: IpAddr,
    /// UDP source port.
    pub source_port: u16,
}

impl CmLayout {
    /// The management datagram; empty if `frame` is shorter than the frame described.
    pub fn mad<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame.get(self.mad.into()..self.icrc.into()).unwrap_or_default()
    }
}
