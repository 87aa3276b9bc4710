//! Any number of jobs, shards, folders: the same bytes. What does not belong together is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{
    QUICK_RUNS, RUNS, Sweeping, assert_same, contents, folder, merge, reference, runs, sweep,
};

#[test]
fn the_number_of_jobs_changes_no_byte() {
    let (expected, _) = reference();
    for jobs in ["2", "3"] {
        let folder = folder();
        sweep(folder.path(), "out", &["--jobs", jobs]).assert_good();
        assert_same(&contents(&folder.path().join("out")), expected);
    }
}

#[test]
fn parts_in_folders_of_their_own_are_merged() {
    let (expected, _) = reference();
    let folder = folder();
    let mut all = BTreeSet::new();
    for part in ["1/3", "2/3", "3/3"] {
        let out = format!("part{}", &part[..1]);
        let run = sweep(folder.path(), &out, &["--shard", part]).assert_good();
        let made = runs(&folder.path().join(&out));
        assert!(run.stdout.starts_with(&format!("{} runs made, 0 of them", made.len())), "{run:?}");
        assert!((RUNS / 3..=RUNS / 3 + 1).contains(&made.len()), "{} runs in {part}", made.len());
        let names = made.iter().map(|path| path.file_name().unwrap().to_owned());
        names.for_each(|name| assert!(all.insert(name), "a run is in two parts"));
        assert!(!folder.path().join(out).join("results.csv").exists(), "a part has tables");
    }
    assert_eq!(all.len(), RUNS);
    let before = contents(folder.path());
    merge(folder.path(), "out", &["part3", "part1", "part2"]).assert_good();
    assert_same(&contents(&folder.path().join("out")), expected);
    for (path, bytes) in before {
        assert_eq!(fs::read(folder.path().join(&path)).unwrap(), bytes, "{}", path.display());
    }
    // Into one of them, which has its own runs already.
    merge(folder.path(), "part2", &["part1", "part2", "part3"]).assert_good();
    assert_same(&contents(&folder.path().join("part2")), expected);
    // What is whole is a part, too.
    merge(folder.path(), "again", &["out"]).assert_good();
    assert_same(&contents(&folder.path().join("again")), expected);
}

#[test]
fn parts_in_one_folder_at_the_same_time_are_merged() {
    let (expected, _) = reference();
    let folder = folder();
    let begin = |part| Sweeping::begin(folder.path(), "out", &["--jobs", "1", "--shard", part]);
    let parts = ["1/3", "2/3", "3/3"].map(begin);
    for part in parts {
        assert_eq!(part.end(), Some(0));
    }
    let out = folder.path().join("out");
    assert_eq!(runs(&out).len(), RUNS);
    assert!(!out.join("results.csv").exists(), "a part has tables");
    merge(folder.path(), "out", &["out"]).assert_good();
    assert_same(&contents(&out), expected);
    sweep(folder.path(), "out", &["--shard", "2/3"]).assert_good();
    assert_same(&contents(&out), expected);
}

/// Two parts, short runs.
fn two_parts() -> tempfile::TempDir {
    let folder = folder();
    for (out, part) in [("a", "1/2"), ("b", "2/2")] {
        sweep(folder.path(), out, &["--quick", "--shard", part]).assert_good();
        assert_eq!(runs(&folder.path().join(out)).len(), QUICK_RUNS / 2);
    }
    folder
}

/// Merging is refused, nothing is drawn, and the parts stay as they were.
fn assert_not_merged(folder: &Path, parts: &[&str], mentions: &[&str]) {
    let before = parts.iter().map(|part| folder.join(part)).filter(|part| part.exists());
    let before: Vec<_> = before.map(|part| (contents(&part), part)).collect();
    merge(folder, "out", parts).assert_refused(mentions);
    assert!(!folder.join("out/results.csv").exists());
    for (contained, part) in before {
        assert_same(&contents(&part), &contained);
    }
}

#[test]
fn a_part_that_is_missing_is_named() {
    let folder = two_parts();
    let lost = runs(&folder.path().join("b")).remove(2);
    let name = lost.file_stem().unwrap().to_str().unwrap();
    fs::remove_file(&lost).unwrap();
    let one = ["1 runs are in none of the folders", name, "with the same --shard", "in out"];
    assert_not_merged(folder.path(), &["a", "b"], &one);
    let all = ["4 runs are in none of the folders", "with the same --shard"];
    fs::remove_dir_all(folder.path().join("out")).unwrap();
    assert_not_merged(folder.path(), &["a"], &all);
    sweep(folder.path(), "b", &["--quick", "--shard", "2/2"]).assert_good();
    merge(folder.path(), "out", &["a", "b"]).assert_good();
    sweep(folder.path(), "whole", &["--quick"]).assert_good();
    let [out, whole] = ["out", "whole"].map(|name| contents(&folder.path().join(name)));
    assert_same(&out, &whole);
}

#[test]
fn parts_of_two_plans_are_refused() {
    let folder = two_parts();
    for (other, difference) in [
        (&["--quick", "--with", "base.size=128"][..], "`size = 128` there, `size = 64` here"),
        (&["--quick", "--with", "seeds=4"], "`seeds = 4` there, `seeds = 5` here"),
        (&["--with", "quick.ops=500", "--with", "base.ops=50"], "`ops = 50`"),
        (&["--with", "base.ops=4000"], "--quick"),
    ] {
        sweep(folder.path(), "c", &[other, &["--shard", "2/2"]].concat()).assert_good();
        let mentions = ["c has results of another plan", difference, "Name another folder"];
        assert_not_merged(folder.path(), &["a", "c"], &mentions);
        fs::remove_dir_all(folder.path().join("c")).unwrap();
    }
    fs::rename(folder.path().join("plan.toml"), folder.path().join("other.toml")).unwrap();
    let named = ["sweep", "other.toml", "--quick", "--out", "c", "--shard", "2/2"];
    crate::support::run_in(folder.path(), named).assert_good();
    assert_not_merged(folder.path(), &["a", "c"], &["it is called `other` and this `plan`"]);
}

/// Edits the manifest of a folder.
fn edit_manifest(out: &Path, edit: impl FnOnce(String) -> String) {
    let path = out.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    let edited = edit(text.clone());
    assert_ne!(edited, text);
    fs::write(path, edited).unwrap();
}

fn other_sources(manifest: String) -> String {
    let (before, after) = manifest.split_once("\"sources\": \"").unwrap();
    format!("{before}\"sources\": \"0000{}", &after[4..])
}

#[test]
fn parts_of_another_program_are_refused() {
    let folder = two_parts();
    edit_manifest(&folder.path().join("b"), other_sources);
    for parts in [["a", "b"], ["b", "a"]] {
        let mentions = ["b was made by qpmux", "sources 0000", "this is qpmux", "not mixed"];
        assert_not_merged(folder.path(), &parts, &mentions);
    }
    let again = sweep(folder.path(), "b", &["--quick"]);
    again.assert_refused(&["b was made by qpmux", "sources 0000", "name another folder"]);
    let again = sweep(folder.path(), "b", &["--quick", "--extend"]);
    again.assert_refused(&["b was made by qpmux", "sources 0000", "name another folder"]);
}

#[test]
fn a_run_with_two_contents_is_refused() {
    let folder = two_parts();
    let run = runs(&folder.path().join("a")).remove(0);
    let copy = folder.path().join("b/runs").join(run.file_name().unwrap());
    fs::copy(&run, &copy).unwrap();
    merge(folder.path(), "out", &["a", "b"]).assert_good();
    fs::remove_dir_all(folder.path().join("out")).unwrap();
    // The same numbers, written in another way.
    let text = fs::read_to_string(&run).unwrap();
    fs::write(&copy, text.replace("\n  \"seed\"", "\n\n  \"seed\"")).unwrap();
    let name = run.file_stem().unwrap().to_str().unwrap();
    let mentions = [name, "is not the same in", "a and b", "compute differently"];
    assert_not_merged(folder.path(), &["a", "b"], &mentions);
}

#[test]
fn folders_that_are_damaged_or_no_sweeps_are_refused() {
    let folder = two_parts();
    let b = folder.path().join("b");
    fs::create_dir(folder.path().join("empty")).unwrap();
    for none in ["empty", "nowhere"] {
        let mentions = [none, "has no manifest.json", "no folder of a sweep"];
        assert_not_merged(folder.path(), &["a", none], &mentions);
    }
    let whole = fs::read_to_string(b.join("manifest.json")).unwrap();
    edit_manifest(&b, |text| text[..text.len() / 2].to_owned());
    let mentions = ["b/manifest.json is damaged", "name another folder", "remove this file"];
    assert_not_merged(folder.path(), &["a", "b"], &mentions);
    sweep(folder.path(), "b", &["--quick"]).assert_refused(&mentions);
    fs::remove_file(b.join("manifest.json")).unwrap();
    let before = runs(&b);
    sweep(folder.path(), "b", &["--quick", "--shard", "2/2"]).assert_good();
    assert_eq!(fs::read_to_string(b.join("manifest.json")).unwrap(), whole);
    assert_eq!(runs(&b), before);
    // Readable, and not what its own plan says.
    edit_manifest(&b, |text| text.replacen("\"keys\": 16,", "\"keys\": 17,", 1));
    assert_not_merged(folder.path(), &["b"], &["b has results of another plan"]);
}
