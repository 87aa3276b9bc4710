//! Where everything is on the page of a chart. All lengths are pixels.

use super::legend::Legend;
use super::scale::{Range, Scales};
use super::{Chart, Panel, Scale};
use crate::font::Fonts;
use crate::style;
use crate::ticks::Tick;

/// Width of a panel with its labels, where several stand side by side.
const CELL: i32 = 440;
/// Space between panels side by side.
const GAP: i32 = 34;
/// Height of a frame, if there is one panel, one column, or several.
const FRAME_HEIGHTS: [i32; 3] = [400, 280, 270];
/// Height of what is below a frame.
const FOOT: i32 = 58;
/// Height of a line of notes.
const NOTE: i32 = 18;
/// Height of a panel's heading.
const HEADING: i32 = 26;
/// Height of a line of texts at vertical marks.
const MARK: i32 = 17;
/// From the left end of a panel to the middle of its vertical axis' title.
const Y_TITLE: i32 = 8;
/// Left of a frame beside the labels of its ticks: the title, and free space.
const GUTTER: i32 = 32;
/// Smallest distance between two labels of a horizontal axis.
const LABEL_GAP: f64 = 14.0;
/// Height of a frame for each of its vertical axis' ticks.
const TICK_ROOM: i32 = 36;

/// A page.
pub(super) struct Layout {
    /// Width and height.
    pub(super) size: (i32, i32),
    /// The title, as it fits.
    pub(super) title: String,
    /// Height of its middle.
    pub(super) title_y: i32,
    /// Lines of the notes, with the heights of their middles.
    pub(super) notes: Vec<(i32, String)>,
    /// The legend.
    pub(super) legend: Legend,
    /// Height of the middle of its first line.
    pub(super) legend_y: i32,
    /// The panels, in the chart's order.
    pub(super) places: Vec<Place>,
}

/// Where a panel is, and what is written around it.
pub(super) struct Place {
    /// The upper left corner of its frame.
    pub(super) corner: (i32, i32),
    /// Width and height of its frame.
    pub(super) size: (i32, i32),
    /// Where its numbers are.
    pub(super) scales: Scales,
    /// Ticks of the horizontal axis.
    pub(super) x_ticks: Vec<Tick>,
    /// Ticks of the vertical axis.
    pub(super) y_ticks: Vec<Tick>,
    /// The heading, as it fits, and the middle of its left end.
    pub(super) heading: (String, (i32, i32)),
    /// The title of the horizontal axis, as it fits.
    pub(super) x_title: String,
    /// The title of the vertical axis, as it fits, and how far right its middle is.
    pub(super) y_title: (String, i32),
    /// Texts of the vertical marks, and their middles.
    pub(super) marks: Vec<(String, (i32, i32))>,
}

impl Layout {
    /// Finds places for all of a chart.
    pub(super) fn new(chart: &Chart, fonts: &Fonts) -> Self {
        let count = chart.panels.len().max(1) as i32;
        let columns = i32::try_from(chart.columns).unwrap_or(count).clamp(1, count);
        let cells = columns * CELL + (columns - 1) * GAP;
        let width = (2 * style::MARGIN + cells).max(style::WIDTH);
        let room = width - 2 * style::MARGIN;
        let title_y = style::MARGIN + 10;
        let mut y = title_y + 28;
        let mut notes = Vec::new();
        for note in &chart.notes {
            for line in fonts.wrap(note, style::BODY, f64::from(room)) {
                notes.push((y, line));
                y += NOTE;
            }
        }
        let legend = Legend::new(chart, fonts, room);
        let legend_y = y + 8;
        let top = legend_y + legend.height();
        let cell = (room - (columns - 1) * GAP) / columns;
        let grid = Grid { columns, cell, fonts, frame: frame_height(count, columns) };
        let (places, bottom) = grid.places(chart, top);
        let title = fonts.fit(&chart.title, style::TITLE, true, f64::from(room));
        let size = (width, bottom + style::MARGIN - 6);
        Self { size, title, title_y, notes, legend, legend_y, places }
    }
}

fn frame_height(count: i32, columns: i32) -> i32 {
    match (count, columns) {
        (1, _) => FRAME_HEIGHTS[0],
        (_, 1) => FRAME_HEIGHTS[1],
        _ => FRAME_HEIGHTS[2],
    }
}

/// The panels' places, row by row.
struct Grid<'a> {
    columns: i32,
    cell: i32,
    frame: i32,
    fonts: &'a Fonts,
}

impl Grid<'_> {
    /// The places of all panels below `top`, and where they end.
    fn places(&self, chart: &Chart, top: i32) -> (Vec<Place>, i32) {
        let scales: Vec<Scales> = chart.panels.iter().map(Scales::new).collect();
        let labels = scales.iter().map(|scales| self.y_label_width(&scales.y));
        let gutter = GUTTER + labels.fold(0.0, f64::max).ceil() as i32;
        let (mut places, mut top) = (Vec::new(), top);
        let panels: Vec<(&Panel, Scales)> = chart.panels.iter().zip(scales).collect();
        for row in panels.chunks(self.columns as usize) {
            let mut placed: Vec<Place> = (0..)
                .zip(row)
                .map(|(column, (panel, scales))| {
                    let left = style::MARGIN + column * (self.cell + GAP);
                    self.place(panel, scales.clone(), left, gutter)
                })
                .collect();
            let headed = placed.iter().any(|place| !place.heading.0.is_empty());
            let lines = placed.iter().map(Place::mark_lines).max().unwrap_or(0);
            let heading = i32::from(headed) * HEADING;
            for place in &mut placed {
                place.move_down(top, heading, lines);
            }
            places.extend(placed);
            top += heading + lines * MARK + self.frame + FOOT;
        }
        (places, top)
    }

    /// A panel's place, as if its frame were at the top of the page.
    fn place(&self, panel: &Panel, scales: Scales, left: i32, gutter: i32) -> Place {
        let size = (self.cell - gutter, self.frame);
        let fit = |text: &str, height, bold, room: i32| {
            self.fonts.fit(text, height, bold, f64::from(room))
        };
        let heading = fit(&panel.heading, style::HEADING, true, self.cell - gutter);
        let x_title = fit(&panel.x.title, style::BODY, false, size.0);
        let y_title = fit(&panel.y.title, style::BODY, false, self.frame + FOOT);
        let corner = (left + gutter, 0);
        Place {
            corner,
            size,
            x_ticks: self.x_ticks(&scales.x, &panel.x.scale, size.0),
            y_ticks: scales.y.ticks(self.y_ticks_most()),
            heading: (heading, (corner.0, 0)),
            x_title,
            y_title: (y_title, left + Y_TITLE),
            marks: self.marks(panel, &scales.x, corner.0, size.0),
            scales,
        }
    }

    fn y_ticks_most(&self) -> usize {
        (self.frame / TICK_ROOM) as usize
    }

    fn y_label_width(&self, range: &Range) -> f64 {
        let ticks = range.ticks(self.y_ticks_most());
        let widths = ticks.iter().map(|tick| self.fonts.width(&tick.label, style::SMALL, false));
        widths.fold(0.0, f64::max)
    }

    /// As many ticks as have room for their labels; words are shortened for that.
    fn x_ticks(&self, range: &Range, scale: &Scale, width: i32) -> Vec<Tick> {
        if let Scale::Words(words) = scale {
            let room = f64::from(width) / words.len().max(1) as f64 - LABEL_GAP / 2.0;
            let mut ticks = range.ticks(words.len());
            for tick in &mut ticks {
                tick.label = self.fonts.fit(&tick.label, style::SMALL, false, room);
            }
            return ticks;
        }
        let most = (2..=14).rev().find(|&most| self.have_room(&range.ticks(most), range, width));
        range.ticks(most.unwrap_or(2))
    }

    fn have_room(&self, ticks: &[Tick], range: &Range, width: i32) -> bool {
        let labelled = ticks.iter().filter(|tick| !tick.label.is_empty());
        let mut ends: Vec<(f64, f64)> = labelled
            .map(|tick| {
                let middle = range.share(tick.value) * f64::from(width);
                let half = self.fonts.width(&tick.label, style::SMALL, false) / 2.0;
                (middle - half, middle + half)
            })
            .collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.windows(2).all(|pair| pair[0].1 + LABEL_GAP <= pair[1].0)
    }

    /// Texts of vertical marks, each on the lowest line on which it has room; lines count up
    /// from -1 and become heights in [`Place::move_down`].
    fn marks(
        &self,
        panel: &Panel,
        range: &Range,
        left: i32,
        width: i32,
    ) -> Vec<(String, (i32, i32))> {
        let mut sorted: Vec<_> = panel.marks.iter().collect();
        sorted.sort_by(|a, b| a.x.total_cmp(&b.x));
        let mut ends: Vec<i32> = Vec::new();
        let mut placed = Vec::new();
        for mark in sorted {
            let text = self.fonts.fit(&mark.text, style::SMALL, false, f64::from(width));
            let half = (self.fonts.width(&text, style::SMALL, false) / 2.0).ceil() as i32;
            let at = left + (range.share(mark.x) * f64::from(width)).round() as i32;
            let middle = at.clamp(left + half, (left + width - half).max(left + half));
            let free = ends.iter().position(|&end| end + LABEL_GAP as i32 <= middle - half);
            let line = free.unwrap_or(ends.len());
            if free.is_none() {
                ends.push(0);
            }
            ends[line] = middle + half;
            placed.push((text, (middle, -1 - line as i32)));
        }
        placed
    }
}

impl Place {
    /// On how many lines the texts of vertical marks are.
    fn mark_lines(&self) -> i32 {
        self.marks.iter().map(|(_, (_, line))| -line).max().unwrap_or(0)
    }

    /// Moves it below `top`, a heading's height, and lines for texts of marks.
    fn move_down(&mut self, top: i32, heading: i32, lines: i32) {
        self.heading.1.1 = top + heading / 2 - 2;
        self.corner.1 = top + heading + lines * MARK;
        for (_, (_, line)) in &mut self.marks {
            *line = self.corner.1 + *line * MARK + MARK / 2 - 1;
        }
    }
}
