//! What runs of a job showed, each metric by its name.

use std::collections::BTreeMap;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Metric, Shown};
use crate::verbs::Estimate;

/// What runs that differ in nothing but their seeds have shown.
#[derive(Debug, JsonSchema, Serialize)]
pub struct JobReport {
    /// Their seeds.
    pub seeds: Vec<u64>,
    /// Metrics by name; those of sweeps.
    pub metrics: BTreeMap<String, Estimate>,
    /// Rules that were broken.
    pub violations: u64,
}

impl JobReport {
    /// Puts together what runs showed.
    #[must_use]
    pub fn new(seeds: Vec<u64>, runs: &[Shown]) -> Self {
        let names = runs.first().into_iter().flat_map(|shown| shown.metrics().keys());
        let values = |name: &str| -> Vec<f64> {
            runs.iter().filter_map(|shown| shown.metric(name)).collect()
        };
        let metrics = names.map(|name| (name.clone(), Estimate::of(&values(name))));
        let violations = values("violations").iter().sum::<f64>() as u64;
        Self { seeds, metrics: metrics.collect(), violations }
    }

    /// For people.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.metrics {
            let (title, unit) = match Metric::of(name) {
                Ok(metric) => (metric.title, metric.unit),
                Err(_) => ("", ""),
            };
            let spread = match self.seeds.len() {
                1 => String::new(),
                _ => format!(" +- {:.4}", value.ci95),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:20} {:.4}{spread} {unit}  ({title})", value.mean);
        }
        text
    }
}
