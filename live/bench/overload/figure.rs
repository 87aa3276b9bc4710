//! The figure: goodput, latency, losses and repeats against load, and what happens while load
//! rises and falls.

use qpmux_plots::chart::{Axis, Chart, Kind, Panel, Point, Scale, Series, VerticalMark};

use crate::runs::{self, Falling, RISES, Results};
use crate::table::{missed, quiet_ns, shed};
use crate::tally::Span;

fn axis(title: &str, scale: Scale) -> Axis {
    Axis { title: title.to_owned(), scale, from_zero: true }
}

fn linear(title: &str) -> Axis {
    axis(title, Scale::Linear)
}

/// The line of a case.
fn line(slot: usize, case: &str, points: Vec<Point>) -> Series {
    let name = case.replace('-', " ");
    Series { name, kind: Kind::Plain, slot, points, remark: String::new() }
}

/// Cases in the order in which they were run.
fn cases(results: &Results) -> Vec<&'static str> {
    let mut found: Vec<&str> = Vec::new();
    let loads = results.loads.iter().map(|point| point.case);
    for case in loads.chain(results.falling.iter().map(|run| run.case)) {
        if !found.contains(&case) {
            found.push(case);
        }
    }
    found
}

/// A panel with a line for each case, against load.
fn by_load(
    results: &Results,
    heading: &str,
    y: Axis,
    point: impl Fn(&runs::Point, f64) -> Point,
) -> Panel {
    let of = |(slot, case): (usize, &'static str)| {
        let quiet = quiet_ns(results, case);
        let points = results.loads.iter().filter(|each| each.case == case);
        line(slot, case, points.map(|each| point(each, quiet)).collect())
    };
    let x = linear("offered load (multiples of capacity)");
    let series = cases(results).into_iter().enumerate().map(of).collect();
    Panel { heading: heading.to_owned(), x, y, series, marks: Vec::new() }
}

/// The same with one number for each load.
fn number_by_load(
    results: &Results,
    heading: &str,
    y: Axis,
    value: impl Fn(&Span, f64) -> f64,
) -> Panel {
    by_load(results, heading, y, |each, quiet| Point::new(each.load, value(&each.span, quiet)))
}

/// A panel with a line for each case, against time. `value` may sum up what it is shown.
fn by_time<V: FnMut(&Falling, &Span) -> f64>(
    results: &Results,
    heading: &str,
    y: Axis,
    value: impl Fn() -> V,
) -> Panel {
    let of = |(slot, case): (usize, &'static str)| {
        let (mut value, mut points, mut ended) = (value(), Vec::new(), 0);
        let runs = results.falling.iter().filter(|run| run.case == case);
        for (run, (_, span)) in runs.flat_map(|run| run.intervals.iter().map(move |i| (run, i))) {
            ended += span.ns;
            points.push(Point::new(ended as f64 / 1e9, value(run, span)));
        }
        line(slot, case, points)
    };
    let series = cases(results).into_iter().enumerate().map(of).collect();
    let x = linear("emulated time (s)");
    Panel { heading: heading.to_owned(), x, y, series, marks: marks(results) }
}

/// Where load changes.
fn marks(results: &Results) -> Vec<VerticalMark> {
    let Some(run) = results.falling.first() else { return Vec::new() };
    let (mut ended, mut before, mut marks) = (0, RISES[0], Vec::new());
    for (load, span) in &run.intervals {
        if *load != before {
            marks.push(VerticalMark { x: ended as f64 / 1e9, text: format!("load {load}") });
        }
        before = *load;
        ended += span.ns;
    }
    marks
}

/// All of it.
pub(crate) fn chart(results: &Results) -> Chart {
    let goodput = || linear("goodput (multiples of capacity)");
    let times = || axis("multiples of the quiet median", Scale::Log);
    let each = || linear("per completed operation");
    let mut panels = vec![
        by_load(results, "Goodput: the middle of all repetitions", goodput(), |point, _| {
            let (low, high) = point.goodputs;
            Point { x: point.load, y: point.goodput(), low, high }
        }),
        number_by_load(results, "Latency since first sent: median", times(), |span, quiet| {
            span.sent.p50 as f64 / quiet
        }),
        number_by_load(results, "Frames lost at full rings", each(), |span, _| missed(span)),
        number_by_load(results, "Latency since first sent: 99 %", times(), |span, quiet| {
            span.sent.p99 as f64 / quiet
        }),
        number_by_load(results, "Requests shed by the host", each(), |span, _| shed(span)),
        number_by_load(results, "Requests sent again by clients", each(), |span, _| {
            span.per_operation("clients.sent_again")
        }),
    ];
    if !results.falling.is_empty() {
        panels.push(by_time(results, "Goodput while load rises and falls", goodput(), || {
            |run: &Falling, span: &Span| span.rate() / run.capacity
        }));
        let share = linear("share of all clients");
        panels.push(by_time(results, "Clients that have given up by then", share, || {
            let mut dead = 0;
            move |run: &Falling, span: &Span| {
                dead += span.count("clients.dead");
                dead as f64 / f64::from(run.clients)
            }
        }));
    }
    let notes = vec![
        "The real loop and engine on a clock that only their processor time moves; clients, wires \
         and servers around them are emulated. Load and goodput are relative to what can be done, \
         latency to the median of a quiet loop."
            .to_owned(),
    ];
    let title = "Offered load beyond what can be done".to_owned();
    Chart { title, notes, columns: 2, panels }
}
