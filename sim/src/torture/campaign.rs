//! Many runs on several threads. What comes out does not depend on how many.

use std::ops::Range;

use rayon::ThreadPool;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::application::{self, BadApplication};
use super::crash;
use super::draw::{Shape, draw};
use super::flip;
use super::plan::Plan;
use super::report::{Report, Where};
use super::run::{Bad, execute};
use super::schedules::{self, Size};
use super::script::Script;
use super::tally::Tally;

/// Units of work between two looks at the progress.
const CHUNK: u64 = 128;

/// What is to be run.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// Seeds, each a run.
    pub seeds: Range<u64>,
    /// What of them is not left to chance.
    pub shape: Shape,
    /// Scripts, each a run.
    pub scripts: Vec<Script>,
    /// Schedules: small runs, all of them.
    pub schedules: Option<Size>,
    /// Threads; 0 is as many as there are processors.
    pub jobs: usize,
}

/// How far a campaign is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many seeds of so many have run.
    Seeds(u64, u64),
    /// So many sequences of requests of so many have run, with all their faults.
    Schedules(u64, u64),
}

/// What came of one unit of work: a seed, a script, or the schedules of one sequence of requests.
pub(super) struct Unit {
    pub(super) runs: u64,
    pub(super) tally: Tally,
    pub(super) digest: u64,
    pub(super) failed: u64,
    /// The first that failed.
    pub(super) bad: Option<Failed>,
}

/// A run that failed.
pub(super) enum Failed {
    /// One of packets that a seed, a script or a schedule decides.
    Packets(Box<Bad>),
    /// An application's.
    Application(BadApplication),
}

impl Failed {
    fn rule(&self) -> &'static str {
        match self {
            Failed::Packets(bad) => bad.rule(),
            Failed::Application(bad) => bad.rule,
        }
    }
}

impl Unit {
    /// A single run.
    pub(super) fn run(plan: &Plan) -> Unit {
        match execute(plan) {
            Ok(good) => {
                let digest = good.digest();
                Unit { runs: 1, tally: good.tally, digest, failed: 0, bad: None }
            }
            Err(bad) => {
                let (tally, digest) = (bad.tally.clone(), bad.digest());
                Unit { runs: 1, tally, digest, failed: 1, bad: Some(Failed::Packets(bad)) }
            }
        }
    }

    /// The run of a seed.
    fn of_seed(seed: u64, shape: &Shape) -> Unit {
        let Some(plan) = application::draw(seed, shape) else {
            return Unit::run(&draw(seed, shape));
        };
        let application::Ran { tally, digest, bad } = application::run(&plan);
        let failed = u64::from(bad.is_some());
        Unit { runs: 1, tally, digest, failed, bad: bad.map(Failed::Application) }
    }
}

/// Adds up what comes of units, in their order.
pub(super) struct Sum {
    pub(super) tally: Tally,
    pub(super) failed: u64,
    /// The first failures, of each rule one.
    pub(super) found: Vec<(Where, Failed)>,
    hash: Sha256,
}

impl Sum {
    fn new() -> Sum {
        Sum { tally: Tally::default(), failed: 0, found: Vec::new(), hash: Sha256::new() }
    }

    fn add(&mut self, place: Where, unit: Unit) -> u64 {
        self.tally.add(&unit.tally);
        self.failed += unit.failed;
        self.hash.update(unit.digest.to_le_bytes());
        let rule = unit.bad.as_ref().map(|bad| bad.rule());
        if let Some(bad) = unit.bad
            && self.found.iter().all(|(_, other)| Some(other.rule()) != rule)
        {
            self.found.push((place, bad));
        }
        unit.runs
    }

    /// Runs units in parallel, and adds them in order. How many runs there were.
    fn sweep(
        &mut self,
        pool: &ThreadPool,
        units: Range<u64>,
        run: impl Fn(u64) -> Unit + Sync,
        place: impl Fn(u64) -> Where,
        mut progress: impl FnMut(u64),
    ) -> u64 {
        let (mut runs, mut from) = (0, units.start);
        while from < units.end {
            let chunk = from..units.end.min(from + CHUNK);
            from = chunk.end;
            let done: Vec<Unit> =
                pool.install(|| chunk.clone().into_par_iter().map(&run).collect());
            for (unit, index) in done.into_iter().zip(chunk) {
                runs += self.add(place(index), unit);
            }
            progress(from - units.start);
        }
        runs
    }
}

impl Campaign {
    /// Runs everything.
    ///
    /// # Errors
    /// When no threads can be had.
    pub fn run(
        &self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.jobs).build()?;
        let mut sum = Sum::new();
        let script = |index: u64| &self.scripts[index as usize];
        let scripts = sum.sweep(
            &pool,
            0..self.scripts.len() as u64,
            |index| Unit::run(&script(index).plan),
            |index| Where::Script(script(index).name().to_owned()),
            |_| {},
        );
        let all = self.seeds.end.saturating_sub(self.seeds.start);
        let seeds = sum.sweep(
            &pool,
            self.seeds.clone(),
            |seed| Unit::of_seed(seed, &self.shape),
            Where::Seed,
            |done| progress(Progress::Seeds(done, all)),
        );
        let sequences = self.schedules.map_or_else(Vec::new, schedules::sequences);
        let all = sequences.len() as u64;
        let schedules = sum.sweep(
            &pool,
            0..all,
            |index| sequences[index as usize].run(),
            |index| Where::Schedule(sequences[index as usize].name()),
            |done| progress(Progress::Schedules(done, all)),
        );
        let sequences = self.schedules.map_or_else(Vec::new, flip::sequences);
        let all = sequences.len() as u64;
        let flips = sum.sweep(
            &pool,
            0..all,
            |index| sequences[index as usize].run(),
            |index| Where::Schedule(sequences[index as usize].name()),
            |done| progress(Progress::Schedules(done, all)),
        );
        let sequences = self.schedules.map_or_else(Vec::new, crash::sequences);
        let all = sequences.len() as u64;
        let crashes = sum.sweep(
            &pool,
            0..all,
            |index| sequences[index as usize].run(),
            |index| Where::Schedule(sequences[index as usize].name()),
            |done| progress(Progress::Schedules(done, all)),
        );
        let hash = std::mem::take(&mut sum.hash).finalize();
        let run_hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Report::new(
            self.seeds.start,
            [seeds, schedules, flips, crashes, scripts],
            sum,
            run_hash,
        ))
    }
}
