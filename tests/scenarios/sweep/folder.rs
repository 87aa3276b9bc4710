//! A folder of results that is not as it was left: nothing wrong gets into its tables.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{
    QUICK_RUNS, Sweeping, assert_same, contents, folder, folder_with, made, merge, reference, runs,
    sweep, wait_until,
};

/// Four runs for each number of keys: one is good, one cannot be made, one breaks down, and one is
/// another application's.
pub(super) const SOME_BAD: &str = r#"
seeds = 1

[base]
workload = "read"
ops = 500

[axes]
keys = [100, 200]
way = [
    { name = "good, \"or so\"", uniform = true },
    { name = "impossible", zipf = -1.0 },
    { name = "lossy", loss = 0.4, retries = 0, timeout = 1 },
    { name = "locks", app = "lock", workload = "A", middlebox = "engine" },
]
"#;

/// All ways to go on in a folder name the file, what is wrong with it, and what to do.
fn assert_damaged(folder: &Path, file: &Path, what: &str) {
    let name = file.file_name().unwrap().to_str().unwrap();
    let mentions = [name, what, "remove it, and the run is made again", "name another folder"];
    sweep(folder, "out", &["--quick"]).assert_refused(&mentions);
    sweep(folder, "out", &["--quick", "--shard", "1/1"]).assert_refused(&mentions);
    merge(folder, "out", &["out"]).assert_refused(&mentions);
    merge(folder, "all", &["out"]).assert_refused(&mentions);
    for out in ["out", "all"] {
        assert!(!folder.join(out).join("results.csv").exists(), "there are tables");
    }
}

#[test]
fn a_damaged_run_is_named_and_gives_no_row() {
    let folder = folder();
    let out = folder.path().join("out");
    sweep(folder.path(), "whole", &["--quick"]).assert_good();
    sweep(folder.path(), "out", &["--quick", "--shard", "1/1"]).assert_good();
    let [first, second] = [0, 1].map(|number| runs(&out).remove(number));
    let whole = fs::read(&first).unwrap();
    let number = String::from_utf8(whole.clone()).unwrap().replacen("\"kops\": ", "\"kops\": 1", 1);
    let histogram = number.replacen("\"kops\": 1", "\"kops\": ", 1).replacen("HIST", "HJST", 1);
    for (bytes, what) in [
        (&whole[..0], "it is damaged"),
        (&whole[..whole.len() / 2], "it is damaged"),
        (&whole[..whole.len() - 4], "it is damaged"),
        (&[0xff; 900], "valid UTF-8"),
        (number.as_bytes(), "it is damaged"),
        (histogram.as_bytes(), "it is damaged"),
        (&fs::read(&second).unwrap(), "it is another run's"),
    ] {
        fs::write(&first, bytes).unwrap();
        assert_damaged(folder.path(), &first, what);
    }
    fs::remove_file(&first).unwrap();
    sweep(folder.path(), "out", &["--quick"]).assert_good();
    assert_eq!(fs::read(&first).unwrap(), whole);
    assert_same(&contents(&out), &contents(&folder.path().join("whole")));
}

/// Whatever bit of a run's file has flipped, in a number, a name or a histogram, is noticed; but
/// for one that leaves another way to write the same.
#[test]
fn a_flipped_bit_is_noticed() {
    let folder = folder();
    let out = folder.path().join("out");
    sweep(folder.path(), "out", &["--quick"]).assert_good();
    let expected = contents(&out);
    let file = runs(&out).remove(3);
    let whole = fs::read(&file).unwrap();
    let mut noticed = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&file, &flipped).unwrap();
        let run = sweep(folder.path(), "out", &["--quick", "--dry-run"]);
        if run.status == Some(2) {
            run.assert_refused(&["remove it, and the run is made again"]);
            noticed += 1;
        } else {
            sweep(folder.path(), "out", &["--quick"]).assert_good();
            let name = file.strip_prefix(&out).unwrap();
            let mut left = contents(&out);
            left.insert(name.to_owned(), whole.clone());
            assert_same(&left, &expected);
        }
    }
    assert!(noticed >= 35, "only {noticed} were noticed");
}

#[test]
fn another_plan_is_refused_with_what_differs_and_extends_where_that_is_said() {
    let folder = folder();
    let out = folder.path().join("out");
    let short = ["--with", "seeds=1", "--with", "base.ops=500"];
    let other = [&short[..], &["--with", "axes.threads=[1, 4, 8, 16]"]].concat();
    sweep(folder.path(), "out", &short).assert_good();
    let (before, old) = (contents(&out), made(&out));
    let mentions = [
        "out has results of another plan",
        "`threads = [1, 2, 4, 8]` there, `threads = [1, 4, 8, 16]` here",
        "--extend",
    ];
    sweep(folder.path(), "out", &other).assert_refused(&mentions);
    let part = [&other[..], &["--shard", "1/2"]].concat();
    sweep(folder.path(), "out", &part).assert_refused(&mentions);
    assert_same(&contents(&out), &before);
    let extended = [&other[..], &["--extend"]].concat();
    sweep(folder.path(), "out", &extended).assert_good();
    let now = made(&out);
    assert_eq!((old.len(), now.len()), (16, 20));
    assert!(
        old.iter().all(|(run, file)| now.get(run) == Some(file)),
        "a run was lost or made again"
    );
    // All but the runs that only the old plan has is as if there had been no other plan.
    sweep(folder.path(), "fresh", &other).assert_good();
    let fresh = contents(&folder.path().join("fresh"));
    let mut left = contents(&out);
    left.retain(|path, _| !path.starts_with("runs") || fresh.contains_key(path));
    assert_same(&left, &fresh);
    sweep(folder.path(), "out", &short).assert_refused(&["has results of another plan"]);
}

/// Comments, and the order of keys, are not what a plan says.
#[test]
fn a_plan_that_says_the_same_is_the_same() {
    let folder = folder();
    sweep(folder.path(), "out", &["--quick"]).assert_good();
    let before = contents(&folder.path().join("out"));
    let commented = super::PLAN.replace("seeds = 5", "seeds  =  5 # of each");
    fs::write(folder.path().join("plan.toml"), commented).unwrap();
    sweep(folder.path(), "out", &["--quick"]).assert_good();
    assert_same(&contents(&folder.path().join("out")), &before);
}

#[test]
fn a_run_that_fails_is_recorded_and_the_rest_goes_on() {
    let folder = folder_with(SOME_BAD);
    let out = folder.path().join("out");
    let run = sweep(folder.path(), "out", &["--json"]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(1), ""), "{run:#?}");
    let told: Value = serde_json::from_str(&run.stdout).unwrap();
    let bad = told["bad"].as_array().unwrap();
    let of = |status: &str| bad.iter().filter(|bad| bad["status"] == status).collect::<Vec<_>>();
    assert_eq!((bad.len(), of("failed").len(), of("broken").len()), (4, 2, 2), "{told:#}");
    for failed in of("failed") {
        assert_eq!(failed["at"]["way"], "impossible");
        assert!(failed["error"].as_str().unwrap().contains("Zipf exponent -1"), "{failed}");
    }
    let table = fs::read_to_string(out.join("results.csv")).unwrap();
    let count = |status: &str| table.lines().skip(1).filter(|line| line.contains(status)).count();
    assert_eq!([",ok,", ",failed,", ",broken,"].map(count), [4, 2, 2], "{table}");
    // Once more: nothing is made again, and it is told again.
    let (files, before) = (made(&out), contents(&out));
    let run = sweep(folder.path(), "out", &[]);
    assert_eq!(run.status, Some(1));
    assert!(run.stdout.contains("failed: keys = 100, way = impossible, seed 1"), "{run:#?}");
    assert_eq!(made(&out), files);
    assert_eq!(sweep(folder.path(), "out", &["--retry-failed"]).status, Some(1));
    let now = made(&out);
    assert_eq!(
        now.iter().filter(|(run, file)| files.get(*run) != Some(*file)).count(),
        2,
        "{files:?}, {now:?}"
    );
    assert_same(&contents(&out), &before);
    let mut bad = 0;
    for part in ["1/2", "2/2"] {
        let run = sweep(folder.path(), "parts", &["--shard", part, "--json"]);
        let told: Value = serde_json::from_str(&run.stdout).unwrap();
        let of_part = told["bad"].as_i64().unwrap();
        assert_eq!(run.status, Some(i32::from(of_part > 0)), "{run:#?}");
        bad += of_part;
    }
    assert_eq!(bad, 4);
    assert_eq!(merge(folder.path(), "parts", &["parts"]).status, Some(1));
    assert_same(&contents(&folder.path().join("parts")), &before);
}

#[test]
fn two_do_not_work_in_one_folder_at_a_time() {
    let (expected, _) = reference();
    let folder = folder();
    let out = folder.path().join("out");
    let first = Sweeping::begin(folder.path(), "out", &["--jobs", "1"]);
    wait_until("runs", || !runs(&out).is_empty());
    let mentions = ["another process works in out", "wait for it, or name another folder"];
    let other = ["--with", "seeds=1", "--extend"];
    for more in [&[][..], &["--shard", "1/2"], &["--extend"], &other, &["--retry-failed"]] {
        sweep(folder.path(), "out", more).assert_refused(&mentions);
    }
    merge(folder.path(), "out", &["out"]).assert_refused(&mentions);
    assert!(!out.join("results.csv").exists(), "the first has ended too early to tell");
    assert_eq!(first.end(), Some(0));
    assert_same(&contents(&out), expected);
}

#[test]
fn who_finishes_a_folder_does_not_while_parts_are_made_there() {
    let folder = folder();
    let out = folder.path().join("out");
    let part = Sweeping::begin(folder.path(), "out", &["--shard", "1/1", "--jobs", "1"]);
    wait_until("runs", || !runs(&out).is_empty());
    let mentions = ["another process works in out"];
    sweep(folder.path(), "out", &[]).assert_refused(&mentions);
    merge(folder.path(), "out", &["out"]).assert_refused(&mentions);
    assert_eq!(part.end(), Some(0));
    merge(folder.path(), "out", &["out"]).assert_good();
    assert_same(&contents(&out), &reference().0);
}

#[test]
fn a_dry_run_tells_what_is_made_and_makes_nothing() {
    let folder = folder();
    let told = |more: &[&str]| -> Value {
        let all = [&["--quick", "--dry-run", "--json"], more].concat();
        let run = sweep(folder.path(), "out", &all).assert_good();
        serde_json::from_str(&run.stdout).unwrap()
    };
    let all = told(&[]);
    assert_eq!((&all["runs"], &all["made"]), (&QUICK_RUNS.into(), &0.into()));
    assert!(!folder.path().join("out").exists());
    sweep(folder.path(), "out", &["--quick", "--shard", "1/2"]).assert_good();
    let half = told(&[]);
    assert_eq!(half["made"], QUICK_RUNS / 2);
    let made = half["list"].as_array().unwrap().iter().filter(|run| run["made"] == true);
    assert_eq!(made.count(), QUICK_RUNS / 2);
    let rest = told(&["--shard", "2/2"]);
    assert_eq!((&rest["runs"], &rest["made"]), (&(QUICK_RUNS / 2).into(), &0.into()));
}
