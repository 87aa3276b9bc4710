//! Sweeps of plans: whatever happens on the way, the folder that they leave is the same in the end.
//! What these scenarios share: plans, and the bytes of folders.

mod folder;
mod killed;
mod parts;
mod rows;
mod slurm;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use qpmux_tests::binary::qpmux;
use tempfile::TempDir;

use crate::support::{Run, run_in, tree};

/// A plan of 80 runs, each of some milliseconds, and of 8 that are shorter with `--quick`.
const PLAN: &str = r#"
title = "READs"
seeds = 5

[base]
workload = "read"
ops = 4000
size = 64

[axes]
nic = ["connectx-3", "connectx-5"]
way = [{ name = "few", keys = 16 }, { name = "many", keys = 1000 }]
threads = [1, 2, 4, 8]

[plot]
x = "threads"
y = ["mops", "p99_us"]
series = "way"
panels = "nic"

[quick]
ops = 500
"#;
/// Its runs.
const RUNS: usize = 80;
/// Its runs with `--quick`.
const QUICK_RUNS: usize = 8;
/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with the plan, `plan.toml`.
fn folder() -> TempDir {
    folder_with(PLAN)
}

/// A folder with a plan, `plan.toml`.
fn folder_with(plan: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("plan.toml"), plan).unwrap();
    folder
}

/// Runs `qpmux sweep plan.toml --out OUT`.
fn sweep(folder: &Path, out: &str, more: &[&str]) -> Run {
    run_in(folder, [&["sweep", "plan.toml", "--out", out], more].concat())
}

/// Runs `qpmux merge --out OUT PART...`.
fn merge(folder: &Path, out: &str, parts: &[&str]) -> Run {
    run_in(folder, [&["merge", "--out", out], parts].concat())
}

/// A sweep that goes on by itself; killed when it is dropped.
struct Sweeping(Child);

impl Sweeping {
    fn begin(folder: &Path, out: &str, more: &[&str]) -> Self {
        let mut command = qpmux();
        command.current_dir(folder).args(["sweep", "plan.toml", "--out", out]).args(more);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Waits for its end: its exit status.
    fn end(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is in a folder: all files by their path in it, the file that processes lock included, for
/// it is always empty.
type Contents = BTreeMap<PathBuf, Vec<u8>>;

fn contents(folder: &Path) -> Contents {
    let files = tree(folder).into_iter().filter(|path| path.is_file());
    let read =
        |path: PathBuf| (path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
    files.map(read).collect()
}

/// Two folders hold the same files with the same bytes.
fn assert_same(found: &Contents, expected: &Contents) {
    let all = found.keys().chain(expected.keys());
    let other: Vec<&PathBuf> = all.filter(|path| found.get(*path) != expected.get(*path)).collect();
    assert!(other.is_empty(), "not the same: {other:?}");
}

/// What an uninterrupted sweep on one thread leaves, and how long it takes.
fn reference() -> &'static (Contents, Duration) {
    static REFERENCE: OnceLock<(Contents, Duration)> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let folder = folder();
        let begun = Instant::now();
        sweep(folder.path(), "out", &["--jobs", "1"]).assert_good();
        let took = begun.elapsed();
        let left = contents(&folder.path().join("out"));
        assert_eq!(left.keys().filter(|path| path.starts_with("runs")).count(), RUNS);
        for name in ["manifest.json", "results.csv", "results.jsonl", "results.parquet"] {
            assert!(left.contains_key(Path::new(name)), "{name} is missing");
        }
        for name in ["plan.csv", "plan.svg", "plan.png", "index.html"] {
            assert!(left.contains_key(Path::new(name)), "{name} is missing");
        }
        (left, took)
    })
}

/// Files of runs that have ended, sorted.
fn runs(out: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(out.join("runs")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut runs: Vec<PathBuf> =
        paths.filter(|path| path.extension() == Some("json".as_ref())).collect();
    runs.sort();
    runs
}

/// Which files the runs are, and when they were written: another file has another number.
type Made = BTreeMap<PathBuf, (u64, i64, i64)>;

fn made(out: &Path) -> Made {
    let about = |path: PathBuf| {
        let found = fs::metadata(&path).unwrap();
        (path, (found.ino(), found.mtime(), found.mtime_nsec()))
    };
    runs(out).into_iter().map(about).collect()
}

/// Waits until something is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
