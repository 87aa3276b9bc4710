//! Where flows live: the arrays, the lookup by key, and the lists of what is unpaired.

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use super::flow::{Flow, Kind, Verdict};
use super::list::{Free, Links, List};
use super::table::{Mixer, NONE, Table};
use crate::wire::{Psn, Qpn};

/// Two hosts, and the unpaired flows between them by direction.
#[derive(Clone, Copy)]
struct Hosts {
    low: IpAddr,
    high: IpAddr,
    /// From the lower address to the higher one, and back.
    unpaired: [List; 2],
    flows: u32,
}

/// All flows. Sized at construction.
pub(super) struct Store {
    pub(super) flows: Box<[Flow]>,
    by_key: Table,
    free: Free,
    /// The rings of all flows, one behind the other.
    rings: Box<[u32]>,
    depth: usize,
    hosts: Box<[Hosts]>,
    by_hosts: Table,
    hosts_free: Free,
    /// Links of the lists of unpaired flows by pair of hosts.
    peers: Links,
    /// Links of the list of unpaired flows by age.
    ages: Links,
    /// Unpaired flows, the longest idle one first.
    oldest: List,
}

impl Store {
    pub(super) fn new(flows: u32, depth: u32) -> Self {
        let nobody = Flow::UNUSED.source;
        let hosts = Hosts { low: nobody, high: nobody, unpaired: [List::EMPTY; 2], flows: 0 };
        Self {
            flows: vec![Flow::UNUSED; flows as usize].into_boxed_slice(),
            by_key: Table::new(flows),
            free: Free::new(flows),
            rings: vec![0; flows as usize * depth as usize].into_boxed_slice(),
            depth: depth as usize,
            hosts: vec![hosts; flows as usize].into_boxed_slice(),
            by_hosts: Table::new(flows),
            hosts_free: Free::new(flows),
            peers: Links::new(flows),
            ages: Links::new(flows),
            oldest: List::EMPTY,
        }
    }

    /// The flow of everything from `source` to that queue pair of `destination`.
    #[inline]
    pub(super) fn find(&self, source: IpAddr, destination: IpAddr, dest_qp: Qpn) -> Option<u32> {
        self.by_key.find(hash_of(source, destination, dest_qp), |index| {
            let flow = &self.flows[index as usize];
            flow.dest_qp == dest_qp && flow.source == source && flow.destination == destination
        })
    }

    /// Adds a flow that is not there yet; `None` if there is no place.
    pub(super) fn add(&mut self, source: IpAddr, destination: IpAddr, qp: Qpn) -> Option<u32> {
        let index = self.free.take()?;
        let hosts = self.join_hosts(source.min(destination), source.max(destination));
        let flow = &mut self.flows[index as usize];
        (flow.source, flow.destination, flow.dest_qp) = (source, destination, qp);
        (flow.hosts, flow.way) = (hosts, usize::from(source > destination));
        flow.restart();
        flow.epoch = 0;
        self.by_key.insert(hash_of(source, destination, qp), index);
        self.list(index);
        Some(index)
    }

    /// Removes a flow.
    pub(super) fn remove(&mut self, index: u32) {
        let flow = self.flows[index as usize];
        if flow.is_unpaired() {
            self.unlist(index);
        }
        self.by_key.remove(hash_of(flow.source, flow.destination, flow.dest_qp), index);
        self.leave_hosts(flow.hosts);
        self.flows[index as usize].restart();
        self.free.give(index);
    }

    /// Puts a flow into the lists of unpaired ones.
    pub(super) fn list(&mut self, index: u32) {
        let flow = &self.flows[index as usize];
        let list = &mut self.hosts[flow.hosts as usize].unpaired[flow.way];
        self.peers.push(list, index);
        self.ages.push(&mut self.oldest, index);
    }

    /// Takes a flow out of the lists of unpaired ones.
    pub(super) fn unlist(&mut self, index: u32) {
        let flow = &self.flows[index as usize];
        let list = &mut self.hosts[flow.hosts as usize].unpaired[flow.way];
        self.peers.remove(list, index);
        self.ages.remove(&mut self.oldest, index);
    }

    /// Whether there is no place for another flow.
    pub(super) fn is_full(&self) -> bool {
        self.free.taken() == self.flows.len()
    }

    /// Notes that a frame of this flow was seen.
    #[inline]
    pub(super) fn touch(&mut self, index: u32, now_ns: u64) {
        self.flows[index as usize].last_seen_ns = now_ns;
        if self.flows[index as usize].is_unpaired() {
            self.ages.remove(&mut self.oldest, index);
            self.ages.push(&mut self.oldest, index);
        }
    }

    /// The unpaired flow that has been idle for longest.
    pub(super) fn longest_idle(&self) -> Option<u32> {
        let first = self.oldest.first();
        (first != NONE).then_some(first)
    }

    /// Unpaired flows between the same hosts the other way.
    pub(super) fn opposite(&self, index: u32) -> impl Iterator<Item = u32> {
        let flow = &self.flows[index as usize];
        let first = self.hosts[flow.hosts as usize].unpaired[1 - flow.way].first();
        let next = |&at: &u32| Some(self.peers.next(at));
        core::iter::successors(Some(first), next).take_while(|&at| at != NONE)
    }

    /// Unpaired flows, the longest idle one first.
    pub(super) fn unpaired(&self) -> impl Iterator<Item = &Flow> {
        let next = |&at: &u32| Some(self.ages.next(at));
        core::iter::successors(Some(self.oldest.first()), next)
            .map_while(|at| self.flows.get(at as usize))
    }

    /// Remembers a request of a flow.
    pub(super) fn record(&mut self, index: u32, psn: Psn, kind: Kind, span: u32) {
        let at = index as usize * self.depth;
        let ring = self.rings.get_mut(at..at + self.depth).unwrap_or_default();
        self.flows[index as usize].requests.record(ring, psn, kind, span);
    }

    /// Whether a response can answer one of a flow's requests.
    pub(super) fn judge(&self, index: u32, psn: Psn, kind: Kind) -> Verdict {
        let at = index as usize * self.depth;
        let ring = self.rings.get(at..at + self.depth).unwrap_or_default();
        self.flows[index as usize].requests.judge(ring, psn, kind)
    }

    /// The entry of two hosts, which gets one more flow. There are as many places as flows.
    fn join_hosts(&mut self, low: IpAddr, high: IpAddr) -> u32 {
        let hash = Mixer::new().add_address(low).add_address(high).finish();
        let known = self.by_hosts.find(hash, |index| {
            let hosts = &self.hosts[index as usize];
            hosts.low == low && hosts.high == high
        });
        let index = known.or_else(|| {
            let index = self.hosts_free.take()?;
            self.by_hosts.insert(hash, index);
            self.hosts[index as usize] = Hosts { low, high, unpaired: [List::EMPTY; 2], flows: 0 };
            Some(index)
        });
        let index = index.unwrap_or(0);
        self.hosts[index as usize].flows += 1;
        index
    }

    fn leave_hosts(&mut self, index: u32) {
        let hosts = &mut self.hosts[index as usize];
        hosts.flows -= 1;
        if hosts.flows == 0 {
            let hash = Mixer::new().add_address(hosts.low).add_address(hosts.high).finish();
            self.by_hosts.remove(hash, index);
            self.hosts_free.give(index);
        }
    }
}

/// The hash of a flow's key.
#[inline]
pub(super) fn hash_of(source: IpAddr, destination: IpAddr, dest_qp: Qpn) -> u32 {
    let hosts = Mixer::new().add_address(source).add_address(destination);
    hosts.add(u64::from(dest_qp.value())).finish()
}
