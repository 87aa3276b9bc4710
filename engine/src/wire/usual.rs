//! The shape that nearly all packets have: IPv4 without options, in a frame without a VLAN tag.

use core::net::Ipv4Addr;

use super::aeth::AethRepr;
use super::bth::BthRepr;
use super::ethernet::{ETHERTYPE_IPV4, EthernetRepr};
use super::icrc;
use super::ipv4::{FRAGMENT, Ipv4Repr, VERSION_AND_LENGTH};
use super::opcode::Opcode;
use super::packet::{Ecn, Layout};
use super::psn::{Psn, Qpn};
use super::udp::{PROTOCOL, ROCE_PORT, UdpRepr};

/// Where headers of this shape are.
pub(super) const IP: usize = EthernetRepr::LEN;
pub(super) const UDP: usize = IP + Ipv4Repr::LEN;
pub(super) const BTH: usize = UDP + UdpRepr::LEN;
/// Bytes of all headers that every packet has.
pub(crate) const HEADERS: usize = BTH + BthRepr::LEN;

/// The layout of a good RC packet of this shape; `None` of anything else, whatever that is.
#[inline(always)]
pub(crate) fn layout(frame: &[u8]) -> Option<Layout> {
    let head: &[u8; HEADERS] = frame.first_chunk()?;
    let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let is_rocev2 = number(IP - 2) == ETHERTYPE_IPV4
        && head[IP] == VERSION_AND_LENGTH
        && number(IP + 6) & FRAGMENT == 0
        && head[IP + 9] == PROTOCOL
        && number(UDP + 2) == ROCE_PORT
        && head[BTH + 1] & 0x0f == 0;
    let length = number(IP + 2);
    let end = IP + usize::from(length);
    if !is_rocev2
        || end > frame.len().min(u16::MAX.into())
        || usize::from(number(UDP + 4)) + Ipv4Repr::LEN != length.into()
    {
        return None;
    }
    let opcode = Opcode::from_byte(head[BTH])?;
    let payload = HEADERS + opcode.headers_len();
    let padded = end.checked_sub(payload + icrc::LEN)?;
    let pad = head[BTH + 1] >> 4 & 3;
    let payload_len = padded.checked_sub(pad.into())?;
    if padded % 4 != 0 || padded != 0 && !opcode.has_payload() {
        return None;
    }
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let last = word(BTH + 8);
    Some(Layout {
        ip: IP as u16,
        ip_version: 4,
        udp: UDP as u16,
        bth: BTH as u16,
        payload: payload as u16,
        payload_len: payload_len as u16,
        pad,
        icrc: (end - icrc::LEN) as u16,
        end: end as u16,
        opcode,
        source: Ipv4Addr::from_bits(word(IP + 12)).into(),
        destination: Ipv4Addr::from_bits(word(IP + 16)).into(),
        source_port: number(UDP),
        dest_qp: Qpn::new(word(BTH + 4)),
        psn: Psn::new(last),
        ack_request: last >> 31 == 1,
        ecn: Ecn::from_traffic_class(head[IP + 1]),
    })
}

/// What a packet says of itself if it has the usual shape, which nobody has checked.
pub(crate) struct Glance {
    /// Source and destination, in one number.
    pub(crate) ends: u64,
    pub(crate) dest_qp: Qpn,
    /// It asks for a READ.
    pub(crate) reads: bool,
    /// What it is for, if it is a WRITE of one packet, a READ or an atomic.
    pub(crate) address: u64,
}

/// A first look at a packet.
#[inline]
pub(crate) fn glance(frame: &[u8]) -> Option<Glance> {
    let head: &[u8; HEADERS + 8] = frame.first_chunk()?;
    let long = |at: usize| {
        let [a, b, c, d, e, f, g, h] = core::array::from_fn(|i| head[at + i]);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    };
    let dest_qp = [0, head[BTH + 5], head[BTH + 6], head[BTH + 7]];
    Some(Glance {
        ends: long(IP + 12),
        dest_qp: Qpn::new(u32::from_be_bytes(dest_qp)),
        reads: head[BTH] == Opcode::ReadRequest.to_byte(),
        address: long(HEADERS),
    })
}

impl Layout {
    /// Whether the packet has the usual shape.
    #[inline]
    pub(crate) fn is_usual(&self) -> bool {
        usize::from(self.ip) == IP && usize::from(self.bth) == BTH && self.ip_version == 4
    }
}

/// An AETH, as it is in a packet.
#[inline]
pub(crate) fn aeth_bytes(aeth: &AethRepr) -> [u8; 4] {
    aeth_word(aeth).to_be_bytes()
}

/// An AETH as a number.
#[inline]
pub(super) fn aeth_word(aeth: &AethRepr) -> u32 {
    u32::from(aeth.syndrome.to_byte()) << 24 | aeth.msn.value()
}
