//! What must hold of figures, whatever they show.

use std::collections::BTreeSet;

use super::{Era, Published, checks, exclusion, names, plans};
use crate::figure::{Check, Figure, Scores, draw, errors, figures_of, rows};
use crate::job::Job;
use crate::sweep::{Runs, make_all};

fn all(is_quick: bool, names: &[&str]) -> (Vec<Figure>, Runs) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let plans = plans(&names, is_quick, &[]).unwrap();
    figures_of(&plans, &Published::load().unwrap())
}

#[test]
fn every_name_has_its_figure_and_every_curve_its_own() {
    let (figures, jobs) = all(false, &[]);
    assert_eq!(figures.iter().map(|figure| figure.name.as_str()).collect::<Vec<_>>(), names());
    assert!(jobs.iter().count() > 1_000);
    let mut seen = BTreeSet::new();
    for panel in figures.iter().flat_map(|figure| &figure.panels) {
        for curve in &panel.curves {
            assert!(seen.insert((panel.experiment.clone(), curve.series.clone())), "{seen:?}");
        }
    }
}

/// The operations that a curve is named after, as in "operations 2,000 to 4,000": how many there
/// were before the first of them, and the last.
fn span(series: &str) -> Option<(u64, u64)> {
    let (from, to) = series.split_once("operations ")?.1.split_once(" to ")?;
    let number = |text: &str| text.replace(',', "").parse().ok();
    number(from).zip(number(to))
}

#[test]
fn curves_named_after_operations_are_measured_over_these() {
    let (figures, runs) = all(false, &[]);
    let panels = figures.iter().flat_map(|figure| &figure.panels);
    let mut spans = BTreeSet::new();
    for curve in panels.flat_map(|panel| &panel.curves) {
        let Some(span) = span(&curve.series) else { continue };
        for (threads, job) in &curve.points {
            let Job::Store(plan) = runs.job(*job) else { panic!("{} is no store", curve.series) };
            assert!(!plan.shortcuts, "{}, {threads} threads: it has a steady state", curve.series);
            assert_eq!((plan.warm_up, plan.warm_up + plan.ops), span, "{threads} threads");
        }
        spans.insert(span);
    }
    assert_eq!(spans, BTreeSet::from([(2_000, 4_000), (8_000, 16_000)]));
}

#[test]
fn no_curve_of_clover_without_steering_hides_that_it_wrote_no_shortcuts() {
    let (figures, runs) = all(false, &["020-conditions"]);
    let panels = figures.iter().flat_map(|figure| &figure.panels);
    for curve in
        panels.filter(|panel| panel.experiment.ends_with("-clover")).flat_map(|p| &p.curves)
    {
        let Job::Store(plan) = runs.job(curve.points[0].1) else { panic!("it is no store") };
        assert_eq!(plan.shortcuts, span(&curve.series).is_none(), "{}", curve.series);
    }
}

#[test]
fn every_published_point_is_predicted_or_drawn() {
    let (figures, _) = all(false, &[]);
    for (experiment, series, points) in Published::load().unwrap().iter() {
        let panels = figures.iter().flat_map(|figure| &figure.panels);
        let mut panels = panels.filter(|panel| panel.experiment == experiment);
        assert!(
            panels.any(|panel| {
                panel.drawn.iter().any(|drawn| drawn.series == series)
                    || panel.curves.iter().any(|curve| {
                        let predicted: Vec<f64> = curve.points.iter().map(|(x, _)| *x).collect();
                        curve.series == series && points.iter().all(|(x, _)| predicted.contains(x))
                    })
            }),
            "{experiment}, {series}"
        );
    }
}

#[test]
fn what_is_fitted_is_not_scored() {
    for (experiment, series) in super::fit::fitted() {
        let published = Published::load().unwrap();
        for (x, _) in published.curve(experiment, series).unwrap() {
            assert!(exclusion(experiment, series, *x).is_some(), "{experiment}, {series}, {x}");
        }
    }
    let published = Published::load().unwrap();
    let points = published.iter().flat_map(|(experiment, series, points)| {
        points.iter().map(move |(x, _)| exclusion(experiment, series, *x).is_some())
    });
    let excluded = points.filter(|is_excluded| *is_excluded).count();
    assert_eq!(excluded, 10 + 7 + 7 + 1 + 10 + 2 + 23 + 2, "more is left out than was said");
}

#[test]
fn figures_do_not_depend_on_the_number_of_threads() {
    let text = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (figures, runs) = all(true, &["018", "023"]);
        let results = pool.install(|| make_all(&runs, &|_, _| {}));
        let scores = Scores::of(&figures, &results, &Published::load().unwrap());
        figures
            .iter()
            .map(|figure| {
                let (svg, _) = draw(figure, &scores).unwrap();
                rows(figure, &scores) + &svg + &errors(figure, &scores).unwrap()
            })
            .collect::<String>()
    };
    let one = text(1);
    assert!(one.contains("018,atomics replaced,server queue pairs,8,throughput,"), "{one}");
    assert_eq!(one, text(3));
}

#[test]
fn a_prediction_that_is_right_meets_all_limits_and_one_that_is_twice_as_much_does_not() {
    let published = Published::load().unwrap();
    let met = |factor| {
        let scores = Scores::scaled(&published, factor);
        let checks = checks(&scores);
        assert!(checks.len() > 30, "{checks:?}");
        checks.iter().filter(|check| !Check::is_met(check)).count()
    };
    assert_eq!(met(1.0), 0);
    assert!(met(2.1) > 25);
}

#[test]
fn both_dates_can_be_loaded_and_written_again() {
    for era in Era::ALL {
        era.load().unwrap();
        let text = era.file_with(&[("round_ns", 1_234.0)]).unwrap();
        assert!(text.contains("round_ns = { value = 1234, kind = \"fitted\""), "{text}");
    }
}
