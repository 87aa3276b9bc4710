//! A made-up page with one of everything, some of it hostile.

use qpmux_plots::chart::{Chart, Series};
use qpmux_plots::page::{Cell, Column, Page, Section, Table};

use super::charts;

/// Text that would do harm if it were taken for markup.
pub(crate) const HOSTILE: &str =
    "</script></style><img src=x onerror=alert(1)>\"'><script>alert(2)</script>&lt;{{ 7 * 7 }}";

fn column(name: &str, unit: &str) -> Column {
    Column { name: name.to_owned(), unit: unit.to_owned() }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// The points of a chart.
fn points(chart: &Chart) -> Table {
    let of_series = |series: &Series| -> Vec<Vec<Cell>> {
        let cells = |point: &qpmux_plots::chart::Point| {
            let bar = |end: f64| if end == point.y { Cell::Missing } else { Cell::Number(end) };
            let numbers = [Cell::Number(point.x), Cell::Number(point.y)];
            let name = text(&series.name);
            [name].into_iter().chain(numbers).chain([bar(point.low), bar(point.high)]).collect()
        };
        series.points.iter().map(cells).collect()
    };
    let panel = &chart.panels[0];
    Table {
        caption: format!("Numbers of the first panel: {}", panel.y.title),
        columns: vec![
            column("series", ""),
            column(&panel.x.title, ""),
            column("throughput", "kops/s"),
            column("low", "kops/s"),
            column("high", "kops/s"),
        ],
        rows: panel.series.iter().flat_map(of_series).collect(),
    }
}

fn section(id: &str, chart: &Chart, error: Option<f64>) -> Section {
    Section {
        id: id.to_owned(),
        title: chart.title.clone(),
        svg: Some(chart.svg().expect("made-up charts can be drawn")),
        about: "More server queue pairs carry more, until the locks of the few that are used by \
                most are what everybody waits for."
            .to_owned(),
        wrong: error.map(|_| "Above 48 threads nothing was published to compare with.".to_owned()),
        error,
        command: Some(format!("qpmux paper --only {id} --out out")),
        tables: vec![points(chart)],
    }
}

/// A table for sorting: numbers whose order is not that of their digits, words, gaps.
fn odd() -> Table {
    let row = |name: &str, cell: Cell, note: Cell| vec![text(name), cell, note];
    Table {
        caption: "Odd ones".to_owned(),
        columns: vec![column("name", ""), column("time", "us"), column("note", "")],
        rows: vec![
            row("b", Cell::Number(10.123_456_789), text("32 threads")),
            row("a", Cell::Missing, Cell::Missing),
            row("d", Cell::Number(9.0), text("4 threads")),
            row("c", Cell::Number(-1_234_567.5), text(HOSTILE)),
            row("e", Cell::Number(1e-9), text("4 threads")),
            row("f", text("none"), Cell::Number(3.0)),
        ],
    }
}

/// The page.
pub(crate) fn page() -> Page {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Page {
        title: "Made-up results, to see how a page looks".to_owned(),
        intro: vec![
            "Three figures of numbers that nobody measured, with errors that nobody made."
                .to_owned(),
            "A page is one file. It asks for nothing outside itself and can be read without \
             JavaScript, on paper, and on a telephone."
                .to_owned(),
        ],
        sections: vec![
            section("eight", &charts::eight(), Some(0.047_175_445_762_644_1)),
            section("compared", &charts::compared(), Some(0.1)),
            section("words", &charts::words(), None),
            Section {
                id: "hostile".to_owned(),
                title: HOSTILE.to_owned(),
                about: HOSTILE.to_owned(),
                ..Section::default()
            },
        ],
        parameters: vec![odd()],
        provenance: vec![pair("program", "qpmux 0.1.0"), pair(HOSTILE, HOSTILE)],
    }
}
