//! Frames that switches learn addresses from, and that nobody answers.

use qpmux_engine::Side;

/// Bytes of the shortest frame, without frame check sequence.
const LEN: usize = 60;

/// An Ethernet address that frames of one side come from, and the other side sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The side that has to know where it is: the other one's.
    pub told: Side,
    /// The address.
    pub mac: [u8; 6],
    /// The VLAN tag of its frames.
    pub tag: Option<u16>,
}

/// Bytes of an address in a message.
pub const ADDRESS_LEN: usize = 10;

impl Address {
    /// Where a frame that came in on `side` is from.
    #[must_use]
    pub fn of(side: Side, frame: &[u8]) -> Option<Address> {
        let mac: [u8; 6] = *frame.get(6..)?.first_chunk()?;
        let kind = frame.get(12..)?.first_chunk::<4>()?;
        let tag = (kind[..2] == [0x81, 0x00]).then(|| u16::from_be_bytes([kind[2], kind[3]]));
        // Groups send nothing. Of a tag only the network counts, not the priority.
        let tag = tag.map(|tag| tag & 0xfff);
        (mac[0] & 1 == 0).then_some(Address { told: side.opposite(), mac, tag })
    }

    /// As a message has it.
    #[must_use]
    pub fn bytes(&self) -> [u8; ADDRESS_LEN] {
        let mut bytes = [0; ADDRESS_LEN];
        bytes[0] = u8::from(self.told == Side::Server);
        bytes[1] = u8::from(self.tag.is_some());
        bytes[2..4].copy_from_slice(&self.tag.unwrap_or(0).to_be_bytes());
        bytes[4..].copy_from_slice(&self.mac);
        bytes
    }

    /// From a message.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Address> {
        let [side, tagged, a, b, mac @ ..] = *bytes.as_array::<ADDRESS_LEN>()?;
        let told = if side == 0 { Side::Client } else { Side::Server };
        Some(Address { told, mac, tag: (tagged != 0).then(|| u16::from_be_bytes([a, b])) })
    }

    /// A reverse ARP request for an address by itself (RFC 903), to everybody: QEMU's machines say
    /// the same after they were moved.
    #[must_use]
    pub fn announcement(&self) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend(self.mac);
        if let Some(tag) = self.tag {
            frame.extend([0x81, 0x00]);
            frame.extend(tag.to_be_bytes());
        }
        frame.extend([0x80, 0x35]);
        // Ethernet, IPv4, the lengths of their addresses, request reverse.
        frame.extend([0, 1, 8, 0, 6, 4, 0, 3]);
        for whose in [self.mac; 2] {
            frame.extend(whose);
            frame.extend([0; 4]);
        }
        frame.resize(LEN.max(frame.len()), 0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_heard_is_announced_on_the_other_side() {
        let mut frame = [0; 64];
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        frame[12..16].copy_from_slice(&[0x81, 0x00, 0x60, 0x05]);
        let address = Address::of(Side::Client, &frame).unwrap();
        assert_eq!(address, Address { told: Side::Server, mac: [2, 0, 0, 0, 0, 7], tag: Some(5) });
        assert_eq!(Address::read(&address.bytes()), Some(address));
        let announced = address.announcement();
        assert_eq!(announced.len(), 60);
        // A switch learns the same address, in the same network, from the other side.
        let learnt = Address::of(Side::Server, &announced).unwrap();
        assert_eq!(learnt, Address { told: Side::Client, ..address });
        frame[6] = 1;
        assert_eq!(Address::of(Side::Client, &frame), None);
    }
}
