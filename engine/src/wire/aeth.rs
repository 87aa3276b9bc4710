//! The ACK extended transport header, 4 bytes: how a request went (IBTA vol. 1, 9.3 and 9.7.5).

use super::error::Error;
use super::fields::header_view;
use super::psn::Msn;

header_view! {
    /// View of an ACK extended transport header.
    Aeth, Aeth, AethRepr::LEN;
    /// Syndrome; see [`Syndrome::from_byte`].
    syndrome, set_syndrome: u8 = 0;
    /// Message sequence number: requests that the responder has completed.
    msn, set_msn: Msn = 1;
}

/// An ACK extended transport header's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AethRepr {
    /// How the request went.
    pub syndrome: Syndrome,
    /// Message sequence number: requests that the responder has completed.
    pub msn: Msn,
}

impl AethRepr {
    /// Bytes of the header.
    pub const LEN: usize = 4;

    /// Reads the header. It never fails: an unknown syndrome is [`Syndrome::Reserved`].
    #[inline]
    pub fn parse<T: AsRef<[u8]>>(view: &Aeth<T>) -> Result<Self, Error> {
        Ok(Self { syndrome: Syndrome::from_byte(view.syndrome()), msn: view.msn() })
    }

    /// Writes the header.
    #[inline]
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, view: &mut Aeth<T>) {
        view.set_syndrome(self.syndrome.to_byte());
        view.set_msn(self.msn);
    }
}

/// The low five bits of a syndrome.
const VALUE: u8 = 0x1f;
const ACK: u8 = 0x00;
const RNR_NAK: u8 = 0x20;
const NAK: u8 = 0x60;

/// How a request went (IBTA vol. 1, 9.7.5.2, tables 43 to 46).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Syndrome {
    /// Done, and all before it.
    Ack {
        /// Coded count of receive buffers that are left, `0..=31`; 31 says "no limit".
        credits: u8,
    },
    /// The receiver was not ready: no buffer for a SEND. To be sent again.
    RnrNak {
        /// Coded time to wait first, `0..=31`; see [`rnr_delay_ns`].
        timer: u8,
    },
    /// Refused.
    Nak(NakCode),
    /// Any byte that has no meaning.
    Reserved(u8),
}

impl Syndrome {
    /// What the byte in the header means.
    #[inline]
    pub const fn from_byte(byte: u8) -> Self {
        let value = byte & VALUE;
        match byte & !VALUE {
            ACK => Self::Ack { credits: value },
            RNR_NAK => Self::RnrNak { timer: value },
            NAK => match NakCode::from_value(value) {
                Some(code) => Self::Nak(code),
                None => Self::Reserved(byte),
            },
            _ => Self::Reserved(byte),
        }
    }

    /// The byte in the header, [`Self::from_byte`] reversed. Of credits and timer the low five
    /// bits count.
    #[inline]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Ack { credits } => ACK | (credits & VALUE),
            Self::RnrNak { timer } => RNR_NAK | (timer & VALUE),
            Self::Nak(code) => NAK | code as u8,
            Self::Reserved(byte) => byte,
        }
    }
}

/// Why a request was refused. All but [`NakCode::PsnSequence`] end the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum NakCode {
    /// A packet is missing: send from this PSN on.
    PsnSequence = 0,
    /// The request is malformed or not supported.
    InvalidRequest = 1,
    /// The request has no right to this memory.
    RemoteAccess = 2,
    /// The responder failed.
    RemoteOperational = 3,
    /// Reliable datagram only.
    InvalidRdRequest = 4,
}

impl NakCode {
    const fn from_value(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::PsnSequence,
            1 => Self::InvalidRequest,
            2 => Self::RemoteAccess,
            3 => Self::RemoteOperational,
            4 => Self::InvalidRdRequest,
            _ => return None,
        })
    }
}

/// Nanoseconds that a requester waits at least after an RNR NAK with this timer code (IBTA
/// vol. 1, table 45). The low five bits of `timer` count; code 0 is the longest time.
pub const fn rnr_delay_ns(timer: u8) -> u64 {
    /// In units of 10 microseconds.
    const DELAYS: [u32; 32] = [
        65_536, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024,
        1_536, 2_048, 3_072, 4_096, 6_144, 8_192, 12_288, 16_384, 24_576, 32_768, 49_152,
    ];
    // Masked to 0..=31, the index is in range.
    DELAYS[(timer & VALUE) as usize] as u64 * 10_000
}
