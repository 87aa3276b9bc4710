//! The IP addresses of a frame, whatever else it carries.

use std::net::IpAddr;

/// Where the type of what an Ethernet frame carries is.
pub(crate) const ETHERTYPE: usize = 12;
/// Most VLAN tags in front of it.
pub(crate) const TAGS_MAX: usize = 2;
/// The protocol number of UDP.
const UDP: u8 = 17;
/// The UDP port of RoCEv2, as it stands in a packet (IBTA vol. 1, A17.3.2).
const ROCE_PORT: [u8; 2] = 4791_u16.to_be_bytes();

/// From whom a frame is, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
}

impl Addresses {
    /// Those of an IPv4 or IPv6 packet behind at most two VLAN tags.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Addresses> {
        match packet(frame)? {
            (4, packet) => pair::<4>(packet, 12),
            (_, packet) => pair::<16>(packet, 8),
        }
    }

    /// Those of a RoCEv2 packet, as far as its ports tell.
    #[must_use]
    pub fn of_roce(frame: &[u8]) -> Option<Addresses> {
        let (version, packet) = packet(frame)?;
        let (protocol, header) = match version {
            4 => (*packet.get(9)?, usize::from(packet.first()? & 0xf) * 4),
            _ => (*packet.get(6)?, 40),
        };
        let port = packet.get(header + 2..header + 4)?;
        (protocol == UDP && port == ROCE_PORT).then(|| Addresses::of(frame))?
    }
}

/// The IP packet in a frame, and the version that its type says.
fn packet(frame: &[u8]) -> Option<(u8, &[u8])> {
    let mut at = ETHERTYPE;
    for _ in 0..=TAGS_MAX {
        let bytes: [u8; 2] = frame.get(at..at + 2)?.try_into().ok()?;
        let packet = frame.get(at + 2..)?;
        match u16::from_be_bytes(bytes) {
            0x8100 | 0x88a8 => at += 4,
            0x0800 => return Some((4, packet)),
            0x86dd => return Some((6, packet)),
            _ => return None,
        }
    }
    None
}

/// Two addresses of `N` bytes, one behind the other.
fn pair<const N: usize>(header: &[u8], at: usize) -> Option<Addresses>
where
    IpAddr: From<[u8; N]>,
{
    let one = |at: usize| {
        let bytes: [u8; N] = header.get(at..at + N)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    Some(Addresses { source: one(at)?, destination: one(at + N)? })
}
