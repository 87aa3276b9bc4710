//! An engine that breaks one of its rules is found out: a rule whose absence nobody notices is not
//! tested.
//!
//! Needs the feature `mutations`. `QPMUX_TEST_TIER=full` tries more seeds; `QPMUX_MUTATION=NAME`
//! tries that rule only.

use std::path::PathBuf;

mod direct;

use direct::{learnt, sides};
use qpmux_engine::{Config, Rule};
use qpmux_sim::torture::{Script, Size, first_crash_without, first_script_without, first_without};

/// Runs in which it has to show, if it does not in a script.
const SEEDS_QUICK: u64 = 12_000;
const SEEDS_FULL: u64 = 20_000;

fn scripts() -> Vec<Script> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = std::fs::read_dir(&folder).expect("the folder of scripts is there");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| Script::load(path).unwrap_or_else(|e| panic!("{e}"))).collect()
}

/// The test of a situation that torture does not come to, and what it calls its rule.
fn direct_test(rule: Rule) -> Option<(fn(&Config) -> bool, &'static str)> {
    match rule {
        Rule::SpanBelowHalf => Some((direct::span_stays_below_half, "I-S10")),
        Rule::AppendsAreAwaited => Some((direct::appends_from_before_a_switch_are_awaited, "A7")),
        Rule::StrayWriteWaits => Some((direct::stray_writes_wait, "A6")),
        Rule::ContradictionEndsWord => Some((direct::a_contradicted_word_is_left_alone, "A6")),
        Rule::ReturnedBytesMatch => Some((direct::returned_bytes_are_the_same, "I-S2")),
        Rule::AloneIsRestored => Some((learnt::what_ran_alone_still_does, "I-X3")),
        Rule::HostIsRecorded => Some((learnt::a_place_keeps_its_host, "I-X3")),
        Rule::FlipAfterCrash => Some((learnt::nothing_flips_at_once, "F27")),
        Rule::OneSideTeachesNothing => Some((sides::one_side_teaches_nothing, "F9")),
        Rule::TagsAreTheConnections => Some((sides::tags_are_the_connections, "F9")),
        Rule::PastIsRecorded => Some((learnt::what_passed_is_known, "F27")),
        _ => None,
    }
}

/// Where it shows first that a rule is broken, and as which.
fn noticed(rule: Rule, scripts: &[Script], seeds: u64) -> Option<(String, &'static str)> {
    if let Some((name, failure)) = first_script_without(rule, scripts) {
        let file = name.rsplit('/').next().unwrap_or(name);
        return Some((file.to_owned(), failure.rule));
    }
    if let Some((keeps, id)) = direct_test(rule) {
        let without = Config { without: Some(rule), ..Config::default() };
        let shows = keeps(&Config::default()) && !keeps(&without);
        return shows.then(|| ("limits.rs".to_owned(), id));
    }
    if let Some(failure) = first_without(rule, 0..seeds) {
        return Some((format!("seed {}", failure.seed), failure.rule));
    }
    first_crash_without(rule, Size::Quick).map(|(name, failure)| (name, failure.rule))
}

#[test]
fn every_rule_is_missed() {
    // Broken rules end in assertions, too; their texts say nothing here.
    std::panic::set_hook(Box::new(|_| {}));
    let full = std::env::var("QPMUX_TEST_TIER").is_ok_and(|tier| tier == "full");
    let seeds = if full { SEEDS_FULL } else { SEEDS_QUICK };
    let only = std::env::var("QPMUX_MUTATION").ok();
    let rules = Rule::ALL.iter().filter(|rule| only.as_ref().is_none_or(|o| o == rule.name()));
    let scripts = scripts();
    let mut unnoticed = Vec::new();
    println!("| rule | noticed in | as |");
    println!("|---|---|---|");
    for rule in rules {
        let name = rule.name();
        match noticed(*rule, &scripts, seeds) {
            Some((place, id)) => println!("| {name} | {place} | {id} |"),
            None => {
                println!("| {name} | - | - |");
                unnoticed.push(*rule);
            }
        }
    }
    drop(std::panic::take_hook());
    let unnoticed: Vec<_> = unnoticed.iter().map(|rule| rule.name()).collect();
    assert!(unnoticed.is_empty(), "nobody notices that these are broken: {unnoticed:?}");
}
