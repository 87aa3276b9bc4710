//! What must hold for a chart to be drawn.

use super::{Chart, PANELS_MAX, Panel, SLOTS_MAX, Scale};
use crate::error::PlotError;

/// Larger numbers, of either sign, have no place: their differences would not be numbers.
const LARGEST: f64 = 1e100;

/// Smaller numbers have no place on a logarithmic axis: they are zero but for rounding.
const SMALLEST: f64 = 1e-100;

/// Finds the first thing that has no place in the chart.
pub(super) fn check(chart: &Chart) -> Result<(), PlotError> {
    if chart.panels.len() > PANELS_MAX {
        let (count, max) = (chart.panels.len(), PANELS_MAX);
        return Err(PlotError::TooManyPanels { count, max });
    }
    let mut series = chart.panels.iter().flat_map(|panel| &panel.series);
    if series.all(|series| series.points.is_empty()) {
        return Err(PlotError::NoPoints);
    }
    chart.panels.iter().try_for_each(check_panel)
}

fn check_panel(panel: &Panel) -> Result<(), PlotError> {
    for series in &panel.series {
        if series.slot >= SLOTS_MAX {
            let (slot, max) = (series.slot, SLOTS_MAX - 1);
            return Err(PlotError::Slot { series: series.name.clone(), slot, max });
        }
        for (index, point) in series.points.iter().enumerate() {
            let wrong = misplaced(&panel.x.scale, "x", point.x)
                .or_else(|| misplaced(&panel.y.scale, "y", point.y))
                .or_else(|| misplaced(&panel.y.scale, "low", point.low))
                .or_else(|| misplaced(&panel.y.scale, "high", point.high))
                .or_else(|| upside_down(point.low, point.y, point.high));
            if let Some(what) = wrong {
                let (panel, series) = (panel.heading.clone(), series.name.clone());
                return Err(PlotError::Point { panel, series, point: index, what });
            }
        }
    }
    for (index, mark) in panel.marks.iter().enumerate() {
        if let Some(what) = misplaced(&panel.x.scale, "x", mark.x) {
            let (panel, text) = (panel.heading.clone(), mark.text.clone());
            return Err(PlotError::Mark { panel, mark: index, text, what });
        }
    }
    Ok(())
}

/// Why a number has no place on an axis.
fn misplaced(scale: &Scale, name: &str, value: f64) -> Option<String> {
    if value.is_nan() || value.abs() > LARGEST {
        return Some(format!("{name} is {value:e}, which has no place on an axis"));
    }
    match scale {
        Scale::Linear => None,
        Scale::Log if value >= SMALLEST => None,
        Scale::Log => Some(format!(
            "{name} is {value}, but only numbers above 0 have a place on a logarithmic axis"
        )),
        Scale::Words(words) => {
            let count = words.len();
            let known = value.fract() == 0.0 && (0.0..count as f64).contains(&value);
            (!known).then(|| format!("{name} is {value}, but the axis has {count} words from 0"))
        }
    }
}

fn upside_down(low: f64, y: f64, high: f64) -> Option<String> {
    let wrong = low > y || high < y;
    wrong.then(|| format!("y is {y}, which is not within its error bar from {low} to {high}"))
}
