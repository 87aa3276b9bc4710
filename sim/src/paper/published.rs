//! The published numbers, as `plots/reference` has them.

use std::collections::BTreeMap;

use anyhow::Context;
use qpmux_plots::table;

use crate::calibrate;
use crate::calibrate::rows::Row;
use crate::calibrate::setup::{Verb, VerbsSetup};
use crate::figure::Axis;

/// Files of `plots/reference` that have the columns of experiments.
const FILES: [(&str, &str); 8] = [
    ("003.csv", include_str!("../../../plots/reference/003.csv")),
    ("008.csv", include_str!("../../../plots/reference/008.csv")),
    ("012.csv", include_str!("../../../plots/reference/012.csv")),
    ("016.csv", include_str!("../../../plots/reference/016.csv")),
    ("017.csv", include_str!("../../../plots/reference/017.csv")),
    ("018.csv", include_str!("../../../plots/reference/018.csv")),
    ("020.csv", include_str!("../../../plots/reference/020.csv")),
    ("022.csv", include_str!("../../../plots/reference/022.csv")),
];

/// A curve's points, x and y.
type Curve = Vec<(f64, f64)>;

/// All curves by experiment and series.
#[derive(Clone, Debug, Default)]
pub struct Published {
    curves: BTreeMap<(String, String), Curve>,
    /// What is along the figures of an experiment, x and y.
    axes: BTreeMap<String, (Axis, Axis)>,
}

impl Published {
    /// Reads them.
    ///
    /// # Errors
    /// When a file is not as it should be.
    pub fn load() -> anyhow::Result<Self> {
        let mut all = BTreeMap::new();
        let mut axes = BTreeMap::new();
        for (name, text) in FILES {
            for row in table::parse(name, text)? {
                axes.entry(row.experiment.clone()).or_insert_with(|| {
                    let (x, y) = (row.x_name.clone(), row.y_name.clone());
                    let y = Axis { name: y, unit: row.unit.clone(), is_log: false };
                    (Axis { name: x, ..Axis::default() }, y)
                });
                let x = row.x.parse().with_context(|| format!("{name}:{}: x", row.line))?;
                let curve: &mut Curve = all.entry((row.experiment, row.series)).or_default();
                curve.push((x, row.y));
            }
        }
        for (row, setup) in calibrate::predictions()? {
            let (experiment, series) = raw(&row, &setup);
            let x = row.x.parse().with_context(|| format!("line {}: x is no number", row.line))?;
            let curve = all.entry((experiment.to_owned(), series.to_owned())).or_default();
            curve.push((x, row.y));
        }
        Ok(Self { curves: all, axes })
    }

    /// What is along the figures of an experiment, x and y.
    #[must_use]
    pub fn axes(&self, experiment: &str) -> Option<(Axis, Axis)> {
        self.axes.get(experiment).cloned()
    }

    /// All curves: experiment, series and points.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &[(f64, f64)])> {
        self.curves.iter().map(|((experiment, series), curve)| {
            (experiment.as_str(), series.as_str(), curve.as_slice())
        })
    }

    /// A curve, if there is one.
    #[must_use]
    pub fn curve(&self, experiment: &str, series: &str) -> Option<&[(f64, f64)]> {
        self.curves.get(&(experiment.to_owned(), series.to_owned())).map(Vec::as_slice)
    }
}

/// Experiment and series of a number of raw verbs.
pub(super) fn raw(row: &Row, setup: &VerbsSetup) -> (&'static str, &'static str) {
    let experiment = match row.figure.as_str() {
        "rdma_concur" => "rdma-concur",
        _ => "023",
    };
    let series = match setup.verb {
        Verb::Read => "READ",
        Verb::Write => "WRITE",
        Verb::CompareSwap => "CAS",
        Verb::FetchAdd => "FAA",
    };
    (experiment, series)
}
