//! The IP addresses of a frame, whatever else it carries.

use std::net::IpAddr;

/// Where the type of what an Ethernet frame carries is.
pub(crate) const ETHERTYPE: usize = 12;
/// Most VLAN tags in front of it.
pub(crate) const TAGS_MAX: usize = 2;

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
        let mut at = ETHERTYPE;
        for _ in 0..=TAGS_MAX {
            let bytes: [u8; 2] = frame.get(at..at + 2)?.try_into().ok()?;
            let header = frame.get(at + 2..)?;
            match u16::from_be_bytes(bytes) {
                0x8100 | 0x88a8 => at += 4,
                0x0800 => return pair::<4>(header, 12),
                0x86dd => return pair::<16>(header, 8),
                _ => return None,
            }
        }
        None
    }
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
