//! What tables say: each row can be made again from the manifest, and the three files of one table
//! say the same.

use std::fs;

use qpmux_tests::checkers::check_table;
use serde_json::Value;

use super::folder::SOME_BAD;
use super::{folder, folder_with, sweep};
use crate::support::run_in;

/// Runs of all kinds, with options of all kinds.
const KINDS: &str = r#"
seeds = 2

[base]
ops = 400
threads = 4
set.post_ns = 33.5

[axes]
keys = [16, 64]
kind = [
    { name = "reads", workload = "read", nic = "connectx-3", set-server = { poll_ns = 9 } },
    { name = "swaps", workload = "cas", middlebox = "prototype", set-middlebox.send_ns = 5 },
    { name = "store", workload = "B", middlebox = "qpmux", map = "all", steer = "all" },
    { name = "clover", workload = "A", map = "all", loss = 0.01, switch = ["100:steer=all"] },
    { name = "locks", app = "lock", guarded = true, release = "compare-swap" },
]
"#;

/// The rows of a folder's table, from its lines of JSON.
fn rows(folder: &std::path::Path) -> Vec<Value> {
    let lines = fs::read_to_string(folder.join("out/results.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_row_is_made_again_from_its_options() {
    let folder = folder_with(KINDS);
    sweep(folder.path(), "out", &[]).assert_good();
    let rows = rows(folder.path());
    assert_eq!(rows.len(), 20);
    let mut throughputs = Vec::new();
    for row in &rows {
        let run = row["run"].as_str().unwrap();
        let options = ["sweep", "plan.toml", "--options-of", run];
        let options = run_in(folder.path(), options).assert_good().stdout;
        fs::write(folder.path().join("options.toml"), options).unwrap();
        let again = run_in(folder.path(), ["sim", "--config", "options.toml", "--json"]);
        let again: Value = serde_json::from_str(&again.assert_good().stdout).unwrap();
        let throughput = &again["throughput_ops_per_s"];
        let throughput = throughput["mean"].as_f64().or(throughput.as_f64()).unwrap();
        let kops = row["metrics"]["kops"].as_f64().unwrap();
        assert_eq!(throughput / 1e3, kops, "{row:#}");
        throughputs.push(kops.to_bits());
    }
    throughputs.sort_unstable();
    throughputs.dedup();
    assert!(throughputs.len() > 8, "options make no difference: {throughputs:?}");
    let unknown = ["sweep", "plan.toml", "--options-of", "0123"];
    run_in(folder.path(), unknown).assert_refused(&["no row is of a run 0123"]);
}

/// Read by Apache Arrow, which has nothing in common with the library that wrote it.
#[test]
fn the_three_files_of_a_table_say_the_same() {
    let good = folder();
    sweep(good.path(), "out", &["--quick"]).assert_good();
    let bad = folder_with(SOME_BAD);
    assert_eq!(sweep(bad.path(), "out", &[]).status, Some(1));
    for (folder, rows, types) in [
        (&good, 8, [("nic", "string"), ("threads", "double"), ("seed", "int64")]),
        (&bad, 8, [("keys", "double"), ("way", "string"), ("kops", "double")]),
    ] {
        let out = folder.path().join("out");
        let Some(verdict) = check_table("the_three_files_of_a_table_say_the_same", &out) else {
            return;
        };
        verdict.assert_good();
        assert_eq!(verdict.report["rows"], rows);
        for (column, of) in types {
            assert_eq!(verdict.report["types"][column], of, "{column}");
        }
    }
    // A number that is another in one of the files is found.
    let table = bad.path().join("out/results.csv");
    let text = fs::read_to_string(&table).unwrap();
    for (from, to) in [(",lossy,", ",losses,"), (",1,", ",2,"), ("Zipf", "zipf"), (".51,", ".52,")]
    {
        assert!(text.contains(from));
        fs::write(&table, text.replacen(from, to, 1)).unwrap();
        let verdict = check_table("", &bad.path().join("out")).unwrap();
        assert_eq!(verdict.failed_checks(), ["jsonl", "parquet"], "{from}");
    }
}
