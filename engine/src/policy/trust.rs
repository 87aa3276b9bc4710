//! Which accesses are certain to be accepted.
//!
//! A request that a responder refuses moves the server queue pair to the error state
//! (IBTA vol. 1, 9.9.3), for all who share it. So a request leaves its client's own server queue
//! pair only when the memory key, the right and the range are known, for both queue pairs.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::num::NonZeroU8;
use core::ops::Range;

use super::grants::Grants;
use crate::ids::{DomainId, ServerQpId};

/// A set of remote access rights (IBTA vol. 1, 10.6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Rights(NonZeroU8);

impl Rights {
    /// No right.
    pub const NONE: Rights = Rights::of(0);
    /// Remote read.
    pub const READ: Rights = Rights::of(1);
    /// Remote write.
    pub const WRITE: Rights = Rights::of(2);
    /// Remote atomic.
    pub const ATOMIC: Rights = Rights::of(4);
    /// Remote read, write and atomic.
    pub const ALL: Rights = Rights::of(7);

    /// A bit that is always set leaves zero for "no access", which takes no byte of its own then.
    const fn of(bits: u8) -> Rights {
        Rights(NonZeroU8::MIN.saturating_add(7).saturating_add(bits))
    }

    /// The rights in either set.
    #[must_use]
    pub const fn union(self, other: Rights) -> Rights {
        Rights::of((self.0.get() | other.0.get()) & 7)
    }

    /// Whether all rights of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Rights) -> bool {
        self.0.get() & other.0.get() == other.0.get()
    }
}

impl Default for Rights {
    fn default() -> Rights {
        Rights::NONE
    }
}

/// A range of server memory under one memory key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// The server and protection domain that the memory key belongs to.
    pub domain: DomainId,
    /// The memory key (R_Key).
    pub remote_key: u32,
    /// First virtual address.
    pub start: u64,
    /// One past the last virtual address.
    pub end: u64,
}

/// What one server queue pair is known to allow under one memory key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The server queue pair.
    pub server_qp: ServerQpId,
    /// The memory key (R_Key).
    pub remote_key: u32,
    /// The rights.
    pub rights: Rights,
}

/// What the operator says of a server's memory: every queue pair of that server that the engine
/// may use has these rights in this range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfiguredRegion {
    /// The server.
    pub server: IpAddr,
    /// The memory key (R_Key).
    pub remote_key: u32,
    /// First virtual address.
    pub start: u64,
    /// One past the last virtual address.
    pub end: u64,
    /// The rights.
    pub rights: Rights,
}

impl ConfiguredRegion {
    fn covers(&self, server: IpAddr, access: &Access) -> bool {
        let end = access.start.checked_add(u64::from(access.len));
        self.server == server
            && self.remote_key == access.remote_key
            && self.rights.contains(access.right)
            && self.start <= access.start
            && end.is_some_and(|end| end <= self.end)
    }
}

/// One access to server memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Access {
    pub(crate) remote_key: u32,
    pub(crate) right: Rights,
    pub(crate) start: u64,
    pub(crate) len: u32,
}

/// So many regions are looked through one after the other.
const REGIONS_FEW: usize = 4;

/// Regions, sorted and looked up by binary search, and grants, found by hashing.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    regions: Vec<Region>,
    grants: Grants,
    configured: Vec<ConfiguredRegion>,
}

impl Trust {
    pub(crate) fn new(mut regions: Vec<Region>, grants: Vec<Grant>) -> Trust {
        regions.sort_by_key(|r| (r.domain, r.remote_key, r.start));
        Trust { regions, grants: Grants::new(&grants), configured: Vec::new() }
    }

    pub(crate) fn configure(&mut self, regions: Vec<ConfiguredRegion>) {
        self.configured = regions;
    }

    /// All rights that the operator gives in a server's memory.
    pub(crate) fn configured_rights(&self, server: IpAddr) -> Rights {
        let of_server = self.configured.iter().filter(|region| region.server == server);
        of_server.fold(Rights::NONE, |all, region| all.union(region.rights))
    }

    /// Whether the operator says that the access is allowed.
    pub(crate) fn is_configured(&self, server: IpAddr, access: &Access) -> bool {
        self.configured.iter().any(|region| region.covers(server, access))
    }

    /// Makes room for so many regions and as many grants in all, of so many server queue pairs.
    pub(crate) fn reserve(&mut self, grants_max: usize, server_qps: usize) {
        self.regions.reserve_exact(grants_max.saturating_sub(self.regions.len()));
        self.grants.reserve(grants_max, server_qps);
    }

    /// A server queue pair answered an access positively: it has the right, and the memory key
    /// reaches from the lowest to the highest address that was ever answered so. `false` if
    /// there is no room to remember that.
    pub(crate) fn observe(&mut self, domain: DomainId, qp: ServerQpId, access: &Access) -> bool {
        // A request of length zero is accepted with any memory key: it shows nothing.
        if access.len == 0 {
            return true;
        }
        self.grants.add(qp, access.remote_key, access.right) && self.observe_range(domain, access)
    }

    /// The server queue pair is no more: another one has its place in the tables.
    pub(crate) fn forget(&mut self, server_qp: ServerQpId) {
        self.grants.forget(server_qp);
    }

    fn observe_range(&mut self, domain: DomainId, access: &Access) -> bool {
        let Access { remote_key, start, len, .. } = *access;
        let end = start.saturating_add(u64::from(len));
        let key = |r: &Region| (r.domain, r.remote_key);
        match self.regions.binary_search_by_key(&(domain, remote_key), key) {
            Ok(at) => {
                if let Some(region) = self.regions.get_mut(at) {
                    region.start = region.start.min(start);
                    region.end = region.end.max(end);
                }
                true
            }
            Err(_) if self.regions.len() == self.regions.capacity() => false,
            Err(at) => {
                self.regions.insert(at, Region { domain, remote_key, start, end });
                true
            }
        }
    }

    /// All rights that one server queue pair has under any memory key.
    pub(crate) fn any_rights(&self, server_qp: ServerQpId) -> Rights {
        self.grants.any(server_qp)
    }

    /// The region that an access lies in.
    fn region(&self, domain: DomainId, access: &Access) -> Option<&Region> {
        let end = access.start.checked_add(u64::from(access.len))?;
        let key = (domain, access.remote_key);
        let covers = |r: &&Region| {
            (r.domain, r.remote_key) == key && r.start <= access.start && end <= r.end
        };
        // Most servers have very few.
        if self.regions.len() <= REGIONS_FEW {
            return self.regions.iter().find(covers);
        }
        let first = self.regions.partition_point(|r| (r.domain, r.remote_key) < key);
        let same = self.regions.get(first..).unwrap_or(&[]).iter();
        same.take_while(|r| (r.domain, r.remote_key) == key).find(covers)
    }

    /// A range around an access in which a queue pair has rights for sure, which rights, and
    /// whether the operator says so; `None` if it is not certain to accept the access.
    pub(crate) fn reach(
        &self,
        server: IpAddr,
        domain: DomainId,
        qp: ServerQpId,
        access: &Access,
    ) -> Option<(Range<u64>, Rights, bool)> {
        let configured = self.configured.iter().find(|region| region.covers(server, access));
        if let Some(region) = configured {
            return Some((region.start..region.end, region.rights, true));
        }
        let region = self.region(domain, access)?;
        let rights = self.grants.rights(qp, access.remote_key);
        rights.contains(access.right).then_some((region.start..region.end, rights, false))
    }

    /// All rights that a queue pair has shown under a memory key.
    pub(crate) fn granted(&self, qp: ServerQpId, remote_key: u32) -> Rights {
        self.grants.rights(qp, remote_key)
    }

    /// Whether a queue pair is certain to accept the access.
    pub(crate) fn allows(&self, domain: DomainId, qp: ServerQpId, access: &Access) -> bool {
        self.region(domain, access).is_some()
            && self.grants.rights(qp, access.remote_key).contains(access.right)
    }

    /// Whether both queue pairs are certain to accept the access.
    pub(crate) fn covers(
        &self,
        domain: DomainId,
        own: ServerQpId,
        host: ServerQpId,
        access: &Access,
    ) -> bool {
        self.allows(domain, own, access)
            && self.grants.rights(host, access.remote_key).contains(access.right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn both_queue_pairs_need_the_right_and_the_range_must_be_known() {
        let grant = |qp, rights| Grant { server_qp: ServerQpId(qp), remote_key: 7, rights };
        let trust = Trust::new(
            vec![Region { domain: DomainId(0), remote_key: 7, start: 100, end: 200 }],
            vec![grant(1, Rights::WRITE), grant(0, Rights::READ), grant(0, Rights::WRITE)],
        );
        let covers = |own, host, right, start, len| {
            let access = Access { remote_key: 7, right, start, len };
            trust.covers(DomainId(0), ServerQpId(own), ServerQpId(host), &access)
        };
        assert!(covers(0, 1, Rights::WRITE, 100, 100));
        assert!(!covers(0, 1, Rights::READ, 100, 100), "the host may not read");
        assert!(!covers(1, 0, Rights::READ, 100, 100), "the owner may not read");
        assert!(!covers(0, 1, Rights::WRITE, 101, 100), "one byte beyond");
        assert!(!covers(0, 1, Rights::WRITE, u64::MAX, 2), "wraps");
        assert!(!covers(0, 2, Rights::WRITE, 100, 1), "nothing known of the host");
    }
}
