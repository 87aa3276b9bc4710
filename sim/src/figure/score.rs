//! How far predictions are from what was published.

use serde::Serialize;

use super::{Curve, Figure};
use crate::paper::{Published, exclusion};
use crate::sweep::Results;
use crate::verbs::Estimate;

/// A point of a curve.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Its place.
    pub x: f64,
    /// What the model says, over all seeds.
    pub model: Estimate,
    /// What was published.
    pub published: Option<f64>,
    /// Why it is not scored, if it was published and is not.
    pub excluded: Option<&'static str>,
}

/// A curve of the model with what was published beside it.
#[derive(Clone, Debug, Serialize)]
pub struct Scored {
    /// The experiment.
    pub experiment: String,
    /// Its series.
    pub series: String,
    /// Its points.
    pub points: Vec<Point>,
    /// Why some of its runs were not made.
    pub failures: Vec<String>,
}

/// All curves.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scores(Vec<Scored>);

impl Point {
    /// Its absolute relative error, if it is scored.
    #[must_use]
    pub fn error(&self) -> Option<f64> {
        self.published.filter(|_| self.excluded.is_none())?;
        self.raw_error().map(f64::abs)
    }

    /// Model over published, less one; also of points that are not scored.
    #[must_use]
    pub fn raw_error(&self) -> Option<f64> {
        self.published.filter(|y| *y != 0.0).map(|y| self.model.mean / y - 1.0)
    }
}

impl Scored {
    fn of(experiment: &str, curve: &Curve, results: &Results, published: &Published) -> Self {
        let reference = published.curve(experiment, &curve.series);
        let (mut points, mut failures) = (Vec::new(), Vec::new());
        for (x, job) in &curve.points {
            match results.estimate(*job, curve.seeds, &curve.metric) {
                Ok(model) => {
                    let at_x = reference.and_then(|curve| curve.iter().find(|(at, _)| at == x));
                    let published = at_x.map(|(_, y)| *y);
                    let excluded = published.and_then(|_| exclusion(experiment, &curve.series, *x));
                    points.push(Point { x: *x, model, published, excluded });
                }
                Err(error) => failures.push(format!("x = {x}: {error}")),
            }
        }
        let (experiment, series) = (experiment.to_owned(), curve.series.clone());
        Self { experiment, series, points, failures }
    }

    /// The point at a place.
    #[must_use]
    pub fn at(&self, x: f64) -> Option<&Point> {
        self.points.iter().find(|point| point.x == x)
    }

    /// Median of its absolute relative errors, if any of its points is scored.
    #[must_use]
    pub fn median_error(&self) -> Option<f64> {
        median(self.points.iter().filter_map(Point::error).collect())
    }
}

impl Scores {
    /// Of all curves of these figures.
    #[must_use]
    pub fn of(figures: &[Figure], results: &Results, published: &Published) -> Self {
        let panels = figures.iter().flat_map(|figure| &figure.panels);
        let curves = panels.flat_map(|panel| {
            let of = |curve| Scored::of(&panel.experiment, curve, results, published);
            panel.curves.iter().map(of)
        });
        Self(curves.collect())
    }

    /// What a model would get that predicts so many times what was published.
    #[cfg(test)]
    pub(crate) fn scaled(published: &Published, factor: f64) -> Self {
        let of = |(experiment, series, points): (&str, &str, &[(f64, f64)])| {
            let point = |(x, y): &(f64, f64)| Point {
                x: *x,
                model: Estimate { mean: y * factor, ci95: 0.0 },
                published: Some(*y),
                excluded: exclusion(experiment, series, *x),
            };
            let points = points.iter().map(point).collect();
            let (experiment, series) = (experiment.to_owned(), series.to_owned());
            Scored { experiment, series, points, failures: Vec::new() }
        };
        Self(published.iter().map(of).collect())
    }

    /// All curves.
    pub fn iter(&self) -> impl Iterator<Item = &Scored> {
        self.0.iter()
    }

    /// Why some runs were not made.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let of = |curve: &Scored| {
            let (experiment, series) = (curve.experiment.clone(), curve.series.clone());
            let why = curve.failures.clone().into_iter();
            why.map(move |failure| format!("{experiment}, {series}, {failure}"))
        };
        self.0.iter().flat_map(of).collect()
    }

    /// A curve.
    #[must_use]
    pub fn curve(&self, experiment: &str, series: &str) -> Option<&Scored> {
        self.0.iter().find(|one| one.experiment == experiment && one.series == series)
    }

    /// The curves of experiments whose name begins so.
    pub fn group<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Scored> {
        self.0.iter().filter(move |one| {
            one.experiment.strip_prefix(name).is_some_and(|rest| {
                rest.is_empty() || (rest.starts_with('-') && !rest.contains("conditions"))
            })
        })
    }

    /// Median of all absolute relative errors of experiments whose name begins so.
    #[must_use]
    pub fn group_error(&self, name: &str) -> Option<f64> {
        let points = self.group(name).flat_map(|curve| &curve.points);
        median(points.filter_map(Point::error).collect())
    }
}

/// The median; of an even number, the mean of the two in the middle.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
