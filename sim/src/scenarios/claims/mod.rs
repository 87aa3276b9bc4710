//! What the literature of scenarios is known for, and whether it comes out.
//!
//! Limits are from the literature, and were set before the outcome was looked at. What does not
//! hold stays here, with its reason.

pub(super) mod nic_state;
pub(super) mod receive_path;
pub(super) mod state_survives;
pub(super) mod transports;

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use crate::figure::Scores;

/// A result that literature is known for.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// What it says, in our words.
    pub result: &'static str,
    /// Authors, title or venue, year, and the figure or table.
    pub source: &'static str,
}

/// A relation or a number that has to come out, and what came out.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Claim {
    /// The scenario.
    pub scenario: String,
    /// What the literature is known for.
    pub known_for: String,
    /// Where: authors, venue, year, figure.
    pub source: String,
    /// What is compared, in the unit that it says.
    pub what: String,
    /// The least it may be; `null` if that does not matter.
    pub least: Option<f64>,
    /// The most it may be; `null` if that does not matter.
    pub most: Option<f64>,
    /// What was published, where it is a number.
    pub published: Option<f64>,
    /// What came out; `null` if no run shows it.
    pub value: Option<f64>,
    /// Why it does not hold, as far as is known.
    pub reason: Option<String>,
}

/// What the runs of a scenario's figures have shown.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a>(&'a Scores);

impl Known {
    /// A claim that `value` is within limits, which are to follow. `value` is `None` if a curve or
    /// a point of it is missing, and then the claim does not hold.
    #[must_use]
    pub fn claim(&self, what: &str, value: Option<f64>) -> Claim {
        Claim {
            scenario: String::new(),
            known_for: self.result.to_owned(),
            source: self.source.to_owned(),
            what: what.to_owned(),
            least: None,
            most: None,
            published: None,
            value,
            reason: None,
        }
    }
}

impl Claim {
    /// It may not be less.
    #[must_use]
    pub fn at_least(self, least: f64) -> Self {
        Self { least: Some(least), ..self }
    }

    /// It may not be more.
    #[must_use]
    pub fn at_most(self, most: f64) -> Self {
        Self { most: Some(most), ..self }
    }

    /// The number that was published.
    #[must_use]
    pub fn published(self, published: f64) -> Self {
        Self { published: Some(published), ..self }
    }

    /// Why it does not hold.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.value.is_some_and(|value| {
            self.least.is_none_or(|least| value >= least)
                && self.most.is_none_or(|most| value <= most)
        })
    }

    /// Its limits, for people.
    #[must_use]
    pub fn limits(&self) -> String {
        match (self.least, self.most) {
            (Some(least), Some(most)) => format!("{} to {}", rounded(least), rounded(most)),
            (Some(least), None) => format!("at least {}", rounded(least)),
            (None, Some(most)) => format!("at most {}", rounded(most)),
            (None, None) => "none".to_owned(),
        }
    }
}

impl<'a> Evidence<'a> {
    /// Of what is known of a scenario's curves.
    #[must_use]
    pub fn new(scores: &'a Scores) -> Self {
        Self(scores)
    }

    /// All points of a curve, place and mean over seeds, in the order of places; none if there is
    /// no such curve. A panel's experiment is the name of its figure, with the names of the places
    /// on the axes that have panels and, where a figure has several metrics, that of the metric.
    #[must_use]
    pub fn points(&self, experiment: &str, series: &str) -> Vec<(f64, f64)> {
        let points = self.0.curve(experiment, series).into_iter().flat_map(|curve| &curve.points);
        let mut points: Vec<_> = points.map(|point| (point.x, point.model.mean)).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        points
    }

    /// A curve's value at a place.
    #[must_use]
    pub fn at(&self, experiment: &str, series: &str, x: f64) -> Option<f64> {
        let points = self.points(experiment, series);
        points.iter().find(|(place, _)| *place == x).map(|(_, y)| *y)
    }

    /// A curve's greatest value.
    #[must_use]
    pub fn greatest(&self, experiment: &str, series: &str) -> Option<f64> {
        self.points(experiment, series).into_iter().map(|(_, y)| y).reduce(f64::max)
    }

    /// A curve's last value.
    #[must_use]
    pub fn last(&self, experiment: &str, series: &str) -> Option<f64> {
        self.points(experiment, series).last().map(|(_, y)| *y)
    }

    /// Where a curve has its least value.
    #[must_use]
    pub fn place_of_least(&self, experiment: &str, series: &str) -> Option<f64> {
        let points = self.points(experiment, series);
        let least = points.into_iter().min_by(|one, other| one.1.total_cmp(&other.1));
        least.map(|(x, _)| x)
    }
}

/// The quotient of two numbers that are there; none by 0.
pub(super) fn ratio(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    Some(above? / below.filter(|below| *below != 0.0)?)
}

/// Claims as a table of Markdown.
#[must_use]
pub fn table(claims: &[Claim]) -> String {
    let mut text = "| | came out | limit | published | of what | known from |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    let number = |value: Option<f64>| value.map_or("-".to_owned(), rounded);
    for claim in claims {
        let mark = if claim.holds() { "holds" } else { "**does not hold**" };
        let reason = claim.reason.as_ref().filter(|_| !claim.holds());
        let reason = reason.map_or(String::new(), |reason| format!(" Why not: {reason}"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {mark} | {} | {} | {} | {}.{reason} | {} ({}) |",
            number(claim.value),
            claim.limits(),
            number(claim.published),
            claim.what,
            claim.known_for,
            claim.source
        );
    }
    text
}

/// To four digits, without zeros at its end.
fn rounded(value: f64) -> String {
    crate::nic::rounded(value).to_string()
}
