//! The two 4-byte headers that hand a number to the receiver's completion: immediate data and
//! the invalidate extended transport header (IBTA vol. 1, 9.3).

use super::fields::header_repr;

header_repr! {
    /// View of immediate data.
    ImmDt,
    /// Immediate data.
    ImmDtRepr, ImmDt, 4;
    /// The number as it is sent; applications are free in how they read its bytes.
    immediate, set_immediate: u32 = 0;
}

header_repr! {
    /// View of an invalidate extended transport header.
    Ieth,
    /// An invalidate extended transport header's content.
    IethRepr, Ieth, 4;
    /// The R_Key that the receiver is to invalidate.
    remote_key, set_remote_key: u32 = 0;
}
