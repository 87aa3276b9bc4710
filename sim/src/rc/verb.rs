//! What a client asks for, and what it gets.

use qpmux_engine::wire::Psn;

/// A work request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// RDMA WRITE.
    Write {
        /// Remote address of the first byte.
        address: u64,
        /// Remote key.
        rkey: u32,
        /// The bytes to store; any number, even none.
        data: Vec<u8>,
        /// Immediate data, which uses up a receive buffer of the server.
        immediate: Option<u32>,
    },
    /// RDMA READ.
    Read {
        /// Remote address of the first byte.
        address: u64,
        /// Remote key.
        rkey: u32,
        /// Number of bytes, `0..=2^31`.
        length: u32,
    },
    /// Atomic compare-and-swap of a 64-bit word.
    CompareSwap {
        /// Remote address, a multiple of 8.
        address: u64,
        /// Remote key.
        rkey: u32,
        /// Value the word has to have.
        compare: u64,
        /// Value to store if it has.
        swap: u64,
    },
    /// Atomic fetch-and-add on a 64-bit word.
    FetchAdd {
        /// Remote address, a multiple of 8.
        address: u64,
        /// Remote key.
        rkey: u32,
        /// Value to add.
        add: u64,
    },
    /// SEND, which uses up a receive buffer of the server.
    Send {
        /// The message.
        data: Vec<u8>,
        /// Immediate data.
        immediate: Option<u32>,
    },
}

impl Verb {
    /// A WRITE without immediate data.
    pub fn write(address: u64, rkey: u32, data: &[u8]) -> Self {
        Self::Write { address, rkey, data: data.to_vec(), immediate: None }
    }

    /// PSNs it takes on a connection with this path MTU: one per packet of its payload or of its
    /// answer (IBTA vol. 1, 9.7.2), at least one.
    pub fn psns(&self, pmtu: usize) -> u32 {
        let bytes = match self {
            Self::Write { data, .. } | Self::Send { data, .. } => data.len(),
            Self::Read { length, .. } => *length as usize,
            Self::CompareSwap { .. } | Self::FetchAdd { .. } => 0,
        };
        bytes.div_ceil(pmtu.max(1)).max(1) as u32
    }

    /// Whether it takes a place among the READs and atomics in flight.
    pub fn is_read_or_atomic(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::CompareSwap { .. } | Self::FetchAdd { .. })
    }
}

/// Names a posted verb: its place among all verbs posted to one requester, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerbId(pub u64);

/// How a verb ended, as a work completion says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Success,
    /// NAK, invalid request.
    RemoteInvalidRequest,
    /// NAK, remote access error.
    RemoteAccess,
    /// NAK, remote operational error or another fatal code.
    RemoteOperational,
    /// No answer within all retries.
    RetryExceeded,
    /// Receiver not ready within all retries.
    RnrRetryExceeded,
    /// Never done: an earlier verb ended in an error.
    Flushed,
}

/// What a verb brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: WRITE, SEND, or an error.
    None,
    /// The bytes of a READ.
    Read(Vec<u8>),
    /// The word before an atomic.
    Atomic(u64),
}

/// The end of a verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which verb.
    pub id: VerbId,
    /// Its first PSN; `None` if it was never sent.
    pub psn: Option<Psn>,
    /// Whether it was done.
    pub status: Status,
    /// What it brought.
    pub outcome: Outcome,
    /// Virtual time of its first packet, ns; `None` if it was never sent.
    pub sent_at: Option<u64>,
    /// Virtual time of the completion, ns.
    pub completed_at: u64,
}
