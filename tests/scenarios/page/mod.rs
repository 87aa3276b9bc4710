//! A page of results in a browser: it is drawn, sorts, enlarges, changes its colours and remembers
//! that, says nothing on the console, and runs nothing that is not its own.

#[path = "../../../plots/examples/chart/synthetic.rs"]
mod charts;
#[path = "../../../plots/examples/page/synthetic.rs"]
mod synthetic;

use std::fs;

use qpmux_tests::browser::{Shown, open};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::run_in;

const WINDOW: (u32, u32) = (1_000, 800);
/// As narrow as a window of the browser gets.
const PHONE: (u32, u32) = (500, 900);

/// A folder with the page, as `page.html`, and a profile for the browser.
struct Visit {
    folder: TempDir,
}

impl Visit {
    /// Of the made-up page with `more` at its end. A script there runs if it has the nonce `test`.
    fn new(more: &str) -> Self {
        Self::of(&synthetic::page().html().unwrap(), more)
    }

    /// Of a page with `more` at its end.
    fn of(html: &str, more: &str) -> Self {
        let copy = html.replacen("script-src '", "script-src 'nonce-test' '", 1);
        assert_ne!(copy, html, "scripts are allowed by name");
        let copy = copy.replace("</body>", &format!("{more}</body>"));
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("page.html"), copy).unwrap();
        Self { folder }
    }

    /// With the script that looks and clicks.
    fn watched() -> Self {
        let script = include_str!("watch.js");
        Self::new(&format!("<script nonce=\"test\">{script}</script>"))
    }

    fn open(&self, size: (u32, u32), arguments: &[&str]) -> Shown {
        let folder = self.folder.path();
        open(&folder.join("page.html"), &folder.join("profile"), size, arguments)
    }

    /// What the script saw.
    fn saw(&self, size: (u32, u32), arguments: &[&str]) -> Value {
        let shown = self.open(size, arguments);
        assert_eq!(shown.console, [""; 0]);
        let seen = shown.document.split_once("<pre id=\"seen\">").map(|(_, rest)| rest);
        let seen = seen.and_then(|rest| rest.split_once("</pre>")).map(|(seen, _)| seen);
        serde_json::from_str(seen.expect("the script ran to its end")).unwrap()
    }
}

#[test]
fn a_page_works_in_a_browser() {
    let visit = Visit::watched();
    let seen = visit.saw(WINDOW, &[]);
    let drawn = json!({ "figures": 3, "empty": 0, "requests": 0, "sideways": 0 });
    assert_eq!(seen["drawn"], drawn);
    assert_sorted(&seen);
    assert_enlarged(&seen["figure"]);
    let [light, dark] = ["rgb(255, 255, 255)", "rgb(23, 27, 33)"];
    let lit = theme(light, "Dark", Value::Null);
    let unlit = theme(dark, "Light", "dark".into());
    assert_eq!(seen["themes"], json!([lit, unlit, lit, unlit]));
    // The last choice is remembered by the next visit, which goes back.
    assert_eq!(visit.saw(WINDOW, &[])["themes"], json!([unlit, lit, unlit, lit]));
}

/// Colours behind a table and behind a figure, what the button offers, and what is remembered.
fn theme(paper: &str, next: &str, kept: Value) -> Value {
    json!({ "paper": paper, "figure": paper, "next": next, "kept": kept })
}

/// The order of the rows by the name in the first column, and each heading's `aria-sort`.
fn assert_sorted(seen: &Value) {
    let sorted = |rows: &str, headings: [&str; 3]| json!({ "rows": rows, "headings": headings });
    let none = sorted("badcef", ["", "", ""]);
    let up = |rows, column: usize| {
        let mut headings = [""; 3];
        headings[column] = "ascending";
        sorted(rows, headings)
    };
    let down = |rows, column: usize| {
        let mut headings = [""; 3];
        headings[column] = "descending";
        sorted(rows, headings)
    };
    // Numbers, then words, then nothing; 4 threads before 32.
    assert_eq!(seen["times"], json!([up("cedbfa", 1), down("bdecfa", 1), none]));
    assert_eq!(seen["notes"], json!([up("fcdeba", 2), down("fbdeca", 2), none]));
    assert_eq!(seen["other"], json!([up("abcdef", 0), up("cedbfa", 1)]));
    assert_eq!(seen["focused"], "BUTTON");
}

fn assert_enlarged(figure: &Value) {
    let number = |name: &str| figure[name].as_f64().unwrap();
    assert!(number("inline") < number("drawn"), "{figure}");
    assert!(number("opened") >= number("drawn"), "{figure}");
    for (name, want) in [
        ("focused", true),
        ("modal", true),
        ("closed_by_escape", true),
        ("focused_again", true),
        ("opened_by_click", true),
        ("closed_by_button", true),
        ("closed_beside", true),
    ] {
        assert_eq!(figure[name], want, "{name}: {figure}");
    }
}

#[test]
fn a_page_follows_a_dark_system_and_fits_a_telephone() {
    let dark = "--blink-settings=preferredColorScheme=0";
    let seen = Visit::watched().saw(PHONE, &[dark]);
    assert_eq!(seen["drawn"]["sideways"], 0, "{seen}");
    assert_eq!(seen["themes"][0]["paper"], "rgb(23, 27, 33)");
    assert_eq!(
        (&seen["themes"][0]["next"], &seen["themes"][0]["kept"]),
        (&"Light".into(), &Value::Null)
    );
    assert_eq!(seen["themes"][1]["paper"], "rgb(255, 255, 255)");
    assert_eq!(seen["themes"][1]["kept"], "light");
    assert_eq!(seen["themes"][2]["kept"], Value::Null, "what the system has is not remembered");
}

/// The page that a sweep writes, with all that it has.
#[test]
fn the_page_of_a_sweep_is_drawn() {
    let folder = TempDir::new().unwrap();
    run_in(folder.path(), ["sweep", "018", "--quick", "--out", "out"]).assert_good();
    let html = fs::read_to_string(folder.path().join("out/index.html")).unwrap();
    let shown = Visit::of(&html, "").open(WINDOW, &[]);
    assert_eq!(shown.console, [""; 0]);
    // An overview, the figure's numbers, all runs, the axes, and three presets.
    for (what, count) in [("<svg", 1), ("<table", 7)] {
        assert_eq!(shown.document.matches(what).count(), count, "{what}");
    }
}

/// What got into the page all the same could do nothing. This also shows that the console is heard.
#[test]
fn a_page_runs_and_fetches_nothing_that_is_not_its_own() {
    let strange = [
        ("<script>document.title = 'taken'</script>", "script-src"),
        ("<i id=\"x\" onclick=\"document.title = 'taken'\"></i>", "script-src"),
        ("<style>body { display: none }</style>", "style-src"),
        ("<img src=\"http://127.0.0.1:9/x.png\">", "img-src"),
        ("<script src=\"http://127.0.0.1:9/x.js\"></script>", "script-src"),
        ("<iframe src=\"http://127.0.0.1:9/\"></iframe>", "default-src"),
    ];
    let markup: String = strange.iter().map(|(markup, _)| *markup).collect();
    let click = "<script nonce=\"test\">document.getElementById('x').click()</script>";
    let shown = Visit::new(&format!("{markup}{click}")).open(WINDOW, &[]);
    assert!(!shown.document.contains("<title>taken"));
    let refused = |line: &&String| line.contains("Content Security Policy directive");
    let refusals: Vec<&String> = shown.console.iter().filter(refused).collect();
    assert_eq!(refusals.len(), shown.console.len(), "{:#?}", shown.console);
    assert_eq!(refusals.len(), strange.len(), "{refusals:#?}");
    for (markup, directive) in strange {
        let names = [format!("directive '{directive} "), format!("directive: \"{directive} ")];
        let named = |line: &&&String| names.iter().any(|name| line.contains(name));
        let expected = strange.iter().filter(|(_, other)| *other == directive).count();
        assert_eq!(refusals.iter().filter(named).count(), expected, "{markup}: {refusals:#?}");
    }
}
