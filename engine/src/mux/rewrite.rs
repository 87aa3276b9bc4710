//! In place: a request becomes one of another queue pair's, a response one of its client's.

use crate::policy::{Endpoint, PathFacts};
use crate::wire::facts::{Facts, Renewed};
use crate::wire::{
    Aeth, AethRepr, Bth, Ethernet, Ipv4, Ipv6, Layout, PatchTables, Psn, Qpn, Udp, ipv4, set_tag,
};
use core::net::IpAddr;

/// Longest IP, UDP, BTH and AETH together, in bytes.
const HEADERS_MAX: usize = 40 + 8 + 12 + 4;

/// What a packet becomes.
pub(crate) struct Become<'a> {
    pub(crate) source: &'a Endpoint,
    pub(crate) destination: &'a Endpoint,
    pub(crate) path: &'a PathFacts,
    pub(crate) dest_qp: Qpn,
    pub(crate) psn: Psn,
    pub(crate) ack_request: bool,
    /// The new AETH, where the packet has one.
    pub(crate) aeth: Option<AethRepr>,
    /// A congestion mark stays (RFC 3168).
    pub(crate) keeps_mark: bool,
    /// What is in common of the packets that it was one of, and of those that it becomes one of.
    pub(crate) facts: Option<(&'a Facts, &'a Facts)>,
}

/// Rewrites the headers and patches the ICRC, so that a packet that was corrupt stays corrupt.
/// The payload is not touched and the length stays. `false` if the frame does not hold what
/// `layout` says.
pub(crate) fn rewrite(
    tables: &PatchTables,
    frame: &mut [u8],
    layout: &Layout,
    to: &Become<'_>,
) -> bool {
    rewrite_usual(tables, frame, layout, to).is_some() || rewrite_any(tables, frame, layout, to)
}

/// [`rewrite`] of a usual packet; `None`, and nothing is done, if it is not one.
fn rewrite_usual(
    tables: &PatchTables,
    frame: &mut [u8],
    layout: &Layout,
    to: &Become<'_>,
) -> Option<()> {
    let (from, facts) = to.facts?;
    let usual =
        layout.is_usual() && to.keeps_mark && from.are_all_of(frame.first_chunk()?, layout.opcode);
    let new = Renewed { psn: to.psn, ack_request: to.ack_request, aeth: to.aeth };
    usual.then(|| facts.put(from, tables, frame, layout.icrc.into(), &new))?
}

fn rewrite_any(tables: &PatchTables, frame: &mut [u8], layout: &Layout, to: &Become<'_>) -> bool {
    let ip = usize::from(layout.ip);
    let bth = usize::from(layout.bth);
    let headers_end = bth + 12 + if to.aeth.is_some() { 4 } else { 0 };
    let mut old = [0; HEADERS_MAX];
    let (Some(old), Some(now)) = (old.get_mut(..headers_end - ip), frame.get(ip..headers_end))
    else {
        return false;
    };
    old.copy_from_slice(now);
    let rewritten = rewrite_addresses(frame, layout, to)
        && rewrite_transport(frame, bth, to)
        && to.aeth.is_none_or(|aeth| rewrite_aeth(frame, bth, &aeth));
    tables.patch_frame(old, frame, layout);
    rewritten
}

fn rewrite_addresses(frame: &mut [u8], layout: &Layout, to: &Become<'_>) -> bool {
    let (ip, udp) = (usize::from(layout.ip), usize::from(layout.udp));
    if let Ok(mut ethernet) = Ethernet::new_checked(&mut *frame) {
        ethernet.set_destination(to.destination.mac);
        ethernet.set_source(to.source.mac);
    }
    if let Some(tag) = to.path.tag {
        set_tag(frame, tag);
    }
    let Some(header) = frame.get_mut(ip..udp) else { return false };
    // The ECN bits stay the packet's own.
    let own = if to.keeps_mark { 3 } else { 0 };
    match (to.source.ip, to.destination.ip) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            if let Ok(mut view) = Ipv4::new_checked(&mut *header) {
                view.set_traffic_class(to.path.traffic_class & !3 | view.traffic_class() & own);
                view.set_hop_limit(to.path.hop_limit);
                view.set_source(source);
                view.set_destination(destination);
            }
            ipv4::fill_checksum(header);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            if let Ok(mut view) = Ipv6::new_checked(&mut *header) {
                let class = to.path.traffic_class & !3 | view.traffic_class() & own;
                let rest = view.version_class_flow() & !(0xff << 20);
                view.set_version_class_flow(rest | u32::from(class) << 20);
                view.set_hop_limit(to.path.hop_limit);
                view.set_source(source);
                view.set_destination(destination);
            }
        }
        _ => return false,
    }
    let Some(header) = frame.get_mut(udp..udp + 8) else { return false };
    let Ok(mut view) = Udp::new_checked(header) else { return false };
    view.set_source_port(to.path.source_port);
    // RoCEv2 allows zero, and senders use it (RoCEv2 annex A17.3.1).
    view.set_checksum(0);
    true
}

fn rewrite_transport(frame: &mut [u8], bth: usize, to: &Become<'_>) -> bool {
    let Some(header) = frame.get_mut(bth..bth + 12) else { return false };
    let Ok(mut view) = Bth::new_checked(header) else { return false };
    view.set_migration_request(to.path.migration_request);
    view.set_partition_key(to.path.partition_key);
    view.set_dest_qp(to.dest_qp);
    view.set_psn(to.psn);
    view.set_ack_request(to.ack_request);
    true
}

fn rewrite_aeth(frame: &mut [u8], bth: usize, aeth: &AethRepr) -> bool {
    let Some(header) = frame.get_mut(bth + 12..bth + 16) else { return false };
    let Ok(mut view) = Aeth::new_checked(header) else { return false };
    aeth.emit(&mut view);
    true
}
