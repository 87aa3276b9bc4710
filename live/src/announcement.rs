//! A frame that switches learn an address from, and that nobody answers.

/// Bytes of the shortest frame, without frame check sequence.
const LEN: usize = 60;

/// A reverse ARP request for an address by itself (RFC 903), to everybody: QEMU's machines say the
/// same after they were moved.
#[must_use]
pub fn announcement(address: [u8; 6], tag: Option<u16>) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(address);
    if let Some(tag) = tag {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend([0x80, 0x35]);
    // Ethernet, IPv4, the lengths of their addresses, request reverse.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 3]);
    for whose in [address; 2] {
        frame.extend(whose);
        frame.extend([0; 4]);
    }
    frame.resize(LEN.max(frame.len()), 0);
    frame
}
