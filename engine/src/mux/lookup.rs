//! From addresses and queue pair number to connection: one open-addressed table per direction.

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use crate::policy::{Connection, DirectoryError};
use crate::wire::{Layout, Qpn};

/// Source, destination and destination queue pair of one direction.
pub(crate) type Flow = (IpAddr, IpAddr, Qpn);

const EMPTY: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    source: IpAddr,
    destination: IpAddr,
    dest_qp: Qpn,
    connection: u32,
}

/// Connections by what the packets of one direction carry. At most a quarter full, so that a
/// lookup ends after one or two entries.
pub(crate) struct FlowTable {
    entries: Box<[Entry]>,
    mask: usize,
}

impl FlowTable {
    /// The table of packets towards the servers.
    pub(crate) fn requests(
        connections: &[Connection],
        connections_max: usize,
    ) -> Result<FlowTable, DirectoryError> {
        FlowTable::new(connections, connections_max, request_flow)
    }

    /// The table of packets towards the clients.
    pub(crate) fn responses(
        connections: &[Connection],
        connections_max: usize,
    ) -> Result<FlowTable, DirectoryError> {
        FlowTable::new(connections, connections_max, response_flow)
    }

    fn new(
        connections: &[Connection],
        connections_max: usize,
        flow: impl Fn(&Connection) -> Flow,
    ) -> Result<FlowTable, DirectoryError> {
        let size = (connections.len().max(connections_max) * 4).next_power_of_two().max(16);
        let nowhere = IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);
        let blank = Entry {
            source: nowhere,
            destination: nowhere,
            dest_qp: Qpn::new(0),
            connection: EMPTY,
        };
        let mut table = FlowTable { entries: vec![blank; size].into(), mask: size - 1 };
        for (i, connection) in connections.iter().enumerate() {
            if !table.insert(flow(connection), i as u32) {
                return Err(DirectoryError::Duplicate { connection: i });
            }
        }
        Ok(table)
    }

    /// Adds a flow; `false` if it is there already.
    pub(crate) fn insert(&mut self, flow: Flow, connection: u32) -> bool {
        let (source, destination, dest_qp) = flow;
        let at = self.find(source, destination, dest_qp);
        match self.entries.get_mut(at) {
            Some(entry) if entry.connection == EMPTY => {
                *entry = Entry { source, destination, dest_qp, connection };
                true
            }
            _ => false,
        }
    }

    /// The entry of the flow, or the empty one where it would be.
    fn find(&self, source: IpAddr, destination: IpAddr, dest_qp: Qpn) -> usize {
        let mut at = hash(source, destination, dest_qp) & self.mask;
        while let Some(entry) = self.entries.get(at) {
            if entry.connection == EMPTY
                || (entry.dest_qp == dest_qp
                    && entry.source == source
                    && entry.destination == destination)
            {
                break;
            }
            at = (at + 1) & self.mask;
        }
        at
    }

    /// Takes a flow out. The ones behind it move up, so that none is behind an empty entry.
    pub(crate) fn remove(&mut self, flow: Flow) {
        let (source, destination, dest_qp) = flow;
        let mut hole = self.find(source, destination, dest_qp);
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let Some(&entry) = self.entries.get(at) else { break };
            if entry.connection == EMPTY {
                break;
            }
            let home = hash(entry.source, entry.destination, entry.dest_qp) & self.mask;
            let reaches = at.wrapping_sub(home) & self.mask;
            if reaches >= at.wrapping_sub(hole) & self.mask
                && let Some(cell) = self.entries.get_mut(hole)
            {
                *cell = entry;
                hole = at;
            }
        }
        if let Some(cell) = self.entries.get_mut(hole) {
            cell.connection = EMPTY;
        }
    }

    /// The connection that the packet belongs to.
    pub(crate) fn get(&self, layout: &Layout) -> Option<u32> {
        self.find_flow((layout.source, layout.destination, layout.dest_qp))
    }

    /// The connection of a flow.
    pub(crate) fn find_flow(&self, flow: Flow) -> Option<u32> {
        let (source, destination, dest_qp) = flow;
        let at = self.find(source, destination, dest_qp);
        self.entries.get(at).map(|e| e.connection).filter(|connection| *connection != EMPTY)
    }
}

/// The flow of packets towards the server.
pub(crate) fn request_flow(c: &Connection) -> Flow {
    (c.client.ip, c.server.ip, c.server.qpn)
}

/// The flow of packets towards the client.
pub(crate) fn response_flow(c: &Connection) -> Flow {
    (c.server.ip, c.client.ip, c.client.qpn)
}

fn hash(source: IpAddr, destination: IpAddr, dest_qp: Qpn) -> usize {
    let fold = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() as u64) ^ (ip.to_bits() >> 64) as u64,
    };
    let mixed = (fold(source) ^ fold(destination).rotate_left(32) ^ u64::from(dest_qp.value()))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn flow(i: u32) -> Flow {
        let ip = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n));
        (ip(i % 3), ip(9), Qpn::new(i))
    }

    #[test]
    fn what_is_removed_is_gone_and_the_rest_is_found() {
        let mut table = FlowTable::new(&[], 64, request_flow).unwrap();
        for round in 0..50 {
            for i in 0..64 {
                assert!(table.insert(flow(round * 7 + i), i));
                assert!(!table.insert(flow(round * 7 + i), i));
            }
            for i in (0..64).step_by(2) {
                table.remove(flow(round * 7 + i));
            }
            for i in 0..64 {
                let expected = (i % 2 == 1).then_some(i);
                assert_eq!(table.find_flow(flow(round * 7 + i)), expected, "round {round}, {i}");
            }
            for i in (1..64).step_by(2) {
                table.remove(flow(round * 7 + i));
            }
        }
    }
}
