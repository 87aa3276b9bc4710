//! All runs of a plan as one table: a row each, the same whoever made them and in which order.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::manifest::Manifest;
use super::record::Ended;

/// Columns that every table has, beside axes and metrics.
pub(crate) const FIXED: [&str; 4] = ["seed", "run", "status", "error"];

/// The table.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultTable {
    /// Names of the axes, which come first.
    pub axes: Vec<String>,
    /// Names of metrics, which come last.
    pub metrics: Vec<String>,
    /// A row for each run.
    pub rows: Vec<ResultRow>,
}

/// A run's row.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct ResultRow {
    /// Places on the axes.
    #[serde(skip)]
    pub at: Vec<String>,
    /// Seed.
    pub seed: u64,
    /// The run's name.
    pub run: String,
    /// `ok`, `broken` (it was made, and a rule of the transport was broken or an operation failed)
    /// or `failed` (it was not made).
    pub status: &'static str,
    /// Why it was not made.
    pub error: Option<String>,
    /// What it showed.
    pub metrics: BTreeMap<String, f64>,
}

/// A row with its places, as a line of JSON.
#[derive(JsonSchema, Serialize)]
pub(crate) struct ResultLine<'a> {
    /// Places on the axes, by their names.
    at: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    row: &'a ResultRow,
}

impl ResultTable {
    /// Of all rows of a manifest. `ended` says how a run ended.
    ///
    /// # Errors
    /// What `ended` says of a run.
    pub fn new<E>(
        manifest: &Manifest,
        mut ended: impl FnMut(&str) -> Result<Ended, E>,
    ) -> Result<Self, E> {
        let mut rows = Vec::new();
        for row in &manifest.rows {
            let ended = ended(&row.run)?;
            rows.push(ResultRow {
                at: row.at.clone(),
                seed: row.seed,
                run: row.run.clone(),
                status: ended.status().name(),
                metrics: ended.shown().map(|shown| shown.metrics().clone()).unwrap_or_default(),
                error: match ended {
                    Ended::Failed(why) => Some(why),
                    Ended::Done(_) => None,
                },
            });
        }
        let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.metrics.keys()).collect();
        let metrics = names.into_iter().cloned().collect();
        Ok(Self { axes: manifest.axes.clone(), metrics, rows })
    }

    /// Names of all columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let axes = self.axes.iter().map(String::as_str);
        axes.chain(FIXED).chain(self.metrics.iter().map(String::as_str))
    }

    /// As comma-separated values.
    ///
    /// # Errors
    /// When they cannot be written, which memory does not refuse.
    pub fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.columns())?;
        for row in &self.rows {
            let mut cells = row.at.clone();
            let error = row.error.clone().unwrap_or_default();
            cells.extend([row.seed.to_string(), row.run.clone(), row.status.to_owned(), error]);
            cells.extend(
                self.metrics
                    .iter()
                    .map(|name| row.metrics.get(name).map(f64::to_string).unwrap_or_default()),
            );
            writer.write_record(&cells)?;
        }
        Ok(writer.into_inner()?)
    }

    /// As lines of JSON.
    ///
    /// # Errors
    /// When a row cannot be written as JSON.
    pub fn json_lines(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for row in &self.rows {
            let at = self.axes.iter().map(String::as_str).zip(row.at.iter().map(String::as_str));
            serde_json::to_writer(&mut bytes, &ResultLine { at: at.collect(), row })?;
            bytes.push(b'\n');
        }
        Ok(bytes)
    }

    /// Rows that are not `ok`.
    pub fn bad(&self) -> impl Iterator<Item = &ResultRow> {
        self.rows.iter().filter(|row| row.status != "ok")
    }
}
