//! The engine under faults: seeds, scripts and schedules.
//!
//! `QPMUX_TEST_TIER=full` runs many more seeds; `QPMUX_TORTURE=FROM..TO` runs those only.

use std::ops::Range;
use std::path::PathBuf;

use qpmux_sim::torture::{
    Campaign, Failure, Report, Script, Shape, Size, compare_shards, run_as_script,
    run_step_by_step, run_twice,
};

fn is_full() -> bool {
    std::env::var("QPMUX_TEST_TIER").is_ok_and(|tier| tier == "full")
}

/// The seeds to run: `quick` of them, or `full`.
fn seeds(quick: u64, full: u64) -> Range<u64> {
    let range = std::env::var("QPMUX_TORTURE").unwrap_or_default();
    if let Some((from, to)) = range.split_once("..")
        && let (Ok(from), Ok(to)) = (from.parse(), to.parse())
    {
        return from..to;
    }
    0..if is_full() { full } else { quick }
}

fn run(campaign: &Campaign) -> Report {
    campaign.run(&mut |_| {}).expect("threads can be had")
}

fn assert_good(campaign: &Campaign) {
    let report = run(campaign);
    println!("{}", report.render_text());
    assert_eq!(report.failed, 0, "runs failed");
}

/// Asks something of every seed; how many answered `true`.
fn ask(seeds: Range<u64>, what: impl Fn(u64) -> Result<bool, Box<Failure>>) -> u64 {
    let mut failed = Vec::new();
    let mut yes = 0;
    for seed in seeds.clone() {
        match what(seed) {
            Ok(answer) => yes += u64::from(answer),
            Err(failure) => {
                if failed.is_empty() {
                    println!("{failure}");
                }
                failed.push(seed);
            }
        }
    }
    assert!(failed.is_empty(), "of {seeds:?} failed {failed:?}");
    yes
}

#[test]
fn no_seed_breaks_a_rule() {
    let seeds = seeds(1_500, 100_000);
    assert_good(&Campaign { seeds, ..Campaign::default() });
}

/// As many clients as there may be, all on one server queue pair, and packets are lost.
fn crowd(victim: Option<u32>, seeds: Range<u64>) -> Campaign {
    let shape = Shape { clients: Some(64), server_qps: Some(1), loss: Some(0.05), victim };
    Campaign { seeds, shape, ..Campaign::default() }
}

#[test]
fn a_crowd_on_one_server_queue_pair_finishes() {
    assert_good(&crowd(None, seeds(4, 100)));
}

/// The other 63 see no NAK and send nothing again.
#[test]
fn one_of_a_crowd_loses_packets_and_no_other_notices() {
    for victim in [0, 17, 63] {
        assert_good(&crowd(Some(victim), seeds(4, 300)));
    }
}

#[test]
fn no_small_schedule_breaks_a_rule() {
    let size = if is_full() { Size::Full } else { Size::Quick };
    assert_good(&Campaign { schedules: Some(size), ..Campaign::default() });
}

#[test]
fn a_seed_does_the_same_twice() {
    ask(seeds(100, 2_000), |seed| run_twice(seed).map(|()| true));
}

#[test]
fn a_seed_does_the_same_step_by_step() {
    ask(seeds(500, 10_000), |seed| run_step_by_step(seed).map(|()| true));
}

#[test]
fn the_script_of_a_seed_does_the_same() {
    ask(seeds(100, 2_000), |seed| run_as_script(seed).map(|()| true));
}

#[test]
fn shards_differ_rarely() {
    let seeds = seeds(300, 5_000);
    let all = seeds.end - seeds.start;
    let differ = all - ask(seeds, compare_shards);
    println!("{differ} of {all} differ");
    assert!(differ * 10 <= all.max(10), "{differ} of {all} differ");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let report = |jobs| {
        let campaign = Campaign { seeds: 7..150, jobs, ..Campaign::default() };
        run(&campaign).render_text()
    };
    assert_eq!(report(1), report(3));
}

/// Every script is clean, but for the rule that it says is still broken.
#[test]
fn kept_scripts_do_what_they_say() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = std::fs::read_dir(&folder).expect("the folder of scripts is there");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let script = Script::load(&path).unwrap_or_else(|error| panic!("{error}"));
        let broken = script.broken().map(str::to_owned);
        let report = run(&Campaign { scripts: vec![script], ..Campaign::default() });
        let found = report.violations.first().map(|violation| violation.rule.to_owned());
        if found != broken {
            println!("{}", report.render_text());
            wrong.push(format!("{}: says {broken:?}, is {found:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_script_with_an_error_says_where() {
    let problem = |text: &str| match Script::parse("x.toml", text) {
        Ok(_) => panic!("{text} is no script"),
        Err(error) => error.to_string(),
    };
    let unknown = problem("[[client]]\npsn = 1\noperations = [\n{ wrote = {} },\n]\n");
    assert!(unknown.starts_with("x.toml: ") && unknown.contains("line 4"), "{unknown}");
    let range = problem("[[client]]\n\n[[client]]\npsn = 16777216\n");
    assert!(range.starts_with("x.toml, line 3: psn is 16777216"), "{range}");
}
