//! The table of the engine's rules names code, switches and tests that exist, and every switch.

use std::collections::BTreeSet;
use std::fs;

use qpmux_engine::Rule;

use crate::root;

const TABLE: &str = "engine/RULES.md";
/// How the reason begins why no switch breaks a rule.
const STRUCTURAL: &str = "structural: ";
/// What stands for a test that nearly every rule has.
const TORTURE: &str = "torture";

/// Cells of each row of the table, without its heading.
fn rows(text: &str) -> Vec<Vec<String>> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| id ");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = text.lines().filter(is_row).map(cells);
    rows.map(|cells| cells[1..cells.len() - 1].to_vec()).collect()
}

/// What is quoted in a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// What is wrong with the table. `source` gives a file's text.
fn complaints(text: &str, source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut switches = BTreeSet::new();
    let mut has_function = |id: &str, name: &str| {
        let (path, function) = name.split_once("::").unwrap_or((name, ""));
        let named = format!("fn {function}(");
        match source(path) {
            None => found.push(format!("{id}: there is no {path}")),
            Some(text) if !text.contains(&named) => {
                found.push(format!("{id}: {path} has no function {function}"));
            }
            Some(_) => {}
        }
    };
    let rows = rows(text);
    for row in &rows {
        let [id, _, kept, switch, held] = row.as_slice() else {
            return vec![format!("a row has {} cells, must have 5: {row:?}", row.len())];
        };
        quoted(kept).for_each(|name| has_function(id, name));
        quoted(held).for_each(|name| has_function(id, name));
        switches.extend(quoted(switch).map(str::to_owned));
    }
    for row in &rows {
        let [id, _, kept, switch, held] = row.as_slice() else { continue };
        let reason = switch.strip_prefix(STRUCTURAL);
        if quoted(switch).next().is_none() && reason.is_none_or(str::is_empty) {
            found.push(format!("{id}: no switch breaks it, and no reason is given"));
        }
        if quoted(kept).next().is_none() {
            found.push(format!("{id}: nothing keeps it"));
        }
        if quoted(held).next().is_none() && !held.contains(TORTURE) {
            found.push(format!("{id}: no test holds it"));
        }
    }
    let known: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.name().to_owned()).collect();
    found.extend(known.difference(&switches).map(|name| format!("no row has the switch {name}")));
    found.extend(switches.difference(&known).map(|name| format!("there is no switch {name}")));
    found
}

#[test]
fn the_table_of_rules_is_true() {
    let text = fs::read_to_string(root().join(TABLE)).unwrap();
    let found = complaints(&text, |path| fs::read_to_string(root().join(path)).ok());
    assert!(found.is_empty(), "{TABLE}:\n{}", found.join("\n"));
    assert!(rows(&text).len() > 40, "the rows are read");
}

#[test]
fn a_false_table_is_told() {
    let all: Vec<_> = Rule::ALL.iter().map(|rule| format!("`{}`", rule.name())).collect();
    let row = |kept: &str, switches: &str, held: &str| {
        complaints(&format!("| A | b | {kept} | {switches} | {held} |"), |path| {
            (path == "a.rs").then(|| "fn known() {}".to_owned())
        })
    };
    let all = all.join(", ");
    assert!(row("`a.rs::known`", &all, "torture").is_empty());
    let other = |switch: &str| {
        let rows = format!(
            "| A | b | `a.rs::known` | {all} | torture |\n\
             | B | b | `a.rs::known` | {switch} | torture |"
        );
        complaints(&rows, |_| Some("fn known() {}".to_owned()))
    };
    assert!(other("structural: it has no other place").is_empty());
    for switch in ["", "structural", "structural:", "it has no other place"] {
        assert!(!other(switch).is_empty(), "{switch}");
    }
    for (kept, switches, held) in [
        ("`a.rs::unknown`", all.as_str(), "torture"),
        ("`b.rs::known`", &all, "torture"),
        ("", &all, "torture"),
        ("`a.rs::known`", "", "torture"),
        ("`a.rs::known`", &format!("{all}, `other`"), "torture"),
        ("`a.rs::known`", &all, ""),
        ("`a.rs::known`", &all, "`a.rs::unknown`"),
    ] {
        assert!(!row(kept, switches, held).is_empty(), "{kept} {switches} {held}");
    }
}
