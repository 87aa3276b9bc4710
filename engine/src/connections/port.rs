//! The UDP source port that drivers derive from a connection's two queue pair numbers.

use crate::wire::Qpn;

/// The lowest port of the range that RoCEv2 source ports are taken from
/// (`IB_ROCE_UDP_ENCAP_VALID_PORT_MIN`).
const PORT_MIN: u16 = 0xc000;

/// The source port of both directions of a connection between queue pairs `one` and `other`,
/// `0xc000..=0xffff`, unless something else was configured.
///
/// This is Linux' `rdma_calc_flow_label` followed by `rdma_flow_label_to_udp_sport`
/// (`include/rdma/ib_verbs.h`), which soft-RoCE and mlx5 use. The order of the arguments does not
/// matter.
#[inline]
pub const fn symmetric_port(one: Qpn, other: Qpn) -> u16 {
    let mut label = one.value() as u64 * other.value() as u64;
    label ^= label >> 20;
    label ^= label >> 40;
    // A flow label has 20 bits, a port of the range 14: the top 6 are folded into the rest.
    let low = (label & 0x0_3fff) as u16;
    let high = ((label & 0xf_c000) >> 14) as u16;
    (low ^ high) | PORT_MIN
}
