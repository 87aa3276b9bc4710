//! What drivers have to be told, and can be told from the configuration.

/// Bytes in front of a frame in a packet socket's ring, at least: header and address, aligned to
/// 16, less the Ethernet header that is put in front of that (packet(7), tpacket2_hdr).
const RING_HEADROOM: usize = 66;
/// What frames of a ring are rounded up to.
const RING_ALIGNMENT: usize = 128;
/// What its blocks consist of.
const PAGE: usize = 4_096;

/// Bytes that a buffer needs behind the longest frame, for the driver to take it for a frame of
/// the ring.
pub(super) const RING_ROOM_AFTER: usize = RING_HEADROOM + RING_ALIGNMENT;

/// The device with what its driver needs for frames of up to `frame_len_max` bytes, and so many
/// queues. Without it, packet sockets cut frames beyond 2 KB, and say nothing.
#[must_use]
pub fn with_defaults(device: &str, frame_len_max: usize, queues: usize) -> String {
    let mut device = device.to_owned();
    if !device.starts_with("net_af_packet") {
        return device;
    }
    if queues > 1 && !device.contains("qpairs=") {
        device = format!("{device},qpairs={queues}");
    }
    if device.contains("framesz=") {
        return device;
    }
    let frame = (frame_len_max + RING_HEADROOM).next_multiple_of(RING_ALIGNMENT);
    // The driver takes a frame to begin where the one before ends, also across blocks: a block is
    // whole frames and whole pages.
    let block = frame * (PAGE / RING_ALIGNMENT);
    format!("{device},framesz={frame},blocksz={block}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_sockets_get_frames_of_the_configured_length() {
        let told = with_defaults("net_af_packet0,iface=eth1", 9_216, 1);
        assert_eq!(told, "net_af_packet0,iface=eth1,framesz=9344,blocksz=299008");
        let several = with_defaults("net_af_packet0,iface=eth1,framesz=2048", 9_216, 2);
        assert_eq!(several, "net_af_packet0,iface=eth1,framesz=2048,qpairs=2");
        for asked in
            ["net_af_packet0,iface=eth1,framesz=2048", "net_pcap0,rx_pcap=a", "0000:03:00.0"]
        {
            assert_eq!(with_defaults(asked, 9_216, 1), asked);
        }
    }
}
