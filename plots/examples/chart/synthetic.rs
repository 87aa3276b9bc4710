//! Made-up charts: small ones, and those with the most of everything.

use qpmux_plots::chart::{Axis, Chart, Kind, Panel, Point, Scale, Series, VerticalMark};

/// An axis.
pub(crate) fn axis(title: &str, scale: Scale, from_zero: bool) -> Axis {
    Axis { title: title.to_owned(), scale, from_zero }
}

/// A series without a remark.
pub(crate) fn series(name: &str, kind: Kind, slot: usize, points: Vec<Point>) -> Series {
    Series { name: name.to_owned(), kind, slot, points, remark: String::new() }
}

/// A chart of these panels.
pub(crate) fn chart(title: &str, columns: usize, panels: Vec<Panel>) -> Chart {
    let notes = vec![
        "Made-up numbers, to see how a chart looks. The notes of a chart are sentences \
        and break where a line is full, between words, as these words do here."
            .to_owned(),
    ];
    Chart { title: title.to_owned(), notes, columns, panels }
}

/// Eight series with error bars, some near each other, some far apart.
pub(crate) fn eight() -> Chart {
    let line = |slot: u32| {
        let point = |threads: u32| {
            let (x, slot) = (f64::from(threads), f64::from(slot));
            let y = 900.0 * x / (x + 8.0 + 6.0 * slot) * (1.0 - 0.05 * slot);
            Point { x, y, low: y * 0.93, high: y * 1.05 }
        };
        let points = [2, 4, 8, 12, 16, 24, 32, 48, 64].into_iter().map(point).collect();
        series(&format!("{} server queue pairs", 1 << slot), Kind::Plain, slot as usize, points)
    };
    let panel = Panel {
        heading: String::new(),
        x: axis("client threads", Scale::Linear, true),
        y: axis("throughput (kops/s)", Scale::Linear, true),
        series: (0..8).map(line).collect(),
        marks: vec![
            VerticalMark { x: 48.0, text: "the prototype died here".to_owned() },
            VerticalMark { x: 56.0, text: "and here, for another reason".to_owned() },
        ],
    };
    chart("Throughput by client threads and server queue pairs", 1, vec![panel])
}

/// A model beside published numbers, on six panels with all kinds of axes.
pub(crate) fn compared() -> Chart {
    let names = ["clover", "write steering", "write + read steering"];
    let panel = |index: u32| {
        let curve = |slot: usize, off: f64| -> Vec<Point> {
            let y = |x: f64| 10.0_f64.powf(f64::from(index)) * x.powf(0.9) * (slot + 1) as f64;
            (1..8).map(|n| f64::from(1 << n)).map(|x| Point::new(x, off * y(x))).collect()
        };
        let pair = |(slot, name): (usize, &&str)| {
            let published = series(name, Kind::Reference, slot, curve(slot, 1.0));
            let mut model = series(name, Kind::Model, slot, curve(slot, 1.0 + 0.1 * slot as f64));
            model.remark = format!("median error {}.0 %", slot * 10);
            [model, published]
        };
        let scale = |log| if log { Scale::Log } else { Scale::Linear };
        Panel {
            heading: format!("YCSB {}", ["A", "B", "C", "D", "E", "F"][index as usize % 6]),
            x: axis("client threads", scale(index % 2 == 1), true),
            y: axis("throughput (ops/s)", scale(index % 3 == 1), true),
            series: names.iter().enumerate().flat_map(pair).collect(),
            marks: Vec::new(),
        }
    };
    chart("The model and what was published", 3, (0..6).map(panel).collect())
}

/// Words along the horizontal axis, and one with few numbers.
pub(crate) fn words() -> Chart {
    let words = ["host memory", "device memory", "no such memory"].map(str::to_owned).to_vec();
    let points =
        |slot: u32| (0..3).map(|n| Point::new(f64::from(n), f64::from(n + slot))).collect();
    let first = Panel {
        heading: "Words".to_owned(),
        x: axis("memory", Scale::Words(words), false),
        y: axis("latency (us)", Scale::Linear, false),
        series: vec![
            series("reads", Kind::Plain, 0, points(0)),
            series("writes", Kind::Plain, 1, points(1)),
        ],
        marks: Vec::new(),
    };
    let mut second = first.clone();
    second.heading = "One point".to_owned();
    second.x = axis("bytes", Scale::Log, false);
    second.y.scale = Scale::Log;
    second.series =
        vec![series("reads", Kind::Reference, 8, vec![Point::new(3_000.0, 1_234_567.0)])];
    chart("Odd ones", 2, vec![first, second])
}
