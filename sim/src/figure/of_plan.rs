//! The figures of a plan.

use super::{Axis, Curve, Drawn, Figure, Panel};
use crate::paper::Published;
use crate::plan::{DrawnOf, Measure, Plan, Plot, Point};
use crate::sweep::Runs;

/// The figures of a plan, and the runs that they need.
#[must_use]
pub fn figures(plan: &Plan, published: &Published, runs: &mut Runs) -> Vec<Figure> {
    let jobs: Vec<usize> =
        plan.points.iter().map(|point| runs.add(&point.job, plan.seeds)).collect();
    plan.plots.iter().map(|plot| figure(plan, plot, &jobs, published)).collect()
}

/// The figures of plans, and the runs that they need.
#[must_use]
pub fn figures_of(plans: &[Plan], published: &Published) -> (Vec<Figure>, Runs) {
    let mut runs = Runs::default();
    let all = plans.iter().flat_map(|plan| figures(plan, published, &mut runs)).collect();
    (all, runs)
}

fn figure(plan: &Plan, plot: &Plot, jobs: &[usize], published: &Published) -> Figure {
    let mut figure = Figure {
        name: plot.name.clone(),
        title: plot.title.clone(),
        about: plot.about.clone(),
        wrong: plot.wrong.clone(),
        columns: plot.columns,
        panels: Vec::new(),
    };
    if plot.x.is_some() {
        for (point, job) in plan.points.iter().zip(jobs) {
            if plot.only.matches(&point.at) {
                add(&mut figure, plan, plot, point, *job);
            }
        }
    }
    plot.drawn.iter().for_each(|drawn| draw(&mut figure, drawn, published));
    figure
}

/// Adds a point to the panels that it belongs to.
fn add(figure: &mut Figure, plan: &Plan, plot: &Plot, point: &Point, job: usize) {
    let Some(side) = &plot.x else { return };
    let value = |axis: usize| &plan.axes[axis].values[point.at[axis]];
    let Some(x) = value(side.axis).number() else { return };
    let names = plot.panels.iter().map(|axis| value(*axis).name.clone());
    let labels = plot.panels.iter().map(|axis| value(*axis).label.clone());
    let (names, labels): (Vec<String>, Vec<String>) = (names.collect(), labels.collect());
    let series: Vec<String> = plot.series.iter().map(|axis| value(*axis).label.clone()).collect();
    let series = if series.is_empty() { plan.name.clone() } else { series.join(", ") };
    let slot = plot.series.iter().find_map(|axis| value(*axis).slot);
    for measure in &plot.y {
        let panel = panel(figure, plot, measure, (&names, &labels));
        let next = panel.curves.len();
        let curve = match panel.curves.iter().position(|curve| curve.series == series) {
            Some(number) => &mut panel.curves[number],
            None => {
                panel.curves.push(Curve {
                    series: series.clone(),
                    slot: slot.unwrap_or(next),
                    metric: measure.metric.name.clone(),
                    seeds: plan.seeds,
                    points: Vec::new(),
                });
                &mut panel.curves[next]
            }
        };
        curve.points.push((x, job));
    }
}

/// The panel of a measure and of places on the axes that have panels; makes it.
fn panel<'a>(
    figure: &'a mut Figure,
    plot: &Plot,
    measure: &Measure,
    (names, labels): (&[String], &[String]),
) -> &'a mut Panel {
    let is_several = plot.y.len() > 1;
    let name = is_several.then_some(measure.name.as_str());
    let parts = [plot.experiment.as_str()].into_iter().chain(names.iter().map(String::as_str));
    let experiment = parts.chain(name).collect::<Vec<_>>().join("-");
    if let Some(number) = figure.panels.iter().position(|panel| panel.experiment == experiment) {
        return &mut figure.panels[number];
    }
    let heading = is_several.then_some(measure.heading.as_str());
    let parts = labels.iter().map(String::as_str).chain(heading);
    let parts = parts.chain(Some(plot.heading.as_str()).filter(|heading| !heading.is_empty()));
    let x = plot.x.as_ref().map(|side| Axis {
        name: side.label.clone(),
        unit: side.unit.clone(),
        is_log: side.is_log,
    });
    figure.panels.push(Panel {
        heading: parts.collect::<Vec<_>>().join(", "),
        experiment,
        x: x.unwrap_or_default(),
        y: y_axis(measure),
        curves: Vec::new(),
        drawn: Vec::new(),
        marks: Vec::new(),
    });
    let last = figure.panels.len() - 1;
    &mut figure.panels[last]
}

fn y_axis(measure: &Measure) -> Axis {
    Axis { name: measure.label.clone(), unit: measure.unit.clone(), is_log: measure.is_log }
}

/// Adds published curves, to the panel of their experiment or one of their own.
fn draw(figure: &mut Figure, of: &DrawnOf, published: &Published) {
    let known = figure.panels.iter().position(|panel| panel.experiment == of.experiment);
    let number = known.unwrap_or_else(|| {
        figure.panels.push(Panel {
            experiment: of.experiment.clone(),
            heading: of.heading.clone(),
            ..Panel::default()
        });
        figure.panels.len() - 1
    });
    let panel = &mut figure.panels[number];
    let axes = published.axes(&of.experiment);
    if let Some((x, y)) = axes.filter(|_| panel.curves.is_empty()) {
        (panel.x, panel.y) = (x, y);
    }
    let end = |series: &String| {
        let (x, _) = published.curve(&of.experiment, series)?.last()?;
        Some(*x)
    };
    let longest = of.series.iter().filter_map(end).fold(0.0, f64::max);
    let first_slot = panel.curves.len() + panel.drawn.len();
    for (slot, series) in (first_slot..).zip(&of.series) {
        let Some(points) = published.curve(&of.experiment, series) else { continue };
        let ended = points.last().map_or(0.0, |(x, _)| *x);
        if let Some(text) = of.ended.as_ref().filter(|_| ended < longest) {
            let first = series.split(' ').next().unwrap_or(series);
            panel.marks.push((ended, format!("{first}: {text}")));
        }
        panel.drawn.push(Drawn { series: series.clone(), slot, points: points.to_vec() });
    }
}
