//! The published experiments, predicted.

mod checks;
mod era;
mod exclusions;
mod figure;
mod figures;
mod fit;
mod gallery;
mod jobs;
mod output;
mod published;
mod scene;
mod score;
#[cfg(test)]
mod tests;

pub use checks::{Check, checks};
pub use era::{Era, EraError, EraParams, clover_profile};
pub use exclusions::exclusion;
pub use figure::{Axis, Curve, Drawn, Figure, Panel};
pub use figures::{Effort, figures, names};
pub use fit::{Fitted, fit};
pub use gallery::gallery;
pub use jobs::{Job, JobError, JobId, Jobs, Metric, Results, Shown};
pub use output::{draw, errors, figure_error, rows};
pub use published::Published;
pub use scene::{Scene, SceneError};
pub use score::{Point, Scored, Scores, median};
