//! What steering in place remembers: servers, queue pairs, slots, lists. All bounded; what is not
//! used is forgotten first, and what is forgotten is not steered.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr};

use crate::ids::DomainId;
use crate::wire::Psn;

/// Slots of one queue pair that may be appended next. Clover's coroutines write five before their
/// compare-and-swaps.
const PENDING: usize = 8;
/// Steered requests of one queue pair that may yet be repeated. Clover asks for 16 READs
/// and atomics in flight, more than common adapters allow.
const STEERED: usize = 16;
/// A request so many PSNs from the newest one is another connection's, under the same number: no
/// requester has half as many packets in flight.
const APART: u32 = 1 << 16;

/// Servers, by address.
pub(super) struct Servers {
    known: Box<[IpAddr]>,
    used: usize,
}

impl Servers {
    pub(super) fn new(servers_max: u32) -> Servers {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        // A domain's number has 16 bits.
        let servers_max = servers_max.min(1 << 16) as usize;
        Servers { known: vec![nobody; servers_max].into(), used: 0 }
    }

    /// What the tables call a server. `None` if there is no room for one more.
    pub(super) fn domain(&mut self, server: IpAddr) -> Option<DomainId> {
        let known = self.known.iter().take(self.used).position(|ip| *ip == server);
        if let Some(found) = known {
            return Some(DomainId(found as u16));
        }
        *self.known.get_mut(self.used)? = server;
        self.used += 1;
        Some(DomainId((self.used - 1) as u16))
    }
}

/// What is known of one queue pair of a server's.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueuePair {
    newest: Psn,
    /// The longest payload of one packet, in bytes: its path MTU is no shorter.
    pub(super) payload_max: u32,
    /// Addresses of slots that were written and are not appended yet, oldest first.
    pending: [Option<u64>; PENDING],
    /// READs and compare-and-swaps that were steered, as a ring.
    steered: [Option<Steered>; STEERED],
    steered_next: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Steered {
    psn: Psn,
    from: u64,
    to: u64,
}

impl QueuePair {
    pub(super) fn new(psn: Psn) -> QueuePair {
        QueuePair {
            newest: psn,
            payload_max: 0,
            pending: [None; PENDING],
            steered: [None; STEERED],
            steered_next: 0,
        }
    }

    /// Takes note of a request. `false` if one with its PSN, or a later one, was here before.
    pub(super) fn is_new(&mut self, psn: Psn) -> bool {
        let ahead = psn.signed_offset_from(self.newest);
        if ahead.unsigned_abs() > APART {
            *self = QueuePair::new(psn);
            return true;
        }
        if ahead > 0 {
            self.newest = psn;
        }
        ahead > 0
    }

    /// Addresses of slots that may be appended next.
    pub(super) fn pending(&self) -> impl Iterator<Item = u64> {
        self.pending.into_iter().flatten()
    }

    /// A slot was written; the oldest one gives way.
    pub(super) fn add_pending(&mut self, address: u64) {
        self.remove_pending(address);
        if self.pending.iter().all(Option::is_some) {
            self.pending.rotate_left(1);
            self.pending.iter_mut().skip(PENDING - 1).for_each(|oldest| *oldest = None);
        }
        if let Some(free) = self.pending.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(address);
        }
    }

    /// A slot is appended, or written by somebody else.
    pub(super) fn remove_pending(&mut self, address: u64) {
        let mut left = [None; PENDING];
        let stay = self.pending().filter(|other| *other != address);
        for (place, other) in left.iter_mut().zip(stay) {
            *place = Some(other);
        }
        self.pending = left;
    }

    /// A request goes elsewhere than it was aimed at.
    pub(super) fn add_steered(&mut self, psn: Psn, from: u64, to: u64) {
        if let Some(place) = self.steered.get_mut(self.steered_next) {
            *place = Some(Steered { psn, from, to });
        }
        self.steered_next = (self.steered_next + 1) % STEERED;
    }

    /// Where it went when it came first.
    pub(super) fn went_to(&self, psn: Psn, from: u64) -> Option<u64> {
        let all = self.steered.iter().flatten();
        all.into_iter().find(|s| s.psn == psn && s.from == from).map(|s| s.to)
    }
}

/// A slot of a server's memory that holds a version of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    /// The list that it belongs to, or is going to.
    pub(super) list: Option<u64>,
    /// The entry version that it was written with.
    pub(super) version: u64,
    /// Bytes of the slot; 0 if it was not seen written.
    pub(super) len: u32,
    /// Memory key that it was written with.
    pub(super) rkey: u32,
    /// It was appended, or something was to be appended to it.
    pub(super) linked: bool,
}

/// The last version of a list, as far as can be told from what passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tail {
    pub(super) address: u64,
    pub(super) slot: Slot,
}

/// Contradictions to a numbering that several appends have shown, until it is doubted. A server
/// that has put its memory elsewhere contradicts it with every append, a lost packet once.
const CONTRADICTIONS: u8 = 4;

/// How slots of one length, under one memory key, are numbered: slot n is `n * len` bytes behind
/// the base, modulo 2^64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Numbering {
    base: u64,
    /// Contradictions that it withstands: none if only one append has shown it.
    left: u8,
}

impl Numbering {
    /// As shown by slot `number` being at `address`.
    pub(super) fn shown_by(number: u64, address: u64, len: u32) -> Numbering {
        let base = address.wrapping_sub(number.wrapping_mul(len.into()));
        Numbering { base, left: 0 }
    }

    /// Where a slot is.
    pub(super) fn address_of(&self, number: u64, len: u32) -> u64 {
        self.base.wrapping_add(number.wrapping_mul(len.into()))
    }

    /// Takes note of what another append shows, and gives way if it has to. `false` if that is
    /// something else.
    pub(super) fn agrees_with(&mut self, shown: Numbering) -> bool {
        let agrees = self.base == shown.base;
        match (agrees, self.left) {
            (true, _) => self.left = CONTRADICTIONS,
            (false, 0) => *self = shown,
            (false, left) => self.left = left - 1,
        }
        agrees
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_get_numbers_while_there_is_room() {
        let ip = |n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        let mut servers = Servers::new(2);
        let found = [ip(1), ip(2), ip(1), ip(3)].map(|ip| servers.domain(ip));
        assert_eq!(found, [Some(DomainId(0)), Some(DomainId(1)), Some(DomainId(0)), None]);
    }

    #[test]
    fn what_is_behind_the_newest_is_a_repeat() {
        let mut qp = QueuePair::new(Psn::new(0xff_fffe));
        qp.add_pending(1);
        assert!(!qp.is_new(Psn::new(0xff_fffe)));
        assert!(qp.is_new(Psn::new(1)));
        assert!(!qp.is_new(Psn::new(0xff_ffff)));
        assert_eq!(qp.pending().count(), 1);
        // Nobody repeats what is so far behind.
        assert!(qp.is_new(Psn::new(1).sub(APART + 1)));
        assert_eq!(qp.pending().count(), 0);
    }

    #[test]
    fn the_oldest_pending_slot_gives_way() {
        let mut qp = QueuePair::new(Psn::new(0));
        (0..PENDING as u64 + 2).for_each(|address| qp.add_pending(address));
        qp.remove_pending(4);
        qp.add_pending(3);
        assert!(qp.pending().eq([2, 5, 6, 7, 8, 9, 3]));
    }

    #[test]
    fn a_steered_request_is_remembered_for_a_while() {
        let mut qp = QueuePair::new(Psn::new(0));
        qp.add_steered(Psn::new(1), 10, 20);
        assert_eq!(qp.went_to(Psn::new(1), 10), Some(20));
        assert_eq!(qp.went_to(Psn::new(1), 11), None);
        (0..STEERED as u32).for_each(|n| qp.add_steered(Psn::new(n + 2), 0, 0));
        assert_eq!(qp.went_to(Psn::new(1), 10), None);
    }

    #[test]
    fn a_numbering_gives_way_in_the_end() {
        let (old, new) = (Numbering::shown_by(3, 3072, 1024), Numbering::shown_by(3, 7168, 1024));
        let mut known = old;
        // One append alone is not much.
        assert!(!known.agrees_with(new) && known == new);
        assert!(known.agrees_with(new));
        for _ in 0..CONTRADICTIONS {
            assert!(!known.agrees_with(old));
            assert_eq!(known.address_of(4, 1024), 8192);
        }
        assert!(!known.agrees_with(old));
        assert_eq!(known.address_of(4, 1024), 4096);
        // The highest number wraps around.
        assert_eq!(known.address_of(u64::MAX, 1024), 0_u64.wrapping_sub(1024));
    }
}
