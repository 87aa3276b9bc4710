//! What a figure is made of, before anything is run.

use super::jobs::{JobId, Metric};

/// A figure: panels, and what there is to say of them.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of its files.
    pub name: &'static str,
    /// What stands above it.
    pub title: &'static str,
    /// What it shows, in a sentence or two.
    pub about: &'static str,
    /// Where the model is wrong, and why, as far as is known.
    pub wrong: &'static str,
    /// Panels side by side.
    pub columns: usize,
    /// Its panels.
    pub panels: Vec<Panel>,
}

/// A panel: an experiment.
#[derive(Clone, Debug)]
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
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// What is along it.
    pub name: &'static str,
    /// Its unit; may be empty.
    pub unit: &'static str,
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
    pub metric: Metric,
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

impl Axis {
    /// An axis along which equal differences are equally long.
    #[must_use]
    pub const fn linear(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, is_log: false }
    }

    /// An axis along which equal ratios are equally long.
    #[must_use]
    pub const fn log(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, is_log: true }
    }
}

impl Panel {
    /// A panel without curves.
    #[must_use]
    pub fn new(experiment: &str, heading: &str, x: Axis, y: Axis) -> Self {
        Self {
            experiment: experiment.to_owned(),
            heading: heading.to_owned(),
            x,
            y,
            curves: Vec::new(),
            drawn: Vec::new(),
            marks: Vec::new(),
        }
    }
}
