//! `qpmux scenarios`: all of it runs, its figures are those of its pages, and the number of threads
//! does not show in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use qpmux_sim::scenarios::ALL;
use qpmux_tests::root;
use tempfile::TempDir;

use crate::guide::{commands, words};
use crate::support::{run_in, tree};

/// Names of a folder's files that end so, without that; none if there is no such folder.
fn stems(folder: &Path, ending: &str) -> BTreeSet<String> {
    let files = if folder.is_dir() { tree(folder) } else { Vec::new() };
    let name = |path: &Path| Some(path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned());
    files.iter().filter_map(|path| name(path)).collect()
}

/// Files that a page shows, from the folder of a scenario's figures.
fn shown(page: &str, scenario: &str) -> BTreeSet<String> {
    let folder = format!("](../../plots/scenarios/{scenario}/");
    let links = page.split("![").skip(1).filter_map(|rest| rest.split_once(&folder));
    links.filter_map(|(_, rest)| Some(rest.split_once(".svg)")?.0.to_owned())).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs/scenarios").join(format!("{name}.md"))).unwrap()
}

#[test]
fn every_scenario_runs_and_its_page_shows_what_it_makes() {
    let folder = TempDir::new().unwrap();
    let made = |jobs: &str, out: &str| {
        let arguments = ["scenarios", "--quick", "--jobs", jobs, "--out", out];
        run_in(folder.path(), arguments).assert_good();
        folder.path().join(out)
    };
    let [one, two] = [made("1", "one"), made("2", "two")];
    let files = tree(&one);
    assert_eq!(files.len(), tree(&two).len());
    for file in files.iter().filter(|file| file.is_file()) {
        let same = two.join(file.strip_prefix(&one).unwrap());
        assert!(fs::read(file).unwrap() == fs::read(&same).unwrap(), "{}", same.display());
    }
    for scenario in ALL {
        let (name, kept) = (scenario.name, root().join("plots/scenarios").join(scenario.name));
        let figures = stems(&one.join(name), ".svg");
        assert!(figures.len() >= scenario.plans.len(), "{name}: {figures:?}");
        assert_eq!(figures, stems(&one.join(name), ".csv"), "{name}");
        assert_eq!(figures, shown(&page(name), name), "docs/scenarios/{name}.md");
        for ending in [".svg", ".csv"] {
            assert_eq!(figures, stems(&kept, ending), "plots/scenarios/{name}");
        }
    }
}

#[test]
fn each_scenario_has_a_page_with_its_claims_and_is_listed() {
    let list = page("README");
    let names: BTreeSet<String> = ALL.iter().map(|scenario| scenario.name.to_owned()).collect();
    let mut pages = stems(&root().join("docs/scenarios"), ".md");
    pages.remove("README");
    assert_eq!(names, pages);
    let plans = stems(&root().join("sim/plans/scenarios"), ".toml");
    let known = ALL.iter().flat_map(|scenario| scenario.plans);
    assert_eq!(plans, known.map(|plan| plan.name.to_owned()).collect());
    for name in names {
        assert!(list.contains(&format!("({name}.md)")), "docs/scenarios/README.md: {name}");
        let claims = root().join("plots/scenarios").join(&name).join("claims.md");
        let claims = fs::read_to_string(claims).unwrap();
        assert!(page(&name).contains(&claims), "docs/scenarios/{name}.md has not claims.md");
    }
}

/// What pages tell their readers to type is understood, to the last option.
#[test]
fn the_exercises_can_be_run() {
    for scenario in ALL {
        let folder = TempDir::new().unwrap();
        let mut ran = 0;
        for command in commands(&format!("docs/scenarios/{}.md", scenario.name)) {
            let mut words = words(&command);
            match words[0].as_str() {
                "sweep" => words.push("--dry-run".to_owned()),
                "scenarios" if command.contains("--quick") => {}
                "scenarios" => continue,
                _ => {}
            }
            run_in(folder.path(), words).assert_good();
            ran += 1;
        }
        assert!(ran > 0, "docs/scenarios/{}.md has no exercise", scenario.name);
    }
}
