//! The datagram extended transport header, 8 bytes: who sent an unreliable datagram (IBTA vol. 1,
//! 9.3).

use super::fields::header_repr;
use super::psn::Qpn;

header_repr! {
    /// View of a datagram extended transport header.
    Deth,
    /// A datagram extended transport header's content.
    DethRepr, Deth, 8;
    /// Key of the queue pair that it is for (Q_Key).
    queue_key, set_queue_key: u32 = 0;
    /// The queue pair that sent it.
    source_qp, set_source_qp: Qpn = 5;
}
