//! The IPv4 header without options (RFC 791), and its checksum (RFC 1071).

use core::net::Ipv4Addr;

use super::error::{Error, Header};
use super::fields::{Field, header_view};

/// Version 4, five words of header.
pub(super) const VERSION_AND_LENGTH: u8 = 0x45;
/// The "don't fragment" flag.
pub(super) const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" and the fragment's offset: not all zero in any fragment.
pub(super) const FRAGMENT: u16 = 0x3fff;
/// Offset of the checksum in the header.
const CHECKSUM_AT: usize = 10;

header_view! {
    /// View of an IPv4 header.
    Ipv4, Ipv4, Ipv4Repr::LEN;
    /// Version (4 bits) and header length in 4-byte words (4 bits).
    version_and_length, set_version_and_length: u8 = 0;
    /// DSCP (6 bits) and ECN (2 bits).
    traffic_class, set_traffic_class: u8 = 1;
    /// Bytes of the packet with this header.
    total_length, set_total_length: u16 = 2;
    /// Identification, which only fragments use.
    identification, set_identification: u16 = 4;
    /// Flags (3 bits) and fragment offset in 8-byte units (13 bits).
    flags_and_offset, set_flags_and_offset: u16 = 6;
    /// Time to live.
    hop_limit, set_hop_limit: u8 = 8;
    /// What follows the header; 17 is UDP.
    protocol, set_protocol: u8 = 9;
    /// Header checksum.
    checksum, set_checksum: u16 = CHECKSUM_AT;
    /// Source address.
    source, set_source: Ipv4Addr = 12;
    /// Destination address.
    destination, set_destination: Ipv4Addr = 16;
}

impl<T: AsRef<[u8]>> Ipv4<T> {
    /// IP version, 4 if all is well.
    #[inline]
    pub fn version(&self) -> u8 {
        self.version_and_length() >> 4
    }

    /// Bytes of the header with its options, `0..=60`.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_and_length() & 0x0f) * 4
    }

    /// Whether this is a part of a fragmented packet.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.flags_and_offset() & FRAGMENT != 0
    }
}

/// The content of an IPv4 header without options, of a packet that is no fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Repr {
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
    /// Bytes of the packet with this header.
    pub total_length: u16,
    /// Identification.
    pub identification: u16,
    /// Routers must not fragment this packet.
    pub dont_fragment: bool,
    /// Time to live.
    pub hop_limit: u8,
    /// What follows the header.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

impl Ipv4Repr {
    /// Bytes of the header.
    pub const LEN: usize = 20;

    /// Reads the header; refuses other versions, options and fragments. The checksum is not
    /// looked at: [`checksum`] is 0 over a header with a right one.
    pub fn parse<T: AsRef<[u8]>>(view: &Ipv4<T>) -> Result<Self, Error> {
        let unexpected = |field, found, expected| {
            Err(Error::unexpected(Header::Ipv4, field, u64::from(found), expected))
        };
        if view.version_and_length() != VERSION_AND_LENGTH {
            let found = u16::from(view.version_and_length());
            return unexpected("version and length", found, "69 (version 4, no options)");
        }
        if view.is_fragment() {
            return unexpected("flags and offset", view.flags_and_offset(), "a whole packet's");
        }
        Ok(Self {
            traffic_class: view.traffic_class(),
            total_length: view.total_length(),
            identification: view.identification(),
            dont_fragment: view.flags_and_offset() & DONT_FRAGMENT != 0,
            hop_limit: view.hop_limit(),
            protocol: view.protocol(),
            source: view.source(),
            destination: view.destination(),
        })
    }

    /// Writes the header with its checksum.
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, view: &mut Ipv4<T>) {
        view.set_version_and_length(VERSION_AND_LENGTH);
        view.set_traffic_class(self.traffic_class);
        view.set_total_length(self.total_length);
        view.set_identification(self.identification);
        view.set_flags_and_offset(if self.dont_fragment { DONT_FRAGMENT } else { 0 });
        view.set_hop_limit(self.hop_limit);
        view.set_protocol(self.protocol);
        view.set_source(self.source);
        view.set_destination(self.destination);
        if let Some(header) = view.bytes.as_mut().get_mut(..Self::LEN) {
            fill_checksum(header);
        }
    }
}

/// The Internet checksum over `header` as it stands: 0 if the checksum in it is right, and the
/// value to put there if it holds 0 now.
pub fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |&byte| u64::from(byte) << 8);
    let sum: u64 = words.map(|word| u64::from(u16::get(word, 0))).sum();
    !fold(sum + odd)
}

/// Computes and stores the checksum of an IPv4 header, whatever it held before. `header` is the
/// header alone; one too short to have a checksum stays as it is.
pub fn fill_checksum(header: &mut [u8]) {
    0_u16.put(header, CHECKSUM_AT);
    checksum(header).put(header, CHECKSUM_AT);
}

/// Adds the carries back in until 16 bits are left (one's complement sum).
const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
