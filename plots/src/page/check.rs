//! What must hold for a page to be made.

use std::collections::BTreeSet;

use super::{Cell, Page, Section, Table};
use crate::error::PlotError;

/// Finds the first thing that cannot be on the page.
pub(super) fn check(page: &Page) -> Result<(), PlotError> {
    let mut names = BTreeSet::new();
    for (index, section) in page.sections.iter().enumerate() {
        let place = format!("section {index} (`{}`)", section.title);
        check_section(section, &place)?;
        if !names.insert(&section.id) {
            return wrong(place, format!("another section has the name `{}`, too", section.id));
        }
    }
    page.parameters.iter().try_for_each(|table| check_table(table, "parameters"))
}

fn check_section(section: &Section, place: &str) -> Result<(), PlotError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if section.id.is_empty() || !section.id.chars().all(allowed) {
        let what = format!("its name is `{}`; use letters, digits, `-`, `_` and `.`", section.id);
        return wrong(place, what);
    }
    if let Some(error) = section.error.filter(|error| !error.is_finite() || *error < 0.0) {
        return wrong(place, format!("its error is {error}"));
    }
    if let Some(svg) = &section.svg {
        check_figure(svg, place)?;
    }
    section.tables.iter().try_for_each(|table| check_table(table, place))
}

/// Figures share one document, where names that two of them give would be mixed up: clip paths and
/// gradients of one would be used by another. Those of this crate have no names.
fn check_figure(svg: &str, place: &str) -> Result<(), PlotError> {
    if !svg.starts_with("<svg ") || !svg.trim_end().ends_with("</svg>") {
        return wrong(place, "its figure is not an SVG element");
    }
    if svg.contains(" id=") {
        return wrong(place, "its figure names an element (`id`), which another one may, too");
    }
    Ok(())
}

fn check_table(table: &Table, place: &str) -> Result<(), PlotError> {
    for (index, row) in table.rows.iter().enumerate() {
        let place = || format!("{place}, table `{}`, row {index}", table.caption);
        if row.len() != table.columns.len() {
            let (cells, columns) = (row.len(), table.columns.len());
            return wrong(place(), format!("{cells} cells for {columns} columns"));
        }
        for (cell, column) in row.iter().zip(&table.columns) {
            if let Cell::Number(number) = cell
                && !number.is_finite()
            {
                return wrong(place(), format!("{} is {number}", column.name));
            }
        }
    }
    Ok(())
}

fn wrong(place: impl Into<String>, what: impl Into<String>) -> Result<(), PlotError> {
    Err(PlotError::Page { place: place.into(), what: what.into() })
}
