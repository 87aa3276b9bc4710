//! The open-addressed hash table: from a key's hash to the index of what it belongs to.

use alloc::boxed::Box;
use alloc::vec;

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// One place of the table; `index` is [`NONE`] where it is free.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    index: u32,
}

/// Maps hashes to indices. Keys live with what is indexed, so finding one takes a comparison by
/// the caller. At most half full, linear probing, and deletion closes the gap, so that a lookup
/// ends at the first free place.
pub(super) struct Table {
    places: Box<[Place]>,
    mask: u32,
}

impl Table {
    /// A table for up to `count` entries, `1..=2^24`: 16 to 32 bytes for each.
    pub(super) fn new(count: u32) -> Self {
        let places = (count.max(1) * 2).next_power_of_two();
        let free = Place { hash: 0, index: NONE };
        Self { places: vec![free; places as usize].into_boxed_slice(), mask: places - 1 }
    }

    /// The place `at`, wrapped into the table.
    fn place(&mut self, at: u32) -> &mut Place {
        // The mask is the length less one.
        &mut self.places[(at & self.mask) as usize]
    }

    /// The index entered under `hash` for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        for step in 0..=self.mask {
            let place = self.places[(hash.wrapping_add(step) & self.mask) as usize];
            if place.index == NONE {
                return None;
            }
            if place.hash == hash && is_it(place.index) {
                return Some(place.index);
            }
        }
        None
    }

    /// Enters `index`, which must not be there yet, in a table that is not full.
    pub(super) fn insert(&mut self, hash: u32, index: u32) {
        for step in 0..=self.mask {
            let place = self.place(hash.wrapping_add(step));
            if place.index == NONE {
                *place = Place { hash, index };
                return;
            }
        }
        debug_assert!(false, "the table is twice as large as what it indexes");
    }

    /// Takes out `index`, entered under `hash`.
    pub(super) fn remove(&mut self, hash: u32, index: u32) {
        let Some(step) = (0..=self.mask).find(|step| {
            self.places[(hash.wrapping_add(*step) & self.mask) as usize].index == index
        }) else {
            return;
        };
        let mut gap = hash.wrapping_add(step);
        // Whatever follows in the same run moves up unless that would put it before its home.
        let first = gap;
        for at in (1..=self.mask).map(|step| first.wrapping_add(step)) {
            let moved = *self.place(at);
            if moved.index == NONE {
                break;
            }
            let from_home = at.wrapping_sub(moved.hash) & self.mask;
            let from_gap = at.wrapping_sub(gap) & self.mask;
            if from_home >= from_gap {
                *self.place(gap) = moved;
                gap = at;
            }
        }
        self.place(gap).index = NONE;
    }
}

/// Mixes the parts of a key. Deterministic, and spreads consecutive queue pair numbers.
#[derive(Clone, Copy)]
pub(super) struct Mixer(u64);

impl Mixer {
    pub(super) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    #[inline]
    pub(super) const fn add(self, part: u64) -> Self {
        let mixed = (self.0 ^ part).wrapping_mul(0xff51_afd7_ed55_8ccd);
        Self(mixed ^ (mixed >> 32))
    }

    #[inline]
    pub(super) fn add_address(self, address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(v4) => self.add(u64::from(v4.to_bits())),
            core::net::IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                self.add(bits as u64).add((bits >> 64) as u64)
            }
        }
    }

    #[inline]
    pub(super) const fn finish(self) -> u32 {
        (self.0 ^ (self.0 >> 29)) as u32
    }
}
