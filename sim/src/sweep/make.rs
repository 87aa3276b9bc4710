//! Makes runs, on as many threads as there may be.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rayon::prelude::*;

use super::folder::RunFolder;
use super::record::Ended;
use super::runs::{Results, Run, Runs};

/// Part of the runs: the `number`th of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1 on.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// Told of each run that has ended, from any thread.
pub type Told<'a> = dyn Fn(&Run, &Ended) + Sync + 'a;

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(number, of)| {
            let shard = Shard { number: number.parse().ok()?, of: of.parse().ok()? };
            (1..=shard.of).contains(&shard.number).then_some(shard)
        });
        parsed.ok_or_else(|| "write I/N with I from 1 to N, as in 2/5".to_owned())
    }
}

/// The runs to make, longest first: then none that takes long is begun when all others have ended.
/// With a shard, its part of them, dealt like cards so that all parts take about as long.
#[must_use]
pub fn deal(runs: &Runs, shard: Option<Shard>) -> Vec<Run> {
    let mut all: Vec<Run> = runs.iter().collect();
    all.sort_by(|a, b| {
        let size = |run: &Run| runs.job(run.job).size();
        size(b).cmp(&size(a)).then_with(|| a.id.cmp(&b.id))
    });
    match shard {
        None => all,
        Some(Shard { number, of }) => all.into_iter().skip(number - 1).step_by(of).collect(),
    }
}

/// Makes a run; a panic is how it ended.
fn make(runs: &Runs, run: &Run) -> Ended {
    let made = catch_unwind(AssertUnwindSafe(|| runs.job(run.job).run(run.seed, &mut |_| {})));
    match made {
        Ok(Ok(shown)) => Ended::Done(shown),
        Ok(Err(error)) => Ended::Failed(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Ended::Failed(format!("panic: {}", text.unwrap_or("of unknown kind")))
        }
    }
}

/// Makes those of these runs that are not in the folder, and keeps each there.
///
/// # Errors
/// When one cannot be kept: nothing is begun any more then.
pub fn make_in(
    folder: &RunFolder,
    runs: &Runs,
    wanted: &[Run],
    told: &Told<'_>,
) -> anyhow::Result<()> {
    // One by one, in their order: a parallel iterator over a slice would begin in its middle.
    wanted.iter().par_bridge().try_for_each(|run| {
        let ended = match folder.get(run)? {
            Some(ended) => ended,
            None => {
                let ended = make(runs, run);
                folder.put(run, &ended)?;
                ended
            }
        };
        told(run, &ended);
        Ok(())
    })
}

/// Makes all runs and keeps none.
#[must_use]
pub fn make_all(runs: &Runs, told: &Told<'_>) -> Results {
    let ended: std::collections::BTreeMap<String, Ended> = deal(runs, None)
        .iter()
        .par_bridge()
        .map(|run| {
            let ended = make(runs, run);
            told(run, &ended);
            (run.id.clone(), ended)
        })
        .collect();
    let missing = || Ended::Failed("it was not made".to_owned());
    let results = runs.results(|run| {
        Ok::<_, std::convert::Infallible>(ended.get(&run.id).cloned().unwrap_or_else(missing))
    });
    let Ok(results) = results;
    results
}
