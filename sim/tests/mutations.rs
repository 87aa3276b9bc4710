//! An engine that breaks one of its rules is found out: a rule whose absence nobody notices is not
//! tested.
//!
//! Needs the feature `mutations`. `QPMUX_MUTATION=NAME` tries that rule only.

use qpmux_engine::Rule;
use qpmux_sim::torture::first_without;

/// Runs in which it has to show.
const SEEDS: u64 = 20_000;

#[test]
fn every_rule_is_missed() {
    // Broken rules end in assertions, too; their texts say nothing here.
    std::panic::set_hook(Box::new(|_| {}));
    let only = std::env::var("QPMUX_MUTATION").ok();
    let rules = Rule::ALL.iter().filter(|rule| only.as_ref().is_none_or(|o| o == rule.name()));
    let mut unnoticed = Vec::new();
    println!("| rule | noticed at seed | as |");
    println!("|---|---|---|");
    for rule in rules {
        match first_without(*rule, 0..SEEDS) {
            Some(failure) => println!(
                "| {} | {} | {} |",
                rule.name(),
                failure.seed,
                failure.violations.iter().next().map_or("", |(id, _)| id)
            ),
            None => {
                println!("| {} | - | - |", rule.name());
                unnoticed.push(rule.name());
            }
        }
    }
    drop(std::panic::take_hook());
    assert!(unnoticed.is_empty(), "nobody notices that these are broken: {unnoticed:?}");
}
