//! The RDMA extended transport header, 16 bytes: which memory a READ or WRITE is about (IBTA
//! vol. 1, 9.3).

use super::fields::header_repr;

header_repr! {
    /// View of an RDMA extended transport header.
    Reth,
    /// An RDMA extended transport header's content.
    RethRepr, Reth, 16;
    /// First byte of the remote memory.
    virtual_address, set_virtual_address: u64 = 0;
    /// Key of the remote memory region (R_Key).
    remote_key, set_remote_key: u32 = 8;
    /// Bytes of the whole message, of all its packets: `0..=2^31`.
    dma_length, set_dma_length: u32 = 12;
}
