//! The UDP header (RFC 768). RoCEv2 is what is sent to port 4791 (RoCEv2 annex A17).

use super::error::{Error, Header};
use super::fields::header_view;

/// The destination port that makes a datagram RoCEv2.
pub const ROCE_PORT: u16 = 4791;
/// UDP's number in an IP header.
pub const PROTOCOL: u8 = 17;

header_view! {
    /// View of a UDP header.
    Udp, Udp, UdpRepr::LEN;
    /// Source port. RoCEv2 senders vary it per queue pair, for the routers' load sharing.
    source_port, set_source_port: u16 = 0;
    /// Destination port.
    destination_port, set_destination_port: u16 = 2;
    /// Bytes of the datagram with this header.
    length, set_length: u16 = 4;
    /// Checksum; 0 stands for none.
    checksum, set_checksum: u16 = 6;
}

/// A UDP header's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpRepr {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Bytes of the datagram with this header, from 8 on.
    pub length: u16,
    /// Checksum; 0 stands for none.
    pub checksum: u16,
}

impl UdpRepr {
    /// Bytes of the header.
    pub const LEN: usize = 8;

    /// Reads the header; refuses a length that does not even hold it.
    pub fn parse<T: AsRef<[u8]>>(view: &Udp<T>) -> Result<Self, Error> {
        let length = view.length();
        if usize::from(length) < Self::LEN {
            return Err(Error::truncated(Header::Udp, "length", Self::LEN, length.into()));
        }
        Ok(Self {
            source_port: view.source_port(),
            destination_port: view.destination_port(),
            length,
            checksum: view.checksum(),
        })
    }

    /// Writes the header.
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, view: &mut Udp<T>) {
        view.set_source_port(self.source_port);
        view.set_destination_port(self.destination_port);
        view.set_length(self.length);
        view.set_checksum(self.checksum);
    }
}
