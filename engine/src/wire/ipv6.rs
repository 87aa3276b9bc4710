//! The IPv6 header without extension headers (RFC 8200).

use core::net::Ipv6Addr;

use super::error::{Error, Header};
use super::fields::header_view;

/// The flow label's 20 bits in the header's first word.
const FLOW_LABEL: u32 = 0x000f_ffff;

header_view! {
    /// View of an IPv6 header.
    Ipv6, Ipv6, Ipv6Repr::LEN;
    /// Version (4 bits), traffic class (8 bits) and flow label (20 bits).
    version_class_flow, set_version_class_flow: u32 = 0;
    /// Bytes of the packet after this header.
    payload_length, set_payload_length: u16 = 4;
    /// What follows the header; 17 is UDP.
    next_header, set_next_header: u8 = 6;
    /// Hops left.
    hop_limit, set_hop_limit: u8 = 7;
    /// Source address.
    source, set_source: Ipv6Addr = 8;
    /// Destination address.
    destination, set_destination: Ipv6Addr = 24;
}

impl<T: AsRef<[u8]>> Ipv6<T> {
    /// IP version, 6 if all is well.
    #[inline]
    pub fn version(&self) -> u8 {
        (self.version_class_flow() >> 28) as u8
    }

    /// DSCP (6 bits) and ECN (2 bits).
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow() >> 20) as u8
    }

    /// Flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow() & FLOW_LABEL
    }
}

/// An IPv6 header's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Repr {
    /// DSCP (6 bits) and ECN (2 bits).
    pub traffic_class: u8,
    /// Flow label; the low 20 bits count.
    pub flow_label: u32,
    /// Bytes of the packet after this header.
    pub payload_length: u16,
    /// What follows the header.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
}

impl Ipv6Repr {
    /// Bytes of the header.
    pub const LEN: usize = 40;

    /// Reads the header; refuses other versions.
    pub fn parse<T: AsRef<[u8]>>(view: &Ipv6<T>) -> Result<Self, Error> {
        if view.version() != 6 {
            let found = u64::from(view.version());
            return Err(Error::unexpected(Header::Ipv6, "version", found, "6"));
        }
        Ok(Self {
            traffic_class: view.traffic_class(),
            flow_label: view.flow_label(),
            payload_length: view.payload_length(),
            next_header: view.next_header(),
            hop_limit: view.hop_limit(),
            source: view.source(),
            destination: view.destination(),
        })
    }

    /// Writes the header.
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, view: &mut Ipv6<T>) {
        let class = u32::from(self.traffic_class) << 20;
        view.set_version_class_flow(6 << 28 | class | (self.flow_label & FLOW_LABEL));
        view.set_payload_length(self.payload_length);
        view.set_next_header(self.next_header);
        view.set_hop_limit(self.hop_limit);
        view.set_source(self.source);
        view.set_destination(self.destination);
    }
}
