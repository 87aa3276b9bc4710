//! `qpmux plot`: what it writes, and that it writes nothing where it cannot draw all.

use std::fs;
use std::path::Path;

use qpmux_tests::root;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{run_in, tree};

const HEAD: &str = "experiment,series,x_name,x,y_name,y,unit,source\n";

/// A folder with `own.csv` and `ref.csv` of these rows.
fn folder(own: &str, published: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, rows) in [("own.csv", own), ("ref.csv", published)] {
        fs::write(folder.path().join(name), format!("{HEAD}{rows}")).unwrap();
    }
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let name = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    tree(folder).iter().map(name).collect()
}

const OWN: &str = "a b,s,n,1,m,9,us,\na b,s,n,2,m,22,us,\nc,s,n,1,m,1,us,\n";
const PUBLISHED: &str = "a b,s,n,1,m,10,us,\na b,s,n,2,m,20,us,\na b,s,n,3,m,30,us,\n";

#[test]
fn a_figure_of_each_experiment_beside_its_errors() {
    let folder = folder(OWN, PUBLISHED);
    let arguments = ["plot", "own.csv", "--reference", "ref.csv", "--out", "out/deep"];
    let run = run_in(folder.path(), arguments).assert_good();
    let line = "m, s: median 10.0 %, largest 10.0 %, 2 of 3 published points\n";
    assert!(run.stdout.contains(line), "{}", run.stdout);
    assert!(run.stdout.contains("out/deep/a-b.svg out/deep/a-b.png out/deep/a-b.md\n"));
    let out = folder.path().join("out/deep");
    assert_eq!(names(&out), ["a-b.md", "a-b.png", "a-b.svg", "c.md", "c.png", "c.svg"]);
    let table = fs::read_to_string(out.join("a-b.md")).unwrap();
    assert!(table.contains("| m | s | 3 | 2 | 10.0 % | 10.0 % |\n"), "{table}");
    assert!(fs::read(out.join("c.png")).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    let svg = fs::read_to_string(out.join("a-b.svg")).unwrap();
    assert!(svg.contains("\nmedian error 10.0 %\n"));
}

#[test]
fn the_format_is_chosen_and_a_repeated_run_writes_the_same() {
    let folder = folder(OWN, PUBLISHED);
    for (format, end) in [("svg", "svg"), ("png", "png")] {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let arguments = ["plot", "own.csv", "--format", format, "--out", format];
            run_in(folder.path(), arguments).assert_good();
            runs.push(fs::read(folder.path().join(format!("{format}/c.{end}"))).unwrap());
        }
        assert_eq!(runs[0], runs[1]);
        assert_eq!(names(&folder.path().join(format)), [format!("a-b.{end}"), format!("c.{end}")]);
    }
}

#[test]
fn its_document_lists_figures_and_errors() {
    let folder = folder(OWN, PUBLISHED);
    let arguments = ["plot", "own.csv", "--reference", "ref.csv", "--out", "out", "--json"];
    let run = run_in(folder.path(), arguments).assert_good();
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let figures = document["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 2);
    assert_eq!(figures[0]["experiment"], "a b");
    assert_eq!(figures[0]["files"][0], "out/a-b.svg");
    assert_eq!((&figures[0]["panels"], &figures[0]["points"]), (&1.into(), &5.into()));
    let error = &figures[0]["errors"][0];
    assert_eq!((&error["compared"], &error["published"]), (&2.into(), &3.into()));
    assert!((error["median_error"].as_f64().unwrap() - 0.1).abs() < 1e-9);
    assert_eq!(figures[1]["errors"], Value::Array(Vec::new()));
}

#[test]
fn what_cannot_be_drawn_is_refused_and_nothing_is_written() {
    let refused = |own: &str, more: &[&str], mentions: &[&str]| {
        let folder = folder(own, PUBLISHED);
        let arguments = [&["plot", "own.csv", "--out", "out"], more].concat();
        run_in(folder.path(), arguments).assert_refused(mentions);
        assert_eq!(names(folder.path()), ["own.csv", "ref.csv"]);
    };
    refused("", &[], &["no row in own.csv"]);
    refused("c,s,n,1,m,fast,us,\n", &[], &["own.csv:2", "y is `fast`", "write a number"]);
    refused("c,s,n,1,m,1,us\n", &[], &["own.csv:2: 7 fields instead of 8"]);
    refused(
        "c,s,n,1,m,1,us,\nd,s,n,1,m,0,us,\n",
        &["--log-y"],
        &["own.csv:3", "leave out --log-y"],
    );
    refused("c,s,n,far,m,1,us,\n", &["--log-x"], &["own.csv:2", "`far`", "leave out --log-x"]);
    refused("c,s,n,1,m,1e300,us,\n", &[], &["cannot draw c", "point 0: y is 1e300"]);
    refused("a b,s,n,1,m,1,us,\na-b,s,n,1,m,1,us,\n", &[], &["`a b` and `a-b`", "rename"]);
    refused("/,s,n,1,m,1,us,\n", &[], &["names no file"]);
    refused("a b,s,n,1,m,1,ns,\n", &["--reference", "ref.csv"], &["ref.csv:2: unit is `us`"]);
    refused(OWN, &["--reference", "none.csv"], &["cannot read none.csv", "check the name"]);
    let calibration = root().join("plots/reference/calibration.csv");
    let other = [calibration.to_str().unwrap()];
    refused(OWN, &other, &["calibration.csv:1: the columns are not experiment,series,x_name"]);
}
