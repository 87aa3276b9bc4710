//! A page of results: figures, tables, and where they are from, in one HTML file.
//!
//! The file needs nothing else: it asks for nothing outside itself, and its own security policy
//! forbids that. It reads no clock, so the same results give the same bytes. Without JavaScript
//! all of it can be read; with it, tables are sorted, figures enlarged, and light and dark chosen.

mod check;
mod colours;
mod number;
mod policy;
mod view;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};

use crate::error::PlotError;
use view::View;

/// The name of the template; its end makes the library escape all text.
const NAME: &str = "page.html";
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A page. All text is shown as it stands: none of it is markup.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// What it is about.
    pub title: String,
    /// Paragraphs below the title.
    pub intro: Vec<String>,
    /// What it shows, in this order.
    pub sections: Vec<Section>,
    /// What went in.
    pub parameters: Vec<Table>,
    /// By what, and from what, the page was made: names and values. Put no time there if the same
    /// results are to give the same bytes.
    pub provenance: Vec<(String, String)>,
}

/// A figure with what there is to say about it, or tables alone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Section {
    /// Its name in links, which end in `#figure-NAME`: letters, digits, `-`, `_` and `.`. No two
    /// of a page have the same.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// The figure, drawn by this crate: it goes into the page as it stands.
    pub svg: Option<String>,
    /// What there is to see; may be empty.
    pub about: String,
    /// Where the model is wrong.
    pub wrong: Option<String>,
    /// The median of the relative errors: 0.1 is shown as 10.0 %.
    pub error: Option<f64>,
    /// The command that makes the figure.
    pub command: Option<String>,
    /// Its numbers.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// What stands above it.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, each with a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Column {
    /// What is in it.
    pub name: String,
    /// The unit of its numbers; empty where they have none.
    pub unit: String,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A finite number. It is shown with four digits, and kept with all of them for who sorts,
    /// points at it, or reads the page with a program (`data-value`).
    Number(f64),
    /// Nothing. When a table is sorted, such rows come last.
    Missing,
}

impl Page {
    /// The page as an HTML file.
    ///
    /// # Errors
    /// If two sections have the same name, a row has not a cell for each column, a number is not
    /// finite, or a figure could not be told from the page around it; the error names the place.
    ///
    /// ```
    /// use qpmux_plots::page::{Cell, Column, Page, Table};
    ///
    /// let table = Table {
    ///     caption: "Presets".to_owned(),
    ///     columns: vec![Column { name: "READ".to_owned(), unit: "us".to_owned() }],
    ///     rows: vec![vec![Cell::Number(1.53)]],
    /// };
    /// let page =
    ///     Page { title: "<Results>".to_owned(), parameters: vec![table], ..Page::default() };
    /// let html = page.html()?;
    /// assert!(html.contains("<h1>&lt;Results&gt;</h1>"));
    /// # Ok::<(), qpmux_plots::PlotError>(())
    /// ```
    pub fn html(&self) -> Result<String, PlotError> {
        check::check(self)?;
        render(self).map_err(|error| PlotError::Draw(format!("the page's template: {error}")))
    }
}

fn render(page: &Page) -> Result<String, minijinja::Error> {
    let style = format!("{STYLE}{}", colours::rules());
    let mut templates = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    templates.set_syntax(syntax.trim_blocks(true).keep_trailing_newline(true).build()?);
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.add_template(NAME, TEMPLATE)?;
    templates.get_template(NAME)?.render(Serde(View::new(page, &style, SCRIPT)))
}
