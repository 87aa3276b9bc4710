//! The placement figure from outside: the same bytes every time, well-formed, bounded, and no
//! panic on any data.

#[path = "../examples/placement/synthetic.rs"]
mod synthetic;
mod xml;

use qpmux_plots::{Dot, Placement, PlotError, draw_placement};
use synthetic::placement;
use xml::check_xml;

/// The limit that the figure keeps.
const BYTES_MAX: usize = 200_000;

fn dot(time_ms: f64, server_qp: usize, key: Option<usize>) -> Dot {
    Dot { time_ms, server_qp, key }
}

/// A figure of 2 rows and 1 key.
fn small(captured: Vec<Dot>, multiplexed: Vec<Dot>) -> Placement {
    Placement {
        title: "Small".to_owned(),
        server_qps: vec!["0x000011".to_owned(), "0x000012".to_owned()],
        keys: vec!["user1".to_owned()],
        captured,
        multiplexed,
    }
}

/// Draws, checks what holds for every figure, and returns the SVG.
fn draw(figure: &Placement) -> String {
    let svg = draw_placement(figure).unwrap();
    check_xml(&svg);
    assert!(svg.len() < BYTES_MAX, "{} bytes", svg.len());
    assert!(!svg.contains("NaN") && !svg.contains("inf\""));
    svg
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    let first = draw(&placement(4_000));
    assert_eq!(first, draw(&placement(4_000)));
    let mut shuffled = placement(4_000);
    shuffled.captured.reverse();
    shuffled.multiplexed.rotate_left(1_234);
    assert_eq!(first, draw(&shuffled));
}

#[test]
fn the_figure_says_what_it_shows() {
    let svg = draw(&placement(4_000));
    for text in [
        "As captured",
        "Through qpmux",
        "WRITEs of one key go to 16 queue pairs",
        "WRITEs of one key go to 1 queue pair\n",
        "time since the first WRITE (ms)",
        "server queue pair",
        "0x000011",
        "other keys",
        "of 4,000 WRITEs on the left",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    let background = svg.lines().nth(1).unwrap();
    assert!(background.contains("width=\"900\"") && background.contains("fill=\"#FFFFFF\""));
    assert!(background.contains("opacity=\"1\""), "{background}");
    for line in svg.lines().filter(|line| line.contains("font-family")) {
        let generic = ["\"sans-serif\"", "\"monospace\""];
        assert!(generic.iter().any(|family| line.contains(family)), "{line}");
    }
}

#[test]
fn every_key_has_its_own_mark() {
    let mut figure = small(vec![dot(0.0, 0, None), dot(1.0, 0, None)], Vec::new());
    figure.keys = (0..8).map(|key| format!("user{key}")).collect();
    let mark_of = |key| {
        let mut with = figure.clone();
        with.captured.push(dot(0.5, 1, Some(key)));
        let (with, without) = (draw(&with), draw(&figure));
        let marks = |svg: &str| svg.lines().map(str::to_owned).collect::<Vec<_>>();
        let without = marks(&without);
        let new: Vec<_> = marks(&with).into_iter().filter(|line| !without.contains(line)).collect();
        new.into_iter().find(|line| line.ends_with("/>")).expect("a mark was drawn")
    };
    let colour = |mark: &String| {
        let colours = mark.split('"').filter(|part| part.starts_with('#'));
        colours.map(str::to_owned).next().expect("a mark has a colour")
    };
    let marks: Vec<String> = (0..8).map(mark_of).collect();
    let shapes: Vec<String> = marks.iter().map(|mark| mark.replace(&colour(mark), "")).collect();
    for a in 0..8 {
        for b in 0..a {
            assert_ne!(colour(&marks[a]), colour(&marks[b]));
            assert_ne!(shapes[a], shapes[b]);
        }
    }
}

#[test]
fn thinning_keeps_the_file_small_and_says_so() {
    let few = draw(&placement(300));
    assert!(!few.contains("Drawn: "));
    for count in [4_000, 60_000] {
        assert!(draw(&placement(count)).contains("Drawn: "), "{count}");
    }
}

#[test]
fn the_most_expensive_marks_and_labels_stay_below_the_limit() {
    let hostile = "&\"'<>".repeat(50_000);
    for rows in [1, 2, 20, 70, 71, 100_000] {
        for key in [Some(6), Some(7), None] {
            let dots: Vec<Dot> =
                (0..20_000).map(|n| dot(f64::from(n), n as usize * 7 % rows, key)).collect();
            draw(&Placement {
                title: hostile.clone(),
                server_qps: vec![if rows < 100 { hostile.clone() } else { "<".into() }; rows],
                keys: vec![hostile.clone(); 8],
                captured: dots.clone(),
                multiplexed: dots,
            });
        }
    }
}

#[test]
fn nothing_to_draw_is_an_error() {
    assert_eq!(draw_placement(&small(vec![], vec![])), Err(PlotError::NoDots));
    let mut figure = small(vec![dot(0.0, 0, None)], vec![]);
    figure.server_qps.clear();
    assert_eq!(draw_placement(&figure), Err(PlotError::NoRows));
    assert!(PlotError::NoDots.to_string().contains("nothing to draw"));
}

#[test]
fn one_dot_and_one_moment() {
    let svg = draw(&small(vec![dot(5.0, 1, Some(0))], vec![]));
    assert!(svg.contains("no WRITEs"));
    draw(&small(vec![], vec![dot(-5.0, 0, None)]));
    draw(&small(vec![dot(1e18, 0, None); 5_000], vec![dot(1e18, 1, Some(0)); 5_000]));
}

#[test]
fn a_dot_without_a_place_is_named() {
    let message = |figure: &Placement| draw_placement(figure).unwrap_err().to_string();
    let good = dot(0.0, 0, Some(0));
    let row = small(vec![good.clone(), dot(0.0, 2, None)], vec![]);
    let want = "captured dot 1: it is on row 2, but there are 2 server queue pairs";
    assert_eq!(message(&row), want);
    let key = small(vec![], vec![good.clone(), good.clone(), dot(0.0, 0, Some(usize::MAX))]);
    assert!(message(&key).starts_with("multiplexed dot 2: it is of key 18446744073709551615"));
    for time in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let figure = small(vec![dot(time, 0, None)], vec![good.clone()]);
        assert!(message(&figure).starts_with("captured dot 0: its time is "), "{time}");
    }
}

#[test]
fn too_many_keys_is_an_error() {
    let mut figure = small(vec![dot(0.0, 0, None)], vec![]);
    figure.keys = vec!["user".to_owned(); 9];
    assert_eq!(draw_placement(&figure), Err(PlotError::TooManyKeys { count: 9, max: 8 }));
    figure.keys.clear();
    draw(&figure);
}

#[test]
fn extreme_times() {
    let pair = |a, b| small(vec![dot(a, 0, None), dot(b, 1, Some(0))], vec![dot(a, 0, None)]);
    for (a, b) in [(0.0, 5e-324), (-1e-9, 1e-9), (0.0, f64::MAX), (-1e300, 1e300), (1e15, 2e15)] {
        draw(&pair(a, b));
    }
    let (first_ms, last_ms) = (f64::MIN, f64::MAX);
    assert_eq!(
        draw_placement(&pair(first_ms, last_ms)),
        Err(PlotError::Span { first_ms, last_ms })
    );
}

#[test]
fn any_bytes_in_labels() {
    let mut figure = placement(50);
    figure.title = "\0<script>&\u{1b}[31m\u{ffff}\n\r\t\"'".to_owned();
    figure.keys[0] = "]]>\u{7f}\u{85}".to_owned();
    figure.server_qps[3] = "<!-- 鍵🔑 -->".to_owned();
    figure.keys[1] = String::new();
    draw(&figure);
}
