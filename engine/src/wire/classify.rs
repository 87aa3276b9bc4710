//! Finding out what a frame is, header by header.
//!
//! A frame is refused only if it says that it is RoCEv2, or IP, and then breaks the format. What
//! the receiving queue pair has to judge (path MTU, order, rights) is not looked at: a responder
//! answers such faults with a NAK, and we must not swallow them. Neither the IP checksum nor the
//! ICRC is checked here; see [`super::icrc`] for why forwarding does not need to.
//!
//! Of other transports only what the engine's host must know is told apart: datagrams of the
//! communication manager, and congestion notifications. Both are recognised by all that they must
//! have; what only resembles them is [`NotRc::OtherTransport`] and passes.

use core::net::IpAddr;

use super::bth::{Bth, BthRepr};
use super::cm;
use super::deth::{Deth, DethRepr};
use super::error::{Error, Header};
use super::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, EthernetRepr};
use super::icrc;
use super::ipv4::{Ipv4, Ipv4Repr};
use super::ipv6::{Ipv6, Ipv6Repr};
use super::opcode::Opcode;
use super::packet::{
    CNP, Classified, CmLayout, CnpLayout, Ecn, Layout, NotRc, Target, UD_SEND_ONLY,
};
use super::psn::Qpn;
use super::udp::{self, Udp, UdpRepr};
use super::usual;

/// Next header of a fragmented IPv6 packet.
const IPV6_FRAGMENT: u8 = 44;
/// Bytes behind the BTH of a congestion notification.
pub(super) const CNP_PAYLOAD: usize = 16;

/// What the IP header says of a UDP datagram.
struct Ip {
    version: u8,
    /// Which header to blame.
    header: Header,
    /// Offset of the UDP header in the frame.
    udp: usize,
    /// Bytes of the datagram.
    length: usize,
    /// Whether the header holds more than the fixed 20 bytes of IPv4.
    options: bool,
    source: IpAddr,
    destination: IpAddr,
    ecn: Ecn,
}

/// Either the value, or an early end: the frame is something else.
type OrOther<T> = Result<Result<T, NotRc>, Error>;

/// Hands on the inner `Ok`, returns from [`classify`] otherwise.
macro_rules! or_other {
    ($value:expr) => {
        match $value? {
            Ok(value) => value,
            Err(other) => return Ok(Classified::Other(other)),
        }
    };
}

/// Finds out what `frame` (from its Ethernet header on) is, and where everything is in it.
///
/// An error means that the frame claims to be IP or RoCEv2, and is malformed: IPv4 options,
/// lengths that contradict each other or the frame, another transport version, a wrong pad
/// count, a payload that the opcode does not allow. Whatever is not UDP to port 4791 is
/// [`Classified::Other`]. Bytes behind the IP packet are Ethernet padding and do not count.
#[inline]
pub fn classify(frame: &[u8]) -> Result<Classified, Error> {
    match usual::layout(frame) {
        Some(layout) => Ok(Classified::Rc(layout)),
        None => classify_any(frame),
    }
}

/// The same, of frames of any shape.
pub(super) fn classify_any(frame: &[u8]) -> Result<Classified, Error> {
    let ethernet = EthernetRepr::parse(&Ethernet::new_checked(frame)?)?;
    let at = ethernet.header_len();
    // The view, or the parsed tag, has checked that the frame is this long.
    let packet = frame.get(at..).unwrap_or_default();
    let ip = or_other!(match ethernet.ethertype {
        ETHERTYPE_IPV4 => read_ipv4(packet, at),
        ETHERTYPE_IPV6 => read_ipv6(packet, at),
        _ => return Ok(Classified::Other(NotRc::NotIp)),
    });
    let (source_port, datagram) = or_other!(read_udp(frame, at, &ip));
    let (bth, opcode) = or_other!(read_bth(datagram, at, &ip, source_port));
    let (payload_len, pad) = check_payload(datagram, opcode, &bth)?;

    // The end is below 2^16: `read_udp` has checked it. So is all before the end.
    let end = ip.udp + ip.length;
    let bth_at = ip.udp + UdpRepr::LEN;
    Ok(Classified::Rc(Layout {
        ip: at as u16,
        ip_version: ip.version,
        udp: ip.udp as u16,
        bth: bth_at as u16,
        payload: (bth_at + BthRepr::LEN + opcode.headers_len()) as u16,
        payload_len: payload_len as u16,
        pad,
        icrc: (end - icrc::LEN) as u16,
        end: end as u16,
        opcode,
        source: ip.source,
        destination: ip.destination,
        source_port,
        dest_qp: bth.dest_qp(),
        psn: bth.psn(),
        ack_request: bth.ack_request(),
        ecn: ip.ecn,
    }))
}

/// Reads as much of an IPv4 header as is needed to find UDP. Lengths and options are judged
/// when it is known to be RoCEv2.
#[inline]
fn read_ipv4(packet: &[u8], at: usize) -> OrOther<Ip> {
    let view = Ipv4::new_checked(packet)?;
    if view.version() != 4 {
        let found = u64::from(view.version());
        return Err(Error::unexpected(Header::Ipv4, "version", found, "4"));
    }
    let header_len = view.header_len();
    if header_len < Ipv4Repr::LEN {
        let have = header_len;
        return Err(Error::truncated(Header::Ipv4, "header length", Ipv4Repr::LEN, have));
    }
    if view.protocol() != udp::PROTOCOL {
        return Ok(Err(NotRc::NotUdp));
    }
    if view.is_fragment() {
        return Ok(Err(NotRc::Fragment));
    }
    let total = usize::from(view.total_length());
    let Some(length) = total.checked_sub(header_len) else {
        return Err(Error::truncated(Header::Ipv4, "total length", header_len, total));
    };
    Ok(Ok(Ip {
        version: 4,
        header: Header::Ipv4,
        udp: at + header_len,
        length,
        options: header_len != Ipv4Repr::LEN,
        source: view.source().into(),
        destination: view.destination().into(),
        ecn: Ecn::from_traffic_class(view.traffic_class()),
    }))
}

/// The same for IPv6. UDP behind extension headers is not looked for: no RoCEv2 sender puts any.
#[inline]
fn read_ipv6(packet: &[u8], at: usize) -> OrOther<Ip> {
    let view = Ipv6::new_checked(packet)?;
    let repr = Ipv6Repr::parse(&view)?;
    match repr.next_header {
        udp::PROTOCOL => {}
        IPV6_FRAGMENT => return Ok(Err(NotRc::Fragment)),
        _ => return Ok(Err(NotRc::NotUdp)),
    }
    Ok(Ok(Ip {
        version: 6,
        header: Header::Ipv6,
        udp: at + Ipv6Repr::LEN,
        length: usize::from(repr.payload_length),
        options: false,
        source: repr.source.into(),
        destination: repr.destination.into(),
        ecn: Ecn::from_traffic_class(repr.traffic_class),
    }))
}

/// Reads the UDP header and checks every length around it. Gives the source port and what the
/// datagram carries.
#[inline]
fn read_udp<'a>(frame: &'a [u8], ip_at: usize, ip: &Ip) -> OrOther<(u16, &'a [u8])> {
    let view = Udp::new_checked(frame.get(ip.udp..).unwrap_or_default())?;
    if view.destination_port() != udp::ROCE_PORT {
        return Ok(Err(NotRc::OtherPort));
    }
    if ip.options {
        let found = (ip.udp - ip_at) as u64;
        return Err(Error::unexpected(ip.header, "header length", found, "20 (no options)"));
    }
    let end = ip.udp + ip.length;
    if end > frame.len() {
        return Err(Error::truncated(ip.header, "length", end - ip_at, frame.len() - ip_at));
    }
    if u16::try_from(end).is_err() {
        let found = (end - ip_at) as u64;
        return Err(Error::unexpected(ip.header, "length", found, "in a frame below 65536 bytes"));
    }
    if usize::from(view.length()) != ip.length {
        let found = u64::from(view.length());
        return Err(Error::mismatch(Header::Udp, "length", found, ip.length as u64));
    }
    match frame.get(ip.udp + UdpRepr::LEN..end) {
        Some(datagram) => Ok(Ok((view.source_port(), datagram))),
        None => Err(Error::truncated(Header::Udp, "length", UdpRepr::LEN, ip.length)),
    }
}

/// Reads the base transport header at the start of a datagram's content.
#[inline]
fn read_bth<'a>(
    datagram: &'a [u8],
    ip_at: usize,
    ip: &Ip,
    source_port: u16,
) -> OrOther<(Bth<&'a [u8]>, Opcode)> {
    let view = Bth::new_checked(datagram)?;
    if view.version() != 0 {
        let found = u64::from(view.version());
        return Err(Error::unexpected(Header::Bth, "version", found, "0"));
    }
    match Opcode::from_byte(view.opcode()) {
        Some(opcode) => Ok(Ok((view, opcode))),
        None => Ok(Err(not_rc(datagram, &view, ip_at, ip, source_port))),
    }
}

/// What a RoCEv2 packet is whose opcode is none of those handled.
#[cold]
fn not_rc(datagram: &[u8], bth: &Bth<&[u8]>, ip_at: usize, ip: &Ip, source_port: u16) -> NotRc {
    let (source, destination, dest_qp) = (ip.source, ip.destination, bth.dest_qp());
    let target = Target { source, destination, source_port, dest_qp };
    match bth.opcode() {
        CNP if datagram.len() == BthRepr::LEN + CNP_PAYLOAD + icrc::LEN => NotRc::Cnp(CnpLayout {
            ip: ip_at as u16,
            ip_version: ip.version,
            icrc: (ip.udp + UdpRepr::LEN + BthRepr::LEN + CNP_PAYLOAD) as u16,
            target,
        }),
        UD_SEND_ONLY if is_cm(datagram, dest_qp) => {
            let mad = ip.udp + UdpRepr::LEN + BthRepr::LEN + DethRepr::LEN;
            NotRc::Cm(CmLayout {
                ip: ip_at as u16,
                ip_version: ip.version,
                mad: mad as u16,
                icrc: (mad + cm::MAD_LEN) as u16,
                source,
                destination,
                source_port,
            })
        }
        opcode if opcode >> 5 == 0 => NotRc::UnknownRcOpcode { opcode, target },
        opcode => NotRc::OtherTransport { opcode },
    }
}

/// Whether an unreliable datagram of one packet is one of the communication manager.
fn is_cm(datagram: &[u8], dest_qp: Qpn) -> bool {
    let [deth_at, mad_at] = [BthRepr::LEN, BthRepr::LEN + DethRepr::LEN];
    let deth = datagram.get(deth_at..).and_then(|bytes| Deth::new_checked(bytes).ok());
    dest_qp == cm::GENERAL_SERVICES_QP
        && datagram.len() == mad_at + cm::MAD_LEN + icrc::LEN
        && datagram.get(mad_at + cm::CLASS_AT) == Some(&cm::CLASS)
        && deth.is_some_and(|deth| deth.queue_key() == cm::GENERAL_SERVICES_QUEUE_KEY)
}

/// Splits what follows the BTH into extension headers, payload, pad and ICRC, and checks that
/// the opcode allows it. Gives the bytes of payload and of pad.
#[inline]
fn check_payload(datagram: &[u8], opcode: Opcode, bth: &Bth<&[u8]>) -> Result<(usize, u8), Error> {
    let headers = BthRepr::LEN + opcode.headers_len();
    let Some(padded) = datagram.len().checked_sub(headers + icrc::LEN) else {
        let need = headers + icrc::LEN;
        return Err(Error::truncated(Header::Bth, opcode.name(), need, datagram.len()));
    };
    if !padded.is_multiple_of(4) {
        let found = padded as u64;
        return Err(Error::unexpected(Header::Payload, "padded length", found, "a multiple of 4"));
    }
    let pad = bth.pad_count();
    let Some(payload_len) = padded.checked_sub(pad.into()) else {
        return Err(Error::truncated(Header::Payload, "pad", pad.into(), padded));
    };
    if padded != 0 && !opcode.has_payload() {
        let found = padded as u64;
        return Err(Error::unexpected(Header::Payload, "length", found, "0 as the opcode demands"));
    }
    Ok((payload_len, pad))
}
