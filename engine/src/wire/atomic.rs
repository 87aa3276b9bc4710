//! The headers of atomic operations (IBTA vol. 1, 9.3): the request's, 28 bytes, and the
//! answer's, 8 bytes.
//!
//! The operands are numbers, sent in network byte order; the responder keeps them in its
//! memory's own order. An RDMA WRITE in contrast stores its bytes as they come.

use super::fields::header_repr;

header_repr! {
    /// View of an atomic extended transport header.
    AtomicEth,
    /// An atomic extended transport header's content.
    AtomicEthRepr, AtomicEth, 28;
    /// First byte of the 8-byte word, a multiple of 8. It lies where a RETH has it.
    virtual_address, set_virtual_address: u64 = 0;
    /// Key of the remote memory region (R_Key). It lies where a RETH has it.
    remote_key, set_remote_key: u32 = 8;
    /// The value to store (COMPARE_SWAP) or to add (FETCH_ADD).
    swap_or_add, set_swap_or_add: u64 = 12;
    /// The value that the word must have for COMPARE_SWAP to store.
    compare, set_compare: u64 = 20;
}

header_repr! {
    /// View of an atomic ACK extended transport header.
    AtomicAckEth,
    /// An atomic ACK extended transport header's content.
    AtomicAckEthRepr, AtomicAckEth, 8;
    /// The word's value before the operation, whether or not it then changed.
    original, set_original: u64 = 0;
}
