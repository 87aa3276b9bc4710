//! What the program says about itself, and the JSON documents that other programs read.

use std::collections::BTreeSet;

use qpmux_tests::{root, sample};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{SAMPLE, run_in};

/// The names of the subcommands, as the help lists them.
pub(crate) fn commands() -> Vec<String> {
    let help = run_in(&root(), ["--help"]).assert_good().stdout;
    let list = help.split_once("Commands:\n").unwrap().1.split("\n\n").next().unwrap();
    // A line that goes on with what a command does is indented further.
    let name = |line: &str| {
        let line = line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let found: Vec<String> = list.lines().filter_map(name).filter(|name| name != "help").collect();
    assert!(found.contains(&"inspect".to_owned()) && found.contains(&"replay".to_owned()));
    found
}

#[test]
fn every_command_shows_an_example() {
    for command in commands() {
        for help in ["--help", "-h"] {
            let text = run_in(&root(), [command.as_str(), help]).assert_good().stdout;
            assert!(text.contains("Usage: qpmux"), "{command} {help}: {text}");
            let example = text.split_once("Example").map_or("", |(_, rest)| rest);
            assert!(example.contains(&format!("  qpmux {command} ")), "{command} {help}: {text}");
        }
    }
}

/// The examples of the help run as they stand, one after the other, from the top of the repository.
#[test]
fn the_examples_run() {
    let mut ran = 0;
    for command in commands() {
        let text = run_in(&root(), [command.as_str(), "--help"]).assert_good().stdout;
        let folder = TempDir::new().unwrap();
        for data in ["traces", "plots"] {
            std::os::unix::fs::symlink(root().join(data), folder.path().join(data)).unwrap();
        }
        for line in text.lines().filter_map(|line| line.strip_prefix("  qpmux ")) {
            run_in(folder.path(), line.split_whitespace()).assert_good();
            ran += 1;
        }
    }
    assert!(ran >= 2, "{ran} examples were found");
}

/// Exactly one JSON document, with at least these fields.
fn document(arguments: &[&str], fields: &[&str]) -> Value {
    let folder = TempDir::new().unwrap();
    let run = run_in(folder.path(), [arguments, &["--json"]].concat()).assert_good();
    let mut documents = serde_json::Deserializer::from_str(&run.stdout).into_iter::<Value>();
    let document = documents.next().unwrap().unwrap();
    assert!(documents.next().is_none(), "more than one document: {}", run.stdout);
    assert_has(&document, fields);
    document
}

fn assert_has(document: &Value, fields: &[&str]) {
    let names: BTreeSet<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    let missing: Vec<_> = fields.iter().filter(|field| !names.contains(**field)).collect();
    assert!(missing.is_empty(), "{missing:?} is not among {names:?}");
}

#[test]
fn inspect_gives_its_document() {
    let capture = sample(SAMPLE);
    let fields = ["packets", "roce_packets", "icrc_bad", "connections", "operations", "keys"];
    let report = document(&["inspect", capture.to_str().unwrap()], &fields);
    let of_connection = [
        "client_ip",
        "client_qpn",
        "server_ip",
        "server_qpn",
        "learnt_by",
        "retransmitted",
        "naks",
    ];
    let connections = report["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 16);
    connections.iter().for_each(|connection| assert_has(connection, &of_connection));
    assert_eq!(report["packets"], 8_754);
    assert_eq!(report["operations"]["writes"], report["keys"]["requests"]);
}

#[test]
fn replay_gives_its_document() {
    let fields = [
        "client_connections",
        "server_qps_used",
        "server_qps_hosting",
        "requests",
        "completed",
        "mapped",
        "declined",
        "generated",
        "drops",
        "lost",
        "repaired",
        "recorded",
        "timeouts",
        "server_naks",
        "read_repeats",
        "out_of_service",
        "server_qps_lost",
        "learnt",
        "violations",
        "memory_ok",
    ];
    let capture = sample(SAMPLE);
    let capture = capture.to_str().unwrap();
    let report = document(&["replay", capture, "--server-qps", "2"], &fields);
    assert_eq!(report["client_connections"], 16);
    assert_eq!(report["server_qps_hosting"], 2);
    assert_eq!(report["requests"], report["completed"]);
    assert_eq!(
        (&report["memory_ok"], &report["violations"]),
        (&true.into(), &Value::Object(Default::default()))
    );
    let captured = ["replay", capture, "--responses", "captured", "--map", "none"];
    assert_eq!(document(&captured, &fields)["memory_ok"], Value::Null);
}

/// What is printed is also written, beside a manifest with the input's checksum.
#[test]
fn results_are_written_as_printed() {
    let capture = sample(SAMPLE);
    for command in ["inspect", "replay"] {
        let folder = TempDir::new().unwrap();
        let arguments = [command, capture.to_str().unwrap(), "--json", "--out", "out"];
        let run = run_in(folder.path(), arguments).assert_good();
        let file = |name: &str| std::fs::read_to_string(folder.path().join("out").join(name));
        assert_eq!(file("report.json").unwrap(), run.stdout);
        let manifest: Value = serde_json::from_str(&file("manifest.json").unwrap()).unwrap();
        assert_eq!(manifest["command"], command);
        let input = &manifest["inputs"][0];
        assert_eq!(input["bytes"], std::fs::metadata(&capture).unwrap().len());
        let sum = std::process::Command::new("sha256sum").arg(&capture).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        assert_eq!(sum.split_whitespace().next(), input["sha256"].as_str());
    }
}
