//! What is wrong with a frame: the header, the field in it, and the problem.

use core::fmt;

/// A part of a RoCEv2 frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Header {
    /// Ethernet, with its 802.1Q tag.
    Ethernet,
    /// Internet protocol version 4.
    Ipv4,
    /// Internet protocol version 6.
    Ipv6,
    /// User datagram protocol.
    Udp,
    /// Base transport header.
    Bth,
    /// RDMA extended transport header.
    Reth,
    /// ACK extended transport header.
    Aeth,
    /// Atomic extended transport header.
    AtomicEth,
    /// Atomic ACK extended transport header.
    AtomicAckEth,
    /// Immediate data.
    ImmDt,
    /// Invalidate extended transport header.
    Ieth,
    /// Datagram extended transport header.
    Deth,
    /// Header of a management datagram.
    Mad,
    /// The connection manager's REQ.
    CmReq,
    /// The connection manager's MRA.
    CmMra,
    /// The connection manager's REJ.
    CmRej,
    /// The connection manager's REP.
    CmRep,
    /// The connection manager's RTU.
    CmRtu,
    /// The connection manager's DREQ.
    CmDreq,
    /// The connection manager's DREP.
    CmDrep,
    /// What the headers carry, with its pad bytes.
    Payload,
    /// Invariant CRC.
    Icrc,
}

impl Header {
    const fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "Ethernet",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::Udp => "UDP",
            Self::Bth => "BTH",
            Self::Reth => "RETH",
            Self::Aeth => "AETH",
            Self::AtomicEth => "AtomicETH",
            Self::AtomicAckEth => "AtomicAckETH",
            Self::ImmDt => "ImmDt",
            Self::Ieth => "IETH",
            Self::Deth => "DETH",
            Self::Mad => "MAD",
            Self::CmReq => "CM REQ",
            Self::CmMra => "CM MRA",
            Self::CmRej => "CM REJ",
            Self::CmRep => "CM REP",
            Self::CmRtu => "CM RTU",
            Self::CmDreq => "CM DREQ",
            Self::CmDrep => "CM DREP",
            Self::Payload => "payload",
            Self::Icrc => "ICRC",
        }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a frame was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Error {
    /// Where in the frame.
    pub header: Header,
    /// Which field of that header.
    pub field: &'static str,
    /// What is wrong with the field.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Problem {
    /// The bytes end too early.
    Truncated {
        /// Bytes that are needed.
        need: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// The value is none that is allowed.
    Unexpected {
        /// The field's value.
        found: u64,
        /// What would have been allowed.
        expected: &'static str,
    },
    /// The value contradicts another field.
    Mismatch {
        /// The field's value.
        found: u64,
        /// The value that follows from the other field.
        expected: u64,
    },
}

impl Error {
    #[cold]
    pub(super) const fn truncated(
        header: Header,
        field: &'static str,
        need: usize,
        have: usize,
    ) -> Self {
        Self { header, field, problem: Problem::Truncated { need, have } }
    }

    #[cold]
    pub(super) const fn unexpected(
        header: Header,
        field: &'static str,
        found: u64,
        expected: &'static str,
    ) -> Self {
        Self { header, field, problem: Problem::Unexpected { found, expected } }
    }

    #[cold]
    pub(super) const fn mismatch(
        header: Header,
        field: &'static str,
        found: u64,
        expected: u64,
    ) -> Self {
        Self { header, field, problem: Problem::Mismatch { found, expected } }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.header, self.field)?;
        match self.problem {
            Problem::Truncated { need, have } => write!(f, "needs {need} bytes, {have} are left"),
            Problem::Unexpected { found, expected } => write!(f, "{found} is not {expected}"),
            Problem::Mismatch { found, expected } => write!(f, "{found} does not match {expected}"),
        }
    }
}

impl core::error::Error for Error {}
