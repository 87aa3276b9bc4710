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

/// Makes figures, and adds the runs that they need.
type Make = fn(Effort, &Published, &mut Jobs) -> Result<Vec<Figure>, SceneError>;

/// All figures that are wanted, with the runs that they need added to `jobs`.
///
/// # Errors
/// When a preset or a published table cannot be read.
pub fn figures(
    effort: Effort,
    published: &Published,
    is_wanted: &dyn Fn(&Figure) -> bool,
    jobs: &mut Jobs,
) -> Result<Vec<Figure>, SceneError> {
    const ALL: [Make; 9] = [
        june::figures,
        drawn::prototype_limits,
        hero::figures,
        mapping::figures,
        raw::figures,
        drawn::reordering,
        beyond::figures,
        nic::figures,
        deploy::figures,
    ];
    let mut figures = Vec::new();
    for make in ALL {
        // What a figure that is not wanted would need is forgotten.
        let wanted = make(effort, published, &mut Jobs::default())?;
        if wanted.iter().any(is_wanted) {
            figures.extend(make(effort, published, jobs)?.into_iter().filter(is_wanted));
        }
    }
    Ok(figures)
}
