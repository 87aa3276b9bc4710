//! Markers of points: eight shapes, each filled or hollow.

use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;

use crate::canvas::Canvas;
use crate::error::PlotError;
use crate::style;

/// Corners of the shapes around a point, in pixels; the one without corners is a disc.
const SHAPES: [&[(i32, i32)]; 8] = [
    &[],
    &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
    &[(-5, 4), (0, -6), (5, 4)],
    &[(-6, 0), (0, -6), (6, 0), (0, 6)],
    &[(-5, -4), (0, 6), (5, -4)],
    &[(0, -7), (2, -2), (7, -2), (3, 1), (4, 6), (0, 3), (-4, 6), (-3, 1), (-7, -2), (-2, -2)],
    &[(-4, -5), (6, 0), (-4, 5)],
    &[(4, -5), (-6, 0), (4, 5)],
];
/// Radius of the disc, in pixels.
const DISC: i32 = 5;

/// The colour of a slot.
pub(super) fn colour(slot: usize) -> RGBColor {
    style::SERIES[slot % style::SERIES.len()].colour
}

/// The shape of a slot. Where the colours begin anew, the shapes are shifted against them.
fn shape(slot: usize) -> &'static [(i32, i32)] {
    SHAPES[(slot + slot / style::SERIES.len()) % SHAPES.len()]
}

/// A filled marker.
pub(super) fn filled<DB: DrawingBackend>(
    canvas: &Canvas<'_, DB>,
    slot: usize,
    at: (i32, i32),
) -> Result<(), PlotError> {
    match shape(slot) {
        [] => canvas.circle(at, DISC, colour(slot), None),
        corners => canvas.polygon(&around(at, corners, 1.0), colour(slot)),
    }
}

/// A hollow marker. It is larger, and stays visible around a filled one in the same place.
pub(super) fn hollow<DB: DrawingBackend>(
    canvas: &Canvas<'_, DB>,
    slot: usize,
    at: (i32, i32),
) -> Result<(), PlotError> {
    match shape(slot) {
        [] => {
            canvas.circle(at, DISC + 2, style::PAPER, None)?;
            canvas.circle(at, DISC + 2, colour(slot), Some(2))
        }
        corners => {
            let mut points = around(at, corners, 1.5);
            canvas.polygon(&points, style::PAPER)?;
            // Goes on to the second corner, for the first to be as sharp as the others.
            points.extend_from_within(..2);
            canvas.line(&points, colour(slot), 2)
        }
    }
}

fn around(at: (i32, i32), corners: &[(i32, i32)], times: f64) -> Vec<(i32, i32)> {
    let grown = |length: i32| (f64::from(length) * times).round() as i32;
    corners.iter().map(|&(x, y)| (at.0 + grown(x), at.1 + grown(y))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::SLOTS_MAX;
    use super::*;

    #[test]
    fn no_two_slots_look_the_same() {
        let looks: Vec<_> = (0..SLOTS_MAX).map(|slot| (colour(slot), shape(slot))).collect();
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "{index}");
        }
    }

    #[test]
    fn the_first_eight_differ_in_grey_filled_and_hollow() {
        let draw = |slot, empty| {
            let svg = crate::canvas::svg((50, 50), |canvas| match empty {
                true => hollow(canvas, slot, (25, 25)),
                false => filled(canvas, slot, (25, 25)),
            });
            let RGBColor(red, green, blue) = colour(slot);
            svg.unwrap().replace(&format!("#{red:02X}{green:02X}{blue:02X}"), "grey")
        };
        let mut seen = Vec::new();
        for look in (0..8).flat_map(|slot| [draw(slot, true), draw(slot, false)]) {
            assert!(look.contains("grey") && !seen.contains(&look), "{look}");
            seen.push(look);
        }
    }
}
