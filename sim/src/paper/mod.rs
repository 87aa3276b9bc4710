//! The published experiments, predicted.

mod era;
mod exclusions;
mod figure;
mod figures;
mod fit;
mod jobs;
mod published;
mod scene;
#[cfg(test)]
mod tests;

pub use era::{Era, EraError, EraFile, EraParams, clover_profile};
pub use fit::{Fitted, fit};
pub use exclusions::exclusion;
pub use figure::{Axis, Curve, Drawn, Figure, Panel};
pub use figures::{Effort, all};
pub use jobs::{Job, JobError, JobId, Jobs, Metric, Results, Shown};
pub use published::Published;
pub use scene::{Scene, SceneError};
