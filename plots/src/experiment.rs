//! From the rows of experiments to their figures, beside what was published.

use crate::chart::{Axis, Chart, Kind, Panel, Point, Scale, Series};
use crate::table::{Row, TableError};

/// How figures are drawn.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether the horizontal axes are logarithmic.
    pub log_x: bool,
    /// Whether the vertical axes are logarithmic.
    pub log_y: bool,
    /// The title; of several figures, each says its experiment behind it.
    pub title: Option<String>,
}

/// The figure of an experiment.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The experiment.
    pub experiment: String,
    /// Its drawing.
    pub chart: Chart,
    /// How far each series is from what was published.
    pub errors: Vec<SeriesError>,
}

/// How far a series is from the published one of the same name, where both have the same x.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesError {
    /// What was measured.
    pub y_name: String,
    /// The series.
    pub series: String,
    /// How many points were published.
    pub published: usize,
    /// How many of them have a counterpart.
    pub compared: usize,
    /// Median of the absolute errors, as shares of what was published.
    pub median: f64,
    /// The largest of them.
    pub largest: f64,
}

/// The figures of the experiments in `rows`, in the order in which they come; published rows of
/// the same experiments are in them.
///
/// # Errors
/// When rows of one panel cannot share its axes.
pub fn figures(
    rows: &[Row],
    published: &[Row],
    options: &Options,
) -> Result<Vec<Figure>, TableError> {
    let experiments = distinct(rows.iter().map(|row| row.experiment.as_str()));
    let figure = |&experiment: &&str| {
        let of = |rows: &'_ [Row]| -> Vec<Row> {
            rows.iter().filter(|row| row.experiment == experiment).cloned().collect()
        };
        let title = match &options.title {
            None => experiment.to_owned(),
            Some(title) if experiments.len() == 1 => title.clone(),
            Some(title) => format!("{title}: {experiment}"),
        };
        let own = if published.is_empty() { Kind::Plain } else { Kind::Model };
        draw(experiment, title, own, &of(rows), &of(published), options)
    };
    experiments.iter().map(figure).collect()
}

/// What comes, each once, in the order in which it first comes.
fn distinct<'a, T: PartialEq + 'a>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

fn draw(
    experiment: &str,
    title: String,
    own: Kind,
    rows: &[Row],
    published: &[Row],
    options: &Options,
) -> Result<Figure, TableError> {
    let all = || rows.iter().chain(published);
    let names = distinct(all().map(|row| row.series.as_str()));
    let quantities = distinct(all().map(quantity));
    let (mut panels, mut errors) = (Vec::new(), Vec::new());
    for &of in &quantities {
        let part = |rows: &'_ [Row]| -> Vec<Row> {
            rows.iter().filter(|row| quantity(row) == of).cloned().collect()
        };
        let (rows, published) = (part(rows), part(published));
        let scale = x_scale(rows.iter().chain(&published), options)?;
        check(&rows, &published, options)?;
        let mut panel = Panel {
            heading: if quantities.len() > 1 { of.1.to_owned() } else { String::new() },
            y: y_axis(of.1, rows.iter().chain(&published), options),
            x: x_axis(of.0, rows.iter().chain(&published), &scale),
            series: Vec::new(),
            marks: Vec::new(),
        };
        for (slot, &name) in names.iter().enumerate() {
            let error = compare(name, &rows, &published);
            let remark = error.as_ref().map_or(String::new(), |error| {
                let of = if quantities.len() > 1 { format!("{}: ", of.1) } else { String::new() };
                format!("{of}median error {}", percent(error.median))
            });
            errors.extend(error);
            for (rows, kind) in [(&rows, own), (&published, Kind::Reference)] {
                let points = points(name, rows, &scale);
                if !points.is_empty() {
                    let (name, remark) = (name.to_owned(), remark.clone());
                    panel.series.push(Series { name, kind, slot, points, remark });
                }
            }
        }
        panels.push(panel);
    }
    let columns = if matches!(panels.len(), 2 | 4) { 2 } else { 3 };
    let chart = Chart { title, notes: Vec::new(), columns, panels };
    Ok(Figure { experiment: experiment.to_owned(), chart, errors })
}

/// What shares a panel: what was varied, and what was measured.
fn quantity(row: &Row) -> (&str, &str) {
    (&row.x_name, &row.y_name)
}

/// A scale of numbers, or of words if there is one.
fn x_scale<'a>(
    mut rows: impl Iterator<Item = &'a Row> + Clone,
    options: &Options,
) -> Result<Scale, TableError> {
    let words = distinct(rows.clone().map(|row| row.x.clone()));
    let word = rows.find(|row| number(&row.x).is_none());
    match word {
        Some(row) if options.log_x => {
            let what = format!("x is `{}`, a word; leave out --log-x", row.x);
            Err(TableError::new(&row.file, row.line, what))
        }
        Some(_) => Ok(Scale::Words(words)),
        None if options.log_x => Ok(Scale::Log),
        None => Ok(Scale::Linear),
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Fails where rows that share axes differ in their unit, or have no place on a logarithmic one.
fn check(rows: &[Row], published: &[Row], options: &Options) -> Result<(), TableError> {
    let Some(first) = rows.iter().chain(published).next() else { return Ok(()) };
    for row in rows.iter().chain(published) {
        let error = |what| Err(TableError::new(&row.file, row.line, what));
        if row.unit != first.unit {
            let (unit, file, line) = (&first.unit, &first.file, first.line);
            return error(format!(
                "unit is `{}`, but {file}:{line} has {} in `{unit}`; give both in the same",
                row.unit, first.y_name
            ));
        }
        let low = row.bar.map_or(row.y, |(low, _)| low);
        if options.log_y && low <= 0.0 {
            return error(format!(
                "y goes down to {low}, which no logarithm has; leave out --log-y"
            ));
        }
        if options.log_x && number(&row.x).is_some_and(|x| x <= 0.0) {
            return error(format!("x is {}, which has no logarithm; leave out --log-x", row.x));
        }
    }
    Ok(())
}

fn y_axis<'a>(name: &str, mut rows: impl Iterator<Item = &'a Row>, options: &Options) -> Axis {
    let unit = rows.next().map_or("", |row| row.unit.as_str());
    let title = if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") };
    let scale = if options.log_y { Scale::Log } else { Scale::Linear };
    Axis { title, scale, from_zero: true }
}

fn x_axis<'a>(name: &str, rows: impl Iterator<Item = &'a Row>, scale: &Scale) -> Axis {
    let numbers: Vec<f64> = rows.filter_map(|row| number(&row.x)).collect();
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // 0 is left out where it would take more of the axis than the numbers.
    let from_zero = least >= 0.0 && least <= most / 2.0;
    Axis { title: name.to_owned(), scale: scale.clone(), from_zero }
}

/// The points of a series, from left to right.
fn points(series: &str, rows: &[Row], scale: &Scale) -> Vec<Point> {
    let place = |row: &Row| match scale {
        Scale::Words(words) => {
            words.iter().position(|word| *word == row.x).map_or(0.0, |index| index as f64)
        }
        Scale::Linear | Scale::Log => number(&row.x).unwrap_or(0.0),
    };
    let of = rows.iter().filter(|row| row.series == series);
    let mut points: Vec<Point> = of
        .map(|row| {
            let (low, high) = row.bar.unwrap_or((row.y, row.y));
            Point { x: place(row), y: row.y, low, high }
        })
        .collect();
    points.sort_by(|a, b| a.x.total_cmp(&b.x));
    points
}

/// Compares a series with the published one. Where it has several points of one x, their mean
/// counts; what was published as 0 has no relative error and is not compared.
fn compare(series: &str, rows: &[Row], published: &[Row]) -> Option<SeriesError> {
    let named = |row: &&Row| row.series == series;
    let same = |a: &str, b: &str| match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    };
    let published: Vec<&Row> = published.iter().filter(named).collect();
    let mut errors = Vec::new();
    for reference in published.iter().filter(|row| row.y != 0.0) {
        let own = rows.iter().filter(named).filter(|row| same(&row.x, &reference.x));
        let values: Vec<f64> = own.map(|row| row.y).collect();
        if !values.is_empty() {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            errors.push((mean - reference.y).abs() / reference.y.abs());
        }
    }
    errors.sort_by(f64::total_cmp);
    let largest = *errors.last()?;
    let (low, high) = (errors[(errors.len() - 1) / 2], errors[errors.len() / 2]);
    Some(SeriesError {
        y_name: rows.first()?.y_name.clone(),
        series: series.to_owned(),
        published: published.len(),
        compared: errors.len(),
        median: f64::midpoint(low, high),
        largest,
    })
}

/// A share as a percentage with one digit behind the point.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

impl Figure {
    /// The errors as a table in Markdown.
    #[must_use]
    pub fn error_table(&self) -> String {
        let mut text = format!(
            "# {}\n\nHow far each series is from what was published, where both have the same x: \
             absolute\nerrors, as shares of the published number.\n\n\
             | quantity | series | points published | compared | median error | largest error |\n\
             |---|---|---|---|---|---|\n",
            self.chart.title
        );
        for error in &self.errors {
            let cell = |text: &str| text.replace('|', "\\|");
            text += &format!(
                "| {} | {} | {} | {} | {} | {} |\n",
                cell(&error.y_name),
                cell(&error.series),
                error.published,
                error.compared,
                percent(error.median),
                percent(error.largest)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::parse;

    const HEAD: &str = "experiment,series,x_name,x,y_name,y,unit,source\n";

    fn rows(file: &str, lines: &[&str]) -> Vec<Row> {
        parse(file, &(HEAD.to_owned() + &lines.join("\n"))).unwrap()
    }

    fn draw_with(own: &[Row], published: &[Row], options: &Options) -> Result<Vec<Figure>, String> {
        figures(own, published, options).map_err(|error| error.to_string())
    }

    #[test]
    fn a_figure_for_each_experiment_and_a_panel_for_each_quantity() {
        let own = rows(
            "own.csv",
            &[
                "b,two,threads,2,throughput,5,kops/s,",
                "b,one,threads,4,throughput,9,kops/s,",
                "b,one,threads,2,throughput,7,kops/s,",
                "a,one,threads,2,throughput,7,,",
                "b,one,threads,2,latency,1,us,",
            ],
        );
        let drawn = draw_with(&own, &[], &Options::default()).unwrap();
        let names: Vec<&str> = drawn.iter().map(|figure| figure.experiment.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        let panels = &drawn[0].chart.panels;
        assert_eq!(panels.len(), 2);
        assert_eq!(panels[0].y.title, "throughput (kops/s)");
        assert_eq!(drawn[1].chart.panels[0].y.title, "throughput");
        let slots: Vec<_> = panels[0].series.iter().map(|one| (&*one.name, one.slot)).collect();
        assert_eq!(slots, [("two", 0), ("one", 1)]);
        assert_eq!(panels[0].series[1].points, [Point::new(2.0, 7.0), Point::new(4.0, 9.0)]);
        assert_eq!(panels[1].series[0].slot, 1, "a series looks the same in all panels");
        let title = Some("Both".to_owned());
        let drawn = draw_with(&own, &[], &Options { title, ..Options::default() }).unwrap();
        assert_eq!(drawn[1].chart.title, "Both: a");
    }

    #[test]
    fn errors_are_of_equal_places_only() {
        let own = rows(
            "own.csv",
            &["a,s,n,1,m,90,,", "a,s,n,2.0,m,110,,", "a,s,n,2,m,130,,", "a,s,n,3,m,7,,"],
        );
        let published = rows(
            "ref.csv",
            &[
                "a,s,n,1,m,100,,",
                "a,s,n,2,m,100,,",
                "a,s,n,4,m,100,,",
                "a,s,n,3,m,0,,",
                "a,only,n,9,m,5,,",
                "other,s,n,1,m,1,,",
            ],
        );
        let drawn = draw_with(&own, &published, &Options::default()).unwrap();
        assert_eq!(drawn.len(), 1, "what is only published has no figure");
        let [error] = drawn[0].errors.as_slice() else { panic!("{:?}", drawn[0].errors) };
        assert_eq!((error.published, error.compared), (4, 2));
        assert!((error.median - 0.15).abs() < 1e-12 && (error.largest - 0.2).abs() < 1e-12);
        let series = &drawn[0].chart.panels[0].series;
        let kinds: Vec<_> = series.iter().map(|one| (&*one.name, one.kind)).collect();
        let (model, reference) = (Kind::Model, Kind::Reference);
        assert_eq!(kinds, [("s", model), ("s", reference), ("only", reference)]);
        assert_eq!(series[0].remark, "median error 15.0 %");
        assert_eq!(series[2].remark, "");
        assert!(drawn[0].error_table().contains("| m | s | 4 | 2 | 15.0 % | 20.0 % |\n"));
    }

    #[test]
    fn words_have_an_axis_of_their_own() {
        let own = rows("own.csv", &["a,s,n,near,m,1,,", "a,s,n,far,m,2,,", "a,s,n,7,m,3,,"]);
        let drawn = draw_with(&own, &[], &Options::default()).unwrap();
        let words = ["near", "far", "7"].map(str::to_owned).to_vec();
        assert_eq!(drawn[0].chart.panels[0].x.scale, Scale::Words(words));
        let xs: Vec<f64> =
            drawn[0].chart.panels[0].series[0].points.iter().map(|point| point.x).collect();
        assert_eq!(xs, [0.0, 1.0, 2.0]);
        let log = Options { log_x: true, ..Options::default() };
        let error = draw_with(&own, &[], &log).unwrap_err();
        assert_eq!(error, "own.csv:2: x is `near`, a word; leave out --log-x");
    }

    #[test]
    fn what_cannot_share_axes_is_named() {
        let own = rows("own.csv", &["a,s,n,0,m,1,us,", "a,s,n,2,m,-2,us,"]);
        let published = rows("ref.csv", &["a,s,n,1,m,1,ns,"]);
        let error = draw_with(&own, &published, &Options::default()).unwrap_err();
        assert!(
            error.starts_with("ref.csv:2: unit is `ns`, but own.csv:2 has m in `us`"),
            "{error}"
        );
        let log_y = Options { log_y: true, ..Options::default() };
        assert!(draw_with(&own, &[], &log_y).unwrap_err().starts_with("own.csv:3: y goes down"));
        let log_x = Options { log_x: true, ..Options::default() };
        assert!(draw_with(&own, &[], &log_x).unwrap_err().starts_with("own.csv:2: x is 0"));
    }
}
