//! From addresses and queue pair number to connection: open-addressed tables for each direction.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr};

use crate::policy::{Connection, DirectoryError};
use crate::wire::{Layout, Qpn};

/// Source, destination and destination queue pair of one direction.
pub(crate) type Flow = (IpAddr, IpAddr, Qpn);

const EMPTY: u32 = u32::MAX;

/// Connections by what the packets of one direction carry.
pub(crate) struct FlowTable {
    /// By both IPv4 addresses in one number: four entries in a cache line.
    v4: Table<u64>,
    others: Table<(IpAddr, IpAddr)>,
    /// Times that it was changed.
    changes: u32,
}

/// One table of them. At most a quarter full, so that a lookup ends after one or two entries.
struct Table<A> {
    entries: Box<[Entry<A>]>,
    mask: usize,
}

#[derive(Clone, Copy)]
struct Entry<A> {
    ends: A,
    dest_qp: Qpn,
    connection: u32,
}

/// Source and destination of a flow.
trait Ends: Copy + Eq {
    const NOBODY: Self;
    fn fold(self) -> u64;
}

impl Ends for u64 {
    const NOBODY: u64 = 0;

    fn fold(self) -> u64 {
        self
    }
}

impl Ends for (IpAddr, IpAddr) {
    const NOBODY: (IpAddr, IpAddr) =
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    fn fold(self) -> u64 {
        let fold = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() as u64) ^ (ip.to_bits() >> 64) as u64,
        };
        fold(self.0).rotate_left(32) ^ fold(self.1)
    }
}

/// Both addresses in one number, if they are IPv4's.
fn both_v4(source: IpAddr, destination: IpAddr) -> Option<u64> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Some(u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits()))
        }
        _ => None,
    }
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
        let mut table = FlowTable { v4: Table::new(size), others: Table::new(size), changes: 0 };
        for (i, connection) in connections.iter().enumerate() {
            if !table.insert(flow(connection), i as u32) {
                return Err(DirectoryError::Duplicate { connection: i });
            }
        }
        Ok(table)
    }

    /// Adds a flow; `false` if it is there already.
    pub(crate) fn insert(&mut self, flow: Flow, connection: u32) -> bool {
        self.changes = self.changes.wrapping_add(1);
        let (source, destination, dest_qp) = flow;
        match both_v4(source, destination) {
            Some(ends) => self.v4.insert(Entry { ends, dest_qp, connection }),
            None => self.others.insert(Entry { ends: (source, destination), dest_qp, connection }),
        }
    }

    /// Takes a flow out.
    pub(crate) fn remove(&mut self, flow: Flow) {
        self.changes = self.changes.wrapping_add(1);
        let (source, destination, dest_qp) = flow;
        match both_v4(source, destination) {
            Some(ends) => self.v4.remove(ends, dest_qp),
            None => self.others.remove((source, destination), dest_qp),
        }
    }

    /// The connection that the packet belongs to.
    #[inline]
    pub(crate) fn get(&self, layout: &Layout) -> Option<u32> {
        self.find_flow((layout.source, layout.destination, layout.dest_qp))
    }

    /// Times that flows were added or taken out.
    #[inline]
    pub(crate) fn changes(&self) -> u32 {
        self.changes
    }

    /// The connection of a flow, both IPv4 addresses in one number.
    #[inline]
    pub(crate) fn find_v4(&self, ends: u64, dest_qp: Qpn) -> Option<u32> {
        self.v4.get(ends, dest_qp)
    }

    /// Reads a little of where it would be.
    #[inline]
    pub(crate) fn touch_v4(&self, ends: u64, dest_qp: Qpn) -> u32 {
        let at = hash(ends, dest_qp) & self.v4.mask;
        self.v4.entries.get(at).map_or(0, |entry| entry.connection)
    }

    /// The connection of a flow.
    #[inline]
    pub(crate) fn find_flow(&self, flow: Flow) -> Option<u32> {
        let (source, destination, dest_qp) = flow;
        match both_v4(source, destination) {
            Some(ends) => self.v4.get(ends, dest_qp),
            None => self.others.get((source, destination), dest_qp),
        }
    }
}

impl<A: Ends> Table<A> {
    fn new(size: usize) -> Table<A> {
        let blank = Entry { ends: A::NOBODY, dest_qp: Qpn::new(0), connection: EMPTY };
        Table { entries: vec![blank; size].into(), mask: size - 1 }
    }

    fn insert(&mut self, entry: Entry<A>) -> bool {
        let at = self.find(entry.ends, entry.dest_qp);
        match self.entries.get_mut(at) {
            Some(place) if place.connection == EMPTY => {
                *place = entry;
                true
            }
            _ => false,
        }
    }

    /// The entry of the flow, or the empty one where it would be.
    #[inline]
    fn find(&self, ends: A, dest_qp: Qpn) -> usize {
        let mut at = hash(ends, dest_qp) & self.mask;
        while let Some(entry) = self.entries.get(at) {
            if entry.connection == EMPTY || entry.dest_qp == dest_qp && entry.ends == ends {
                break;
            }
            at = (at + 1) & self.mask;
        }
        at
    }

    #[inline]
    fn get(&self, ends: A, dest_qp: Qpn) -> Option<u32> {
        let mut at = hash(ends, dest_qp) & self.mask;
        loop {
            let entry = self.entries.get(at)?;
            if entry.dest_qp == dest_qp && entry.ends == ends || entry.connection == EMPTY {
                return (entry.connection != EMPTY).then_some(entry.connection);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Takes a flow out. The ones behind it move up, so that none is behind an empty entry.
    fn remove(&mut self, ends: A, dest_qp: Qpn) {
        let mut hole = self.find(ends, dest_qp);
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let Some(&entry) = self.entries.get(at) else { break };
            if entry.connection == EMPTY {
                break;
            }
            let home = hash(entry.ends, entry.dest_qp) & self.mask;
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
}

/// The flow of packets towards the server.
pub(crate) fn request_flow(c: &Connection) -> Flow {
    (c.client.ip, c.server.ip, c.server.qpn)
}

/// The flow of packets towards the client.
pub(crate) fn response_flow(c: &Connection) -> Flow {
    (c.server.ip, c.client.ip, c.client.qpn)
}

fn hash<A: Ends>(ends: A, dest_qp: Qpn) -> usize {
    let mixed = (ends.fold() ^ u64::from(dest_qp.value())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;

    fn flow(i: u32) -> Flow {
        let v4 = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n));
        let v6 = |n: u32| IpAddr::V6(Ipv6Addr::from_bits(0xfd << 120 | u128::from(n)));
        match i % 5 {
            0 => (v6(i % 3), v6(9), Qpn::new(i)),
            _ => (v4(i % 3), v4(9), Qpn::new(i)),
        }
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
