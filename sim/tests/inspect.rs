//! `inspect` against what tshark and a script without any of our code count in the same captures,
//! and against tables of the true queue-pair pairs.
//!
//! The captures are the samples of the `traces` folder; `QPMUX_EXTRA_CAPTURES=DIR` adds those of a
//! folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use qpmux_sim::connections_file::KnownConnections;
use qpmux_sim::inspect::{ConnectionReport, InspectOptions, InspectReport, run};
use serde_json::{Value, json};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All captures to compare, in order.
fn captures() -> Vec<PathBuf> {
    let mut folders = vec![root().join("traces/samples")];
    folders.extend(std::env::var_os("QPMUX_EXTRA_CAPTURES").map(PathBuf::from));
    let mut found: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .collect();
    found.sort();
    assert!(found.len() >= 6, "the samples are missing");
    found
}

fn inspect(path: &Path, options: &InspectOptions) -> Result<InspectReport, String> {
    run(path, options, &mut |_| {}).map_err(|error| format!("{}: {error}", path.display()))
}

fn has_tshark() -> bool {
    Command::new("tshark").arg("--version").output().is_ok_and(|done| done.status.success())
}

/// What the independent script counts in a capture.
fn oracle(path: &Path) -> Result<Value, Box<dyn std::error::Error>> {
    let script = root().join("tests/data/oracle.py");
    let done = Command::new("python3").arg(script).arg(path).output()?;
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "oracle.py failed: {errors}");
    let all: Value = serde_json::from_slice(&done.stdout)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(all[&name].clone())
}

/// The part of `ours` that `theirs` has too, so that the two can be compared whole.
fn only_fields_of(ours: &Value, theirs: &Value) -> Value {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => theirs
            .iter()
            .map(|(name, theirs)| {
                let ours = ours.get(name).unwrap_or(&Value::Null);
                (name.clone(), only_fields_of(ours, theirs))
            })
            .collect(),
        (Value::Array(ours), Value::Array(theirs)) => ours
            .iter()
            .enumerate()
            .map(|(i, ours)| only_fields_of(ours, theirs.get(i).unwrap_or(&Value::Null)))
            .collect(),
        _ => ours.clone(),
    }
}

/// A report in the form of the script's: keys as a number, connections by address as text.
fn comparable(report: &InspectReport) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(report)?;
    value["keys"] = json!(report.keys.as_ref().map(|keys| keys.distinct));
    Ok(value)
}

#[test]
fn every_capture_is_counted_as_by_tshark() -> TestResult {
    if !has_tshark() {
        eprintln!("SKIPPED: tshark is not installed, nothing was compared");
        return Ok(());
    }
    for path in captures() {
        let theirs = oracle(&path)?;
        let report = inspect(&path, &InspectOptions::default())?;
        let ours = only_fields_of(&comparable(&report)?, &theirs);
        for (name, theirs) in theirs.as_object().into_iter().flatten() {
            assert_eq!(&ours[name], theirs, "{name} of {}", path.display());
        }
        assert_eq!((report.icrc_bad, report.malformed.len()), (0, 0), "{}", path.display());
        assert!(report.unpaired.is_empty(), "{}: {:?}", path.display(), report.unpaired);
    }
    Ok(())
}

/// That the values themselves are tshark's, `every_capture_is_counted_as_by_tshark` says.
#[test]
fn connections_of_the_connection_manager_are_learnt_from_it() -> TestResult {
    let path = root().join("traces/samples/rdmacm-write-send.pcap");
    let report = inspect(&path, &InspectOptions::default())?;
    let facts = |c: &ConnectionReport| {
        let cm = c.cm.as_ref()?;
        let psns = (cm.client_start_psn, cm.server_start_psn);
        Some((c.client_qpn, c.server_qpn, c.learnt_by, psns, cm.path_mtu, cm.depth))
    };
    let found: Vec<_> = report.connections.iter().map(facts).collect();
    let expected = [
        (0xed, 0xed, "cm", (0x27_50d4, 0x82_8300), 1024, 0),
        (0xee, 0xee, "cm", (0xfc_84e5, 0x8b_f484), 1024, 0),
        (0xef, 0xef, "cm", (0xe3_57e0, 0x44_2379), 1024, 0),
        (0xf0, 0xf0, "cm", (0x2d_0e47, 0x03_88db), 1024, 0),
    ];
    assert_eq!(found, expected.map(Some));
    // Every client did begin where the connection manager said.
    for c in &report.connections {
        assert_eq!(c.first_psn, c.cm.as_ref().map(|cm| cm.client_start_psn));
        assert!(c.path_mtu_certain);
    }
    let text = report.render_text();
    let row = "10.9.0.1 0x0000ed  10.9.0.2 0x0000ed     2576596     8553216  1024      0        7";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("\nDREQ                      5\n"), "{text}");

    // Without it, the traffic says the same pairs, but not which end asked for the connection.
    let options = InspectOptions { learn_by_cm: false, ..InspectOptions::default() };
    let without = inspect(&path, &options)?;
    let either_way = |report| -> BTreeSet<Pair> {
        let swapped = |(a, b, c, d): Pair| if a < c { (a, b, c, d) } else { (c, d, a, b) };
        learnt(report).into_iter().map(swapped).collect()
    };
    assert_eq!(either_way(&without), either_way(&report));
    assert!(without.connections.iter().all(|c| c.learnt_by == "psn" && c.cm.is_none()));
    Ok(())
}

#[test]
fn connections_that_the_operator_knows_are_believed() -> TestResult {
    let table = table("pairs-kv-ycsb-a-16qp.csv")?;
    let entry = |(client_ip, client_qpn, server_ip, server_qpn): &Pair| {
        let (client, server) = (format!("{client_ip}:{client_qpn}"), (server_ip, server_qpn));
        let server = format!("{}:{:#x}", server.0, server.1);
        format!("[[connection]]\nclient = \"{client}\"\nserver = \"{server}\"\n")
    };
    let silent = entry(&("10.0.0.9".into(), 9, "10.0.0.8".into(), 8));
    let text: String = table.iter().map(entry).chain([silent]).collect();
    let options = InspectOptions {
        connections: KnownConnections::parse("known", &text)?,
        learn_by_source_port: false,
        learn_by_psn: false,
        ..InspectOptions::default()
    };
    let path = root().join("traces/samples/kv-ycsb-a-16qp.pcap");
    let report = inspect(&path, &options)?;
    assert!(learnt(&report).is_superset(&table));
    assert_eq!((report.connections.len(), report.unpaired.len()), (17, 0));
    assert!(report.connections.iter().all(|c| c.learnt_by == "configured"));
    assert_eq!(report.warnings, ["1 configured connections carried no packets"]);
    let usual = inspect(&path, &InspectOptions::default())?;
    let requests = |report: &InspectReport| report.connections.iter().map(|c| c.requests).sum();
    let (ours, theirs): (u64, u64) = (requests(&report), requests(&usual));
    assert_eq!(ours, theirs);
    Ok(())
}

type Pair = (String, u32, String, u32);

/// The pairs of a table `client_ip,client_qpn,server_ip,server_qpn,...`.
fn table(name: &str) -> Result<BTreeSet<Pair>, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(root().join("tests/data").join(name))?;
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let [client_ip, client_qpn, server_ip, server_qpn, ..] = cells[..] else {
            return Err(format!("{name}: {line}").into());
        };
        Ok((client_ip.into(), client_qpn.parse()?, server_ip.into(), server_qpn.parse()?))
    })
    .collect()
}

fn learnt(report: &InspectReport) -> BTreeSet<Pair> {
    let connections = report.connections.iter();
    connections
        .map(|c| (c.client_ip.to_string(), c.client_qpn, c.server_ip.to_string(), c.server_qpn))
        .collect()
}

const PAIRED: [&str; 4] = [
    "kv-ycsb-a-16qp",
    "kv-ycsb-a-2clients-16qp",
    "kv-ycsb-a-8qp-loss5-client",
    "kv-ycsb-a-8qp-loss5-server",
];

#[test]
fn pairs_are_the_true_ones() -> TestResult {
    for name in PAIRED {
        let truth = table(&format!("pairs-{name}.csv"))?;
        let path = root().join(format!("traces/samples/{name}.pcap"));
        let report = inspect(&path, &InspectOptions::default())?;
        assert_eq!(learnt(&report), truth, "{name}");
        assert!(report.connections.iter().all(|c| c.learnt_by == "source-port"), "{name}");
    }
    Ok(())
}

#[test]
fn pairs_by_sequence_numbers_alone_are_true() -> TestResult {
    let options = InspectOptions { learn_by_source_port: false, ..InspectOptions::default() };
    for name in PAIRED {
        let truth = table(&format!("pairs-{name}.csv"))?;
        let path = root().join(format!("traces/samples/{name}.pcap"));
        let report = inspect(&path, &options)?;
        let found = learnt(&report);
        println!("{name}: {} of {} pairs by PSN alone", found.len(), truth.len());
        assert!(found.is_subset(&truth), "{name}: {found:?}");
        assert!(!found.is_empty(), "{name}");
        assert!(report.connections.iter().all(|c| c.learnt_by == "psn"), "{name}");
    }
    Ok(())
}

#[test]
fn nothing_is_learnt_without_evidence() -> TestResult {
    let options = InspectOptions {
        learn_by_source_port: false,
        learn_by_psn: false,
        ..InspectOptions::default()
    };
    let path = root().join("traces/samples/kv-ycsb-a-16qp.pcap");
    let report = inspect(&path, &options)?;
    assert_eq!((report.connections.len(), report.unpaired.len()), (0, 32));
    assert!(report.warnings.iter().any(|warning| warning.starts_with("32 flows")));
    Ok(())
}
