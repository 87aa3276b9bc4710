//! The shape that nearly all packets have: IPv4 without options, in a frame without a VLAN tag.

use core::net::{IpAddr, Ipv4Addr};

use super::aeth::AethRepr;
use super::bth::BthRepr;
use super::ethernet::{ETHERTYPE_IPV4, EthernetRepr};
use super::icrc;
use super::ipv4::{CHECKSUM_AT, FRAGMENT, Ipv4Repr, VERSION_AND_LENGTH};
use super::opcode::Opcode;
use super::packet::{Ecn, Layout};
use super::psn::{Psn, Qpn};
use super::udp::{PROTOCOL, ROCE_PORT, UdpRepr};

/// Where headers of this shape are.
const IP: usize = EthernetRepr::LEN;
const UDP: usize = IP + Ipv4Repr::LEN;
const BTH: usize = UDP + UdpRepr::LEN;
/// Bytes of all headers that every packet has.
pub(crate) const HEADERS: usize = BTH + BthRepr::LEN;

/// The layout of a good RC packet of this shape; `None` of anything else, whatever that is.
#[inline]
pub(super) fn layout(frame: &[u8]) -> Option<Layout> {
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

/// Source, destination and queue pair of a packet, and the address that follows the BTH if it is a
/// WRITE of one packet, a READ or an atomic: if the packet has the usual shape, which nobody has
/// checked.
#[inline]
pub(crate) fn flow_and_address(frame: &[u8]) -> Option<((IpAddr, IpAddr, Qpn), u64)> {
    let head: &[u8; HEADERS + 8] = frame.first_chunk()?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let ip = |at: usize| IpAddr::V4(Ipv4Addr::from_bits(word(at)));
    let flow = (ip(IP + 12), ip(IP + 16), Qpn::new(word(BTH + 4)));
    Some((flow, u64::from(word(HEADERS)) << 32 | u64::from(word(HEADERS + 4))))
}

impl Layout {
    /// Whether the packet has the usual shape.
    #[inline]
    pub(crate) fn is_usual(&self) -> bool {
        usize::from(self.ip) == IP && usize::from(self.bth) == BTH && self.ip_version == 4
    }
}

/// All headers, and the word behind them.
type Head = [u8; HEADERS + 4];

/// What the ICRC covers of that, of what forwarding changes: addresses, UDP ports, BTH, and what
/// follows. Between them the length of UDP stays, and its checksum is left out.
#[inline]
pub(crate) fn words(head: &Head) -> [u32; 8] {
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    [
        word(IP + 12),
        word(IP + 16),
        word(UDP),
        0,
        word(BTH),
        word(BTH + 4),
        word(BTH + 8),
        word(HEADERS),
    ]
}

/// Ethernet and IP addresses.
#[inline]
pub(crate) fn set_addresses(
    head: &mut Head,
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
    source: Ipv4Addr,
    destination: Ipv4Addr,
) {
    put(head, 0, destination_mac);
    put(head, 6, source_mac);
    put(head, IP + 12, source.octets());
    put(head, IP + 16, destination.octets());
}

/// Traffic class, of which the bits of `own` stay as they are, hop limit and source port; then the
/// checksum of the IP header, and none of UDP's (RoCEv2 annex A17.3.1 allows that).
#[inline]
pub(crate) fn set_path(
    head: &mut Head,
    traffic_class: u8,
    own: u8,
    hop_limit: u8,
    source_port: u16,
) {
    head[IP + 1] = traffic_class & !3 | head[IP + 1] & own;
    head[IP + 8] = hop_limit;
    put(head, IP + CHECKSUM_AT, [0; 2]);
    // The sum does not depend on the byte order that it is made in (RFC 1071).
    let mut sum = 0;
    for at in [0, 4, 8, 12, 16] {
        let at = IP + at;
        let word = u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        sum += u64::from(word);
    }
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    put(head, IP + CHECKSUM_AT, (!(sum as u16)).to_le_bytes());
    put(head, UDP, source_port.to_be_bytes());
    put(head, UDP + 6, [0; 2]);
}

/// The fields of the BTH that forwarding changes: migration request and partition key, queue pair,
/// PSN and the request for an acknowledgement.
#[inline]
pub(crate) fn set_transport(
    head: &mut Head,
    (migration_request, partition_key): (bool, u16),
    dest_qp: Qpn,
    psn: Psn,
    ack_request: bool,
) {
    head[BTH + 1] = head[BTH + 1] & !0x40 | u8::from(migration_request) << 6;
    put(head, BTH + 2, partition_key.to_be_bytes());
    let kept = u32::from(head[BTH + 4]) << 24;
    put(head, BTH + 4, (kept | dest_qp.value()).to_be_bytes());
    let kept = u32::from(head[BTH + 8] & 0x7f) << 24;
    put(head, BTH + 8, (kept | u32::from(ack_request) << 31 | psn.value()).to_be_bytes());
}

/// The AETH, right behind the BTH.
#[inline]
pub(crate) fn set_aeth(head: &mut Head, aeth: &AethRepr) {
    put(head, HEADERS, aeth_bytes(aeth));
}

/// An AETH, as it is in a packet.
#[inline]
pub(crate) fn aeth_bytes(aeth: &AethRepr) -> [u8; 4] {
    let syndrome = u32::from(aeth.syndrome.to_byte()) << 24;
    (syndrome | aeth.msn.value()).to_be_bytes()
}

#[inline]
fn put<const N: usize>(head: &mut Head, at: usize, bytes: [u8; N]) {
    if let Some(place) = head.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}
