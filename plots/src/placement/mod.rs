//! What the multiplexer does, in one look: where the WRITEs of each key arrive, before and after.
//!
//! Two panels share their axes: time to the right, one row per server queue pair. On the left,
//! as captured, the WRITEs of a key are scattered over the rows; on the right, through qpmux,
//! each key keeps to one. Above each panel stands the same as a number, counted over all dots,
//! also those that are thinned out of the drawing.

mod check;
mod panel;
mod thin;

use plotters::prelude::DrawingBackend;

use crate::canvas::{self, Canvas, Type};
use crate::error::PlotError;
use crate::font::Fonts;
use crate::style;
use check::Times;
use panel::Panel;

/// Most dots drawn per panel. Keeps the file below 200 kB, whatever the marks.
const DOTS_MAX: usize = 680;
/// Height of a row, unless there are very few or very many.
const ROW: i32 = 28;
/// Smallest height of a panel.
const PANEL_MIN: i32 = 120;
/// Largest height of a panel.
const PANEL_MAX: i32 = 560;
/// Where panels begin: beyond the row labels and the title of their axis.
const PANELS_LEFT: i32 = 112;
/// Space between the panels.
const GAP: i32 = 28;
/// Height of a line of the legend.
const LEGEND_LINE: i32 = 22;
/// From a mark's centre to its label in the legend.
const LEGEND_MARK: i32 = 11;
/// Widest label in the legend.
const LEGEND_LABEL: f64 = 190.0;

/// The data of the figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// What was replayed.
    pub title: String,
    /// Labels of the rows, from the top, e.g. `0x000011`.
    pub server_qps: Vec<String>,
    /// Labels of the most used keys, at most 8, most used first.
    pub keys: Vec<String>,
    /// The WRITEs of the capture.
    pub captured: Vec<Dot>,
    /// The WRITEs that qpmux sent to the server.
    pub multiplexed: Vec<Dot>,
}

/// One WRITE.
#[derive(Debug, Clone, PartialEq)]
pub struct Dot {
    /// When; the axis begins at the earliest of all dots.
    pub time_ms: f64,
    /// On which row: an index into [`Placement::server_qps`].
    pub server_qp: usize,
    /// Of which key: an index into [`Placement::keys`], or `None` for all others.
    pub key: Option<usize>,
}

/// Draws the figure as SVG: deterministic, with an opaque background, smaller than 200 kB.
///
/// # Errors
///
/// If there is nothing to draw, there are too many keys, or a dot has no place; the error names
/// the dot.
///
/// ```
/// use qpmux_plots::{Dot, Placement, draw_placement};
///
/// let dot = |time_ms, server_qp| Dot { time_ms, server_qp, key: Some(0) };
/// let figure = Placement {
///     title: "Two WRITEs".to_owned(),
///     server_qps: vec!["0x000011".to_owned(), "0x000012".to_owned()],
///     keys: vec!["user7".to_owned()],
///     captured: vec![dot(0.0, 0), dot(0.4, 1)],
///     multiplexed: vec![dot(0.0, 0), dot(0.4, 0)],
/// };
/// assert!(draw_placement(&figure)?.starts_with("<svg"));
/// # Ok::<(), qpmux_plots::PlotError>(())
/// ```
pub fn draw_placement(figure: &Placement) -> Result<String, PlotError> {
    let times = check::check(figure)?;
    let fonts = Fonts::new()?;
    let legend = Legend::new(figure, &fonts);
    let layout = Layout::new(figure.server_qps.len(), legend.lines());
    canvas::svg((style::WIDTH, layout.height), |canvas| {
        let room = f64::from(style::WIDTH - 2 * style::MARGIN);
        let title = fonts.fit(&figure.title, style::TITLE, true, room);
        canvas.text(&title, (style::MARGIN, layout.title), Type::new(style::TITLE).bold())?;
        legend.draw(canvas, layout.legend)?;
        draw_panels(canvas, figure, &layout, times, &fonts)
    })
}

/// Heights on the page, from top to bottom.
struct Layout {
    title: i32,
    legend: i32,
    panels: i32,
    panels_height: i32,
    note: i32,
    height: i32,
}

impl Layout {
    fn new(rows: usize, legend_lines: i32) -> Self {
        let rows = i32::try_from(rows).unwrap_or(i32::MAX);
        let panels_height = rows.saturating_mul(ROW).clamp(PANEL_MIN, PANEL_MAX);
        let title = style::MARGIN + 10;
        let legend = title + 34;
        let panels = legend + legend_lines * LEGEND_LINE + panel::HEAD;
        let note = panels + panels_height + panel::FOOT + 10;
        Self { title, legend, panels, panels_height, note, height: note + 22 }
    }
}

/// What the marks mean.
struct Legend {
    entries: Vec<(style::Mark, String)>,
    columns: i32,
    slot: i32,
    left: i32,
}

/// What stands before the legend.
const LEGEND_TITLE: &str = "Keys, most used first:";

impl Legend {
    fn new(figure: &Placement, fonts: &Fonts) -> Self {
        let label = |text: &String| fonts.fit(text, style::BODY, false, LEGEND_LABEL);
        let keys = style::SERIES.into_iter().zip(figure.keys.iter().map(label));
        let entries: Vec<_> = keys.chain([(style::SPECK, "other keys".to_owned())]).collect();
        let widths = entries.iter().map(|(_, label)| fonts.width(label, style::BODY, false));
        let slot = widths.fold(0.0, f64::max) as i32 + LEGEND_MARK + 22;
        let left = style::MARGIN + fonts.width(LEGEND_TITLE, style::BODY, false) as i32 + 16;
        let columns = (style::WIDTH - style::MARGIN - left) / slot;
        Self { entries, columns: columns.max(1), slot, left }
    }

    fn lines(&self) -> i32 {
        (self.entries.len() as i32 + self.columns - 1) / self.columns
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>, top: i32) -> Result<(), PlotError> {
        let look = Type::new(style::BODY);
        canvas.text(LEGEND_TITLE, (style::MARGIN, top), look.colour(style::MUTED))?;
        for (index, (mark, label)) in (0..).zip(&self.entries) {
            let x = self.left + index % self.columns * self.slot;
            let y = top + index / self.columns * LEGEND_LINE;
            canvas.mark(*mark, (x, y))?;
            canvas.text(label, (x + LEGEND_MARK, y), look)?;
        }
        Ok(())
    }
}

fn draw_panels<DB: DrawingBackend>(
    canvas: &Canvas<'_, DB>,
    figure: &Placement,
    layout: &Layout,
    times: Times,
    fonts: &Fonts,
) -> Result<(), PlotError> {
    let width = (style::WIDTH - style::MARGIN - PANELS_LEFT - GAP) / 2;
    let sides = [
        ("As captured", &figure.captured, PANELS_LEFT),
        ("Through qpmux", &figure.multiplexed, PANELS_LEFT + width + GAP),
    ];
    let mut shown = [(0, 0); 2];
    for ((heading, dots, left), shown) in sides.into_iter().zip(&mut shown) {
        let size = (width, layout.panels_height);
        let rows = figure.server_qps.len();
        let panel = Panel { canvas, corner: (left, layout.panels), size, rows, times, fonts };
        panel.draw_ground()?;
        panel.draw_head(heading, dots)?;
        panel.draw_time_axis()?;
        if left == PANELS_LEFT {
            panel.draw_row_labels(&figure.server_qps, style::MARGIN)?;
        }
        let thinned = thin::thin(dots, times.first_ms, times.span_ms, DOTS_MAX);
        panel.draw_dots(&thinned)?;
        *shown = (thinned.len(), dots.len());
    }
    match note(shown) {
        Some(note) => {
            let look = Type::new(style::SMALL).colour(style::MUTED).end();
            canvas.text(&note, (style::WIDTH - style::MARGIN, layout.note), look)
        }
        None => Ok(()),
    }
}

/// Says how much of the data is drawn, if not all.
fn note(shown: [(usize, usize); 2]) -> Option<String> {
    if shown.iter().all(|(drawn, all)| drawn == all) {
        return None;
    }
    let [left, right] =
        shown.map(|(drawn, all)| format!("{} of {}", style::grouped(drawn), style::grouped(all)));
    Some(format!("Drawn: {left} WRITEs on the left, {right} on the right. Headings count all."))
}
