//! Caches of an adapter's memory: what is not there is fetched from the host.

/// A set-associative cache of entries of one size; of a set, what was used longest ago goes first.
///
/// Sets are chosen by a hash: bank bits taken from the number itself would make a cliff where the
/// numbers of a run are dense.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// Keys by set, `EMPTY` where there is none.
    keys: Vec<u64>,
    /// When each was used last, counted in lookups; and, in the lower bits, its place in its set.
    used: Vec<u64>,
    /// Where a key was that has these lower bits. If it still is there, nothing is looked for.
    hints: Vec<u32>,
    ways: usize,
    sets: Divisor,
    now: u64,
    /// Lookups that found their entry, and that did not.
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

const EMPTY: u64 = u64::MAX;
/// One lookup in `used`: more than places that a set may have.
const LOOKUP: u64 = 1_024;

impl Cache {
    /// An empty cache of so many bytes. Where it has room for less than `ways` entries, it is one
    /// set. A set has at most 1,024 ways.
    pub(crate) fn new(bytes: f64, entry_bytes: f64, ways: f64) -> Self {
        let entries = (bytes / entry_bytes.max(1.0)) as usize;
        let ways = (ways as usize).clamp(1, entries.clamp(1, LOOKUP as usize));
        let sets = entries / ways;
        let entries = sets * ways;
        Self {
            keys: vec![EMPTY; entries],
            used: (0..entries).map(|at| (at % ways) as u64).collect(),
            hints: vec![0; (2 * entries).next_power_of_two()],
            ways,
            sets: Divisor::new(sets as u64),
            now: 0,
            hits: 0,
            misses: 0,
        }
    }

    /// Uses an entry. Whether it was there; now it is.
    #[inline]
    pub(crate) fn touch(&mut self, key: u64) -> bool {
        self.now += LOOKUP;
        let hint = key as usize & (self.hints.len() - 1);
        let at = self.hints[hint] as usize;
        match (self.keys.get(at), self.used.get_mut(at)) {
            (Some(there), Some(used)) if *there == key => {
                *used = self.now | (*used % LOOKUP);
                self.hits += 1;
                true
            }
            _ => self.search(key, hint),
        }
    }

    #[inline(never)]
    fn search(&mut self, key: u64, hint: usize) -> bool {
        let first = self.sets.remainder(hash(key)) as usize * self.ways;
        let all = first..first + self.ways;
        // A cache without room has no set.
        let (Some(set), Some(used)) = (self.keys.get_mut(all.clone()), self.used.get_mut(all))
        else {
            self.misses += 1;
            return false;
        };
        let found = set.iter().position(|there| *there == key);
        let oldest = || used.iter().fold(u64::MAX, |oldest, used| oldest.min(*used)) % LOOKUP;
        let at = found.unwrap_or_else(|| oldest() as usize);
        set[at] = key;
        used[at] = self.now | at as u64;
        self.hints[hint] = (first + at) as u32;
        self.hits += u64::from(found.is_some());
        self.misses += u64::from(found.is_none());
        found.is_some()
    }
}

/// A number of sets, by which is divided without the processor's division: that takes longer than
/// all the rest of a lookup (Granlund and Montgomery, PLDI 1994, figure 4.1).
#[derive(Clone, Copy, Debug)]
struct Divisor {
    by: u64,
    factor: u64,
    shift: u32,
}

impl Divisor {
    fn new(by: u64) -> Self {
        let by = by.max(1);
        // The least power of two that is not below it has this exponent.
        let exponent = u64::BITS - (by - 1).leading_zeros();
        let beyond = (1u128 << exponent) - u128::from(by);
        let factor = ((beyond << 64) / u128::from(by) + 1) as u64;
        Self { by, factor, shift: exponent.saturating_sub(1) }
    }

    #[inline]
    fn remainder(self, number: u64) -> u64 {
        if self.by == 1 {
            return 0;
        }
        let high = ((u128::from(self.factor) * u128::from(number)) >> 64) as u64;
        let quotient = (high + ((number - high) >> 1)) >> self.shift;
        number - quotient * self.by
    }
}

/// Steele, Lea and Flood's finalizer (OOPSLA 2014).
fn hash(key: u64) -> u64 {
    let mut x = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Cache, Divisor, hash};
    use crate::dice::Dice;

    /// The same cache as lists, without a thought of speed.
    struct Model {
        sets: Vec<Vec<u64>>,
        ways: usize,
    }

    impl Model {
        fn touch(&mut self, key: u64) -> bool {
            if self.sets.is_empty() {
                return false;
            }
            let set = (hash(key) % self.sets.len() as u64) as usize;
            let set = &mut self.sets[set];
            let found = set.iter().position(|held| *held == key);
            if let Some(at) = found {
                set.remove(at);
            }
            set.insert(0, key);
            set.truncate(self.ways);
            found.is_some()
        }
    }

    proptest! {
        #[test]
        fn it_does_what_lists_do(
            keys in prop::collection::vec((0u64..100, any::<bool>()), 1..2_000),
            entries in 0usize..90,
            ways in 1usize..12,
        ) {
            let mut cache = Cache::new(entries as f64 * 64.0, 64.0, ways as f64);
            let ways = ways.clamp(1, entries.max(1));
            let mut model = Model { sets: vec![Vec::new(); entries / ways], ways };
            // Far ones have their hints where others have theirs.
            for (key, is_far) in keys {
                let key = if is_far { key << 40 } else { key };
                prop_assert_eq!(cache.touch(key), model.touch(key));
            }
        }

        #[test]
        fn remainders_are_exact(
            by in 1u64..,
            small in 1u64..100_000,
            number: u64,
            near in 0u64..3,
        ) {
            for by in [by, small] {
                let multiple = (number / by).saturating_mul(by);
                let [above, below] =
                    [multiple.saturating_add(near), multiple.saturating_sub(near)];
                for number in [number, above, below, 0, u64::MAX - near] {
                    prop_assert_eq!(Divisor::new(by).remainder(number), number % by);
                }
            }
        }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut cache = Cache::new(3.0 * 64.0, 64.0, 8.0);
        let found = [1, 2, 3, 1, 4, 2, 1].map(|key| cache.touch(key));
        assert_eq!(found, [false, false, false, true, false, false, true]);
        assert_eq!((cache.hits, cache.misses), (2, 5));
    }

    /// Uniform use of n entries finds C/n of them, whatever goes first (independent references).
    #[test]
    fn uniform_use_finds_the_share_that_fits() {
        let mut cache = Cache::new(128.0, 1.0, 8.0);
        let mut dice = Dice::new(1, 0, 0);
        for _ in 0..100_000 {
            cache.touch(dice.below(512));
        }
        let rate = cache.hits as f64 / 100_000.0;
        assert!((rate - 0.25).abs() < 0.02, "{rate}");
    }

    #[test]
    fn without_room_nothing_is_found() {
        let mut cache = Cache::new(0.0, 64.0, 8.0);
        assert!(!cache.touch(1) && !cache.touch(1));
    }
}
