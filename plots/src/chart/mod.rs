//! A chart of an experiment: panels of lines with markers, and one legend for all.
//!
//! Numbers of the model have filled markers, published ones hollow markers of the same shape and
//! colour, so that a pair is seen as one. Panels do not share their axes.

mod check;
mod layout;
mod legend;
mod marker;
mod panel;
mod scale;

use plotters::prelude::DrawingBackend;

use crate::canvas::{self, Canvas, Type};
use crate::error::PlotError;
use crate::font::Fonts;
use crate::style;
use layout::Layout;

/// Most panels of a chart.
pub const PANELS_MAX: usize = 24;
/// Most series that can be told apart: [`Series::slot`] is below it.
pub const SLOTS_MAX: usize = style::SERIES.len() * style::SERIES.len();

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Sentences below the title.
    pub notes: Vec<String>,
    /// How many panels stand side by side.
    pub columns: usize,
    /// The panels, row by row.
    pub panels: Vec<Panel>,
}

/// A part of a chart with its own axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What stands above it; may be empty.
    pub heading: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, the first behind the others.
    pub series: Vec<Series>,
    /// Events along the horizontal axis.
    pub marks: Vec<VerticalMark>,
}

/// An axis. It spans what is drawn along it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axis {
    /// What is along it, with its unit.
    pub title: String,
    /// How numbers become lengths.
    pub scale: Scale,
    /// Whether 0 is on it, too, if it is linear.
    pub from_zero: bool,
}

/// How the numbers of an axis become lengths.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Scale {
    /// Equal differences are equally long.
    #[default]
    Linear,
    /// Equal ratios are equally long; numbers must be above 0.
    Log,
    /// Not numbers but these words: 0 is the first. No line joins the points.
    Words(Vec<String>),
}

/// Where the points of a series come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The model: filled markers. The legend says so where there are published ones to compare.
    Model,
    /// Published by others: hollow markers, and a thin dashed line.
    Reference,
    /// Neither is said: filled markers.
    Plain,
}

/// Points that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend. A [`Kind::Reference`] shares name and slot with what it is compared
    /// to, and with them the line of the legend.
    pub name: String,
    /// Where its points come from.
    pub kind: Kind,
    /// Its colour and shape, below [`SLOTS_MAX`]; those below 8 differ in both.
    pub slot: usize,
    /// Its points; the line joins them in this order.
    pub points: Vec<Point>,
    /// A short text behind the name in the legend; may be empty.
    pub remark: String,
}

/// A point, and the ends of its error bar, which are both `y` if there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Its place on the horizontal axis.
    pub x: f64,
    /// Its place on the vertical axis.
    pub y: f64,
    /// The lower end of its error bar.
    pub low: f64,
    /// The upper end of its error bar.
    pub high: f64,
}

impl Point {
    /// A point without an error bar.
    #[must_use]
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, low: y, high: y }
    }
}

/// Something that happened at one place of the horizontal axis.
#[derive(Debug, Clone, PartialEq)]
pub struct VerticalMark {
    /// Where.
    pub x: f64,
    /// What.
    pub text: String,
}

impl Chart {
    /// The chart as SVG, whose text is drawn by its viewer.
    ///
    /// # Errors
    /// If there is nothing to draw, or something has no place; the error names it.
    ///
    /// ```
    /// use qpmux_plots::chart::{Axis, Chart, Kind, Panel, Point, Series};
    ///
    /// let series = Series {
    ///     name: "one queue pair".to_owned(),
    ///     kind: Kind::Plain,
    ///     slot: 0,
    ///     points: vec![Point::new(1.0, 18.3), Point::new(2.0, 37.1)],
    ///     remark: String::new(),
    /// };
    /// let axis = |title: &str| Axis {
    ///     title: title.to_owned(),
    ///     from_zero: true,
    ///     ..Axis::default()
    /// };
    /// let panel = Panel {
    ///     heading: String::new(),
    ///     x: axis("threads"),
    ///     y: axis("throughput (Mops/s)"),
    ///     series: vec![series],
    ///     marks: vec![],
    /// };
    /// let chart =
    ///     Chart { title: "Writes".to_owned(), notes: vec![], columns: 1, panels: vec![panel] };
    /// assert!(chart.svg()?.starts_with("<svg"));
    /// # Ok::<(), qpmux_plots::PlotError>(())
    /// ```
    pub fn svg(&self) -> Result<String, PlotError> {
        check::check(self)?;
        let fonts = Fonts::new()?;
        let layout = Layout::new(self, &fonts);
        canvas::svg(layout.size, |canvas| draw(canvas, self, &layout))
    }

    /// The chart as a PNG file with twice as many pixels along each side as the SVG has.
    ///
    /// # Errors
    /// If there is nothing to draw, or something has no place; the error names it.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        check::check(self)?;
        let fonts = Fonts::new()?;
        let layout = Layout::new(self, &fonts);
        canvas::png(layout.size, &fonts, |canvas| draw(canvas, self, &layout))
    }
}

fn draw<DB: DrawingBackend>(
    canvas: &Canvas<'_, DB>,
    chart: &Chart,
    layout: &Layout,
) -> Result<(), PlotError> {
    let look = Type::new(style::TITLE).bold();
    canvas.text(&layout.title, (style::MARGIN, layout.title_y), look)?;
    for (y, line) in &layout.notes {
        canvas.text(line, (style::MARGIN, *y), Type::new(style::BODY).colour(style::MUTED))?;
    }
    layout.legend.draw(canvas, (style::MARGIN, layout.legend_y))?;
    for (panel, place) in chart.panels.iter().zip(&layout.places) {
        panel::draw(canvas, panel, place)?;
    }
    Ok(())
}
