//! Charts from outside: the same bytes every time, well-formed, a marker for each point, and a
//! name for what has no place.

#[path = "../examples/chart/synthetic.rs"]
mod synthetic;
mod xml;

use qpmux_plots::PlotError;
use qpmux_plots::chart::{Chart, Kind, PANELS_MAX, Panel, Point, SLOTS_MAX, Scale, VerticalMark};
use synthetic::{axis, chart, compared, eight, series, words};
use xml::check_xml;

/// Draws, checks what holds for every figure, and returns the SVG.
fn svg(chart: &Chart) -> String {
    let svg = chart.svg().unwrap();
    check_xml(&svg);
    assert!(!svg.contains("NaN") && !svg.contains("inf\""));
    assert!(svg.lines().nth(1).unwrap().contains("fill=\"#FFFFFF\""), "an opaque background");
    svg
}

/// A chart of one panel with one series.
fn small(kind: Kind, points: Vec<Point>) -> Chart {
    let panel = Panel {
        heading: "Panel".to_owned(),
        x: axis("x", Scale::Linear, false),
        y: axis("y", Scale::Linear, false),
        series: vec![series("one", kind, 0, points)],
        marks: Vec::new(),
    };
    chart("Small", 1, vec![panel])
}

/// Width, height and RGB pixels of a PNG file.
fn decode(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    (info.width, info.height, pixels)
}

/// Lines of the SVG that draw something of this shape and colour.
fn count(svg: &str, shape: &str, colour: &str) -> usize {
    let of = |line: &&str| line.starts_with(&format!("<{shape} ")) && line.contains(colour);
    svg.lines().filter(of).count()
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    for chart in [eight(), compared(), words()] {
        assert_eq!(svg(&chart), svg(&chart.clone()));
        assert_eq!(chart.png().unwrap(), chart.png().unwrap());
    }
}

/// CRC-32 of the pixels, so that another machine's fonts, or another machine, would be seen.
#[test]
fn pixels_are_the_same_on_every_machine() {
    let (_, _, pixels) = decode(&words().png().unwrap());
    assert_eq!(format!("{:08x}", crc32fast::hash(&pixels)), "3f87827f");
}

#[test]
fn a_png_has_twice_the_pixels_of_its_svg() {
    for chart in [eight(), compared()] {
        let svg = svg(&chart);
        let (width, height, pixels) = decode(&chart.png().unwrap());
        assert!(svg.starts_with(&format!(
            "<svg width=\"{}\" height=\"{}\"",
            width / 2,
            height / 2
        )));
        assert_eq!(pixels[..3], [0xff; 3]);
        assert!(pixels.chunks(3).any(|pixel| pixel == [0x00, 0x72, 0xb2]), "a series' colour");
    }
}

#[test]
fn each_point_has_one_marker_hollow_where_it_was_published() {
    let points: Vec<Point> = (0..9).map(|n| Point::new(f64::from(n), f64::from(n * n))).collect();
    // One more than points is that of the legend.
    for kind in [Kind::Model, Kind::Plain] {
        let svg = svg(&small(kind, points.clone()));
        assert_eq!(count(&svg, "circle", "fill=\"#0072B2\""), 10, "{kind:?}");
        assert_eq!(count(&svg, "circle", "stroke=\"#0072B2\""), 0, "{kind:?}");
        assert_eq!(count(&svg, "polyline", "#0072B2"), 2, "{kind:?}: the line, and the legend's");
    }
    let svg = svg(&small(Kind::Reference, points));
    assert_eq!(count(&svg, "circle", "fill=\"#0072B2\""), 0);
    assert_eq!(count(&svg, "circle", "fill=\"none\""), 10);
    assert!(count(&svg, "polyline", "stroke=\"#0072B2\" stroke-width=\"1\"") > 20, "dashes");
}

#[test]
fn higher_numbers_are_higher_and_further_right() {
    for scale in [Scale::Linear, Scale::Log] {
        let points = [0.5, 1.0, 2.0, 8.0, 1_000.0].map(|n| Point::new(n, n * n)).to_vec();
        let mut chart = small(Kind::Plain, points);
        chart.panels[0].x.scale = scale.clone();
        chart.panels[0].y.scale = scale;
        let svg = svg(&chart);
        let number = |line: &str, name: &str| -> i32 {
            let rest = line.split_once(&format!(" {name}=\"")).unwrap().1;
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let circles = svg.lines().filter(|line| line.starts_with("<circle"));
        let places: Vec<_> =
            circles.map(|line| (number(line, "cx"), number(line, "cy"))).skip(1).collect();
        assert_eq!(places.len(), 5);
        assert!(places.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 >= pair[1].1));
        assert!(places[0].0 < places[4].0 && places[0].1 > places[4].1);
    }
}

#[test]
fn the_chart_says_what_it_shows() {
    let svg_of_pairs = svg(&compared());
    for text in ["\nwrite steering\n", "\nmedian error 10.0 %\n", "\nYCSB F\n", "\n128\n"] {
        assert!(svg_of_pairs.contains(text), "{text}");
    }
    assert_eq!(svg_of_pairs.matches("\nclover\n").count(), 1, "one legend for all panels");
    assert!(svg_of_pairs.contains("Filled: the model. Hollow: published measurements."));
    let svg_of_eight = svg(&eight());
    assert!(svg_of_eight.contains("\nthe prototype died here\n"));
    assert!(!svg_of_eight.contains("Hollow"));
    assert!(svg(&words()).contains("\ndevice memory\n"));
}

#[test]
fn an_error_bar_spans_its_ends() {
    let without = svg(&small(Kind::Plain, vec![Point::new(1.0, 2.0), Point::new(2.0, 3.0)]));
    let bar = Point { x: 1.0, y: 2.0, low: 1.0, high: 4.0 };
    let with = svg(&small(Kind::Plain, vec![bar, Point::new(2.0, 3.0)]));
    let lines = |svg: &str| count(svg, "polyline", "stroke=\"#0072B2\"");
    let bars = |svg: &str| count(svg, "line", "stroke=\"#0072B2\"");
    assert_eq!(lines(&with) + bars(&with), lines(&without) + bars(&without) + 3);
}

#[test]
fn nothing_to_draw_is_an_error() {
    assert_eq!(small(Kind::Plain, vec![]).svg(), Err(PlotError::NoPoints));
    assert_eq!(chart("", 0, vec![]).png(), Err(PlotError::NoPoints));
    let mut half = small(Kind::Plain, vec![Point::new(1.0, 1.0)]);
    half.panels.push(small(Kind::Plain, vec![]).panels.remove(0));
    assert!(svg(&half).contains("\nno points\n"));
}

#[test]
fn what_has_no_place_is_named() {
    let message = |chart: &Chart| chart.svg().unwrap_err().to_string();
    let good = Point::new(1.0, 1.0);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e101] {
        let text = message(&small(Kind::Plain, vec![good, Point::new(1.0, value)]));
        let want = format!("panel `Panel`, series `one`, point 1: y is {value:e}, which has no");
        assert!(text.starts_with(&want), "{text}");
        assert!(message(&small(Kind::Plain, vec![Point::new(value, 1.0)])).contains(": x is "));
    }
    let mut log = small(Kind::Plain, vec![good, Point { x: 2.0, y: 2.0, low: 0.0, high: 3.0 }]);
    log.panels[0].y.scale = Scale::Log;
    let want = "point 1: low is 0, but only numbers above 0 have a place on a logarithmic axis";
    assert!(message(&log).ends_with(want), "{}", message(&log));
    let bar = Point { x: 1.0, y: 5.0, low: 1.0, high: 4.0 };
    assert!(message(&small(Kind::Plain, vec![bar])).contains("not within its error bar"));
    let mut word = small(Kind::Plain, vec![good]);
    word.panels[0].x.scale = Scale::Words(vec!["only".to_owned()]);
    assert!(message(&word).ends_with("x is 1, but the axis has 1 words from 0"));
}

#[test]
fn marks_slots_and_panels_without_a_place_are_named() {
    let good = || small(Kind::Plain, vec![Point::new(1.0, 1.0)]);
    let message = |chart: &Chart| chart.svg().unwrap_err().to_string();
    let mut mark = good();
    mark.panels[0].marks.push(VerticalMark { x: f64::NAN, text: "died".to_owned() });
    assert!(message(&mark).starts_with("panel `Panel`, mark 0 (`died`): x is NaN"));
    let mut slot = good();
    slot.panels[0].series[0].slot = SLOTS_MAX;
    assert_eq!(
        message(&slot),
        "series `one` has slot 64, but the last that can be told apart is 63"
    );
    let mut panels = good();
    panels.panels = vec![panels.panels[0].clone(); PANELS_MAX + 1];
    assert_eq!(panels.svg(), Err(PlotError::TooManyPanels { count: 25, max: 24 }));
    panels.panels.pop();
    panels.columns = usize::MAX;
    svg(&panels);
}

#[test]
fn extreme_numbers() {
    let cases = [
        vec![(0.0, 0.0)],
        vec![(0.0, 5e-324), (5e-324, 0.0)],
        vec![(-1e100, -1e100), (1e100, 1e100)],
        vec![(1e15, 1e15 + 1.0), (1e15 + 1.0, 1e15)],
        vec![(-1e-9, 1e99), (1e-9, 1e98)],
    ];
    for case in cases {
        let mut chart = small(Kind::Plain, case.iter().map(|&(x, y)| Point::new(x, y)).collect());
        svg(&chart);
        chart.panels[0].series[0].points.retain(|point| point.x > 1e-99 && point.y > 1e-99);
        chart.panels[0].x.scale = Scale::Log;
        chart.panels[0].y.scale = Scale::Log;
        if !chart.panels[0].series[0].points.is_empty() {
            svg(&chart);
        }
    }
}

#[test]
fn any_text_and_any_length() {
    let mut chart = eight();
    let hostile = "&\"'<>\0 鍵🔑".repeat(2_000);
    chart.title = hostile.clone();
    chart.notes = vec![hostile.clone(), String::new()];
    chart.panels[0].heading = hostile.clone();
    chart.panels[0].x.title = hostile.clone();
    chart.panels[0].y.title = hostile.clone();
    chart.panels[0].series[0].name = hostile.clone();
    chart.panels[0].series[1].remark = hostile.clone();
    chart.panels[0].marks[0].text = hostile;
    chart.panels[0].series[2].name = String::new();
    chart.notes[0].truncate(100);
    svg(&chart);
    chart.png().unwrap();
}
