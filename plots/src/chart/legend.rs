//! What the markers mean, said once for all panels.

use plotters::prelude::DrawingBackend;

use super::{Chart, Kind, marker};
use crate::canvas::{Canvas, Type};
use crate::error::PlotError;
use crate::font::Fonts;
use crate::style;

/// Height of a line.
const LINE: i32 = 24;
/// Length of the piece of line that is shown with a filled marker.
const SAMPLE: i32 = 30;
/// Room for a hollow marker beside it.
const HOLLOW: i32 = 20;
/// Space between a sample, its name and its remark.
const SPACE: i32 = 8;
/// Space between columns.
const GAP: i32 = 26;

/// A series, in all panels together.
struct Entry {
    name: String,
    slot: usize,
    filled: bool,
    hollow: bool,
    remark: String,
}

/// An entry with its lengths.
struct Item {
    entry: Entry,
    name_x: i32,
    remark_x: i32,
    width: i32,
}

/// The legend of a chart.
pub(super) struct Legend {
    items: Vec<Item>,
    columns: i32,
    /// From the begin of one column to that of the next.
    slot: i32,
    /// How filled and hollow markers differ, where there are both.
    key: Option<&'static str>,
}

impl Legend {
    /// The legend of a chart, at most `room` wide.
    pub(super) fn new(chart: &Chart, fonts: &Fonts, room: i32) -> Self {
        let entries = entries(chart);
        let hollow = entries.iter().any(|entry| entry.hollow);
        let filled = entries.iter().any(|entry| entry.filled);
        let left = SPACE + i32::from(filled) * SAMPLE + i32::from(hollow) * HOLLOW;
        let items: Vec<Item> =
            entries.into_iter().map(|entry| Item::new(entry, left, fonts, room)).collect();
        let slot = items.iter().map(|item| item.width).max().unwrap_or(1) + GAP;
        let count = items.len() as i32;
        // As few lines as there must be, and those equally long.
        let most = ((room + GAP) / slot).max(1);
        let lines = ((count + most - 1) / most).max(1);
        let columns = ((count + lines - 1) / lines).max(1);
        Self { items, columns, slot, key: key(chart) }
    }

    /// Its height.
    pub(super) fn height(&self) -> i32 {
        let lines = (self.items.len() as i32 + self.columns - 1) / self.columns;
        (lines + i32::from(self.key.is_some())) * LINE
    }

    /// Draws it; `corner` is the middle of its first line, at its left end.
    pub(super) fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        corner: (i32, i32),
    ) -> Result<(), PlotError> {
        let look = Type::new(style::BODY);
        let muted = look.colour(style::MUTED);
        for (index, item) in (0..).zip(&self.items) {
            let x = corner.0 + index % self.columns * self.slot;
            let y = corner.1 + index / self.columns * LINE;
            item.entry.draw_sample(canvas, (x, y), x + item.name_x - SPACE)?;
            canvas.text(&item.entry.name, (x + item.name_x, y), look)?;
            if !item.entry.remark.is_empty() {
                canvas.text(&item.entry.remark, (x + item.remark_x, y), muted)?;
            }
        }
        match self.key {
            Some(key) => canvas.text(key, (corner.0, corner.1 + self.height() - LINE), muted),
            None => Ok(()),
        }
    }
}

impl Item {
    fn new(mut entry: Entry, name_x: i32, fonts: &Fonts, room: i32) -> Self {
        let width = |text: &str| fonts.width(text, style::BODY, false).ceil() as i32;
        let fit = |text: &str, room| fonts.fit(text, style::BODY, false, f64::from(room));
        entry.remark = fit(&entry.remark, (room - name_x) / 2);
        let remark_width = match entry.remark.as_str() {
            "" => 0,
            remark => SPACE + width(remark),
        };
        entry.name = fit(&entry.name, room - name_x - remark_width);
        let remark_x = name_x + width(&entry.name) + SPACE;
        Self { name_x, remark_x, width: remark_x - SPACE + remark_width, entry }
    }
}

impl Entry {
    /// Draws its markers from `at` to `end`, the hollow one last.
    fn draw_sample<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        at: (i32, i32),
        end: i32,
    ) -> Result<(), PlotError> {
        if self.filled {
            let line = [at, (at.0 + SAMPLE - 2, at.1)];
            canvas.line(&line, marker::colour(self.slot), 2)?;
            marker::filled(canvas, self.slot, (at.0 + SAMPLE / 2 - 1, at.1))?;
        }
        if self.hollow {
            marker::hollow(canvas, self.slot, (end - HOLLOW / 2, at.1))?;
        }
        Ok(())
    }
}

/// The series of all panels, in the order of their slots; those of one name and slot are one.
fn entries(chart: &Chart) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let named = |series: &&super::Series| !series.name.is_empty();
    for series in chart.panels.iter().flat_map(|panel| &panel.series).filter(named) {
        let same = |entry: &&mut Entry| entry.name == series.name && entry.slot == series.slot;
        let hollow = series.kind == Kind::Reference;
        match entries.iter_mut().find(same) {
            Some(entry) => {
                entry.hollow |= hollow;
                entry.filled |= !hollow;
                if !entry.remark.contains(&series.remark) {
                    let comma = if entry.remark.is_empty() { "" } else { ", " };
                    entry.remark += &format!("{comma}{}", series.remark);
                }
            }
            None => entries.push(Entry {
                name: series.name.clone(),
                slot: series.slot,
                filled: !hollow,
                hollow,
                remark: series.remark.clone(),
            }),
        }
    }
    entries.sort_by_key(|entry| entry.slot);
    entries
}

fn key(chart: &Chart) -> Option<&'static str> {
    let series = || chart.panels.iter().flat_map(|panel| &panel.series);
    let has = |kind| series().any(|series| series.kind == kind);
    match (has(Kind::Reference), has(Kind::Model)) {
        (true, true) => Some("Filled: the model. Hollow: published measurements."),
        (true, false) => Some("Hollow: published measurements."),
        _ => None,
    }
}
