//! `qpmux compare`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use qpmux_plots::chart::{Axis, Chart, Kind, PANELS_MAX, Panel, Point, Series};

use super::Outcome;
use super::output::print;
use crate::files;
use crate::job::Metric;
use crate::sweep::{At, Compared, Comparison, ResultSet, Verdict};

/// Compare two results of sweeps, point by point.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  qpmux sweep 018 --quick --out a\n  \
    qpmux sweep 018 --quick --with base.zipf=0.9 --out b\n  \
    qpmux compare a b --tolerance 0.5\n  \
    qpmux compare a --by server-qps=1,8 --fail-on worse\n\n\
    Points are paired by their places on\n\
    the axes, runs by their seeds. A point differs if its ratio is further from 1 than the\n\
    tolerance and, with more than one seed, its difference is no chance: all that is said to\n\
    differ is so with 95 % confidence together (Student's t of the logarithms, Holm).\n\n\
    The exit status is 1 if a point differs (or, with --fail-on worse, if one is worse).")]
pub(crate) struct Args {
    /// Folder of the first results.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Folder of the second.
    #[arg(value_name = "B", required_unless_present = "by")]
    b: Option<PathBuf>,
    /// Compare two places on an axis of the first.
    #[arg(long, value_name = "AXIS=FIRST,SECOND", conflicts_with = "b")]
    by: Option<By>,
    /// What is compared; may be given more than once. By default throughput and 99th percentiles.
    #[arg(long, value_name = "METRIC")]
    metric: Vec<String>,
    /// Differences up to this share do not count.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    tolerance: f64,
    /// When the exit status is 1.
    #[arg(long, value_enum, default_value_t = FailOn::Different)]
    fail_on: FailOn,
    /// Folder for the table (compare.csv) and the figure (compare.svg, compare.png).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FailOn {
    /// If a point differs.
    Different,
    /// If a point is worse.
    Worse,
}

#[derive(Clone)]
struct By {
    axis: String,
    places: [String; 2],
}

impl std::str::FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('=').and_then(|(axis, places)| {
            let (first, second) = places.split_once(',')?;
            Some(Self { axis: axis.to_owned(), places: [first.to_owned(), second.to_owned()] })
        });
        parsed.ok_or_else(|| "write AXIS=FIRST,SECOND, as in mode=clover,mapping".to_owned())
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let first = ResultSet::load(&args.a)?;
    let [a, b] = match (&args.by, &args.b) {
        (Some(By { axis, places: [one, other] }), _) => {
            [first.at(axis, one)?, first.at(axis, other)?]
        }
        (None, Some(b)) => [first, ResultSet::load(b)?],
        (None, None) => anyhow::bail!("name a second folder, or --by"),
    };
    let metrics = match args.metric.as_slice() {
        [] => a.usual_metrics(),
        some => some.to_vec(),
    };
    metrics.iter().try_for_each(|name| Metric::of(name).map(drop))?;
    let comparison = Comparison::new(&a, &b, &metrics, args.tolerance)?;
    if let Some(dir) = &args.out {
        files::make_results_dir(dir)?;
        files::write_whole(&dir.join("compare.csv"), &table(&comparison)?)?;
        let chart = chart(&comparison, &metrics, args.title())
            .context("there is no axis of numbers to draw")?;
        files::write_whole(&dir.join("compare.svg"), chart.svg()?.as_bytes())?;
        files::write_whole(&dir.join("compare.png"), &chart.png()?)?;
    }
    print(args.json, &comparison, &render(&comparison))?;
    let is_bad = comparison.points.iter().any(|point| match args.fail_on {
        FailOn::Different => point.verdict != Verdict::Same,
        FailOn::Worse => point.verdict == Verdict::Worse,
    });
    Ok(if is_bad { Outcome::CheckFailed } else { Outcome::Good })
}

impl Args {
    /// What is over what.
    fn title(&self) -> String {
        match (&self.by, &self.b) {
            (Some(By { places: [one, other], .. }), _) => format!("{other} over {one}"),
            (None, Some(b)) => format!("{} over {}", b.display(), self.a.display()),
            (None, None) => String::new(),
        }
    }
}

fn name(at: &At) -> String {
    let each: Vec<String> = at.iter().map(|(axis, place)| format!("{axis} = {place}")).collect();
    each.join(", ")
}

fn render(comparison: &Comparison) -> String {
    let mut text = String::new();
    let mut before = "";
    for point in &comparison.points {
        if point.metric != before {
            before = &point.metric;
            let _ = writeln!(text, "{before}:");
        }
        let ratio = point.ratio.map_or("    -".to_owned(), |ratio| format!("{ratio:.3}"));
        let interval = match point.ci95 {
            Some([low, high]) => format!("{low:.3} to {high:.3}"),
            None => "one seed".to_owned(),
        };
        let verdict = match point.verdict {
            Verdict::Same => "",
            Verdict::Better => "better",
            Verdict::Worse => "WORSE",
        };
        let _ = writeln!(
            text,
            "  {:>12.5} {:>12.5}  {ratio} ({interval:16}) {verdict:6} {}",
            point.a,
            point.b,
            name(&point.at)
        );
    }
    for (which, only) in [("first", &comparison.only_a), ("second", &comparison.only_b)] {
        for at in only {
            let _ = writeln!(text, "only in the {which}: {}", name(at));
        }
    }
    if comparison.left_out != [0, 0] {
        let [a, b] = comparison.left_out;
        let _ = writeln!(text, "left out because they failed or broke a rule: {a} and {b} runs");
    }
    let of = |verdict| comparison.points.iter().filter(|p| p.verdict == verdict).count();
    let (better, worse) = (of(Verdict::Better), of(Verdict::Worse));
    let _ = writeln!(text, "{} points: {better} better, {worse} worse", comparison.points.len());
    text
}

/// The table as comma-separated values.
fn table(comparison: &Comparison) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let axes: Vec<String> =
        comparison.points.first().map(|p| p.at.keys().cloned().collect()).unwrap_or_default();
    let columns = ["metric", "seeds", "a", "b", "ratio", "low", "high", "verdict"];
    writer.write_record(axes.iter().map(String::as_str).chain(columns))?;
    for point in &comparison.points {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let mut cells: Vec<String> =
            axes.iter().map(|axis| point.at.get(axis).cloned().unwrap_or_default()).collect();
        cells.extend([
            point.metric.clone(),
            point.seeds.to_string(),
            point.a.to_string(),
            point.b.to_string(),
            number(point.ratio),
            number(point.ci95.map(|[low, _]| low)),
            number(point.ci95.map(|[_, high]| high)),
            format!("{:?}", point.verdict).to_lowercase(),
        ]);
        writer.write_record(&cells)?;
    }
    Ok(writer.into_inner()?)
}

/// The axis of numbers with the most places, which is along the figure.
fn along(points: &[Compared]) -> Option<String> {
    let first = points.first()?;
    let places = |axis: &String| {
        let all = points.iter().map(|point| point.at.get(axis)?.parse::<f64>().ok());
        let mut all: Vec<f64> = all.collect::<Option<_>>()?;
        all.sort_by(f64::total_cmp);
        all.dedup();
        Some(all.len())
    };
    let axes = first.at.keys().filter_map(|axis| Some((places(axis)?, axis)));
    axes.max_by_key(|(count, _)| *count).map(|(_, axis)| axis.clone())
}

/// Ratios with their intervals: a panel for each metric.
fn chart(comparison: &Comparison, metrics: &[String], title: String) -> Option<Chart> {
    let x = along(&comparison.points)?;
    let mut panels = Vec::new();
    for metric in metrics.iter().take(PANELS_MAX) {
        let mut curves: BTreeMap<String, Vec<Point>> = BTreeMap::new();
        for point in comparison.points.iter().filter(|point| point.metric == *metric) {
            let mut others = point.at.clone();
            let at = others.remove(&x)?.parse().ok()?;
            let Some(ratio) = point.ratio else { continue };
            let [low, high] = point.ci95.unwrap_or([ratio, ratio]);
            curves.entry(name(&others)).or_default().push(Point { x: at, y: ratio, low, high });
        }
        let series = curves.into_iter().enumerate().map(|(slot, (name, mut points))| {
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            let name = if name.is_empty() { "second over first".to_owned() } else { name };
            Series { name, kind: Kind::Plain, slot, points, remark: String::new() }
        });
        panels.push(Panel {
            heading: metric.clone(),
            x: Axis { title: x.clone(), ..Axis::default() },
            y: Axis { title: "second over first".to_owned(), from_zero: true, ..Axis::default() },
            series: series.collect(),
            marks: Vec::new(),
        });
    }
    panels.retain(|panel| !panel.series.is_empty());
    Some(Chart { title, notes: Vec::new(), columns: panels.len().clamp(1, 2), panels })
}
