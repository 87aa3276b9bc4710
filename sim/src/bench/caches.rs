//! Caches of an adapter's model, beside a loop that finds every entry by its own index.
//!
//! What is looked up is drawn before. The floor keeps its entries in the order of their use as
//! well, and gives up the one that was used longest ago: but it hashes nothing, looks for nothing
//! and compares nothing, as there is a place for every entry that there may be.

use std::fmt::Write;
use std::hint::black_box;

use qpmux_workloads::keys::{KeyChooser, KeyDistribution, KeyError, generator};
use schemars::JsonSchema;
use serde::Serialize;

use super::{FloorCost, ROUNDS, clock_ns, median, thread_ns};
use crate::nic::Cache;

/// What a lookup costs.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct CacheBench {
    /// What is looked up.
    pub what: &'static str,
    /// Entries that the cache has room for.
    pub entries: u64,
    /// Entries that there are.
    pub keys: u64,
    /// Lookups that find theirs, of one.
    pub hits: f64,
    /// Nanoseconds of processor time for each lookup.
    pub ns: f64,
    /// Least and most over that.
    pub spread: [f64; 2],
    /// The floor.
    pub floor: FloorCost,
    /// The first time over that of the floor.
    pub ratio: f64,
}

/// Ways of every cache here: those of all presets.
const WAYS: u64 = 8;

/// A case.
struct Case {
    what: &'static str,
    entries: u64,
    keys: u64,
    popularity: KeyDistribution,
}

/// Contexts, translations: of a ConnectX-5's preset; and as much as no cache of this machine holds.
const CASES: [Case; 4] = [
    Case {
        what: "400 queue pairs, all there",
        entries: 2_792,
        keys: 400,
        popularity: KeyDistribution::Uniform,
    },
    Case {
        what: "8,192 queue pairs",
        entries: 2_792,
        keys: 8_192,
        popularity: KeyDistribution::Uniform,
    },
    Case {
        what: "pages of 512 GiB, by Zipf 0.99",
        entries: 32_768,
        keys: 262_144,
        popularity: KeyDistribution::ScrambledZipf { theta: 0.99 },
    },
    Case {
        what: "entries beyond this machine's caches",
        entries: 1 << 23,
        keys: 1 << 24,
        popularity: KeyDistribution::Uniform,
    },
];

/// Measures with so many lookups each time. `progress` is told measurements done, and of how many.
///
/// # Errors
/// When there are no such keys.
pub fn caches(
    lookups: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<CacheBench>, KeyError> {
    let total = (CASES.len() * ROUNDS) as u64;
    let measure = |(at, case): (usize, &Case)| {
        measure(case, lookups, &mut |round| progress((at * ROUNDS + round + 1) as u64, total))
    };
    CASES.iter().enumerate().map(measure).collect()
}

fn measure(
    case: &Case,
    lookups: u64,
    progress: &mut dyn FnMut(usize),
) -> Result<CacheBench, KeyError> {
    let mut chooser = KeyChooser::new(case.popularity, case.keys)?;
    let mut chance = generator(1, 0);
    let drawn: Vec<u32> =
        (0..lookups).map(|_| chooser.choose(case.keys, &mut chance) as u32).collect();
    let mut cache = Cache::new(case.entries as f64, 1.0, WAYS as f64);
    let mut direct = Direct::new(case.keys as usize, case.entries as usize);
    // Full, as it is in the middle of a run.
    for key in (0..case.keys as u32).chain(drawn.iter().copied()) {
        cache.touch(key.into());
        direct.touch(key);
    }
    (cache.hits, cache.misses) = (0, 0);
    let [mut own, mut floor] = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        floor.push(time(&drawn, &mut |key| direct.touch(key)));
        own.push(time(&drawn, &mut |key| cache.touch(key.into())));
        progress(round);
    }
    let (ns, spread) = median(own);
    let (least, floor_spread) = median(floor);
    let what = "direct index, in the order of use";
    Ok(CacheBench {
        what: case.what,
        entries: case.entries,
        keys: case.keys,
        hits: cache.hits as f64 / (cache.hits + cache.misses).max(1) as f64,
        ns,
        spread,
        floor: FloorCost { what, ns: least, spread: floor_spread },
        ratio: ns / least,
    })
}

/// Nanoseconds for each of `drawn`.
fn time(drawn: &[u32], touch: &mut impl FnMut(u32) -> bool) -> f64 {
    let clock = clock_ns();
    let begin = thread_ns();
    let hits = drawn.iter().filter(|key| touch(**key)).count();
    let spent = thread_ns() - begin - clock;
    black_box(hits);
    spent / drawn.len().max(1) as f64
}

/// What was used last first, of which each entry has its own place.
struct Direct {
    /// Each entry's neighbours: those used next after it, and last before it. The last place is the
    /// ring's beginning and end.
    links: Vec<[u32; 2]>,
    room: usize,
    used: usize,
}

/// An entry that is not there.
const ABSENT: u32 = u32::MAX;
const AFTER: usize = 0;
const BEFORE: usize = 1;

impl Direct {
    fn new(keys: usize, room: usize) -> Direct {
        let mut links = vec![[ABSENT; 2]; keys + 1];
        links[keys] = [keys as u32; 2];
        Direct { links, room, used: 0 }
    }

    #[inline]
    fn touch(&mut self, key: u32) -> bool {
        let end = (self.links.len() - 1) as u32;
        let found = self.links[key as usize][AFTER] != ABSENT;
        if found {
            self.take_out(key);
        } else if self.used == self.room {
            let oldest = self.links[end as usize][AFTER];
            self.take_out(oldest);
            self.links[oldest as usize] = [ABSENT; 2];
        } else {
            self.used += 1;
        }
        let newest = self.links[end as usize][BEFORE];
        self.links[key as usize] = [end, newest];
        self.links[newest as usize][AFTER] = key;
        self.links[end as usize][BEFORE] = key;
        found
    }

    #[inline]
    fn take_out(&mut self, key: u32) {
        let [after, before] = self.links[key as usize];
        self.links[before as usize][AFTER] = after;
        self.links[after as usize][BEFORE] = before;
    }
}

/// For people.
#[must_use]
pub fn render_text(benches: &[CacheBench]) -> String {
    let mut text = "lookups                                entries      keys    hits   ns      \
                    spread         floor   ratio\n"
        .to_owned();
    for one in benches {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<37}{:>9}{:>10}{:>6.0} %{:>6.1}   {:.2} to {:.2}{:>8.1}{:>8.2}",
            one.what,
            one.entries,
            one.keys,
            one.hits * 100.0,
            one.ns,
            one.spread[0],
            one.spread[1],
            one.floor.ns,
            one.ratio
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of one set does what the floor does.
    #[test]
    fn the_floor_is_a_cache() {
        let mut cache = Cache::new(60.0, 1.0, 60.0);
        let mut direct = Direct::new(200, 60);
        let mut dice = crate::dice::Dice::new(1, 0, 0);
        for _ in 0..20_000 {
            let key = dice.below(200).min(dice.below(200));
            assert_eq!(direct.touch(key as u32), cache.touch(key));
        }
        assert!(cache.hits > 5_000 && cache.misses > 5_000);
    }
}
