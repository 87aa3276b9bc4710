//! Places: what keys are mapped to. A place is held by one server queue pair at a time.

use alloc::vec::Vec;

use super::KeyMap;
use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::wire::Qpn;

/// Index of a place among those of all domains.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PlaceId(pub(crate) u32);

/// One place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlaceState {
    /// What [`super::KeyMap::Rendezvous`] knows it by.
    identity: u32,
    /// The server queue pair that carries its keys.
    pub(crate) host: Option<ServerQpId>,
    /// The log says so.
    pub(crate) host_recorded: bool,
    /// Requests of its keys that are on their way to the host or bound there.
    pub(crate) issued: u32,
    /// The client whose request of one of its keys goes alone on the client's own server queue
    /// pair: nothing else of the place is on its way meanwhile.
    pub(crate) alone: Option<ClientId>,
    /// Some client's request may still go so that an engine before has begun.
    pub(crate) alone_before: bool,
    /// The host takes nothing more; the place gets another when it has nothing left.
    pub(crate) leaving: bool,
}

impl PlaceState {
    /// Whether nothing of it is on its way, and nobody waits for that.
    pub(crate) fn is_idle(&self) -> bool {
        self.issued == 0 && self.alone.is_none() && !self.alone_before && !self.leaving
    }

    /// The server queue pair that carries its keys, if requests may go there now.
    #[inline]
    pub(crate) fn open_host(&self) -> Option<ServerQpId> {
        let open = self.alone.is_none() && !self.leaving && !self.alone_before;
        self.host.filter(|_| open)
    }
}

/// All places, domain by domain.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    domains: Vec<(DomainId, u32, u32)>,
    states: Vec<PlaceState>,
    /// Places that a domain gets when it is met first; 0 while no domain may be added.
    per_domain: u32,
    moved: bool,
}

impl Places {
    /// Places that hosts hold from the start.
    pub(crate) fn fixed(hosts: impl Iterator<Item = (DomainId, Vec<(Qpn, ServerQpId)>)>) -> Places {
        let mut places =
            Places { domains: Vec::new(), states: Vec::new(), per_domain: 0, moved: false };
        for (domain, hosts) in hosts {
            places.domains.push((domain, places.states.len() as u32, hosts.len() as u32));
            let held = |(qpn, host): (Qpn, ServerQpId)| PlaceState {
                identity: qpn.value(),
                host: Some(host),
                ..PlaceState::default()
            };
            places.states.extend(hosts.into_iter().map(held));
        }
        places
    }

    /// Room for domains that are met later, each with `per_domain` places.
    pub(crate) fn reserve(&mut self, domains_max: usize, per_domain: u32) {
        self.per_domain = per_domain;
        self.domains.reserve_exact(domains_max);
        self.states.reserve_exact(domains_max * per_domain as usize);
    }

    /// Makes the places of a domain that has none, if there is room.
    pub(crate) fn add_domain(&mut self, domain: DomainId) {
        let full = self.domains.len() == self.domains.capacity();
        if self.per_domain == 0 || full || self.range(domain).is_some() {
            return;
        }
        self.domains.push((domain, self.states.len() as u32, self.per_domain));
        let place = |identity| PlaceState { identity, ..PlaceState::default() };
        self.states.extend((0..self.per_domain).map(place));
    }

    /// The place of a key in a domain, if it has places.
    pub(crate) fn of_key(
        &self,
        map: KeyMap,
        domain: DomainId,
        key: u64,
        client: ClientId,
    ) -> Option<PlaceId> {
        let (first, count) = self.range(domain)?;
        let states = self.states.get(first as usize..(first + count) as usize)?;
        let identities = states.iter().map(|state| state.identity);
        Some(PlaceId(first + map.place(key, client.0, identities)))
    }

    /// First place of a domain, and their number.
    fn range(&self, domain: DomainId) -> Option<(u32, u32)> {
        let found = self.domains.iter().find(|(known, ..)| *known == domain)?;
        Some((found.1, found.2)).filter(|(_, count)| *count > 0)
    }

    /// The places of a domain.
    pub(crate) fn of_domain(&self, domain: DomainId) -> impl Iterator<Item = PlaceId> + use<> {
        let (first, count) = self.range(domain).unwrap_or((0, 0));
        (first..first + count).map(PlaceId)
    }

    pub(crate) fn get(&self, id: PlaceId) -> Option<&PlaceState> {
        self.states.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: PlaceId) -> Option<&mut PlaceState> {
        self.states.get_mut(id.0 as usize)
    }

    /// A request for this place, if it has one, is on its way.
    #[inline(always)]
    pub(crate) fn note_issued(&mut self, place: Option<PlaceId>) {
        if let Some(state) = place.and_then(|place| self.get_mut(place)) {
            state.issued += 1;
        }
    }

    /// A request for this place, if it had one, has ended.
    #[inline(always)]
    pub(crate) fn note_ended(&mut self, place: Option<PlaceId>) {
        if let Some(state) = place.and_then(|place| self.get_mut(place)) {
            state.issued = state.issued.saturating_sub(1);
        }
    }

    /// Hosts, by domain.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (DomainId, ServerQpId)> {
        self.domains.iter().flat_map(|&(domain, first, count)| {
            let states = self.states.get(first as usize..(first + count) as usize).unwrap_or(&[]);
            states.iter().filter_map(move |state| Some((domain, state.host?)))
        })
    }

    /// Places that a server queue pair holds.
    pub(crate) fn held_by(&self, host: ServerQpId) -> usize {
        self.states.iter().filter(|state| state.host == Some(host)).count()
    }

    /// Those among them that are of a domain.
    pub(crate) fn held_in(&self, domain: DomainId, host: ServerQpId) -> usize {
        let held = |place: &PlaceId| self.get(*place).is_some_and(|s| s.host == Some(host));
        self.of_domain(domain).filter(held).count()
    }

    /// The server queue pair takes nothing more.
    pub(crate) fn set_leaving(&mut self, host: ServerQpId) {
        for state in self.states.iter_mut().filter(|state| state.host == Some(host)) {
            state.leaving = true;
        }
    }

    /// Gives the places of a server queue pair to others, as `next` says for each identity.
    pub(crate) fn replace(
        &mut self,
        host: ServerQpId,
        mut next: impl FnMut(u32) -> Option<ServerQpId>,
    ) {
        for state in self.states.iter_mut().filter(|state| state.host == Some(host)) {
            (state.host, state.leaving) = (next(state.identity), false);
            state.host_recorded = false;
            self.moved = true;
        }
    }

    /// Whether any host has given its places up.
    pub(crate) fn have_moved(&self) -> bool {
        self.moved
    }
}
