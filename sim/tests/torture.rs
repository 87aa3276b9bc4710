//! The engine under faults: seeds, each a run of its own.
//!
//! `QPMUX_TEST_TIER=full` runs many more; `QPMUX_TORTURE=FROM..TO` runs those seeds only.

use std::ops::Range;

use qpmux_sim::torture::{Failure, Focus, Summary, compare_shards, run, run_twice};

/// The seeds to run: `quick` of them, or `full`.
fn seeds(quick: u64, full: u64) -> Range<u64> {
    let range = std::env::var("QPMUX_TORTURE").unwrap_or_default();
    if let Some((from, to)) = range.split_once("..")
        && let (Ok(from), Ok(to)) = (from.parse(), to.parse())
    {
        return from..to;
    }
    let all = std::env::var("QPMUX_TEST_TIER").is_ok_and(|tier| tier == "full");
    0..if all { full } else { quick }
}

/// What of many seeds is told: all of the first failure, and the rules that the others break.
#[derive(Default)]
struct Tally {
    seeds: u64,
    requests: u64,
    faults: u64,
    timeouts: u64,
    by_focus: [u64; 4],
    failed: Vec<u64>,
}

impl Tally {
    fn count<T>(&mut self, result: Result<T, Box<Failure>>) -> Option<T> {
        self.seeds += 1;
        result.map_err(|failure| self.tell(&failure)).ok()
    }

    fn tell(&mut self, failure: &Failure) {
        match self.failed.is_empty() {
            true => println!("{failure}"),
            false => println!("seed {}:\n{}", failure.seed, failure.violations),
        }
        self.failed.push(failure.seed);
    }

    fn add(&mut self, summary: &Summary) {
        self.requests += summary.requests;
        self.faults += summary.faults;
        self.timeouts += summary.timeouts;
        self.by_focus[match summary.focus {
            Focus::Everywhere => 0,
            Focus::Servers => 1,
            Focus::OneClient(_) => 2,
            Focus::Nowhere => 3,
        }] += 1;
    }

    fn finish(&self) {
        let Tally { seeds, requests, faults, timeouts, by_focus, failed } = self;
        println!("{seeds} seeds, {requests} requests, {faults} faults, {timeouts} timeouts");
        println!("by focus {by_focus:?}");
        assert!(failed.is_empty(), "{} of {seeds} seeds failed: {failed:?}", failed.len());
    }
}

#[test]
fn no_seed_breaks_a_rule() {
    let mut tally = Tally::default();
    for seed in seeds(1_500, 100_000) {
        let shards = [1, 1, 2, 4][(seed % 4) as usize];
        if let Some(summary) = tally.count(run(seed, shards)) {
            tally.add(&summary);
        }
    }
    tally.finish();
}

#[test]
fn a_seed_does_the_same_twice() {
    let mut tally = Tally::default();
    for seed in seeds(100, 2_000) {
        let shards = [1, 2, 4][(seed % 3) as usize];
        if let Some(summary) = tally.count(run_twice(seed, shards)) {
            tally.add(&summary);
        }
    }
    tally.finish();
}

#[test]
fn shards_differ_rarely() {
    let mut tally = Tally::default();
    let seeds = seeds(300, 5_000);
    let all = seeds.end - seeds.start;
    let differ = seeds.filter(|seed| tally.count(compare_shards(*seed)) == Some(false)).count();
    println!("{differ} of {all} differ");
    tally.finish();
    assert!(differ as u64 * 10 <= all.max(10), "{differ} of {all} differ");
}
