//! Figures as files: tables of numbers, drawings, and a table of errors beside each.

use std::fmt::Write;

use qpmux_plots::chart::{self, Chart, Kind, Scale, Series, VerticalMark};
use qpmux_plots::{PlotError, table};

use super::{Axis, Figure, Panel, Scored, Scores};

/// Where the model's numbers are from.
const SOURCE: &str = concat!("qpmux ", env!("CARGO_PKG_VERSION"));

/// The model's numbers of a figure, one a row.
#[must_use]
pub fn rows(figure: &Figure, scores: &Scores) -> String {
    let mut rows = Vec::new();
    for panel in &figure.panels {
        for curve in &panel.curves {
            let Some(scored) = scores.curve(&panel.experiment, &curve.series) else { continue };
            for point in &scored.points {
                let y = point.model.mean;
                rows.push(table::Row {
                    file: String::new(),
                    line: 0,
                    experiment: panel.experiment.clone(),
                    series: curve.series.clone(),
                    x_name: panel.x.name.clone(),
                    x: point.x.to_string(),
                    y_name: panel.y.name.clone(),
                    y,
                    unit: panel.y.unit.clone(),
                    source: SOURCE.to_owned(),
                    bar: Some((y - point.model.ci95, y + point.model.ci95)),
                });
            }
        }
    }
    table::render(&rows)
}

fn axis(axis: &Axis) -> chart::Axis {
    let title = match axis.unit.as_str() {
        "" => axis.name.clone(),
        unit => format!("{} ({unit})", axis.name),
    };
    let scale = if axis.is_log { Scale::Log } else { Scale::Linear };
    chart::Axis { title, scale, from_zero: true }
}

fn panel(of: &Panel, scores: &Scores) -> chart::Panel {
    let mut series = Vec::new();
    for curve in &of.curves {
        let Some(scored) = scores.curve(&of.experiment, &curve.series) else { continue };
        let bar = |point: &super::score::Point| chart::Point {
            x: point.x,
            y: point.model.mean,
            // An error bar below 0 has no place on a logarithmic axis.
            low: (point.model.mean - point.model.ci95).max(point.model.mean * 0.05),
            high: point.model.mean + point.model.ci95,
        };
        let published = scored.points.iter();
        let published: Vec<_> = published
            .filter_map(|point| Some(chart::Point::new(point.x, point.published?)))
            .collect();
        let kind = if published.is_empty() { Kind::Plain } else { Kind::Model };
        let draw = |kind, points| Series {
            name: curve.series.clone(),
            kind,
            slot: curve.slot,
            points,
            remark: String::new(),
        };
        series.push(draw(kind, scored.points.iter().map(bar).collect()));
        series.push(draw(Kind::Reference, published));
    }
    series.extend(of.drawn.iter().map(|drawn| Series {
        name: drawn.series.clone(),
        kind: Kind::Plain,
        slot: drawn.slot,
        points: drawn.points.iter().map(|(x, y)| chart::Point::new(*x, *y)).collect(),
        remark: String::new(),
    }));
    series.retain(|series| !series.points.is_empty());
    let mark = |(x, text): &(f64, String)| VerticalMark { x: *x, text: text.clone() };
    let heading = match error_of(of, scores) {
        Some(error) => format!("{}: error {:.1} %", of.heading, 100.0 * error),
        None => of.heading.clone(),
    };
    chart::Panel {
        heading,
        x: axis(&of.x),
        y: axis(&of.y),
        series,
        marks: of.marks.iter().map(mark).collect(),
    }
}

fn curves<'a>(panel: &'a Panel, scores: &'a Scores) -> impl Iterator<Item = &'a Scored> {
    panel.curves.iter().filter_map(|curve| scores.curve(&panel.experiment, &curve.series))
}

fn error_of(panel: &Panel, scores: &Scores) -> Option<f64> {
    let points = curves(panel, scores).flat_map(|curve| &curve.points);
    super::score::median(points.filter_map(super::score::Point::error).collect())
}

/// Median absolute relative error of a figure's scored points.
#[must_use]
pub fn figure_error(figure: &Figure, scores: &Scores) -> Option<f64> {
    let curves = figure.panels.iter().flat_map(|panel| curves(panel, scores));
    let points = curves.flat_map(|curve| &curve.points);
    super::score::median(points.filter_map(super::score::Point::error).collect())
}

/// A figure's drawing.
fn chart(figure: &Figure, scores: &Scores) -> Chart {
    Chart {
        title: figure.title.clone(),
        notes: Vec::new(),
        columns: figure.columns,
        panels: figure.panels.iter().map(|of| panel(of, scores)).collect(),
    }
}

/// A figure's SVG and PNG.
///
/// # Errors
/// When there is nothing to draw.
pub fn draw(figure: &Figure, scores: &Scores) -> Result<(String, Vec<u8>), PlotError> {
    let chart = chart(figure, scores);
    Ok((chart.svg()?, chart.png()?))
}

/// A figure's table of errors; `None` if nothing of it was published.
#[must_use]
pub fn errors(figure: &Figure, scores: &Scores) -> Option<String> {
    let mut text = format!("# {}\n\n{}\n\n", figure.title, figure.about);
    text += "Relative errors of the prediction; those in brackets are not scored.\n\n";
    let mut reasons = Vec::new();
    let mut any = false;
    for panel in &figure.panels {
        for curve in curves(panel, scores) {
            let places: Vec<_> =
                curve.points.iter().filter(|point| point.published.is_some()).collect();
            if places.is_empty() {
                continue;
            }
            any = true;
            let _ = write!(text, "- `{}`, {}: ", curve.experiment, curve.series);
            for point in places {
                let error = 100.0 * point.raw_error().unwrap_or(0.0);
                let _ = match point.excluded {
                    None => write!(text, "{}: {error:+.1} %, ", point.x),
                    Some(_) => write!(text, "({}: {error:+.1} %), ", point.x),
                };
                if let Some(reason) = point.excluded {
                    let reason = format!("`{}`, {}: {reason}", curve.experiment, curve.series);
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
            }
            let _ = match curve.median_error() {
                Some(error) => writeln!(text, "median {:.1} %", 100.0 * error),
                None => writeln!(text, "not scored"),
            };
        }
    }
    if !reasons.is_empty() {
        text += "\nNot scored:\n\n";
        reasons.iter().for_each(|reason| {
            let _ = writeln!(text, "- {reason}");
        });
    }
    let _ = write!(text, "\nWhere the model is wrong: {}\n", figure.wrong);
    any.then_some(text)
}
