//! Which rights each server queue pair has shown under which memory key: looked up for every
//! request.

use alloc::vec;
use alloc::vec::Vec;

use super::key_map::mix;
use super::trust::{Grant, Rights};
use crate::ids::ServerQpId;

/// No grant.
const FREE: u32 = u32::MAX;

/// Grants, one for each server queue pair and memory key, and an open-addressed table of them that
/// is at most a quarter full.
#[derive(Clone, Debug)]
pub(super) struct Grants {
    grants: Vec<Grant>,
    /// By hash, the grant's index.
    table: Vec<u32>,
    /// All rights of each server queue pair, as far as one has any.
    any: Vec<Rights>,
    /// Grants that there is room for.
    room: usize,
}

impl Grants {
    /// These grants, and room for no others.
    pub(super) fn new(given: &[Grant]) -> Grants {
        let mut grants = Grants { grants: Vec::new(), table: Vec::new(), any: Vec::new(), room: 0 };
        let server_qps = given.iter().map(|grant| grant.server_qp.index() + 1).max().unwrap_or(0);
        grants.resize(given.len(), server_qps);
        for grant in given {
            grants.add(grant.server_qp, grant.remote_key, grant.rights);
        }
        grants
    }

    /// Makes room for so many in all, of so many server queue pairs.
    pub(super) fn reserve(&mut self, room: usize, server_qps: usize) {
        self.resize(room.max(self.room), server_qps.max(self.any.len()));
    }

    fn resize(&mut self, room: usize, server_qps: usize) {
        self.room = room;
        self.any.resize(server_qps, Rights::NONE);
        self.grants.reserve_exact(room - self.grants.len());
        self.table = vec![FREE; (room * 4).next_power_of_two().max(16)];
        self.index();
    }

    /// Fills the table.
    fn index(&mut self) {
        self.table.fill(FREE);
        for at in 0..self.grants.len() {
            let Some(&Grant { server_qp, remote_key, .. }) = self.grants.get(at) else { break };
            let place = self.find(server_qp, remote_key);
            if let Some(place) = self.table.get_mut(place) {
                *place = at as u32;
            }
        }
    }

    /// Where in the table a grant is, or would be.
    #[inline]
    fn find(&self, server_qp: ServerQpId, remote_key: u32) -> usize {
        let mask = self.table.len() - 1;
        let mut at = mix(u64::from(server_qp.0) << 32 | u64::from(remote_key)) as usize & mask;
        while let Some(grant) =
            self.table.get(at).and_then(|index| self.grants.get(*index as usize))
        {
            if grant.server_qp == server_qp && grant.remote_key == remote_key {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }

    /// All rights of one server queue pair under one memory key.
    #[inline]
    pub(super) fn rights(&self, server_qp: ServerQpId, remote_key: u32) -> Rights {
        let index = self.table.get(self.find(server_qp, remote_key)).copied().unwrap_or(FREE);
        self.grants.get(index as usize).map_or(Rights::NONE, |grant| grant.rights)
    }

    /// All rights that one has under any memory key.
    pub(super) fn any(&self, server_qp: ServerQpId) -> Rights {
        self.any.get(server_qp.index()).copied().unwrap_or(Rights::NONE)
    }

    /// Adds rights. `false` if there is no room.
    pub(super) fn add(&mut self, server_qp: ServerQpId, remote_key: u32, rights: Rights) -> bool {
        let place = self.find(server_qp, remote_key);
        let index = self.table.get(place).copied().unwrap_or(FREE);
        if let Some(grant) = self.grants.get_mut(index as usize) {
            if !grant.rights.contains(rights) {
                grant.rights = grant.rights.union(rights);
                self.note_any(server_qp, rights);
            }
            return true;
        }
        if self.grants.len() == self.room {
            return false;
        }
        if let Some(place) = self.table.get_mut(place) {
            *place = self.grants.len() as u32;
        }
        self.grants.push(Grant { server_qp, remote_key, rights });
        self.note_any(server_qp, rights);
        true
    }

    /// Forgets all of one.
    pub(super) fn forget(&mut self, server_qp: ServerQpId) {
        self.grants.retain(|grant| grant.server_qp != server_qp);
        self.index();
        if let Some(any) = self.any.get_mut(server_qp.index()) {
            *any = Rights::NONE;
        }
    }

    fn note_any(&mut self, server_qp: ServerQpId, rights: Rights) {
        if let Some(any) = self.any.get_mut(server_qp.index()) {
            *any = any.union(rights);
        }
    }
}
