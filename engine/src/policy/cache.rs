//! A bounded map from numbers of a server's to what is known of them. What is not used is the first
//! to be forgotten.

use alloc::boxed::Box;
use alloc::vec;

use super::key_map::mix;
use crate::ids::DomainId;

/// Entries that a number may be among.
const WAYS: usize = 4;

#[derive(Clone, Copy)]
struct Entry<V> {
    domain: DomainId,
    number: u64,
    /// When it was used last, in uses of the map.
    used: u64,
    value: V,
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
    sets: Box<[[Option<Entry<V>>; WAYS]]>,
    uses: u64,
}

impl<V: Copy> Cache<V> {
    /// Room for `entries_max`, rounded up to what a power of two of sets holds; none for 0.
    pub(crate) fn new(entries_max: u32) -> Cache<V> {
        let sets = match entries_max as usize {
            0 => 0,
            entries => entries.div_ceil(WAYS).next_power_of_two(),
        };
        Cache { sets: vec![[None; WAYS]; sets].into(), uses: 0 }
    }

    fn set(&mut self, domain: DomainId, number: u64) -> Option<&mut [Option<Entry<V>>; WAYS]> {
        let index = self.index(domain, number)?;
        self.sets.get_mut(index)
    }

    /// What is known of a number, without using it.
    pub(crate) fn peek(&self, domain: DomainId, number: u64) -> Option<&V> {
        let set = self.sets.get(self.index(domain, number)?)?;
        let mut entries = set.iter().flatten();
        let entry = entries.find(|entry| entry.domain == domain && entry.number == number)?;
        Some(&entry.value)
    }

    fn index(&self, domain: DomainId, number: u64) -> Option<usize> {
        let hash = mix(number ^ mix(u64::from(domain.0) + 1)) as usize;
        self.sets.len().checked_sub(1).map(|mask| hash & mask)
    }

    /// What is known of a number. It counts as used.
    pub(crate) fn get_mut(&mut self, domain: DomainId, number: u64) -> Option<&mut V> {
        self.uses += 1;
        let uses = self.uses;
        let mut entries = self.set(domain, number)?.iter_mut().flatten();
        let entry = entries.find(|entry| entry.domain == domain && entry.number == number)?;
        entry.used = uses;
        Some(&mut entry.value)
    }

    /// Forgets a number. What was known of it.
    pub(crate) fn remove(&mut self, domain: DomainId, number: u64) -> Option<V> {
        let same = |e: &Entry<V>| e.domain == domain && e.number == number;
        let set = self.set(domain, number)?;
        let cell = set.iter_mut().find(|cell| cell.as_ref().is_some_and(same))?;
        cell.take().map(|entry| entry.value)
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
        let entry = Entry { domain, number, used: self.uses, value };
        let Some(set) = self.set(domain, number) else { return Put::Nowhere };
        let same = |e: &Entry<V>| e.domain == domain && e.number == number;
        let known = set.iter().position(|cell| cell.as_ref().is_some_and(same));
        let free = || set.iter().position(Option::is_none);
        if let Some(cell) = known.or_else(free).and_then(|at| set.get_mut(at)) {
            *cell = Some(entry);
            return Put::InRoom;
        }
        let may_go =
            |cell: &&mut Option<Entry<V>>| cell.as_ref().is_some_and(|entry| may_go(&entry.value));
        let age = |cell: &&mut Option<Entry<V>>| cell.as_ref().map(|entry| entry.used);
        match set.iter_mut().filter(may_go).min_by_key(age) {
            Some(cell) => match cell.replace(entry) {
                Some(old) => Put::InsteadOf(old.domain, old.number),
                None => Put::InRoom,
            },
            None => Put::Nowhere,
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
