//! Figures: what they are made of, how far they are from what was published, and how they become
//! files.

mod check;
mod of_plan;
mod output;
mod page;
mod score;

pub use check::Check;
pub use of_plan::{figures, figures_of};
pub use output::{draw, errors, figure_error, rows};
pub use page::{PageError, paper_page, plan_page};
pub use score::{Point, Scored, Scores, median};

use crate::sweep::JobId;

/// A figure: panels, and what there is to say of them.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of its files.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// What it shows, in a sentence or two.
    pub about: String,
    /// Where the model is wrong, and why, as far as is known.
    pub wrong: String,
    /// Panels side by side.
    pub columns: usize,
    /// Its panels.
    pub panels: Vec<Panel>,
}

/// A panel: an experiment.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// Name of the experiment, as tables have it.
    pub experiment: String,
    /// What stands above it.
    pub heading: String,
    /// What is varied.
    pub x: Axis,
    /// What is measured.
    pub y: Axis,
    /// The model's curves.
    pub curves: Vec<Curve>,
    /// Published curves that nothing is compared with.
    pub drawn: Vec<Drawn>,
    /// Places of x where something happened.
    pub marks: Vec<(f64, String)>,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Axis {
    /// What is along it.
    pub name: String,
    /// Its unit; may be empty.
    pub unit: String,
    /// Equal ratios are equally long.
    pub is_log: bool,
}

/// A curve of the model.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its name.
    pub series: String,
    /// Its colour and shape.
    pub slot: usize,
    /// What of its runs it shows.
    pub metric: String,
    /// Seeds of each point, from 1 on.
    pub seeds: u64,
    /// Places along x, and the run of each.
    pub points: Vec<(f64, JobId)>,
}

/// A published curve.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Its name.
    pub series: String,
    /// Its colour and shape.
    pub slot: usize,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

impl Figure {
    /// Whether there is anything to draw.
    #[must_use]
    pub fn has_points(&self, scores: &Scores) -> bool {
        self.panels.iter().any(|panel| {
            let mut curves = panel.curves.iter();
            !panel.drawn.is_empty()
                || curves.any(|curve| {
                    let scored = scores.curve(&panel.experiment, &curve.series);
                    scored.is_some_and(|scored| !scored.points.is_empty())
                })
        })
    }
}
