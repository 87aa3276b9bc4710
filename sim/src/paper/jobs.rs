//! Runs that figures need, each made once for each seed, whatever shows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::store::{self, StoreError, StorePlan};
use crate::verbs::{self, Estimate, VerbsError, VerbsPlan};

/// A run without its seed.
#[derive(Clone, Debug)]
pub enum Job {
    /// Clover.
    Store(Box<StorePlan>),
    /// Raw verbs.
    Verbs(Box<VerbsPlan>),
}

/// Number of a job.
pub type JobId = usize;

/// What of a run a figure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Thousand operations per second.
    Kops,
    /// Million operations per second.
    Mops,
    /// Bytes of IP packets per operation.
    Bytes,
    /// Share of requests at the servers that were the next of their queue pair.
    InSequence,
    /// 99th percentile of a kind of operation's latency, us.
    P99(&'static str),
}

/// What one run showed, by metric.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    ops_per_s: f64,
    bytes: f64,
    in_sequence: Option<f64>,
    p99_us: BTreeMap<&'static str, f64>,
    /// Rules of the transport that were broken.
    pub violations: u64,
    /// Events.
    pub events: u64,
}

/// Why a run was not made.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Of Clover.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Of raw verbs.
    #[error(transparent)]
    Verbs(#[from] VerbsError),
}

/// All runs that figures need.
#[derive(Default)]
pub struct Jobs {
    list: Vec<Job>,
    known: BTreeMap<String, JobId>,
}

/// What all runs showed, by job and seed.
pub struct Results(Vec<Vec<Result<Shown, String>>>);

impl Shown {
    fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Kops => Some(self.ops_per_s / 1e3),
            Metric::Mops => Some(self.ops_per_s / 1e6),
            Metric::Bytes => Some(self.bytes),
            Metric::InSequence => self.in_sequence,
            Metric::P99(kind) => self.p99_us.get(kind).copied(),
        }
    }
}

impl Job {
    /// Makes the run.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn run(&self, seed: u64) -> Result<Shown, JobError> {
        match self {
            Job::Store(plan) => {
                let outcome = store::run(plan, seed, &mut |_| {})?;
                let p99 = |kind: &store::KindOutcome| {
                    (kind.kind, kind.latency.value_at_quantile(0.99) as f64 / 1e3)
                };
                Ok(Shown {
                    ops_per_s: outcome.ops_per_s,
                    bytes: outcome.bytes_per_op,
                    in_sequence: Some(outcome.in_sequence),
                    p99_us: outcome.kinds.iter().map(p99).collect(),
                    violations: outcome.violations,
                    events: outcome.events,
                })
            }
            Job::Verbs(plan) => {
                let outcome = verbs::run(plan, seed, &mut |_| {})?;
                let latency = &outcome.measured.latency;
                Ok(Shown {
                    ops_per_s: outcome.measured.ops_per_s,
                    bytes: outcome.bytes_per_op,
                    in_sequence: None,
                    p99_us: [("verb", latency.value_at_quantile(0.99) as f64 / 1e3)].into(),
                    violations: outcome.violations.total(),
                    events: outcome.events,
                })
            }
        }
    }

    /// About how long it takes, in operations.
    fn size(&self) -> u64 {
        match self {
            Job::Store(plan) => (plan.warm_up + plan.ops) * 8,
            Job::Verbs(plan) => plan.ops,
        }
    }
}

impl Jobs {
    /// Adds a run, unless it is there.
    pub fn add(&mut self, job: Job) -> JobId {
        let next = self.list.len();
        let id = *self.known.entry(format!("{job:?}")).or_insert(next);
        if id == next {
            self.list.push(job);
        }
        id
    }

    /// Number of runs for each seed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Makes all runs, with seeds from 1 on. `progress` is told the share that is done, of a
    /// thousand. The result does not depend on the number of threads.
    pub fn run(&self, seeds: u64, progress: &(dyn Fn(u64) + Sync)) -> Results {
        let total = self.list.iter().map(Job::size).sum::<u64>().max(1) * seeds;
        let done = AtomicU64::new(0);
        let runs: Vec<(usize, u64)> =
            (0..self.list.len()).flat_map(|job| (1..=seeds).map(move |seed| (job, seed))).collect();
        let shown: Vec<Result<Shown, String>> = runs
            .into_par_iter()
            .map(|(job, seed)| {
                let shown = self.list[job].run(seed).map_err(|error| error.to_string());
                let size = self.list[job].size();
                progress((done.fetch_add(size, Ordering::Relaxed) + size) * 1_000 / total);
                shown
            })
            .collect();
        let mut by_job = vec![Vec::new(); self.list.len()];
        for (number, shown) in shown.into_iter().enumerate() {
            by_job[number / seeds as usize].push(shown);
        }
        Results(by_job)
    }
}

impl Results {
    /// A metric of a job over all seeds.
    ///
    /// # Errors
    /// Why one of its runs was not made, or that it does not show this.
    pub fn estimate(&self, job: JobId, metric: Metric) -> Result<Estimate, String> {
        let mut values = Vec::new();
        for shown in &self.0[job] {
            let value = shown.as_ref().map_err(Clone::clone)?.get(metric);
            values.push(value.ok_or_else(|| format!("it does not show {metric:?}"))?);
        }
        Ok(Estimate::of(&values))
    }

    /// All runs that were made.
    pub fn shown(&self) -> impl Iterator<Item = &Shown> {
        self.0.iter().flatten().filter_map(|shown| shown.as_ref().ok())
    }
}
