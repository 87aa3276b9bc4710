//! One side of the figure: its frame, its axes, its dots.

use plotters::prelude::DrawingBackend;

use super::Dot;
use super::check::Times;
use crate::canvas::{Canvas, Type};
use crate::error::PlotError;
use crate::font::Fonts;
use crate::style;
use crate::ticks::{self, Tick};

/// Height of what stands above a panel.
pub(super) const HEAD: i32 = 50;
/// Height of what stands below a panel.
pub(super) const FOOT: i32 = 44;

/// Rows thinner than this get no bands: there would be more bands than data.
const BANDED_MIN: f64 = 8.0;
/// Least distance between row labels.
const LABEL_LINE: f64 = 14.0;
/// Free space left and right of the dots, so that none sits on the frame.
const PAD: f64 = 9.0;
/// Share of a row's height over which its lanes are spread.
const LANES: f64 = 0.9;
/// Room for a row label.
const ROW_LABEL: f64 = 66.0;

/// One side of the figure.
pub(super) struct Panel<'a, DB: DrawingBackend> {
    /// What it is drawn on.
    pub(super) canvas: &'a Canvas<'a, DB>,
    /// Its upper left corner.
    pub(super) corner: (i32, i32),
    /// Width and height of its frame.
    pub(super) size: (i32, i32),
    /// How many rows it has.
    pub(super) rows: usize,
    /// Its time axis.
    pub(super) times: Times,
    /// Measures its labels.
    pub(super) fonts: &'a Fonts,
}

/// Most round numbers on the time axis.
const TICKS_MAX: usize = 7;

impl<DB: DrawingBackend> Panel<'_, DB> {
    fn row_height(&self) -> f64 {
        f64::from(self.size.1) / self.rows as f64
    }

    /// Height on the page of a place on a row, from 0 (its top) to 1.
    fn y(&self, row: usize, place: f64) -> i32 {
        self.corner.1 + ((row as f64 + place) * self.row_height()).round() as i32
    }

    /// Position on the page of a share of the time axis.
    fn x(&self, share: f64) -> i32 {
        let width = f64::from(self.size.0) - 2.0 * PAD;
        self.corner.0 + (PAD + share * width).round() as i32
    }

    fn ticks(&self) -> Vec<Tick> {
        ticks::linear(0.0, self.times.span_ms, TICKS_MAX)
    }

    fn bottom(&self) -> i32 {
        self.corner.1 + self.size.1
    }

    /// Bands, grid and frame.
    pub(super) fn draw_ground(&self) -> Result<(), PlotError> {
        if self.row_height() >= BANDED_MIN {
            for row in (0..self.rows).step_by(2) {
                let (top, bottom) = (self.y(row, 0.0), self.y(row, 1.0));
                let size = (self.size.0, bottom - top);
                self.canvas.fill((self.corner.0, top), size, style::BAND)?;
            }
        }
        for tick in self.ticks() {
            let x = self.x(tick.value / self.times.span_ms);
            self.canvas.line(&[(x, self.corner.1), (x, self.bottom())], style::GRID, 1)?;
        }
        self.canvas.outline(self.corner, self.size, style::FRAME)
    }

    /// The heading, and below it what the panel says, as a number.
    pub(super) fn draw_head(&self, heading: &str, dots: &[Dot]) -> Result<(), PlotError> {
        let (x, y) = self.corner;
        self.canvas.text(heading, (x, y - 34), Type::new(style::HEADING).bold())?;
        self.canvas.text(&spread(dots), (x, y - 14), Type::new(style::BODY))
    }

    /// Ticks, their labels, and the title of the time axis.
    pub(super) fn draw_time_axis(&self) -> Result<(), PlotError> {
        let bottom = self.bottom();
        for tick in self.ticks() {
            let x = self.x(tick.value / self.times.span_ms);
            self.canvas.line(&[(x, bottom), (x, bottom + 5)], style::FRAME, 1)?;
            self.canvas.text(&tick.label, (x, bottom + 14), Type::new(style::SMALL).middle())?;
        }
        let middle = self.corner.0 + self.size.0 / 2;
        let look = Type::new(style::BODY).middle();
        self.canvas.text("time since the first WRITE (ms)", (middle, bottom + 34), look)
    }

    /// The labels of the rows, and the title of their axis at `left`.
    pub(super) fn draw_row_labels(&self, labels: &[String], left: i32) -> Result<(), PlotError> {
        let every = (LABEL_LINE / self.row_height()).ceil().max(1.0) as usize;
        let look = Type::new(style::SMALL).mono().end();
        for (row, label) in labels.iter().enumerate().step_by(every) {
            let label = self.fonts.fit(label, style::SMALL, false, ROW_LABEL);
            self.canvas.text(&label, (self.corner.0 - 8, self.y(row, 0.5)), look)?;
        }
        let middle = self.corner.1 + self.size.1 / 2;
        let look = Type::new(style::BODY).middle().turned();
        self.canvas.text("server queue pair", (left, middle), look)
    }

    /// The dots, which come sorted by lane: other keys behind, the least used key in front, for
    /// it is the one that would be covered.
    pub(super) fn draw_dots(&self, dots: &[Dot]) -> Result<(), PlotError> {
        if dots.is_empty() {
            let centre = (self.corner.0 + self.size.0 / 2, self.corner.1 + self.size.1 / 2);
            let look = Type::new(style::HEADING).colour(style::MUTED).middle();
            return self.canvas.text("no WRITEs", centre, look);
        }
        let mut placed = Vec::with_capacity(dots.len());
        for row in dots.chunk_by(|a, b| a.server_qp == b.server_qp) {
            let lanes: Vec<&[Dot]> = row.chunk_by(|a, b| a.key == b.key).collect();
            for (index, lane) in lanes.iter().enumerate() {
                // Keys of one row lie beside each other, not on top of each other.
                let place = (index as f64 + 0.5) / lanes.len() as f64;
                let place = 0.5 + (place - 0.5) * LANES;
                placed.extend(lane.iter().map(|dot| (dot, place)));
            }
        }
        placed.sort_by_key(|(dot, _)| dot.key);
        for (dot, place) in placed {
            let share = (dot.time_ms - self.times.first_ms) / self.times.span_ms;
            let mark = dot.key.map_or(style::SPECK, |key| style::SERIES[key]);
            self.canvas.mark(mark, (self.x(share), self.y(dot.server_qp, place)))?;
        }
        Ok(())
    }
}

/// On how many rows the WRITEs of a key are.
fn spread(dots: &[Dot]) -> String {
    let mut lanes: Vec<(usize, usize)> =
        dots.iter().filter_map(|dot| Some((dot.key?, dot.server_qp))).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let rows = || lanes.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len);
    match (rows().min(), rows().max()) {
        (Some(1), Some(1)) => "WRITEs of one key go to 1 queue pair".to_owned(),
        (Some(least), Some(most)) if least == most => {
            format!("WRITEs of one key go to {most} queue pairs")
        }
        (Some(least), Some(most)) => {
            format!("WRITEs of one key go to {least}–{most} queue pairs")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(server_qp: usize, key: Option<usize>) -> Dot {
        Dot { time_ms: 0.0, server_qp, key }
    }

    #[test]
    fn the_heading_counts_rows_per_key() {
        assert_eq!(spread(&[]), "");
        assert_eq!(spread(&[dot(0, None), dot(1, None)]), "");
        let one = [dot(0, Some(0)), dot(0, Some(0)), dot(3, Some(1)), dot(1, None)];
        assert_eq!(spread(&one), "WRITEs of one key go to 1 queue pair");
        let two = [dot(0, Some(0)), dot(2, Some(0)), dot(0, Some(0))];
        assert_eq!(spread(&two), "WRITEs of one key go to 2 queue pairs");
        let mixed = [dot(0, Some(0)), dot(2, Some(0)), dot(1, Some(1))];
        assert_eq!(spread(&mixed), "WRITEs of one key go to 1–2 queue pairs");
    }
}
