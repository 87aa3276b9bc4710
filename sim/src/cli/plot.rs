//! `qpmux plot`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use qpmux_plots::experiment::{self, Figure, Options, percent};
use qpmux_plots::table::{self, Row};
use schemars::JsonSchema;
use serde::Serialize;

use super::Outcome;
use super::output::print;
use crate::files::{make_results_dir, write_whole};

/// Draw the figures of experiments, beside published ones.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  qpmux plot plots/reference/022.csv --out figures --log-x\n\n\
    The files have the columns experiment,series,x_name,x,y_name,y,unit,source, a row for each\n\
    number; low,high may follow, the ends of its error bar. Each experiment becomes one figure,\n\
    with a panel for each y_name.\n\
    With --reference, series of the same experiment and name in that file are drawn hollow, and\n\
    the legend and a table beside the figure say how far the two are apart where both have the\n\
    same x. Exit status 2 if a file cannot be read or drawn; then no figure is written.")]
pub(crate) struct Args {
    /// Files of experiments.
    #[arg(required = true, value_name = "FILE.csv")]
    files: Vec<PathBuf>,
    /// Folder to write the figures to; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Published numbers to compare with; may be given more than once.
    #[arg(long, value_name = "FILE.csv")]
    reference: Vec<PathBuf>,
    /// What to write: text that any browser shows, pixels, or both.
    #[arg(long, value_enum, default_value_t = Format::Both)]
    format: Format,
    /// Make the horizontal axes logarithmic.
    #[arg(long)]
    log_x: bool,
    /// Make the vertical axes logarithmic.
    #[arg(long)]
    log_y: bool,
    /// Title of the figures; by default each has the name of its experiment.
    #[arg(long)]
    title: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Svg,
    Png,
    Both,
}

/// What was written of a figure.
#[derive(JsonSchema, Serialize)]
struct Written {
    /// The experiment that it is of.
    experiment: String,
    /// Its files.
    files: Vec<PathBuf>,
    /// Panels.
    panels: usize,
    /// Points in all panels, published ones included.
    points: usize,
    /// Series that were compared with published ones.
    errors: Vec<Error>,
}

/// How far a series is from the published one.
#[derive(JsonSchema, Serialize)]
struct Error {
    /// What the series is of.
    y_name: String,
    /// Its name.
    series: String,
    /// Points that were published.
    published: usize,
    /// Of these, those that could be compared: both series have a point there.
    compared: usize,
    /// Median of the absolute relative errors.
    median_error: f64,
    /// The largest of them.
    largest_error: f64,
}

/// What was written.
#[derive(JsonSchema, Serialize)]
pub(super) struct Document {
    /// The figures, one for each experiment.
    figures: Vec<Written>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let (rows, published) = (load(&args.files)?, load(&args.reference)?);
    ensure!(!rows.is_empty(), "there is no row in {}", args.files[0].display());
    let options = Options { log_x: args.log_x, log_y: args.log_y, title: args.title.clone() };
    let figures = experiment::figures(&rows, &published, &options)?;
    let names = file_names(&figures)?;
    // All are drawn before the first is written.
    let drawn: Vec<Vec<(String, Vec<u8>)>> =
        figures.iter().map(|figure| draw(figure, args)).collect::<anyhow::Result<_>>()?;
    make_results_dir(&args.out)?;
    let mut written = Vec::new();
    for ((figure, name), files) in figures.iter().zip(&names).zip(drawn) {
        written.push(write(&args.out, name, figure, &files)?);
    }
    let text: String = written.iter().map(render).collect();
    print(args.json, &Document { figures: written }, &text)?;
    Ok(Outcome::Good)
}

fn load(files: &[PathBuf]) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}; check the name", file.display()))?;
        rows.extend(table::parse(&file.display().to_string(), &text)?);
    }
    Ok(rows)
}

/// The names of the figures' files, without what is behind the point. No two are the same.
fn file_names(figures: &[Figure]) -> anyhow::Result<Vec<String>> {
    let mut taken = BTreeMap::new();
    let name = |figure: &Figure| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name: String =
            figure.experiment.chars().map(|c| if plain(c) { c } else { '-' }).collect();
        let name = name.trim_start_matches(['.', '-']).to_owned();
        ensure!(
            !name.is_empty(),
            "experiment `{}` names no file; begin it with a letter or digit",
            figure.experiment
        );
        if let Some(other) = taken.insert(name.clone(), figure.experiment.clone()) {
            let this = &figure.experiment;
            anyhow::bail!("`{other}` and `{this}` would both be {name}; rename an experiment");
        }
        Ok(name)
    };
    figures.iter().map(name).collect()
}

/// The files of a figure: how their names end, and what is in them.
fn draw(figure: &Figure, args: &Args) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let about = || format!("cannot draw {}", figure.experiment);
    let mut files = Vec::new();
    if args.format != Format::Png {
        files.push(("svg".to_owned(), figure.chart.svg().with_context(about)?.into_bytes()));
    }
    if args.format != Format::Svg {
        files.push(("png".to_owned(), figure.chart.png().with_context(about)?));
    }
    if !args.reference.is_empty() {
        files.push(("md".to_owned(), figure.error_table().into_bytes()));
    }
    Ok(files)
}

fn write(
    dir: &Path,
    name: &str,
    figure: &Figure,
    files: &[(String, Vec<u8>)],
) -> anyhow::Result<Written> {
    let mut paths = Vec::new();
    for (end, bytes) in files {
        let path = dir.join(format!("{name}.{end}"));
        write_whole(&path, bytes)?;
        paths.push(path);
    }
    let series = figure.chart.panels.iter().flat_map(|panel| &panel.series);
    let error = |error: &experiment::SeriesError| Error {
        y_name: error.y_name.clone(),
        series: error.series.clone(),
        published: error.published,
        compared: error.compared,
        median_error: error.median,
        largest_error: error.largest,
    };
    Ok(Written {
        experiment: figure.experiment.clone(),
        files: paths,
        panels: figure.chart.panels.len(),
        points: series.map(|series| series.points.len()).sum(),
        errors: figure.errors.iter().map(error).collect(),
    })
}

fn render(figure: &Written) -> String {
    let files: Vec<String> = figure.files.iter().map(|file| file.display().to_string()).collect();
    let mut text = format!("{:4} points  {}\n", figure.points, files.join(" "));
    for error in &figure.errors {
        text += &format!(
            "     error  {}, {}: median {}, largest {}, {} of {} published points\n",
            error.y_name,
            error.series,
            percent(error.median_error),
            percent(error.largest_error),
            error.compared,
            error.published
        );
    }
    text
}
