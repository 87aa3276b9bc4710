//! Caches of an adapter's memory: what is not there is fetched from the host.

/// A set-associative cache of entries of one size; of a set, what was used longest ago goes first.
///
/// Sets are chosen by a hash: bank bits taken from the number itself would make a cliff where the
/// numbers of a run are dense.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// Keys by set, the one used last first; `EMPTY` where there is none.
    keys: Vec<u64>,
    ways: usize,
    /// Lookups that found their entry, and that did not.
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

const EMPTY: u64 = u64::MAX;

impl Cache {
    /// An empty cache of so many bytes. Where it has room for less than `ways` entries, it is one
    /// set.
    pub(crate) fn new(bytes: f64, entry_bytes: f64, ways: f64) -> Self {
        let entries = (bytes / entry_bytes.max(1.0)) as usize;
        let ways = (ways as usize).clamp(1, entries.max(1));
        let sets = entries / ways;
        Self { keys: vec![EMPTY; sets * ways], ways, hits: 0, misses: 0 }
    }

    /// Uses an entry. Whether it was there; now it is.
    pub(crate) fn touch(&mut self, key: u64) -> bool {
        let sets = self.keys.len() / self.ways;
        if sets == 0 {
            self.misses += 1;
            return false;
        }
        let set = (hash(key) % sets as u64) as usize * self.ways;
        let set = &mut self.keys[set..set + self.ways];
        if set[0] == key {
            self.hits += 1;
            return true;
        }
        let found = set.iter().position(|held| *held == key);
        let last = found.unwrap_or(self.ways - 1);
        set.copy_within(..last, 1);
        set[0] = key;
        self.hits += u64::from(found.is_some());
        self.misses += u64::from(found.is_none());
        found.is_some()
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
    use super::Cache;
    use crate::dice::Dice;

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
