//! The shape that nearly all packets have: IPv4 without options, in a frame without a VLAN tag.

use core::net::{IpAddr, Ipv4Addr};

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
const IP: usize = EthernetRepr::LEN;
const UDP: usize = IP + Ipv4Repr::LEN;
const BTH: usize = UDP + UdpRepr::LEN;
/// Bytes of all headers that every packet has.
pub(crate) const HEADERS: usize = BTH + BthRepr::LEN;

/// The layout of a good RC packet of this shape; `None` of anything else, whatever that is.
#[inline(always)]
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

/// What becomes of headers that are forwarded: whole words, which are put together before they are
/// written. (Read again as words after they were written as bytes, they would be waited for.)
pub(crate) struct Forwarded {
    /// Ethernet addresses: destination, source.
    pub(crate) macs: [[u8; 6]; 2],
    /// IP addresses: source, destination.
    pub(crate) ips: [Ipv4Addr; 2],
    /// The traffic class, and of the old one's bits those that stay.
    pub(crate) traffic_class: (u8, u8),
    pub(crate) hop_limit: u8,
    pub(crate) source_port: u16,
    pub(crate) migration_request: bool,
    pub(crate) partition_key: u16,
    pub(crate) dest_qp: Qpn,
    pub(crate) psn: Psn,
    pub(crate) ack_request: bool,
    pub(crate) aeth: Option<AethRepr>,
}

/// Words that the ICRC covers of what forwarding changes: addresses, UDP ports, a word that stays,
/// the BTH, and the AETH.
pub(crate) const WORDS: usize = 8;

/// Writes the headers; the IP header's checksum follows, and UDP has none then (RoCEv2 annex
/// A17.3.1 allows that). Returns what has changed of the words that the ICRC covers (old and new,
/// exclusive or, in the packet's byte order).
#[inline]
pub(crate) fn forward(head: &mut Head, to: &Forwarded) -> [u32; WORDS] {
    let old = *head;
    let word = |at: usize| u32::from_be_bytes([old[at], old[at + 1], old[at + 2], old[at + 3]]);
    let (class, keeps) = to.traffic_class;
    let (first, third) = (word(IP), word(IP + 8));
    let class = u32::from(class & !3) | first >> 16 & u32::from(keeps);
    let first = first & 0xff00_ffff | class << 16;
    let third = third & 0x00ff_0000 | u32::from(to.hop_limit) << 24;
    let (source, destination) = (to.ips[0].to_bits(), to.ips[1].to_bits());
    let sum = u64::from(first) + u64::from(word(IP + 4)) + u64::from(third);
    let third = third | u32::from(checksum(sum + u64::from(source) + u64::from(destination)));
    put(head, 0, to.macs[0]);
    put(head, 6, to.macs[1]);
    put(head, IP, first.to_be_bytes());
    put(head, IP + 8, third.to_be_bytes());
    put(head, UDP + 6, [0; 2]);
    let ports = word(UDP) & 0xffff | u32::from(to.source_port) << 16;
    let path = u32::from(to.migration_request) << 22 | u32::from(to.partition_key);
    let path = word(BTH) & 0xffbf_0000 | path;
    let queue_pair = word(BTH + 4) & 0xff00_0000 | to.dest_qp.value();
    let numbers = u32::from(to.ack_request) << 31 | to.psn.value();
    let numbers = word(BTH + 8) & 0x7f00_0000 | numbers;
    let aeth = to.aeth.map_or(word(HEADERS), |aeth| u32::from_be_bytes(aeth_bytes(&aeth)));
    [
        replace(head, IP + 12, source),
        replace(head, IP + 16, destination),
        replace(head, UDP, ports),
        0,
        replace(head, BTH, path),
        replace(head, BTH + 4, queue_pair),
        replace(head, BTH + 8, numbers),
        replace(head, HEADERS, aeth),
    ]
}

/// Writes a word in the place of another one, and returns what has changed.
#[inline]
fn replace(head: &mut Head, at: usize, new: u32) -> u32 {
    let old = u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    put(head, at, new.to_be_bytes());
    (old ^ new).swap_bytes()
}

/// The checksum of an IP header, given the sum of its words (RFC 1071).
fn checksum(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
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
