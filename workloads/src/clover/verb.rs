//! What a state machine asks of its adapter, and what it gets.

/// A work request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// RDMA WRITE.
    Write {
        /// Remote address of the first byte.
        address: u64,
        /// Remote key.
        rkey: u32,
        /// The bytes to store.
        data: Vec<u8>,
    },
    /// RDMA READ.
    Read {
        /// Remote address of the first byte.
        address: u64,
        /// Remote key.
        rkey: u32,
        /// Number of bytes.
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
    /// SEND, which uses up a receive buffer of the other end.
    Send {
        /// The message.
        data: Vec<u8>,
    },
}

/// How a work request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A WRITE or SEND was acknowledged.
    Done,
    /// What a READ brought.
    Read(Vec<u8>),
    /// The word before an atomic.
    Atomic(u64),
    /// In an error.
    Failed,
}

/// Which machine is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The memory node.
    Memory,
    /// The metadata server.
    Metadata,
}

/// Names a work request of a machine until it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which of the machine's contexts asked.
    pub(super) context: u16,
    /// Which of its requests in flight.
    pub(super) part: u8,
}

impl Ticket {
    /// Which of the machine's contexts asked, from 0. A context waits for all that it has asked
    /// for before it asks for more.
    #[must_use]
    pub const fn context(self) -> u16 {
        self.context
    }
}

/// A work request and the queue pair it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// To be given back with the completion.
    pub ticket: Ticket,
    /// Machine at the other end.
    pub to: Peer,
    /// Which of the queue pairs to it, from 0. Posts of one lane are to stay in order.
    pub lane: u16,
    /// What to do.
    pub verb: Verb,
}
