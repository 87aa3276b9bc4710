//! A page as its template sees it: texts, in the order in which they are shown.

use serde::Serialize;

use super::number::{kept, shown};
use super::policy::policy;
use super::{Cell, Column, Page, Section, Table};
use crate::experiment::percent;

/// The whole page.
#[derive(Serialize)]
pub(super) struct View<'a> {
    title: &'a str,
    policy: String,
    style: &'a str,
    script: &'a str,
    intro: &'a [String],
    /// Figures and errors; none where no figure has an error, as the contents list all figures.
    overview: Option<TableView<'a>>,
    sections: Vec<SectionView<'a>>,
    parameters: Vec<TableView<'a>>,
    provenance: &'a [(String, String)],
}

#[derive(Serialize)]
struct SectionView<'a> {
    id: &'a str,
    title: &'a str,
    svg: Option<&'a str>,
    about: &'a str,
    wrong: Option<&'a str>,
    error: Option<String>,
    command: Option<&'a str>,
    tables: Vec<TableView<'a>>,
}

#[derive(Serialize)]
struct TableView<'a> {
    caption: &'a str,
    columns: Vec<ColumnView<'a>>,
    rows: Vec<Vec<CellView<'a>>>,
}

#[derive(Serialize)]
struct ColumnView<'a> {
    name: &'a str,
    unit: &'a str,
    /// Whether it has more numbers than words: all of it then hangs on the right.
    numeric: bool,
}

#[derive(Serialize)]
struct CellView<'a> {
    text: String,
    /// The number, with all its digits.
    value: Option<String>,
    /// The name of the section to which it leads.
    link: Option<&'a str>,
    missing: bool,
    /// Whether its column is one of numbers.
    numeric: bool,
}

impl<'a> View<'a> {
    /// `page`, with this style and this script.
    pub(super) fn new(page: &'a Page, style: &'a str, script: &'a str) -> Self {
        Self {
            title: &page.title,
            policy: policy(style, script),
            style,
            script,
            intro: &page.intro,
            overview: overview(&page.sections),
            sections: page.sections.iter().map(section_view).collect(),
            parameters: page.parameters.iter().map(table_view).collect(),
            provenance: &page.provenance,
        }
    }
}

fn section_view(section: &Section) -> SectionView<'_> {
    SectionView {
        id: &section.id,
        title: &section.title,
        svg: section.svg.as_deref(),
        about: &section.about,
        wrong: section.wrong.as_deref(),
        error: section.error.map(percent),
        command: section.command.as_deref(),
        tables: section.tables.iter().map(table_view).collect(),
    }
}

fn overview(sections: &[Section]) -> Option<TableView<'_>> {
    let row = |section| vec![link_view(section), error_view(section)];
    sections.iter().any(|section| section.error.is_some()).then(|| TableView {
        caption: "Figures and their errors",
        columns: vec![
            ColumnView { name: "Figure", unit: "", numeric: false },
            ColumnView { name: "Median error", unit: "", numeric: true },
        ],
        rows: sections.iter().map(row).collect(),
    })
}

fn link_view(section: &Section) -> CellView<'_> {
    let text = section.title.clone();
    CellView { text, value: None, link: Some(&section.id), missing: false, numeric: false }
}

fn error_view(section: &Section) -> CellView<'_> {
    match section.error {
        Some(error) => CellView { text: percent(error), ..cell_view(&Cell::Number(error), true) },
        None => cell_view(&Cell::Missing, true),
    }
}

fn table_view(table: &Table) -> TableView<'_> {
    let column = |(at, column)| column_view(column, is_numeric(table, at));
    let columns: Vec<_> = table.columns.iter().enumerate().map(column).collect();
    let row = |row: &Vec<Cell>| {
        row.iter().zip(&columns).map(|(cell, column)| cell_view(cell, column.numeric)).collect()
    };
    let rows = table.rows.iter().map(row).collect();
    TableView { caption: &table.caption, columns, rows }
}

fn is_numeric(table: &Table, column: usize) -> bool {
    let cells = || table.rows.iter().filter_map(|row| row.get(column));
    let numbers = cells().filter(|cell| matches!(cell, Cell::Number(_))).count();
    let words = cells().filter(|cell| matches!(cell, Cell::Text(_))).count();
    numbers > words
}

fn column_view(column: &Column, numeric: bool) -> ColumnView<'_> {
    ColumnView { name: &column.name, unit: &column.unit, numeric }
}

fn cell_view<'a>(cell: &Cell, numeric: bool) -> CellView<'a> {
    let (text, value, missing) = match cell {
        Cell::Text(text) => (text.clone(), None, false),
        Cell::Number(number) => (shown(*number), Some(kept(*number)), false),
        Cell::Missing => ("\u{2013}".to_owned(), None, true),
    };
    CellView { text, value, link: None, missing, numeric }
}
