//! What is told from software to software.

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    /// The other end.
    pub(super) fn peer(self) -> Self {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// A packet of a call or a connection. Of its payload only the length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// The pair of threads that it is between.
    pub(super) route: u32,
    /// The call or connection that it belongs to, and which one that used this place.
    pub(super) flow: u32,
    pub(super) generation: u32,
    /// The end that it is for.
    pub(super) to: Side,
    /// The operation that it is part of, for accounts of time.
    pub(super) op: u32,
    /// Bytes of payload.
    pub(super) bytes: u32,
    pub(super) body: Body,
}

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Part `number` of a message or stream, the last one of its message or not; all parts of the
    /// other direction before `ack` have come.
    Data { number: u32, is_last: bool, ack: u32 },
    /// All parts before `next` have come.
    Ack { next: u32 },
    /// The same, and what comes from there on is to be sent again.
    Resend { next: u32 },
}

/// Packets that a message of so many bytes takes.
pub(super) fn packets(bytes: u64, mtu: usize) -> u32 {
    bytes.div_ceil(mtu.max(1) as u64).max(1) as u32
}

/// Bytes of a message's part `number`.
pub(super) fn part_bytes(bytes: u64, mtu: usize, number: u32) -> u32 {
    let before = u64::from(number) * mtu as u64;
    bytes.saturating_sub(before).min(mtu as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::{packets, part_bytes};

    #[test]
    fn parts_make_up_their_message() {
        for bytes in [0, 1, 1_023, 1_024, 1_025, 1_000_000] {
            let count = packets(bytes, 1_024);
            let sum: u64 = (0..count).map(|n| u64::from(part_bytes(bytes, 1_024, n))).sum();
            assert_eq!(sum, bytes);
            assert!(count == 1 || part_bytes(bytes, 1_024, count - 1) > 0);
        }
    }
}
