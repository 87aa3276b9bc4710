//! Clients on machines of their own, and one server.

use std::net::Ipv4Addr;
use std::ops::Range;

use qpmux_engine::policy::{Connection, Directory, Grant, Policy, Region, Rights};
use qpmux_engine::{DomainId, ServerQpId};
use qpmux_sim::rc::Link;

pub(crate) const PATH_MTU: usize = 256;

/// The connection of a client, as this sees it. Client 0's server queue pair has the lowest number:
/// it hosts first.
pub(crate) fn link(client: u32) -> Link {
    let near = Ipv4Addr::new(10, 0, 1, client as u8 + 1);
    let far = Ipv4Addr::new(10, 0, 0, 9);
    Link { pmtu: PATH_MTU, ..Link::new(near, 0x11 + client, far, 0x100 + client) }
}

/// All may do all with the server's memory, which has this key.
pub(crate) fn directory(
    policy: &Policy,
    connections: Vec<Connection>,
    remote_key: u32,
    memory: Range<u64>,
) -> Directory {
    let Range { start, end } = memory;
    let region = Region { domain: DomainId(0), remote_key, start, end };
    let grant = |id| Grant { server_qp: ServerQpId(id), remote_key, rights: Rights::ALL };
    let grants = (0..connections.len() as u32).map(grant).collect();
    Directory::new(connections, vec![region], grants, policy).unwrap()
}
