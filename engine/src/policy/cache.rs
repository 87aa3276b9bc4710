//! A bounded map from numbers of a server's to what is known of them. What is not used is the first
//! to be forgotten.

use alloc::boxed::Box;
use alloc::vec;

use super::key_map::mix;
use crate::ids::DomainId;

/// Entries that a number may be among.
const WAYS: usize = 4;

/// What is looked at of all entries to find one: a cache line of its own.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Tags {
    numbers: [u64; WAYS],
    /// When each was used last, in uses of the map, from 1 on. 0: it is free.
    used: [u64; WAYS],
}

impl Tags {
    const FREE: Tags = Tags { numbers: [0; WAYS], used: [0; WAYS] };
}

/// What became of an insertion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// There was room, or it was known already.
    InRoom,
    /// This one was forgotten for it.
    InsteadOf(DomainId, u64),
    /// All entries that it may be among have to stay.
    Nowhere,
}

/// A map with room for a fixed number of entries.
pub(crate) struct Cache<V> {
    tags: Box<[Tags]>,
    values: Box<[[Option<(DomainId, V)>; WAYS]]>,
    uses: u64,
}

impl<V: Copy> Cache<V> {
    /// Room for `entries_max`, rounded up to what a power of two of sets holds; none for 0.
    pub(crate) fn new(entries_max: u32) -> Cache<V> {
        let sets = match entries_max as usize {
            0 => 0,
            entries => entries.div_ceil(WAYS).next_power_of_two(),
        };
        let (tags, values) = (vec![Tags::FREE; sets].into(), vec![[None; WAYS]; sets].into());
        Cache { tags, values, uses: 0 }
    }

    /// The set that a number may be in.
    fn set_of(&self, domain: DomainId, number: u64) -> Option<usize> {
        let hash = mix(number ^ mix(u64::from(domain.0) + 1)) as usize;
        Some(hash & self.tags.len().checked_sub(1)?)
    }

    /// Reads of memory what it takes to find a number, and no more.
    pub(crate) fn touch(&self, domain: DomainId, number: u64) -> u64 {
        let Some(set) = self.set_of(domain, number) else { return 0 };
        let tag = self.tags.get(set).map_or(0, |tags| tags.numbers[0]);
        tag ^ u64::from(self.values.get(set).is_some_and(|values| values[0].is_some()))
    }

    /// The set that a number may be in, and where in it it is.
    fn find(&self, domain: DomainId, number: u64) -> Option<(usize, Option<usize>)> {
        let set = self.set_of(domain, number)?;
        let (tags, values) = (self.tags.get(set)?, self.values.get(set)?);
        let found = (0..WAYS).find(|&way| {
            tags.numbers[way] == number
                && tags.used[way] != 0
                && values[way].is_some_and(|(of, _)| of == domain)
        });
        Some((set, found))
    }

    /// What is known of a number, without using it.
    pub(crate) fn peek(&self, domain: DomainId, number: u64) -> Option<&V> {
        let (set, way) = self.find(domain, number)?;
        self.values.get(set)?[way?].as_ref().map(|(_, value)| value)
    }

    /// What is known of a number. It counts as used.
    pub(crate) fn get_mut(&mut self, domain: DomainId, number: u64) -> Option<&mut V> {
        self.uses += 1;
        let (set, way) = self.find(domain, number)?;
        self.tags.get_mut(set)?.used[way?] = self.uses;
        self.values.get_mut(set)?[way?].as_mut().map(|(_, value)| value)
    }

    /// Forgets a number. What was known of it.
    pub(crate) fn remove(&mut self, domain: DomainId, number: u64) -> Option<V> {
        let (set, way) = self.find(domain, number)?;
        self.tags.get_mut(set)?.used[way?] = 0;
        self.values.get_mut(set)?[way?].take().map(|(_, value)| value)
    }

    /// Remembers a value. If there is no room, the entry used longest ago among those that may
    /// go makes room.
    pub(crate) fn insert(
        &mut self,
        domain: DomainId,
        number: u64,
        value: V,
        may_go: impl Fn(&V) -> bool,
    ) -> Put {
        self.uses += 1;
        let Some((set, known)) = self.find(domain, number) else { return Put::Nowhere };
        let (Some(tags), Some(values)) = (self.tags.get_mut(set), self.values.get_mut(set)) else {
            return Put::Nowhere;
        };
        let goes = |way: &usize| values[*way].as_ref().is_some_and(|(_, value)| may_go(value));
        let free = || (0..WAYS).find(|&way| tags.used[way] == 0);
        let oldest = || (0..WAYS).filter(goes).min_by_key(|&way| tags.used[way]);
        let Some(way) = known.or_else(free).or_else(oldest) else { return Put::Nowhere };
        let number_before = tags.numbers[way];
        (tags.numbers[way], tags.used[way]) = (number, self.uses);
        match values[way].replace((domain, value)) {
            Some((domain, _)) if known.is_none() => Put::InsteadOf(domain, number_before),
            _ => Put::InRoom,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: DomainId = DomainId(0);

    #[test]
    fn what_was_used_longest_ago_goes() {
        let mut cache = Cache::new(4);
        for number in 0..4u64 {
            assert_eq!(cache.insert(DOMAIN, number, number * 10, |_| true), Put::InRoom);
        }
        assert_eq!(cache.get_mut(DOMAIN, 0), Some(&mut 0));
        assert_eq!(cache.get_mut(DomainId(1), 0), None);
        assert_eq!(cache.insert(DOMAIN, 4, 40, |_| true), Put::InsteadOf(DOMAIN, 1));
        assert_eq!(cache.get_mut(DOMAIN, 1), None);
        assert_eq!(cache.get_mut(DOMAIN, 0), Some(&mut 0));
        assert_eq!(cache.insert(DOMAIN, 4, 44, |_| true), Put::InRoom);
        assert_eq!(cache.get_mut(DOMAIN, 4), Some(&mut 44));
    }

    #[test]
    fn what_has_to_stay_stays() {
        let mut cache = Cache::new(4);
        for number in 0..4u64 {
            cache.insert(DOMAIN, number, number == 2, |_| true);
        }
        assert_eq!(cache.insert(DOMAIN, 9, true, |goes| *goes), Put::InsteadOf(DOMAIN, 2));
        assert_eq!(cache.get_mut(DOMAIN, 2), None);
        assert_eq!(cache.insert(DOMAIN, 10, true, |_| false), Put::Nowhere);
        assert_eq!(Cache::new(0).insert(DOMAIN, 0, (), |()| true), Put::Nowhere);
    }
}
