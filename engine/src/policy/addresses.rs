//! Which key is at an address of a server's memory: a bounded map, in which what was not used
//! longest among a few is forgotten first. It is larger than the core's own caches, and needed for
//! most requests: one of its cache lines has all that there is to an address.

use alloc::boxed::Box;
use alloc::vec;

use crate::ids::DomainId;

/// Entries that an address may be among: as many as a cache line has room for.
const WAYS: usize = 3;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Set {
    addresses: [u64; WAYS],
    keys: [u64; WAYS],
    /// The domain of each entry and one more; 0 if it is free.
    domains: [u32; WAYS],
    /// Entries, used last first.
    order: [u8; WAYS],
}

/// Where an entry is, until the map changes.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    set: usize,
    way: usize,
}

/// Keys by domain and address.
pub(crate) struct Addresses {
    sets: Box<[Set]>,
}

impl Set {
    const FREE: Set =
        Set { addresses: [0; WAYS], keys: [0; WAYS], domains: [0; WAYS], order: [0, 1, 2] };

    #[inline]
    fn find(&self, domain: DomainId, address: u64) -> Option<usize> {
        let domain = u32::from(domain.0) + 1;
        (0..WAYS).find(|&way| self.addresses[way] == address && self.domains[way] == domain)
    }

    /// The entry was used.
    #[inline]
    fn note_use(&mut self, way: usize) {
        let [first, second, third] = self.order;
        let way = way as u8;
        if first != way {
            self.order = [way, first, if second == way { third } else { second }];
        }
    }
}

impl Addresses {
    /// Room for `entries_max`, rounded up to what a power of two of sets holds; none for 0.
    pub(crate) fn new(entries_max: u32) -> Addresses {
        let sets = match entries_max as usize {
            0 => 0,
            entries => entries.div_ceil(WAYS).next_power_of_two(),
        };
        Addresses { sets: vec![Set::FREE; sets].into() }
    }

    #[inline]
    fn index(&self, domain: DomainId, address: u64) -> Option<usize> {
        let mixed = (address ^ u64::from(domain.0) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mask = self.sets.len().checked_sub(1)?;
        Some((mixed ^ mixed >> 32) as usize & mask)
    }

    /// The set that an address is in, for [`Addresses::touch`].
    #[inline]
    pub(crate) fn set_of(&self, domain: DomainId, address: u64) -> u32 {
        self.index(domain, address).unwrap_or(0) as u32
    }

    /// Reads a little of each of these sets: all are fetched from memory at the same time.
    #[inline]
    pub(crate) fn touch(&self, sets: &[u32]) -> u64 {
        let first = |set: &u32| self.sets.get(*set as usize).map_or(0, |set| set.addresses[0]);
        sets.iter().fold(0, |seen, set| seen ^ first(set))
    }

    /// Where an address is, and its key, without using it.
    #[inline]
    pub(crate) fn find(&self, domain: DomainId, address: u64) -> Option<(Spot, u64)> {
        let set = self.index(domain, address)?;
        let found = self.sets.get(set)?;
        let way = found.find(domain, address)?;
        Some((Spot { set, way }, found.keys[way]))
    }

    /// What was found there counts as used, if nothing has changed since.
    #[inline]
    pub(crate) fn note_use(&mut self, spot: Spot) {
        if let Some(set) = self.sets.get_mut(spot.set) {
            set.note_use(spot.way);
        }
    }

    /// The key at an address, which counts as used.
    pub(crate) fn get(&mut self, domain: DomainId, address: u64) -> Option<u64> {
        let (spot, key) = self.find(domain, address)?;
        self.note_use(spot);
        Some(key)
    }

    /// Remembers the key at an address. Whether another address was forgotten for it.
    #[inline]
    pub(crate) fn insert(&mut self, domain: DomainId, address: u64, key: u64) -> bool {
        let set = self.index(domain, address).and_then(|index| self.sets.get_mut(index));
        let Some(set) = set else { return false };
        let known = set.find(domain, address);
        let way = known.unwrap_or_else(|| {
            let free = (0..WAYS).find(|&way| set.domains[way] == 0);
            free.unwrap_or(usize::from(set.order[WAYS - 1]) % WAYS)
        });
        let forgets = known.is_none() && set.domains[way] != 0;
        (set.addresses[way], set.keys[way]) = (address, key);
        set.domains[way] = u32::from(domain.0) + 1;
        set.note_use(way);
        forgets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    #[test]
    fn a_set_has_a_cache_line() {
        assert_eq!(size_of::<Set>(), 64);
    }

    #[test]
    fn what_was_used_longest_ago_goes() {
        let domain = DomainId(3);
        let mut addresses = Addresses::new(WAYS as u32);
        // Newest last.
        let mut kept: Vec<(u64, u64)> = Vec::new();
        let mut state = 1_u64;
        for step in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let address = state >> 61;
            let known = kept.iter().position(|(kept, _)| *kept == address);
            if state >> 40 & 1 == 0 {
                let forgets = known.is_none() && kept.len() == WAYS;
                assert_eq!(addresses.insert(domain, address, step), forgets);
                known.map(|at| kept.remove(at));
                if forgets {
                    kept.remove(0);
                }
                kept.push((address, step));
            } else {
                let found = known.map(|at| kept.remove(at));
                assert_eq!(addresses.get(domain, address), found.map(|(_, key)| key));
                kept.extend(found);
            }
            assert_eq!(addresses.get(DomainId(4), address), None);
        }
    }

    #[test]
    fn what_there_is_room_for_is_found() {
        let mut addresses = Addresses::new(4096);
        let mut expected = BTreeMap::new();
        let mut forgotten = 0;
        for i in 0..2048_u64 {
            let (domain, address) = (DomainId(i as u16 % 2), i / 2 * 1024);
            forgotten += usize::from(addresses.insert(domain, address, i));
            expected.insert((domain, address), i);
        }
        let found = |(key, value): (&(DomainId, u64), &u64)| {
            addresses.find(key.0, key.1).map(|(_, key)| key) == Some(*value)
        };
        assert_eq!(expected.iter().map(found).filter(|found| *found).count(), 2048 - forgotten);
        assert!(forgotten < 100, "{forgotten}");
        assert!(!Addresses::new(0).insert(DomainId(0), 0, 0));
    }
}
