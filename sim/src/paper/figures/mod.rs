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
    /// All points, three seeds, caches as stale as they get.
    Full,
}

impl Effort {
    /// Operations of Clover that count, in each run.
    #[must_use]
    pub fn store_ops(self) -> u64 {
        match self {
            Effort::Quick => 1_500,
            Effort::Full => 60_000,
        }
    }

    /// Operations for each key and machine before anything counts: with ten, caches of ends of
    /// lists are as stale as they get.
    #[must_use]
    pub fn warm_up(self) -> u64 {
        match self {
            Effort::Quick => 1,
            Effort::Full => 10,
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

/// What figures are made with.
pub(super) struct Stage<'a> {
    effort: Effort,
    published: &'a Published,
    jobs: Jobs,
}

/// Makes a figure, and adds the runs that it needs.
type Make = fn(&mut Stage) -> Result<Figure, SceneError>;

const ALL: [(&str, Make); 23] = [
    ("003", june::figure),
    ("008", drawn::reordering),
    ("012", drawn::prototype_limits),
    ("016", hero::bytes),
    ("017", hero::latencies),
    ("018", mapping::destinations),
    ("020", hero::throughput),
    ("020-conditions", hero::conditions),
    ("022", mapping::one_word),
    ("023", raw::by_queue_pairs),
    ("rdma-concur", raw::by_requests),
    ("threads", beyond::threads),
    ("zipf", beyond::popularity),
    ("object-size", beyond::object_size),
    ("steered-keys", beyond::steered_keys),
    ("queue-pairs", nic::queue_pairs),
    ("sharing", nic::sharing),
    ("depth", nic::depth),
    ("memory", nic::memory),
    ("own-box", deploy::clover),
    ("own-box-server-qps", deploy::server_qps),
    ("own-box-connections", deploy::connections),
    ("own-box-latency", deploy::latency),
];

/// Names of all figures.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|(name, _)| *name).collect()
}

/// The figures of these names, or all if there are none, and the runs that they need.
///
/// # Errors
/// When a preset or a published table cannot be read.
pub fn figures(
    effort: Effort,
    published: &Published,
    names: &[String],
) -> Result<(Vec<Figure>, Jobs), SceneError> {
    let mut stage = Stage { effort, published, jobs: Jobs::default() };
    let mut figures = Vec::new();
    for (name, make) in ALL {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            figures.push(make(&mut stage)?);
        }
    }
    Ok((figures, stage.jobs))
}
