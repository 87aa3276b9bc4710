//! Runs that figures need, each made once for each seed, whatever shows it.

use std::collections::BTreeMap;

use super::record::Ended;
use crate::job::Job;
use crate::verbs::Estimate;

/// Number of a job among runs.
pub type JobId = usize;

/// A run to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name among all runs.
    pub id: String,
    /// What is run.
    pub job: JobId,
    /// With which seed.
    pub seed: u64,
}

/// All runs that plans need.
#[derive(Default)]
pub struct Runs {
    /// Jobs, with their number of seeds.
    jobs: Vec<(Job, u64)>,
    known: BTreeMap<String, JobId>,
}

/// What all runs showed, by job and seed.
#[derive(Clone, Debug, Default)]
pub struct Results(Vec<Vec<Ended>>);

impl Runs {
    /// Adds a job with so many seeds, from 1 on, unless it is there.
    pub fn add(&mut self, job: &Job, seeds: u64) -> JobId {
        let next = self.jobs.len();
        let id = *self.known.entry(job.id(0)).or_insert(next);
        match self.jobs.get_mut(id) {
            Some((_, most)) => *most = seeds.max(*most),
            None => self.jobs.push((job.clone(), seeds)),
        }
        id
    }

    /// A job.
    #[must_use]
    pub fn job(&self, id: JobId) -> &Job {
        &self.jobs[id].0
    }

    /// All runs, in the order of jobs and seeds.
    pub fn iter(&self) -> impl Iterator<Item = Run> {
        self.jobs.iter().enumerate().flat_map(|(number, (job, seeds))| {
            (1..=*seeds).map(move |seed| Run { id: job.id(seed), job: number, seed })
        })
    }

    /// Puts together what each run showed.
    ///
    /// # Errors
    /// What `ended` says of a run.
    pub fn results<E>(
        &self,
        mut ended: impl FnMut(&Run) -> Result<Ended, E>,
    ) -> Result<Results, E> {
        let mut results = vec![Vec::new(); self.jobs.len()];
        for run in self.iter() {
            results[run.job].push(ended(&run)?);
        }
        Ok(Results(results))
    }
}

impl Results {
    /// A metric of a job over its first seeds.
    ///
    /// # Errors
    /// Why one of its runs was not made, or that it does not show this.
    pub fn estimate(&self, job: JobId, seeds: u64, metric: &str) -> Result<Estimate, String> {
        let mut values = Vec::new();
        for (ended, seed) in self.0[job].iter().zip(1..=seeds) {
            match ended {
                Ended::Failed(why) => return Err(format!("seed {seed}: {why}")),
                Ended::Done(shown) => {
                    let value = shown.metric(metric);
                    values.push(value.ok_or_else(|| format!("its runs do not show {metric}"))?);
                }
            }
        }
        Ok(Estimate::of(&values))
    }

    /// How a run ended.
    #[must_use]
    pub fn ended(&self, job: JobId, seed: u64) -> Option<&Ended> {
        self.0.get(job)?.get(usize::try_from(seed.checked_sub(1)?).ok()?)
    }

    /// How all runs ended.
    pub fn iter(&self) -> impl Iterator<Item = &Ended> {
        self.0.iter().flatten()
    }

    /// The sum of a metric over all runs that show it.
    #[must_use]
    pub fn sum(&self, metric: &str) -> f64 {
        self.iter().filter_map(|ended| ended.shown()?.metric(metric)).sum()
    }
}
