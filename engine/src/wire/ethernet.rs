//! The Ethernet header (IEEE 802.3), with at most one VLAN tag (IEEE 802.1Q).

use super::error::Error;
use super::fields::{Field, header_view};

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType that says a VLAN tag follows.
pub const ETHERTYPE_VLAN: u16 = 0x8100;

/// Bytes of a VLAN tag: 16 bits of tag, and the EtherType of what follows.
const TAG_LEN: usize = 4;

/// Bytes of both addresses, in front of a tag.
const ADDRESSES: usize = 12;

header_view! {
    /// View of an Ethernet header.
    Ethernet, Ethernet, EthernetRepr::LEN;
    /// Destination MAC address.
    destination, set_destination: [u8; 6] = 0;
    /// Source MAC address.
    source, set_source: [u8; 6] = 6;
    /// EtherType at its first place: [`ETHERTYPE_VLAN`] if the frame is tagged.
    outer_ethertype, set_outer_ethertype: u16 = 12;
}

/// An Ethernet header's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EthernetRepr {
    /// Destination MAC address.
    pub destination: [u8; 6],
    /// Source MAC address.
    pub source: [u8; 6],
    /// Priority (3 bits), drop eligible (1) and VLAN (12), if the frame is tagged.
    pub tag: Option<u16>,
    /// What follows the header and the tag.
    pub ethertype: u16,
}

impl EthernetRepr {
    /// Bytes of the header without a tag.
    pub const LEN: usize = 14;

    /// Bytes of the header with the tag, if there is one.
    pub const fn header_len(&self) -> usize {
        if self.tag.is_some() { Self::LEN + TAG_LEN } else { Self::LEN }
    }

    /// Reads the header, through one tag; refuses one that ends within the tag.
    #[inline]
    pub fn parse<T: AsRef<[u8]>>(view: &Ethernet<T>) -> Result<Self, Error> {
        let mut repr = Self {
            destination: view.destination(),
            source: view.source(),
            tag: None,
            ethertype: view.outer_ethertype(),
        };
        if repr.ethertype == ETHERTYPE_VLAN {
            let bytes = view.bytes.as_ref();
            check_tag_fits(bytes)?;
            repr.tag = Some(u16::get(bytes, Self::LEN));
            repr.ethertype = u16::get(bytes, Self::LEN + 2);
        }
        Ok(repr)
    }

    /// Writes the header. A tag is left out where the view is too short for it.
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, view: &mut Ethernet<T>) {
        view.set_destination(self.destination);
        view.set_source(self.source);
        match self.tag {
            Some(tag) if check_tag_fits(view.bytes.as_ref()).is_ok() => {
                view.set_outer_ethertype(ETHERTYPE_VLAN);
                tag.put(view.bytes.as_mut(), Self::LEN);
                self.ethertype.put(view.bytes.as_mut(), Self::LEN + 2);
            }
            _ => view.set_outer_ethertype(self.ethertype),
        }
    }
}

/// Gives a frame of `len` bytes without a tag one, behind its addresses. Returns its length then;
/// `None` if `frame` is too short. The ICRC does not cover it.
pub fn insert_tag(frame: &mut [u8], len: usize, tag: u16) -> Option<usize> {
    let tagged = frame.get_mut(..len + TAG_LEN)?;
    tagged.copy_within(ADDRESSES..len, ADDRESSES + TAG_LEN);
    Ethernet::new_checked(&mut *tagged).ok()?.set_outer_ethertype(ETHERTYPE_VLAN);
    tag.put(tagged, EthernetRepr::LEN);
    Some(len + TAG_LEN)
}

/// Changes the tag of a frame that has one.
pub fn set_tag(frame: &mut [u8], tag: u16) {
    let Ok(view) = Ethernet::new_checked(&mut *frame) else { return };
    if view.outer_ethertype() == ETHERTYPE_VLAN && check_tag_fits(frame).is_ok() {
        tag.put(frame, EthernetRepr::LEN);
    }
}

#[inline]
fn check_tag_fits(bytes: &[u8]) -> Result<(), Error> {
    let need = EthernetRepr::LEN + TAG_LEN;
    if bytes.len() < need {
        let header = super::error::Header::Ethernet;
        return Err(Error::truncated(header, "802.1Q tag", need, bytes.len()));
    }
    Ok(())
}
