//! An engine that breaks one of its rules about what memory holds is found out by an application.
//!
//! Needs the feature `mutations`.

use qpmux_engine::Rule;
use qpmux_sim::apps::{Middlebox, Plan, run};

/// Drawn runs in which it has to show.
const SEEDS: u64 = 400;

/// Those whose absence makes answers untrue in these runs. The others need somebody who writes past
/// the engine, which runs with replaced atomics do not have, or slots that are used again, which
/// steered runs run out of; or they only spare requests a second try.
const RULES: [Rule; 2] = [Rule::FailingSwapIsAsked, Rule::SteeredAnswerIsTranslated];

/// The first drawn run in which it shows that a rule is broken, and as which.
fn noticed(rule: Rule) -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        let mut plan = Plan::draw(seed).unwrap();
        if let Middlebox::Engine(setup) = &mut plan.middlebox {
            setup.config.without = Some(rule);
        }
        let result = std::panic::catch_unwind(|| run(&plan, &mut |_| {}).unwrap());
        let broken = match result {
            Ok(outcome) if outcome.is_good() => return None,
            Ok(outcome) => format!("{:?}", outcome.violations),
            Err(_) => "an assertion".to_owned(),
        };
        Some((seed, broken))
    })
}

#[test]
fn every_rule_about_memory_is_missed() {
    // Broken rules end in assertions, too; their texts say nothing here.
    std::panic::set_hook(Box::new(|_| {}));
    let mut unnoticed = Vec::new();
    for rule in RULES {
        match noticed(rule) {
            Some((seed, broken)) => println!("{}: seed {seed}, {broken}", rule.name()),
            None => unnoticed.push(rule.name()),
        }
    }
    drop(std::panic::take_hook());
    assert!(unnoticed.is_empty(), "nobody notices that these are broken: {unnoticed:?}");
}
