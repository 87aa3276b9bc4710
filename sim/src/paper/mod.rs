//! The published experiments, predicted.

mod era;
mod fit;
mod jobs;
mod published;
mod scene;
#[cfg(test)]
mod tests;

pub use era::{Era, EraError, EraFile, EraParams, clover_profile};
pub use fit::{Fitted, fit};
pub use jobs::{Job, JobError, JobId, Jobs, Metric, Results, Shown};
pub use published::Published;
pub use scene::{Scene, SceneError};
