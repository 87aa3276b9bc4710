//! What must hold of scenarios, whatever they show.

use std::collections::BTreeSet;

use super::{ALL, Claim, Evidence, Known, figure, names, table};
use crate::figure::{Scores, figures_of};
use crate::paper::Published;

const KNOWN: Known = Known { result: "up", source: "Nobody, Nowhere, 1900, Fig. 1" };

#[test]
fn names_are_unique_and_choose_what_they_say() {
    let all: Vec<_> = names().collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    for scenario in ALL {
        assert!(!scenario.plans.is_empty());
        assert_eq!(scenario.wanted(&[]).len(), scenario.plans.len());
        assert_eq!(scenario.wanted(&[scenario.name.to_owned()]).len(), scenario.plans.len());
        let one = figure(&scenario.plans[0]).to_owned();
        assert_eq!(scenario.wanted(&[one]).len(), 1);
        assert!(scenario.wanted(&["other".to_owned()]).is_empty());
    }
}

#[test]
fn every_curve_of_a_scenario_has_a_name_of_its_own() {
    for scenario in ALL {
        let plans = scenario.plans.iter().map(|plan| plan.read(false, &[]).unwrap());
        let (figures, _) = figures_of(&plans.collect::<Vec<_>>(), &Published::default());
        let (mut curves, mut files) = (BTreeSet::new(), BTreeSet::new());
        for figure in figures {
            assert!(files.insert(figure.name.clone()), "{}", figure.name);
            assert!(!figure.about.is_empty() && !figure.wrong.is_empty(), "{}", figure.name);
            for panel in &figure.panels {
                for curve in &panel.curves {
                    let name = (panel.experiment.clone(), curve.series.clone());
                    assert!(curves.insert(name.clone()), "{name:?}");
                }
            }
        }
    }
}

#[test]
fn a_claim_holds_within_its_limits_and_only_if_there_is_a_number() {
    let holds = |value, limit: fn(Claim) -> Claim| limit(KNOWN.claim("x", value)).holds();
    assert!(holds(Some(2.0), |claim| claim.at_least(2.0).at_most(2.0)));
    assert!(!holds(Some(1.9), |claim| claim.at_least(2.0)));
    assert!(!holds(Some(2.1), |claim| claim.at_most(2.0)));
    assert!(!holds(Some(f64::NAN), |claim| claim.at_most(2.0)));
    assert!(!holds(None, |claim| claim.at_least(0.0)));
}

#[test]
fn without_figures_no_claim_holds_and_each_names_its_source_and_has_limits() {
    let scores = Scores::default();
    for scenario in ALL {
        let claims = scenario.claims(&Evidence::new(&scores));
        assert!(!claims.is_empty());
        for claim in claims {
            assert!(!claim.holds(), "{claim:?}");
            assert!(claim.least.is_some() || claim.most.is_some(), "{claim:?}");
            assert!(claim.source.len() > 10 && claim.scenario == scenario.name, "{claim:?}");
        }
    }
}

#[test]
fn a_table_says_why_a_claim_does_not_hold() {
    let claim = KNOWN.claim("ratio", Some(0.5)).at_least(1.0).published(2.0).because("of that");
    let text = table(std::slice::from_ref(&claim));
    assert!(text.contains("| **does not hold** | 0.5 | at least 1 | 2 | ratio. Why not: of that"));
    let held = Claim { value: Some(1.0), ..claim };
    assert!(!table(&[held]).contains("of that"));
}
