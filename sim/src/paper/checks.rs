//! What predictions have to hold, and whether they do. The limits were set before anything was
//! compared.

use crate::figure::{Check, Scored, Scores};

/// Modes whose reads and updates have a latency that is checked.
const LATENCIES: [&str; 3] = ["clover", "write steering", "write + read steering"];
/// The five modes.
const MODES: [&str; 5] =
    ["clover", "write steering", "write + read steering", "mapping", "atomics replaced"];
/// Pairs that were published closer than this may come in any order.
const APART: f64 = 1.1;

/// All checks of what was run.
#[must_use]
pub fn checks(scores: &Scores) -> Vec<Check> {
    let mut checks = Vec::new();
    errors(scores, &mut checks);
    collapse(scores, &mut checks);
    order(scores, &mut checks);
    latencies(scores, &mut checks);
    bytes(scores, &mut checks);
    checks
}

fn at_most(checks: &mut Vec<Check>, what: String, value: Option<f64>, most: f64) {
    if let Some(value) = value {
        checks.push(Check { what, value, least: 0.0, most });
    }
}

/// Median errors.
fn errors(scores: &Scores, checks: &mut Vec<Check>) {
    for (name, most) in [("022", 0.15), ("023", 0.15), ("rdma-concur", 0.15)] {
        at_most(checks, format!("{name}: median error"), scores.group_error(name), most);
    }
    for name in ["003", "020"] {
        at_most(checks, format!("{name}: median error"), scores.group_error(name), 0.12);
        for curve in scores.group(name) {
            let what = format!("{}, {}: median error", curve.experiment, curve.series);
            at_most(checks, what, curve.median_error(), 0.20);
        }
    }
}

fn mean(scores: &Scores, experiment: &str, series: &str, x: f64) -> Option<f64> {
    Some(scores.curve(experiment, series)?.at(x)?.model.mean)
}

/// Clover stops growing at 32 threads.
fn collapse(scores: &Scores, checks: &mut Vec<Check>) {
    let clover = |x| mean(scores, "020-50", "clover", x);
    for x in [48.0, 64.0] {
        let ratio = clover(x).zip(clover(32.0)).map(|(here, before)| here / before);
        at_most(checks, format!("020-50, clover: {x} threads over 32"), ratio, 1.02);
        let curve = scores.curve("020-50", "clover");
        let error = curve.and_then(|curve| curve.at(x)).and_then(|point| point.error());
        at_most(checks, format!("020-50, clover: error at {x} threads"), error, 0.20);
    }
    let steering = mean(scores, "020-50", "write + read steering", 64.0);
    if let Some((clover, steering)) = clover(64.0).zip(steering) {
        let what = "020-50: clover over write + read steering at 64 threads".to_owned();
        checks.push(Check { what, value: clover / steering, least: 0.23, most: 0.45 });
    }
}

/// Modes that were published apart come in the same order.
fn order(scores: &Scores, checks: &mut Vec<Check>) {
    for experiment in ["020-5", "020-50"] {
        let curves: Vec<&Scored> =
            MODES.iter().filter_map(|mode| scores.curve(experiment, mode)).collect();
        let mut wrong = Vec::new();
        for (number, one) in curves.iter().enumerate() {
            for other in &curves[number + 1..] {
                for x in [32.0, 48.0, 64.0] {
                    let Some((a, b)) = one.at(x).zip(other.at(x)) else { continue };
                    let Some((first, second)) = a.published.zip(b.published) else { continue };
                    let is_apart = first.max(second) > APART * first.min(second);
                    if is_apart && (first > second) != (a.model.mean > b.model.mean) {
                        wrong.push(format!("{} and {} at {x}", one.series, other.series));
                    }
                }
            }
        }
        if !curves.is_empty() {
            let mut what = format!("{experiment}: pairs of modes in the wrong order");
            if !wrong.is_empty() {
                what = format!("{what} ({})", wrong.join("; "));
            }
            at_most(checks, what, Some(wrong.len() as f64), 0.0);
        }
    }
}

/// 99th percentiles at 64 threads are within a factor of two.
fn latencies(scores: &Scores, checks: &mut Vec<Check>) {
    for experiment in ["017-reads", "017-writes"] {
        for series in LATENCIES {
            let point = scores.curve(experiment, series).and_then(|curve| curve.at(64.0));
            let ratio = point.and_then(|point| Some(point.model.mean / point.published?));
            if let Some(value) = ratio {
                let what = format!("{experiment}, {series}: p99 over published, 64 threads");
                checks.push(Check { what, value, least: 0.5, most: 2.0 });
            }
        }
    }
}

/// Bytes per operation.
fn bytes(scores: &Scores, checks: &mut Vec<Check>) {
    let largest = |series: &str, least: f64, most: f64| {
        let curve = scores.curve("016", series)?;
        let points = curve.points.iter().filter(|point| (least..=most).contains(&point.x));
        points.filter_map(|point| point.error()).reduce(f64::max)
    };
    for (series, from, to, limit) in [
        ("write + read steering", 0.0, 64.0, 0.02),
        ("clover", 0.0, 64.0, 0.07),
        ("write steering", 0.0, 16.0, 0.05),
        ("write steering", 17.0, 64.0, 0.30),
    ] {
        let what = format!("016, {series}: largest error up to {to} threads");
        at_most(checks, what, largest(series, from, to), limit);
    }
}
