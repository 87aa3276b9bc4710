//! Making whole frames: for tests, for models of clients and servers, and for packets that the
//! engine itself sends.

use core::net::IpAddr;

use super::aeth::{Aeth, AethRepr};
use super::atomic::{AtomicAckEth, AtomicAckEthRepr, AtomicEth, AtomicEthRepr};
use super::bth::{Bth, BthRepr};
use super::classify::CNP_PAYLOAD;
use super::cm::{CmMad, GENERAL_SERVICES_QP, GENERAL_SERVICES_QUEUE_KEY, MAD_LEN};
use super::deth::{Deth, DethRepr};
use super::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, EthernetRepr};
use super::icrc;
use super::immediate::{Ieth, IethRepr, ImmDt, ImmDtRepr};
use super::ipv4::{Ipv4, Ipv4Repr};
use super::ipv6::{Ipv6, Ipv6Repr};
use super::opcode::Opcode;
use super::packet::{CNP, UD_SEND_ONLY};
use super::psn::Psn;
use super::reth::{Reth, RethRepr};
use super::udp::{PROTOCOL, ROCE_PORT, Udp, UdpRepr};

/// From where to where a frame goes, up to UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Ethernet source address.
    pub source_mac: [u8; 6],
    /// Ethernet destination address.
    pub destination_mac: [u8; 6],
    /// IP source address.
    pub source: IpAddr,
    /// IP destination address, of the same version.
    pub destination: IpAddr,
    /// UDP source port.
    pub source_port: u16,
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
    /// Time to live.
    pub hop_limit: u8,
    /// Identification, in IPv4 only.
    pub identification: u16,
}

/// What lies between BTH and payload. It is written as given, even where it does not suit the
/// opcode, so that malformed frames can be made as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extension {
    /// Nothing.
    None,
    /// RDMA: WRITE FIRST and ONLY, READ request.
    Reth(RethRepr),
    /// ACK, NAK, and READ response but MIDDLE.
    Aeth(AethRepr),
    /// COMPARE_SWAP, FETCH_ADD.
    AtomicEth(AtomicEthRepr),
    /// ATOMIC ACK.
    AtomicAck(AethRepr, AtomicAckEthRepr),
    /// WRITE ONLY with immediate data.
    RethImm(RethRepr, u32),
    /// SEND LAST and ONLY, WRITE LAST, with immediate data.
    Imm(u32),
    /// SEND LAST and ONLY with the R_Key to invalidate.
    Ieth(u32),
}

impl Extension {
    /// Bytes on the wire.
    pub const fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Reth(_) => RethRepr::LEN,
            Self::Aeth(_) => AethRepr::LEN,
            Self::AtomicEth(_) => AtomicEthRepr::LEN,
            Self::AtomicAck(..) => AethRepr::LEN + AtomicAckEthRepr::LEN,
            Self::RethImm(..) => RethRepr::LEN + ImmDtRepr::LEN,
            Self::Imm(_) => ImmDtRepr::LEN,
            Self::Ieth(_) => IethRepr::LEN,
        }
    }

    /// Whether there is no extension header at all.
    pub const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    fn emit(&self, out: &mut Writer<'_>) -> Option<()> {
        match *self {
            Self::None => Some(()),
            Self::Reth(reth) => out.reth(reth),
            Self::Aeth(aeth) => out.aeth(aeth),
            Self::AtomicEth(atomic) => out.atomic_eth(atomic),
            Self::AtomicAck(aeth, original) => {
                out.aeth(aeth)?;
                out.atomic_ack_eth(original)
            }
            Self::RethImm(reth, immediate) => {
                out.reth(reth)?;
                out.imm_dt(ImmDtRepr { immediate })
            }
            Self::Imm(immediate) => out.imm_dt(ImmDtRepr { immediate }),
            Self::Ieth(remote_key) => out.ieth(IethRepr { remote_key }),
        }
    }
}

/// Bytes of the whole frame, from the Ethernet header to the ICRC. The IP version is that of
/// the path's source.
pub fn frame_len(path: &Path, ext: &Extension, payload_len: usize) -> usize {
    (EthernetRepr::LEN + ip_header_len(path)).saturating_add(datagram_len(ext, payload_len))
}

const fn ip_header_len(path: &Path) -> usize {
    if path.source.is_ipv4() { Ipv4Repr::LEN } else { Ipv6Repr::LEN }
}

const fn datagram_len(ext: &Extension, payload_len: usize) -> usize {
    let headers = UdpRepr::LEN + BthRepr::LEN + ext.len();
    (headers + icrc::LEN).saturating_add(payload_len).saturating_add(pad_len(payload_len))
}

/// Bytes that fill the last word.
const fn pad_len(payload_len: usize) -> usize {
    payload_len.wrapping_neg() % 4
}

/// Writes a whole frame to the start of `out`, and returns its length in bytes.
///
/// Lengths, pad count (whatever `bth` has there) and IPv4 checksum follow from the rest; the UDP
/// checksum is 0 (none), the flow label of IPv6 is 0, IPv4 is marked "don't fragment", and the
/// ICRC is right. `None` if `out` is too small, if the packet is longer than IP allows, or if
/// source and destination are not of one IP version.
pub fn build(
    path: &Path,
    bth: &BthRepr,
    ext: &Extension,
    payload: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let frame = out.get_mut(..frame_len(path, ext, payload.len()))?;
    let pad = pad_len(payload.len());
    let len = frame.len();

    let mut writer = Writer { left: frame };
    writer.path(path, datagram_len(ext, payload.len()))?;
    writer.bth(BthRepr { pad_count: pad as u8, ..*bth })?;
    ext.emit(&mut writer)?;
    writer.take(payload.len())?.copy_from_slice(payload);
    writer.take(pad)?.fill(0);

    let covered = frame.get(EthernetRepr::LEN..len - icrc::LEN)?;
    let crc = icrc::of_packet(covered, if path.source.is_ipv4() { 4 } else { 6 });
    icrc::put(crc, frame, len - icrc::LEN);
    Some(len)
}

/// Writes a whole frame with a message of the communication manager to the start of `out`, and
/// returns its length in bytes; see [`build`].
pub fn build_cm(path: &Path, psn: Psn, mad: &CmMad, out: &mut [u8]) -> Option<usize> {
    let mut datagram = [0; DethRepr::LEN + MAD_LEN];
    let deth = DethRepr { queue_key: GENERAL_SERVICES_QUEUE_KEY, source_qp: GENERAL_SERVICES_QP };
    deth.emit(&mut Deth::new_checked(&mut datagram[..]).ok()?);
    datagram.get_mut(DethRepr::LEN..)?.copy_from_slice(&mad.to_bytes());
    let bth = BthRepr {
        opcode: Opcode::SendOnly,
        solicited: false,
        migration_request: false,
        pad_count: 0,
        partition_key: 0xffff,
        fecn: false,
        becn: false,
        dest_qp: GENERAL_SERVICES_QP,
        ack_request: false,
        psn,
    };
    let len = build(path, &bth, &Extension::None, &datagram, out)?;
    // An RC SEND differs from an unreliable datagram in its opcode only.
    set_opcode(path, UD_SEND_ONLY, out.get_mut(..len)?)
}

/// Writes a congestion notification for `dest_qp` (RoCEv2 annex A17.9.3) to the start of `out`, and
/// returns its length in bytes; see [`build`].
pub fn build_cnp(path: &Path, bth: &BthRepr, out: &mut [u8]) -> Option<usize> {
    let bth = BthRepr { opcode: Opcode::SendOnly, becn: true, psn: Psn::new(0), ..*bth };
    let len = build(path, &bth, &Extension::None, &[0; CNP_PAYLOAD], out)?;
    set_opcode(path, CNP, out.get_mut(..len)?)
}

/// Gives a frame just made an opcode of another transport. Returns its length in bytes.
fn set_opcode(path: &Path, opcode: u8, frame: &mut [u8]) -> Option<usize> {
    let (len, ip) = (frame.len(), EthernetRepr::LEN);
    let bth_at = ip + ip_header_len(path) + UdpRepr::LEN;
    Bth::new_checked(frame.get_mut(bth_at..)?).ok()?.set_opcode(opcode);
    let covered = frame.get(ip..len - icrc::LEN)?;
    let crc = icrc::of_packet(covered, if path.source.is_ipv4() { 4 } else { 6 });
    icrc::put(crc, frame, len - icrc::LEN);
    Some(len)
}

/// Writes one header after the other.
struct Writer<'a> {
    /// What is still to be written.
    left: &'a mut [u8],
}

/// Defines a method that writes one kind of header.
macro_rules! header_writers {
    ($($name:ident: $repr:ident, $view:ident;)*) => {
        $(
            fn $name(&mut self, repr: $repr) -> Option<()> {
                let mut view = $view::new_checked(self.take($repr::LEN)?).ok()?;
                repr.emit(&mut view);
                Some(())
            }
        )*
    };
}

impl<'a> Writer<'a> {
    header_writers! {
        ethernet: EthernetRepr, Ethernet;
        ipv4: Ipv4Repr, Ipv4;
        ipv6: Ipv6Repr, Ipv6;
        udp: UdpRepr, Udp;
        bth: BthRepr, Bth;
        reth: RethRepr, Reth;
        aeth: AethRepr, Aeth;
        atomic_eth: AtomicEthRepr, AtomicEth;
        atomic_ack_eth: AtomicAckEthRepr, AtomicAckEth;
        imm_dt: ImmDtRepr, ImmDt;
        ieth: IethRepr, Ieth;
    }

    /// The next `len` bytes of the frame.
    fn take(&mut self, len: usize) -> Option<&'a mut [u8]> {
        let (taken, left) = core::mem::take(&mut self.left).split_at_mut_checked(len)?;
        self.left = left;
        Some(taken)
    }

    /// Writes everything before the BTH.
    fn path(&mut self, path: &Path, datagram_len: usize) -> Option<()> {
        let ethertype = if path.source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        self.ethernet(EthernetRepr {
            destination: path.destination_mac,
            source: path.source_mac,
            tag: None,
            ethertype,
        })?;
        match (path.source, path.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.ipv4(Ipv4Repr {
                traffic_class: path.traffic_class,
                total_length: u16::try_from(Ipv4Repr::LEN + datagram_len).ok()?,
                identification: path.identification,
                dont_fragment: true,
                hop_limit: path.hop_limit,
                protocol: PROTOCOL,
                source,
                destination,
            })?,
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6(Ipv6Repr {
                traffic_class: path.traffic_class,
                flow_label: 0,
                payload_length: u16::try_from(datagram_len).ok()?,
                next_header: PROTOCOL,
                hop_limit: path.hop_limit,
                source,
                destination,
            })?,
            _ => return None,
        }
        self.udp(UdpRepr {
            source_port: path.source_port,
            destination_port: ROCE_PORT,
            length: u16::try_from(datagram_len).ok()?,
            checksum: 0,
        })
    }
}
