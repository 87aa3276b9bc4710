//! How far the model is off, per source.

use std::collections::BTreeMap;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use crate::text::group;

/// The median error of a source that presets are fitted to may be so large.
pub const FIT_LIMIT: f64 = 0.10;
/// The same of one that they are not fitted to.
pub const PREDICTION_LIMIT: f64 = 0.15;

/// A published number beside the model's.
#[derive(Clone, Debug)]
pub struct Score {
    /// Who measured.
    pub source: String,
    /// Which curve.
    pub series: String,
    /// Where on it.
    pub x: String,
    /// Whether presets may be fitted to it.
    pub fits: bool,
    /// M/s or us.
    pub published: f64,
    /// The same; none if the experiment cannot be run.
    pub model: Option<f64>,
}

/// A point of a curve.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Compared {
    /// Where on the curve.
    pub x: String,
    /// What was published: millions per second of rates, microseconds of latencies.
    pub published: f64,
    /// What the model says, in the same unit.
    pub model: f64,
}

impl Compared {
    fn error(&self) -> f64 {
        (self.model / self.published - 1.0).abs()
    }
}

/// A curve.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct SeriesReport {
    /// Its name.
    pub series: String,
    /// Median of its points' absolute relative errors.
    pub median_error: f64,
    /// Its points.
    pub points: Vec<Compared>,
}

/// What the model makes of one source.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct SourceReport {
    /// Who measured.
    pub source: String,
    /// Whether presets are fitted to it; else it is a prediction.
    pub fitted: bool,
    /// Numbers that the model has been run for.
    pub rows: usize,
    /// Numbers whose experiment cannot be run.
    pub not_run: usize,
    /// Median of the absolute relative errors; none if nothing was run.
    pub median_error: Option<f64>,
    /// Greatest of them.
    pub worst_error: Option<f64>,
    /// The curves, the one whose median is the greatest first.
    pub series: Vec<SeriesReport>,
}

impl SourceReport {
    /// Whether the median error is as small as it has to be; true if nothing was run.
    #[must_use]
    pub fn good(&self) -> bool {
        let limit = if self.fitted { FIT_LIMIT } else { PREDICTION_LIMIT };
        self.median_error.is_none_or(|error| error <= limit)
    }
}

/// Numbers that are not scored.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct NotScored {
    /// Whose.
    pub source: String,
    /// How many.
    pub rows: usize,
    /// Why not.
    pub reason: String,
}

/// A parameter that fitting has given another value.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Change {
    /// Whose.
    pub preset: &'static str,
    /// Its name.
    pub parameter: &'static str,
    /// The value before.
    pub from: f64,
    /// The value now.
    pub to: f64,
}

/// How far the model is off.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Report {
    /// Per source.
    pub sources: Vec<SourceReport>,
    /// What is not scored.
    pub not_scored: Vec<NotScored>,
    /// What fitting has changed.
    pub changes: Vec<Change>,
}

impl Report {
    /// From all scores, and the sources of numbers that are not scored with their reasons.
    #[must_use]
    pub fn new<'a>(
        scores: &[Score],
        others: impl Iterator<Item = (&'a str, &'static str)>,
        changes: Vec<Change>,
    ) -> Self {
        let mut sources: BTreeMap<(bool, &str), Vec<&Score>> = BTreeMap::new();
        for score in scores {
            sources.entry((!score.fits, &score.source)).or_default().push(score);
        }
        let sources =
            sources.into_iter().map(|((predicted, name), scores)| of(name, !predicted, &scores));
        let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for other in others {
            *reasons.entry(other).or_default() += 1;
        }
        let not_scored = reasons.into_iter().map(|((source, reason), rows)| NotScored {
            source: source.to_owned(),
            rows,
            reason: reason.to_owned(),
        });
        Self { sources: sources.collect(), not_scored: not_scored.collect(), changes }
    }

    /// Whether all sources' median errors are as small as they have to be.
    #[must_use]
    pub fn good(&self) -> bool {
        self.sources.iter().all(SourceReport::good)
    }

    /// For people.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut text = String::new();
        let (fitted, predicted): (Vec<_>, Vec<_>) =
            self.sources.iter().partition(|source| source.fitted);
        for (title, sources) in [("fitted", fitted), ("predicted, never fitted", predicted)] {
            let _ = writeln!(
                text,
                "{title:<28}{:>6}{:>8}{:>9}{:>8}",
                "rows", "not run", "median", "worst"
            );
            for source in sources {
                render(&mut text, source);
            }
            text.push('\n');
        }
        for NotScored { source, rows, reason } in &self.not_scored {
            let _ = writeln!(text, "not scored  {} of {source}: {reason}", group(*rows as u64));
        }
        for Change { preset, parameter, from, to } in &self.changes {
            let _ = writeln!(text, "changed     {preset} {parameter}: {from} to {to}");
        }
        text
    }
}

fn render(text: &mut String, source: &SourceReport) {
    let percent = |error: Option<f64>| {
        error.map_or_else(|| "-".to_owned(), |error| format!("{:.1} %", error * 100.0))
    };
    let _ = writeln!(
        text,
        "  {:<26}{:>6}{:>8}{:>9}{:>8}{}",
        source.source,
        group(source.rows as u64),
        group(source.not_run as u64),
        percent(source.median_error),
        percent(source.worst_error),
        if source.good() { "" } else { "  too far off" },
    );
    let Some(series) = source.series.first() else { return };
    let _ = writeln!(text, "    worst: {} ({})", series.series, percent(Some(series.median_error)));
    for Compared { x, published, model } in &series.points {
        let _ = writeln!(text, "      {x:>12}: {published:.3} published, {model:.3} in the model");
    }
}

/// The report on one source.
fn of(source: &str, fitted: bool, scores: &[&Score]) -> SourceReport {
    let mut series: BTreeMap<&str, Vec<Compared>> = BTreeMap::new();
    let mut errors = Vec::new();
    for score in scores {
        let Some(model) = score.model else { continue };
        let compared = Compared { x: score.x.clone(), published: score.published, model };
        errors.push(compared.error());
        series.entry(&score.series).or_default().push(compared);
    }
    let series = series.into_iter().filter_map(|(name, points)| {
        let median_error = median(points.iter().map(Compared::error).collect())?;
        Some(SeriesReport { series: name.to_owned(), median_error, points })
    });
    let mut series: Vec<_> = series.collect();
    series.sort_by(|a, b| b.median_error.total_cmp(&a.median_error));
    SourceReport {
        source: source.to_owned(),
        fitted,
        rows: errors.len(),
        not_run: scores.len() - errors.len(),
        worst_error: errors.iter().copied().reduce(f64::max),
        median_error: median(errors),
        series,
    }
}

/// The middle of them, or the mean of the two that are there.
fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    let upper = *numbers.get(middle)?;
    let lower = if numbers.len().is_multiple_of(2) { numbers[middle - 1] } else { upper };
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{Report, Score, median};

    fn score(source: &str, series: &str, published: f64, model: Option<f64>, fits: bool) -> Score {
        let (source, series) = (source.to_owned(), series.to_owned());
        Score { source, series, x: "1".to_owned(), fits, published, model }
    }

    #[test]
    fn a_source_is_judged_by_its_median() {
        let scores = [
            score("a", "s", 100.0, Some(105.0), true),
            score("a", "s", 100.0, Some(92.0), true),
            score("a", "t", 100.0, Some(300.0), true),
            score("a", "t", 100.0, None, true),
            score("b", "s", 100.0, Some(88.0), true),
            score("b", "s", 100.0, Some(88.0), false),
        ];
        let others = [("c", "no"), ("c", "no")];
        let report = Report::new(&scores, others.into_iter(), Vec::new());
        let a = &report.sources[0];
        assert_eq!((a.rows, a.not_run), (3, 1));
        assert!((a.median_error.unwrap() - 0.08).abs() < 1e-9 && a.good());
        assert_eq!(a.series[0].series, "t");
        assert!(!report.sources[1].good(), "12 % where presets are fitted");
        assert!(report.sources[2].good(), "12 % where they are not");
        assert!(!report.good());
        assert_eq!(report.not_scored[0].rows, 2);
        let text = report.render_text();
        assert!(text.contains("too far off") && text.contains("2 of c: no"), "{text}");
    }

    #[test]
    fn nothing_run_is_no_error() {
        let report = Report::new(&[score("a", "s", 1.0, None, true)], [].into_iter(), Vec::new());
        assert!(report.good());
        assert_eq!(report.sources[0].median_error, None);
    }

    #[test]
    fn the_middle_is_between_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
