//! Is the data of the figure such that it can be drawn?

use super::{Dot, Placement};
use crate::error::PlotError;
use crate::style;

/// The shortest time axis, in ms: below that, captures have no resolution.
const SPAN_MIN_MS: f64 = 1e-6;

/// The time axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    /// What is drawn at 0.
    pub(super) first_ms: f64,
    /// From there to the end. Finite, and at least [`SPAN_MIN_MS`].
    pub(super) span_ms: f64,
}

/// Checks everything that drawing relies on, and returns the time axis of both panels.
pub(super) fn check(figure: &Placement) -> Result<Times, PlotError> {
    if figure.server_qps.is_empty() {
        return Err(PlotError::NoRows);
    }
    let (count, max) = (figure.keys.len(), style::SERIES.len());
    if count > max {
        return Err(PlotError::TooManyKeys { count, max });
    }
    for (list, dots) in [("captured", &figure.captured), ("multiplexed", &figure.multiplexed)] {
        for (index, dot) in dots.iter().enumerate() {
            check_dot(figure, list, index, dot)?;
        }
    }
    times(figure)
}

fn check_dot(
    figure: &Placement,
    list: &'static str,
    dot: usize,
    Dot { time_ms, server_qp: row, key }: &Dot,
) -> Result<(), PlotError> {
    let (time_ms, row) = (*time_ms, *row);
    if !time_ms.is_finite() {
        return Err(PlotError::Time { list, dot, time_ms });
    }
    let rows = figure.server_qps.len();
    if row >= rows {
        return Err(PlotError::Row { list, dot, row, rows });
    }
    let keys = figure.keys.len();
    match *key {
        Some(key) if key >= keys => Err(PlotError::Key { list, dot, key, keys }),
        _ => Ok(()),
    }
}

fn times(figure: &Placement) -> Result<Times, PlotError> {
    let all = || figure.captured.iter().chain(&figure.multiplexed).map(|dot| dot.time_ms);
    let first_ms = all().reduce(f64::min).ok_or(PlotError::NoDots)?;
    let last_ms = all().reduce(f64::max).ok_or(PlotError::NoDots)?;
    let span_ms = last_ms - first_ms;
    if !span_ms.is_finite() {
        return Err(PlotError::Span { first_ms, last_ms });
    }
    // One moment alone has no scale of its own: any will do.
    let span_ms = if span_ms == 0.0 { 1.0 } else { span_ms.max(SPAN_MIN_MS) };
    Ok(Times { first_ms, span_ms })
}
