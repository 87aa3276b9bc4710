//! A bounded map from numbers of a server's to what is known of them. What is not used is the first
//! to be forgotten.

use alloc::boxed::Box;
use alloc::vec;

use super::key_map::mix;
use crate::ids::DomainId;

/// Entries that a number may be among.
const WAYS: usize = 4;

/// The entries that a number may be among. What is looked at of all of them is in a cache line of
/// its own, and values of 8 bytes are in the one behind it.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Set<V> {
    numbers: [u64; WAYS],
    tags: [Tag; WAYS],
    values: [Option<V>; WAYS],
}

/// When an entry was used last, in uses of the map, from 1 on, and its domain. 0: it is free.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag(u64);

impl Tag {
    const FREE: Tag = Tag(0);

    /// The uses of a map do not come to 2^48 in a year of 9 million a second.
    fn new(uses: u64, domain: DomainId) -> Tag {
        Tag(uses << 16 | u64::from(domain.0))
    }

    fn uses(self) -> u64 {
        self.0 >> 16
    }

    fn domain(self) -> DomainId {
        DomainId(self.0 as u16)
    }
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
    sets: Box<[Set<V>]>,
    uses: u64,
}

impl<V: Copy> Set<V> {
    const FREE: Set<V> = Set { numbers: [0; WAYS], tags: [Tag::FREE; WAYS], values: [None; WAYS] };

    /// Where a number is.
    #[inline]
    fn find(&self, domain: DomainId, number: u64) -> Option<usize> {
        (0..WAYS).find(|&way| {
            let tag = self.tags[way];
            self.numbers[way] == number && tag != Tag::FREE && tag.domain() == domain
        })
    }
}

impl<V: Copy> Cache<V> {
    /// Room for `entries_max`, rounded up to what a power of two of sets holds; none for 0.
    pub(crate) fn new(entries_max: u32) -> Cache<V> {
        let sets = match entries_max as usize {
            0 => 0,
            entries => entries.div_ceil(WAYS).next_power_of_two(),
        };
        Cache { sets: vec![Set::FREE; sets].into(), uses: 0 }
    }

    /// Whether it can hold anything.
    pub(crate) fn has_room(&self) -> bool {
        !self.sets.is_empty()
    }

    fn index(&self, domain: DomainId, number: u64) -> Option<usize> {
        let hash = mix(number ^ mix(u64::from(domain.0) + 1)) as usize;
        self.sets.len().checked_sub(1).map(|mask| hash & mask)
    }

    /// What is known of a number, without using it.
    pub(crate) fn peek(&self, domain: DomainId, number: u64) -> Option<&V> {
        let set = self.sets.get(self.index(domain, number)?)?;
        set.values[set.find(domain, number)?].as_ref()
    }

    /// What is known of a number. It counts as used.
    pub(crate) fn get_mut(&mut self, domain: DomainId, number: u64) -> Option<&mut V> {
        self.uses += 1;
        let index = self.index(domain, number)?;
        let set = self.sets.get_mut(index)?;
        let way = set.find(domain, number)?;
        set.tags[way] = Tag::new(self.uses, domain);
        set.values[way].as_mut()
    }

    /// Forgets a number. What was known of it.
    pub(crate) fn remove(&mut self, domain: DomainId, number: u64) -> Option<V> {
        let index = self.index(domain, number)?;
        let set = self.sets.get_mut(index)?;
        let way = set.find(domain, number)?;
        set.tags[way] = Tag::FREE;
        set.values[way].take()
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
        let index = self.index(domain, number);
        let Some(set) = index.and_then(|index| self.sets.get_mut(index)) else {
            return Put::Nowhere;
        };
        let known = set.find(domain, number);
        let goes = |way: &usize| set.values[*way].as_ref().is_some_and(&may_go);
        let free = || (0..WAYS).find(|&way| set.tags[way] == Tag::FREE);
        let oldest = || (0..WAYS).filter(goes).min_by_key(|&way| set.tags[way].uses());
        let Some(way) = known.or_else(free).or_else(oldest) else { return Put::Nowhere };
        let (number_before, tag_before) = (set.numbers[way], set.tags[way]);
        (set.numbers[way], set.tags[way]) = (number, Tag::new(self.uses, domain));
        set.values[way] = Some(value);
        match known.is_none() && tag_before != Tag::FREE {
            true => Put::InsteadOf(tag_before.domain(), number_before),
            false => Put::InRoom,
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
