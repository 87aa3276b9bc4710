//! Figures and tables as one page of HTML.

use std::collections::BTreeSet;

use qpmux_plots::PlotError;
use qpmux_plots::page::{Cell, Column, Page, Section, Table};

use super::{Check, Figure, Scores, draw, figure_error};
use crate::nic::{PresetError, Sourced};
use crate::paper::Era;
use crate::plan::Plan;
use crate::sweep::{Identity, ResultTable};

/// More runs than this are not all put on a page: a browser would be slow.
const ROWS_MAX: usize = 2_000;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// It cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A preset cannot be read.
    #[error(transparent)]
    Preset(#[from] PresetError),
}

/// The page of a plan's results.
///
/// # Errors
/// When a figure cannot be drawn, or a preset not be read.
pub fn plan_page(
    plan: &Plan,
    figures: &[Figure],
    scores: &Scores,
    table: &ResultTable,
) -> Result<String, PageError> {
    let mut sections = sections(figures, scores, &|_| format!("qpmux sweep {}.toml", plan.name))?;
    sections.push(Section {
        id: "runs".to_owned(),
        title: "All runs".to_owned(),
        about: match table.rows.len() {
            rows if rows > ROWS_MAX => {
                format!("{rows} runs are too many for a page: results.csv has them.")
            }
            _ => "What each run showed. results.csv, .jsonl and .parquet have the same.".to_owned(),
        },
        tables: if table.rows.len() > ROWS_MAX { Vec::new() } else { vec![all_runs(table)] },
        ..Section::default()
    });
    let page = Page {
        title: plan.title.clone(),
        intro: vec![format!("{} runs, {} of each point.", table.rows.len(), plan.seeds)],
        sections,
        parameters: parameters(std::slice::from_ref(plan))?,
        provenance: provenance(plan.text.clone()),
    };
    Ok(page.html()?)
}

/// The page of the published experiments.
///
/// # Errors
/// When a figure cannot be drawn, or a preset not be read.
pub fn paper_page(
    plans: &[Plan],
    figures: &[Figure],
    scores: &Scores,
    checks: &[Check],
) -> Result<String, PageError> {
    let mut all = Vec::new();
    if !checks.is_empty() {
        all.push(limits(checks));
    }
    all.extend(sections(figures, scores, &|name| format!("qpmux paper --only {name}"))?);
    let page = Page {
        title: "The published experiments, predicted".to_owned(),
        intro: vec![
            "Filled markers are the model's, hollow ones published. Errors are medians of \
             absolute relative errors over the points that are scored."
                .to_owned(),
        ],
        sections: all,
        parameters: parameters(plans)?,
        provenance: provenance("qpmux paper".to_owned()),
    };
    Ok(page.html()?)
}

fn provenance(made_by: String) -> Vec<(String, String)> {
    let Identity { version, sources } = Identity::own();
    [("program", format!("qpmux {version}")), ("sources", sources), ("made by", made_by)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn sections(
    figures: &[Figure],
    scores: &Scores,
    command: &dyn Fn(&str) -> String,
) -> Result<Vec<Section>, PageError> {
    let mut sections = Vec::new();
    for figure in figures.iter().filter(|figure| figure.has_points(scores)) {
        let (svg, _) = draw(figure, scores)?;
        sections.push(Section {
            id: figure.name.clone(),
            title: figure.title.clone(),
            svg: Some(svg),
            about: figure.about.clone(),
            wrong: Some(figure.wrong.clone()).filter(|wrong| !wrong.is_empty()),
            error: figure_error(figure, scores),
            command: Some(command(&figure.name)),
            tables: figure.panels.iter().map(|panel| numbers(panel, scores)).collect(),
        });
    }
    Ok(sections)
}

fn column(name: &str, unit: &str) -> Column {
    Column { name: name.to_owned(), unit: unit.to_owned() }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn number(value: Option<f64>) -> Cell {
    value.filter(|value| value.is_finite()).map_or(Cell::Missing, Cell::Number)
}

/// A panel's numbers, with what was published beside them, if anything was.
fn numbers(panel: &super::Panel, scores: &Scores) -> Table {
    let curves = || {
        let of = |curve: &super::Curve| scores.curve(&panel.experiment, &curve.series);
        panel.curves.iter().filter_map(of)
    };
    let is_published = curves().any(|curve| curve.points.iter().any(|p| p.published.is_some()));
    let mut columns = vec![
        column("series", ""),
        column(&panel.x.name, &panel.x.unit),
        column(&panel.y.name, &panel.y.unit),
        column("± (95 %)", &panel.y.unit),
    ];
    if is_published {
        columns.extend([
            column("published", &panel.y.unit),
            column("error", "%"),
            column("not scored", ""),
        ]);
    }
    let mut rows = Vec::new();
    for curve in curves() {
        for point in &curve.points {
            let mut row = vec![
                text(&curve.series),
                number(Some(point.x)),
                number(Some(point.model.mean)),
                number(Some(point.model.ci95)),
            ];
            if is_published {
                let error = point.raw_error().map(|error| 100.0 * error);
                let why = point.excluded.map_or(Cell::Missing, text);
                row.extend([number(point.published), number(error), why]);
            }
            rows.push(row);
        }
    }
    for drawn in &panel.drawn {
        for (x, y) in &drawn.points {
            let mut row =
                vec![text(&drawn.series), number(Some(*x)), number(Some(*y)), Cell::Missing];
            row.resize(columns.len(), Cell::Missing);
            rows.push(row);
        }
    }
    let caption = match panel.heading.as_str() {
        "" => panel.experiment.clone(),
        heading => format!("{}: {heading}", panel.experiment),
    };
    Table { caption, columns, rows }
}

/// Limits that were set before anything was compared.
fn limits(checks: &[Check]) -> Section {
    let met = checks.iter().filter(|check| check.is_met()).count();
    let columns = vec![
        column("limit", ""),
        column("value", ""),
        column("least", ""),
        column("most", ""),
        column("met", ""),
    ];
    let rows = checks.iter().map(|check| {
        let met = if check.is_met() { "yes" } else { "NO" };
        let [value, least, most] = [check.value, check.least, check.most].map(Some).map(number);
        vec![text(&check.what), value, least, most, text(met)]
    });
    Section {
        id: "limits".to_owned(),
        title: "Limits".to_owned(),
        about: format!(
            "They were set before anything was compared; {met} of {} are met.",
            checks.len()
        ),
        tables: vec![Table {
            caption: "Limits and what was predicted".to_owned(),
            columns,
            rows: rows.collect(),
        }],
        ..Section::default()
    }
}

/// All runs of a plan.
fn all_runs(table: &ResultTable) -> Table {
    let rows = table.rows.iter().map(|row| {
        let place = |at: &String| match at.parse() {
            Ok(value) => number(Some(value)),
            Err(_) => text(at),
        };
        let mut cells: Vec<Cell> = row.at.iter().map(place).collect();
        let error = row.error.as_deref().map_or(Cell::Missing, text);
        cells.extend([number(Some(row.seed as f64)), text(&row.run), text(row.status), error]);
        cells.extend(table.metrics.iter().map(|name| number(row.metrics.get(name).copied())));
        cells
    });
    Table {
        caption: "Runs".to_owned(),
        columns: table.columns().map(|name| column(name, "")).collect(),
        rows: rows.collect(),
    }
}

/// What was varied, what held throughout, and every preset that runs name.
fn parameters(plans: &[Plan]) -> Result<Vec<Table>, PageError> {
    let mut tables = Vec::new();
    if let [plan] = plans {
        tables.push(axes(plan));
    }
    let named = |option: &str| -> BTreeSet<String> {
        plans.iter().flat_map(|plan| plan.values_of(option)).collect()
    };
    let mut adapters = named("nic");
    adapters.extend(named("server-nic"));
    if plans.iter().any(Plan::has_usual_adapters) {
        adapters.insert("connectx-5".to_owned());
    }
    for name in adapters {
        let sourced = crate::nic::Preset::load(&name)?.sourced;
        tables.push(preset(&format!("Adapter {name}"), &sourced));
    }
    let boxes = named("middlebox");
    for name in boxes.iter().filter(|name| !["none", "engine"].contains(&name.as_str())) {
        let sourced = crate::cluster::BoxParams::sourced(name)?;
        tables.push(preset(&format!("Middlebox {name}"), &sourced));
    }
    for name in software(&named) {
        let sourced = crate::calls::SoftwareParams::sourced(&name)?;
        tables.push(preset(&format!("Software {name}"), &sourced));
    }
    let eras = named("era");
    for era in Era::ALL.into_iter().filter(|era| eras.contains(era.name())) {
        let sourced = era.sourced()?;
        tables.push(preset(&format!("Library and box of {}", era.name()), &sourced));
    }
    Ok(tables)
}

/// Software that runs name, or have because they do not say one.
fn software(named: &dyn Fn(&str) -> BTreeSet<String>) -> BTreeSet<String> {
    let mut all = named("software");
    for (option, value, usual) in [
        ("transport", "ud", "user-level"),
        ("transport", "tcp", "linux"),
        ("serve", "adapter", "adapter"),
    ] {
        if named(option).contains(value) {
            all.insert(usual.to_owned());
        }
    }
    all
}

fn axes(plan: &Plan) -> Table {
    let rows = plan.axes.iter().map(|axis| {
        let places: Vec<&str> = axis.values.iter().map(|value| value.name.as_str()).collect();
        vec![text(&axis.name), text(&places.join(", "))]
    });
    Table {
        caption: "Axes".to_owned(),
        columns: vec![column("axis", ""), column("places", "")],
        rows: rows.collect(),
    }
}

fn preset(caption: &str, sourced: &std::collections::BTreeMap<String, Sourced>) -> Table {
    let rows = sourced.iter().map(|(name, of)| {
        vec![text(name), number(Some(of.value)), text(of.kind.name()), text(&of.source)]
    });
    Table {
        caption: caption.to_owned(),
        columns: ["parameter", "value", "kind", "source"].map(|name| column(name, "")).into(),
        rows: rows.collect(),
    }
}
