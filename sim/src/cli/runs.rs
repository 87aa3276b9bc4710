//! Makes runs while a bar shows how far they are.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::progress::Progress;
use crate::sweep::{Ended, Results, Run, RunFolder, Runs, deal, make_all, make_in};

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(200);

/// On how many threads runs are made.
#[derive(clap::Args)]
pub(super) struct PoolArgs {
    /// Runs that are made at a time; by default as many as there are cores. Results do not depend
    /// on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(super) jobs: Option<u16>,
}

impl PoolArgs {
    /// Runs at a time.
    pub(super) fn count(&self) -> usize {
        match self.jobs {
            Some(jobs) => usize::from(jobs),
            None => thread::available_parallelism().map_or(1, Into::into),
        }
    }

    fn pool(&self) -> anyhow::Result<rayon::ThreadPool> {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(self.count());
        builder.build().context("cannot start threads")
    }
}

/// How far runs are.
#[derive(Default)]
struct Done {
    runs: usize,
    size: u64,
    is_over: bool,
}

/// Makes all runs; with a folder, those that are not there, and what they showed is read from it.
pub(super) fn make(
    runs: &Runs,
    folder: Option<&RunFolder>,
    pool: &PoolArgs,
) -> anyhow::Result<Results> {
    let Some(folder) = folder else {
        let all = deal(runs, None);
        return shown(runs, &all, pool, |told| Ok(make_all(runs, told)));
    };
    make_some(runs, folder, &deal(runs, None), pool)?;
    kept(runs, folder)
}

/// Makes those of some runs that are not in a folder.
pub(super) fn make_some(
    runs: &Runs,
    folder: &RunFolder,
    wanted: &[Run],
    pool: &PoolArgs,
) -> anyhow::Result<()> {
    shown(runs, wanted, pool, |told| make_in(folder, runs, wanted, told))
}

/// What all runs showed, from a folder that has them all.
pub(super) fn kept(runs: &Runs, folder: &RunFolder) -> anyhow::Result<Results> {
    runs.results(|run| folder.get(run)?.with_context(|| format!("run {} is missing", run.id)))
}

/// Does work on a pool, which tells of runs that have ended, while a bar shows how many have.
fn shown<R: Send>(
    runs: &Runs,
    wanted: &[Run],
    pool: &PoolArgs,
    work: impl FnOnce(&crate::sweep::Told<'_>) -> anyhow::Result<R> + Send,
) -> anyhow::Result<R> {
    let size = |run: &Run| runs.job(run.job).size();
    let total: u64 = wanted.iter().map(size).sum::<u64>().max(1);
    let done = Mutex::new(Done::default());
    // Nobody panics while holding it.
    let lock = || done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let pool = pool.pool()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut progress = Progress::new();
            loop {
                let Done { runs, size, is_over } = *lock();
                if is_over {
                    break;
                }
                progress.share("runs", size as f64 / total as f64, (runs, wanted.len()));
                thread::sleep(TICK);
            }
            progress.finish();
        });
        let result = pool.install(|| {
            work(&|run: &Run, _: &Ended| {
                let mut done = lock();
                done.runs += 1;
                done.size += size(run);
            })
        });
        lock().is_over = true;
        result
    })
}
