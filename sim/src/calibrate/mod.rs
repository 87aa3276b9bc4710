//! Calibration: fits the presets of adapters to published measurements, and says how far off the
//! model is for each source.
//!
//! Every published number is a row of a table. [`series::verdict`] says what has to be run on which
//! adapter to get it, or why it is not scored. [`fit::search`] changes those parameters of a preset
//! that are fitted, and no others.

mod dma;
pub mod fit;
mod ours;
pub mod report;
pub mod rows;
pub mod sensitivity;
pub mod series;
pub mod setup;
pub mod verbs;

use std::path::{Path, PathBuf};

use anyhow::Context;
use rayon::prelude::*;

use crate::files;
use crate::nic::{NAMES, Params, Preset};
use fit::Step;
use report::{Change, Report, Score};
use rows::Row;
use series::Plan;
use setup::{Experiment, Measured, Quantity, RunVerbs, VerbsSetup};

/// A table's name and text.
type Table = (&'static str, &'static str);

/// What presets are fitted to.
const CALIBRATION: Table =
    ("plots/reference/calibration.csv", include_str!("../../../plots/reference/calibration.csv"));

/// What they are checked with, and never fitted to.
const PREDICTIONS: [Table; 2] = [
    (
        "plots/reference/023-qp-bottleneck.csv",
        include_str!("../../../plots/reference/023-qp-bottleneck.csv"),
    ),
    ("plots/reference/rdma-concur.csv", include_str!("../../../plots/reference/rdma-concur.csv")),
];

/// All experiments have this seed: then two sets of parameters meet the same chance.
const SEED: u64 = 1;

/// Published numbers that presets are never fitted to, each with the benchmark that gives it. The
/// first is the row's, and says which experiment it belongs to.
///
/// # Errors
/// When a table cannot be read.
pub fn predictions() -> Result<Vec<(Row, VerbsSetup)>, qpmux_plots::table::TableError> {
    let mut all = Vec::new();
    for (file, text) in PREDICTIONS {
        for row in rows::parse(file, text)? {
            if let Some(Ok(Plan { experiment: Experiment::Verbs(setup), .. })) =
                series::verdict(&row)
            {
                all.push((row, setup));
            }
        }
    }
    Ok(all)
}

/// A published number, and what is done to get it.
#[derive(Clone, Debug)]
struct Point {
    row: Row,
    /// Whether presets may be fitted to it.
    fits: bool,
    plan: Result<Plan, &'static str>,
    /// The number in the unit of the model's results.
    published: f64,
}

/// An experiment, and the points whose numbers are among its results.
#[derive(Clone, Debug)]
struct Job {
    experiment: Experiment,
    results: Vec<(usize, Quantity)>,
}

/// Published numbers beside the presets that are to explain them.
#[derive(Debug)]
pub struct Calibration {
    points: Vec<Point>,
    presets: Vec<Preset>,
    run_verbs: RunVerbs,
    changes: Vec<Change>,
}

impl Calibration {
    /// The published numbers and the presets as they are.
    ///
    /// # Errors
    /// When a table or a preset cannot be read, or nothing is known of a row.
    pub fn load(run_verbs: RunVerbs) -> anyhow::Result<Self> {
        let presets = NAMES.map(Preset::load).into_iter().collect::<Result<_, _>>()?;
        let mut points = read(CALIBRATION, true)?;
        for table in PREDICTIONS {
            let mut more = read(table, false)?;
            for point in &mut more {
                let row = &point.row;
                let same = |known: &Point| {
                    (&known.row.source, &known.row.op, &known.row.x)
                        == (&row.source, &row.op, &row.x)
                };
                if points.iter().any(|known| known.fits && same(known)) {
                    point.plan = Err("presets are fitted to it: a row of calibration.csv");
                }
            }
            points.append(&mut more);
        }
        Ok(Self { points, presets, run_verbs, changes: Vec::new() })
    }

    /// Fits each preset's own fitted parameters to its points, or only those of the presets named;
    /// `progress` is told of each step.
    pub fn fit(&mut self, only: &[String], progress: &mut dyn FnMut(&str, Step)) {
        for at in 0..self.presets.len() {
            let preset = &self.presets[at];
            if !only.is_empty() && !only.iter().any(|name| name == preset.name) {
                continue;
            }
            let jobs = self.jobs(preset.name, |point| point.fits);
            let names: Vec<_> = preset.fitted().collect();
            let mut loss = |params: &Params| self.loss(&jobs, params);
            let mut told = |step| progress(preset.name, step);
            let (params, _) = fit::search(&preset.params, &names, &mut loss, &mut told);
            let changes = names.iter().filter_map(|name| {
                let (from, to) = (preset.params.get(name)?, params.get(name)?);
                let preset = preset.name;
                (from != to).then_some(Change { preset, parameter: name, from, to })
            });
            let changes: Vec<_> = changes.collect();
            self.changes.extend(changes);
            self.presets[at].params = params;
        }
    }

    /// How far the model is off.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut scores = Vec::new();
        for preset in &self.presets {
            let jobs = self.jobs(preset.name, |_| true);
            for (at, model) in self.run(&jobs, &preset.params) {
                let Point { row, fits, published, .. } = &self.points[at];
                scores.push(Score {
                    source: row.group().to_owned(),
                    series: row.series(),
                    x: row.x.clone(),
                    fits: *fits,
                    published: *published,
                    model,
                });
            }
        }
        let others = self.points.iter().filter_map(|point| {
            let reason = point.plan.as_ref().err()?;
            Some((point.row.group(), *reason))
        });
        Report::new(&scores, others, self.changes.clone())
    }

    /// Writes the presets with their present values; says where.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(&self, dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
        files::make_results_dir(dir)?;
        let write = |preset: &Preset| {
            let path = dir.join(format!("{}.toml", preset.name));
            files::write_whole(&path, preset.file_with(&preset.params).as_bytes())?;
            Ok(path)
        };
        self.presets.iter().map(write).collect()
    }

    /// What is to be run for the points of a preset, each experiment once.
    fn jobs(&self, preset: &str, wanted: impl Fn(&Point) -> bool) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        for (at, point) in self.points.iter().enumerate() {
            let Ok(Plan { preset: of, experiment, quantity }) = point.plan else { continue };
            if of != preset || !wanted(point) {
                continue;
            }
            let result = (at, quantity);
            match jobs.iter_mut().find(|job| job.experiment == experiment) {
                Some(job) => job.results.push(result),
                None => jobs.push(Job { experiment, results: vec![result] }),
            }
        }
        jobs
    }

    /// Runs experiments; for each of their points the model's number, if there is one.
    fn run(&self, jobs: &[Job], params: &Params) -> Vec<(usize, Option<f64>)> {
        let results = |job: &Job| {
            let measured: Option<Measured> = match &job.experiment {
                Experiment::Dma(setup) => Some(dma::measure(params, setup, SEED)),
                Experiment::Verbs(setup) => (self.run_verbs)(params, setup, SEED),
            };
            let number =
                |quantity| measured.map(|measured| job.experiment.result(quantity, &measured));
            let results = job.results.iter();
            results.map(|&(at, quantity)| (at, number(quantity))).collect::<Vec<_>>()
        };
        // In the order of the jobs, however many threads there are.
        jobs.par_iter().map(results).collect::<Vec<_>>().concat()
    }

    /// Sum of the squares of the logarithms of model over measurement.
    fn loss(&self, jobs: &[Job], params: &Params) -> f64 {
        let error = |(at, model): (usize, Option<f64>)| {
            model.map_or(0.0, |model| (model / self.points[at].published).ln().powi(2))
        };
        self.run(jobs, params).into_iter().map(error).sum()
    }
}

fn read((file, text): Table, fits: bool) -> anyhow::Result<Vec<Point>> {
    let point = |row: Row| {
        let at = format!("{file}:{}", row.line);
        let plan = series::verdict(&row).with_context(|| {
            format!("{at}: no experiment is known for `{}`, nor a reason why not", row.op)
        })?;
        let published = match (plan, series::published(&row)) {
            (Err(_), number) => number.unwrap_or(row.y),
            (Ok(_), Ok(number)) => number,
            (Ok(_), Err(unit)) => anyhow::bail!("{at}: the unit is `{unit}`"),
        };
        Ok(Point { row, fits, plan, published })
    };
    rows::parse(file, text)?.into_iter().map(point).collect()
}

#[cfg(test)]
mod tests;
