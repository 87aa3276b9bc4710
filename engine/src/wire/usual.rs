//! The shape that nearly all packets have: IPv4 without options, in a frame without a VLAN tag.

use core::net::Ipv4Addr;

use super::aeth::AethRepr;
use super::bth::BthRepr;
use super::ethernet::{ETHERTYPE_IPV4, EthernetRepr};
use super::facts::Facts;
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

/// What a good RC packet of this shape says of itself, beside what all of its connection say.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) psn: Psn,
    pub(crate) payload_len: u16,
    /// Offset of the ICRC.
    pub(crate) icrc: u16,
    pub(crate) opcode: Opcode,
    pub(crate) pad: u8,
    pub(crate) traffic_class: u8,
}

impl Shape {
    /// Of no packet.
    pub(crate) const NONE: Shape = Shape {
        psn: Psn::new(0),
        payload_len: 0,
        icrc: 0,
        opcode: Opcode::SendOnly,
        pad: 0,
        traffic_class: 0,
    };

    /// Reads the shape of a packet, if it is a good one of this shape that has these facts, as far
    /// as [`Facts::are_of`] says, and has data where its kind can.
    // One function by itself has its values in registers.
    #[inline(never)]
    pub(crate) fn read(&mut self, frame: &[u8], facts: &Facts) -> bool {
        let shape = frame.first_chunk().and_then(|head| shape::<true>(head, frame.len()));
        let Some(shape) = shape else { return false };
        *self = shape;
        frame.first_chunk().is_some_and(|head| facts.are_of(head, shape.opcode))
    }
}

/// Finds out whether a frame of so many bytes is a good RC packet of this shape, with data if its
/// kind can have some, if that is asked; `None` of anything else, whatever that is.
#[inline(always)]
fn shape<const WITH_DATA: bool>(head: &[u8; HEADERS], frame_len: usize) -> Option<Shape> {
    let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let length = number(IP + 2);
    let end = IP + usize::from(length);
    if number(IP - 2) != ETHERTYPE_IPV4
        || head[IP] != VERSION_AND_LENGTH
        || number(IP + 6) & FRAGMENT != 0
        || head[IP + 9] != PROTOCOL
        || number(UDP + 2) != ROCE_PORT
        || u32::from(number(UDP + 4)) + Ipv4Repr::LEN as u32 != length.into()
        || head[BTH + 1] & 0x0f != 0
        || end > frame_len.min(u16::MAX.into())
    {
        return None;
    }
    let opcode = Opcode::from_byte(head[BTH])?;
    let padded = end.checked_sub(HEADERS + opcode.headers_len() + icrc::LEN)?;
    let pad = head[BTH + 1] >> 4 & 3;
    let payload_len = padded.checked_sub(pad.into())?;
    // Not one after the other: what kind of packet it is cannot be predicted.
    let fits = match WITH_DATA {
        true => (padded != 0) == opcode.has_payload(),
        false => (padded == 0) | opcode.has_payload(),
    };
    if !fits | (padded % 4 != 0) {
        return None;
    }
    Some(Shape {
        psn: Psn::new(word(head, BTH + 8)),
        payload_len: payload_len as u16,
        icrc: (end - icrc::LEN) as u16,
        opcode,
        pad,
        traffic_class: head[IP + 1],
    })
}

/// The layout of a good RC packet of this shape; `None` of anything else, whatever that is.
#[inline(always)]
pub(crate) fn layout(frame: &[u8]) -> Option<Layout> {
    let head: &[u8; HEADERS] = frame.first_chunk()?;
    let shape = shape::<false>(head, frame.len())?;
    Some(Layout {
        ip: IP as u16,
        ip_version: 4,
        udp: UDP as u16,
        bth: BTH as u16,
        payload: (HEADERS + shape.opcode.headers_len()) as u16,
        payload_len: shape.payload_len,
        pad: shape.pad,
        icrc: shape.icrc,
        end: shape.icrc + icrc::LEN as u16,
        opcode: shape.opcode,
        source: Ipv4Addr::from_bits(word(head, IP + 12)).into(),
        destination: Ipv4Addr::from_bits(word(head, IP + 16)).into(),
        source_port: u16::from_be_bytes([head[UDP], head[UDP + 1]]),
        dest_qp: Qpn::new(word(head, BTH + 4)),
        psn: shape.psn,
        ack_request: head[BTH + 8] >> 7 == 1,
        ecn: Ecn::from_traffic_class(shape.traffic_class),
    })
}

/// The address that a packet is for, if it is a WRITE of one packet, a READ or an atomic.
#[inline(always)]
pub(crate) fn address(frame: &[u8]) -> Option<u64> {
    let address: &[u8; 8] = frame.get(HEADERS..)?.first_chunk()?;
    Some(u64::from_be_bytes(*address))
}

/// Source and destination, in one number, and the destination queue pair of a packet, if that is
/// what it is.
#[inline(always)]
pub(crate) fn ends(frame: &[u8]) -> Option<(u64, Qpn)> {
    let head: &[u8; HEADERS] = frame.first_chunk()?;
    let ends = u64::from(word(head, IP + 12)) << 32 | u64::from(word(head, IP + 16));
    Some((ends, Qpn::new(word(head, BTH + 4))))
}

/// Four bytes of the headers as a number.
#[inline(always)]
fn word(head: &[u8; HEADERS], at: usize) -> u32 {
    u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
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
