//! The figures, by what they are about.

mod beyond;
mod deploy;
mod drawn;
mod hero;
mod june;
mod mapping;
mod nic;
mod raw;

use super::figure::Figure;
use super::jobs::Jobs;
use super::published::Published;
use super::scene::SceneError;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Few points, short runs: to see that all works.
    Quick,
    /// What is published.
    Full,
}

impl Effort {
    /// Operations of Clover that count, in each run.
    #[must_use]
    pub fn store_ops(self) -> u64 {
        match self {
            Effort::Quick => 3_000,
            Effort::Full => 60_000,
        }
    }

    /// Seeds of each run.
    #[must_use]
    pub fn seeds(self) -> u64 {
        match self {
            Effort::Quick => 1,
            Effort::Full => 3,
        }
    }

    /// All of these, or the first and the last.
    #[must_use]
    pub fn pick<T: Copy>(self, all: &[T]) -> Vec<T> {
        match (self, all) {
            (Effort::Quick, [first, .., last]) => vec![*first, *last],
            _ => all.to_vec(),
        }
    }
}

/// All figures, with the runs that they need added to `jobs`.
///
/// # Errors
/// When a preset or a published table cannot be read.
pub fn all(effort: Effort, published: &Published, jobs: &mut Jobs) -> Result<Vec<Figure>, SceneError> {
    let mut figures = june::figures(effort, jobs)?;
    figures.extend(drawn::prototype_limits(published));
    figures.extend(hero::figures(effort, jobs)?);
    figures.extend(mapping::figures(effort, jobs)?);
    figures.extend(raw::figures(effort, jobs)?);
    figures.extend(drawn::reordering(published));
    figures.extend(beyond::figures(effort, jobs)?);
    figures.extend(nic::figures(effort, jobs)?);
    figures.extend(deploy::figures(effort, jobs)?);
    Ok(figures)
}
