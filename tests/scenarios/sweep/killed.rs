//! `kill -9` at any moment: what has ended is kept, what has not is made, nothing else is left.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use super::{
    Made, RUNS, Sweeping, assert_same, contents, folder, made, merge, reference, runs, sweep,
    wait_until,
};

/// Seed of the moments.
const SEED: u64 = 18;

/// Random numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Kills a sweep, which must not have ended before.
fn kill(mut sweeping: Sweeping) {
    sweeping.0.kill().unwrap();
    assert_eq!(sweeping.0.wait().unwrap().signal(), Some(9), "it ended before it was killed");
}

/// All runs that were there are there, and are the same files.
fn assert_kept(before: &Made, now: &Made) {
    for (path, file) in before {
        assert_eq!(now.get(path), Some(file), "{} was lost or made again", path.display());
    }
}

#[test]
fn a_sweep_that_is_killed_ten_times_leaves_what_one_leaves_that_is_not() {
    let (expected, took) = reference();
    let folder = folder();
    let out = folder.path().join("out");
    let mut dice = Dice(SEED);
    let mut before = Made::new();
    for number in 1..=10 {
        let more = dice.below(7) as usize;
        let wait = Duration::from_micros(dice.below(took.as_micros() as u64 / RUNS as u64));
        let jobs = (1 + dice.below(3)).to_string();
        println!("kill {number}: {wait:?} after {more} runs more, {jobs} at a time");
        let sweeping = Sweeping::begin(folder.path(), "out", &["--jobs", &jobs]);
        wait_until("runs", || runs(&out).len() >= before.len() + more);
        thread::sleep(wait);
        kill(sweeping);
        let now = made(&out);
        assert_kept(&before, &now);
        before = now;
    }
    assert!((10..RUNS).contains(&before.len()), "{} runs before the last kill", before.len());
    // What is half written has such names; a kill seldom comes just then.
    for place in [&out, &out.join("runs")] {
        fs::write(place.join(".qpmuxAbC123"), "{\n  \"id\"").unwrap();
    }
    sweep(folder.path(), "out", &[]).assert_good();
    assert_kept(&before, &made(&out));
    assert_same(&contents(&out), expected);
}

#[test]
fn a_sweep_that_is_killed_while_it_draws_leaves_the_same() {
    let (expected, _) = reference();
    let folder = folder();
    let out = folder.path().join("out");
    let mut dice = Dice(SEED);
    sweep(folder.path(), "out", &[]).assert_good();
    let before = made(&out);
    let begun = Instant::now();
    sweep(folder.path(), "out", &[]).assert_good();
    let took = begun.elapsed().as_micros() as u64;
    for number in 1..=10 {
        for path in ["results.csv", "results.parquet", "plan.svg", "index.html"] {
            let _ = fs::remove_file(out.join(path));
        }
        let wait = Duration::from_micros(dice.below(took));
        let mut sweeping = Sweeping::begin(folder.path(), "out", &[]);
        thread::sleep(wait);
        // It may just have ended.
        sweeping.0.kill().unwrap();
        sweeping.0.wait().unwrap();
        let left = contents(&out);
        println!("kill {number}: after {wait:?}, {} files of {}", left.len(), expected.len());
        for (path, bytes) in &left {
            let is_whole = expected.get(path).is_none_or(|expected| expected == bytes);
            assert!(is_whole, "{} is half written", path.display());
        }
    }
    sweep(folder.path(), "out", &[]).assert_good();
    assert_eq!(made(&out), before);
    assert_same(&contents(&out), expected);
}

/// Parts cannot tidy up, for others write beside them.
#[test]
fn a_part_that_is_killed_is_made_again_and_merged() {
    let (expected, _) = reference();
    let folder = folder();
    let out = folder.path().join("out");
    let second = Sweeping::begin(folder.path(), "out", &["--shard", "2/2", "--jobs", "1"]);
    let first = Sweeping::begin(folder.path(), "out", &["--shard", "1/2", "--jobs", "1"]);
    wait_until("runs", || runs(&out).len() >= 10);
    kill(second);
    assert_eq!(first.end(), Some(0));
    for place in [&out, &out.join("runs")] {
        fs::write(place.join(".qpmuxAbC123"), "{\n  \"id\"").unwrap();
    }
    merge(folder.path(), "out", &["out"]).assert_refused(&["a part is missing, or was stopped"]);
    sweep(folder.path(), "out", &["--shard", "2/2"]).assert_good();
    merge(folder.path(), "out", &["out"]).assert_good();
    assert_same(&contents(&out), expected);
}
