//! A panel, drawn where it has been placed.

use plotters::prelude::DrawingBackend;

use super::layout::Place;
use super::{Kind, Panel, Scale, Series, marker};
use crate::canvas::{Canvas, Type};
use crate::error::PlotError;
use crate::style;

/// Length of a dash and of the gap behind it, in the line of a published series.
const REFERENCE_DASH: (f64, f64) = (4.0, 4.0);
/// Length of a dash and of the gap behind it, in the line of a vertical mark.
const MARK_DASH: (f64, f64) = (7.0, 4.0);
/// Half the width of an error bar's ends.
const CAP: i32 = 3;

/// Draws a panel: behind, what helps to read it; then published series; then the others.
pub(super) fn draw<DB: DrawingBackend>(
    canvas: &Canvas<'_, DB>,
    panel: &Panel,
    place: &Place,
) -> Result<(), PlotError> {
    let drawing = Drawing { canvas, panel, place };
    drawing.ground()?;
    drawing.titles()?;
    drawing.marks()?;
    let (published, own): (Vec<&Series>, Vec<&Series>) =
        panel.series.iter().partition(|series| series.kind == Kind::Reference);
    for series in &published {
        drawing.line(series)?;
    }
    for series in &published {
        drawing.points(series)?;
    }
    for series in &own {
        drawing.line(series)?;
    }
    own.iter().try_for_each(|series| drawing.points(series))?;
    if panel.series.iter().all(|series| series.points.is_empty()) {
        let (corner, size) = (place.corner, place.size);
        let centre = (corner.0 + size.0 / 2, corner.1 + size.1 / 2);
        let look = Type::new(style::HEADING).colour(style::MUTED).middle();
        canvas.text("no points", centre, look)?;
    }
    Ok(())
}

struct Drawing<'a, DB: DrawingBackend> {
    canvas: &'a Canvas<'a, DB>,
    panel: &'a Panel,
    place: &'a Place,
}

impl<DB: DrawingBackend> Drawing<'_, DB> {
    fn x(&self, value: f64) -> i32 {
        let width = f64::from(self.place.size.0);
        self.place.corner.0 + (self.place.scales.x.share(value) * width).round() as i32
    }

    fn y(&self, value: f64) -> i32 {
        let height = f64::from(self.place.size.1);
        self.bottom() - (self.place.scales.y.share(value) * height).round() as i32
    }

    fn bottom(&self) -> i32 {
        self.place.corner.1 + self.place.size.1
    }

    /// Grid, ticks with their labels, and the frame.
    fn ground(&self) -> Result<(), PlotError> {
        let (left, top) = self.place.corner;
        let (right, bottom) = (left + self.place.size.0, self.bottom());
        let look = Type::new(style::SMALL);
        for tick in &self.place.x_ticks {
            let x = self.x(tick.value);
            let length = if tick.label.is_empty() { 3 } else { 5 };
            if !tick.label.is_empty() {
                self.canvas.line(&[(x, top), (x, bottom)], style::GRID, 1)?;
                self.canvas.text(&tick.label, (x, bottom + 16), look.middle())?;
            }
            self.canvas.line(&[(x, bottom), (x, bottom + length)], style::FRAME, 1)?;
        }
        for tick in &self.place.y_ticks {
            let y = self.y(tick.value);
            let length = if tick.label.is_empty() { 3 } else { 5 };
            if !tick.label.is_empty() {
                self.canvas.line(&[(left, y), (right, y)], style::GRID, 1)?;
                self.canvas.text(&tick.label, (left - 9, y), look.end())?;
            }
            self.canvas.line(&[(left - length, y), (left, y)], style::FRAME, 1)?;
        }
        self.canvas.outline(self.place.corner, self.place.size, style::FRAME)
    }

    fn titles(&self) -> Result<(), PlotError> {
        let (heading, at) = &self.place.heading;
        if !heading.is_empty() {
            self.canvas.text(heading, *at, Type::new(style::HEADING).bold())?;
        }
        let look = Type::new(style::BODY).middle();
        let middle = self.place.corner.0 + self.place.size.0 / 2;
        self.canvas.text(&self.place.x_title, (middle, self.bottom() + 37), look)?;
        let middle = self.place.corner.1 + self.place.size.1 / 2;
        let (title, x) = &self.place.y_title;
        self.canvas.text(title, (*x, middle), look.turned())
    }

    fn marks(&self) -> Result<(), PlotError> {
        for mark in &self.panel.marks {
            let x = self.x(mark.x);
            let line = [(x, self.place.corner.1), (x, self.bottom())];
            self.canvas.dashed(&line, style::MUTED, MARK_DASH)?;
        }
        let look = Type::new(style::SMALL).colour(style::MUTED).middle();
        self.place.marks.iter().try_for_each(|(text, at)| self.canvas.text(text, *at, look))
    }

    /// The line through a series. There is none between words: nothing lies between them.
    fn line(&self, series: &Series) -> Result<(), PlotError> {
        let points: Vec<_> =
            series.points.iter().map(|point| (self.x(point.x), self.y(point.y))).collect();
        if points.len() < 2 || matches!(self.panel.x.scale, Scale::Words(_)) {
            return Ok(());
        }
        let colour = marker::colour(series.slot);
        match series.kind {
            Kind::Reference => self.canvas.dashed(&points, colour, REFERENCE_DASH),
            Kind::Model | Kind::Plain => self.canvas.line(&points, colour, 2),
        }
    }

    /// Error bars, and before them the markers.
    fn points(&self, series: &Series) -> Result<(), PlotError> {
        let colour = marker::colour(series.slot);
        for point in series.points.iter().filter(|point| point.low < point.high) {
            let (x, low, high) = (self.x(point.x), self.y(point.low), self.y(point.high));
            for bar in [
                [(x, low), (x, high)],
                [(x - CAP, low), (x + CAP, low)],
                [(x - CAP, high), (x + CAP, high)],
            ] {
                self.canvas.line(&bar, colour, 1)?;
            }
        }
        series.points.iter().try_for_each(|point| {
            let at = (self.x(point.x), self.y(point.y));
            match series.kind {
                Kind::Reference => marker::hollow(self.canvas, series.slot, at),
                Kind::Model | Kind::Plain => marker::filled(self.canvas, series.slot, at),
            }
        })
    }
}
